"""Damaged files by the thousand: seeded mutations of sound ones, given to a reader in a process of its own that is watched."""

import logging
import mmap
import os
import random
import resource
import signal
import struct
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from brainldm.core.errors import BrainLDMError

INTERESTING = [struct.pack(order + kind, value) for order in "<>" for kind, value in [
    ("h", -1), ("h", 32767), ("h", 0), ("i", -1), ("i", 2**31 - 1), ("i", 1 << 30), ("q", -1), ("q", 2**63 - 1), ("q", 1 << 40),
    ("f", float("nan")), ("f", float("inf")), ("f", 1e38), ("f", 0), ("d", float("nan")),
]]  # fmt: skip
WORDS = [b"nan", b"1e999", b"-1", b"\0", b"\t", b"\n", b'"', b"\xff", b"{", b"[" * 200, b"..", b"/", b"9" * 30, b"null", "é".encode()]
MEMORY_MB = 1024  # more than the process has at its start
HANGS_S = 20.0  # of one input: nothing here is larger than some 100 kB


class Found(NamedTuple):
    """What a reader did with all inputs: taken, refused by one of our errors, seconds of the slowest, growth of memory, faults."""

    taken: int
    refused: int
    slowest_s: float
    grown_mb: float
    faults: list[str]


def mutated(content: bytes, draw: random.Random) -> bytes:
    """One to four changes, every second one near the beginning or the end, where headers and footers are."""
    data = bytearray(content)
    for _ in range(draw.randint(1, 4)):
        size = max(1, len(data))
        place = draw.choice([draw.randrange(size), min(size - 1, draw.randrange(600)), max(0, size - 1 - draw.randrange(600))])
        length = min(draw.choice([1, 2, 8, 64, 4096]), size)
        kind = draw.randrange(8)
        if kind < 2:
            data[place : place + 1] = bytes([(data[place] if data else 0) ^ 1 << draw.randrange(8)])
        elif kind == 2:
            word = draw.choice(INTERESTING)
            data[place : place + len(word)] = word
        elif kind == 3:
            word = draw.choice(WORDS)
            data[place : place + draw.choice([0, len(word)])] = word
        elif kind == 4:
            del data[place : place + length]
        elif kind == 5:
            data[place:place] = data[draw.randrange(size) :][:length]
        elif kind == 6:
            data[place : place + length] = draw.randbytes(length)
        else:
            del data[place:]
    return bytes(data)


def bombard(read: Callable[[Path], object], samples: dict[str, bytes], folder: Path, n: int, seed: int = 0) -> Found:
    """Give n mutated samples to `read`, in a child with limited memory that is killed where it hangs; `samples` are by file name."""
    shared = mmap.mmap(-1, 4096)  # number of the input at hand
    said, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(said)
        _child(read, samples, folder, range(n), seed, shared, told)
    os.close(told)
    last, since, status = -1, time.monotonic(), None
    while status is None:
        done, found = os.waitpid(pid, os.WNOHANG)
        status = found if done else None
        at = int.from_bytes(shared[:8], "little")
        if at != last:
            last, since = at, time.monotonic()
        elif status is None and time.monotonic() - since > 5 * HANGS_S:  # the machine may be busy
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    with os.fdopen(said) as pipe:
        text = pipe.read()
    if status != 0:
        return Found(0, 0, 0, 0, [f"input {last} of seed {seed}: the process ended with {os.waitstatus_to_exitcode(status)}"])
    taken, refused, slowest, grown, *faults = text.split("\x1e")
    return Found(int(taken), int(refused), float(slowest), float(grown), [fault for fault in faults if fault])


def _child(
    read: Callable[[Path], object], samples: dict[str, bytes], folder: Path, inputs: range, seed: int, shared: mmap.mmap, told: int
) -> None:
    logging.disable()
    warnings.simplefilter("ignore")
    pages = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (pages + MEMORY_MB * 2**20, resource.RLIM_INFINITY))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    taken = refused = 0
    slowest, faults, names = 0.0, [], list(samples)
    for number in inputs:
        shared[:8] = number.to_bytes(8, "little")
        draw = random.Random(seed * 10**9 + number)
        path = folder / draw.choice(names)
        path.write_bytes(mutated(samples[path.name], draw))
        begun = time.process_time()
        try:
            read(path)
            taken += 1
        except BrainLDMError as error:
            refused += 1
            if path.name.partition(".")[0] not in str(error):
                faults.append(f"input {number} ({path.name}): the error does not name the file: {error}")
        except BaseException:
            faults.append(f"input {number} ({path.name}): {traceback.format_exc(limit=-3)}")
        slowest = max(slowest, time.process_time() - begun)
        if len(faults) >= 5:
            break
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    os.write(told, "\x1e".join(map(str, [taken, refused, slowest, grown, *(fault[:1500] for fault in faults)])).encode())
    os._exit(0)
