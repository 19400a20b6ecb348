"""How a process ends that is told to (SLURM's preemption, a wall-time limit): at once, with a status that asks to be started again."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

REQUEUE = 75  # EX_TEMPFAIL: what was finished is kept, start it again


@contextmanager
def requeued() -> Iterator[None]:
    """SIGTERM raises SystemExit(REQUEUE) in the main thread, wherever it is: for work that leaves nothing half-written at any moment."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(REQUEUE))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
