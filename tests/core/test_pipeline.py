"""Work handed over to threads: all of it is done, never too much of it waits, and its errors arrive."""

import threading
import time

import pytest

from brainldm.core.pipeline import handed_over


def test_everything_is_done_by_the_end() -> None:
    done = []
    with handed_over(done.append, workers=3, waiting=4) as hand_over:
        for item in range(50):
            hand_over(item)
    assert sorted(done) == list(range(50))


def test_who_makes_work_waits_for_those_who_do_it() -> None:
    gate, made, most = threading.Semaphore(0), [], 5

    def slow(_: int) -> None:
        gate.acquire()

    def maker() -> None:
        with handed_over(slow, workers=2, waiting=most) as hand_over:
            for item in range(20):
                hand_over(item)
                made.append(item)

    thread = threading.Thread(target=maker)
    thread.start()
    for released in range(20):
        limit = time.monotonic() + 60
        while len(made) < min(20, most + released) and time.monotonic() < limit:
            time.sleep(0.001)
        assert len(made) <= most + released
        gate.release()
    thread.join(60)
    assert len(made) == 20


def test_an_error_stops_who_makes_work_and_what_was_handed_over_is_still_done() -> None:
    done, made = [], []

    def work(item: int) -> None:
        if item == 3:
            raise OSError("disk full")
        done.append(item)

    def maker() -> None:
        with handed_over(work, workers=2, waiting=4) as hand_over:
            for item in range(100):
                hand_over(item)
                made.append(item)

    with pytest.raises(OSError, match="disk full"):
        maker()
    assert len(made) <= 3 + 4 + 1
    assert sorted(done) == [item for item in range(len(made)) if item != 3]


def test_an_interrupt_loses_nothing_that_was_handed_over() -> None:
    done: list[int] = []

    def maker() -> None:
        with handed_over(lambda item: (time.sleep(0.01), done.append(item)), workers=1, waiting=10) as hand_over:
            for item in range(8):
                hand_over(item)
            raise SystemExit(75)

    with pytest.raises(SystemExit):
        maker()
    assert done == list(range(8))
