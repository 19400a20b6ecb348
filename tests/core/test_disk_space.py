"""Disk space: the estimate follows the numbers of voxels and rows, and is held against what is free."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from brainldm.core import disk_space
from brainldm.core.config import Config, parse

CONFIG = parse(yaml.safe_load((Path(__file__).parents[1] / "tiny/config.yaml").read_text()))


def grown(n_rows: int) -> Config:
    return CONFIG.model_copy(update={"request": CONFIG.request.model_copy(update={"n_rows": n_rows})})


def test_the_published_dataset_is_of_the_published_size() -> None:
    """100,000 volumes of 160 x 224 x 160 voxels take 591 GB; ours are counted for the worst case."""
    grid = CONFIG.grid.model_copy(update={"shape": (160, 224, 160)})
    needs = disk_space.needed(grown(100_000).model_copy(update={"grid": grid}), 0, 33_600, 0)
    assert needs["generate"] == needs["pack"] == needs["release"]
    assert 1 <= needs["release"] / 591e9 <= 1.5
    assert needs["generate (latents)"] == pytest.approx(6.72e9)


def test_the_published_latents_are_of_the_counted_size() -> None:
    assert disk_space.needed(CONFIG, 31_740, 33_600, 0)["encode"] == pytest.approx(4.27e9, rel=0.01)


@pytest.mark.parametrize(("free", "verdict"), [(1.0e9, "ok"), (1.05e6, "warning"), (0.5e6, "error")])
def test_a_full_disk_is_told_with_what_takes_the_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: float, verdict: str) -> None:
    monkeypatch.setattr(disk_space.shutil, "disk_usage", lambda folder: SimpleNamespace(free=free))
    finding = disk_space.check(tmp_path / "not/made/yet", {"preprocess": 0.2e6, "generate": 0.8e6})
    assert finding.verdict == verdict
    assert ("request.n_rows" in finding.remedy and "of generate" in finding.remedy) == (verdict != "ok")


def test_what_is_written_already_is_not_needed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_space.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    (tmp_path / "generate").mkdir()
    assert disk_space.check(tmp_path, {"generate": 5000}).verdict == "error"
    (tmp_path / "generate/a.tar").write_bytes(bytes(4500))
    assert disk_space.check(tmp_path, {"generate": 5000}).verdict == "ok"
