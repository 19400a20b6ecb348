import gzip
import json
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from nibabel.orientations import axcodes2ornt, ornt_transform
from scipy import ndimage
from scipy.spatial.transform import Rotation

from brainldm.core.config import Preprocess
from brainldm.core.errors import DataError, ScanError
from brainldm.core.files import write_json
from brainldm.core.grid import Grid
from brainldm.formats.nifti import read_volume
from brainldm.formats.transform import read_transform
from brainldm.imaging.mni152 import read_map
from brainldm.imaging.resample import onto_grid
from brainldm.stages.preprocess import main

GRID = Grid(shape=(32, 40, 32), spacing_mm=5.0, center_mm=(0.0, -17.0, 6.0))
RIGHT_FRONT_MM = np.array([35.0, 25.0, 10.0])  # where a bright ball marks the side: the template itself is symmetric
TRANSFORM = "sub-1_from-T1w_to-MNI152_mode-image_xfm.txt"
ORIENTATIONS = ("RAS", "LPI", "PSR")


@cache
def _scan(axes: str, seed: int) -> bytes:
    """The template with a ball in its right frontal lobe, in a pose of its own, stored along these axes, as .nii."""
    rng = np.random.default_rng(seed)
    volume, affine = read_map("t1")
    x, y, z = np.rint(RIGHT_FRONT_MM - affine[:3, 3]).astype(int)
    volume[x - 9 : x + 9, y - 9 : y + 9, z - 9 : z + 9] = 400
    mni_to_native = np.eye(4)
    mni_to_native[:3, :3] = Rotation.from_euler("xyz", rng.uniform(-15, 15, 3), degrees=True).as_matrix()
    mni_to_native[:3, 3] = rng.uniform(-10, 10, 3)
    grid = Grid(shape=(60, 66, 60), spacing_mm=4.0, center_mm=(0.0, -17.0, 6.0))
    native = onto_grid(volume, affine, grid, np.linalg.inv(mni_to_native))
    image = nib.Nifti1Image(native.astype(np.int16), grid.affine)
    return bytes(image.as_reoriented(ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(axes))).to_bytes())


def _write_scan(path: Path, axes: str, seed: int) -> None:
    path.write_bytes(gzip.compress(_scan(axes, seed), 1, mtime=0))


