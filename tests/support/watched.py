"""A call in a process of its own: limited memory, limited time; what it raised comes back as text."""

import logging
import os
import resource
import signal
import time
import traceback
from collections.abc import Callable
from typing import NamedTuple

from brainldm.core.errors import BrainLDMError

GROWTH = 1 << 30  # bytes of memory beyond what the process has at its start


class Outcome(NamedTuple):
    """`error` is the text of one of our errors, `fault` a traceback of anything else."""

    error: str
    fault: str
    seconds: float
    cpu_seconds: float


def watched(call: Callable[[], object], seconds: float = 60.0) -> Outcome:
    """Run `call` in a child; it is killed after `seconds`, and `fault` says so."""
    said, told = os.pipe()
    begun = time.monotonic()
    pid = os.fork()
    if pid == 0:
        os.close(said)
        os.write(told, _in_child(call).encode("utf-8", "backslashreplace")[:60_000])
        os._exit(0)
    os.close(told)
    status, usage = None, None
    while status is None:
        done, found, used = os.wait4(pid, os.WNOHANG)
        if done:
            status, usage = found, used
        elif time.monotonic() - begun > seconds:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)
    with os.fdopen(said, encoding="utf-8") as pipe:
        kind, _, text = pipe.read().partition("\n")
    if status != 0:
        kind, text = "fault", f"the process ended with {os.waitstatus_to_exitcode(status)}"
    cpu = usage.ru_utime + usage.ru_stime
    return Outcome(text if kind == "error" else "", text if kind == "fault" else "", time.monotonic() - begun, cpu)


def _in_child(call: Callable[[], object]) -> str:
    logging.disable()
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    with open("/proc/self/statm") as handle:
        pages = int(handle.read().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + GROWTH, resource.RLIM_INFINITY))
    try:
        call()
    except BrainLDMError as error:
        return f"error\n{error}"
    except BaseException:
        return f"fault\n{traceback.format_exc(limit=-6)}"
    return "none\n"
