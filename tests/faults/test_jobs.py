"""A job is killed, told to end, out of memory, of disk or of time; the same command again finishes, with the same bytes."""

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from injection import Ended, Job, again, run, signalled, start, start_anew, wait
from ledger import Reference, refused

from brainldm.core.requeue import REQUEUE
from brainldm.core.story import STORY

pytestmark = pytest.mark.slow
HEAVY = ["cohort", "train_segmenter", "train_autoencoder", "train_diffusion", "train_age", "evaluate", "report", "release"]  # once each


def interrupted(folder: Path, job: Job, how: int, seconds: float, draw: random.Random) -> Ended:
    """A job that was hit by a signal at a random moment of its work; one that was faster is begun again."""
    for attempt in range(12):
        start_anew(folder, job)
        if ended := signalled(folder, job, how, draw.uniform(0, seconds * 0.8**attempt)):
            return ended
    raise AssertionError(f"{job.name} is never hit")


@pytest.mark.parametrize("stage", list(STORY))
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["kill", "term"])
def test_a_job_that_was_interrupted_is_finished(stage, how, reference, ledger, draw, tmp_path) -> None:
    reference.copy(tmp_path)
    for _ in range(1 if stage in HEAVY else 3):
        job = draw.choice(reference.of(stage))
        kind = "SIGKILL of a job" if how == signal.SIGKILL else "pre-emption (SIGTERM to a job)"
        with ledger.injection(kind, stage) as told:
            ended = interrupted(tmp_path, job, how, reference.seconds[job.name], draw)
            assert how == signal.SIGKILL or ended.status in (REQUEUE, -signal.SIGTERM)
            again(tmp_path, job)
            reference.check(tmp_path, job)
            told.append("again: same bytes" if how == signal.SIGKILL else f"status {ended.status}; again: same bytes")


@pytest.mark.parametrize("stage", ["cohort", "preprocess", "train_diffusion", "generate", "measure", "evaluate", "release"])
def test_out_of_memory(stage, reference, ledger, draw, tmp_path) -> None:
    """The address space is limited at random; whatever numpy, torch or C++ do then, nothing half-written is taken for whole."""
    reference.copy(tmp_path)
    job = draw.choice(reference.of(stage))
    for most_mb in (16, 96):
        with ledger.injection("out of memory (address space limited)", stage) as told:
            start_anew(tmp_path, job)
            ended = run(tmp_path, job, memory_mb=draw.randrange(most_mb // 4, most_mb))
            if ended.status == 0:
                told.append("enough was left; same bytes")
            else:
                again(tmp_path, job)
                told.append("the job fails; again: same bytes")
            reference.check(tmp_path, job)


@pytest.mark.parametrize("stage", ["train_age", "generate", "evaluate"])
def test_time_is_up(stage, reference, ledger, draw, tmp_path) -> None:
    """SIGTERM, and SIGKILL a moment later, as SLURM does at the limit."""
    reference.copy(tmp_path)
    job = draw.choice(reference.of(stage))
    with ledger.injection("time limit (SIGTERM, then SIGKILL)", stage) as told:
        start_anew(tmp_path, job)
        pid = start(tmp_path, job)
        time.sleep(draw.uniform(0, 0.7 * reference.seconds[job.name]))
        for how in (signal.SIGTERM, signal.SIGKILL):
            os.kill(pid, how)
            time.sleep(0.02)
        wait(tmp_path, pid)
        again(tmp_path, job)
        reference.check(tmp_path, job)
        told.append("again: same bytes")


@contextmanager
def disk(reference: Reference, folder: Path) -> Iterator[Path]:
    """A copy of the reference with its results on a file system of their own, of 64 MB."""
    reference.copy(folder)
    place = folder / "results"
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64M", "tmpfs", place], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        shutil.copytree(reference.folder / "results", place, dirs_exist_ok=True)
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def remount(place: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", place], check=True)


WRITERS = ["cohort", "preprocess", "train_segmenter", "encode", "request", "generate", "measure", "evaluate", "pack", "release", "report"]


@pytest.mark.parametrize("stage", WRITERS)
def test_the_disk_is_full(stage, reference, ledger, draw, tmp_path) -> None:
    """There is room for a random part of what the job writes."""
    job = draw.choice(reference.of(stage))
    with disk(reference, tmp_path) as place, ledger.injection("disk full", stage) as told:
        before = shutil.disk_usage(place).used
        start_anew(tmp_path, job)
        used = shutil.disk_usage(place).used
        remount(place, f"size={used + int(draw.uniform(0, 0.7) * (before - used)) // 4096 * 4096}")
        refused(wait(tmp_path, start(tmp_path, job)), "results")
        assert not all((tmp_path / name).exists() for name in job.outputs)
        remount(place, "size=64M")
        again(tmp_path, job)
        reference.check(tmp_path, job)
        told.append("refused by name; with more room again: same bytes")


@pytest.mark.parametrize("stage", ["preprocess", "train_age", "request", "generate", "pack", "release"])
def test_results_are_read_only(stage, reference, ledger, draw, tmp_path) -> None:
    job = draw.choice(reference.of(stage))
    with disk(reference, tmp_path) as place, ledger.injection("results are read-only", stage) as told:
        start_anew(tmp_path, job)
        remount(place, "ro")
        assert "Read-only file system" in refused(wait(tmp_path, start(tmp_path, job)), f"results/{stage}")
        remount(place, "rw")
        again(tmp_path, job)
        reference.check(tmp_path, job)
        told.append("refused by name; again: same bytes")
