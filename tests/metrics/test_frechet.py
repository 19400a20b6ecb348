import numpy as np
import pytest
import torch
from monai.metrics.fid import FIDMetric

from brainldm.core.errors import DataError
from brainldm.metrics.frechet import frechet_distance


def _samples(seed: int, mean: np.ndarray, covariance: np.ndarray, n: int = 50) -> np.ndarray:
    """Samples whose mean and unbiased covariance are exactly these: white noise, whitened, coloured."""
    noise = np.random.default_rng(seed).standard_normal((n, len(mean)))
    noise -= noise.mean(axis=0)
    white = noise @ np.linalg.inv(np.linalg.cholesky(np.cov(noise.T))).T
    return mean + white @ np.linalg.cholesky(covariance).T


def test_closed_form_of_diagonal_covariances() -> None:
    mean_a, mean_b = np.array([0.0, 1.0, 2.0]), np.array([1.0, -1.0, 2.5])
    deviation_a, deviation_b = np.array([1.0, 2.0, 0.5]), np.array([3.0, 0.1, 0.5])
    expected = np.sum((mean_a - mean_b) ** 2) + np.sum((deviation_a - deviation_b) ** 2)
    found = frechet_distance(_samples(1, mean_a, np.diag(deviation_a**2)), _samples(2, mean_b, np.diag(deviation_b**2), n=31))
    assert found == pytest.approx(expected, abs=1e-6)


def test_closed_form_of_covariances_that_do_not_commute() -> None:
    """In two dimensions tr(M^(1/2)) = sqrt(tr M + 2 sqrt(det M))."""
    a, b = np.array([[2.0, 0.8], [0.8, 1.0]]), np.array([[0.5, -0.3], [-0.3, 3.0]])
    root_trace = np.sqrt(np.trace(a @ b) + 2 * np.sqrt(np.linalg.det(a @ b)))
    expected = np.trace(a) + np.trace(b) - 2 * root_trace
    assert frechet_distance(_samples(3, np.zeros(2), a), _samples(4, np.zeros(2), b)) == pytest.approx(expected, abs=1e-6)


def test_it_agrees_with_monai() -> None:
    generator = np.random.default_rng(5)
    a, b = generator.standard_normal((80, 12)), 0.3 + generator.standard_normal((60, 12)) @ generator.standard_normal((12, 12))
    assert frechet_distance(a, b) == pytest.approx(float(FIDMetric()(torch.from_numpy(a), torch.from_numpy(b))), rel=1e-6)


def test_fewer_samples_than_features() -> None:
    """Rank-deficient covariances: an orthogonal map of padded features changes nothing, and a set is at 0 from itself, shuffled."""
    generator = np.random.default_rng(6)
    a, b = generator.standard_normal((20, 8)), 1 + 2 * generator.standard_normal((30, 8))
    turn = np.linalg.qr(generator.standard_normal((200, 200)))[0]
    wide_a, wide_b = np.pad(a, ((0, 0), (0, 192))) @ turn, np.pad(b, ((0, 0), (0, 192))) @ turn
    assert frechet_distance(wide_a, wide_b) == pytest.approx(frechet_distance(a, b), rel=1e-9)
    assert frechet_distance(wide_a, generator.permutation(wide_a)) == pytest.approx(0, abs=1e-9)


def test_symmetry_scale_and_a_constant_set() -> None:
    generator = np.random.default_rng(7)
    a, b = generator.standard_normal((40, 5)), generator.standard_normal((40, 5)) * 1e-3
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9)
    assert frechet_distance(10 * a, 10 * b) == pytest.approx(100 * frechet_distance(a, b), rel=1e-9)
    assert frechet_distance(np.ones((3, 5)), np.zeros((4, 5))) == pytest.approx(5)


@pytest.mark.parametrize("features", [np.zeros((1, 4)), np.full((5, 4), np.nan)])
def test_too_few_or_not_finite_is_an_error(features: np.ndarray) -> None:
    with pytest.raises(DataError, match="at least two"):
        frechet_distance(features, np.zeros((5, 4)))
