"""`brainldm run`, from the built wheel alone: two projects side by side, outside any checkout, share nothing."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from brainldm.commands.init import main as init
from brainldm.commands.run import arguments
from brainldm.core.errors import ConfigError
from brainldm.core.project import SNAKEFILE

ROOT = Path(__file__).parents[2]
SOURCES = ("brainldm", "workflow", "envs", "Snakefile", "config.yaml", "pyproject.toml", "README.md")


def test_snakemake_is_told_the_projects_workflow_and_all_cores_by_default(tmp_path):
    init(tmp_path)
    assert arguments(tmp_path, [], None, None, False) == ["--snakefile", str(tmp_path / "Snakefile"), "--cores", "all"]
    (tmp_path / "Snakefile").unlink()
    assert arguments(tmp_path, ["a"], "3", None, True) == ["--snakefile", str(SNAKEFILE), "--cores", "3", "--dry-run", "a"]


def test_a_profile_is_one_of_the_projects_and_says_the_cores(tmp_path):
    init(tmp_path)
    assert arguments(tmp_path, [], None, "default", False)[2:] == ["--workflow-profile", str(tmp_path / "profiles/default")]
    with pytest.raises(ConfigError, match=r"--profile: expected a folder of profiles/ \(default.*\), found 'moon'"):
        arguments(tmp_path, [], None, "moon", False)


def test_elsewhere_the_error_says_how_to_make_a_project(tmp_path):
    with pytest.raises(ConfigError, match=r"expected a project, found no config\.yaml; `brainldm init DIR` makes one"):
        arguments(tmp_path, [], None, None, False)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder in which the built wheel is installed, and nothing of the checkout is."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name, **({"symlinks": True} if (ROOT / name).is_dir() else {}))
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    for command in (["wheel", "--no-build-isolation", "--wheel-dir", source / "dist", source], ["install", "--target", target]):
        wheels = list(source.glob("dist/*.whl"))
        subprocess.run([*pip, *map(str, [*command[:1], "--no-deps", *command[1:], *wheels])], check=True, timeout=500)
    shutil.rmtree(source)
    return target


def brainldm(installed, folder, *words):
    environment = os.environ | {"PYTHONPATH": str(installed)}
    command = [sys.executable, "-m", "brainldm", *map(str, words)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_two_projects_of_a_wheel_run_side_by_side_and_share_nothing(installed, tmp_path):
    seeds = {"a": 11, "b": 12}
    for name, seed in seeds.items():
        made = brainldm(installed, tmp_path, "init", name, "--population")
        assert made.returncode == 0, made.stderr
        config = yaml.safe_load((tmp_path / name / "config.yaml").read_text())
        (tmp_path / name / "config.yaml").write_text(yaml.safe_dump(config | {"seed": seed}))
    runs = {name: brainldm(installed, tmp_path / name, "run", "--cores", 1, "results/configure/cohort.json") for name in seeds}
    for name, run in runs.items():
        assert run.returncode == 0, run.stdout + run.stderr
        assert json.loads((tmp_path / name / "results/configure/cohort.json").read_text())["seed"] == seeds[name]
    plan = brainldm(installed, tmp_path / "a", "run", "--dry-run", "--cores", 2, "--", "--quiet", "host")
    assert plan.returncode == 0, plan.stdout + plan.stderr
    assert "train_diffusion" in plan.stdout
    assert not (installed / "results").exists()
    by_hand = [sys.executable, "-m", "snakemake", "--cores", "1", "--dry-run", "results/cohort/manifest.tsv"]
    subprocess.run(by_hand, cwd=tmp_path / "b", env=os.environ | {"PYTHONPATH": str(installed)}, check=True, capture_output=True)
