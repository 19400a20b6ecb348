"""Noise addressed by (dataset seed, row index): a counter-based generator on the CPU, so a row never depends on its neighbours."""

from collections.abc import Callable, Sequence

import numpy as np
import torch


def row_noise(seed: int, index: int, shape: tuple[int, ...], stream: int = 0) -> torch.Tensor:
    """Standard normal float32 tensor of `shape`; Philox keyed by (seed, index), far along its counter for every other `stream`."""
    generator = np.random.Generator(np.random.Philox(key=np.array([seed, index], np.uint64), counter=[0, 0, 0, stream]))
    return torch.from_numpy(generator.standard_normal(shape, np.float32))


def fresh_noise(keys: Sequence[tuple[int, int]], shape: tuple[int, ...]) -> Callable[[int], torch.Tensor]:
    """Step of a sampler -> the noise [N,*shape] that it adds to rows of these (seed, index): each row's own, apart from where it starts."""
    return lambda step: torch.stack([row_noise(seed, index, shape, step + 1) for seed, index in keys])
