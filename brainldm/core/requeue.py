"""How a process ends that is told to (SLURM's preemption, a wall-time limit): at once, with a status that asks to be started again."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

REQUEUE = 75  # EX_TEMPFAIL: what was finished is kept, start it again


@contextmanager
def requeued() -> Iterator[None]:
    """SIGTERM raises SystemExit(REQUEUE) in the main thread, wherever it is: for work that leaves nothing half-written at any moment."""
    told = []

    def end(*_: object) -> None:
        told.append(True)
        sys.exit(REQUEUE)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except Exception:
        if told:  # a library has made an error of its own of it: of a sound file one that cannot be read, say
            sys.exit(REQUEUE)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
