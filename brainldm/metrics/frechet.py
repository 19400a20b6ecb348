"""Frechet distance of two sets of features (Heusel et al. 2017), the FID of Pinaya et al. 2022, Table 1."""

import numpy as np

from brainldm.core.errors import DataError


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Squared Frechet distance of Gaussians fitted to a [N, D] and b [M, D], in float64; biased upwards where N or M is below D.

    |mean_a - mean_b|^2 + tr(S_a) + tr(S_b) - 2 tr((S_a S_b)^(1/2)) with unbiased covariances S = R'R. The last trace is the sum of
    the singular values of R_a R_b', because their squares are the eigenvalues of S_a S_b: no matrix root, so singular S are harmless.
    """
    mean_a, root_a = _fit(a)
    mean_b, root_b = _fit(b)
    overlap = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    distance = np.sum((mean_a - mean_b) ** 2) + np.sum(root_a**2) + np.sum(root_b**2) - 2 * overlap
    return max(float(distance), 0.0)


def _fit(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean [D], and R [min(N, D), D] with R'R the covariance."""
    values = np.asarray(features, dtype=np.float64)
    if values.ndim != 2 or len(values) < 2 or not np.isfinite(values).all():
        raise DataError(f"Frechet distance: expected finite features of at least two volumes, found an array of shape {values.shape}")
    mean = values.mean(axis=0)
    return mean, np.linalg.qr((values - mean) / np.sqrt(len(values) - 1)).R
