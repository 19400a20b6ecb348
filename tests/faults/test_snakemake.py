"""Faults under Snakemake itself: its job or it is killed, it is started twice, clocks disagree; the same command again finishes."""

import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from injection import WAIT_S, again, command, differing, released, snakemake, start, start_anew, wait
from ledger import Ledger, Reference, refused

pytestmark = pytest.mark.slow
TARGET = "results/release/checksums.sha256"
DAY_S = 86_400


def begin(folder: Path, *targets: str) -> subprocess.Popen[str]:
    """Start Snakemake up to the release."""
    words = command(folder, "--cores", "1", *targets, TARGET)
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def job_in(folder: Path, stage: str, parent: subprocess.Popen[str]) -> int:
    """The process of a stage that works in `folder`, once there is one."""
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end and parent.poll() is None:
        for path in Path("/proc").glob("[0-9]*"):
            try:
                words = (path / "cmdline").read_bytes().split(b"\0")
                if stage.encode() in words and any(word.endswith(b"/brainldm") for word in words) and (path / "cwd").samefile(folder):
                    return int(path.name)
            except OSError:
                continue
        time.sleep(0.05)
    raise AssertionError(f"no {stage} was started: {parent.communicate(timeout=WAIT_S)[0][-3000:]}")


def finish(folder: Path, reference: Reference, *targets: str) -> None:
    """The same command again, and the release compared."""
    done = snakemake(folder, *targets, TARGET)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert differing(released(folder), reference.release) == []


def missing(folder: Path, reference: Reference, stage: str, draw: random.Random) -> str:
    """Remove the release and what a random job of the stage has written: its first output, which is to be asked for.

    Snakemake does not miss a file by itself where what was made of it is there.
    """
    job = draw.choice(reference.of(stage))
    start_anew(folder, job)
    shutil.rmtree(folder / "results/release", ignore_errors=True)
    return job.outputs[0]


@pytest.mark.parametrize("stage", ["pack", "measure", "release"])
def test_a_job_is_killed(stage, reference: Reference, ledger: Ledger, draw, tmp_path: Path) -> None:
    reference.copy(tmp_path)
    target = missing(tmp_path, reference, stage, draw)
    with ledger.injection("SIGKILL of a job under Snakemake", stage) as told, begin(tmp_path, target) as running:
        hit = job_in(tmp_path, stage, running)
        time.sleep(draw.uniform(0, 1.5))  # its imports take longer
        os.kill(hit, signal.SIGKILL)
        assert running.wait(WAIT_S) != 0
        finish(tmp_path, reference, target)
        told.append("again: the same release")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_snakemake_is_killed(how, reference, ledger, draw, tmp_path) -> None:
    """Killed, it leaves its lock, of which the next call speaks; told to end, it ends by itself."""
    reference.copy(tmp_path)
    missing(tmp_path, reference, "pack", draw)
    with ledger.injection(f"{how.name} of Snakemake", "pack") as told, begin(tmp_path) as running:
        job_in(tmp_path, "pack", running)
        time.sleep(draw.uniform(0, 1.5))  # its imports take longer
        running.send_signal(how)
        running.wait(WAIT_S)
        if any((tmp_path / ".snakemake/locks").iterdir()):
            assert "unlock" in snakemake(tmp_path, TARGET).stderr
            assert snakemake(tmp_path, "--unlock").returncode == 0
            told.append("after --unlock")
        finish(tmp_path, reference)
        told.append("again: the same release")


def test_two_snakemakes_in_one_folder(reference, ledger, draw, tmp_path) -> None:
    reference.copy(tmp_path)
    missing(tmp_path, reference, "pack", draw)
    with ledger.injection("two Snakemakes in one folder", "pack") as told, begin(tmp_path) as running:
        job_in(tmp_path, "pack", running)
        second = snakemake(tmp_path, TARGET)
        assert second.returncode != 0
        assert "cannot be locked" in second.stdout + second.stderr
        assert running.wait(WAIT_S) == 0
        assert differing(released(tmp_path), reference.release) == []
        told.append("the second is refused; the first ends with the same release")


