"""Multi-scale structural similarity of pairs of volumes, by MONAI (Wang, Simoncelli and Bovik 2003; Pinaya et al. 2022, Table 1)."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from brainldm.metrics.scales import K1, K2, SIGMA, WEIGHTS, WINDOW, in_batches, leading_weights


def scale_weights(shape: Sequence[int]) -> tuple[float, ...]:
    """Weights of the scales, finest first, that `ms_ssim` uses on the grid (I, J, K): as many of the five as fit, summing to 1."""
    edge = min(shape)
    # The window must fit at the last scale; at four scales MONAI asks for a little more than that.
    fits = [min(edge >> level, edge // max(1, level) ** 2) >= WINDOW for level in range(len(WEIGHTS))]
    return leading_weights(sum(fits), shape)


def ms_ssim(x: Tensor, y: Tensor) -> Tensor:
    """MS-SSIM of x[n] and y[n], [N, 1, I, J, K] in [0, 1] -> [N]: Gaussian window 7 (sigma 1.5), weights of `scale_weights`.

    Comparable only between sets of one grid, registration and background.
    """
    weights = scale_weights(x.shape[2:])
    # TF32's 10-bit products would swamp the local variances, which are differences of nearly equal means.
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        return in_batches(partial(_score, weights=weights), x, y)


def _score(x: Tensor, y: Tensor, weights: tuple[float, ...]) -> Tensor:
    # Imported here because it costs 5 CPU-seconds, and who only asks for the weights has no use for it.
    from monai.metrics.regression import compute_ms_ssim

    score = compute_ms_ssim(x, y, spatial_dims=3, data_range=1.0, kernel_size=WINDOW, kernel_sigma=SIGMA, k1=K1, k2=K2, weights=weights)
    return score.flatten()
