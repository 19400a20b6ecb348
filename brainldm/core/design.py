"""Covariates of a requested row: a pure function of (seed, row index, training covariates, options of the design).

How the covariates of the 100,000 volumes of Pinaya et al. 2022 were drawn is unpublished; all designs here are ours.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise, product
from typing import NamedTuple

import numpy as np

from brainldm.core.covariates import NAMES, SEX_CODES
from brainldm.core.errors import DataError
from brainldm.core.requests import Bands, RequestDesign

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


class Row(NamedTuple):
    """What is asked of one row: covariates [4] in the order of NAMES, the index that keys its noise, and its cell of the design."""

    covariates: np.ndarray
    noise_index: int
    cell: str = ""


class Given(NamedTuple):
    """What a design draws from; `generator(index)` is a row's own, and `listed` [N, 4] the user's table."""

    people: Population
    options: RequestDesign
    generator: Callable[[int], np.random.Generator]
    listed: np.ndarray | None


def draw(people: Population, seed: int, indices: Iterable[int], options: RequestDesign, listed: np.ndarray | None = None) -> list[Row]:
    """The rows `indices`; each has its own generator, so it does not depend on its neighbours, the shard or the number of rows."""
    row = DESIGNS[options.design](Given(people, options, lambda index: np.random.default_rng([seed, STREAM, index]), listed))
    return [row(index) for index in indices]


def support_distance(people: Population, covariates: np.ndarray) -> np.ndarray:
    """How far rows [M, 4] lie from the participants, in units of how far these lie from one another: up to 1 is in support; [M].

    The distance is Mahalanobis' in the three continuous covariates, to the nearest participant of the same sex; its unit is
    the 95th percentile of the participants' own distances to their nearest neighbour. Outside is flagged, never clamped.
    """
    return nearest(np.asarray(covariates, np.float64), people.covariates, people.factor) / people.reach


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


def _near_one(given: Given, generator: np.random.Generator) -> np.ndarray:
    """A participant's covariates, jittered as the population varies and shrunk so that its covariance stays (Silverman 1986, 6.4.1)."""
    people, jitter = given.people, given.options.jitter
    sex, *values = people.covariates[generator.integers(len(people.covariates))]
    moved = values - people.mean + jitter * people.factor @ generator.standard_normal(3)
    return np.array([sex, *(people.mean + moved / np.sqrt(1 + jitter**2))])


def _empirical(given: Given) -> Callable[[int], Row]:
    return lambda index: Row(_near_one(given, given.generator(index)), index)


def _uniform(given: Given) -> Callable[[int], Row]:
    """Independent uniforms over the training ranges, and a fair sex."""
    continuous = given.people.covariates[:, 1:]
    low, high = continuous.min(0), continuous.max(0)

    def row(index: int) -> Row:
        generator = given.generator(index)
        values = generator.uniform(low, high)
        return Row(np.array([generator.integers(2), *values]), index)

    return row


def _stratified(given: Given) -> Callable[[int], Row]:
    """Cell `index` modulo their number; age and ventricles uniform in its bands, brain volume normal given both (regression)."""
    (mean, factor), options = (given.people.mean, given.people.factor), given.options
    ages, ventricles = (
        edges(bands, given.people.covariates[:, 1 + k]) for k, bands in enumerate((options.age_bands, options.ventricle_bands))
    )
    cells = list(product(SEX_CODES.items(), pairwise(ages), pairwise(ventricles)))

    def row(index: int) -> Row:
        (sex, code), age, volume = cells[index % len(cells)]
        generator = given.generator(index)
        values = generator.uniform([age[0], volume[0]], [age[1], volume[1]])
        scores = [*np.linalg.solve(factor[:2, :2], values - mean[:2]), generator.standard_normal()]
        name = f"{sex}, {age[0]:.4g}-{age[1]:.4g} years, ventricles {volume[0]:.4g}-{volume[1]:.4g} mL"
        return Row(np.array([code, *values, mean[2] + factor[2] @ scores]), index, name)

    return row


def edges(bands: Bands, values: np.ndarray) -> list[float]:
    """The edges of bands: as given, or so many quantiles of the training values; those that coincide make one band less."""
    return list(np.unique(np.quantile(values, np.linspace(0, 1, bands + 1)))) if isinstance(bands, int) else list(bands)


def _grid(given: Given) -> Callable[[int], Row]:
    """Every combination of the listed values in turn, each time with noise of its own."""
    cells = list(product(*given.options.values.listed().values()))

    def row(index: int) -> Row:
        sex, age, ventricles, brain = cells[index % len(cells)]
        name = f"{sex}, {age:g} years, ventricles {ventricles:g} mL, brain {brain:g} mL"
        return Row(np.array([SEX_CODES[str(sex)], age, ventricles, brain], float), index, name)

    return row


def _paired(given: Given) -> Callable[[int], Row]:
    """Groups of rows: an empirical brain and its noise, which is the first row's, under every listed value of one covariate."""
    ((name, values),) = given.options.values.listed().items()

    def row(index: int) -> Row:
        first, value = index - index % len(values), values[index % len(values)]
        covariates = _near_one(given, given.generator(first))
        covariates[NAMES.index(name)] = SEX_CODES[value] if isinstance(value, str) else value
        return Row(covariates, first, f"{name} {value}")

    return row


def _table(given: Given) -> Callable[[int], Row]:
    listed = given.listed

    def row(index: int) -> Row:
        if listed is None or index >= len(listed):
            found = "no table" if listed is None else f"one of {len(listed)} rows"
            raise DataError(f"request.table: expected a table with row {index} (counted from 0), found {found}; lower request.n_rows")
        return Row(listed[index], index)

    return row


DESIGNS: dict[str, Callable[[Given], Callable[[int], Row]]] = {
    "empirical": _empirical,
    "uniform": _uniform,
    "stratified": _stratified,
    "grid": _grid,
    "paired": _paired,
    "table": _table,
}
