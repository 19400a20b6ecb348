"""Locks between real processes: each thing has one holder, and is free again however its holder ended."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from brainldm.core.errors import DataError
from brainldm.core.locks import first_free, locked

HOLDER = """
import os, sys, time
from pathlib import Path
from brainldm.core.locks import first_free
with first_free(Path(sys.argv[1]), sys.argv[2:], poll_s=0.02) as place:
    os.write(1, f"{os.getpid()} {place}\\n".encode())
    time.sleep(600)
"""
GPUS = ["gpu-a", "gpu-b", "gpu-c"]


def test_workers_take_a_gpu_each_and_a_fourth_waits_until_one_is_killed(tmp_path: Path) -> None:
    source, sink = os.pipe()
    workers = [subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path), *GPUS], stdout=sink) for _ in range(4)]
    with os.fdopen(source) as printed:
        taken = [tuple(map(int, printed.readline().split())) for _ in range(3)]
        assert sorted(place for _, place in taken) == [0, 1, 2]
        killed, place = taken[1]
        next(worker for worker in workers if worker.pid == killed).kill()
        assert tuple(map(int, printed.readline().split())) == (
            ({worker.pid for worker in workers} - {pid for pid, _ in taken}).pop(),
            place,
        )
    for worker in workers:
        worker.kill()
        worker.wait()
    os.close(sink)


def test_a_lock_is_free_again_after_an_error(tmp_path: Path) -> None:
    with suppress(RuntimeError), first_free(tmp_path, GPUS) as place:
        assert place == 0
        with first_free(tmp_path, GPUS) as other:
            assert other == 1
        with pytest.raises(DataError, match="another one at work"), locked(tmp_path / "gpu-a.lock"):
            pass
        raise RuntimeError
    with first_free(tmp_path, GPUS) as place:
        assert place == 0
