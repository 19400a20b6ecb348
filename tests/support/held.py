"""A process that waits at a known moment until its test has killed it or told it to end.

A test that kills a process "when half of its files are there" races with it: on a busy machine the process has ended first. A held
process waits before it renames a file to a given name (files appear by rename), as long as the file `hold` stands.
"""

import os
import runpy
import sys
import time
from fnmatch import fnmatch
from pathlib import Path

POLL_S = 0.005


def hold_before_rename(hold: Path, pattern: str, nth: int = 1) -> None:
    """Make this process wait before its nth rename to a name like `pattern` until `hold` is removed."""
    found = 0

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal found
        if event != "os.rename" or not fnmatch(Path(os.fsdecode(arguments[1])).name, pattern):  # type: ignore[arg-type]
            return
        found += 1
        while found >= nth and hold.exists():
            time.sleep(POLL_S)

    hold.touch()
    sys.addaudithook(watch)


def held_command(command: list[str], hold: Path, pattern: str, nth: int = 1) -> list[str]:
    """Return `python -m brainldm ...`, held before its nth rename to a name like `pattern`."""
    assert command[:3] == [sys.executable, "-m", "brainldm"]
    hold.touch()
    return [sys.executable, __file__, str(hold), pattern, str(nth), *command[3:]]


if __name__ == "__main__":
    hold_before_rename(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
    sys.argv[1:] = sys.argv[4:]
    runpy.run_module("brainldm", run_name="__main__", alter_sys=True)
