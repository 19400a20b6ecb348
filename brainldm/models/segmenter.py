"""The project's own segmenter: a small 3-D U-Net (MONAI's SegResNet), trained on images synthesised from label maps."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.networks.nets.segresnet import SegResNet
from torch import nn

from brainldm.core.config import TrainSegmenter
from brainldm.core.grid import Grid
from brainldm.models import checkpoint
from brainldm.models.folding import depth_to_space, space_to_depth

FINE, HEAD = 12, 24  # features of a voxel that come from the network, and those from which its label is told


class Segmenter(nn.Module):
    """Images [N,1,I,J,K] in [0, 1] to label posteriors [N,L,I,J,K], in the order of `labels`, FreeSurfer ids."""

    def __init__(self, spec: dict[str, Any]) -> None:
        super().__init__()
        self.spec = spec
        self.voxel_ml: float = spec["voxel_ml"]
        self.fold = int(spec["space_to_depth"])
        self.labels: tuple[int, ...] = tuple(spec["labels"])
        self.network = SegResNet(
            spatial_dims=3,
            in_channels=self.fold**3 + 3,
            out_channels=FINE * self.fold**3,
            init_filters=spec["init_filters"],
            blocks_down=(1,) * spec["levels"],
            blocks_up=(1,) * (spec["levels"] - 1),
            norm=("GROUP", {"num_groups": 4}),
        )
        # Beside the voxel's own intensity: told from folded features alone, labels took ten times as many steps to learn.
        self.head = nn.Sequential(nn.Conv3d(FINE + 1, HEAD, 3, padding=1), nn.ELU(), nn.Conv3d(HEAD, len(self.labels), 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits [N,L,I,J,K]."""
        features = depth_to_space(self.network(self._input(images)), self.fold)
        return self.head(torch.cat([features, images], 1))

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
    def segment(self, images: torch.Tensor) -> tuple[np.ndarray, dict[int, np.ndarray]]:
        """Label maps [N,I,J,K], uint8, and the volume [N] in mL of every label, from the sum of its posteriors."""
        posteriors = self(images).float().softmax(1)
        found = torch.tensor(self.labels, device=images.device, dtype=torch.uint8)[posteriors.argmax(1)]
        sums = posteriors.sum((2, 3, 4)).double().cpu().numpy() * self.voxel_ml
        return found.cpu().numpy(), {label: sums[:, place] for place, label in enumerate(self.labels)}


def build(options: TrainSegmenter, grid: Grid, labels: tuple[int, ...]) -> Segmenter:
    """A new network from its section of the configuration, for these labels."""
    names = ("init_filters", "levels", "space_to_depth")
    fixed = {"kind": "segmenter", "voxel_ml": grid.voxel_ml, "labels": labels}
    return Segmenter({**fixed, **{name: getattr(options, name) for name in names}})


def load(path: Path) -> Segmenter:
    """A trained segmenter, frozen."""
    return checkpoint.load_network(path, "segmenter", Segmenter)
