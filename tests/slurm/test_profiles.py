"""The true pipeline through a real SLURM: every job a job of the cluster, and the release a workstation's, byte for byte."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from brainldm.core.story import STORY

ROOT = Path(__file__).parents[2]
PROFILES = ROOT / "workflow/profiles"
ON_GPU = {"train_segmenter", "segment", "train_autoencoder", "encode", "train_diffusion", "train_age", "generate", "measure", "evaluate"}
SOON = {"slurm": ["--slurm-init-seconds-before-status-checks=2"], "slurm-generic": []}
WAIT_S = 1200
pytestmark = pytest.mark.slow


def command(folder: Path, profile: str, *arguments: str) -> list[str]:
    shutil.copy(ROOT / "tests/tiny/config.yaml", folder / "config.yaml")
    options = ["--snakefile", ROOT / "Snakefile", "--directory", folder, "--configfile", folder / "config.yaml"]
    named = ["--workflow-profile", PROFILES / profile, *SOON.get(profile, ["--cores", "2"])]
    return [sys.executable, "-m", "snakemake", *map(str, [*options, *named]), *arguments]


def run(folder: Path, profile: str, environment: Any, *arguments: str) -> None:
    done = subprocess.run(command(folder, profile, *arguments), env=environment, capture_output=True, text=True, timeout=WAIT_S)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]


@pytest.fixture(scope="module")
def local(cluster: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The release of a workstation's run; made only where there is a cluster to compare it with."""
    folder = tmp_path_factory.mktemp("workstation")
    run(folder, "default", os.environ)
    return released(folder)


def released(folder: Path) -> dict[str, bytes]:
    """Every file of the release, by name."""
    top = folder / "results/release"
    found = {str(path.relative_to(top)): path.read_bytes() for path in sorted(top.rglob("*")) if path.is_file()}
    assert len(found) > 10
    return found


def jobs(environment: dict[str, str]) -> list[dict[str, str]]:
    """What the controller knows of every job."""
    shown = subprocess.run(["scontrol", "--oneliner", "show", "job"], env=environment, capture_output=True, text=True, check=True).stdout
    return [dict(re.findall(r"(\S+?)=(\S*)", line)) for line in shown.splitlines() if "JobId=" in line]


def rule_of(job: dict[str, str]) -> str:
    """From the job's log, logs/slurm/[rule_]<rule>/... or logs/slurm/<rule>-<id>.log."""
    return re.search(r"logs/slurm/(?:rule_)?([a-z_]+)", job["StdOut"]).group(1)  # type: ignore[union-attr]


@pytest.mark.parametrize("profile", ["slurm", "slurm-generic"])
def test_the_release_is_a_workstations(profile: str, cluster: dict[str, str], local: dict[str, bytes], tmp_path: Path) -> None:
    pytest.importorskip(f"snakemake_executor_plugin_{profile.replace('slurm-', 'cluster_')}")
    before = len(jobs(cluster))
    run(tmp_path, profile, cluster)
    ours = jobs(cluster)[before:]
    assert {job["JobState"] for job in ours} == {"COMPLETED"}
    assert {rule_of(job) for job in ours} == set(STORY)
    assert all(job["Partition"] == ("gpu" if rule_of(job) in ON_GPU else "cpu") for job in ours)
    assert {rule_of(job) for job in ours if job.get("TresPerJob") == "gres:gpu:1"} == ON_GPU
    assert all(Path(job["StdOut"]).stat().st_size > 0 for job in ours)
    assert released(tmp_path) == local
