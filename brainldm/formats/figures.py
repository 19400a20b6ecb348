"""Pictures of the report: slices as PNG, curves and scatter plots as SVG that takes its ink from the page (currentColor)."""

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from brainldm.core.grid import Grid
from brainldm.core.labels import MIRRORED, NAMES

BLUE, ORANGE = "#0077bb", "#ee7733"  # told apart by all common colour visions (Tol, "vibrant"); on a dark page blue becomes lighter
INK = "#010203"  # stands for the page's own text colour until the SVG is written
PLANES_MM = (9.0, -19.0, 17.0)  # MNI planes right, anterior, superior that cut the bodies of the lateral ventricles
DIFFERENCE_LIMIT = 0.3  # intensities; both ends of the difference maps' colour scale
OPACITY = 0.35  # of label maps over pictures
# in the order of the ids; white matter, cortex, ventricles and csf are told apart by all common colour visions (after Tol)
LABEL_COLOURS = (
    *("#000000", "#44aa99", "#ccbb44", "#ee6677", "#aa3377", "#88ddcc", "#999933", "#bbbbbb", "#228833", "#ee8866", "#ddcc77"),
    *("#ff5577", "#cc3311", "#9988dd", "#117733", "#ffaabb", "#66ccee", "#882255", "#4477aa"),
)
RASTER_ABOVE = 3000  # points of one scatter plot; more are drawn as pixels, so that the page stays small
STYLE: Any = {
    "font.size": 9,
    "svg.fonttype": "none",
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
}


