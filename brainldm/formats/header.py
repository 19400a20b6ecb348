"""What a NIfTI header says of an image's geometry, and what is decided where it contradicts itself.

nibabel parses the fields, without the repairs that it makes in silence (a pixdim of 0 becomes 1 there). Every decision is part of
the answer, so that the QC table, `doctor` and the report can show it. Source: nifti1.h and nifti2.h of the NIfTI working group.
"""

from itertools import product
from pathlib import Path
from typing import Literal, NamedTuple

import nibabel as nib
import numpy as np
from nibabel.quaternions import quat2mat
from nibabel.spatialimages import HeaderDataError

from brainldm.core.errors import ScanError

FORMS_APART_MM = 0.3  # sform and qform closer than this at every corner are one
LENGTHS_APART = 0.003  # of an edge: three of these are 1 % of a volume
TOLERANCE = 0.01  # cosine of the angle between two axes
FURTHEST_MM = 1e5  # of a voxel from the middle of the world
VOXEL_MM = (0.01, 100.0)  # anything else is a damaged header; a singular affine has an edge of 0
UNITS = {0: "unknown", 1: "metre", 2: "mm", 3: "micron"}  # the lowest three bits of xyzt_units
IN_MM = {"metre": 1000.0, "micron": 0.001}
NORMALISED = {3: "Talairach", 4: "MNI152", 5: "another template"}  # form codes of spaces whose scale is not the scanner's
LARGEST_CODE = 5
QUATERNION_ERROR = 1e-3  # of its squared length, as numbers rounded in a text have
SMALLEST_EXTENSION = 16  # bytes; every extension is a multiple
SIDES_UNKNOWN = "left cannot be told from right"


class Geometry(NamedTuple):
    """What was decided about an image's geometry; the columns of the QC table."""

    header_form: str = ""  # which form places the voxels
    voxel_mm: str = ""  # edges of a voxel along the file's axes, as used
    header_unit: str = ""
    header_offset: str = ""  # byte of the first voxel
    header_dimensions: str = ""
    header_notes: str = ""  # what the header contradicts, and what was done; "" where it is sound


class Placed(NamedTuple):
    """An affine [4, 4] from voxels to RAS mm, the form that it comes from, and what was said of it."""

    affine: np.ndarray
    form: str
    notes: list[str]


def edges_text(edges: np.ndarray) -> str:
    """Return lengths as 0.9 x 0.9 x 1.2."""
    return " x ".join(f"{edge:.5g}" for edge in edges)


def dimensions(path: Path, dim: np.ndarray) -> tuple[tuple[int, int, int], str, list[str]]:
    """Return the three sides, all sides as the header has them, and notes; further sides of 1 or 0 are none.

    ScanError unless there is one volume.
    """
    n_dim = int(dim[0])
    if not 0 < n_dim < len(dim):
        raise ScanError(f"{path}: expected a 3-D image, found a header of {n_dim} dimensions (dim[0])")
    sides = tuple(int(side) for side in dim[1 : n_dim + 1])
    if len(sides) < 3 or min(sides[:3]) < 2 or any(side not in (0, 1) for side in sides[3:]):
        raise ScanError(f"{path}: expected a 3-D image, found shape {sides}. Give one volume: extract it from the file.")
    shown = " x ".join(map(str, sides))
    zero = [f"a dimension of 0 in {shown} counts as 1"] if 0 in sides[3:] else []
    return (sides[0], sides[1], sides[2]), shown, zero


