"""Attacks on the requested covariates of a release, each run on training participants and on held-out people as control.

People and rows are covariates [N, 4] in the order of covariates.NAMES. Attackers are given more than they could have: the covariance of
the population, the published code and the seed.
"""

import re
from collections.abc import Iterable

import numpy as np
from scipy.spatial import cKDTree

from brainldm.core.covariates import NAMES

OLD_STREAM = int.from_bytes(b"request")  # key of the bootstrap's generator up to version 0.1, which was public
EXACT = 0.01  # in standard deviations: what lies so near to a person's values is that person's
EDGE = 0.002  # the same, of one covariate alone
NEIGHBOURS = 5
GUESSES = 2000
WITHIN = 0.1  # in standard deviations: an attribute guessed so nearly counts as inferred
LINKED = 10  # neighbours in which both halves of a record may meet
_APART = 1e3  # distance between the sexes


class Space:
    """Coordinates in which the people of one sex have covariance one; neighbours are always of the same sex."""

    def __init__(self, people: np.ndarray) -> None:
        continuous = _logarithmic(people)
        self.mean = continuous.mean(0)
        self.spread = np.maximum(continuous.std(0), 1e-9)
        self.factor = np.linalg.cholesky(np.cov(continuous, rowvar=False) + 1e-9 * np.diag(self.spread**2))

    def whitened(self, rows: np.ndarray) -> np.ndarray:
        """Return coordinates [N, 4] in which Euclidean distances are Mahalanobis distances."""
        return np.column_stack([_APART * rows[:, 0], np.linalg.solve(self.factor, (_logarithmic(rows) - self.mean).T).T])

    def scaled(self, rows: np.ndarray) -> np.ndarray:
        """Return coordinates [N, 4] in units of standard deviations, attribute by attribute."""
        return np.column_stack([_APART * rows[:, 0], (_logarithmic(rows) - self.mean) / self.spread])


def _logarithmic(rows: np.ndarray) -> np.ndarray:
    """Return age, logarithm of the ventricular volume, and brain volume [N, 3]."""
    return np.column_stack([rows[:, 1], np.log(np.maximum(rows[:, 2], 1e-6)), rows[:, 3]])


def _factor(training: np.ndarray) -> np.ndarray:
    """Return the Cholesky factor [3, 3] of the covariance of people [N, 4]; one covariate may follow from the others."""
    covariance = np.cov(training[:, 1:], rowvar=False)
    return np.linalg.cholesky(covariance + 1e-9 * np.diag(np.diag(covariance)))


def replayed(released: np.ndarray, indices: Iterable[int], seed: int, training: np.ndarray, jitter: float) -> np.ndarray:
    """Return the participants [N, 4] that the bootstrap of version 0.1 would have started the rows from, by its own code and seed.

    Whoever has the code draws the same jitter and subtracts it: x = mean + (p - mean + jitter F n) / sqrt(1 + jitter^2), solved for p.
    """
    mean = training[:, 1:].mean(0)
    factor = _factor(training)
    found = released.astype(np.float64).copy()
    for row, index in zip(found, indices, strict=True):
        generator = np.random.default_rng([seed, OLD_STREAM, index])
        generator.integers(len(training))
        row[1:] = mean + (row[1:] - mean) * np.sqrt(1 + jitter**2) - jitter * factor @ generator.standard_normal(3)
    return found


def trilaterated(released: np.ndarray, distances: np.ndarray, training: np.ndarray) -> np.ndarray:
    """Return people [K, 4] whose place follows from Mahalanobis distances [N] of released rows to the nearest of them, in any unit.

    Rows near to one another mostly have the same nearest person p: |x|^2 - 2 x p + |p|^2 = s^2 d^2 is linear in (p, |p|^2, s^2).
    """
    factor = _factor(training)
    places = np.column_stack([_APART * released[:, 0], np.linalg.solve(factor, released[:, 1:].T).T])
    together = min(6, len(places))
    _, groups = cKDTree(places).query(places, together)
    found = []
    for group in groups.reshape(len(places), together):
        x = places[group, 1:]
        centre = x.mean(0)
        squared = ((x - centre) ** 2).sum(1)
        system = np.column_stack([2 * (x - centre), -np.ones(together), distances[group] ** 2])
        scale = np.abs(system).max(axis=0)
        solution = np.linalg.lstsq(system / scale, squared, rcond=None)[0] / scale
        if np.abs(system @ solution - squared).max() < 1e-3 * squared.max():
            found.append([released[group[0], 0], *(factor @ (solution[:3] + centre))])
    return np.array(found).reshape(-1, 4)


