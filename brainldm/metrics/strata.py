"""Tables by stratum: agreement by decile of the request, and how well each cell of age, sex and ventricles is covered."""

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd


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


def coverage_cells(table: pd.DataFrame, training: pd.DataFrame) -> pd.DataFrame:
    """A row for each cell of sex, age (quarters of the training scans) and ventricles (thirds): how many, how many fail, how wrong.

    n_train, n, rejected (share that fails quality control), ventricles_bias_ml and ventricles_mae_ml of measured - requested.
    """
    edges = {
        "age_years": np.quantile(training["age_years"], [0.25, 0.5, 0.75]),
        "ventricles_ml": np.quantile(training["ventricles_ml"], [1 / 3, 2 / 3]),
    }
    error = (table["measured_ventricles_ml"] - table["ventricles_ml"]).to_numpy()
    cells = {
        kind: [frame["sex"], *(_bins(frame[name], edges[name]) for name in edges)]
        for kind, frame in (("synthetic", table), ("train", training))
    }
    names = ["sex", *edges]
    synthetic = pd.DataFrame(dict(zip(names, cells["synthetic"], strict=True))).assign(
        rejected=~table["qc_pass"].to_numpy(bool), bias=error, mae=np.abs(error)
    )
    train = pd.DataFrame(dict(zip(names, cells["train"], strict=True)))
    every = pd.MultiIndex.from_product(
        [sorted(set(training["sex"]) | set(table["sex"])), *(_names(edges[name]) for name in edges)], names=names
    )
    grouped = synthetic.groupby(names)
    found = grouped[["rejected", "bias", "mae"]].mean().reindex(every)
    counts = {"n_train": train.groupby(names).size(), "n": grouped.size()}
    found = found.assign(**{name: count.reindex(every, fill_value=0) for name, count in counts.items()}).reset_index()
    found = found.rename(columns={"bias": "ventricles_bias_ml", "mae": "ventricles_mae_ml"})
    return found[[*names, "n_train", "n", "rejected", "ventricles_bias_ml", "ventricles_mae_ml"]]


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
