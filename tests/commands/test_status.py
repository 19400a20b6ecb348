"""`brainldm status` of a project that the true Snakemake has run: what is done, what failed and why, what was cut off."""

import json
import os
import subprocess
import sys
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from brainldm.__main__ import application
from brainldm.core.run_state import Job, jobs, last_words, progress
from brainldm.core.story import STORY
from brainldm.formats.settings import read_config

ROOT = Path(__file__).parents[2]


def told(*words):
    result = CliRunner().invoke(application("status"), ["status", *map(str, words)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def project(tmp_path):
    (tmp_path / "config.yaml").write_text((ROOT / "config.yaml").read_text())
    return tmp_path


def finish(folder, stage, name, path, seconds=1800.0, ended=None):
    for made in (folder / path, folder / f"results/benchmarks/{stage}/{name}.tsv"):
        made.parent.mkdir(parents=True, exist_ok=True)
        made.write_text(f"s\th:m:s\n{seconds}\t-\n")
        os.utime(made, (ended, ended) if ended else None)


def test_every_stage_has_its_jobs_and_its_files_are_known(project):
    found = list(jobs(read_config(project / "config.yaml"), 288, project))
    assert list(dict.fromkeys(job.stage for job in found)) == list(STORY)
    assert {job.state for job in found} == {"missing"}
    assert [job.name for job in found if job.stage == "generate"] == ["000000-000063", "000064-000127", "000128-000191", "000192-000255"]
    assert sum(job.stage == "preprocess" for job in found) == 4


def test_the_table_fits_a_terminal_of_80_columns(project):
    finish(project, "train_autoencoder", "train_autoencoder", "results/train_autoencoder/model.safetensors")
    head = next(line for line in told(project).splitlines() if line.lstrip().startswith("stage"))
    assert head.split() == ["stage", "done", "running", "interrupted", "failed", "missing", "jobs/h", "h", "left"]


def test_optional_stages_are_told_where_they_were_asked_for(project):
    finish(project, "train_baseline", "lsgan", "results/train_baseline/lsgan/model.safetensors")
    (project / "results/train_baseline/lsgan/log.csv").touch()
    for log in ("train_baseline/lsgan.log", "train_baseline/vaegan.log", "utility/real-1.log"):
        (project / "logs" / log).parent.mkdir(parents=True, exist_ok=True)
        (project / "logs" / log).touch()
    stages = json.loads(told(project, "--json"))["stages"]
    assert list(stages) == [*STORY, "train_baseline", "utility"]
    assert {state: count for state, count in stages["train_baseline"]["counts"].items() if count} == {"done": 1, "failed": 1}
    assert stages["utility"]["counts"]["missing"] == 1


def test_a_release_is_done_without_the_sample_that_nobody_asked_for(project):
    finish(project, "release", "release", "results/release/checksums.sha256")
    assert json.loads(told(project, "--json"))["stages"]["release"]["counts"]["done"] == 1


def test_rates_count_jobs_that_work_side_by_side(project):
    for place, name in enumerate(("000000-000063", "000064-000127", "000128-000191")):
        finish(project, "request", name, f"results/request/{name}.parquet", ended=1e9 + 1800 * (place // 2))
    stage = json.loads(told(project, "--json"))["stages"]["request"]
    assert (stage["counts"]["done"], stage["counts"]["missing"]) == (3, 1)
    assert stage["per_hour"] == pytest.approx(4)
    assert stage["hours_left"] == pytest.approx(0.25)
    alone = progress([Job("request", "a", "done", Path("a"), 1800.0, 1e9), Job("request", "b", "missing", Path("b"))])
    assert (alone.per_hour, alone.hours_left) == (2, 0.5)


def test_what_snakemake_has_begun_runs_while_it_holds_its_lock_and_was_cut_off_otherwise(project):
    marks, locks = project / ".snakemake/incomplete", project / ".snakemake/locks"
    marks.mkdir(parents=True)
    (marks / urlsafe_b64encode(b"results/train_age/model.safetensors").decode()).touch()
    assert json.loads(told(project, "--json"))["stages"]["train_age"]["counts"]["interrupted"] == 1
    locks.mkdir()
    (locks / "0.output.lock").write_text("results/train_age/model.safetensors\n")
    assert json.loads(told(project, "--json"))["stages"]["train_age"]["counts"]["running"] == 1


def test_a_job_that_failed_is_told_with_its_error_and_log(project):
    """The real workflow: the cohort's section is made, and its manifest names a scan that is not there."""
    config = yaml.safe_load((project / "config.yaml").read_text())
    config["source"] = {"kind": "manifest", "manifest": "scans.tsv"}
    (project / "config.yaml").write_text(yaml.safe_dump(config))
    (project / "scans.tsv").write_text("participant_id\tt1w\tage_years\tsex\tsplit\nsub-1\tlost.nii.gz\t50\tF\ttrain\n")
    command = ["--cores", "1", "--snakefile", ROOT / "Snakefile", "--workflow-profile", ROOT / "workflow/profiles/default"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [sys.executable, "-m", "snakemake", *map(str, command), "results/preprocess/000/qc.tsv"],
        cwd=project, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert run.returncode != 0
    text = " ".join(told(project).split())
    assert "failed: preprocess 000: brainldm: error: " in text
    assert "lost.nii.gz" in text
    assert f"log: {project}/logs/preprocess/000.log" in text


def test_the_last_words_of_a_log_are_its_error(tmp_path):
    log = tmp_path / "a.log"
    assert last_words(log) == ""
    log.write_text("begun\nbrainldm: error: no such scan\nfinishing\n")
    assert last_words(log) == "brainldm: error: no such scan"
    log.write_text("begun\nstep 3\n\n")
    assert last_words(log) == "step 3"


def test_a_manifest_that_is_not_there_yet_is_told(project):
    text = (project / "config.yaml").read_text().replace("kind: cohort", "kind: manifest").replace("manifest: null", "manifest: scans.tsv")
    (project / "config.yaml").write_text(text)
    assert "scans.tsv is not there yet" in told(project)
