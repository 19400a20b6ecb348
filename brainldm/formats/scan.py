"""Raw scans, read with suspicion: whatever makes one unusable is a ScanError that names the file and the cause."""

import hashlib
import logging
import zlib
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
from nibabel.freesurfer.mghformat import MGHError
from nibabel.spatialimages import HeaderDataError

from brainldm.core.errors import DataError, ScanError
from brainldm.core.printable import printable
from brainldm.core.regular_files import open_regular, read_all
from brainldm.formats.nifti import DAMAGE, MOST_BYTES, check_size, inflate
from brainldm.formats.pointers import link_remedy, pointer_remedy

GZIP_MAGIC = b"\x1f\x8b"
KINDS = {348: nib.Nifti1Image, 540: nib.Nifti2Image}  # by the size of the header, a NIfTI file's first four bytes
MGH_VERSION, MGH_GOOD_RAS = bytes((0, 0, 0, 1)), slice(28, 30)  # bytes of an MGH header
FORMS_APART_MM = 1.0  # sform and qform closer than this at every corner are one
TOLERANCE = 0.01  # of the length of an edge; cosine of the angle between two axes
VOXEL_MM = (0.01, 100.0)  # anything else is a damaged header; a singular affine has an edge of 0
HEAD_MM = 80.0


Image = nib.Nifti1Image | nib.MGHImage


class Scan(NamedTuple):
    """A scan [X, Y, Z], float32, its axes turned to point mostly right, anterior, superior; `affine` maps voxels to RAS mm."""

    volume: np.ndarray
    affine: np.ndarray


def read_scan(path: Path, most_bytes: int = MOST_BYTES) -> Scan:
    """Read a .nii, .nii.gz, .mgz or .mgh to its last byte; a 4-D image of one frame counts as 3-D. Intensities stay as they are.

    ScanError if it cannot be used, or has more than `most_bytes` when it is unpacked.
    """
    image = open_image(path, most_bytes)
    _check_shape(path, image.shape)
    affine = _affine(path, image)
    _check_geometry(path, image.shape, affine)
    volume = _voxels(path, image)
    scan = nib.as_closest_canonical(nib.Nifti1Image(volume.reshape(volume.shape[:3]), affine))
    return Scan(np.asarray(scan.dataobj, np.float32), scan.affine)


def open_image(path: Path, most_bytes: int = MOST_BYTES) -> Image:
    """The image of a file that is whole to its last byte; ScanError if it is not, or has more than `most_bytes`."""
    return _decode(path, _inflate(path, _read(path, most_bytes), most_bytes))


def fingerprint(path: Path) -> str:
    """SHA-256 of the file; ScanError if it cannot be read."""
    return hashlib.sha256(_read(path)).hexdigest()


def _read(path: Path, most_bytes: int = MOST_BYTES) -> bytes:
    if not path.exists():
        raise ScanError(f"{printable(path)}: expected a scan, found no file{link_remedy(path)}")
    try:
        return read_all(open_regular(path, "scan"), path, most_bytes)
    except DataError as error:
        raise ScanError(str(error)) from None
    except OSError as error:
        raise ScanError(f"{printable(path)}: expected a scan, found a file that cannot be read ({error.strerror})") from None


def _inflate(path: Path, content: bytes, most_bytes: int) -> bytes:
    """All of it, checksum included: nibabel stops before the end of the stream and takes a damaged file for a whole one."""
    if not content.startswith(GZIP_MAGIC):
        return content
    try:
        return inflate(content, most_bytes)
    except (OSError, EOFError, zlib.error) as error:
        raise ScanError(f"{path}: expected a whole gzip file, found a truncated or damaged gzip stream ({error})") from None


def _decode(path: Path, content: bytes) -> Image:
    orders = (int.from_bytes(content[:4], "little"), int.from_bytes(content[:4], "big"))
    nifti = next((KINDS[size] for size in orders if size in KINDS), None)
    kind: type[Image] | None = nib.MGHImage if content.startswith(MGH_VERSION) else nifti
    if remedy := pointer_remedy(content):
        raise ScanError(f"{path} holds a pointer of git-annex or git-lfs in place of its content. {remedy}.")
    if kind is None:
        raise ScanError(f"{path}: expected a NIfTI or MGH image, found {len(content)} bytes that begin with {content[:16]!r}")
    if kind is nib.MGHImage and content[MGH_GOOD_RAS] == bytes(2):  # nibabel would make an orientation up
        raise ScanError(f"{path}: expected an orientation, found goodRASFlag 0: left cannot be told from right")
    try:
        image: Image = kind.from_bytes(content)
    except (*DAMAGE, MGHError) as error:
        raise ScanError(f"{path}: expected a NIfTI or MGH image, found a damaged header ({error})") from None
    try:
        check_size(image, len(content))
    except OSError as error:
        raise ScanError(f"{path}: expected {image.shape} voxels of {image.get_data_dtype()}, found fewer ({error})") from None
    return image


