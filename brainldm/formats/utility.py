"""What synthetic volumes are good for, as `utility` finds it: JSON, Markdown, and a figure."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from brainldm.core.files import atomic, write_json, write_text
from brainldm.formats.figures import BLUE, ORANGE

NAMES = {"real": "real scans", "synthetic": "synthetic volumes", "both": "both"}
COLOURS = {"real": ORANGE, "synthetic": BLUE, "both": "#009988"}  # Tol, "vibrant"
DIFFERENCE = "mae_years_minus_real"
Rows = Mapping[str, Mapping[str, Any]]


def write(path: Path, rows: Rows, about: Mapping[str, Any], true: np.ndarray, predicted: Mapping[str, np.ndarray]) -> str:
    """Write figure.png and table.md beside `path`, and `path` (JSON) last; the Markdown. Ages: true [H], predicted [R,H] of each row."""
    text = markdown(rows, about)
    with atomic(path.with_name("figure.png")) as temporary:
        _figure(rows, about, true, predicted).savefig(temporary, format="png", dpi=120, metadata={"Software": None})
    write_text(path.with_name("table.md"), text)
    ages = {"true": true.tolist(), **{name: values.tolist() for name, values in predicted.items()}}
    write_json(path, {"about": about, "rows": rows, "ages_years": ages})
    return text


def markdown(rows: Rows, about: Mapping[str, Any]) -> str:
    """A row for each training set, and what the figures are."""
    head = ("trained on", "scans", "synthetic volumes", "r [95 %]", "MAE, years [95 %]", "r - r of real", "MAE - MAE of real, years")
    lines = [list(head), ["---"] * len(head)]
    for name, row in rows.items():
        own = [_value(row, key) for key in ("r", "mae_years")]
        lines.append(
            [NAMES[name], str(row["n_scans"]), str(row["n_synthetic"]), *own, _value(row, "r_minus_real"), _value(row, DIFFERENCE)]
        )
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    first = rows["real"]
    return (
        f"{table}\n\n"
        f"The same network, settings and number of steps for all; {about['n_held_out']} real held-out scans, which neither the age models "
        "nor what made the synthetic volumes has seen. The age of a synthetic volume is the one asked for. "
        f"Figures are means over {first['n_trainings']} trainings of each; intervals draw held-out scans, the same for all rows, and "
        f"trainings. Whoever always says the training scans' mean age errs by {about['mae_years_of_the_mean']:.2f} years.\n"
    )


def _value(row: Mapping[str, Any], key: str) -> str:
    """A value with its interval, or a dash: the real scans' own row has no difference."""
    if row.get(key) is None:
        return "-"
    sign = "+" if "minus" in key else ""
    return f"{row[key]:{sign}.3g} [{', '.join(f'{bound:{sign}.3g}' for bound in row[f'{key}_ci'])}]"


def _figure(rows: Rows, about: Mapping[str, Any], true: np.ndarray, predicted: Mapping[str, np.ndarray]) -> Figure:
    """True against predicted age for each training set; then errors and their differences, with intervals."""
    figure = Figure(figsize=(14, 3.8), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(9, 5), squeeze=False)[0]
    ages = [true, *(values.mean(axis=0) for values in predicted.values())]
    limits = (float(np.min(ages)) - 1, float(np.max(ages)) + 1)
    for axes, (name, row), mean in zip(left.subplots(1, len(rows), sharey=True), rows.items(), ages[1:], strict=True):
        axes.plot(limits, limits, color="grey", linewidth=1, linestyle="--")
        axes.scatter(true, mean, s=16, c=COLOURS[name], alpha=0.8, linewidths=0)
        n = " + ".join(f"{row[key]:,} {what}" for key, what in (("n_scans", "scans"), ("n_synthetic", "synthetic volumes")) if row[key])
        axes.set_title(f"{n}\nr = {row['r']:.2f}, mean error {row['mae_years']:.1f} years", fontsize=9)
        axes.set(xlim=limits, ylim=limits, aspect="equal")
    left.supxlabel(f"age of {len(true)} real held-out scans, years", fontsize=9)
    left.supylabel(f"predicted, mean of {rows['real']['n_trainings']} trainings, years", fontsize=9)
    error, apart = right.subplots(1, 2, sharey=True)
    _intervals(error, rows, "mae_years")
    _intervals(apart, rows, DIFFERENCE)
    error.axvline(about["mae_years_of_the_mean"], color="grey", linewidth=1, linestyle=":", label="always the mean age")
    error.legend(frameon=False, fontsize=7, loc="lower left")
    error.set_yticks(range(len(rows)), [NAMES[name] for name in rows], fontsize=9)
    error.set(xlim=(0, None), ylim=(len(rows) - 0.3, -0.7))
    error.set_title("mean absolute error,\nyears", fontsize=9)
    apart.axvline(0, color="grey", linewidth=1, linestyle="--")
    apart.set_title("the same, less that of\nreal scans, years", fontsize=9)
    return figure


def _intervals(axes: Axes, rows: Rows, key: str) -> None:
    for place, (name, row) in enumerate(rows.items()):
        if row.get(key) is not None:
            axes.plot(row[f"{key}_ci"], (place, place), color=COLOURS[name], linewidth=3, alpha=0.5)
            axes.plot([row[key]], [place], marker="o", color=COLOURS[name])
