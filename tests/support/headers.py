"""A generator of image headers for one phantom whose pose is known: what is written, and where its voxels truly lie."""

import gzip
import struct
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy.spatial.transform import Rotation

SHAPE = (16, 19, 14)
EDGES_MM = (11.0, 9.5, 12.5)
TYPES = {"u1": 2, "i2": 4, "i4": 8, "f4": 16, "f8": 64, "i1": 256, "u2": 512, "u4": 768}
UNITS = {"mm": (2, 1.0), "unknown": (0, 1.0), "metre": (1, 0.001), "micron": (3, 1000.0), "invalid": (5, 1.0)}


def phantom() -> np.ndarray:
    """Small even numbers, which every type and scale below stores exactly; no other order of voxels looks the same."""
    i, j, k = np.indices(SHAPE)
    return 2.0 * ((3 * i + 5 * j + 7 * k + i * j) % 16) + 10.0


def truth(rng: np.random.Generator) -> np.ndarray:
    """An affine [4, 4] of the phantom: any turn, any order and direction of axes, of either handedness."""
    order = rng.permutation(3)
    axes = np.eye(3)[:, order] * rng.choice([-1.0, 1.0], 3)
    turned = Rotation.from_rotvec(rng.normal(0, 0.3, 3)).as_matrix() @ axes
    affine = np.eye(4)
    affine[:3, :3] = turned * EDGES_MM
    affine[:3, 3] = rng.uniform(-100, 100, 3)
    return affine


@dataclass
class Header:
    """The fields of a NIfTI-1 or -2 header that matter for geometry, as numbers."""

    version: int = 1
    order: str = "<"
    kind: str = "i2"
    dim: list[int] = field(default_factory=lambda: [3, *SHAPE, 1, 1, 1, 1])
    pixdim: list[float] = field(default_factory=lambda: [1.0, *EDGES_MM, 1.0, 1.0, 1.0, 1.0])
    offset: float = 352.0
    slope: float = 1.0
    inter: float = 0.0
    unit: int = 2
    qform_code: int = 1
    sform_code: int = 1
    quaternion: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    q_offset: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    sform: np.ndarray = field(default_factory=lambda: np.eye(4))
    magic: bytes = b"n+1\0"
    extension: bytes = bytes(4)

    def block(self) -> bytes:
        """The header's 348 or 540 bytes."""
        small = self.version == 1
        packed = bytearray(348 if small else 540)
        bits = np.dtype(self.kind).itemsize * 8
        places = [
            ("i", 0, [348 if small else 540]),
            ("h" if small else "q", 40 if small else 16, self.dim),
            ("h", 70 if small else 12, [TYPES[self.kind], bits]),
            ("f" if small else "d", 76 if small else 104, self.pixdim),
            ("f" if small else "q", 108 if small else 168, [self.offset if small else int(self.offset)]),
            ("f" if small else "d", 112 if small else 176, [self.slope, self.inter]),
            ("h" if small else "i", 252 if small else 344, [self.qform_code, self.sform_code]),
            ("f" if small else "d", 256 if small else 352, [*self.quaternion, *self.q_offset, *self.sform[:3].ravel()]),
        ]
        for kind, place, values in places:
            struct.pack_into(f"{self.order}{len(values)}{kind}", packed, place, *values)
        if small:
            packed[123] = self.unit
            packed[344:348] = self.magic
        else:
            struct.pack_into(f"{self.order}i", packed, 500, self.unit)
            packed[4:12] = self.magic[:2] + b"2\0\r\n\x1a\n"
        return bytes(packed)

    def set_forms(self, sform: np.ndarray, qform: np.ndarray, scale: float = 1.0) -> None:
        """Both forms and pixdim, in a unit of which `scale` are one mm."""
        self.sform = np.vstack([sform[:3] * scale, (0, 0, 0, 1)])
        edges = np.linalg.norm(qform[:3, :3], axis=0)
        rotation = qform[:3, :3] / edges
        hand = 1.0 if np.linalg.det(rotation) > 0 else -1.0
        quaternion = nib.quaternions.mat2quat(rotation * (1, 1, hand))
        self.quaternion = (quaternion[1:] * (1.0 if quaternion[0] >= 0 else -1.0)).tolist()
        self.q_offset = (qform[:3, 3] * scale).tolist()
        self.pixdim[:4] = [hand, *(edges * scale)]


@dataclass
class Case:
    """Files to write (name -> content), which of them is named, the true affine, and what is odd."""

    files: dict[str, bytes]
    name: str
    affine: np.ndarray
    odd: list[str]
    is_rigid: bool = False  # the pose is not told by the header: only distances can be right

    def write(self, folder: Path) -> Path:
        for name, content in self.files.items():
            (folder / name).write_bytes(content)
        return folder / self.name


