"""Any volume as one picture of three planes, labels in colours over it; and the picture in terminals that show any."""

import base64
import io
import os
from collections.abc import Iterator, Mapping

import matplotlib
import numpy as np
from PIL import Image

from brainldm.core.errors import DataError
from brainldm.formats.scan import Scan

WINDOW = (0.5, 99.5)  # percentiles of the volume, black and white
ALPHA = 0.45  # of labels
COARSEST_MM = 1.0  # of a pixel
FORMS_APART_MM = 0.01
CHUNK = 4096  # bytes of kitty's protocol
INLINE = ("iTerm.app", "WezTerm")
Cut = tuple[slice | int, ...]


def picture(scan: Scan, at_mm: tuple[float, float, float] | None = None, labels: Scan | None = None) -> np.ndarray:
    """Axial, coronal and sagittal plane through a point (RAS mm; the middle by default), side by side: RGB [rows, columns, 3] in [0, 1].

    Neurological: left is the subject's left. DataError for a point outside, or labels of another shape or place.
    """
    spacing = np.linalg.norm(scan.affine[:3, :3], axis=0)
    low, high = np.percentile(scan.volume, WINDOW)
    palette = None if labels is None else _palette(scan, labels)
    pixel = min(COARSEST_MM, float(spacing.min()))
    planes = []
    for cut, edges in zip(_cuts(_voxel(scan, at_mm)), (spacing[[0, 1]], spacing[[0, 2]], spacing[[1, 2]]), strict=True):
        grey = np.clip((scan.volume[cut] - low) / max(high - low, 1e-6), 0, 1)
        colours = np.repeat(grey[..., None], 3, axis=-1)
        if labels is not None and palette is not None:
            colours = _tinted(grey, labels.volume[cut], *palette)
        planes.append(_square(colours, edges, pixel)[:, ::-1].swapaxes(0, 1))
    height = max(len(plane) for plane in planes)
    return np.hstack([np.pad(plane, (((height - len(plane)) // 2, -(-(height - len(plane)) // 2)), (0, 0), (0, 0))) for plane in planes])


def _cuts(voxel: tuple[int, int, int]) -> tuple[Cut, Cut, Cut]:
    """Return what takes the axial, coronal and sagittal plane out of a volume."""
    i, j, k = voxel
    return (slice(None), slice(None), k), (slice(None), j), (i,)


def _voxel(scan: Scan, at_mm: tuple[float, float, float] | None) -> tuple[int, int, int]:
    shape = np.array(scan.volume.shape)
    found = (shape - 1) / 2 if at_mm is None else np.linalg.solve(scan.affine, [*at_mm, 1.0])[:3]
    voxel = np.rint(found).astype(int)
    if (voxel < 0).any() or (voxel >= shape).any():
        ends = sorted((scan.affine @ [*corner, 1])[:3].round().tolist() for corner in ((0, 0, 0), tuple(shape - 1)))
        raise DataError(f"--at: expected a point inside the volume, from {ends[0]} to {ends[1]} mm, found {at_mm}")
    return tuple(voxel.tolist())


def _palette(scan: Scan, labels: Scan) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels that occur, and a colour [3] for each; DataError unless they lie on the scan's voxels."""
    if labels.volume.shape != scan.volume.shape or not np.allclose(labels.affine, scan.affine, atol=FORMS_APART_MM):
        raise DataError(
            f"--overlay: expected labels on the volume's own voxels {scan.volume.shape}, found {labels.volume.shape} or another place"
        )
    found = np.unique(labels.volume)
    return found, np.array([matplotlib.colormaps["tab20"](place % 20)[:3] for place in range(len(found))])


def _tinted(grey: np.ndarray, labels: np.ndarray, found: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Return a plane [A,B] of grey as RGB, with a colour for each label but 0."""
    tint = palette[np.searchsorted(found, labels)]
    return np.where((labels != 0)[..., None], (1 - ALPHA) * grey[..., None] + ALPHA * tint, grey[..., None])


def _square(plane: np.ndarray, edges: np.ndarray, pixel: float) -> np.ndarray:
    """A plane [A,B,3] of voxels with these edges in mm, on square pixels, to the nearest voxel."""
    for axis, edge in enumerate(edges):
        n = max(1, round(plane.shape[axis] * edge / pixel))
        plane = np.take(plane, np.minimum(((np.arange(n) + 0.5) * pixel / edge).astype(int), plane.shape[axis] - 1), axis=axis)
    return plane


def png(colours: np.ndarray) -> bytes:
    """RGB [rows, columns, 3] in [0, 1] as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(np.rint(colours * 255).astype(np.uint8)).save(buffer, format="png")
    return buffer.getvalue()


def escapes(content: bytes, environment: Mapping[str, str] = os.environ) -> Iterator[str]:
    """What shows a PNG in this terminal: kitty's protocol or iTerm2's; nothing in others."""
    text = base64.b64encode(content).decode()
    if "KITTY_WINDOW_ID" in environment or environment.get("TERM") in ("xterm-kitty", "xterm-ghostty"):
        for start in range(0, len(text), CHUNK):
            head = "a=T,f=100," if start == 0 else ""
            yield f"\033_G{head}m={int(start + CHUNK < len(text))};{text[start : start + CHUNK]}\033\\"
        yield "\n"
    elif environment.get("TERM_PROGRAM") in INLINE:
        yield f"\033]1337;File=inline=1;size={len(content)}:{text}\a\n"
