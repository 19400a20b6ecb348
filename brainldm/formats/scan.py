"""Raw scans, read with suspicion: whatever makes one unusable is a ScanError that names the file and the cause."""

import hashlib
import logging
import math
import zlib
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
from nibabel.arrayproxy import ArrayProxy
from nibabel.freesurfer.mghformat import MGHError
from nibabel.spatialimages import HeaderDataError

from brainldm.core.errors import DataError, ScanError
from brainldm.core.printable import printable
from brainldm.core.regular_files import open_regular, read_all
from brainldm.formats.header import (
    SIDES_UNKNOWN,
    Geometry,
    dimensions,
    edges_text,
    fault,
    first_voxel,
    pair_offset,
    place,
    scaling,
)
from brainldm.formats.nifti import DAMAGE, MOST_BYTES, SLACK, inflate, promised_bytes
from brainldm.formats.pointers import link_remedy, pointer_remedy

GZIP_MAGIC = b"\x1f\x8b"
KINDS = {348: nib.Nifti1Header, 540: nib.Nifti2Header}  # by the size of the header, a NIfTI file's first four bytes
MGH_VERSION = bytes((0, 0, 0, 1))
MGH_VOXELS = 284  # byte of the first voxel
MGH_GOOD_RAS = slice(28, 30)
LARGEST_HEADER = 544
ONE_FILE = b"n+"
TWO_FILES = b"ni"
PAIR = {".hdr": ".img", ".img": ".hdr"}
UNIT_LENGTH = 0.003  # how far the length of a direction cosine may be from 1
FIELD_MM = (80.0, 1000.0)  # of view; a head needs the first, no scanner has the second


class Scan(NamedTuple):
    """A scan [X, Y, Z], float32, its axes turned to point mostly right, anterior, superior.

    `affine` maps voxels to RAS mm; `geometry` tells what was decided about the header.
    """

    volume: np.ndarray
    affine: np.ndarray
    geometry: Geometry = Geometry()


class Stored(NamedTuple):
    """An image as it is stored: the type of its voxels, where they begin in `content`, and the scale of intensities."""

    content: bytes
    shape: tuple[int, int, int]
    dtype: np.dtype
    offset: int
    slope: float
    inter: float
    affine: np.ndarray
    geometry: Geometry


def read_scan(path: Path, most_bytes: int = MOST_BYTES) -> Scan:
    """Read a .nii, .nii.gz, .mgz, .mgh or a pair .hdr and .img to its last byte. Intensities stay as they are.

    Further dimensions of one or zero count as none. ScanError where the file, its geometry or its intensities are no scan's,
    or where it has more than `most_bytes` when it is unpacked.
    """
    stored = _stored(path, most_bytes)
    _check_field(path, stored)
    volume = _intensities(path, _voxels(path, stored))
    if stored.geometry.header_notes:
        logging.warning("%s: %s", path, stored.geometry.header_notes)
    scan = nib.as_closest_canonical(nib.Nifti1Image(volume, stored.affine))
    return Scan(np.asarray(scan.dataobj, np.float32), scan.affine, stored.geometry)


def open_image(path: Path, most_bytes: int = MOST_BYTES) -> nib.Nifti1Image:
    """Return the image of a file that is whole to its last byte, in RAS mm; ScanError if it is not, or has more than `most_bytes`."""
    stored = _stored(path, most_bytes)
    return nib.Nifti1Image(_voxels(path, stored), stored.affine)


def fingerprint(path: Path) -> str:
    """Return the SHA-256 of the file, or of both files of a pair; ScanError if one cannot be read."""
    digest = hashlib.sha256()
    for file in files_of(path):
        digest.update(_read(file))
    return digest.hexdigest()


def files_of(path: Path) -> list[Path]:
    """Return the files that hold a scan: its own, or header and image of a pair, whichever of the two is named."""
    name = path.name.removesuffix(".gz")
    ending = name[-4:]
    if ending not in PAIR:
        return [path]
    plain = path.with_name(name.removesuffix(ending) + PAIR[ending])
    packed = plain.with_name(plain.name + ".gz")
    other = packed if packed.exists() and not plain.exists() else plain
    return [path, other] if ending == ".hdr" else [other, path]


