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
    figure = Figure(figsize=(15, 3.6), layout="constrained")
    *clouds, error, apart = figure.subplots(1, len(rows) + 2, width_ratios=(*([3] * len(rows)), 2.4, 2.4))
    low, high = (float(edge(np.concatenate([true, *(values.mean(axis=0) for values in predicted.values())]))) for edge in (np.min, np.max))
    for axes, (name, row) in zip(clouds, rows.items(), strict=True):
        axes.plot([low, high], [low, high], color="grey", linewidth=1, linestyle="--")
        axes.scatter(true, predicted[name].mean(axis=0), s=16, c=COLOURS[name], alpha=0.8, linewidths=0)
        n = " + ".join(f"{row[key]:,} {what}" for key, what in (("n_scans", "scans"), ("n_synthetic", "synthetic")) if row[key])
        axes.set_title(f"trained on {n}\nr = {row['r']:.3f}, MAE {row['mae_years']:.2f} years", fontsize=9)
        axes.set(xlim=(low - 1, high + 1), ylim=(low - 1, high + 1), aspect="equal", xlabel="age of a real held-out scan, years")
    clouds[0].set_ylabel("predicted age, years")
    _intervals(error, rows, "mae_years", "mean absolute error, years")
    error.axvline(about["mae_years_of_the_mean"], color="grey", linewidth=1, linestyle=":")
    error.text(about["mae_years_of_the_mean"], -0.45, "always the mean ", fontsize=7, color="grey", ha="right", va="top")
    error.set_xlim(left=0)
    _intervals(apart, rows, DIFFERENCE, "error less that of real scans, years")
    apart.axvline(0, color="grey", linewidth=1, linestyle="--")
    return figure


def _intervals(axes: Axes, rows: Rows, key: str, label: str) -> None:
    shown = {name: row for name, row in rows.items() if row.get(key) is not None}
    for place, (name, row) in enumerate(shown.items()):
        axes.plot(row[f"{key}_ci"], (place, place), color=COLOURS[name], linewidth=3, alpha=0.5)
        axes.plot([row[key]], [place], marker="o", color=COLOURS[name])
    axes.set_yticks(range(len(shown)), [NAMES[name] for name in shown])
    axes.set(ylim=(len(shown) - 0.5, -0.5))
    axes.set_xlabel(label, fontsize=9)
