"""Scans and manifests: each planted fault is found, with its remedy; sound ones pass."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import yaml

from brainldm.core.config import Config, parse
from brainldm.formats import scan_check
from brainldm.formats.tables import write_tsv

VALUES = yaml.safe_load((Path(__file__).parents[1] / "tiny/config.yaml").read_text())
CONFIG = parse(VALUES | {"grid": VALUES["grid"] | {"spacing_mm": 2.0}})
SHAPE, SPACING_MM = (40, 48, 40), 4.0


def head() -> np.ndarray:
    """A noisy ball in noisy air."""
    place = np.indices(SHAPE) - (np.array(SHAPE).reshape(3, 1, 1, 1) - 1) / 2
    return np.abs(600.0 * ((place**2).sum(0) < 18**2) + np.random.default_rng(0).normal(0, 20, SHAPE)).astype(np.float32)


def bright_voxel() -> np.ndarray:
    volume = head()
    volume[20, 20, 20] = 1e5
    return volume


def bright_block() -> np.ndarray:
    volume = head()
    volume[14:26, 18:30, 20] = 4000
    return volume


def written(folder: Path, volume: np.ndarray, edges_mm: tuple[float, ...] = (SPACING_MM,) * 3) -> Path:
    path = folder / "sub-1_T1w.nii.gz"
    nib.Nifti1Image(volume, np.diag([*edges_mm, 1.0])).to_filename(path)
    return path


def skipping(config: Config) -> Config:
    return config.model_copy(update={"preprocess": config.preprocess.model_copy(update={"on_bad_scan": "skip"})})


def percentile_100(config: Config) -> Config:
    return config.model_copy(update={"preprocess": config.preprocess.model_copy(update={"intensity_percentiles": (0.0, 100.0)})})


def test_a_sound_scan_passes_and_is_described(tmp_path: Path) -> None:
    (finding,) = scan_check.check_scan(written(tmp_path, head()), CONFIG)
    assert finding.verdict == "ok"
    assert finding.found.startswith("voxels 4.00 x 4.00 x 4.00 mm, field 160 x 192 x 160 mm, intensities 0")


@pytest.mark.parametrize(
    ("volume", "edges_mm", "cause", "remedy"),
    [
        (head, (4.0, 4.0, 4.2), "voxels are up to 4.20 mm long", "grid.spacing_mm"),
        (lambda: head()[:, :, :25], (4.0, 4.0, 4.0), "field of view is 100 mm", "take it out"),
        (lambda: (head() > 300).astype(np.uint8), (4.0, 4.0, 4.0), "2 different intensities", "T1w"),
        (lambda: head() - 300, (4.0, 4.0, 4.0), "go down to -300", "as the scanner wrote it"),
        (bright_block, (4.0, 4.0, 4.0), "the brain would be dark", "preprocess.intensity_percentiles"),
    ],
)
def test_a_doubtful_scan_is_a_warning_with_cause_and_remedy(
    tmp_path: Path, volume: Callable[[], np.ndarray], edges_mm: tuple[float, ...], cause: str, remedy: str
) -> None:
    found = scan_check.check_scan(written(tmp_path, volume(), edges_mm), percentile_100(CONFIG))
    assert [finding.verdict for finding in found] == ["warning"]
    assert cause in found[0].cause
    assert str(tmp_path / "sub-1_T1w.nii.gz") in found[0].cause
    assert remedy in found[0].remedy


@pytest.mark.parametrize("config", [CONFIG, percentile_100(CONFIG)])
def test_a_few_bright_voxels_take_no_range(tmp_path: Path, config: Config) -> None:
    assert scan_check.check_scan(written(tmp_path, bright_voxel()), config)[0].verdict == "ok"


def test_a_scan_that_cannot_be_used_is_an_error_or_where_the_run_skips_it_a_warning(tmp_path: Path) -> None:
    path = written(tmp_path, head())
    image = nib.Nifti1Image(head(), None)
    image.header["qform_code"] = image.header["sform_code"] = 0
    image.to_filename(path)
    (finding,) = scan_check.check_scan(path, CONFIG)
    assert finding.verdict == "error"
    assert "left cannot be told from right" in finding.cause
    assert "on_bad_scan: skip" in finding.remedy
    path.write_bytes(path.read_bytes()[:500])
    (finding,) = scan_check.check_scan(path, skipping(CONFIG))
    assert finding.verdict == "warning"
    assert "truncated" in finding.cause


@pytest.mark.parametrize(("n_items", "n", "chosen"), [(10, 3, [0, 4, 9]), (2, 5, [0, 1]), (1, 5, [0]), (0, 5, []), (9, 0, [])])
def test_a_sample_is_spread_over_the_manifest(n_items: int, n: int, chosen: list[int]) -> None:
    assert scan_check.places(n_items, n) == chosen


def manifest(folder: Path, **changes: object) -> Path:
    table = pd.DataFrame({"participant_id": [f"sub-{n}" for n in range(6)], "t1w": [f"{n}.nii" for n in range(6)]})
    table = table.assign(age_years=range(50, 56), sex=["F", "M"] * 3, split=["train"] * 3 + ["test"] * 3).assign(**changes)
    for name in table["t1w"]:
        (folder / str(name)).write_bytes(f"scan {name}".encode())
    write_tsv(folder / "scans.tsv", table)
    return folder / "scans.tsv"


def test_a_sound_manifest_passes(tmp_path: Path) -> None:
    (finding, ages), entries = scan_check.check_manifest(manifest(tmp_path), CONFIG)
    assert (finding.verdict, finding.found) == ("ok", "6 scans: 3 train, 3 test")
    assert ages.found == "ages in years: smallest 50 (sub-0: 0.nii), median 52 (sub-2: 2.nii), largest 55 (sub-5: 5.nii)"
    assert len(entries) == 6


@pytest.mark.parametrize(
    ("changes", "cause", "remedy"),
    [
        ({"sex": "F"}, "sex is the same for all training scans", "add scans"),
        ({"split": ["train"] * 4 + ["test"] * 2}, "2 scans are in the split test, too few", "add scans"),
        ({"split": "train"}, "no scan is in the split test", "--held-out"),
        ({"age_years": [50, 60, "old", 70, 71, 72]}, "line 4: age_years", "brainldm manifest"),
    ],
)
def test_a_manifest_that_would_fail_later_is_an_error_now(tmp_path: Path, changes: dict[str, object], cause: str, remedy: str) -> None:
    (finding, *_), _ = scan_check.check_manifest(manifest(tmp_path, **changes), CONFIG)
    assert finding.verdict == "error"
    assert cause in finding.cause
    assert remedy in finding.remedy


def test_copies_pointers_and_names_that_are_nearly_one_are_told(tmp_path: Path) -> None:
    path = manifest(tmp_path, participant_id=["sub-0", "sub-1", "sub-2", "sub-3", "sub-4", "sub-02"])
    for copy, original in ((1, 0), (4, 2)):
        (tmp_path / f"{copy}.nii").write_bytes((tmp_path / f"{original}.nii").read_bytes())
    (tmp_path / "3.nii").write_bytes(b"/annex/objects/MD5E-s12--00.nii\n")
    found, _ = scan_check.check_manifest(path, CONFIG)
    assert [(finding.check, finding.verdict) for finding in found] == [
        ("manifest", "error"), ("ages", "ok"), ("names", "warning"), ("copies", "warning"), ("copies", "error")
    ]  # fmt: skip
    assert "`datalad get`" in found[0].remedy
    assert found[2].found == "sub-2, sub-02"
    assert f"{tmp_path / '4.nii'} (sub-4) holds the same bytes as {tmp_path / '2.nii'} (sub-2), and one is in the split" in found[4].cause


def test_missing_files_are_counted_and_missing_volumes_where_they_are_asked_for(tmp_path: Path) -> None:
    path = manifest(tmp_path)
    (tmp_path / "2.nii").unlink()
    asked = CONFIG.model_copy(update={"covariates": CONFIG.covariates.model_copy(update={"volumes": "manifest"})})
    found, _ = scan_check.check_manifest(path, asked)
    assert [finding.verdict for finding in found] == ["error", "error", "ok"]
    assert f"1 scans are no files: {tmp_path / '2.nii'}" in found[0].cause
    assert "6 scans have no volumes" in found[1].cause
    assert "covariates.volumes: segmented" in found[1].remedy


def test_two_forms_that_disagree_are_told_by_name(tmp_path: Path) -> None:
    path = written(tmp_path, head())
    image = nib.load(path)
    turned = image.affine.copy()
    image.set_qform(turned, 1)
    image.set_sform(np.diag([3.6, 3.6, 3.6, 1.0]), 1)
    image.to_filename(path)
    (finding,) = scan_check.check_scan(path, CONFIG)
    assert finding.verdict == "error"
    assert f"{path}: expected one size, found that sform and qform differ" in finding.cause
    turned[:3, 3] += 30
    image.set_sform(turned, 1)
    image.to_filename(path)
    (finding,) = scan_check.check_scan(path, CONFIG)
    assert finding.verdict == "warning"
    assert "sform and qform differ by 52.0 mm and agree in lengths; the sform is used" in finding.cause
    assert "; sform, unit unknown, taken as mm" in finding.found


@pytest.mark.parametrize("constant", [0, 100, 1000])
def test_a_constant_under_a_stripped_brain_makes_no_skull_of_it(tmp_path: Path, constant: int) -> None:
    place = np.indices(SHAPE) - (np.array(SHAPE).reshape(3, 1, 1, 1) - 1) / 2
    distance = np.sqrt((place**2).sum(0))
    brain = np.where(distance < 17, 600 + 8 * distance * np.cos(place[0] / 3), 0).clip(0)
    stripped = CONFIG.model_copy(update={"release": CONFIG.release.model_copy(update={"skull_stripped": True})})
    found = scan_check.check_scan(written(tmp_path, (brain + constant).astype(np.int16)), stripped)
    assert [finding.verdict for finding in found] == (["warning"] if constant else ["ok"])
    if constant:
        assert "a constant was added" in found[0].cause


def test_doctor_raises_the_flags_of_preprocessing(tmp_path: Path) -> None:
    volume = head()
    volume[:, :, [8, 20]] = volume[:, :, [20, 8]]
    found = scan_check.check_scan(written(tmp_path, volume), CONFIG)
    assert {finding.verdict for finding in found} == {"warning"}
    assert any("a slice does not fit between its neighbours" in finding.cause for finding in found)
