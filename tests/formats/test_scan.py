import gzip
from collections.abc import Callable
from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt

from brainldm.core.errors import ScanError
from brainldm.formats.scan import fingerprint, read_scan

AFFINE = np.array([[20.0, 3, 0, -80], [-3, 25, 0, -90], [0, 0, 30, -100], [0, 0, 0, 1]])


def _volume() -> np.ndarray:
    return np.random.default_rng(3).integers(1, 1000, (9, 8, 7)).astype(np.int16)


def _nifti(volume: np.ndarray, affine: np.ndarray = AFFINE) -> bytes:
    return bytes(nib.Nifti1Image(volume, affine).to_bytes())


def _zipped(volume: np.ndarray) -> bytes:
    return gzip.compress(_nifti(volume), mtime=0)


def _flipped_checksum() -> bytes:
    content = bytearray(_zipped(_volume()))
    content[-8] ^= 1
    return bytes(content)


def _damaged_body() -> bytes:
    content = bytearray(_zipped(_volume()))
    content[200:260] = bytes(60)
    return bytes(content)


def _with_nan() -> np.ndarray:
    volume = _volume().astype(np.float32)
    volume[4, 4, 4] = np.nan
    return volume


def _without_orientation() -> bytes:
    image = nib.Nifti1Image(_volume(), None)
    return bytes(image.to_bytes())


def _without_third_axis() -> bytes:
    content = bytearray(_nifti(_volume()))
    content[312:328] = bytes(16)  # srow_z
    return bytes(content)


def _of_colours() -> np.ndarray:
    return np.zeros((9, 8, 7), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])


BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "truncated gzip": (lambda: _zipped(_volume())[:-100], "truncated or damaged gzip"),
    "truncated within the checksum": (lambda: _zipped(_volume())[:-3], "truncated or damaged gzip"),
    "wrong checksum": (_flipped_checksum, "truncated or damaged gzip"),
    "damaged body": (_damaged_body, "truncated or damaged gzip"),
    "truncated nifti": (lambda: _nifti(_volume())[:-50], "found fewer"),
    "truncated header": (lambda: _nifti(_volume())[:200], "damaged header"),
    "a web page": (lambda: b"<html><body>404 Not Found</body></html>", "expected a NIfTI image"),
    "an empty file": (lambda: b"", "expected a NIfTI image"),
    "4-D": (lambda: _zipped(np.stack([_volume()] * 3, -1)), r"3-D image, found shape \(9, 8, 7, 3\)"),
    "a slice": (lambda: _zipped(_volume()[:, :, :1]), "3-D image"),
    "zeros": (lambda: _zipped(np.zeros((9, 8, 7), np.int16)), "0 in every voxel"),
    "NaN": (lambda: _zipped(_with_nan()), "1 voxels that are not"),
    "colours": (lambda: _zipped(_of_colours()), "one real number a voxel"),
    "singular affine": (_without_third_axis, "affine"),
    "a slab": (lambda: _zipped(_volume()[:, :, :2]), "holds a head"),
    "no orientation": (_without_orientation, "left cannot be told from right"),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_scan_is_named_with_its_cause(tmp_path: Path, fault: str) -> None:
    make, cause = BAD[fault]
    path = tmp_path / "scan_T1w.nii.gz"
    path.write_bytes(make())
    with pytest.raises(ScanError, match=cause) as error:
        read_scan(path)
    assert str(path) in str(error.value)


def test_a_missing_scan_and_a_folder_are_named(tmp_path: Path) -> None:
    for read in (read_scan, fingerprint):
        with pytest.raises(ScanError, match=r"none\.nii.*no file"):
            read(tmp_path / "none.nii")
        with pytest.raises(ScanError, match="cannot be read"):
            read(tmp_path)


def test_one_frame_of_four_dimensions_is_a_scan(tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").write_bytes(_zipped(_volume()[..., None]))
    (tmp_path / "b.nii").write_bytes(_nifti(_volume()))
    assert np.array_equal(read_scan(tmp_path / "a.nii.gz").volume, read_scan(tmp_path / "b.nii").volume)


def test_all_48_storage_orientations_read_the_same(tmp_path: Path) -> None:
    image = nib.Nifti1Image(_volume(), AFFINE)
    for axes, signs in product(permutations("RAS"), product((False, True), repeat=3)):
        codes = "".join({"R": "L", "A": "P", "S": "I"}[axis] if flip else axis for axis, flip in zip(axes, signs, strict=True))
        turned = image.as_reoriented(nib.orientations.ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(codes)))
        nib.save(turned, tmp_path / f"{codes}.nii")
        scan = read_scan(tmp_path / f"{codes}.nii")
        assert np.array_equal(scan.volume, _volume().astype(np.float32))
        np.testing.assert_allclose(scan.affine, AFFINE, atol=1e-4)