def _read(path: Path, most_bytes: int = MOST_BYTES) -> bytes:
    if not path.exists():
        raise ScanError(f"{printable(path)}: expected a scan, found no file{link_remedy(path)}")
    try:
        return read_all(open_regular(path, "scan"), path, most_bytes)
    except DataError as error:
        raise ScanError(str(error)) from None
    except OSError as error:
        raise ScanError(f"{printable(path)}: expected a scan, found a file that cannot be read ({error.strerror})") from None


def _inflate(path: Path, content: bytes, most_bytes: int, slack: int) -> bytes:
    """All of it, checksum included: nibabel stops before the end of the stream and takes a damaged file for a whole one."""
    if not content.startswith(GZIP_MAGIC):
        return content
    try:
        return inflate(content, most_bytes, slack)
    except (OSError, EOFError, zlib.error) as error:
        raise ScanError(f"{path}: expected a whole gzip file, found a truncated or damaged gzip stream ({error})") from None


def _contents(path: Path, most_bytes: int) -> list[bytes]:
    """The unpacked content of the file, or of both files of a pair: the header first, which tells how much the other may hold."""
    contents: list[bytes] = []
    for file in files_of(path):
        slack = SLACK
        if contents:
            slack += min(promised_bytes(contents[0].ljust(LARGEST_HEADER, b"\0")), most_bytes)
        contents.append(_inflate(file, _read(file, most_bytes), most_bytes, slack))
    return contents


def _stored(path: Path, most_bytes: int) -> Stored:
    contents = _contents(path, most_bytes)
    if remedy := next(filter(None, map(pointer_remedy, contents)), None):
        raise ScanError(f"{path} holds a pointer of git-annex or git-lfs in place of its content. {remedy}.")
    if contents[0].startswith(MGH_VERSION):
        return _mgh(path, contents[0])
    for endianness, order in (("<", "little"), (">", "big")):
        kind = KINDS.get(int.from_bytes(contents[0][:4], order))  # type: ignore[arg-type]
        if kind is not None:
            return _nifti(path, contents, kind, endianness)
    begin = contents[0][:16]
    raise ScanError(f"{path}: expected a NIfTI or MGH image, found {len(contents[0])} bytes that begin with {begin!r}")


def _nifti(path: Path, contents: list[bytes], kind: type[nib.Nifti1Header], endianness: str) -> Stored:
    """The image of a single file or of a pair."""
    try:
        header = kind(contents[0][: kind.sizeof_hdr], endianness=endianness, check=False)
        dtype = header.get_data_dtype()
    except (*DAMAGE, MGHError) as error:
        raise ScanError(f"{path}: expected a NIfTI or MGH image, found a damaged header ({error})") from None
    is_pair = _check_magic(path, header, contents)
    shape, sides, notes = dimensions(path, header["dim"])
    n_bytes = math.prod(shape) * dtype.itemsize
    find = pair_offset if is_pair else first_voxel
    offset, offset_notes = find(path, contents[-1], header, n_bytes)
    placed, unit = place(path, header, shape)
    slope, inter = scaling(path, header)
    geometry = Geometry(
        header_form=placed.form,
        voxel_mm=edges_text(nib.affines.voxel_sizes(placed.affine)),
        header_unit=unit if unit != "unknown" else "unknown, taken as mm",
        header_offset=str(offset),
        header_dimensions=sides,
        header_notes="; ".join([*placed.notes, *offset_notes, *notes]),
    )
    return Stored(contents[-1], shape, dtype, offset, slope, inter, placed.affine, geometry)


