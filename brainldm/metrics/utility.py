"""What a training set is good for: age models trained on several sets, judged by their errors on the same held-out scans."""

from collections.abc import Mapping

import numpy as np

from brainldm.core.errors import DataError
from brainldm.metrics.summary import Entries, entry

FEWEST = 3  # held-out scans
KEYS = {"r": "r", "mae": "mae_years"}


def compare(true: np.ndarray, predicted: Mapping[str, np.ndarray], reference: str, bootstrap: int, seed: int) -> dict[str, Entries]:
    """r and mean absolute error of every set's predictions [R,H] (R trainings) of the true ages [H] in years, as means over trainings.

    Beside them `..._minus_REFERENCE`, the paired difference to the set of that name. Every one of `bootstrap` draws takes held-out scans,
    the same for all sets, and trainings of every set, with replacement: the intervals hold the chance of both. DataError for too few scans.
    """
    if len(true) < FEWEST:
        raise DataError(f"expected at least {FEWEST} held-out scans to predict the age of, found {len(true)}")
    generator = np.random.default_rng([seed, 79])
    found = {name: _figures(true, ages) for name, ages in predicted.items()}
    draws: dict[str, dict[str, list[float]]] = {name: {key: [] for key in KEYS} for name in predicted}
    for _ in range(bootstrap):
        scans = generator.integers(len(true), size=len(true))
        for name, ages in predicted.items():
            runs = generator.integers(len(ages), size=len(ages))
            for key, value in _figures(true[scans], ages[runs][:, scans]).items():
                draws[name][key].append(value)
    entries: dict[str, Entries] = {}
    for name in predicted:
        entries[name] = {}
        for figure, key in KEYS.items():
            ours, theirs = (np.array(draws[which][figure]) for which in (name, reference))
            entries[name] |= entry(key, found[name][figure], len(true), _interval(ours))
            if name != reference:
                apart = found[name][figure] - found[reference][figure]
                entries[name] |= entry(f"{key}_minus_{reference}", apart, len(true), _interval(ours - theirs))
    return entries


def _figures(true: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Means over the trainings; r is nan where a training predicts one age for all."""
    away, off = true - true.mean(), predicted - predicted.mean(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        r = off @ away / np.sqrt((off**2).sum(axis=1) * (away @ away))
    return {"r": float(r.mean()), "mae": float(np.abs(predicted - true).mean())}


def _interval(values: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(values[np.isfinite(values)] if np.isfinite(values).any() else [np.nan], [2.5, 97.5])
    return float(low), float(high)
