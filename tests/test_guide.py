"""The guide, executed: every block of commands, page by page in one folder; `slow` ones need minutes, `slurm` ones its plugin."""

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "docs/guide"
BLOCKS = [
    (page.stem, place, kind.strip(), text)
    for page in sorted(GUIDE.glob("[0-9]-*.md"))
    for place, (kind, text) in enumerate(re.findall(r"^```sh(.*)\n((?:.*\n)*?)```$", page.read_text(), re.MULTILINE))
]
SLURM = find_spec("snakemake_executor_plugin_cluster_generic")
ENVIRONMENT = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("guide")


def run(folder: Path, *command: str) -> str:
    result = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=900)
    assert result.returncode == 0, f"{command[-1]}\n{result.stdout[-3000:]}\n{result.stderr[-3000:]}"
    return result.stdout


@pytest.fixture(scope="module")
def blocks_to(folder):
    """Run a block after those before it that have not run; before one that is not slow, the slow ones are left out."""
    done = set()

    def go(last: int) -> None:
        for place, (_, _, kind, text) in enumerate(BLOCKS[: last + 1]):
            if place in done or (kind == "slow" and BLOCKS[last][2] != "slow") or (kind == "slurm" and not SLURM):
                continue
            run(folder, "bash", "-euc", text)
            done.add(place)

    return go


@pytest.mark.parametrize(
    "place",
    [
        pytest.param(place, id=f"{page} {number}", marks=[pytest.mark.slow] if kind == "slow" else [])
        for place, (page, number, kind, _) in enumerate(BLOCKS)
    ],
)
def test_a_block_of_commands_runs(blocks_to, place):
    if BLOCKS[place][2] == "slurm" and not SLURM:
        pytest.skip("brainldm[slurm] is not installed")
    blocks_to(place)


def test_the_notebook_runs(folder):
    assert "ventricles_ml: 10 to 100" in run(folder, sys.executable, str(GUIDE / "python.py"))


@pytest.mark.slow
def test_score_gives_a_run_its_own_figures(folder, blocks_to):
    """Two ways to one number: the stage `evaluate`, and `score` on the release as if somebody else had made it."""
    blocks_to(max(place for place, block in enumerate(BLOCKS) if block[2] == "slow"))
    release = "first/results/release"
    options = {"table": f"{release}/covariates.parquet", "protocol": f"{release}/protocol.yaml", "models": "first/results", "out": "own"}
    run(folder, "brainldm", "score", release, *(word for name, value in options.items() for word in (f"--{name}", value)))
    scored, report = (json.loads((folder / path).read_text()) for path in ("own/score.json", "first/results/evaluate/report.json"))
    for name in ("ventricles_r", "brain_bias_ml", "age_r", "age_r_real", "fid", "kid_real", "ms_ssim", "g4r_ssim_real", "sharpness"):
        assert scored[name] == pytest.approx(report[name], rel=1e-4), name  # a release rounds what was asked for


def test_pages_of_the_guide_are_listed_and_their_links_lead_somewhere():
    index = (GUIDE / "README.md").read_text()
    for page in GUIDE.glob("*.md"):
        assert page.name == "README.md" or page.name in index
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert link.startswith("http") or (GUIDE / link).exists(), link
