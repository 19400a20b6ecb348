"""Noise addressed by (dataset seed, row index, attempt): a counter-based generator on the CPU, so a row never depends on others."""

from collections.abc import Callable, Sequence

import numpy as np
import torch


def row_noise(seed: int, index: int, shape: tuple[int, ...], attempt: int = 0, *, stream: int = 0) -> torch.Tensor:
    """Standard normal float32 tensor of `shape`; Philox keyed by (seed, index), far along its counter for another attempt or stream."""
    generator = np.random.Generator(np.random.Philox(key=np.array([seed, index], np.uint64), counter=[0, 0, attempt, stream]))
    return torch.from_numpy(generator.standard_normal(shape, np.float32))


def fresh_noise(keys: Sequence[tuple[int, ...]], shape: tuple[int, ...]) -> Callable[[int], torch.Tensor]:
    """Step of a sampler -> the noise [N,*shape] that it adds to rows of these (seed, index[, attempt]): each row's own, never its start."""
    return lambda step: torch.stack([row_noise(seed, index, shape, *attempt, stream=step + 1) for seed, index, *attempt in keys])