def _check_magic(path: Path, header: nib.Nifti1Header, contents: list[bytes]) -> bool:
    """Whether the image is a pair; ScanError where the header says another thing than the files, or is no NIfTI's."""
    magic = bytes(header["magic"].item())[:2]
    if magic not in (ONE_FILE, TWO_FILES):
        raise ScanError(
            f"{path}: expected a NIfTI or MGH image, found a damaged header (magic {magic!r}). "
            f"If this is Analyze 7.5, convert it to NIfTI with a tool that knows its orientation: {SIDES_UNKNOWN}."
        )
    if (magic == TWO_FILES) != (len(contents) == 2):
        says = "a file of their own (.img)" if magic == TWO_FILES else "the header's own file"
        raise ScanError(f"{path}: expected voxels in {says}, as the header's magic says, found {len(contents)} file(s) of it")
    return magic == TWO_FILES


def _mgh(path: Path, content: bytes) -> Stored:
    if content[MGH_GOOD_RAS] == bytes(2):  # nibabel would make an orientation up
        raise ScanError(f"{path}: expected an orientation, found goodRASFlag 0: {SIDES_UNKNOWN}")
    try:
        image = nib.MGHImage.from_bytes(content)
        dtype = image.header.get_data_dtype()
    except (*DAMAGE, MGHError) as error:
        raise ScanError(f"{path}: expected a NIfTI or MGH image, found a damaged header ({error})") from None
    sides = [int(side) for side in image.header["dims"]]
    shape, shown, notes = dimensions(path, np.array([4, *sides]))
    cosines = np.linalg.norm(np.asarray(image.header["Mdc"], float), axis=1)
    delta = np.asarray(image.header["delta"], float)
    if not (np.abs(cosines - 1) <= UNIT_LENGTH).all() or not (np.isfinite(delta).all() and delta.min() > 0):
        raise ScanError(
            f"{path}: expected an affine of voxels with lengths above 0 along directions of length 1, "
            f"found lengths {edges_text(delta)} along directions of length {edges_text(cosines)}. Write the file again (mri_convert)."
        )
    affine = np.asarray(image.affine, float)
    geometry = Geometry("MGH", edges_text(delta), "mm", str(MGH_VOXELS), shown, "; ".join(notes))
    if (cause := fault(affine)) is not None:
        raise ScanError(f"{path}: {cause}")
    return Stored(content, shape, dtype, MGH_VOXELS, 1.0, 0.0, affine, geometry)


def _check_field(path: Path, stored: Stored) -> None:
    field_mm = nib.affines.voxel_sizes(stored.affine) * stored.shape
    if field_mm.min() < FIELD_MM[0] or field_mm.max() > FIELD_MM[1]:
        raise ScanError(
            f"{path}: expected a field of view that holds a head, {FIELD_MM[0]:g} to {FIELD_MM[1]:g} mm, "
            f"found {edges_text(field_mm.round(1))} mm (unit of the header: {stored.geometry.header_unit})"
        )


def _voxels(path: Path, stored: Stored) -> np.ndarray:
    """The voxels [X, Y, Z], scaled as the header says."""
    if len(stored.content) - stored.offset < math.prod(stored.shape) * stored.dtype.itemsize:  # before memory is asked for
        raise ScanError(f"{path}: expected {stored.shape} voxels of {stored.dtype}, found fewer: the file is cut off")
    proxy = ArrayProxy(BytesIO(stored.content), (stored.shape, stored.dtype, stored.offset, stored.slope, stored.inter))
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(proxy)
    except (OSError, ValueError, TypeError, OverflowError, HeaderDataError) as error:
        raise ScanError(f"{path}: expected {stored.shape} voxels of {stored.dtype}, found none that can be read ({error})") from None


def _intensities(path: Path, volume: np.ndarray) -> np.ndarray:
    """The voxels as float32; ScanError where they are no intensities."""
    if volume.dtype.kind not in "iufb":
        raise ScanError(f"{path}: expected one real number a voxel, found {volume.dtype}")
    with np.errstate(over="ignore"):
        volume = volume.astype(np.float32)
    if not np.isfinite(volume).all():
        raise ScanError(f"{path}: expected finite intensities, found {int((~np.isfinite(volume)).sum())} voxels that are not")
    if volume.min() == volume.max():
        raise ScanError(f"{path}: expected a brain, found {volume.min():g} in every voxel")
    return volume
