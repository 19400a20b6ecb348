"""What both multi-scale similarities share: window, constants, weights (Wang, Simoncelli and Bovik 2003), batches of bounded memory."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from brainldm.core.errors import DataError

WINDOW = 7  # voxels; the usual 11 does not fit five scales at the paper's grid
SIGMA = 1.5  # voxels
K1, K2 = 0.01, 0.03
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
BATCH_VOXELS = 1 << 20


def leading_weights(n_scales: int, shape: Sequence[int]) -> tuple[float, ...]:
    """The first `n_scales` of the published weights, renormalised to a sum of 1; DataError if not even one scale fits `shape`."""
    if n_scales == 0:
        raise DataError(f"structural similarity: the grid {tuple(shape)} is smaller than the window of {WINDOW} voxels")
    weights = WEIGHTS[:n_scales]
    return tuple(weight / sum(weights) for weight in weights)


def in_batches(score: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
    """Score pairs x[n], y[n], [N, 1, I, J, K] in [0, 1], a few at a time; returns float32 [N]."""
    if x.shape != y.shape or x.ndim != 5 or x.shape[1] != 1:
        raise ValueError(f"expected two batches of one shape [N, 1, I, J, K], found {tuple(x.shape)} and {tuple(y.shape)}")
    size = max(1, BATCH_VOXELS // x.shape[2:].numel())
    with torch.no_grad():
        return torch.cat([score(a.float(), b.float()) for a, b in zip(x.split(size), y.split(size), strict=True)])
