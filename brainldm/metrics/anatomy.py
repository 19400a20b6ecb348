"""Region by region: do synthetic brains have the volumes of real ones of the same age and sex?"""

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import wasserstein_distance

from brainldm.core.covariates import covariate_array

AGE_STEP = 5.0  # years; people of one sex and one such span are compared
FEWEST = 3  # of either kind


def matching_weights(real: np.ndarray, synthetic: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights [N] and [M] that give both sets one distribution of (sex code, age in years), from rows [N,2] and [M,2].

    Each cell of sex x AGE_STEP counts as often as it does among the synthetic volumes; cells that only one set has count nothing.
    """
    cells = [[(sex, age // AGE_STEP) for sex, age in rows.tolist()] for rows in (real, synthetic)]
    counts = [{cell: side.count(cell) for cell in set(side)} for side in cells]
    wanted = {cell: counts[1][cell] for cell in counts[1] if cell in counts[0]}
    return tuple(  # type: ignore[return-value]
        np.array([wanted.get(cell, 0) / count[cell] for cell in side], dtype=np.float64) for side, count in zip(cells, counts, strict=True)
    )


def compare(real: np.ndarray, synthetic: np.ndarray, real_weights: np.ndarray, synthetic_weights: np.ndarray) -> dict[str, Any]:
    """Means, Cohen's d (synthetic - real over the pooled deviation) with its 95 % interval (Hedges & Olkin 1985), and Wasserstein distance.

    Volumes [N] and [M] in mL, weighted; n and n_real are effective numbers (Kish 1965). The Wasserstein distance is in mL.
    """
    (mean_real, variance_real, n_real), (mean, variance, n) = _moments(real, real_weights), _moments(synthetic, synthetic_weights)
    pooled = np.sqrt(((n_real - 1) * variance_real + (n - 1) * variance) / (n_real + n - 2))
    d = (mean - mean_real) / pooled if pooled > 0 else float("nan")
    error = 1.96 * np.sqrt(1 / n + 1 / n_real + d**2 / (2 * (n + n_real)))
    distance = wasserstein_distance(synthetic, real, synthetic_weights, real_weights)
    found = {"mean_real_ml": mean_real, "mean_ml": mean, "d": d, "d_low": d - error, "d_high": d + error, "wasserstein_ml": distance}
    return {**{name: float(value) if np.isfinite(value) else None for name, value in found.items()}, "n": round(n), "n_real": round(n_real)}


def _moments(values: np.ndarray, weights: np.ndarray) -> tuple[float, float, float]:
    """Mean, unbiased variance and effective number."""
    shares = weights / weights.sum()
    n = 1 / np.sum(shares**2)
    mean = np.sum(shares * values)
    return float(mean), float(np.sum(shares * (values - mean) ** 2) * n / (n - 1)), float(n)


def regions(
    real: dict[str, np.ndarray], synthetic: dict[str, np.ndarray], scans: pd.DataFrame, table: pd.DataFrame
) -> dict[str, dict[str, Any]]:
    """`compare` of every region that both have, by name; `sex` and `age_years` of whom stand in tables. Empty where too few match."""
    weights = matching_weights(*(covariate_array(people)[:, :2] for people in (scans, table)))
    if min(np.count_nonzero(side) for side in weights) < FEWEST:
        return {}
    return {name: compare(real[name], synthetic[name], *weights) for name in real if name in synthetic}
