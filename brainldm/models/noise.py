"""Noise addressed by (dataset seed, row index): a counter-based generator on the CPU, so a row never depends on its neighbours."""

import numpy as np
import torch


def row_noise(seed: int, index: int, shape: tuple[int, ...]) -> torch.Tensor:
    """Standard normal float32 tensor of `shape`; Philox keyed by (seed, index)."""
    generator = np.random.Generator(np.random.Philox(key=np.array([seed, index], np.uint64)))
    return torch.from_numpy(generator.standard_normal(shape, np.float32))
