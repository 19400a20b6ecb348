"""Calls on hostile input, each in a process of its own with little memory and time, and what they said."""

import os
import resource
import signal
import traceback
from collections.abc import Callable
from pathlib import Path

from brainldm.core.errors import BrainLDMError

MEMORY_BYTES = 10**9
SECONDS = 10
MACHINE_IS_BUSY = 4  # times as long may pass on the clock


def refusal(call: Callable[[], object]) -> str:
    """Return the message of the error of ours that `call` raises within 10 s of CPU and 1 GB more than this process has.

    AssertionError for another exception, none at all, a message of several lines or with control characters, too much time or memory.
    """
    said, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(said)
        _child(call, told)
    os.close(told)
    with os.fdopen(said, encoding="utf-8", errors="replace") as pipe:
        text = pipe.read()
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code == 0, f"the process ended with {code}: {text[-1500:]}"
    assert text.isprintable(), f"more than one line, or control characters: {text!r}"
    assert len(text) < 2000, text
    return text


def _child(call: Callable[[], object], told: int) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    signal.alarm(SECONDS * MACHINE_IS_BUSY)
    pages = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (pages + MEMORY_BYTES, resource.RLIM_INFINITY))
    try:
        found = call()
        text, code = f"nothing was refused: {str(found)[:300]}", 3
    except BrainLDMError as error:
        text, code = str(error), 0
    except BaseException:
        text, code = traceback.format_exc(limit=-4), 4
    os.write(told, text.encode(errors="replace")[:60000])
    os._exit(code)