class _Study:
    """A folder with three scans, their manifest and a section file."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.manifest, self.out = folder, folder / "manifest.tsv", folder / "000" / "qc.tsv"
        for index, axes in enumerate(ORIENTATIONS):
            _write_scan(self.scan(index), axes, index)
        rows = [(f"sub-{index}", self.scan(index).name, 60 + index, "FM"[index % 2], "train") for index in range(3)]
        table = pd.DataFrame(rows, columns=["participant_id", "t1w", "age_years", "sex", "split"])
        table.to_csv(self.manifest, sep="\t", index=False)

    def scan(self, index: int) -> Path:
        return self.folder / f"raw{index}.nii.gz"

    def run(self, batch: str = "000", **options: Any) -> pd.DataFrame:
        own = Preprocess(**{"registration_spacing_mm": 6.0, "scans_per_batch": 3, "intensity_percentiles": (0.0, 99.8)} | options)
        section = self.folder / "preprocess.json"
        grid, values = GRID.model_dump(mode="json"), own.model_dump(mode="json")
        write_json(section, {"stage": "preprocess", "seed": 1, "precision": "32-true", "grid": grid, "section": values})
        main(section, self.manifest, batch, self.out)
        return pd.read_csv(self.out, sep="\t", index_col="participant_id")

    def written(self) -> dict[str, tuple[int, bytes]]:
        return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in self.out.parent.iterdir()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[_Study, pd.DataFrame]:
    study = _Study(tmp_path_factory.mktemp("study"))
    return study, study.run(intensity_percentiles=(0.0, 100.0))


@pytest.fixture
def study(tmp_path: Path) -> _Study:
    return _Study(tmp_path)


def test_every_scan_lies_on_the_grid_in_one_pose_with_its_right_side_right(finished: tuple[_Study, pd.DataFrame]) -> None:
    study, table = finished
    assert (table["status"] == "ok").all()
    assert (table["similarity"] > 0.9).all()
    assert (table["head_in_grid"] > 0.99).all()
    volumes = [read_volume(study.out.parent / name, GRID) for name in table["volume"]]
    for volume in volumes:
        assert (volume.min(), volume.max()) == (0, 1)
        lopsided = ndimage.gaussian_filter(volume - volume[::-1], 1)
        marked = np.array(np.unravel_index(lopsided.argmax(), volume.shape))
        np.testing.assert_allclose(GRID.affine[:3, :3] @ marked + GRID.affine[:3, 3], RIGHT_FRONT_MM, atol=GRID.spacing_mm)
    assert all(np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.98 for one, other in pairwise(volumes))


def test_the_transform_maps_mni_to_the_scan(finished: tuple[_Study, pd.DataFrame]) -> None:
    study, table = finished
    for index, name in enumerate(table["transform"]):
        mni_to_native = read_transform(study.out.parent / name)
        image = nib.load(study.scan(index))
        i, j, k = np.rint(np.linalg.inv(image.affine) @ mni_to_native @ [*RIGHT_FRONT_MM, 1])[:3].astype(int)
        assert image.get_fdata()[i, j, k] > 300


def test_itk_resamples_the_scan_to_our_volume_and_back_with_the_saved_transform(finished: tuple[_Study, pd.DataFrame]) -> None:
    study, table = finished
    for index, (volume_name, transform_name) in enumerate(zip(table["volume"], table["transform"], strict=True)):
        native = sitk.ReadImage(str(study.scan(index)), sitk.sitkFloat32)
        volume = sitk.ReadImage(str(study.out.parent / volume_name), sitk.sitkFloat32)
        transform = sitk.ReadTransform(str(study.out.parent / transform_name))
        assert _correlation(sitk.Resample(native, volume, transform), volume) > 0.99
        assert _correlation(sitk.Resample(volume, native, transform.GetInverse()), native) > 0.98
        for axis in range(3):  # half a voxel away it fits worse: the best fit lies nearer than that
            for side in (-0.5, 0.5):
                offset = [side * GRID.spacing_mm if axis == moved else 0.0 for moved in range(3)]
                moved = sitk.CompositeTransform([transform, sitk.TranslationTransform(3, offset)])
                moved_fit, fit = (_correlation(sitk.Resample(native, volume, each), volume) for each in (moved, transform))
                assert moved_fit < fit


def _correlation(one: sitk.Image, other: sitk.Image) -> float:
    return float(np.corrcoef(sitk.GetArrayViewFromImage(one).ravel(), sitk.GetArrayViewFromImage(other).ravel())[0, 1])


def test_a_threshold_flags_scans_and_changes_nothing_but_the_table(study: _Study) -> None:
    assert study.run()["flags"].isna().all()
    before = study.written()
    table = study.run(flags={"similarity_below": 1.0, "head_in_grid_below": 1.1})
    assert (table["flags"] == "low_similarity;head_cut_by_grid").all()
    assert (table["status"] == "ok").all()
    assert {name for name, written in study.written().items() if written != before[name]} == {"qc.tsv"}


def test_a_kill_between_volume_and_journal_leaves_no_stale_pair(study: _Study) -> None:
    study.run()
    first = study.written()
    (study.out.parent / ".tmp1.sub-0_T1w.nii.gz").write_bytes(b"half")
    for name in first:
        if name.startswith("sub-0") and name.endswith(".json"):
            (study.out.parent / name).unlink()  # as a run under other settings does before it touches the volume
    (study.out.parent / "sub-0_T1w.nii.gz").write_bytes(b"another setting's")
    study.run()
    assert {name: content for name, (_, content) in study.written().items()} == {name: content for name, (_, content) in first.items()}


def test_a_bad_scan_stops_the_batch_and_a_restart_keeps_what_was_finished(study: _Study) -> None:
    whole = study.scan(2).read_bytes()
    study.scan(2).write_bytes(whole[:-1000])
    with pytest.raises(ScanError, match=r"raw2\.nii\.gz.*truncated"):
        study.run()
    assert not study.out.exists()
    before = study.written()
    assert len(before) == 6
    study.scan(2).write_bytes(whole)
    table = study.run()
    assert (table["status"] == "ok").all()
    assert {name: study.written()[name] for name in before} == before


def test_a_bad_scan_is_listed_and_left_out_on_request(study: _Study) -> None:
    study.scan(1).unlink()
    nib.save(nib.Nifti1Image(np.random.default_rng(0).random((40, 40, 40), np.float32), np.diag([4.0, 4, 4, 1])), study.scan(2))
    table = study.run(on_bad_scan="skip")
    assert table["status"].tolist() == ["ok", "bad", "bad"]
    assert "found no file" in table["reason"]["sub-1"]
    assert "min_similarity" in table["reason"]["sub-2"]
    assert table["volume"].isna().tolist() == [False, True, True]


def _patched(content: bytes, *patches: tuple[int, str, list[float]]) -> bytes:
    """A .nii with other numbers (offset, type, values) in its header."""
    changed = bytearray(content)
    for offset, kind, values in patches:
        piece = np.array(values, kind).tobytes()
        changed[offset : offset + len(piece)] = piece
    return bytes(changed)


def test_what_a_header_called_for_stands_in_the_qc_table_and_changes_no_volume(study: _Study) -> None:
    """Two odd headers of one scan give the volume of the sound one; one without an answer is a bad scan."""
    sound = _scan("RAS", 0)
    image = nib.Nifti1Image.from_bytes(sound)
    array = np.asarray(image.dataobj).copy()
    array[0, 0, 0] = -32768
    spoiled = nib.Nifti1Image(array, image.affine).to_bytes()
    study.scan(0).write_bytes(gzip.compress(_patched(spoiled, (40, "<i2", [4, *array.shape, 0]), (108, "<f4", [0])), 1))
    study.scan(1).write_bytes(gzip.compress(_patched(sound, (76, "<f4", [1, 0, 0, 0])), 1))
    study.scan(2).write_bytes(gzip.compress(_patched(sound, (123, "u1", [3])), 1))
    table = study.run(on_bad_scan="skip")
    assert table["status"].tolist() == ["ok", "ok", "bad"]
    assert "lengths in micron are converted to mm" in table["reason"]["sub-2"]
    assert table["flags"].tolist()[:2] == ["header_corrected"] * 2
    assert table["header_notes"]["sub-0"] == (
        "vox_offset 0 cannot be; the voxels begin at 352; a dimension of 0 in 60 x 66 x 60 x 0 counts as 1"
    )
    assert table["header_notes"]["sub-1"] == "pixdim 0 x 0 x 0 tells no lengths; those of the sform are used"
    assert table["header_dimensions"]["sub-0"] == "60 x 66 x 60 x 0"
    assert (table["voxel_mm"][:2] == "4 x 4 x 4").all()
    assert table["raw_lowest"].tolist()[:2] == [-32770, 0]  # to four digits
    assert table["raw_at_0"].tolist()[:2] == [0, 0]
    assert table["outlier_share"]["sub-0"] == pytest.approx(1 / array.size, rel=1e-3)
    one, other = (read_volume(study.out.parent / table["volume"][name], GRID) for name in ("sub-0", "sub-1"))
    assert np.array_equal(one, other)


def test_a_journal_of_an_older_version_is_made_again(study: _Study) -> None:
    first = study.run()
    journal = study.out.with_name(TRANSFORM).with_suffix(".json")
    done = json.loads(journal.read_text())
    del done["measures"]["slice_jump"]
    journal.write_text(json.dumps(done))
    pd.testing.assert_frame_equal(study.run(), first)
    assert "slice_jump" in json.loads(journal.read_text())["measures"]


def test_another_scan_or_another_setting_is_worked_on_anew_and_nothing_else(study: _Study) -> None:
    study.run()
    first = study.written()
    _write_scan(study.scan(1), "RAS", seed=9)
    study.run(on_bad_scan="skip", scans_per_batch=4)
    second = study.written()
    renewed = {name for name in first if first[name] != second[name]}
    assert renewed == {"qc.tsv", "sub-1_T1w.nii.gz", "sub-1_from-T1w_to-MNI152_mode-image_xfm.json", TRANSFORM}
    study.run(intensity_percentiles=[0.0, 95.0])
    third = study.written()
    assert all(second[name][1] != third[name][1] for name in third if name.endswith((".gz", ".json")))
    assert all(second[name][1] == third[name][1] for name in third if name.endswith(".txt"))


def test_batches_share_the_manifest_out(study: _Study) -> None:
    assert study.run("001", scans_per_batch=2).index.tolist() == ["sub-2"]
    with pytest.raises(DataError, match="between 000 and 001"):
        study.run("002", scans_per_batch=2)