def planes(volume: np.ndarray, grid: Grid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Axial, coronal and sagittal picture of [I,J,K] at PLANES_MM: rows from the top (anterior or superior) down.

    Neurological: the left edge of the axial and coronal pictures is the subject's left; the sagittal one looks to the right.
    """
    offsets = (np.array(PLANES_MM) - grid.affine[:3, 3]) / grid.spacing_mm
    i, j, k = np.clip(np.rint(offsets), 0, np.array(volume.shape) - 1).astype(int)
    return volume[:, ::-1, k].T, volume[:, j, ::-1].T, volume[i, :, ::-1].T


def strip(volume: np.ndarray, grid: Grid) -> np.ndarray:
    """The three planes side by side, padded with zeros to one height."""
    pictures = planes(volume, grid)
    height = max(len(picture) for picture in pictures)
    return np.hstack([_padded(picture, height) for picture in pictures])


def sheet(volumes: Sequence[np.ndarray], grid: Grid) -> np.ndarray:
    """A strip per volume, below one another; pixels of about 1 mm whatever the grid."""
    edge = max(1, round(grid.spacing_mm))
    return np.kron(np.vstack([strip(volume, grid) for volume in volumes]), np.ones((edge, edge)))


def _padded(picture: np.ndarray, height: int) -> np.ndarray:
    above = (height - len(picture)) // 2
    return np.pad(picture, ((above, height - len(picture) - above), (0, 0)))


def grey_png(picture: np.ndarray) -> bytes:
    """A picture [rows, columns] with intensities in [0, 1] as greyscale PNG."""
    return _png(picture, "gray")


def difference_png(picture: np.ndarray) -> bytes:
    """A signed picture as PNG from blue (-DIFFERENCE_LIMIT) over white (0) to red (DIFFERENCE_LIMIT)."""
    return _png(picture, "RdBu_r", -DIFFERENCE_LIMIT, DIFFERENCE_LIMIT)


def label_colour(label: int) -> tuple[int, int, int]:
    """Red, green and blue of a FreeSurfer id; both sides of a structure have the same."""
    place = sorted({min(label, MIRRORED.get(label, label)) for label in NAMES}).index(min(label, MIRRORED.get(label, label)))
    code = LABEL_COLOURS[place]
    return int(code[1:3], 16), int(code[3:5], 16), int(code[5:7], 16)


def labelled_png(picture: np.ndarray, labels: np.ndarray) -> bytes:
    """A greyscale picture in [0, 1] under the colours of its label map [rows, columns]."""
    colours = np.array([label_colour(label) if label in NAMES else (0, 0, 0) for label in range(256)]) / 255
    shown = np.repeat(np.clip(picture, 0, 1)[..., None], 3, axis=2)
    shown[labels > 0] = (1 - OPACITY) * shown[labels > 0] + OPACITY * colours[labels[labels > 0]]
    return _png(shown)


def _png(picture: np.ndarray, colours: str | None = None, low: float = 0.0, high: float = 1.0) -> bytes:
    buffer = io.BytesIO()
    matplotlib.image.imsave(buffer, picture, format="png", cmap=colours, vmin=low, vmax=high)
    return buffer.getvalue()


def scatter_svg(x: np.ndarray, y: np.ndarray, labels: tuple[str, str], note: str, real: tuple[np.ndarray, np.ndarray] | None = None) -> str:
    """Requested against measured, with the line of perfect obedience, the fitted line, and optionally real scans in a second colour."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _axes(3.5, 3.4)
        low, high = _limits(np.concatenate([x, y, *(real or ())]))
        axes.plot([low, high], [low, high], color=INK, linewidth=1, linestyle="--", label="as requested")
        if real:
            _dots(axes, *real, ORANGE, "^", "real, held out")
        _dots(axes, x, y, BLUE, "o", "synthetic")
        if len(x) > 2 and np.ptp(x) > 0:
            axes.plot([x.min(), x.max()], np.polyval(np.polyfit(x, y, 1), [x.min(), x.max()]), color=BLUE, linewidth=1.5, label="fit")
        axes.set(xlim=(low, high), ylim=(low, high), aspect="equal", xlabel=labels[0], ylabel=labels[1])
        axes.set_title(note, fontsize=9)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.legend(frameon=False, fontsize=8, loc="upper left")
        return _svg(figure, labels[1])


def _dots(axes: Axes, x: np.ndarray, y: np.ndarray, colour: str, marker: str, label: str) -> None:
    axes.scatter(x, y, s=16, c=colour, marker=marker, alpha=0.7, linewidths=0, label=label, rasterized=len(x) > RASTER_ABOVE)


def _limits(values: np.ndarray) -> tuple[float, float]:
    low, high = np.nanmin(values), np.nanmax(values)
    margin = 0.05 * (high - low) or 1.0
    return float(low - margin), float(high + margin)


def ladder_svg(requested: np.ndarray, measured: np.ndarray, labels: tuple[str, str], kind: str = "ladder") -> str:
    """Measured against requested value along one ladder of that kind."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _axes(3.5, 2.6)
        low, high = _limits(np.concatenate([requested, measured]))
        axes.plot([low, high], [low, high], color=INK, linewidth=1, linestyle="--", label="as requested")
        axes.plot(requested, measured, color=BLUE, marker="o", label="this brain")
        axes.set(xlim=(low, high), ylim=(low, high), xlabel=labels[0], ylabel=labels[1])
        axes.legend(frameon=False, fontsize=8)
        return _svg(figure, f"{kind} {labels[1]}")


def curve_svg(x: Sequence[float], lines: Sequence[tuple[str, Sequence[float], Sequence[Sequence[float]]]], label: str) -> str:
    """Values with bands against the number of volumes: (name, values, (low, high) of each), the first blue, the second orange."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _axes(3.5, 2.6)
        for (name, values, bounds), colour, marker in zip(lines, (BLUE, ORANGE), ("o", "^"), strict=False):
            axes.fill_between(x, *np.transpose(bounds), color=colour, alpha=0.2, linewidth=0)
            axes.plot(x, values, color=colour, marker=marker, label=name)
        axes.set(xlabel="n of each kind", ylabel=label, ylim=(0, None))
        axes.set_xscale("log")
        axes.set_xticks(x, [f"{value:,}" for value in x])
        axes.minorticks_off()
        axes.legend(frameon=False, fontsize=8)
        return _svg(figure, f"{label} against n")


def intervals_svg(rows: Sequence[tuple[str, float, tuple[float, float] | None]], label: str, at: float | None = None) -> str:
    """One dot with its interval for each (name, value, interval), values on the horizontal axis, and a line at `at`."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _axes(3.5, 0.9 + 0.32 * len(rows))
        if at is not None:
            axes.axvline(at, color=INK, linewidth=1, linestyle="--")
        for place, (_, value, interval) in enumerate(rows):
            axes.plot(interval or (value, value), (place, place), color=BLUE, linewidth=3, alpha=0.5)
            axes.plot([value], [place], marker="o", color=BLUE)
        axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
        axes.set(ylim=(len(rows) - 0.5, -0.5), xlabel=label)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        return _svg(figure, label)


def losses_svg(log: Mapping[str, np.ndarray], title: str) -> str:
    """A panel for every column of a training log but `step` and `seconds`: raw values faint, smoothed ones firm."""
    names = [name for name in log if name not in ("step", "seconds")]
    with matplotlib.rc_context(STYLE):
        rows = -(-len(names) // 2)
        figure = Figure(figsize=(3.8, 1.6 * rows + 0.3), layout="constrained")
        panels = figure.subplots(rows, min(2, len(names)), squeeze=False).ravel()
        for axes, name in zip(panels, names, strict=False):
            _loss_panel(axes, log["step"], log[name], name)
        for axes in panels[len(names) :]:
            axes.set_axis_off()
        for axes in panels[max(0, len(names) - 2) : len(names)]:
            axes.set_xlabel("step")
        return _svg(figure, f"losses of {title}")


def _loss_panel(axes: Axes, step: np.ndarray, values: np.ndarray, name: str) -> None:
    axes.set_xlim(0, step[-1])
    known = np.isfinite(values)
    step, values = step[known], values[known]
    axes.plot(step, values, color=BLUE, linewidth=0.8, alpha=0.35)
    axes.plot(step, smoothed(values), color=BLUE, linewidth=1.5)
    axes.set_title(name, fontsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    if len(values) and values.min() > 0 and values.max() > 5 * values.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter("")


def smoothed(values: np.ndarray, share: float = 0.05) -> np.ndarray:
    """Exponential moving average, unbiased at the start, over about `share` of the values."""
    decay = 1 - 1 / max(1.0, share * len(values))
    total, weight, result = 0.0, 0.0, np.empty(len(values))
    for place, value in enumerate(values):
        total, weight = decay * total + value, decay * weight + 1
        result[place] = total / weight
    return result


def _axes(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _svg(figure: Figure, name: str) -> str:
    """The figure as an inline <svg> element: transparent, ids of its own, no metadata, so equal input gives equal bytes."""
    figure.patch.set_alpha(0)
    for axes in figure.axes:
        axes.patch.set_alpha(0)
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    text = buffer.getvalue()
    svg = text[text.index("<svg") :].replace(INK, "currentColor").replace(BLUE, "var(--mark)")
    prefix = re.sub(r"\W+", "-", name)
    svg = re.sub(r'(id="|href="#|url\(#)', rf"\1{prefix}-", svg)
    return re.sub(r'(<svg[^>]*?) height="[^"]*"', r'\1 class="plot" role="img"', svg, count=1)
