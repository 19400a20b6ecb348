"""Table 1 of Pinaya et al. 2022 as this run finds it: JSON, Markdown, and a figure of the rows' volumes and figures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from brainldm.core import paper
from brainldm.core.files import atomic, write_json, write_text
from brainldm.core.grid import Grid
from brainldm.formats.figures import BLUE, ORANGE, planes

SHOWN = 8  # volumes of each row in the figure
METRICS = {"fid": "FID", "ms_ssim": "MS-SSIM", "g4r_ssim": "4-G-R-SSIM"}  # which the paper gives
OWN = {"precision": "precision", "recall": "recall", "seconds": "sampling, s per volume"}
Rows = Mapping[str, Mapping[str, Any]]


def write(path: Path, rows: Rows, about: Mapping[str, Any], volumes: Mapping[str, np.ndarray], grid: Grid) -> str:
    """Write figure.png and table.md beside `path`, and `path` (JSON) last; the Markdown. `volumes` [SHOWN,I,J,K] of each row."""
    text = markdown(rows, about)
    with atomic(path.with_name("figure.png")) as temporary:
        _figure(rows, volumes, grid).savefig(temporary, format="png", dpi=120, metadata={"Software": None})
    write_text(path.with_name("table.md"), text)
    write_json(path, {"about": about, "rows": rows, "paper": {"label": paper.LABEL, "source": paper.SOURCE, "rows": paper.TABLE}})
    return text


def markdown(rows: Rows, about: Mapping[str, Any]) -> str:
    """The rows in the paper's order, and the models in the order measured."""
    header = ["model", "volumes"]
    for label in METRICS.values():
        header += [f"{label} [95 %]", paper.LABEL]
    lines = [[*header, *(f"{label} [95 %]" for label in OWN.values())]]
    for name, row in rows.items():
        cells = [paper.NAMES[name], str(row["n"])]
        for key in METRICS:
            cells += [_value(row, key), f"{paper.TABLE[name][key]:.4f}"]
        lines.append([*cells, *(_value(row, key) for key in OWN)])
    lines.insert(1, ["---"] * len(lines[0]))
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return f"{table}\n\n{_note(rows, about)}\n"


def _note(rows: Rows, about: Mapping[str, Any]) -> str:
    models = [name for name in rows if name != "real"]
    by_fid = sorted(models, key=lambda name: rows[name]["fid"])
    alike = sorted(models, key=lambda name: abs(rows[name]["ms_ssim"] - rows["real"]["ms_ssim"]))
    first = rows[models[0]]
    return (
        f"FID, precision and recall between {first['fid_n']} real scans and as many others: mean of {first['fid_draws']} draws, "
        f"interval from draws of halves; features: {about['features']}. "
        f"Similarities: {first['ms_ssim_n']} random pairs. "
        f"Sampling: {first['seconds_n']} volumes, one at a time, decoding included, on {about['device']}.\n\n"
        f"Lowest FID first, as measured: {_names(by_fid)}. Nearest to the real scans' MS-SSIM first: {_names(alike)}. "
        f"The published numbers are of other scans, another grid and other features: compare orders, not values."
    )


def _names(models: list[str]) -> str:
    return ", ".join(paper.NAMES[name] for name in models)


def _value(row: Mapping[str, Any], key: str) -> str:
    """A value with its interval, or a dash: real scans are not sampled."""
    if row.get(key) is None:
        return "-"
    return f"{row[key]:.4g} [{', '.join(f'{bound:.4g}' for bound in row[f'{key}_ci'])}]"


def _figure(rows: Rows, volumes: Mapping[str, np.ndarray], grid: Grid) -> Figure:
    """A line of axial slices for each row, and its figures beside the real scans' (dashed). Volumes all alike: it has collapsed."""
    panels = {**METRICS, **{key: OWN[key] for key in ("precision", "recall")}}
    figure = Figure(figsize=(13, 5), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(7, 6), squeeze=False)[0]
    for axes, (name, images) in zip(left.subplots(len(rows), 1), volumes.items(), strict=True):
        axes.imshow(np.hstack([planes(image, grid)[0] for image in images]), cmap="gray", vmin=0, vmax=1)
        axes.set_title(paper.NAMES[name], loc="left", fontsize=8)
        axes.set(xticks=[], yticks=[])
    for place, (axes, (key, label)) in enumerate(zip(right.subplots(1, len(panels), sharey=True), panels.items(), strict=True)):
        _panel(axes, rows, key, label)
        if place == 0:  # the others share it
            axes.set_yticks(range(len(rows)), [paper.NAMES[name] for name in rows])
    return figure


def _panel(axes: Axes, rows: Rows, key: str, label: str) -> None:
    for place, (name, row) in enumerate(rows.items()):
        colour = ORANGE if name == "real" else BLUE
        axes.plot(row[f"{key}_ci"], (place, place), color=colour, linewidth=3, alpha=0.5)
        axes.plot([row[key]], [place], marker="o", color=colour)
    axes.axvline(rows["real"][key], color=ORANGE, linewidth=1, linestyle="--")
    axes.set(ylim=(len(rows) - 0.5, -0.5))
    axes.set_title(label, fontsize=9)
    axes.tick_params(labelsize=7)
