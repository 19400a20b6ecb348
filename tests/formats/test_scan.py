import gzip
from collections.abc import Callable
from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt
from scipy.spatial.transform import Rotation

from brainldm.core.errors import ScanError
from brainldm.formats.scan import fingerprint, read_scan

EDGES_MM = (20.0, 25.0, 30.0)
SIDES = {"R": "L", "A": "P", "S": "I"}
ORIENTATIONS = [
    "".join(SIDES[axis] if flip else axis for axis, flip in zip(axes, flips, strict=True))
    for axes, flips in product(permutations("RAS"), product((False, True), repeat=3))
]


def _turned(degrees: float, edges_mm: tuple[float, ...] = EDGES_MM) -> np.ndarray:
    """Voxels of `edges_mm`, turned about an oblique axis, in the middle of the world."""
    affine = np.diag([*edges_mm, 1.0])
    affine[:3, :3] = Rotation.from_rotvec(np.radians(degrees) * np.array([0.6, 0, 0.8])).as_matrix() @ affine[:3, :3]
    affine[:3, 3] = (-80, -90, -100)
    return affine


AFFINE = _turned(10)


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


def _mgh(volume: np.ndarray) -> bytes:
    return bytes(nib.MGHImage(volume, AFFINE).to_bytes())


def _sheared() -> np.ndarray:
    shear = np.eye(4)
    shear[0, 1] = 0.1 * EDGES_MM[1] / EDGES_MM[0]
    return _turned(0) @ shear


def _two_forms(sform: np.ndarray, qform: np.ndarray) -> bytes:
    image = nib.Nifti1Image(_volume(), qform)
    image.set_qform(qform, code=1)
    image.set_sform(sform, code=4)
    return bytes(image.to_bytes())


BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "truncated gzip": (lambda: _zipped(_volume())[:-100], "truncated or damaged gzip"),
    "truncated within the checksum": (lambda: _zipped(_volume())[:-3], "truncated or damaged gzip"),
    "wrong checksum": (_flipped_checksum, "truncated or damaged gzip"),
    "damaged body": (_damaged_body, "truncated or damaged gzip"),
    "truncated nifti": (lambda: _nifti(_volume())[:-50], "found fewer"),
    "truncated header": (lambda: _nifti(_volume())[:200], "damaged header"),
    "a web page": (lambda: b"<html><body>404 Not Found</body></html>", "expected a NIfTI or MGH image"),
    "an empty file": (lambda: b"", "expected a NIfTI or MGH image"),
    "4-D": (lambda: _zipped(np.stack([_volume()] * 3, -1)), r"3-D image, found shape \(9, 8, 7, 3\)"),
    "a slice": (lambda: _zipped(_volume()[:, :, :1]), "3-D image"),
    "zeros": (lambda: _zipped(np.zeros((9, 8, 7), np.int16)), "0 in every voxel"),
    "NaN": (lambda: _zipped(_with_nan()), "1 voxels that are not"),
    "colours": (lambda: _zipped(_of_colours()), "one real number a voxel"),
    "singular affine": (_without_third_axis, "affine"),
    "a slab": (lambda: _zipped(_volume()[:, :, :2]), "holds a head"),
    "no orientation": (_without_orientation, "left cannot be told from right"),
    "a sheared sform": (lambda: _nifti(_volume(), _sheared()), "right angles, found a shear of 0.1"),
    "forms of two hands": (lambda: _two_forms(AFFINE @ np.diag([-1.0, 1, 1, 1]), AFFINE), "left cannot be told from right"),
    "beyond 32-bit floats": (lambda: _nifti(_volume() * 1e37), "voxels that are not"),
    "truncated mgz": (lambda: gzip.compress(_mgh(_volume()))[:-100], "truncated or damaged gzip"),
    "truncated mgh": (lambda: _mgh(_volume())[:800], "found fewer"),
    "truncated mgh header": (lambda: _mgh(_volume())[:50], "damaged header"),
    "mgh of an unknown type": (lambda: _mgh(_volume())[:20] + b"\0\0\0\x63" + _mgh(_volume())[24:], "damaged header"),
    "mgh without orientation": (lambda: _mgh(_volume())[:28] + bytes(2) + _mgh(_volume())[30:], "goodRASFlag 0"),
    "mgh of several frames": (lambda: _mgh(np.stack([_volume()] * 2, -1)), "3-D image"),
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
        with pytest.raises(ScanError, match="it is a folder, no scan"):
            read(tmp_path)


