import numpy as np
import pytest
import torch
from monai.metrics.regression import MultiScaleSSIMMetric

from brainldm.core.errors import DataError
from brainldm.metrics import scales
from brainldm.metrics.ssim import ms_ssim, scale_weights


def _volumes(seed: int, n: int, shape: tuple[int, int, int]) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand((n, 1, 5, 5, 5), generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, shape, mode="trilinear")
    return (smooth + 0.05 * torch.randn(smooth.shape, generator=generator)).clamp(0, 1)


def test_the_paper_grid_holds_five_scales_and_the_demo_grid_three() -> None:
    assert scale_weights((160, 224, 160)) == pytest.approx(scales.WEIGHTS, abs=1e-4)
    assert scale_weights((32, 40, 32)) == pytest.approx(np.array([0.0448, 0.2856, 0.3001]) / 0.6305)
    assert scale_weights((7, 9, 7)) == (1.0,)


@pytest.mark.parametrize("edge", [7, 13, 14, 27, 28, 55, 56, 62, 63])
def test_every_edge_is_scored_at_the_scales_it_is_said_to_hold(edge: int) -> None:
    x = _volumes(edge, 1, (edge, edge, edge))
    assert sum(scale_weights(x.shape[2:])) == pytest.approx(1)
    assert ms_ssim(x, x).item() == pytest.approx(1, abs=1e-5)


def test_a_grid_below_the_window_is_an_error() -> None:
    with pytest.raises(DataError, match="smaller than the window"):
        scale_weights((6, 40, 40))


def test_it_agrees_with_the_metric_class_and_is_symmetric() -> None:
    x, y = _volumes(1, 3, (32, 40, 32)), _volumes(2, 3, (32, 40, 32))
    metric = MultiScaleSSIMMetric(3, kernel_size=7, weights=scale_weights((32, 40, 32)), reduction="none")
    scores = ms_ssim(x, y)
    assert scores.shape == (3,)
    torch.testing.assert_close(scores, metric(x, y).flatten())
    torch.testing.assert_close(scores, ms_ssim(y, x))
    assert (scores < 0.9).all()


def test_more_noise_scores_lower() -> None:
    x = _volumes(3, 1, (16, 16, 16))
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(4))
    scores = [ms_ssim(x, x + level * noise).item() for level in (0.0, 0.02, 0.05, 0.2)]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) == 4


def test_batches_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = _volumes(5, 5, (16, 16, 16)), _volumes(6, 5, (16, 16, 16))
    whole = ms_ssim(x, y)
    monkeypatch.setattr(scales, "BATCH_VOXELS", 2 * 16**3)
    torch.testing.assert_close(ms_ssim(x, y), whole)


def test_sets_of_different_size_are_refused() -> None:
    with pytest.raises(ValueError, match="one shape"):
        ms_ssim(torch.zeros(2, 1, 8, 8, 8), torch.zeros(3, 1, 8, 8, 8))