def place(path: Path, header: nib.Nifti1Header, shape: tuple[int, int, int]) -> tuple[Placed, str]:
    """Return where a NIfTI's voxels lie, in mm, and the unit of the header; ScanError where that cannot be known.

    Where both forms are coded and differ by a rotation or a shift, the sform is used: the size is the same. Where they differ in
    lengths, an sform of a normalised space (code 3 to 5) may hold a scaling and the qform is used; of two that both claim the
    scanner's space none can be believed.
    """
    unit = UNITS.get(int(header["xyzt_units"]) & 7, "unknown")
    factor = IN_MM.get(unit, 1.0)
    notes = [f"lengths in {unit} are converted to mm"] if factor != 1.0 else []
    pixdim = np.asarray(header["pixdim"][1:4], float) * factor
    sform = _sform(header, factor)
    is_normalised = int(header["sform_code"]) in NORMALISED and int(header["qform_code"]) not in (0, *NORMALISED)
    lengths = _lengths(path, pixdim, None if is_normalised else sform, notes)
    found = {"sform": sform, "qform": _qform(header, lengths, factor, notes)}
    coded = {name: form for name, form in found.items() if form is not None}
    if not coded:
        codes = f"qform_code {int(header['qform_code'])} and sform_code {int(header['sform_code'])}"
        raise ScanError("; ".join([f"{path}: expected an orientation, found {codes}", *notes, SIDES_UNKNOWN]))
    faults = {name: fault(form) for name, form in coded.items()}
    sound = {name: form for name, form in coded.items() if faults[name] is None}
    if not sound:
        name = next(iter(coded))
        raise ScanError(f"{path}: {'; '.join([str(faults[name]), *notes])}. Correct the header's {name}, pixdim or unit (xyzt_units).")
    if len(sound) == 2:
        space = NORMALISED[int(header["sform_code"])] if is_normalised else None
        return _of_two(path, sound["sform"], sound["qform"], shape, space, notes), unit
    ((name, form),) = sound.items()
    notes += [f"the {bad} cannot be used ({faults[bad]}); the {name} is used" for bad in coded if bad != name]
    if name == "sform" and _are_lengths(pixdim) and not _same_lengths(_edges(form), np.abs(pixdim)):
        disagree = f"pixdim {edges_text(pixdim)} mm disagrees with the sform, {edges_text(_edges(form))} mm"
        if int(header["qform_code"]) > 0:
            raise ScanError(f"{path}: expected one size, found that {disagree}; {'; '.join(notes)}. Correct the one that is wrong.")
        notes.append(f"{disagree}; the sform is used, as it stands alone")
    return Placed(form, name, notes), unit


def fault(affine: np.ndarray) -> str | None:
    """Return what makes an affine [4, 4] impossible for a scan, or None."""
    if not np.isfinite(affine).all():
        return f"expected an affine with voxels of {VOXEL_MM} mm, found numbers that are not finite"
    lengths = np.linalg.svd(affine[:3, :3], compute_uv=False)
    if lengths.min() < VOXEL_MM[0] or lengths.max() > VOXEL_MM[1]:
        return f"expected an affine with voxels of {VOXEL_MM} mm, found {affine.round(5).tolist()}"
    if np.abs(affine[:3, 3]).max() > FURTHEST_MM:
        return f"expected an affine near the middle of the world, found an origin at {affine[:3, 3].tolist()} mm"
    axes = affine[:3, :3] / _edges(affine)
    shear = float(np.abs(axes.T @ axes - np.eye(3)).max())
    if shear > TOLERANCE:
        return f"expected axes at right angles, found a shear of {shear:.3f} in {affine.round(3).tolist()}"
    return None


def first_voxel(path: Path, content: bytes, header: nib.Nifti1Header, n_bytes: int) -> tuple[int, list[str]]:
    """Return the byte at which the `n_bytes` of voxels of a single file begin, and notes.

    An offset inside the header or its extensions, or one that leaves too few bytes, is replaced where the file's length tells the
    right one; ScanError where it does not.
    """
    stated = float(header["vox_offset"])
    least = header.sizeof_hdr + 4
    ends = _extension_ends(content, least, header.endianness)
    after_all = stated > least if len(ends) > 1 else stated >= least
    is_place = stated.is_integer() and after_all and (stated in ends or stated >= ends[-1])
    if is_place and len(content) - stated >= n_bytes:
        return int(stated), _surplus(path, len(content) - int(stated), n_bytes, header)
    left = len(content) - n_bytes
    if left in {header.sizeof_hdr, *ends}:
        return left, [f"vox_offset {stated:g} cannot be; the voxels begin at {left}"] if left != stated else []
    if is_place or left < header.sizeof_hdr:
        raise ScanError(f"{path}: expected {n_bytes} bytes of voxels at offset {stated:g}, found fewer: the file is cut off")
    raise ScanError(
        f"{path}: expected voxels after the header, from byte {least} on, found an offset (vox_offset) of {stated:g} "
        f"in a file of {len(content)} bytes. Write the file again with the program that made it."
    )


