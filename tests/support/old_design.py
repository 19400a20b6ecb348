"""The request design of version 0.1, which gave its participants away: the privacy audits must fail when it is switched on."""

import numpy as np
from scipy.spatial.distance import cdist

STREAM = int.from_bytes(b"request")
JITTER = 0.1


def factor_of(training: np.ndarray) -> np.ndarray:
    return np.linalg.cholesky(np.cov(training[:, 1:], rowvar=False))


def draw(training: np.ndarray, seed: int, indices: range, jitter: float = JITTER) -> np.ndarray:
    """Rows [R, 4]: a participant and a jitter from a generator that everybody can start, keyed by the published seed and index."""
    mean, factor = training[:, 1:].mean(0), factor_of(training)
    rows = []
    for index in indices:
        generator = np.random.default_rng([seed, STREAM, index])
        sex, *values = training[generator.integers(len(training))]
        moved = values - mean + jitter * factor @ generator.standard_normal(3)
        rows.append([sex, *(mean + moved / np.sqrt(1 + jitter**2))])
    return np.array(rows)


def support_distance(rows: np.ndarray, training: np.ndarray) -> np.ndarray:
    """Distance [R] of each row to the nearest participant of its sex, which was published to eight digits."""
    factor = factor_of(training)
    found = np.empty(len(rows))
    for sex in (0.0, 1.0):
        ours, theirs = (np.linalg.solve(factor, table[table[:, 0] == sex, 1:].T).T for table in (rows, training))
        found[rows[:, 0] == sex] = cdist(ours, theirs).min(axis=1)
    return found


def uniform(training: np.ndarray, seed: int, n: int) -> np.ndarray:
    """Rows [n, 4] between the exact minimum and maximum of each covariate."""
    generator = np.random.default_rng(seed)
    values = generator.uniform(training[:, 1:].min(0), training[:, 1:].max(0), (n, 3))
    return np.column_stack([generator.integers(2, size=n), values])


def quantile_cell(training: np.ndarray) -> str:
    """The name of a cell between terciles, which are participants' own values where they fall on one."""
    ages = np.quantile(training[:, 1], [0, 0.5, 1])
    ventricles = np.quantile(training[:, 2], [0, 0.5, 1])
    return f"F, {ages[0]:.4g}-{ages[1]:.4g} years, ventricles {ventricles[0]:.4g}-{ventricles[2]:.4g} mL"
