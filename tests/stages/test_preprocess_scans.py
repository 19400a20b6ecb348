"""Scans of every kind that a lab has go through the whole stage and come out in one pose."""

from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from scipy.spatial.transform import Rotation

from brainldm.core.config import Preprocess
from brainldm.core.files import write_json
from brainldm.core.grid import Grid
from brainldm.formats.nifti import read_volume
from brainldm.formats.transform import read_transform
from brainldm.imaging.mni152 import CENTER_MM, read_map
from brainldm.imaging.resample import onto_grid
from brainldm.stages.preprocess import main

GRID = Grid(shape=(32, 40, 32), spacing_mm=5.0, center_mm=(0.0, -17.0, 7.0))
NATIVE = Grid(shape=(76, 84, 76), spacing_mm=3.0, center_mm=(0.0, -17.0, 6.0))


def _pose(rotation_deg: tuple[float, float, float], translation_mm: tuple[float, float, float] = (5, -6, 4)) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("xyz", rotation_deg, degrees=True).as_matrix()
    pose[:3, 3] = CENTER_MM - pose[:3, :3] @ CENTER_MM + translation_mm
    return pose


MILD = _pose((8, -10, 12))


@cache
def _head(name: str) -> tuple[np.ndarray, np.ndarray]:
    """The template in a pose, resampled; `name` is its key in POSES."""
    return onto_grid(*read_map("t1"), NATIVE, np.linalg.inv(POSES[name])), POSES[name]


POSES = {"mild": MILD, "30 degrees": _pose((30, -30, 30)), "-30 degrees": _pose((-30, 30, 30), (-12, 10, -10))}


def _thick(volume: np.ndarray, axis: int, factor: int) -> tuple[np.ndarray, np.ndarray]:
    """Averages of `factor` slices, and their affine."""
    slices = volume.shape[axis] // factor
    moved = np.moveaxis(volume, axis, 0)[: slices * factor]
    thick = np.moveaxis(moved.reshape(slices, factor, *moved.shape[1:]).mean(1), 0, axis)
    index = np.eye(4)
    index[axis, axis], index[axis, 3] = factor, (factor - 1) / 2
    return thick, NATIVE.affine @ index


def _scaled(volume: np.ndarray, kind: str, slope: float, inter: float) -> nib.Nifti1Image:
    """Stored as `kind`; slope and intercept in the header."""
    image = nib.Nifti1Image(np.rint((volume - inter) / slope).astype(kind), NATIVE.affine)
    image.header.set_slope_inter(slope, inter)
    return image


def _scan(kind: str) -> tuple[nib.Nifti1Image, np.ndarray]:
    """A scan of this kind and its true pose."""
    volume, pose = _head(kind if kind in POSES else "mild")
    thick = {"thick sagittal 3 mm": (0, 1), "thick axial 6 mm": (2, 2), "thick coronal 6 mm": (1, 2)}
    if kind in thick:
        array, affine = _thick(volume, *thick[kind])
        return nib.Nifti1Image(array, affine), pose
    if kind == "lowest quarter missing":
        affine = NATIVE.affine.copy()
        affine[2, 3] += 20 * NATIVE.spacing_mm
        return nib.Nifti1Image(volume[:, :, 20:], affine), pose
    images = {
        "offset -1000": lambda: nib.Nifti1Image((volume * 8 - 1000).astype(np.int16), NATIVE.affine),
        "float64": lambda: nib.Nifti1Image(volume.astype(np.float64) * 1e-4, NATIVE.affine),
        "uint8 with scl_slope": lambda: _scaled(volume, "uint8", 1.5, -20.0),
        "int16 with scl_slope": lambda: _scaled(volume, "int16", 0.25, 100.0),
    }
    return images.get(kind, lambda: nib.Nifti1Image(volume, NATIVE.affine))(), pose


KINDS = (
    "mild", "30 degrees", "-30 degrees", "thick sagittal 3 mm", "thick axial 6 mm", "thick coronal 6 mm",
    "lowest quarter missing", "offset -1000", "float64", "uint8 with scl_slope", "int16 with scl_slope",
)  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    """All kinds in one batch: the folder and its QC table, by kind."""
    folder = tmp_path_factory.mktemp("kinds")
    rows = []
    for index, kind in enumerate(KINDS):
        nib.save(_scan(kind)[0], folder / f"{index}.nii.gz")
        rows.append((f"sub-{index:02d}", f"{index}.nii.gz", 60, "F", "train"))
    table = pd.DataFrame(rows, columns=["participant_id", "t1w", "age_years", "sex", "split"])
    table.to_csv(folder / "manifest.tsv", sep="\t", index=False)
    own = Preprocess(registration_spacing_mm=4.0, scans_per_batch=len(KINDS), intensity_percentiles=(0.0, 99.8))
    grid, values = GRID.model_dump(mode="json"), own.model_dump(mode="json")
    write_json(folder / "section.json", {"stage": "preprocess", "seed": 1, "precision": "32-true", "grid": grid, "section": values})
    main(folder / "section.json", folder / "manifest.tsv", "000", folder / "out" / "qc.tsv")
    return folder / "out", pd.read_csv(folder / "out" / "qc.tsv", sep="\t").set_axis(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_scan_of_this_kind_lies_where_the_template_lies(study: tuple[Path, pd.DataFrame], kind: str) -> None:
    folder, table = study
    row = table.loc[kind]
    difference = read_transform(folder / row["transform"]) - _scan(kind)[1]
    shift_mm = np.linalg.norm(difference[:3, :3] @ CENTER_MM + difference[:3, 3])
    assert shift_mm < 1
    assert np.abs(difference[:3, :3]).max() * 70 < 2  # mm at the brain's surface
    volume, expected = read_volume(folder / row["volume"], GRID), onto_grid(*read_map("t1"), GRID)
    if kind != "lowest quarter missing":
        assert np.corrcoef(volume.ravel(), expected.ravel())[0, 1] > 0.97


def test_only_the_cropped_the_turned_and_the_shifted_heads_are_flagged(study: tuple[Path, pd.DataFrame]) -> None:
    raised = study[1]["flags"].dropna()
    assert raised.to_dict() == {
        "30 degrees": "large_rotation",
        "-30 degrees": "large_rotation",
        "lowest quarter missing": "brain_cut_by_scan",
        "offset -1000": "intensity_offset",
    }