def pair_offset(path: Path, content: bytes, header: nib.Nifti1Header, n_bytes: int) -> tuple[int, list[str]]:
    """Return the byte at which the voxels begin in the image file of a pair, and notes."""
    stated = float(header["vox_offset"])
    if len(content) == n_bytes:
        return 0, [] if stated == 0 else [f"vox_offset {stated:g}, but the image file holds voxels only; they begin at 0"]
    if not stated.is_integer() or stated < 0:
        raise ScanError(f"{path}: expected an offset of voxels, found a vox_offset of {stated:g}. Write the pair again.")
    return int(stated), _surplus(path, len(content) - int(stated), n_bytes, header)


def scaling(path: Path, header: nib.Nifti1Header) -> tuple[float, float]:
    """Return slope and intercept of the intensities; a slope of 0 or none means 1, as the standard says."""
    try:
        slope, inter = header.get_slope_inter()
    except HeaderDataError as error:
        raise ScanError(f"{path}: expected a scale of intensities, found scl_slope and scl_inter that are none ({error})") from None
    return (1.0, 0.0) if slope is None else (float(slope), float(inter))


def _surplus(path: Path, held: int, n_bytes: int, header: nib.Nifti1Header) -> list[str]:
    """A note of bytes after the last voxel; ScanError where they are a slice or more: then the sides or the type are wrong."""
    more = held - n_bytes
    slice_bytes = int(header["dim"][1]) * int(header["dim"][2]) * header.get_data_dtype().itemsize
    if more >= slice_bytes:
        raise ScanError(
            f"{path}: expected {n_bytes} bytes of voxels, as dim and datatype tell, found {held}: the header does not describe this image. "
            "Write the file again with the program that made it."
        )
    return [f"{more} bytes follow the last voxel"] if more > 0 else []


def _extension_ends(content: bytes, start: int, endianness: str) -> list[int]:
    """The bytes at which the header's extensions may end: `start`, and the end of each that is whole."""
    ends = [start]
    order: Literal["little", "big"] = "little" if endianness == "<" else "big"
    if content[start - 4 : start - 3] in (b"", b"\0"):
        return ends
    while len(content) - ends[-1] >= SMALLEST_EXTENSION:
        size = int.from_bytes(content[ends[-1] : ends[-1] + 4], order)
        if size % SMALLEST_EXTENSION or not 0 < size <= len(content) - ends[-1]:
            break
        ends.append(ends[-1] + size)
    return ends


def _lengths(path: Path, pixdim: np.ndarray, sform: np.ndarray | None, notes: list[str]) -> np.ndarray:
    """The lengths that the qform's rotation goes with: pixdim's, or where those are none the sform's; noted."""
    if _are_lengths(pixdim):
        if pixdim.min() < 0:
            notes.append(f"pixdim {edges_text(pixdim)} has a negative length; its sign is dropped")
        return np.abs(pixdim)
    if sform is None or fault(sform) is not None:
        raise ScanError(f"{path}: expected lengths of voxels, found pixdim {edges_text(pixdim)} and no sform of the scanner's space")
    told = np.isfinite(pixdim) & (pixdim != 0)
    if not _same_lengths(_edges(sform)[told], np.abs(pixdim[told])):
        disagree = f"pixdim {edges_text(pixdim)} mm disagrees with the sform, {edges_text(_edges(sform))} mm"
        raise ScanError(f"{path}: expected one size, found that {disagree}. Correct the one that is wrong.")
    notes.append(f"pixdim {edges_text(pixdim)} tells no lengths; those of the sform are used")
    return _edges(sform)


