"""Frechet distance of two sets of features (Heusel et al. 2017), the FID of Pinaya et al. 2022, Table 1."""

from typing import NamedTuple

import numpy as np

from brainldm.core.errors import DataError


class Gaussian(NamedTuple):
    """What a set of n features is to the distance: mean [D], and R [M, D] with R'R the unbiased covariance."""

    mean: np.ndarray
    root: np.ndarray
    n: int


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Squared Frechet distance of Gaussians fitted to a [N, D] and b [M, D], in float64; biased upwards where N or M is below D."""
    return distance(fit(a), fit(b))


def distance(a: Gaussian, b: Gaussian) -> float:
    """|mean_a - mean_b|^2 + tr(S_a) + tr(S_b) - 2 tr((S_a S_b)^(1/2)), where S = R'R.

    The last trace is the sum of the singular values of R_a R_b', because their squares are the eigenvalues of S_a S_b: no matrix root,
    so singular S are harmless.
    """
    overlap = np.linalg.svd(a.root @ b.root.T, compute_uv=False).sum()
    found = np.sum((a.mean - b.mean) ** 2) + np.sum(a.root**2) + np.sum(b.root**2) - 2 * overlap
    return max(float(found), 0.0)


def fit(features: np.ndarray) -> Gaussian:
    """The Gaussian of features [N, D]."""
    values = np.asarray(features, dtype=np.float64)
    if values.ndim != 2 or len(values) < 2 or not np.isfinite(values).all():
        raise DataError(f"Frechet distance: expected finite features of at least two volumes, found an array of shape {values.shape}")
    mean = values.mean(axis=0)
    return Gaussian(mean, np.linalg.qr((values - mean) / np.sqrt(len(values) - 1)).R, len(values))


def moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Mean [D], covariance [D, D] and number of features [N, D]."""
    found = fit(features)
    return found.mean, found.root.T @ found.root, found.n


def from_moments(mean: np.ndarray, covariance: np.ndarray, n: int) -> Gaussian:
    """The Gaussian of saved moments, mean [D] and covariance [D, D] of n volumes."""
    values, vectors = np.linalg.eigh(np.asarray(covariance, dtype=np.float64))
    return Gaussian(np.asarray(mean, dtype=np.float64), np.sqrt(np.maximum(values, 0))[:, None] * vectors.T, n)
