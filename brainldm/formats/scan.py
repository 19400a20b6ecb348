"""Raw scans, read with suspicion: whatever makes one unusable is a ScanError that names the file and the cause."""

import gzip
import hashlib
import zlib
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from brainldm.core.errors import ScanError

GZIP_MAGIC = b"\x1f\x8b"
KINDS = {348: nib.Nifti1Image, 540: nib.Nifti2Image}  # by the size of the header, a NIfTI file's first four bytes
VOXEL_MM = (0.01, 100.0)  # anything else is a damaged header; a singular affine has an edge of 0
HEAD_MM = 80.0


class Scan(NamedTuple):
    """A scan [X, Y, Z], float32, its axes turned to point mostly right, anterior, superior; `affine` maps voxels to RAS mm."""

    volume: np.ndarray
    affine: np.ndarray


def read_scan(path: Path) -> Scan:
    """Read a .nii or .nii.gz to its last byte; a 4-D image of one frame counts as 3-D."""
    image = _decode(path, _inflate(path, _read(path)))
    _check_geometry(path, image)
    volume = _voxels(path, image)
    scan = nib.as_closest_canonical(nib.Nifti1Image(volume.reshape(volume.shape[:3]), image.affine))
    return Scan(np.asarray(scan.dataobj, np.float32), scan.affine)


def fingerprint(path: Path) -> str:
    """SHA-256 of the file; ScanError if it cannot be read."""
    return hashlib.sha256(_read(path)).hexdigest()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ScanError(f"{path}: expected a scan, found no file") from None
    except OSError as error:
        raise ScanError(f"{path}: expected a scan, found a file that cannot be read ({error.strerror})") from None


def _inflate(path: Path, content: bytes) -> bytes:
    """All of it, checksum included: nibabel stops before the end of the stream and takes a damaged file for a whole one."""
    if not content.startswith(GZIP_MAGIC):
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise ScanError(f"{path}: expected a whole .nii.gz, found a truncated or damaged gzip stream ({error})") from None


def _decode(path: Path, content: bytes) -> nib.Nifti1Image:
    orders = (int.from_bytes(content[:4], "little"), int.from_bytes(content[:4], "big"))
    kind = next((KINDS[size] for size in orders if size in KINDS), None)
    if kind is None:
        raise ScanError(f"{path}: expected a NIfTI image, found {len(content)} bytes that begin with {content[:16]!r}")
    try:
        return kind.from_bytes(content)
    except (ImageFileError, HeaderDataError, WrapStructError, ValueError) as error:
        raise ScanError(f"{path}: expected a NIfTI image, found a damaged header ({error})") from None


def _check_geometry(path: Path, image: nib.Nifti1Image) -> None:
    if any(side > 1 for side in image.shape[3:]) or len(image.shape) < 3 or min(image.shape[:3]) < 2:
        raise ScanError(f"{path}: expected a 3-D image, found shape {image.shape}")
    if int(image.header["qform_code"]) == 0 and int(image.header["sform_code"]) == 0:
        raise ScanError(f"{path}: expected an orientation, found qform_code and sform_code 0: left cannot be told from right")
    edges_mm = np.linalg.svd(image.affine[:3, :3], compute_uv=False) if np.isfinite(image.affine).all() else np.zeros(3)
    if edges_mm.min() < VOXEL_MM[0] or edges_mm.max() > VOXEL_MM[1]:
        raise ScanError(f"{path}: expected an affine with voxels of {VOXEL_MM} mm, found {image.affine.round(3).tolist()}")
    field_mm = nib.affines.voxel_sizes(image.affine) * image.shape[:3]
    if field_mm.min() < HEAD_MM:
        raise ScanError(f"{path}: expected a field of view that holds a head, at least {HEAD_MM} mm, found {field_mm.round(1).tolist()} mm")


def _voxels(path: Path, image: nib.Nifti1Image) -> np.ndarray:
    try:
        volume = np.asarray(image.dataobj)
    except (OSError, ValueError, OverflowError) as error:
        raise ScanError(f"{path}: expected {image.shape} voxels of {image.get_data_dtype()}, found fewer ({error})") from None
    if volume.dtype.kind not in "iufb":
        raise ScanError(f"{path}: expected one real number a voxel, found {volume.dtype}")
    if not np.isfinite(volume).all():
        raise ScanError(f"{path}: expected finite intensities, found {int((~np.isfinite(volume)).sum())} voxels that are not")
    if volume.min() == volume.max():
        raise ScanError(f"{path}: expected a brain, found {volume.min():g} in every voxel")
    return volume.astype(np.float32)
