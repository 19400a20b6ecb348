"""Jobs of the true pipeline, each in a process of its own that can be killed, starved or given damaged files; and what they wrote.

A job is the command that Snakemake would run, as its dry run prints it. The process is forked from one that has imported everything: of a
job only its own work is left, and a hundred faults become affordable.
"""

import hashlib
import importlib
import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import torch

from brainldm.__main__ import main
from brainldm.core.requeue import REQUEUE
from brainldm.core.story import STORY

for _stage in STORY:
    importlib.import_module(f"brainldm.stages.{_stage}")  # once, and not in every job
ROOT = Path(__file__).parents[2]
WAIT_S = 300
# What holds times of day or durations, or is no result.
VOLATILE = re.compile(r"log\.csv|state\.pt|.*\.lock|events\.out.*|\.(tmp|fresh|stale).*")


class Job(NamedTuple):
    """A job: its stage, its words behind `brainldm`, and the outputs that Snakemake removes before it runs it again."""

    stage: str
    words: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def name(self) -> str:
        """By its first output."""
        return self.outputs[0].removeprefix("results/")


class Ended(NamedTuple):
    """How a job ended: its status, negative for a signal, and what it said."""

    status: int
    text: str


def command(folder: Path, *arguments: str, profile: str | Path = ROOT / "workflow/profiles/default") -> list[str]:
    """Snakemake on the configuration in `folder`."""
    options = ["--snakefile", ROOT / "Snakefile", "--directory", folder, "--configfile", folder / "config.yaml"]
    return [*map(str, [sys.executable, "-m", "snakemake", *options, "--workflow-profile", profile]), *arguments]


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it on one core, to its end."""
    return subprocess.run(command(folder, "--cores", "1", *arguments), capture_output=True, text=True, timeout=3 * WAIT_S)


def jobs(folder: Path) -> list[Job]:
    """All jobs of a finished run in the order in which they may be run, from a dry run."""
    done = subprocess.run(
        command(folder, "--cores", "1", "--dry-run", "--printshellcmds", "--forceall", "--nolock", profile="none"),
        capture_output=True,
        text=True,
    )
    blocks = re.split(r"^\[.*\]$", done.stdout + done.stderr, flags=re.M)
    matches = [(re.search(r"^Shell command: .*? brainldm (\w+) (--.*?) 2>&1 \| tee", block, re.M), block) for block in blocks]
    found = [Job(match[1], tuple(shlex.split(match[2])), _outputs(block)) for match, block in matches if match]
    assert found, done.stdout + done.stderr
    return found


def _outputs(block: str) -> tuple[str, ...]:
    return tuple(re.search(r"^ +output: (.*)$", block, re.M)[1].split(", "))  # type: ignore[index]


def start(folder: Path, job: Job, memory_mb: int | None = None) -> int:
    """Start a job in `folder`, with at most `memory_mb` more of address space than the process has at its start; its process id."""
    sys.stdout.flush()
    sys.stderr.flush()
    (folder / "said").write_bytes(b"")  # a job may be killed before it has opened it
    pid = os.fork()
    if pid == 0:
        _be(folder, job, memory_mb)
    return pid


def _be(folder: Path, job: Job, memory_mb: int | None) -> None:
    """Become the job: what `python -m brainldm` does, its words into `folder`/said."""
    status = 1
    try:
        os.chdir(folder)
        out = os.open("said", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        sys.stdout, sys.stderr = (open(number, "w", buffering=1, closefd=False) for number in (1, 2))  # noqa: SIM115 - pytest has its own
        torch.set_num_threads(1)
        if memory_mb is not None:
            now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (now + memory_mb * 2**20, resource.RLIM_INFINITY))
        sys.argv = ["brainldm", job.stage, *job.words]
        main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1 if end.code else 0
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def wait(folder: Path, pid: int, seconds: float = WAIT_S) -> Ended:
    """Wait for a job's end; one that does not end is killed, and an error."""
    end = time.monotonic() + seconds
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return Ended(os.waitstatus_to_exitcode(status), (folder / "said").read_text(errors="replace"))
        if time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise TimeoutError((folder / "said").read_text(errors="replace")[-2000:])
        time.sleep(0.01)


def run(folder: Path, job: Job, memory_mb: int | None = None) -> Ended:
    """Run a job to its end; first its declared outputs go, as Snakemake sees to."""
    clear(folder, job)
    return wait(folder, start(folder, job, memory_mb))


def again(folder: Path, job: Job) -> None:
    """The same command once more: it must succeed."""
    ended = run(folder, job)
    assert ended.status == 0, f"{job.name} ended with {ended.status}: {ended.text[-2000:]}"


def clear(folder: Path, job: Job) -> None:
    """Remove a job's declared outputs."""
    for name in job.outputs:
        (folder / name).unlink(missing_ok=True)


def start_anew(folder: Path, job: Job) -> None:
    """Remove all that a job has written, declared or not, as if it had never run."""
    clear(folder, job)
    stage = folder / "results" / job.stage
    if job.stage in ("request", "generate", "measure", "pack"):  # others' shards lie beside it
        shutil.rmtree(stage / "work", ignore_errors=True)
    elif job.stage != "report":
        shutil.rmtree(folder / Path(job.outputs[0]).parent, ignore_errors=True)


def signalled(folder: Path, job: Job, how: int, after_s: float) -> Ended | None:
    """Start a job, send it a signal after some time; None if it had ended before."""
    pid = start(folder, job)
    time.sleep(after_s)
    os.kill(pid, how)  # a process that has ended but was not waited for takes it too
    ended = wait(folder, pid)
    assert ended.status in (0, -how, REQUEUE), f"{job.name} ended with {ended.status}: {ended.text[-2000:]}"
    return ended if ended.status else None


def written(folder: Path, job: Job) -> dict[str, str]:
    """SHA-256 of what a job's stage has written and of what it lies among, by path; what holds times is left out."""
    if job.stage == "report":
        paths: Iterator[Path] = (folder / name for name in job.outputs)
    else:
        paths = (path for path in sorted((folder / "results" / job.stage).rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): _sha256(path) for path in paths if not VOLATILE.fullmatch(path.name)}


def released(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of the release."""
    top = folder / "results/release"
    return {str(path.relative_to(top)): _sha256(path) for path in sorted(top.rglob("*")) if path.is_file()}


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def differing(found: Mapping[str, str], expected: Mapping[str, str]) -> list[str]:
    """Names that stand in one only, or with another hash."""
    return sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
