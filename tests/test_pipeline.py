"""The true Snakefile on tests/tiny/config.yaml: from raw scans to a release and a report, once; then what must and must not run again."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import yaml

from brainldm.core.grid import Grid
from brainldm.formats import html, publishable
from brainldm.formats.nifti import read_volume

ROOT = Path(__file__).parents[1]
REQUIRED = (
    "n_synthetic", "ventricles_r", "ventricles_r_ci", "brain_r", "age_r", "age_r_real", "fid", "fid_real",
    "ms_ssim", "ms_ssim_real", "g4r_ssim", "g4r_ssim_real", "nearest_train_ratio",
)  # fmt: skip


MODELS = ("autoencoder", "diffusion", "segmenter", "age")


def snakemake(folder, *arguments):
    command = [sys.executable, "-m", "snakemake", *arguments, "--snakefile", ROOT / "Snakefile", "--directory", folder, "--cores", "2"]
    profile = ["--workflow-profile", ROOT / "workflow/profiles/default", "--configfile", folder / "config.yaml"]
    return subprocess.run([*map(str, [*command, *profile])], capture_output=True, text=True, timeout=600)


def jobs(folder, *arguments):
    """The jobs that a dry run plans, by rule."""
    result = snakemake(folder, *arguments, "--dry-run", "--quiet", "host")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.split("Job stats:")[-1].splitlines() if "Job stats:" in result.stdout else []
    counts = {words[0]: int(words[1]) for line in lines if len(words := line.split()) == 2 and words[1].isdigit()}
    return {rule: count for rule, count in counts.items() if rule not in ("total", "all")}


def edit(folder, change):
    values = yaml.safe_load((folder / "config.yaml").read_text())
    change(values)
    (folder / "config.yaml").write_text(yaml.safe_dump(values))


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("a project's folder")
    shutil.copy(ROOT / "tests/tiny/config.yaml", folder / "config.yaml")
    result = snakemake(folder)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-6000:]
    return folder


def test_the_report_holds_every_headline_figure_with_its_n(project):
    report = json.loads((project / "results/evaluate/report.json").read_text())
    for key in REQUIRED:
        assert key in report
    for key in (
        "ventricles_r",
        "brain_r",
        "age_r",
        "age_r_real",
        "fid",
        "fid_real",
        "ms_ssim",
        "ms_ssim_real",
        "g4r_ssim",
        "nearest_train_ratio",
    ):
        assert report[f"{key}_n"] > 0
    assert report["n_synthetic"] == 10
    assert report["audit"] == "not enough data"
    assert (project / "results/evaluate/reference.npz").exists()
    assert list(publishable.unlisted(report)) == []
    page = (project / "results/report.html").read_text()
    assert "demo population" in page
    assert html.kind_of(page) == "private"
    public = (project / "results/report-public.html").read_text()
    assert public == (project / "results/release/report-public.html").read_text()
    shown = json.loads((project / "results/evaluate/shown.json").read_text())
    people = {*shown["real"], *shown["near_train"]}
    assert people
    assert not [who for who in people if f"{who}<" in public or f'"{who}"' in public]
    assert "brainldm" in (project / "results/report.txt").read_text()


def test_the_release_is_whole(project):
    release = project / "results/release"
    subprocess.run(["sha256sum", "-c", "--quiet", "checksums.sha256"], cwd=release, check=True)
    table = pd.read_parquet(release / "covariates.parquet")
    assert len(table) == 10
    assert {"age_years", "sex", "ventricles_ml", "brain_ml", "seed", "sha256", "shard"} <= set(table.columns)
    values = yaml.safe_load((project / "config.yaml").read_text())
    grid = Grid.model_validate(values["grid"])
    for who in table["participant_id"]:
        path = release / who / "anat" / f"{who}_T1w.nii.gz"
        image = nib.load(path)
        assert np.isfinite(read_volume(path, grid)).all()
        assert np.allclose(image.header.get_qform(), image.header.get_sform(), atol=1e-3)
        assert image.header["sform_code"] == image.header["qform_code"] == 2
    for name in ("dataset_description.json", "participants.tsv", "participants.json", "brainldm-tiny.torrent"):
        assert (release / name).stat().st_size > 0


def test_training_scans_are_measured_for_every_subject(project):
    covariates = pd.read_csv(project / "results/covariates/covariates.tsv", sep="\t")
    manifest = pd.read_csv(project / "results/cohort/manifest.tsv", sep="\t")
    assert covariates["participant_id"].tolist() == manifest["participant_id"].tolist()
    assert set(covariates["split"]) == {"train", "test"}
    assert (covariates[["ventricles_ml", "brain_ml", "icv_ml"]] > 0).all(axis=None)


def test_the_release_scored_by_its_protocol_has_the_figures_of_its_evaluation(project, tmp_path):
    release, report = project / "results/release", json.loads((project / "results/evaluate/report.json").read_text())
    options = {
        "table": release / "covariates.parquet",
        "protocol": release / "protocol.yaml",
        "models": project / "results",
        "out": tmp_path,
    }
    command = [
        sys.executable,
        "-m",
        "brainldm",
        "score",
        release,
        *(word for name, value in options.items() for word in (f"--{name}", value)),
    ]
    result = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    scored = json.loads((tmp_path / "score.json").read_text())
    for name in (
        "ventricles_r",
        "brain_bias_ml",
        "age_mae_years",
        "age_r_real",
        "fid",
        "fid_real",
        "kid",
        "ms_ssim",
        "g4r_ssim_real",
        "sharpness",
    ):
        assert scored[name] == pytest.approx(report[name], rel=1e-4, abs=1e-6), name  # a release rounds what was asked for
        assert scored[f"{name}_n"] == report[f"{name}_n"], name


@pytest.mark.slow
def test_what_the_volumes_are_good_for_is_told_when_it_is_asked_for(project):
    result = snakemake(project, "utility")
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-6000:]
    rows = json.loads((project / "results/utility/table.json").read_text())["rows"]
    assert {name: (row["n_synthetic"], row["n_trainings"]) for name, row in rows.items()} == {
        "real": (0, 2),
        "synthetic": (8, 2),
        "both": (8, 2),
    }
    assert jobs(project, "all", "utility") == {}


def test_a_second_run_does_nothing(project):
    assert jobs(project) == {}


def test_growth_adds_shards_and_runs_none_again(project):
    grown = jobs(project, "--config", "request={n_rows: 16, rows_per_shard: 4, jitter: 0.1}")
    # 10 rows are shards of 4, 4 and 2; 16 rows are four of 4, of which the first two stand.
    assert {rule: grown.get(rule) for rule in ("request", "generate", "measure")} == {"request": 2, "generate": 2, "measure": 2}
    assert not {"cohort", "preprocess", "train_autoencoder", "train_diffusion"} & set(grown)


@pytest.mark.parametrize(
    ("edited", "touched", "untouched"),
    [
        ("train_age={steps: 21}", {"train_age", "generate", "measure", "evaluate", "release"}, {"train_diffusion", "segment"}),
        ("generate={attempts: 1}", {"generate", "measure", "evaluate", "release", "report"}, {"train_age", "request"}),
        ("generate={steps: 6}", {"generate", "measure", "evaluate"}, {"request", "train_diffusion"}),
        ("release={license: CC-BY-4.0}", {"release"}, {"evaluate", "generate", "report"}),
        ("device=cpu", set(), {"generate", "train_autoencoder"}),
    ],
)
def test_an_edit_runs_what_it_touches_and_nothing_else(project, edited, touched, untouched):
    planned = set(jobs(project, "--config", edited))
    assert touched <= planned
    assert not untouched & planned


def test_rows_are_the_same_in_other_shards(project, tmp_path):
    """The same ten rows as one shard and in batches that begin elsewhere: byte for byte the same volumes."""
    tables = [pd.read_parquet(path) for path in sorted((project / "results/request").glob("*.parquet"))]
    merged = tmp_path / "000000-000009.parquet"
    pd.concat(tables, ignore_index=True).to_parquet(merged, index=False)
    out = tmp_path / "000000-000009.json"
    models = [f"--{name}={project / f'results/train_{name}/model.safetensors'}" for name in MODELS]
    command = ["generate", f"--section={project / 'results/configure/generate.json'}", f"--request={merged}", *models, f"--out={out}"]
    subprocess.run([sys.executable, "-m", "brainldm", *command], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    rows = {row["index"]: (row["sha256"], row["attempt"], row["rejected"]) for row in json.loads(out.read_text())["rows"]}
    shards = [json.loads(path.read_text()) for path in sorted((project / "results/generate").glob("*.json"))]
    assert rows == {row["index"]: (row["sha256"], row["attempt"], row["rejected"]) for shard in shards for row in shard["rows"]}
    assert any(attempt for _, attempt, _ in rows.values()), "none was drawn again"
    table = pd.read_parquet(project / "results/release/covariates.parquet")
    assert table["attempt"].tolist() == [attempt for _, attempt, _ in rows.values()]
    report = json.loads((project / "results/evaluate/report.json").read_text())
    assert report["rejection_rate_n"] == len(table) + table["attempt"].sum()
    assert report["rejection_rate"] == (table["attempt"].sum() + (~table["qc_pass"]).sum()) / report["rejection_rate_n"]


def test_a_mistyped_key_is_one_clear_error(project, tmp_path):
    shutil.copy(project / "config.yaml", tmp_path / "config.yaml")
    edit(tmp_path, lambda values: values["generate"].update(stepz=5))
    result = snakemake(tmp_path)
    assert result.returncode != 0
    assert "generate.stepz: unknown key; did you mean 'steps'?" in result.stdout + result.stderr
    assert not (tmp_path / "results").exists()


@pytest.fixture
def lab(project, tmp_path):
    """A lab's own scans: three of the cohort's, of which the second is truncated."""
    manifest = pd.read_csv(project / "results/cohort/manifest.tsv", sep="\t").head(3)
    manifest["t1w"] = [str(project / "results/cohort" / name) for name in manifest["t1w"]]
    bad = tmp_path / "bad scan.nii.gz"
    bad.write_bytes(Path(manifest.loc[1, "t1w"]).read_bytes()[:5000])
    manifest.loc[1, "t1w"] = str(bad)
    manifest.to_csv(tmp_path / "scans.tsv", sep="\t", index=False)
    shutil.copy(project / "config.yaml", tmp_path / "config.yaml")
    edit(tmp_path, lambda values: values["source"].update(kind="manifest", manifest="scans.tsv"))
    return tmp_path


def test_a_bad_scan_stops_the_run_by_name(lab):
    result = snakemake(lab, "results/preprocess/000/qc.tsv")
    assert result.returncode != 0
    assert "bad scan.nii.gz" in result.stdout + result.stderr
    assert not (lab / "results/preprocess/000/qc.tsv").exists()


def test_a_bad_scan_is_listed_and_left_out_when_asked(lab):
    edit(lab, lambda values: values["preprocess"].update(on_bad_scan="skip"))
    result = snakemake(lab, "results/preprocess/000/qc.tsv")
    assert result.returncode == 0, result.stderr[-3000:]
    qc = pd.read_csv(lab / "results/preprocess/000/qc.tsv", sep="\t")
    assert qc["status"].tolist() == ["ok", "bad", "ok"]
    assert "bad scan.nii.gz" in qc["reason"][1]