def draw(seed: int) -> Case:
    """One NIfTI or MGH of the phantom: a sound header, and up to three things wrong with it."""
    rng = np.random.default_rng([19, seed])
    affine = truth(rng)
    if rng.random() < 0.1:
        return _mgh(rng, affine)
    header = Header(version=int(rng.choice([1, 1, 2])), order=str(rng.choice(["<", ">"])), kind=str(rng.choice(list(TYPES))))
    header.offset = 352.0 if header.version == 1 else 544.0
    name, (header.unit, scale) = list(UNITS.items())[int(rng.choice(5, p=[0.6, 0.1, 0.1, 0.1, 0.1]))]
    odd = [] if name == "mm" else [f"unit {name}"]
    header.set_forms(affine, affine, scale)
    case = Case({}, "", affine, odd)
    _codes(rng, header, case)
    faults = [_pixdim, _other_form, _quaternion, _dimensions, _scale_of_one_form, _wrong_unit, _handedness, _rounded]
    for fault in rng.choice(np.array(faults, object), int(rng.choice([0, 1, 1, 2, 3])), replace=False):
        fault(rng, header, case)
    if "pixdim zero" in case.odd and any(word.startswith("sform scaled") for word in case.odd):
        case.odd.append("nobody knows")  # the only lengths in the header are wrong
    _intensities(rng, header)
    _files(rng, header, case)
    return case


def _codes(rng: np.random.Generator, header: Header, case: Case) -> None:
    header.qform_code, header.sform_code = (int(code) for code in rng.choice([(1, 1), (1, 2), (2, 1), (1, 0), (0, 1), (0, 2), (1, 4)]))
    if rng.random() < 0.05:
        header.qform_code, header.sform_code = (int(code) for code in rng.choice([(0, 0), (-1, 0), (0, 99), (77, 1)]))
    case.odd.append(f"codes {header.qform_code} {header.sform_code}")


def _pixdim(rng: np.random.Generator, header: Header, case: Case) -> None:
    kinds = ["zero", "one zero", "negative", "nan", "inf", "stale", "qfac 0", "qfac nan", "qfac 7"]
    kind = str(rng.choice(kinds))
    axis = int(rng.integers(1, 4))
    values = {"zero": [0.0] * 3, "negative": [-edge for edge in header.pixdim[1:4]], "stale": [1.0] * 3}
    if kind in values:
        header.pixdim[1:4] = values[kind]
    elif kind.startswith("qfac"):
        header.pixdim[0] = float(kind.split()[1])
    else:
        header.pixdim[axis] = {"one zero": 0.0, "nan": np.nan, "inf": np.inf}[kind]
    case.odd.append(f"pixdim {kind}")
    if kind == "stale" and header.sform_code == 0:  # then nothing tells the truth: the header says what it says
        case.odd.append("nobody knows")


def _other_form(rng: np.random.Generator, header: Header, case: Case) -> None:
    """One form in another pose."""
    moved = np.eye(4)
    moved[:3, :3] = Rotation.from_rotvec(rng.normal(0, 0.5, 3)).as_matrix()
    moved[:3, 3] = rng.normal(0, 20, 3)
    pixdim = list(header.pixdim)
    scale = np.linalg.norm(header.sform[:3, 0]) / EDGES_MM[0]
    header.set_forms(case.affine, moved @ case.affine, scale)
    header.pixdim = [*header.pixdim[:1], *pixdim[1:]]
    case.is_rigid = True
    case.odd.append("qform in another pose")


def _quaternion(rng: np.random.Generator, header: Header, case: Case) -> None:
    header.quaternion = [[2.0, 0.0, 0.0], [np.nan, 0.0, 0.0], [0.9, 0.9, 0.9]][int(rng.integers(3))]
    case.odd.append("quaternion")


def _dimensions(rng: np.random.Generator, header: Header, case: Case) -> None:
    tails = [
        [4, 1],
        [4, 0],
        [5, 1, 1],
        [5, 0, 0],
        [7, 1, 1, 1, 1],
        [6, 1, 0, 1],
        [3, 5],
        [3, -1],
        [4, 2],
        [4, -1],
        [5, 1, 3],
        [2],
        [0],
        [8],
    ]
    tail = tails[int(rng.integers(len(tails)))]
    header.dim = [tail[0], *SHAPE, *tail[1:], *[1] * (5 - len(tail))]
    case.odd.append(f"dim {header.dim}")


def _scale_of_one_form(rng: np.random.Generator, header: Header, case: Case) -> None:
    """The sform has another scale, as that of a normalisation has; only its code tells which of two is right."""
    if header.sform_code in (1, 2) and header.qform_code == 0:
        return
    header.sform[:3, :3] *= float(rng.choice([0.5, 0.9, 0.98, 1.02, 1.3]))
    case.odd.append(f"sform scaled (code {header.sform_code})")


