"""Four-component gradient-based r* structural similarity, 4-G-R-SSIM (Pinaya et al. 2022, Table 1).

Contrast and structure of gradient maps: Chen et al. 2006; four regions: Li and Bovik 2010; r*: Rouse and Hemami 2008.
"""

from collections.abc import Sequence
from functools import partial
from math import exp

import torch
from torch import Tensor
from torch.nn.functional import avg_pool3d

from brainldm.metrics.scales import K1, K2, SIGMA, WEIGHTS, WINDOW, in_batches, leading_weights

C1, C2 = K1**2, K2**2
C3 = C2 / 2
AXES = (2, 3, 4)
HALF = WINDOW // 2
EDGE, SMOOTH = 0.12, 0.06  # of the largest gradient: above lies an edge, below a smooth region (Li and Bovik 2010)
_BELL = [exp(-((offset / SIGMA) ** 2) / 2) for offset in range(-HALF, HALF + 1)]
GAUSSIAN = tuple(value / sum(_BELL) for value in _BELL)


def scale_weights(shape: Sequence[int]) -> tuple[float, ...]:
    """Weights of the scales, finest first, that `g4r_ssim` uses on the grid (I, J, K); the gradient needs a voxel more on each side."""
    fits = [min(shape) >> level >= WINDOW + 2 for level in range(len(WEIGHTS))]
    return leading_weights(sum(fits), shape)


def g4r_ssim(x: Tensor, y: Tensor, multi_scale: bool = True, star: bool = True) -> Tensor:
    """4-G-R-SSIM of x[n] and y[n], [N, 1, I, J, K] in [0, 1] -> [N]; not symmetric, because x sets the thresholds of the regions.

    The headline is the default: multi-scale, which equals single-scale where only one scale fits, and r*. `star=False` gives 4-G-SSIM.
    A pair's score depends on that pair alone: a region that is empty in one pair leaves its weight to that pair's other regions.
    """
    weights = scale_weights(x.shape[2:])
    return in_batches(partial(_score, weights=weights if multi_scale else (1.0,), star=star), x, y)


def _score(x: Tensor, y: Tensor, weights: tuple[float, ...], star: bool) -> Tensor:
    """Product over scales of region means ** weight: contrast x structure at the finer scales, luminance too at the last."""
    score = x.new_ones(len(x))
    for level, weight in enumerate(weights):
        if level:
            x, y = avg_pool3d(x, 2), avg_pool3d(y, 2)
        gradient_x, gradient_y = _gradient(x), _gradient(y)
        quality = _contrast_structure(gradient_x, gradient_y, star)
        if level == len(weights) - 1:
            quality = quality * _luminance(x, y)
        score = score * _region_mean(quality, _regions(gradient_x, gradient_y)) ** weight
    return score


def _filter(v: Tensor, axis: int, taps: Sequence[float]) -> Tensor:
    """Correlate along one axis, valid part only. Shifted sums beat a one-channel convolution, and no device rounds them to TF32."""
    size = v.shape[axis] - len(taps) + 1
    total = taps[0] * v.narrow(axis, 0, size)
    for offset, tap in enumerate(taps[1:], start=1):
        total.add_(v.narrow(axis, offset, size), alpha=tap)
    return total


def _local_mean(v: Tensor) -> Tensor:
    for axis in AXES:
        v = _filter(v, axis, GAUSSIAN)
    return v


def _gradient(v: Tensor) -> Tensor:
    """Sum over axes of |3-D Sobel|, [..., I - 2, J - 2, K - 2]: 0.1 at the centre of each side, 0.05 around it."""
    return torch.stack([_sobel(v, axis) for axis in AXES]).sum(0)


def _sobel(v: Tensor, axis: int) -> Tensor:
    step = _filter(v, axis, (-1, 0, 1))
    first, second = (other for other in AXES if other != axis)
    around = _filter(_filter(step, first, (1, 1, 1)), second, (1, 1, 1))
    centre = _filter(_filter(step, first, (0, 1, 0)), second, (0, 1, 0))
    return 0.05 * (around + centre).abs()


def _luminance(x: Tensor, y: Tensor) -> Tensor:
    """Luminance term of the images, cropped to where the gradient maps have windows; C1 keeps its denominator above r*'s case of 0."""
    mean_x, mean_y = (_local_mean(v)[..., 1:-1, 1:-1, 1:-1] for v in (x, y))
    return (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)


def _contrast_structure(x: Tensor, y: Tensor, star: bool) -> Tensor:
    """Contrast x structure of two gradient maps. r*: structure is 0 where exactly one deviation is 0 (both 0 give 1 by themselves)."""
    mean_x, mean_y = _local_mean(x), _local_mean(y)
    variance_x, deviation_x = _spread(x, mean_x)
    variance_y, deviation_y = _spread(y, mean_y)
    contrast = (2 * deviation_x * deviation_y + C2) / (variance_x + variance_y + C2)
    structure = (_local_mean(x * y) - mean_x * mean_y + C3) / (deviation_x * deviation_y + C3)
    if star:
        structure = structure.masked_fill((deviation_x == 0) != (deviation_y == 0), 0)
    return contrast * structure


def _spread(v: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    """Local variance, and the standard deviation with the definition's guard of 1e-5 against round-off below 0."""
    square = _local_mean(v * v)
    variance = square - mean**2
    return variance, (variance + 1e-5 * (square + mean**2) / 2).sqrt()


def _regions(x: Tensor, y: Tensor) -> Tensor:
    """Masks [N, 4, ...] of two gradient maps: preserved edges, changed edges, smooth in both, texture; as Li and Bovik's own program."""
    peak = x.amax(AXES, keepdim=True)
    edge_x, edge_y = x > EDGE * peak, y > EDGE * peak
    preserved, changed = edge_x & edge_y, edge_x ^ edge_y
    smooth = (x < SMOOTH * peak) & ~edge_y
    masks = torch.cat([preserved, changed, smooth, ~(preserved | changed | smooth)], dim=1)
    return masks[..., HALF:-HALF, HALF:-HALF, HALF:-HALF]


def _region_mean(quality: Tensor, regions: Tensor) -> Tensor:
    """Mean over regions of the mean inside each, [N], not below 0; quarters of empty regions go to the others in equal parts."""
    sizes = regions.sum(AXES)
    means = (quality * regions).sum(AXES) / sizes.clamp(min=1)
    return (means.sum(1) / (sizes > 0).sum(1)).relu()