def hit(people: np.ndarray, candidates: np.ndarray, space: Space) -> np.ndarray:
    """Return which people [N, 4] a candidate [K, 4] equals in sex and, within EXACT, in all covariates; bool [N]."""
    usable = candidates[np.isfinite(candidates).all(axis=1)]
    if not len(usable):
        return np.zeros(len(people), bool)
    distance, _ = cKDTree(space.scaled(usable)).query(space.scaled(people), p=np.inf)
    return np.asarray(distance <= EXACT)


def edge_hits(released: np.ndarray, cells: Iterable[str], people: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Return which published extremes and cell edges equal a value of one of the people [N, 4] within EDGE standard deviations [3]."""
    numbers = {float(word) for cell in set(cells) for word in re.findall(r"\d+(?:\.\d+)?", cell)}
    hits = []
    for column in range(1, len(NAMES)):
        values = released[:, column]
        inside = {n for n in numbers if people[:, column].min() <= n <= people[:, column].max()}
        candidates = np.array([values.min(), values.max(), *sorted(inside)])
        hits.extend(np.abs(people[:, column, None] - candidates).min(axis=0) <= EDGE * spread[column - 1])
    return np.array(hits)


def mean_distance(queries: np.ndarray, references: np.ndarray, k: int) -> np.ndarray:
    """Return the mean distance [N] of queries [N, D] to their k nearest references [M, D]."""
    distances, _ = cKDTree(references).query(queries, min(k, len(references)))
    return np.asarray(distances.reshape(len(queries), -1).mean(axis=1))


def log_likelihood(queries: np.ndarray, sample: np.ndarray) -> np.ndarray:
    """Return the log density [N] of queries [N, D] under a normal distribution fitted to a sample [M, D], but for a constant."""
    covariance = np.cov(sample, rowvar=False) + 1e-6 * np.eye(sample.shape[1])
    away = queries - sample.mean(0)
    distance = np.einsum("nd,de,ne->n", away, np.linalg.inv(covariance), away)
    return np.asarray(-0.5 * (distance + np.linalg.slogdet(covariance)[1]))


def singled_out(released: np.ndarray, people: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return which of the people [N, 4] a guess singles out (Giomi et al. 2023, multivariate predicates), bool [N].

    Each of GUESSES guesses takes a released row: its sex, and of three covariates whatever is at least as extreme as the row. It singles
    somebody out if exactly one of the people is like that.
    """
    rows = released[generator.integers(len(released), size=GUESSES)]
    above = rows[:, 1:] > np.median(released[:, 1:], axis=0)
    found = np.zeros(len(people), bool)
    for row, upper in zip(rows, above, strict=True):
        extreme = np.where(upper, people[:, 1:] >= row[1:], people[:, 1:] <= row[1:]).all(axis=1)
        (fitting,) = np.nonzero(extreme & (people[:, 0] == row[0]))
        if len(fitting) == 1:
            found[fitting] = True
    return found


def linked(released: np.ndarray, people: np.ndarray, space: Space) -> np.ndarray:
    """Return for which people [N, 4] the halves (sex, age) and (both volumes) lead to one released row, bool [N].

    Each half is looked up among its LINKED nearest rows (Giomi et al. 2023, linkability).
    """
    ours, theirs = space.scaled(released), space.scaled(people)
    k = min(LINKED, len(ours))
    halves = [cKDTree(ours[:, columns]).query(theirs[:, columns], k)[1].reshape(len(people), k) for columns in ([0, 1], [2, 3])]
    return np.array([bool(set(first) & set(second)) for first, second in zip(*halves, strict=True)], bool)


def inferred(released: np.ndarray, people: np.ndarray, secret: int, space: Space) -> np.ndarray:
    """Return of which people [N, 4] the covariate `secret` (1 to 3) is guessed from the released row that is nearest in all others."""
    known = [column for column in range(4) if column != secret]
    ours, theirs = space.scaled(released), space.scaled(people)
    _, nearest = cKDTree(ours[:, known]).query(theirs[:, known])
    return np.asarray(np.abs(ours[nearest, secret] - theirs[:, secret]) <= WITHIN)