def test_one_frame_of_four_dimensions_is_a_scan(tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").write_bytes(_zipped(_volume()[..., None]))
    (tmp_path / "b.nii").write_bytes(_nifti(_volume()))
    assert np.array_equal(read_scan(tmp_path / "a.nii.gz").volume, read_scan(tmp_path / "b.nii").volume)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mgz"])
def test_all_48_storage_orientations_read_the_same(tmp_path: Path, suffix: str) -> None:
    kind = nib.MGHImage if suffix == ".mgz" else nib.Nifti1Image
    for codes in ORIENTATIONS:
        turn = nib.orientations.ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(codes))
        turned = nib.Nifti1Image(_volume(), AFFINE).as_reoriented(turn)
        path = tmp_path / f"{codes}{suffix}"
        nib.save(kind(np.asarray(turned.dataobj), turned.affine), path)
        assert "".join(nib.aff2axcodes(nib.load(path).affine)) == codes
        scan = read_scan(path)
        assert np.array_equal(scan.volume, _volume().astype(np.float32))
        np.testing.assert_allclose(scan.affine, AFFINE, atol=1e-4)


def test_mgh_without_compression_reads_too(tmp_path: Path) -> None:
    (tmp_path / "a.mgh").write_bytes(_mgh(_volume()))
    assert np.array_equal(read_scan(tmp_path / "a.mgh").volume, _volume())


@pytest.mark.parametrize("kind", ["float64", "float32", "int16", "uint16", "int32", "uint8", "int8"])
def test_stored_types_are_scaled_as_the_header_says_and_negative_values_stay(tmp_path: Path, kind: str) -> None:
    low, high = (np.iinfo(kind).min, np.iinfo(kind).max) if "int" in kind else (-1e6, 1e6)
    stored = np.linspace(max(low, -1024), min(high, 3000), 504).reshape(9, 8, 7).astype(kind)
    image = nib.Nifti1Image(stored, AFFINE)
    image.header.set_slope_inter(1, 0)
    content = bytearray(image.to_bytes())
    content[112:120] = np.array([2.5, -1000.0], "<f4").tobytes()  # scl_slope, scl_inter
    (tmp_path / "a.nii").write_bytes(content)
    got = read_scan(tmp_path / "a.nii").volume
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, stored.astype(np.float64) * 2.5 - 1000, rtol=1e-6)
    assert got.min() <= -1000


def test_big_endian_nifti_and_nifti_2_read_the_same(tmp_path: Path) -> None:
    big = nib.Nifti1Header(endianness=">")
    big.set_data_dtype(np.int16)
    (tmp_path / "big.nii").write_bytes(nib.Nifti1Image(_volume(), AFFINE, header=big).to_bytes())
    (tmp_path / "two.nii").write_bytes(nib.Nifti2Image(_volume(), AFFINE).to_bytes())
    for name in ("big.nii", "two.nii"):
        assert np.array_equal(read_scan(tmp_path / name).volume, _volume())


SCALED = _turned(10, tuple(edge * 0.9 for edge in EDGES_MM))


@pytest.mark.parametrize(
    ("sform", "qform", "chosen", "warned"),
    [
        (AFFINE, AFFINE, AFFINE, ""),
        (_turned(10.05), AFFINE, _turned(10.05), ""),
        (_turned(25), AFFINE, _turned(25), "the sform is used"),
        (SCALED, AFFINE, AFFINE, "the qform is used"),
        (_sheared(), AFFINE, AFFINE, "the qform is used"),
        (np.diag([20.0, 25, 0, 1]), AFFINE, AFFINE, "the qform is used"),
        (AFFINE @ np.diag([-1.0, -1, 1, 1]), AFFINE, AFFINE @ np.diag([-1.0, -1, 1, 1]), "the sform is used"),
    ],
    ids=["the same", "nearly the same", "another pose", "a scaled pose", "a sheared pose", "a flat form", "turned half round"],
)
def test_of_two_forms_that_which_keeps_lengths_is_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, sform: np.ndarray, qform: np.ndarray, chosen: np.ndarray, warned: str
) -> None:
    (tmp_path / "a.nii").write_bytes(_two_forms(sform, qform))
    expected = nib.as_closest_canonical(nib.Nifti1Image(_volume(), chosen))
    scan = read_scan(tmp_path / "a.nii")
    np.testing.assert_allclose(scan.affine, expected.affine, atol=1e-3)
    assert np.array_equal(scan.volume, np.asarray(expected.dataobj))
    assert (warned in caplog.text and "a.nii" in caplog.text) if warned else not caplog.text


def test_a_sole_sform_with_other_voxels_than_pixdim_is_used_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    content = bytearray(_nifti(_volume()))
    content[80:92] = np.array(EDGES_MM, "<f4").tobytes()[:8] + np.array([33], "<f4").tobytes()  # pixdim
    (tmp_path / "a.nii").write_bytes(content)
    np.testing.assert_allclose(read_scan(tmp_path / "a.nii").affine, AFFINE, atol=1e-4)
    assert "stands alone" in caplog.text