def _wrong_unit(rng: np.random.Generator, header: Header, case: Case) -> None:
    """Lengths in mm under another unit: no head is of that size."""
    if "unit metre" in case.odd or "unit micron" in case.odd:
        return
    header.unit = int(rng.choice([1, 3]))
    case.odd.append("unit that is not meant")


def _handedness(rng: np.random.Generator, header: Header, case: Case) -> None:
    """The qform is the mirror image; where it stands alone nothing tells."""
    if header.sform_code > 0 and header.qform_code > 0:
        header.pixdim[0] *= -1
        case.odd.append("mirrored qform")


def _rounded(rng: np.random.Generator, header: Header, case: Case) -> None:
    header.pixdim[1:4] = [edge * (1 + float(rng.uniform(-1e-4, 1e-4))) for edge in header.pixdim[1:4]]
    case.odd.append("rounded pixdim")


def _intensities(rng: np.random.Generator, header: Header) -> None:
    header.slope, header.inter = [(1.0, 0.0), (0.0, 0.0), (0.5, -20.0), (2.0, 4.0), (1.0, 0.0), (np.nan, 0.0)][int(rng.integers(6))]


def stored(header: Header) -> np.ndarray:
    """The phantom as the header's type and scale store it."""
    slope, inter = (header.slope, header.inter) if header.slope and np.isfinite(header.slope) else (1.0, 0.0)
    return np.rint((phantom() - inter) / slope).astype(header.order + header.kind)


def _files(rng: np.random.Generator, header: Header, case: Case) -> None:
    """A single file, compressed or not, its offset sound or not, with extensions or bytes behind; or a pair."""
    voxels = stored(header).tobytes(order="F")
    if rng.random() < 0.15:
        header.magic = b"ni1\0"
        header.offset = float(rng.choice([0, 0, 352, 16]))
        case.odd.append(f"pair, offset {header.offset:g}")
        head = header.block() + bytes(4)
        padding = bytes(16) if header.offset == 16 else b""
        case.files = {"scan.hdr": head, "scan.img": padding + voxels}
        case.name = str(rng.choice(["scan.hdr", "scan.img"]))
        if rng.random() < 0.3:
            case.files = {f"{name}.gz": gzip.compress(content, 1, mtime=0) for name, content in case.files.items()}
            case.name += ".gz"
        return
    between = bytes(4)
    start = int(header.offset)
    if rng.random() < 0.2:
        size = 16 * int(rng.integers(1, 6))
        between = b"\1\0\0\0" + struct.pack(f"{header.order}ii", size, 6) + b"x" * (size - 8)
        header.offset = float(start + size)
        case.odd.append(f"extension of {size} bytes")
    if rng.random() < 0.2:
        header.offset = float(rng.choice([0, 100, start - 4, start, -16, *([np.nan, 351.5] if header.version == 1 else [])]))
        case.odd.append(f"offset {header.offset:g}")
    behind = b""
    if rng.random() < 0.1:
        behind = bytes(int(rng.choice([1, 16, 300, len(voxels)])))
        case.odd.append(f"{len(behind)} bytes behind")
    content = header.block() + between + voxels + behind
    case.name = "scan.nii"
    if rng.random() < 0.3:
        content, case.name = gzip.compress(content, 1, mtime=0), "scan.nii.gz"
    case.files = {case.name: content}


def _mgh(rng: np.random.Generator, affine: np.ndarray) -> Case:
    image = nib.MGHImage(phantom().astype(np.float32), affine)
    content = bytearray(image.to_bytes())
    kind = str(rng.choice(["sound", "no frames", "delta 0", "negative delta", "scaled cosines", "goodRASFlag 0", "nan"]))
    changes = {
        "no frames": (16, struct.pack(">i", 0)),
        "delta 0": (30, struct.pack(">f", 0)),
        "negative delta": (30, struct.pack(">f", -EDGES_MM[0])),
        "scaled cosines": (42, (np.frombuffer(content[42:78], ">f4") * 1.2).astype(">f4").tobytes()),
        "goodRASFlag 0": (28, bytes(2)),
        "nan": (34, struct.pack(">f", np.nan)),
    }
    place, change = changes.get(kind, (0, b""))
    content[place : place + len(change)] = change
    name = str(rng.choice(["scan.mgh", "scan.mgz"]))
    packed = gzip.compress(bytes(content), 1, mtime=0) if name == "scan.mgz" else bytes(content)
    return Case({name: packed}, name, affine, [f"MGH {kind}"])
