import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, laplace

from brainldm.metrics.sharpness import sharpness


def _images(seed: int = 1) -> np.ndarray:
    return gaussian_filter(np.random.default_rng(seed).random((3, 1, 12, 14, 10)), (0, 0, 1, 1, 1)).astype(np.float32)


def test_it_is_the_laplacian_over_the_spread() -> None:
    image = _images()
    expected = [np.sqrt(np.mean(laplace(v[0].astype(float))[1:-1, 1:-1, 1:-1] ** 2)) / v.std() for v in image]
    assert sharpness(image) == pytest.approx(expected, rel=1e-4)


def test_gain_and_offset_change_nothing_blur_lowers_it_and_noise_raises_it() -> None:
    image = _images()
    assert sharpness(0.3 * image + 0.2) == pytest.approx(sharpness(image), rel=1e-3)
    assert (sharpness(gaussian_filter(image, (0, 0, 0.6, 0.6, 0.6))) < 0.9 * sharpness(image)).all()
    noisy = image + 0.1 * np.random.default_rng(2).standard_normal(image.shape)
    assert (sharpness(noisy) > 1.1 * sharpness(image)).all()


def test_an_empty_volume_has_none() -> None:
    assert sharpness(np.full((1, 1, 8, 8, 8), 0.5))[0] == pytest.approx(0, abs=1e-3)
