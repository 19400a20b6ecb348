"""Volumes on the grid as NIfTI-1: int16 with one fixed slope, compressed with isal, byte for byte reproducible."""

import gzip
import hashlib
import math
import zlib
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import nibabel as nib
import numpy as np
from isal import igzip
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from brainldm.core.errors import DataError
from brainldm.core.files import atomic
from brainldm.core.grid import Grid

SLOPE = 1 / 4096  # intensities in [0, 1] become 0 ... 4096; a power of two is exact in the float32 header
SCANNER = 1  # NIFTI_XFORM_SCANNER_ANAT
MOST_BYTES = 4 << 30  # of an uncompressed scan
# What nibabel, gzip and numpy raise where a file is damaged.
DAMAGE = (OSError, EOFError, ValueError, TypeError, KeyError, OverflowError, zlib.error, ImageFileError, HeaderDataError, WrapStructError)
_DESCRIP = 148  # where the header's 80 bytes of description begin
ALIGNED = 2  # NIFTI_XFORM_ALIGNED_ANAT: rigidly aligned to MNI, not normalised to it


def quantise(volume: np.ndarray) -> np.ndarray:
    """Intensities -> int16 multiples of SLOPE; beyond +-8 they saturate."""
    return np.clip(np.rint(np.asarray(volume, np.float32) / SLOPE), -32768, 32767).astype(np.int16)


def encode_volume(counts: np.ndarray, grid: Grid, description: str) -> bytes:
    """The bytes of a .nii.gz: int16 [I, J, K] from `quantise`, on the grid; `description` (< 80 bytes) goes into the header."""
    return _encode(np.asarray(counts, np.int16), grid.affine, ALIGNED, description, SLOPE, (0.0, 1.0))


def encode_labels(labels: np.ndarray, affine: np.ndarray, description: str) -> bytes:
    """The bytes of a .nii.gz: integer labels [I, J, K] as uint8, aligned to MNI by `affine` [4, 4]."""
    return _encode(np.asarray(labels, np.uint8), affine, ALIGNED, description, 1.0, (0.0, 0.0))


def encode_native(array: np.ndarray, affine: np.ndarray, description: str) -> bytes:
    """The bytes of a .nii.gz in a scanner's own space: int16 intensities or uint8 labels [I, J, K] with any affine [4, 4]."""
    return _encode(array, affine, SCANNER, description, 1.0, (0.0, 0.0))


def _encode(array: np.ndarray, affine: np.ndarray, code: int, description: str, slope: float, window: tuple[float, float]) -> bytes:
    header = _header(array.shape, array.dtype.str, np.asarray(affine, np.float64).tobytes(), code, slope, window)
    text = description.encode()[:79].ljust(80, b"\0")
    return igzip.compress(header[:_DESCRIP] + text + header[_DESCRIP + 80 :] + array.tobytes(order="F"), 1, mtime=0)


@lru_cache(maxsize=8)  # a shard's volumes differ in their description only
def _header(shape: tuple[int, ...], dtype: str, affine: bytes, code: int, slope: float, window: tuple[float, float]) -> bytes:
    """The 352 bytes before the voxels, with an empty description."""
    header, to_mm = nib.Nifti1Header(), np.frombuffer(affine).reshape(4, 4)
    header.set_data_dtype(dtype)
    header.set_data_shape(shape)
    header.set_qform(to_mm, code)
    header.set_sform(to_mm, code)
    header.set_xyzt_units("mm", "unknown")
    header["cal_min"], header["cal_max"] = window
    header.set_slope_inter(slope, 0)
    header["magic"], header["vox_offset"] = b"n+1", 352
    return header.binaryblock + b"\0\0\0\0"


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content`, atomically."""
    with atomic(path) as temporary:
        temporary.write_bytes(content)


def write_image(path: Path, image: nib.Nifti1Image) -> None:
    """Write an image that was made from bytes as the .nii.gz it was made from; nibabel's own `save` chooses another slope."""
    write_bytes(path, igzip.compress(cast(BytesIO, image.file_map["image"].fileobj).getvalue(), 1, mtime=0))


def decode_volume(content: bytes, grid: Grid, name: str) -> np.ndarray:
    """The bytes of a .nii.gz on the grid -> float32 [I, J, K]; DataError, naming it, when it is damaged or on another grid."""
    try:
        whole = inflate(content)
        image = nib.Nifti1Image.from_bytes(whole)
        check_size(image, len(whole))
        volume = np.asarray(image.dataobj, np.float32)
    except DAMAGE as error:
        raise DataError(f"{name}: expected a whole .nii.gz, found a damaged one ({error})") from None
    grid.check(name, volume.shape, image.affine)
    return volume


def inflate(content: bytes) -> bytes:
    """A gzip file's content, its checksums verified; OSError, EOFError or zlib.error if it is damaged or more than MOST_BYTES."""
    parts, left = [], MOST_BYTES
    with gzip.GzipFile(fileobj=BytesIO(content)) as stream:
        while left >= 0 and (part := stream.read(1 << 20)):
            parts.append(part)
            left -= len(part)
    if left < 0:
        raise OSError(f"it holds more than {MOST_BYTES} bytes, as no scan does")
    return b"".join(parts)


def check_size(image: Any, n_bytes: int) -> None:
    """OSError unless the file's `n_bytes` hold the voxels that the header promises: nibabel asks for the memory before it looks."""
    wanted = math.prod(image.shape) * image.get_data_dtype().itemsize
    if wanted > n_bytes:
        raise OSError(f"the header promises {wanted} bytes of voxels, the file holds {n_bytes}")


def read_volume(path: Path, grid: Grid) -> np.ndarray:
    """A .nii.gz file on the grid -> float32 [I, J, K]."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: expected a volume, found none ({error.strerror})") from None
    return decode_volume(content, grid, str(path))


def voxel_sha256(counts: np.ndarray) -> str:
    """SHA-256 of the int16 voxels in Fortran order: the same whatever compressor wrote the file."""
    return hashlib.sha256(np.asarray(counts, np.int16).tobytes(order="F")).hexdigest()