def _check_shape(path: Path, shape: tuple[int, ...]) -> None:
    if any(side > 1 for side in shape[3:]) or len(shape) < 3 or min(shape[:3]) < 2:
        raise ScanError(f"{path}: expected a 3-D image, found shape {shape}")


def _affine(path: Path, image: Image) -> np.ndarray:
    """Voxels to RAS mm. Where a NIfTI's two forms disagree, the one that keeps lengths: an sform may hold a normalisation with scaling."""
    if isinstance(image, nib.MGHImage):
        return np.asarray(image.affine)
    pixdim, sform, qform = image.header["pixdim"][1:4], _form(image.header.get_sform), _form(image.header.get_qform)
    if sform is None or qform is None:
        return _sole_form(path, sform if qform is None else qform, pixdim)
    apart_mm = _apart_mm(sform, qform, image.shape)
    if apart_mm <= FORMS_APART_MM:
        return sform
    if np.linalg.det(sform) * np.linalg.det(qform) < 0:
        raise ScanError(f"{path}: expected sform and qform of one handedness, found two: left cannot be told from right")
    name, chosen = ("sform", sform) if _keeps_lengths(sform, pixdim) else ("qform", qform)
    logging.warning("%s: sform and qform differ by %.1f mm; the %s is used, which keeps the lengths of pixdim", path, apart_mm, name)
    return chosen


def _sole_form(path: Path, form: np.ndarray | None, pixdim: np.ndarray) -> np.ndarray:
    if form is None:
        raise ScanError(f"{path}: expected an orientation, found qform_code and sform_code 0: left cannot be told from right")
    if not _keeps_lengths(form, pixdim):
        logging.warning(
            "%s: the sform's voxels are not those of pixdim, %s mm; the sform is used, as it stands alone", path, pixdim.tolist()
        )
    return form


def _form(get: Callable[..., tuple[np.ndarray | None, int]]) -> np.ndarray | None:
    """The form, or None where its code is 0 or its quaternion is none."""
    try:
        return get(coded=True)[0]
    except (HeaderDataError, ValueError):
        return None


def _apart_mm(one: np.ndarray, other: np.ndarray, shape: tuple[int, ...]) -> float:
    """The largest distance between where two affines put a corner of the image; a swapped or flipped axis moves one by the whole image."""
    corners = np.array([(*corner, 1) for corner in product(*((0, side - 1) for side in shape[:3]))])
    return float(np.linalg.norm(corners @ (one - other).T, axis=1).max())


def _shear(affine: np.ndarray) -> float:
    """Largest cosine between two of the array's axes: 0 where they stand at right angles."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return float(np.abs(axes.T @ axes - np.eye(3)).max())


def _keeps_lengths(affine: np.ndarray, pixdim: np.ndarray) -> bool:
    """Whether it is a rotation (or reflection) of voxels of `pixdim` mm; damaged numbers are none."""
    edges_mm = nib.affines.voxel_sizes(affine)
    return bool((np.abs(edges_mm - pixdim) <= TOLERANCE * pixdim).all() and _shear(affine) <= TOLERANCE)


def _check_geometry(path: Path, shape: tuple[int, ...], affine: np.ndarray) -> None:
    edges_mm = np.linalg.svd(affine[:3, :3], compute_uv=False) if np.isfinite(affine).all() else np.zeros(3)
    if edges_mm.min() < VOXEL_MM[0] or edges_mm.max() > VOXEL_MM[1]:
        raise ScanError(f"{path}: expected an affine with voxels of {VOXEL_MM} mm, found {affine.round(3).tolist()}")
    if _shear(affine) > TOLERANCE:
        raise ScanError(f"{path}: expected axes at right angles, found a shear of {_shear(affine):.3f} in {affine.round(3).tolist()}")
    field_mm = nib.affines.voxel_sizes(affine) * shape[:3]
    if field_mm.min() < HEAD_MM:
        raise ScanError(f"{path}: expected a field of view that holds a head, at least {HEAD_MM} mm, found {field_mm.round(1).tolist()} mm")


def _voxels(path: Path, image: Image) -> np.ndarray:
    try:
        volume = np.asarray(image.dataobj)
    except (OSError, ValueError, TypeError, OverflowError) as error:  # numpy's, of a buffer that is too short, is a TypeError
        raise ScanError(f"{path}: expected {image.shape} voxels of {image.get_data_dtype()}, found fewer ({error})") from None
    if volume.dtype.kind not in "iufb":
        raise ScanError(f"{path}: expected one real number a voxel, found {volume.dtype}")
    with np.errstate(over="ignore"):
        volume = volume.astype(np.float32)
    if not np.isfinite(volume).all():
        raise ScanError(f"{path}: expected finite intensities, found {int((~np.isfinite(volume)).sum())} voxels that are not")
    if volume.min() == volume.max():
        raise ScanError(f"{path}: expected a brain, found {volume.min():g} in every voxel")
    return volume
