"""The age model: a 3-D CNN of the shape of Cole et al. 2017 (blocks of conv-ReLU-conv-norm-ReLU-pool, L1 loss).

GroupNorm stands for BatchNorm, whose running means of real scans do not hold on synthetic ones.
"""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from brainldm.models import checkpoint


class AgeModel(nn.Module):
    """Images [N,1,I,J,K] in [0, 1] to age."""

    def __init__(self, spec: dict[str, Any]) -> None:
        super().__init__()
        self.spec = spec
        widths = [1, *spec["channels"]]
        self.blocks = nn.Sequential(*(_block(a, b) for a, b in pairwise(widths)))
        sides = [side // 2 ** len(spec["channels"]) for side in spec["shape"]]
        self.head = nn.Linear(widths[-1] * int(np.prod(sides)), 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Standardised age [N]."""
        return self.head(self.blocks(images).flatten(1))[:, 0]

    @torch.inference_mode()
    def predict(self, images: torch.Tensor) -> np.ndarray:
        """Age [N] in years."""
        return self(images).double().cpu().numpy() * self.spec["age_sd"] + self.spec["age_mean"]

    @torch.inference_mode()
    def features(self, images: torch.Tensor) -> np.ndarray:
        """Features [N,D] of the last block, averaged over space: the in-domain features of FID."""
        return self.blocks(images).mean((2, 3, 4)).double().cpu().numpy()


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(inputs, outputs, 3, padding=1),
        nn.ReLU(),
        nn.Conv3d(outputs, outputs, 3, padding=1),
        nn.GroupNorm(4, outputs),
        nn.ReLU(),
        nn.MaxPool3d(2),
    )


def augment(images: torch.Tensor, generator: np.random.Generator) -> torch.Tensor:
    """Shift by at most one voxel, blur, contrast and noise, so that the model reads anatomy and not sharpness."""
    for axis in (2, 3, 4):
        images = torch.roll(images, int(generator.integers(-1, 2)), axis)
    n = len(images)
    blur, gain, noise = (
        torch.from_numpy(generator.uniform(low, high, (n, 1, 1, 1, 1)).astype(np.float32)).to(images.device)
        for low, high in ((0, 0.25), (0.9, 1.1), (0, 0.03))
    )
    for axis in (2, 3, 4):
        images = (images + blur * (torch.roll(images, 1, axis) + torch.roll(images, -1, axis))) / (1 + 2 * blur)
    seeded = torch.Generator(images.device).manual_seed(int(generator.integers(1 << 62)))
    return images * gain + noise * torch.randn(images.shape, generator=seeded, device=images.device)


def load(path: Path) -> AgeModel:
    """A trained age model, frozen."""
    tensors, spec = checkpoint.load(path, "age")
    network = AgeModel(spec)
    checkpoint.load_into(network, tensors, path)
    return network
