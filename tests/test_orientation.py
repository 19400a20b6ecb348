"""Left stays left: an asymmetric head, stored in every orientation and file format, lands on the grid the same."""

from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, ornt_transform
from scipy.spatial.transform import Rotation

from brainldm.core.grid import Grid
from brainldm.formats.scan import read_scan
from brainldm.imaging.resample import onto_grid

GRID = Grid(shape=(40, 48, 40), spacing_mm=4.0, center_mm=(0.0, -17.0, 6.0))
SIDES = {"R": "L", "A": "P", "S": "I"}
ORIENTATIONS = [
    "".join(SIDES[axis] if flip else axis for axis, flip in zip(axes, flips, strict=True))
    for axes, flips in product(permutations("RAS"), product((False, True), repeat=3))
]
RIGHT_EAR_MM = np.array([45.0, -20.0, 15.0])
NOSE_MM = np.array([5.0, 55.0, -10.0])


def _ball(world_mm: np.ndarray, center_mm: np.ndarray, radius_mm: float) -> np.ndarray:
    return np.exp(-((np.linalg.norm(world_mm - center_mm, axis=-1) / radius_mm) ** 4))


def _head() -> nib.Nifti1Image:
    """A head of 3 x 4 x 5 mm voxels in an oblique pose; right ear and nose are marked at places known in RAS mm."""
    affine = np.diag([3.0, 4, 5, 1])
    affine[:3, :3] = Rotation.from_euler("xyz", (12, -8, 20), degrees=True).as_matrix() @ affine[:3, :3]
    shape = np.array((62, 54, 40))
    affine[:3, 3] = GRID.center_mm - affine[:3, :3] @ (shape - 1) / 2
    world_mm = np.moveaxis(np.indices(shape), 0, -1) @ affine[:3, :3].T + affine[:3, 3]
    head = (
        300 * _ball(world_mm, np.array(GRID.center_mm), 75) + 600 * _ball(world_mm, RIGHT_EAR_MM, 12) - 900 * _ball(world_mm, NOSE_MM, 12)
    )
    return nib.Nifti1Image(head.astype(np.int16), affine)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mgz"])
def test_the_right_ear_is_on_the_right_from_every_storage_orientation(tmp_path: Path, suffix: str) -> None:
    image, kind = _head(), nib.MGHImage if suffix == ".mgz" else nib.Nifti1Image
    expected = onto_grid(image.get_fdata().astype(np.float32), image.affine, GRID)
    for codes in ORIENTATIONS:
        turned = image.as_reoriented(ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(codes)))
        nib.save(kind(np.asarray(turned.dataobj), turned.affine), tmp_path / f"{codes}{suffix}")
        scan = read_scan(tmp_path / f"{codes}{suffix}")
        volume = onto_grid(scan.volume, scan.affine, GRID)
        np.testing.assert_allclose(volume, expected, atol=0.1)
    assert _value_at(expected, RIGHT_EAR_MM) > 600 > 400 > _value_at(expected, RIGHT_EAR_MM * (-1, 1, 1)) > 200
    assert _value_at(expected, NOSE_MM) < -300 < 0 <= _value_at(expected, NOSE_MM * (1, -1, 1) - (0, 34, 0))


def _value_at(volume: np.ndarray, place_mm: np.ndarray) -> float:
    i, j, k = np.rint(np.linalg.inv(GRID.affine) @ [*place_mm, 1])[:3].astype(int)
    return float(volume[i, j, k])
