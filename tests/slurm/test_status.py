"""The status command of the generic profile, asked about real jobs in every state that a small cluster can show."""

import subprocess
import time
from pathlib import Path

import pytest
import slurm_cluster

pytestmark = pytest.mark.slow
STATUS = Path(__file__).parents[2] / "workflow/profiles/slurm-generic/status.sh"


def submit(cluster: dict[str, str], command: str, *options: str) -> str:
    words = ["sbatch", "--parsable", "--output=/dev/null", "--mem=10", *options, f"--wrap={command}"]
    return subprocess.run(words, env=cluster, capture_output=True, text=True, check=True).stdout.strip()


def status(cluster: dict[str, str], job: str) -> str:
    return subprocess.run([STATUS, job], env=cluster, capture_output=True, text=True, check=True).stdout


def wait_for(cluster: dict[str, str], job: str, answer: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while status(cluster, job) != answer:
        assert time.monotonic() < end, subprocess.run(["scontrol", "show", "job", job], env=cluster, capture_output=True, text=True).stdout
        time.sleep(0.3)


@pytest.mark.parametrize(("command", "answer"), [("true", "success\n"), ("false", "failed\n"), ("kill -9 $$", "failed\n")])
def test_how_a_job_ended(cluster: dict[str, str], command: str, answer: str) -> None:
    wait_for(cluster, submit(cluster, command), answer)


def test_a_job_that_waits_or_runs_is_running_until_it_is_cancelled(cluster: dict[str, str]) -> None:
    held, job = submit(cluster, "true", "--hold"), submit(cluster, "sleep 100")
    for one in (held, job, f"{job};elsewhere"):  # a federation appends its cluster's name
        assert status(cluster, one) == "running\n"
    subprocess.run(["scancel", held, job], env=cluster, check=True)
    for one in (held, job):
        wait_for(cluster, one, "failed\n")


def test_a_preempted_job_is_running_again(cluster: dict[str, str]) -> None:
    """It returns to the queue; a job that has only just been told to end counts as running too."""
    job = submit(cluster, "sleep 100", "--partition=gpu", "--requeue", "--exclusive")
    wait_for_state(cluster, job, "RUNNING")
    urgent = submit(cluster, "sleep 3", "--partition=high", "--exclusive")
    wait_for(cluster, urgent, "success\n")
    assert status(cluster, job) == "running\n"
    wait_for_state(cluster, job, "PENDING")
    subprocess.run(["scancel", job], env=cluster, check=True)
    wait_for(cluster, job, "failed\n")


def wait_for_state(cluster: dict[str, str], job: str, state: str) -> None:
    end = time.monotonic() + 60
    while f"JobState={state}" not in (
        shown := subprocess.run(["scontrol", "show", "job", job], env=cluster, capture_output=True, text=True).stdout
    ):
        assert time.monotonic() < end, shown
        time.sleep(0.3)


def test_a_job_that_nobody_remembers_has_failed(cluster: dict[str, str]) -> None:
    assert status(cluster, "999999") == "failed\n"


def test_while_the_controller_is_away_jobs_are_running(cluster: dict[str, str], slurm_folder: Path) -> None:
    job = submit(cluster, "true")
    wait_for(cluster, job, "success\n")
    slurm_cluster.stop(slurm_folder, "slurmctld")
    try:
        assert status(cluster, job) == "running\n"
    finally:
        slurm_cluster.start(slurm_folder, cluster, "slurmctld")
    wait_for(cluster, job, "success\n")


def test_a_job_that_a_broken_node_has_stranded_is_cancelled_and_has_failed(cluster: dict[str, str], slurm_folder: Path) -> None:
    """SLURM holds it and puts the node aside; without this Snakemake would wait for ever."""
    (slurm_folder / "broken").touch()
    try:
        job = submit(cluster, "true", "--requeue")
        wait_for(cluster, job, "failed\n")
        wait_for_state(cluster, job, "CANCELLED")
    finally:
        (slurm_folder / "broken").unlink()
        slurm_cluster.resume(cluster)
    wait_for(cluster, submit(cluster, "true"), "success\n")
