"""Locks that die with their process: one worker for a shard, one for a GPU."""

import fcntl
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from brainldm.core.errors import DataError


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock `path`, a file that stays; DataError if another process holds it."""
    handle = _take(path)
    if handle is None:
        raise DataError(f"{path}: expected to be this shard's only worker, found another one at work")
    with handle:
        yield


@contextmanager
def first_free(folder: Path, names: Sequence[str], poll_s: float = 1.0) -> Iterator[int]:
    """Hold the first of several things, each a lock file in `folder`, that no other process holds; waits until there is one."""
    told = False
    while (found := _take_any(folder, names)) is None:
        if not told:
            logging.info("%s: all %d are in use by other workers; waiting for the first that ends", folder, len(names))
        told = True
        time.sleep(poll_s)
    place, handle = found
    with handle:
        yield place


def _take_any(folder: Path, names: Sequence[str]) -> tuple[int, IO[str]] | None:
    for place, name in enumerate(names):
        if handle := _take(folder / f"{name}.lock"):
            return place, handle
    return None


def _take(path: Path) -> IO[str] | None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = path.open("a")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.close()
        return None
    return handle
