"""What a command costs, by way of a small process: Linux counts a parent's memory as its child's until the child's exec."""

import subprocess
import sys
from typing import Any, NamedTuple

MIDDLE = """
import resource, subprocess, sys, time
start = time.monotonic()
done = subprocess.run(sys.argv[1:])
print()
print(time.monotonic() - start, *resource.getrusage(resource.RUSAGE_CHILDREN)[:3])
sys.exit(done.returncode)
"""


class Spent(NamedTuple):
    """Of a process, from its start to its end, and what it printed."""

    seconds: float
    cpu_seconds: float
    peak_mib: float
    printed: str


def spent(*command: Any, **options: Any) -> Spent:
    """Run a command, which must not fail; `options` are those of subprocess.run."""
    words = [sys.executable, "-c", MIDDLE, *map(str, command)]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True, **options)
    printed, used = done.stdout.rstrip("\n").rsplit("\n", 1)
    seconds, user_s, system_s, peak_kib = map(float, used.split())
    return Spent(seconds, user_s + system_s, peak_kib / 1024, printed)
