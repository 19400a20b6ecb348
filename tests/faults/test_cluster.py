"""Faults of a cluster, on a real SLURM: its controller and its node are killed, jobs are cancelled, pre-empted and out of time."""

import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import slurm_cluster
from injection import ROOT, WAIT_S, command, released, start_anew

pytestmark = pytest.mark.slow
TARGET = "results/release/checksums.sha256"
PROFILE = ROOT / "workflow/profiles/slurm-generic"


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, str]]]:
    """The cluster's folder, and the environment in which its commands find it."""
    if reason := slurm_cluster.missing():
        pytest.skip(reason)
    pytest.importorskip("snakemake_executor_plugin_cluster_generic")
    folder = tmp_path_factory.mktemp("cluster") / "slurm"
    with slurm_cluster.cluster(folder) as environment:
        yield folder, {**environment, "OMP_WAIT_POLICY": "PASSIVE"}


def ask(environment: dict[str, str], *words: str) -> str:
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=True, timeout=60).stdout


def running_job(environment: dict[str, str], known: set[str], snakemake: subprocess.Popen[str]) -> str:
    """The job that has begun to run, its Python too."""
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end and snakemake.poll() is None:
        for job in ask(environment, "squeue", "-h", "-t", "RUNNING", "-o", "%i").split():
            if job not in known and worker(job):
                return job
        time.sleep(0.2)
    raise AssertionError("no job has begun to run")


def worker(job: str) -> int | None:
    """The process of `brainldm` in a job."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if f"SLURM_JOB_ID={job}\0".encode() in (path / "environ").read_bytes() and b"/brainldm\0" in (path / "cmdline").read_bytes():
                return int(path.name)
        except OSError:
            continue
    return None


def kill_controller(folder: Path, environment: dict[str, str], job: str) -> None:
    slurm_cluster.stop(folder, "slurmctld", signal.SIGKILL)
    time.sleep(10)
    slurm_cluster.start(folder, environment, "slurmctld")


def cancel(folder: Path, environment: dict[str, str], job: str) -> None:
    ask(environment, "scancel", job)


def kill_node(folder: Path, environment: dict[str, str], job: str) -> None:
    """The daemon of the node and the job at once; the node comes back after the controller has given it up."""
    slurm_cluster.stop(folder, "slurmd", signal.SIGKILL)
    kill_processes(job)
    time.sleep(25)
    slurm_cluster.start(folder, environment, "slurmd")


def kill_processes(job: str) -> None:
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if f"SLURM_JOB_ID={job}\0".encode() in (path / "environ").read_bytes():
                subprocess.run(["kill", "-9", path.name], check=False)
        except OSError:
            continue


def preempt(folder: Path, environment: dict[str, str], job: str) -> None:
    """SIGTERM and return to the queue, as for a job of a partition of higher priority."""
    ask(environment, "scontrol", "requeue", job)


def hang(folder: Path, environment: dict[str, str], job: str) -> None:
    """The job stands still until its time limit, which is set to the shortest that there is."""
    ask(environment, "scontrol", "update", f"JobId={job}", "TimeLimit=1")
    subprocess.run(["kill", "-STOP", str(worker(job))], check=True)


def break_node(folder: Path, environment: dict[str, str], job: str) -> None:
    """The job returns to the queue and is sent to a node that cannot start it; SLURM holds the job and puts the node aside."""
    (folder / "broken").touch()
    ask(environment, "scontrol", "requeue", job)
    end = time.monotonic() + WAIT_S
    while not slurm_cluster.drained(environment):
        assert time.monotonic() < end
        time.sleep(0.5)
    (folder / "broken").unlink()


def attended(environment: dict[str, str], snakemake: subprocess.Popen[str]) -> int:
    """Wait for Snakemake's end; an administrator takes back the node that SLURM has put aside."""
    end = time.monotonic() + WAIT_S
    while snakemake.poll() is None and time.monotonic() < end:
        if slurm_cluster.drained(environment):
            slurm_cluster.resume(environment)
        time.sleep(1)
    return snakemake.wait(1)


FAULTS: list[tuple[str, str, Callable[[Path, dict[str, str], str], None]]] = [
    ("scancel", "measure", cancel),
    ("scancel", "pack", cancel),
    ("slurmctld killed, back after 10 s", "pack", kill_controller),
    ("job requeued by SLURM", "generate", preempt),
    ("node lost (slurmd and job killed)", "pack", kill_node),
    ("node broken (its prolog fails)", "pack", break_node),
    ("SLURM's time limit, of a job that hangs", "pack", hang),
]


@pytest.mark.parametrize(("kind", "stage", "fault"), FAULTS, ids=[f"{fault.__name__}-{stage}" for _, stage, fault in FAULTS])
def test_snakemake_goes_on_by_itself(kind, stage, fault, slurm, reference, ledger, draw, tmp_path) -> None:
    folder, environment = slurm
    reference.copy(tmp_path)
    job = draw.choice(reference.of(stage))
    start_anew(tmp_path, job)
    shutil.rmtree(tmp_path / "results/release")  # else Snakemake would not ask for what it is made of
    known = set(ask(environment, "squeue", "-h", "-t", "all", "-o", "%i").split())
    with ledger.injection(kind, f"{stage} on SLURM") as told, (tmp_path / "said").open("w") as said:
        words = command(tmp_path, "--max-threads", "1", "--", job.outputs[0], TARGET, profile=PROFILE)  # as the reference
        running = subprocess.Popen(words, env=environment, stdout=said, stderr=said, text=True)
        try:
            fault(folder, environment, running_job(environment, known, running))
            assert attended(environment, running) == 0, (tmp_path / "said").read_text()[-3000:]
        finally:
            running.kill()
        reference.check(tmp_path, job)
        assert released(tmp_path) == reference.release
        told.append("the same call goes on by itself: the same release")