def _are_lengths(pixdim: np.ndarray) -> bool:
    return bool(np.isfinite(pixdim).all() and np.abs(pixdim).min() > 0)


def _sform(header: nib.Nifti1Header, factor: float) -> np.ndarray | None:
    """The sform in mm, or None where it is not coded."""
    if not 0 < int(header["sform_code"]) <= LARGEST_CODE:
        return None
    rows = np.array([header[name] for name in ("srow_x", "srow_y", "srow_z")], float) * factor
    return np.vstack([rows, (0.0, 0.0, 0.0, 1.0)])


def _qform(header: nib.Nifti1Header, lengths: np.ndarray, factor: float, notes: list[str]) -> np.ndarray | None:
    """The qform in mm with voxels of these lengths, or None where it is not coded or its numbers are none; the latter is noted."""
    if not 0 < int(header["qform_code"]) <= LARGEST_CODE:
        return None
    vector = np.array([header[f"quatern_{name}"] for name in "bcd"], float)
    hand = float(header["pixdim"][0])
    rest = 1.0 - float(vector @ vector)
    if hand not in (-1.0, 1.0):
        notes.append(f"pixdim[0] is {hand:g} and tells no handedness; the qform is not used")
        return None
    if not np.isfinite(rest) or rest < -QUATERNION_ERROR:
        notes.append(f"the qform's quaternion {vector.tolist()} is none; the qform is not used")
        return None
    rotation = quat2mat(np.array([np.sqrt(max(rest, 0.0)), *vector]))
    form = np.eye(4)
    form[:3, :3] = rotation * lengths * (1.0, 1.0, -1.0 if hand < 0 else 1.0)
    form[:3, 3] = np.array([header[f"qoffset_{name}"] for name in "xyz"], float) * factor
    return form


def _of_two(path: Path, sform: np.ndarray, qform: np.ndarray, shape: tuple[int, int, int], space: str | None, notes: list[str]) -> Placed:
    """Choose between two sound forms; `space` is the sform's, where it is a normalised one and the qform's is not."""
    if np.linalg.det(sform) * np.linalg.det(qform) < 0:
        raise ScanError(f"{path}: expected sform and qform of one handedness, found two: {SIDES_UNKNOWN}")
    apart_mm = _apart_mm(sform, qform, shape)
    if apart_mm <= FORMS_APART_MM:
        return Placed(sform, "sform and qform", notes)
    differ = f"sform and qform differ by {apart_mm:.1f} mm"
    lengths = f"{edges_text(_edges(sform))} mm and {edges_text(_edges(qform))} mm"
    if _same_lengths(_edges(sform), _edges(qform)):
        return Placed(sform, "sform", [*notes, f"{differ} and agree in lengths; the sform is used"])
    if space:
        chosen = f"{differ}, with voxels of {lengths}; the sform is that of {space}; the qform is used"
        return Placed(qform, "qform", [*notes, chosen])
    raise ScanError(
        f"{path}: expected one size, found that {differ}: voxels of {lengths}. One of the two is wrong, and nothing tells which. "
        "Copy the right one over the other (fslorient -copysform2qform, or -copyqform2sform)."
    )


def _apart_mm(one: np.ndarray, other: np.ndarray, shape: tuple[int, int, int]) -> float:
    """The largest distance between where two affines put a corner; a swapped or flipped axis moves one by the whole image."""
    corners = np.array([(*corner, 1) for corner in product(*((0, side - 1) for side in shape))])
    return float(np.linalg.norm(corners @ (one - other).T, axis=1).max())


def _edges(affine: np.ndarray) -> np.ndarray:
    return np.asarray(nib.affines.voxel_sizes(affine))


def _same_lengths(one: np.ndarray, other: np.ndarray) -> bool:
    return bool((np.abs(one - other) <= LENGTHS_APART * other).all())
