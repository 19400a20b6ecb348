"""Convolutions of 3 x 3 x 3 for sampling, rewritten: after up-sampling from the coarse voxels, on small grids as matrix products."""

from itertools import product
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

SMALL_GRID = 512  # voxels, below which a CPU multiplies matrices faster than it convolves (3 times at 5 x 7 x 5, not at 10 x 14 x 10)


class Conv(nn.Module):
    """A convolution of 3 x 3 x 3 that pads with zeros."""

    def __init__(self, conv: Any, levers: frozenset[str]) -> None:
        super().__init__()
        self.weight, self.bias, self.by_hand = conv.weight, conv.bias, {"channels_last", "matmul"} <= levers

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Voxels [N,C,i,j,k] to [N,D,i,j,k]."""
        if self.by_hand and _is_small(x):
            return _multiplied(_padded(x), self.weight, self.bias)
        return F.conv3d(x, self.weight, self.bias, padding=1)


class UpConv(nn.Module):
    """Up-sampling by nearest neighbour to twice as fine, then a convolution of 3 x 3 x 3 that pads with zeros, from the coarse voxels.

    In each direction the three taps of an even fine voxel fall on the coarse voxel before and, twice, on its own; those of an odd one
    twice on its own and on the one after: eight convolutions of 2 x 2 x 2 make the fine voxels, with 8 / 27 of the multiplications.
    """

    def __init__(self, conv: Any, levers: frozenset[str]) -> None:
        super().__init__()
        taps = conv.weight.new_tensor([[[1, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]])  # parity, coarse tap, fine tap
        weights = torch.einsum("pax,qby,rcz,oixyz->pqroiabc", taps, taps, taps, conv.weight.detach()).flatten(0, 2)
        self.weights = nn.ParameterList(weights.unbind())
        self.bias, self.by_hand = conv.bias, {"channels_last", "matmul"} <= levers
        self.layout = torch.channels_last_3d if "channels_last" in levers else torch.contiguous_format

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Voxels [N,C,i,j,k] to [N,D,2i,2j,2k]."""
        padded, (i, j, k) = _padded(x), x.shape[2:]
        convolve = _multiplied if self.by_hand and _is_small(x) else F.conv3d
        shape = (len(x), len(self.weights[0]), 2 * i, 2 * j, 2 * k)
        fine = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=self.layout)
        for (a, b, c), weight in zip(product((0, 1), repeat=3), self.weights, strict=True):
            part = padded[:, :, a : a + i + 1, b : b + j + 1, c : c + k + 1]
            fine[:, :, a::2, b::2, c::2] = convolve(part, weight, self.bias)
        return fine


def _padded(x: torch.Tensor) -> torch.Tensor:
    return F.pad(x, (1,) * 6)


def _is_small(x: torch.Tensor) -> bool:
    return x.device.type == "cpu" and x[0, 0].numel() < SMALL_GRID


def _multiplied(padded: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """The convolution without padding, as the product of all windows and the kernel."""
    taps = weight.shape[-1]
    voxels = padded.permute(0, 2, 3, 4, 1)
    windows = voxels.unfold(1, taps, 1).unfold(2, taps, 1).unfold(3, taps, 1).permute(0, 1, 2, 3, 5, 6, 7, 4)
    made = F.linear(windows.flatten(0, 3).flatten(1), weight.permute(0, 2, 3, 4, 1).flatten(1), bias)
    return made.reshape(*windows.shape[:4], -1).permute(0, 4, 1, 2, 3)
