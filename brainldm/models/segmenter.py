"""The project's own segmenter: a small 3-D U-Net (MONAI's SegResNet), trained on images synthesised from label maps."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.networks.nets.segresnet import SegResNet
from torch import nn

from brainldm.core.config import TrainSegmenter
from brainldm.core.grid import Grid
from brainldm.core.labels import VALUES, summary_ml
from brainldm.models import checkpoint
from brainldm.models.folding import depth_to_space, space_to_depth


class Segmenter(nn.Module):
    """Images [N,1,I,J,K] in [0, 1] to label posteriors [N,L,I,J,K], in the order of core.labels.VALUES."""

    def __init__(self, spec: dict[str, Any]) -> None:
        super().__init__()
        self.spec = spec
        self.voxel_ml: float = spec["voxel_ml"]
        self.fold = int(spec["space_to_depth"])
        self.network = SegResNet(
            spatial_dims=3,
            in_channels=self.fold**3 + 3,
            out_channels=len(VALUES) * self.fold**3,
            init_filters=spec["init_filters"],
            blocks_down=(1,) * spec["levels"],
            blocks_up=(1,) * (spec["levels"] - 1),
            norm=("GROUP", {"num_groups": 4}),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits [N,L,I,J,K]."""
        return depth_to_space(self.network(self._input(images)), self.fold)

    def _input(self, images: torch.Tensor) -> torch.Tensor:
        """The folded image, and where each block lies (-1 to 1 along each axis): left and right look alike, and scans are registered."""
        folded = space_to_depth(images, self.fold)
        axes = [torch.linspace(-1, 1, side, device=images.device, dtype=images.dtype) for side in folded.shape[2:]]
        where = torch.stack(torch.meshgrid(*axes, indexing="ij"))
        return torch.cat([folded, where.expand(len(images), *where.shape)], 1)

    def features(self, images: torch.Tensor) -> list[torch.Tensor]:
        """The encoder's activations, finest first: the in-domain features of the perceptual loss."""
        return self.network.encode(self._input(images))[1]

    @torch.inference_mode()
    def volumes_ml(self, images: torch.Tensor) -> dict[str, np.ndarray]:
        """Volumes [N] in mL from the sum of the posteriors, by column name (core.labels.summary_ml)."""
        sums = self(images).float().softmax(1).sum((2, 3, 4)).double().cpu().numpy() * self.voxel_ml
        return summary_ml({value: sums[:, index] for index, value in enumerate(VALUES)})


def build(options: TrainSegmenter, grid: Grid) -> Segmenter:
    """A new network from its section of the configuration."""
    names = ("init_filters", "levels", "space_to_depth")
    return Segmenter({"kind": "segmenter", "voxel_ml": grid.voxel_ml, **{name: getattr(options, name) for name in names}})


def load(path: Path) -> Segmenter:
    """A trained segmenter, frozen."""
    tensors, spec = checkpoint.load(path, "segmenter")
    network = Segmenter(spec)
    checkpoint.load_into(network, tensors, path)
    return network
