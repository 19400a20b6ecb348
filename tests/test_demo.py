"""The demo as a user runs it, and what it must reach. About 20 minutes on 2 cores."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    shutil.copy(ROOT / "config.yaml", folder)
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--snakefile", ROOT / "Snakefile", "--directory", folder]
    subprocess.run([*map(str, command)], check=True)
    return json.loads((folder / "results/evaluate/report.json").read_text())


@pytest.mark.slow
def test_the_demo_reaches_its_goals(report):
    assert report["segmenter_ventricles_r"] >= 0.98
    assert report["ventricles_r"] >= 0.97  # the paper's 0.972
    assert abs(report["ventricles_bias_ml"]) < 5
    assert report["age_r"] >= 0.69  # the paper's 0.692
    assert report["age_r"] >= 0.9 * report["age_r_real"]
    assert abs(report["ms_ssim"] - report["ms_ssim_real"]) <= 0.03
    assert report["audit"] == "no copies found"
    assert min(report["audit_found_altered"], report["audit_found_decoded"]) >= 0.95
    assert report["audit_false_alarms"] <= 0.01
    assert [name for name, row in report["verdicts"].items() if not row["passed"]] == []
