"""The report's interactive viewer: a few volumes with their segmentations, and what draws them (niivue, page/niivue.txt), in the page."""

import base64
import gzip
import json
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from itertools import count
from typing import Any, NamedTuple

import numpy as np

from brainldm.core.grid import Grid
from brainldm.core.labels import NAMES
from brainldm.formats import figures, html
from brainldm.formats.evaluation import Evaluation
from brainldm.formats.nifti import encode_native

LIMIT_BYTES = 8_000_000  # of all volumes, compressed; base64 adds a third
PAGE = files("brainldm.formats") / "page"
LADDERS = (
    ("ladder_ventricles_ml", "Ventricles", "mL"),
    ("ladder_brain_ml", "Brain volume", "mL"),
    ("ladder_age_years", "Age", "years"),
    ("beyond_ventricles_ml", "Ventricles, beyond the training range", "mL"),
    ("beyond_brain_ml", "Brain volume, beyond the training range", "mL"),
)
CONTROLS = (  # name, label, lowest, highest, step, start
    ("step", "Step of the ladder", 0, 0, 1, 0),
    ("x", "Left to right", 0, 0, 1, 0),
    ("y", "Back to front", 0, 0, 1, 0),
    ("z", "Below to above", 0, 0, 1, 0),
    ("low", "Black at", 0, 1, 0.01, 0),
    ("high", "White at", 0, 1, 0.01, 1),
    ("opacity", "Segmentation", 0, 1, 0.05, 0.35),
)


class Item(NamedTuple):
    """What can be chosen: images [T,I,J,K] in [0, 1], their label maps [T,I,J,K], and a line about each."""

    group: str
    name: str
    images: np.ndarray
    labels: np.ndarray
    captions: list[str]


def chapter(found: Evaluation, grid: Grid) -> str:
    """The viewer; below it, for screens and paper that cannot have it, the segmentations as pictures."""
    everything = items(found)
    volumes, edge = encoded(everything, grid)
    known = sorted({int(label) for item in everything for label in np.unique(item.labels)} - {0})
    data = {
        "items": [
            {"group": item.group, "name": item.name, "captions": item.captions, "image": image, "labels": labels}
            for item, (image, labels) in zip(everything, volumes, strict=True)
        ],
        "labels": {label: [NAMES[label], *figures.label_colour(label)] for label in known},
        "start_mm": figures.PLANES_MM,
    }
    pictures = [
        html.figure(
            html.image(figures.labelled_png(*(figures.strip(array[0], grid) for array in item[2:4])), "three planes and segmentation"),
            f"{item.name}: {item.captions[0]}",
            item.group.split()[0].lower(),
        )
        for item in everything
        if len(item.images) == 1
    ]
    averaged = "" if edge == 1 else f", averaged over {edge} x {edge} x {edge} voxels"
    caption = (
        f"n = {len(pictures)} of the volumes above and n = {len(everything) - len(pictures)} ladders (one brain, one covariate moved), "
        f"8 bits{averaged}; segmented as all volumes are that were measured. Left is the subject's left. Click or tap a plane to go there. "
        "Good: ventricles grow and nothing else jumps as a ladder is climbed; the coloured borders follow the anatomy."
    )
    return html.section(
        "Look for yourself",
        f'<div id="viewer"><p class="note">{_NEEDS}</p>{_stage(grid)}{_form(everything)}</div>',
        _legend(known),
        html.paragraph(caption),
        html.folded("The same segmentations as pictures", html.tiles(pictures)),
        _data("viewer-data", "application/json", json.dumps(data).replace("<", "\\u003c")),
        _data("viewer-code", "text/plain", base64.b64encode((PAGE / "niivue.umd.js.gz").read_bytes()).decode()),
        _data("viewer-start", "text/javascript", (PAGE / "viewer.js").read_text(encoding="utf-8")),
        html.folded("niivue, which draws this: licences", f"<pre>{escape((PAGE / 'niivue.txt').read_text(encoding='utf-8'))}</pre>"),
    )


_NEEDS = "Here stands an interactive viewer in browsers with JavaScript and WebGL 2. The pictures of this page do without it."


def _stage(grid: Grid) -> str:
    """Where the planes are drawn, as wide as they are: all three in a row, or on a phone two above one."""
    i, j, k = grid.shape
    return f'<div class="stage" style="--row:{(2 * i + j) / max(j, k):.3f};--square:{(i + j) / (j + k):.3f}"><canvas></canvas></div>'


