"""Agreement of what was requested with what is measured (Pinaya et al. 2022, section 3.2: Pearson's r)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from brainldm.core.errors import DataError


@dataclass(frozen=True)
class Agreement:
    """Figures of n pairs; bias and mae carry the unit of the values."""

    n: int
    r: float  # Pearson; nan where either side is constant
    slope: float  # least squares, measured = slope * requested + intercept
    intercept: float
    bias: float  # mean of measured - requested
    mae: float
    ci: dict[str, tuple[float, float]]  # 95 % of each of them by name, bootstrap percentiles


def agreement(requested: np.ndarray, measured: np.ndarray, bootstrap: int, seed: int | Sequence[int]) -> Agreement:
    """Compare requested [n] with measured [n]; intervals come from `bootstrap` resamples of the pairs."""
    x, y = np.asarray(requested, dtype=np.float64), np.asarray(measured, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1 or len(x) < 3 or not np.isfinite([x, y]).all():
        raise DataError(f"agreement: expected at least 3 pairs of finite values, found {x.shape} requested and {y.shape} measured")
    generator = np.random.default_rng(seed)
    draws = (generator.integers(len(x), size=len(x)) for _ in range(bootstrap))
    with np.errstate(invalid="ignore", divide="ignore"):  # a constant side: nan, as documented
        resampled = [_figures(x[draw], y[draw]) for draw in draws]
        found = _figures(x, y)
    return Agreement(len(x), **found, ci={name: _interval([one[name] for one in resampled]) for name in found})


def _figures(x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    away_x, away_y, off = x - x.mean(), y - y.mean(), y - x
    r = np.clip(away_x @ away_y / np.sqrt((away_x @ away_x) * (away_y @ away_y)), -1, 1)
    slope = away_x @ away_y / (away_x @ away_x)
    found = {"r": r, "slope": slope, "intercept": y.mean() - slope * x.mean(), "bias": off.mean(), "mae": np.abs(off).mean()}
    return {name: float(value) for name, value in found.items()}


def _interval(values: Sequence[float]) -> tuple[float, float]:
    # Few pairs can resample to one repeated pair, which has no r.
    low, high = np.percentile([value for value in values if np.isfinite(value)] or [np.nan], [2.5, 97.5])
    return float(low), float(high)
