"""`brainldm plan`: measured on the tiny configuration; the figures agree with one another, and faults are one clear error."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from brainldm.__main__ import application
from brainldm.core.config import parse
from brainldm.core.errors import BrainLDMError

VALUES = yaml.safe_load((Path(__file__).parents[1] / "tiny/config.yaml").read_text())


def plan(folder: Path, *words: object, **changes: Any) -> Result:
    values = VALUES | {name: VALUES.get(name, {}) | change if isinstance(change, dict) else change for name, change in changes.items()}
    (folder / "mine.yaml").write_text(yaml.safe_dump(values))
    arguments = ["plan", "--config", folder / "mine.yaml", "--seconds", 6, "--results", folder / "results", *words]
    return CliRunner().invoke(application("plan"), [str(word) for word in arguments], catch_exceptions=False, env={"COLUMNS": "200"})


def test_the_figures_agree_with_one_another(tmp_path: Path) -> None:
    told = json.loads(plan(tmp_path, "--json", "--devices", 2, request={"n_rows": 1000, "rows_per_shard": 250}).output)
    config, work = parse(VALUES), {name: timed["seconds"] for name, timed in told["work"].items()}
    assert told["volume_seconds"]["generate"] == pytest.approx(config.generate.steps * work["denoise"] + work["decode"] + work["write"])
    assert told["wall_hours"] * 2 * told["threads"] == pytest.approx(told["hours"])
    assert told["hours"] == pytest.approx(sum(told["stage_hours"].values()))
    assert (told["jobs"]["generate"], told["n_shards"], told["hours_of"]) == (4, 4, "CPU")
    assert told["disk_bytes"]["generate"] > told["disk_bytes"]["generate (latents)"] > 0
    assert all(timed["measured"] >= 1 for timed in told["work"].values())


def test_the_tables_tell_hours_jobs_disk_and_what_measuring_costs(tmp_path: Path) -> None:
    source = {"kind": "manifest", "manifest": str(tmp_path / "none.tsv")}
    told = plan(tmp_path, "--measure-seconds", 100, segmenter="mri_synthseg", source=source).output
    for part in ("denoise", "CPU-hours", "generate (latents)", "10 volumes in 3 shards", "it ends 20", "no manifest yet"):
        assert part in told
    assert "measuring all rows by mri_synthseg costs more than generating them" in told
    assert "preprocess" not in told


@pytest.mark.parametrize(
    ("words", "changes", "message"),
    [
        (["--device", "cuda"], {}, "expected a GPU, found none"),
        ([], {"grid": {"shape": [31, 40, 32]}}, "does not fit the networks"),
        (["--diffusion", "nowhere"], {}, "Cannot read nowhere: No such file or directory"),
    ],
)
def test_what_cannot_be_planned_is_one_error(tmp_path: Path, words: list[str], changes: dict[str, Any], message: str) -> None:
    if "cuda" in words and __import__("torch").cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(BrainLDMError, match=message):
        plan(tmp_path, *words, **changes)