def items(found: Evaluation) -> list[Item]:
    """Return what the evaluation segmented for the viewer: scans where it holds them, synthetic volumes, ladders."""
    rows = found.agreement.set_index("participant_id")
    lines: dict[str, list[str]] = {}
    if "real_labels" in found.volumes:
        lines["real"] = ["a real scan, held out"] * len(found.volumes["real_labels"])
    lines["synthetic"] = [_asked(rows.loc[name]) for name in found.shown["synthetic"][: len(found.volumes["synthetic_labels"])]]
    single = [
        Item(f"{kind.capitalize()} volumes", found.shown[kind][place], *_one(found, kind, place), [line])
        for kind, captions in lines.items()
        for place, line in enumerate(captions)
    ]
    return single + [_ladder(found, *ladder) for ladder in LADDERS]


def _one(found: Evaluation, kind: str, place: int) -> tuple[np.ndarray, np.ndarray]:
    part = slice(place, place + 1)
    return found.volumes[kind][part], found.volumes[f"{kind}_labels"][part]


def _asked(row: Any) -> str:
    asked = f"{row.sex}, {row.age_years:.0f} years, ventricles {row.ventricles_ml:.0f} mL"
    return f"asked {asked}; measured ventricles {row.measured_ventricles_ml:.0f} mL, predicted age {row.age_predicted_years:.0f} years"


def _ladder(found: Evaluation, key: str, name: str, unit: str) -> Item:
    verb, shown = "predicted" if unit == "years" else "measured", found.shown[key]
    lines = [f"asked {asked:.0f} {unit}, {verb} {got:.0f} {unit}" for asked, got in zip(shown["requested"], shown["measured"], strict=True)]
    return Item("Ladders", name, found.volumes[key], found.volumes[f"{key}_labels"], lines)


def encoded(everything: Sequence[Item], grid: Grid, limit_bytes: int = LIMIT_BYTES) -> tuple[list[tuple[str, str]], int]:
    """Images and label maps as base64 of .nii.gz [I,J,K,T], averaged over blocks as large as the limit needs; and a block's edge."""
    for edge in count(1):
        found = [(_image(item.images, grid, edge), _labels(item.labels, grid, edge)) for item in everything]
        if sum(map(len, (content for pair in found for content in pair))) <= limit_bytes or edge >= min(grid.shape) // 2:
            break
    return [(base64.b64encode(image).decode(), base64.b64encode(labels).decode()) for image, labels in found], edge


def _image(images: np.ndarray, grid: Grid, edge: int) -> bytes:
    i, j, k = (size // edge for size in grid.shape)
    blocks = images[:, : i * edge, : j * edge, : k * edge].reshape(-1, i, edge, j, edge, k, edge)
    counts = np.rint(np.clip(blocks.mean((2, 4, 6)), 0, 1) * 255)
    return _nifti(counts, grid, edge, (edge - 1) / 2)


def _labels(labels: np.ndarray, grid: Grid, edge: int) -> bytes:
    return _nifti(labels[:, edge // 2 :: edge, edge // 2 :: edge, edge // 2 :: edge], grid, edge, edge // 2)


def _nifti(frames: np.ndarray, grid: Grid, edge: int, first: float) -> bytes:
    """Frames [T,i,j,k] whose voxels are `edge` of the grid's wide, the first at voxel `first` of each axis."""
    affine = grid.affine @ np.diag([edge, edge, edge, 1.0])
    affine[:3, 3] += first * grid.spacing_mm
    content = encode_native(np.moveaxis(frames, 0, -1).astype(np.uint8), affine, "brainldm report")
    return gzip.compress(gzip.decompress(content), 9, mtime=0)


def _form(everything: Sequence[Item]) -> str:
    groups = dict.fromkeys(item.group for item in everything)
    options = "".join(
        f'<optgroup label="{escape(group)}">'
        + "".join(f'<option value="{place}">{escape(item.name)}</option>' for place, item in enumerate(everything) if item.group == group)
        + "</optgroup>"
        for group in groups
    )
    sliders = "".join(
        f'<label>{label} <output></output><input type="range" name="{name}" min="{low}" max="{high}" step="{step}" value="{start}"></label>'
        for name, label, low, high, step, start in CONTROLS
    )
    return f'<form><p class="where"></p><label>Volume <select name="volume">{options}</select></label>{sliders}</form>'


def _legend(labels: Sequence[int]) -> str:
    names = {NAMES[label].removeprefix("left ").removeprefix("right "): figures.label_colour(label) for label in labels}
    chips = "".join(f'<span><i style="background:rgb{colour}"></i>{escape(name)}</span>' for name, colour in names.items())
    return f'<p class="legend">{chips}</p>'


def _data(name: str, kind: str, content: str) -> str:
    return f'<script id="{name}" type="{kind}">{content}</script>'
