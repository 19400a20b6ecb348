"""Covariates of a requested row: a pure function of (seed, row index, training covariates, design, jitter).

How the covariates of the 100,000 volumes of Pinaya et al. 2022 were drawn is unpublished; both designs here are ours.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from brainldm.core.covariates import SEX_CODES
from brainldm.core.errors import DataError

STREAM = int.from_bytes(b"request")  # keeps these draws apart from every other use of the seed
SUPPORT_QUANTILE = 0.95
_CHUNK = 1024  # queries compared at once: bounds memory at chunk x participants


@dataclass(frozen=True)
class Population:
    """The training covariates [N, 4] in the order of covariates.NAMES, and what the designs need to know of them."""

    covariates: np.ndarray
    mean: np.ndarray  # [3] of the continuous covariates
    factor: np.ndarray  # [3, 3], lower Cholesky factor of their covariance
    reach: float  # distance to the nearest participant up to which a row is in support


def population(covariates: np.ndarray, name: str) -> Population:
    """Summarise the training covariates [N, 4]; DataError, naming the table, when their covariance is singular."""
    continuous = covariates[:, 1:]
    if len(covariates) < 5 or np.linalg.matrix_rank(continuous - continuous.mean(0)) < 3:
        raise DataError(
            f"{name}: expected at least 5 training participants whose age and volumes vary, each in its own way, "
            f"found {len(covariates)} with standard deviations {continuous.std(0).round(3).tolist() if len(covariates) else []}"
        )
    factor = np.linalg.cholesky(np.cov(continuous, rowvar=False))
    others = nearest(covariates, covariates, factor, rank=1)
    return Population(covariates, continuous.mean(0), factor, float(np.quantile(others[np.isfinite(others)], SUPPORT_QUANTILE)))


def draw(people: Population, seed: int, indices: Iterable[int], design: str, jitter: float) -> np.ndarray:
    """Covariates [M, 4] float32 of the rows `indices`; each row has its own generator, so it does not depend on its neighbours."""
    rows = [DESIGNS[design](people, np.random.default_rng([seed, STREAM, index]), jitter) for index in indices]
    return np.stack(rows).astype(np.float32)


def in_support(people: Population, covariates: np.ndarray) -> np.ndarray:
    """Whether rows [M, 4] lie as near to a participant as participants lie to one another; bool [M].

    The distance is Mahalanobis' in the three continuous covariates, to the nearest participant of the same sex; the limit is
    the 95th percentile of the participants' own distances to their nearest neighbour. Outside is flagged, never clamped.
    """
    return nearest(np.asarray(covariates, np.float64), people.covariates, people.factor) <= people.reach


def nearest(queries: np.ndarray, references: np.ndarray, factor: np.ndarray, rank: int = 0) -> np.ndarray:
    """Mahalanobis distance [M] from each query to the nearest reference (rank 0; 1: second nearest) of the same sex; inf if none."""
    distance = np.full(len(queries), np.inf)
    for code in SEX_CODES.values():
        mine = np.flatnonzero(queries[:, 0] == code)
        others = np.linalg.solve(factor, references[references[:, 0] == code, 1:].T)
        if others.shape[1] > rank:
            for chunk in np.split(mine, range(_CHUNK, len(mine), _CHUNK)):
                distance[chunk] = _ranked(np.linalg.solve(factor, queries[chunk, 1:].T), others, rank)
    return distance


def _ranked(a: np.ndarray, b: np.ndarray, rank: int) -> np.ndarray:
    """Euclidean distance [M] from the columns of a [3, M] to the nearest-but-rank column of b [3, N]."""
    squared = (a**2).sum(0)[:, None] + (b**2).sum(0) - 2 * a.T @ b
    return np.sqrt(np.maximum(np.partition(squared, rank, axis=1)[:, rank], 0))


def _empirical(people: Population, generator: np.random.Generator, jitter: float) -> np.ndarray:
    """A participant's covariates, jittered as the population varies and shrunk so that its covariance stays (Silverman 1986, 6.4.1)."""
    sex, *values = people.covariates[generator.integers(len(people.covariates))]
    moved = values - people.mean + jitter * people.factor @ generator.standard_normal(3)
    return np.array([sex, *(people.mean + moved / np.sqrt(1 + jitter**2))])


def _uniform(people: Population, generator: np.random.Generator, _jitter: float) -> np.ndarray:
    """Independent uniforms over the training ranges, and a fair sex."""
    values = generator.uniform(people.covariates[:, 1:].min(0), people.covariates[:, 1:].max(0))
    return np.array([generator.integers(2), *values])


DESIGNS: dict[str, Callable[[Population, np.random.Generator, float], np.ndarray]] = {"empirical": _empirical, "uniform": _uniform}
