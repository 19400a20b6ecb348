"""Files that a stage has written are cut or get a flipped bit: their reader refuses them by name, or it makes no difference."""

import os
import random
import signal
import time
from pathlib import Path

import pytest
from injection import Job, again, run, start, start_anew, wait
from ledger import Reference, refused

from brainldm.core.requeue import REQUEUE

pytestmark = pytest.mark.slow
# What it is, the file (of a job's outputs, or beside them), who makes it, who reads it.
FILES = [
    ("checkpoint", "model.safetensors", "train_segmenter", "segment"),
    ("checkpoint", "model.safetensors", "train_autoencoder", "encode"),
    ("checkpoint", "model.safetensors", "train_diffusion", "generate"),
    ("checkpoint", "model.safetensors", "train_age", "measure"),
    ("latents", "moments/*.safetensors", "encode", "train_diffusion"),
    ("Parquet table", "*.parquet", "request", "generate"),
    ("Parquet table", "*.parquet", "measure", "pack"),
    ("Parquet table", "*.parquet", "pack", "release"),
    ("tar", "*.tar", "generate", "measure"),
    ("tar", "*.tar", "generate", "pack"),
    ("tar", "*.tar", "pack", "release"),
    ("preprocessed scan", "*_T1w.nii.gz", "preprocess", "segment"),
    ("raw scan", "rawdata/*/anat/*.nii.gz", "cohort", "preprocess"),
    ("label map", "derivatives/labels/*.nii.gz", "cohort", "train_segmenter"),
    ("pictures of the evaluation", "images.npz", "evaluate", "report"),
]
TIMES = 3  # of each fault and file


def damage(path: Path, how: str, draw: random.Random) -> None:
    """Cut the file at a random place, or flip a random bit of it; the file's time stays, as a disk's fault leaves it."""
    content, times = bytearray(path.read_bytes()), path.stat()
    place = draw.randrange(len(content))
    if how == "truncated":
        del content[place:]
    else:
        content[place] ^= 1 << draw.randrange(8)
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def pair(reference: Reference, maker: str, reader: str, draw: random.Random) -> tuple[Job, Job]:
    """A job of the maker, and one of the reader that reads its files."""
    made = draw.choice(reference.of(maker))
    own = Path(made.outputs[0])
    readers = [job for job in reference.of(reader) if any(name in " ".join(job.words) for name in made.outputs)]
    readers = readers or [job for job in reference.of(reader) if job.words[-1].find(own.stem) >= 0] or reference.of(reader)
    return made, draw.choice(readers)


def belonging(found: list[Path], made: Job, read: Job) -> list[Path]:
    """Those files that the one job has written and the other reads."""
    if read.stage == "preprocess":  # a batch of the scans, in order
        size = len(found) // 2
        return found[int(Path(read.outputs[0]).parent.name) * size :][:size]
    shard = Path(made.outputs[0]).stem if made.stage in ("request", "generate", "measure", "pack") else ""
    return [path for path in found if shard in path.name]


@pytest.mark.parametrize("how", ["truncated", "flipped bit"])
@pytest.mark.parametrize(("what", "pattern", "maker", "reader"), FILES, ids=[f"{maker}-{reader}" for *_, maker, reader in FILES])
def test_a_damaged_file(how, what, pattern, maker, reader, reference, ledger, draw, tmp_path) -> None:
    reference.copy(tmp_path)
    for attempt in range(TIMES):
        made, read = pair(reference, maker, reader, draw)
        place = (tmp_path / made.outputs[0]).parent
        path = draw.choice(belonging(sorted(place.glob(pattern)), made, read))
        with ledger.injection(f"{what}: {how}", f"of {maker}, read by {reader}") as told:
            damage(path, how, draw)
            start_anew(tmp_path, read)
            ended = run(tmp_path, read)
            if ended.status == 0:
                assert how != "truncated"
                reference.check(tmp_path, read)
                told.append("makes no difference: same bytes")
            else:
                refused(ended, path.name)
                told.append("refused by name")
            if attempt == 0:
                again(tmp_path, made)
                told.append("made again: same bytes")
            else:
                path.write_bytes((reference.folder / path.relative_to(tmp_path)).read_bytes())
                told.append("put back: same bytes")
            times = (reference.folder / path.relative_to(tmp_path)).stat()
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # encode tells scans by their times
            reference.check(tmp_path, made)
            again(tmp_path, read)
            reference.check(tmp_path, read)


WORK = [
    ("journal of a shard", "generate", "results/generate/work/*/journal.jsonl"),
    ("row of a shard", "generate", "results/generate/work/*/*.row"),
    ("finished scan of a batch", "preprocess", "results/preprocess/*/*_T1w.nii.gz"),
    ("journal of a scan", "preprocess", "results/preprocess/*/*.json"),
    ("state of a training", "train_diffusion", "results/train_diffusion/state.pt"),
    ("state of a training", "train_autoencoder", "results/train_autoencoder/state.pt"),
    ("state of a training", "train_segmenter", "results/train_segmenter/state.pt"),
]


def left_by(folder: Path, job: Job, pattern: str, seconds: float) -> list[Path]:
    """Files that a job leaves which is told to end as soon as there is one of them, or else after some seconds; none if it was faster."""
    start_anew(folder, job)
    pid, end = start(folder, job), time.monotonic() + seconds
    own = Path(job.outputs[0]).parent.name if job.stage == "preprocess" else ""

    def found() -> list[Path]:
        return [path for path in sorted(folder.glob(pattern)) if path.parent.name == own or not own]

    while not found() and time.monotonic() < end:
        time.sleep(0.002)
    os.kill(pid, signal.SIGTERM)
    ended = wait(folder, pid)
    assert ended.status in (0, REQUEUE, -signal.SIGTERM), ended.text[-2000:]
    return found() if ended.status else []


@pytest.mark.parametrize("how", ["truncated", "flipped bit"])
@pytest.mark.parametrize(("what", "stage", "pattern"), WORK, ids=[f"{stage}-{what.split()[0]}" for what, stage, _ in WORK])
def test_what_an_interrupted_job_kept_is_damaged(how, what, stage, pattern, reference, ledger, draw, tmp_path) -> None:
    """The job goes on without it: what cannot be trusted is made anew."""
    reference.copy(tmp_path)
    job = draw.choice(reference.of(stage))
    with ledger.injection(f"{what}: {how}", f"{stage}, told to end half-way") as told:
        for attempt in range(30):
            if kept := left_by(tmp_path, job, pattern, draw.uniform(0.3, 0.95) * reference.seconds[job.name] * 0.95**attempt):
                break
        else:
            raise AssertionError("it was never caught half-way")
        damage(draw.choice(kept), how, draw)
        again(tmp_path, job)
        reference.check(tmp_path, job)
        told.append("again: same bytes")
