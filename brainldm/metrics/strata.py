"""Tables by stratum: agreement by decile of the request, and how well each cell of age, sex and ventricles is covered."""

from collections import Counter
from itertools import pairwise, product
from typing import Any

import numpy as np
import pandas as pd

from brainldm.metrics.audit import rate
from brainldm.metrics.summary import Entries

EDGE = 5.0  # years or mL


def deciles(requested: np.ndarray, measured: np.ndarray, parts: int = 10) -> list[dict[str, float]]:
    """Of each tenth of the pairs, by requested value: n, the mean of both, bias and mean absolute error."""
    order = np.argsort(requested, kind="stable")
    error = measured - requested
    return [
        {
            "n": len(part),
            "requested": float(requested[part].mean()),
            "measured": float(measured[part].mean()),
            "bias": float(error[part].mean()),
            "mae": float(np.abs(error[part]).mean()),
        }
        for part in np.array_split(order, min(parts, len(order)))
    ]


def coverage_cells(table: pd.DataFrame, training: pd.DataFrame) -> list[Entries]:
    """Of each cell of sex, age (quarters of the training scans) and ventricles (thirds): n, n_train, `rejections`, and the control error.

    Edges of cells are multiples of EDGE, because a quantile is a participant's own value.
    That is ventricles_bias_ml and ventricles_mae_ml of measured - requested; what no volume tells is None.
    """
    edges = {
        "age_years": _edges(training["age_years"], [0.25, 0.5, 0.75]),
        "ventricles_ml": _edges(training["ventricles_ml"], [1 / 3, 2 / 3]),
    }
    ours, theirs = (
        list(zip(frame["sex"], *(_bins(frame[name], edges[name]) for name in edges), strict=True)) for frame in (table, training)
    )
    cells = []
    for key in product(sorted({*table["sex"], *training["sex"]}), *map(_names, edges.values())):
        inside = table[[cell == key for cell in ours]]
        error = inside["measured_ventricles_ml"] - inside["ventricles_ml"]
        control = {"ventricles_bias_ml": float(error.mean()), "ventricles_mae_ml": float(error.abs().mean())}
        counts = {"n_train": theirs.count(key), "n": len(inside)}
        found = dict.fromkeys(control) if inside.empty else control
        cells.append({**dict(zip(("sex", *edges), key, strict=True)), **counts, **rejections(inside), **found})
    return cells


def rejections(table: pd.DataFrame) -> Entries:
    """The share of draws that quality control rejected, redrawn or not, with its interval; and how many volumes failed and were kept."""
    kept_failed = ~table["qc_pass"].to_numpy(bool)
    draws, rejected = int((table["attempt"] + 1).sum()), int(table["attempt"].sum() + kept_failed.sum())
    return {**rate("rejection_rate", np.arange(draws) < rejected), "kept_failed": int(kept_failed.sum())}


def reasons(table: pd.DataFrame) -> dict[str, int]:
    """How many draws each fault was found in, the most frequent first; a draw may have several."""
    faults = [fault for name in ("rejected", "qc_reason") for row in table[name] for draw in row.split(" | ") for fault in draw.split("; ")]
    return dict(Counter(filter(None, faults)).most_common())


def _edges(values: pd.Series, shares: list[float]) -> np.ndarray:
    """Return quantiles rounded to multiples of EDGE, each once."""
    return np.unique(np.round(np.quantile(values, shares) / EDGE) * EDGE)


def _bins(values: pd.Series, edges: np.ndarray) -> list[str]:
    return [_names(edges)[place] for place in np.searchsorted(edges, values.to_numpy(), side="right")]


def _names(edges: np.ndarray) -> list[str]:
    shown = [f"{edge:.0f}" for edge in edges]
    return [f"below {shown[0]}", *(f"{low} to {high}" for low, high in pairwise(shown)), f"from {shown[-1]}"]


def inside_and_outside(requested: np.ndarray, measured: np.ndarray, in_support: np.ndarray) -> dict[str, dict[str, Any]]:
    """n, bias and mean absolute error of the rows that lie near training participants, and of those that do not."""
    error = measured - requested
    sides = {"inside": in_support, "outside": ~in_support}
    return {
        name: {
            "n": int(side.sum()),
            "bias": float(error[side].mean()) if side.any() else None,
            "mae": float(np.abs(error[side]).mean()) if side.any() else None,
        }
        for name, side in sides.items()
    }
