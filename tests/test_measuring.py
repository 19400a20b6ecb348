"""Volumes of others: what decides whether they lie on the grid are voxels and places, and their range is told."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, ornt_transform
from scans import TINY, ellipsoid

from brainldm.core.errors import ScanError
from brainldm.formats.nifti import encode_volume, quantise, read_volume
from brainldm.measuring import OnGrid, on_grid

GRID = TINY.grid
VOLUME = np.clip(ellipsoid(GRID, 0) * 1.5 - 0.05, 0, 1).astype(np.float32)


def image(volume: np.ndarray = VOLUME, axes: str = "RAS") -> nib.Nifti1Image:
    turn = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(axes))
    return nib.Nifti1Image(volume.astype(np.float32), GRID.affine).as_reoriented(turn)


def placed(path: Path, kept: str = "kept") -> OnGrid:
    return on_grid(path, GRID, TINY.preprocess, 1, path.parent / kept)


WAYS: dict[str, tuple[str, Callable[[], nib.spatialimages.SpatialImage]]] = {
    "compressed": ("a.nii.gz", image),
    "plain": ("a.nii", image),
    "back to front": ("a.nii", lambda: image(axes="LPS")),
    "other order of axes": ("a.nii.gz", lambda: image(axes="SRP")),
    "a fourth dimension of one": ("a.nii", lambda: nib.Nifti1Image(VOLUME[..., None], GRID.affine)),
    "64-bit": ("a.nii", lambda: nib.Nifti1Image(VOLUME.astype(np.float64), GRID.affine)),
    "NIfTI-2": ("a.nii", lambda: nib.Nifti2Image(VOLUME, GRID.affine)),
    "FreeSurfer": ("a.mgz", lambda: nib.MGHImage(VOLUME, GRID.affine)),
    "a pair": ("a.hdr", lambda: nib.Nifti1Pair(VOLUME, GRID.affine)),
}


@pytest.mark.parametrize("way", WAYS)
def test_the_same_voxels_at_the_same_places_are_taken_as_they_are(tmp_path: Path, way: str) -> None:
    name, make = WAYS[way]
    nib.save(make(), tmp_path / name)
    found = placed(tmp_path / name)
    assert (found.placed, found.intensities) == ("as it is", "as they are")
    np.testing.assert_array_equal(read_volume(found.path, GRID), quantise(VOLUME) / np.float32(4096))


RANGES: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    "-1 to 1": (lambda volume: volume * 2 - 1, "-1 to 1 became 0 to 1"),
    "0 to 255": (lambda volume: volume * 255, "0 to 255 became 0 to 1"),
    "0 to 2": (lambda volume: volume * 2, "0 to 2 became 0 to 1"),
    "0 to 0.4": (lambda volume: volume * 0.4, "0 to 0.4 became 0 to 1"),
    "around 0": (lambda volume: (volume - 0.3) * 4, "-1.2 to 2.8 became 0 to 1"),
    "of a scanner": (lambda volume: np.rint(volume * 1000), "0 to 1000 became 0 to 1"),
}


@pytest.mark.parametrize("kind", RANGES)
def test_another_range_is_scaled_and_told_and_nothing_is_moved(tmp_path: Path, kind: str) -> None:
    change, told = RANGES[kind]
    nib.save(image(change(VOLUME)), tmp_path / "a.nii.gz")
    found = placed(tmp_path / "a.nii.gz")
    assert (found.placed, found.intensities) == ("as it is", told)
    np.testing.assert_allclose(read_volume(found.path, GRID), VOLUME, atol=0.01)
    assert placed(tmp_path / "a.nii.gz") == found  # from what the first call kept


def test_what_the_pipeline_writes_itself_keeps_its_voxels(tmp_path: Path) -> None:
    """A synthetic volume may go a little beyond [0, 1]."""
    counts = quantise(VOLUME * 1.1 - 0.05)
    (tmp_path / "a.nii.gz").write_bytes(encode_volume(counts, GRID, "test"))
    assert np.array_equal(quantise(read_volume(placed(tmp_path / "a.nii.gz").path, GRID)), counts)


def test_a_volume_that_shows_nothing_is_refused(tmp_path: Path) -> None:
    nib.save(image(np.zeros(GRID.shape)), tmp_path / "a.nii.gz")
    with pytest.raises(ScanError, match=r"a\.nii\.gz: expected a brain, found 0 in every voxel"):
        placed(tmp_path / "a.nii.gz")