def test_two_workers_of_one_shard(reference, ledger, draw, tmp_path) -> None:
    """Left by a Snakemake that was killed, say, or of a node that was thought lost."""
    reference.copy(tmp_path)
    for job in reference.of("generate"):
        with ledger.injection("two workers of one shard", "generate") as told:
            start_anew(tmp_path, job)
            first = start(tmp_path, job)
            lock = tmp_path / f"results/generate/work/{Path(job.outputs[0]).stem}.lock"
            while not lock.exists():
                time.sleep(0.005)
            time.sleep(draw.uniform(0, 0.1))
            os.mkdir(other := tmp_path / f"other-{first}")
            for name in ("results", "config.yaml"):
                os.symlink(tmp_path / name, other / name)
            refused(wait(other, start(other, job)), "only worker")
            assert wait(tmp_path, first).status == 0
            reference.check(tmp_path, job)
            told.append("the second is refused by name; the first: same bytes")


@pytest.mark.parametrize(("stage", "days"), [("measure", 1), ("pack", -1), ("evaluate", -400)])
def test_clocks_disagree(stage, days, reference, ledger, draw, tmp_path) -> None:
    """Files of a stage from a machine whose clock is wrong; Snakemake refuses those from tomorrow, and may run more than it must."""
    reference.copy(tmp_path)
    with ledger.injection(f"clock {'ahead' if days > 0 else 'behind'} by {abs(days)} day(s)", stage) as told:
        for path in (tmp_path / "results" / stage).rglob("*"):
            os.utime(path, (time.time() + days * DAY_S,) * 2)
        missing(tmp_path, reference, "pack", draw)
        if days > 0:
            refusal = snakemake(tmp_path, TARGET)
            assert refusal.returncode != 0
            assert "clock skew" in refusal.stdout + refusal.stderr
            for path in (tmp_path / "results" / stage).rglob("*"):
                path.touch()
            told.append("refused by Snakemake; touched")
        finish(tmp_path, reference)
        told.append("the same release")


@pytest.mark.parametrize("stage", ["generate", "measure", "pack", "release", "request", "covariates"])
def test_every_files_time_is_random(stage, reference, ledger, draw, tmp_path) -> None:
    """No job looks at the times of files but encode, which makes more than it must."""
    reference.copy(tmp_path)
    with ledger.injection("file times at random, within a day", stage) as told:
        for path in sorted((tmp_path / "results").rglob("*")):
            os.utime(path, (time.time() + draw.uniform(-DAY_S, DAY_S),) * 2)
        job = draw.choice(reference.of(stage))
        again(tmp_path, job)
        reference.check(tmp_path, job)
        told.append("same bytes")


@pytest.mark.parametrize("how", ["cut", "garbage", "gone"])
def test_a_scan_is_damaged_while_the_batch_runs(how, reference, ledger, draw, tmp_path) -> None:
    reference.copy(tmp_path)
    job = draw.choice(reference.of("preprocess"))
    with ledger.injection("a scan is damaged mid-run", f"preprocess: {how}") as told:
        scans = sorted((tmp_path / "results/cohort/rawdata").glob("*/anat/*.nii.gz"))
        batch = int(Path(job.outputs[0]).parent.name)
        last = scans[len(scans) * (batch + 1) // len(reference.of("preprocess")) - 1]
        start_anew(tmp_path, job)
        pid = start(tmp_path, job)
        while not list((tmp_path / Path(job.outputs[0]).parent).glob("*.json")):
            time.sleep(0.005)
        whole = last.read_bytes()
        last.unlink()
        if how != "gone":
            last.write_bytes(whole[: draw.randrange(len(whole))] if how == "cut" else draw.randbytes(len(whole)))
        refused(wait(tmp_path, pid), last.name)
        last.write_bytes(whole)
        again(tmp_path, job)
        reference.check(tmp_path, job)
        told.append("refused by name; put back: same bytes")


def test_a_file_that_is_gone_is_made_again(reference, ledger, draw, tmp_path) -> None:
    reference.copy(tmp_path)
    with ledger.injection("a stage's folder was deleted", "pack") as told:
        shutil.rmtree(tmp_path / "results/pack")
        shutil.rmtree(tmp_path / "results/release")
        finish(tmp_path, reference)
        told.append("the same release")
