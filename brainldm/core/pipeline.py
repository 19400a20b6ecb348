"""Work handed to threads through a bounded queue: who makes it waits when they fall behind, and learns of their first error."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any


@contextmanager
def handed_over(work: Callable[..., object], workers: int, waiting: int) -> Iterator[Callable[..., None]]:
    """Give a function that has `work` called with its arguments in one of `workers` threads, and blocks while `waiting` calls are open.

    It raises the first error of an earlier call, as does the end. What was handed over is finished in any case, so that an interrupt
    loses none of it.
    """
    calls: deque[Future[object]] = deque()

    def hand_over(*arguments: Any) -> None:
        while calls and (calls[0].done() or len(calls) >= waiting):
            calls.popleft().result()
        calls.append(pool.submit(work, *arguments))

    with ThreadPoolExecutor(workers) as pool:
        yield hand_over
        for call in calls:
            call.result()
