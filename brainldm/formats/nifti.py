"""Volumes on the grid as NIfTI-1: int16 with one fixed slope, compressed with isal, byte for byte reproducible."""

import gzip
import hashlib
import math
import struct
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
from brainldm.core.printable import printable
from brainldm.core.regular_files import open_regular, read_all

SLOPE = 1 / 4096  # intensities in [0, 1] become 0 ... 4096; a power of two is exact in the float32 header
SCANNER = 1  # NIFTI_XFORM_SCANNER_ANAT
MOST_BYTES = 4 << 30  # of an uncompressed scan
SLACK = 4 << 20  # bytes behind the voxels of a scan: tags of an MGH file
MOST_BYTES_PER_VOXEL = 8
_HEADER = 352  # bytes before the voxels
_MGH_HEADER = 284
_BLOCK = 1 << 20
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
        whole = inflate(content, _HEADER + MOST_BYTES_PER_VOXEL * math.prod(grid.shape))
        image = nib.Nifti1Image.from_bytes(whole)
        check_size(image, len(whole))
        volume = np.asarray(image.dataobj, np.float32)
    except DAMAGE as error:
        raise DataError(f"{name}: expected a whole .nii.gz, found a damaged one ({error})") from None
    grid.check(name, volume.shape, image.affine)
    return volume


def decode_synthetic(content: bytes, name: str, most_bytes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a volume of a release, float32 [I, J, K], and its affine [4, 4]; `content` is a .nii.gz of scaled 16-bit integers.

    DataError, naming it, when it is anything else, holds more or less than its header promises, or more than `most_bytes`.
    """
    try:
        whole = inflate(content, most_bytes, slack=0)
        header = nib.Nifti1Header(whole[:348], check=False)
        shape = header.get_data_shape()
        slope, zero = header.get_slope_inter()
        affine = np.asarray(header.get_best_affine())
        if header.get_data_dtype() != np.int16 or len(shape) != 3 or header["vox_offset"] != _HEADER or not 0 < (slope or 0) < 1:
            raise ValueError("it holds no scaled 16-bit integers in three dimensions")
        counts = np.frombuffer(whole, header.get_data_dtype(), math.prod(shape), _HEADER).reshape(shape, order="F")
        if not np.isfinite(affine).all():
            raise ValueError("its affine holds what is no number")
        return counts * np.float32(slope) + np.float32(zero), affine
    except DAMAGE as error:
        raise DataError(f"{name}: expected a volume of a release, found something else ({printable(error)})") from None


def inflate(content: bytes, most_bytes: int = MOST_BYTES, slack: int = SLACK) -> bytes:
    """Return a gzip file's content, its checksums verified; what its image's header promises is checked before more is unpacked.

    OSError, EOFError or zlib.error if it is damaged, promises more than `most_bytes`, or holds `slack` bytes more than it promises.
    """
    whole = bytearray()
    with gzip.GzipFile(fileobj=BytesIO(content)) as stream:
        whole += stream.read(_HEADER)
        promised = promised_bytes(bytes(whole))
        if promised > most_bytes:
            raise OSError(f"its header promises {promised} bytes, and at most {most_bytes} are read")
        while part := stream.read(max(1, min(_BLOCK, promised + slack - len(whole) + 1))):
            whole += part
            if len(whole) > promised + slack:
                raise OSError(f"it holds more than the {promised} bytes that its header promises")
    return bytes(whole)


def promised_bytes(head: bytes) -> int:
    """Return how many bytes a NIfTI-1, NIfTI-2 or MGH image has, as its first bytes tell; 0 if they are of none of these."""
    for order in "<>":
        if len(head) >= _HEADER and struct.unpack_from(f"{order}i", head)[0] == 348:
            dims = struct.unpack_from(f"{order}8h", head, 40)
            bits = _bits(*struct.unpack_from(f"{order}2h", head, 70))
            return _promise(dims, bits, struct.unpack_from(f"{order}f", head, 108)[0])
        if len(head) >= _HEADER and struct.unpack_from(f"{order}i", head)[0] == 540:
            dims = struct.unpack_from(f"{order}8q", head, 16)
            bits = _bits(*struct.unpack_from(f"{order}2h", head, 12))
            return _promise(dims, bits, struct.unpack_from(f"{order}q", head, 168)[0])
    if head.startswith(bytes((0, 0, 0, 1))) and len(head) >= 24:
        sides = struct.unpack_from(">4i", head, 4)
        return _MGH_HEADER + math.prod(max(side, 1) for side in sides) * MOST_BYTES_PER_VOXEL
    return 0


def _bits(code: int, bits: int) -> int:
    """Return the bits of a voxel: nibabel follows the code of the type, whatever else the header says."""
    known: dict[int, np.dtype] = nib.nifti1.data_type_codes.dtype  # type: ignore[assignment]
    return max(bits, 8 * known[code].itemsize if code in known else 0)


def _promise(dims: tuple[int, ...], bits: int, offset: float) -> int:
    n_dims = min(max(dims[0], 0), 7)
    n_voxels = math.prod(max(side, 1) for side in dims[1 : n_dims + 1])
    begin = int(offset) if math.isfinite(offset) and offset > _HEADER else _HEADER
    return begin + n_voxels * max(bits, 8) // 8


def check_size(image: Any, n_bytes: int) -> None:
    """OSError unless the file's `n_bytes` hold the voxels that the header promises: nibabel asks for the memory before it looks."""
    wanted = math.prod(image.shape) * image.get_data_dtype().itemsize
    if wanted > n_bytes:
        raise OSError(f"the header promises {wanted} bytes of voxels, the file holds {n_bytes}")


def read_volume(path: Path, grid: Grid) -> np.ndarray:
    """A .nii.gz file on the grid -> float32 [I, J, K]."""
    content = read_all(open_regular(path, "volume"), path, _HEADER + MOST_BYTES_PER_VOXEL * math.prod(grid.shape) + SLACK)
    return decode_volume(content, grid, str(path))


def voxel_sha256(counts: np.ndarray) -> str:
    """SHA-256 of the int16 voxels in Fortran order: the same whatever compressor wrote the file."""
    return hashlib.sha256(np.asarray(counts, np.int16).tobytes(order="F")).hexdigest()
