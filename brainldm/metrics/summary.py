"""The entries of report.json: every figure beside its n, and its interval where one makes sense."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from brainldm.metrics.agreement import agreement
from brainldm.metrics.nearest import nearest_train_ratio

Entries = dict[str, Any]


def entry(key: str, value: float, n: int, interval: tuple[float, float] | None = None) -> Entries:
    """`key`, `key`_n, and `key`_ci where there is an interval (95 %); what is not finite becomes None, which JSON can hold."""
    bounds = {} if interval is None else {f"{key}_ci": [_finite(bound) for bound in interval]}
    return {key: _finite(value), **bounds, f"{key}_n": int(n)}


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def obedience(name: str, unit: str, requested: np.ndarray, measured: np.ndarray, bootstrap: int, seed: int, kind: str = "") -> Entries:
    """r, slope, intercept, bias and mean absolute error of measured [N] against requested [N], both in `unit`, with intervals.

    The keys begin with `name` and end, before _ci and _n, with `_kind`.
    """
    found, end = agreement(requested, measured, bootstrap, [seed, 43]), f"_{kind}" if kind else ""
    keys = {"r": "r", "slope": "slope", "intercept": f"intercept_{unit}", "bias": f"bias_{unit}", "mae": f"mae_{unit}"}
    parts = [entry(f"{name}_{key}{end}", getattr(found, figure), found.n, found.ci[figure]) for figure, key in keys.items()]
    return {key: value for part in parts for key, value in part.items()}


def mean_of(key: str, values: np.ndarray, bootstrap: int, seed: int) -> Entries:
    """Mean of values [N] with the percentile interval of `bootstrap` resamples."""
    generator = np.random.default_rng([seed, 37])
    means = [values[generator.integers(len(values), size=len(values))].mean() for _ in range(bootstrap)]
    low, high = np.percentile(means, [2.5, 97.5])
    return entry(key, float(values.mean()), len(values), (float(low), float(high)))


def means_of(sets: Mapping[str, np.ndarray], bootstrap: int, seed: int) -> Entries:
    """`mean_of` of several sets of values, by key."""
    return {key: value for name, values in sets.items() for key, value in mean_of(name, values, bootstrap, seed).items()}


def nearness(synthetic: np.ndarray, held_out: np.ndarray, bootstrap: int, seed: int) -> Entries:
    """`nearest_train_ratio` of distances to the nearest training scan, synthetic [N] and held-out [H]; the interval resamples both."""
    generator = np.random.default_rng([seed, 41])
    draws = [nearest_train_ratio(*(generator.choice(side, len(side)) for side in (synthetic, held_out))) for _ in range(bootstrap)]
    low, high = np.percentile(draws, [2.5, 97.5])
    found = entry("nearest_train_ratio", nearest_train_ratio(synthetic, held_out), len(synthetic), (float(low), float(high)))
    return {**found, "nearest_train_ratio_n_held_out": len(held_out)}


def psnr_db(images: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Peak signal to noise ratio [N] of images [N, ...] in [0, 1] over the whole grid: -10 log10(mean squared error)."""
    axes = tuple(range(1, images.ndim))
    return -10 * np.log10(np.mean((images.astype(np.float64) - references) ** 2, axis=axes))
