"""The age model: a 3-D CNN of the shape of Cole et al. 2017 (blocks of conv-ReLU-conv-norm-ReLU-pool, L1 loss).

GroupNorm stands for BatchNorm, whose running means of real scans do not hold on synthetic ones. It reads the standardised difference
from the mean training scan, folded into blocks where `space_to_depth` says so: scans on the grid are registered.
"""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from brainldm.models import checkpoint
from brainldm.models.folding import space_to_depth

BLUR, GAIN = 0.08, 0.03  # slight changes of an image, at most


class AgeModel(nn.Module):
    """Images [N,1,I,J,K] in [0, 1] to age."""

    def __init__(self, spec: dict[str, Any]) -> None:
        super().__init__()
        self.spec = spec
        self.fold = int(spec["space_to_depth"])
        self.mean = nn.Buffer(torch.zeros(1, 1, *spec["shape"]))
        self.spread = nn.Buffer(torch.ones(1))
        widths = [self.fold**3, *spec["channels"]]
        self.blocks = nn.Sequential(*(_block(a, b) for a, b in pairwise(widths)))
        sides = [side // self.fold // 2 ** len(spec["channels"]) for side in spec["shape"]]
        self.head = nn.Linear(widths[-1] * int(np.prod(sides)), 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Standardised age [N]."""
        return self.head(self._activations(images).flatten(1))[:, 0]

    def standardise(self, mean: np.ndarray, spread: float) -> None:
        """Read differences from `mean` [I,J,K] in units of `spread` from now on."""
        self.mean.copy_(torch.from_numpy(mean))
        self.spread.fill_(spread)

    def _activations(self, images: torch.Tensor) -> torch.Tensor:
        return self.blocks(space_to_depth((images - self.mean) / self.spread, self.fold))

    @torch.inference_mode()
    def predict(self, images: torch.Tensor) -> np.ndarray:
        """Age [N] in years."""
        return self(images).double().cpu().numpy() * self.spec["age_sd"] + self.spec["age_mean"]

    @torch.inference_mode()
    def answers(self, images: torch.Tensor) -> np.ndarray:
        """Ages [5,N] in years of images as they are, mirrored, blurred, darker and brighter: how far they differ tells how unsure it is."""
        views = (images, images.flip(2), _blurred(images, BLUR), (1 - GAIN) * images, (1 + GAIN) * images)
        return np.stack([self.predict(view) for view in views])

    @torch.inference_mode()
    def features(self, images: torch.Tensor) -> np.ndarray:
        """Features [N,D] of the last block, averaged over space: the in-domain features of FID."""
        return self._activations(images).mean((2, 3, 4)).double().cpu().numpy()


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(inputs, outputs, 3, padding=1),
        nn.ReLU(),
        nn.Conv3d(outputs, outputs, 3, padding=1),
        nn.GroupNorm(4, outputs),
        nn.ReLU(),
        nn.MaxPool3d(2),
    )


def augment(image: torch.Tensor, generator: np.random.Generator) -> torch.Tensor:
    """Slight blur, contrast and noise of an image [1,I,J,K], so that the model reads anatomy and not sharpness.

    No shifts, because scans are registered; nothing that changes a size, because sizes tell the age.
    """
    blur, gain, noise = generator.uniform((0, 1 - GAIN, 0), (BLUR, 1 + GAIN, 0.01)).tolist()
    image = _blurred(image, blur)
    seeded = torch.Generator(image.device).manual_seed(int(generator.integers(1 << 62)))
    return image * gain + noise * torch.randn(image.shape, generator=seeded, device=image.device)


def _blurred(image: torch.Tensor, blur: float) -> torch.Tensor:
    """Every voxel averaged with its neighbours along the last three axes, which weigh `blur` to its 1."""
    for axis in (-3, -2, -1):
        image = (image + blur * (torch.roll(image, 1, axis) + torch.roll(image, -1, axis))) / (1 + 2 * blur)
    return image


def load(path: Path) -> AgeModel:
    """A trained age model, frozen."""
    return checkpoint.load_network(path, "age", AgeModel)
