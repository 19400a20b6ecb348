"""The KL autoencoder of Pinaya et al. 2022 (MONAI's AutoencoderKL), with three options for small machines.

`space_to_depth` folds blocks of voxels into channels. Scans on the grid are registered, so a place in the box has a meaning, which
convolutions do not know: with `standardise` the network codes the standardised difference from the mean training scan, and
`position_channels` gives encoder and decoder learned maps of where a voxel lies. The paper has none of them. The published weights
learned from volumes stored from right to left (`right_to_left`); ours run from left to right, so those are turned on their way in and out.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.networks.nets.autoencoderkl import AutoencoderKL, Decoder
from torch import nn
from torch.utils.checkpoint import checkpoint as compute_again

from brainldm.core.config import TrainAutoencoder
from brainldm.core.grid import Grid
from brainldm.models import checkpoint
from brainldm.models.folding import depth_to_space, space_to_depth


class Autoencoder(nn.Module):
    """Images [N,1,I,J,K] to latent moments [N,C,i,j,k] and back; i = I / (fold * 2 ** (levels - 1))."""

    def __init__(self, spec: dict[str, Any]) -> None:
        super().__init__()
        self.spec, self.fold, places = spec, int(spec["space_to_depth"]), int(spec["position_channels"])
        self.right_to_left = bool(spec.get("right_to_left", False))
        common = {
            "spatial_dims": 3,
            "channels": spec["channels"],
            "num_res_blocks": (spec["res_blocks"],) * len(spec["channels"]),
            "attention_levels": [False] * len(spec["channels"]),
            "norm_num_groups": spec["norm_groups"],
        }
        self.network = AutoencoderKL(
            in_channels=self.fold**3 + places,
            out_channels=self.fold**3,
            latent_channels=spec["latent_channels"],
            with_encoder_nonlocal_attn=False,
            with_decoder_nonlocal_attn=False,
            **common,
        )
        if places:
            inputs = spec["latent_channels"] + places
            self.network.decoder = Decoder(in_channels=inputs, out_channels=self.fold**3, norm_eps=1e-6, with_nonlocal_attn=False, **common)
        # Without a mean scan the network is the same everywhere, and takes volumes of any size.
        box: tuple[int, ...] = tuple(spec["shape"] if spec.get("standardise", True) else (1, 1, 1))
        self.mean = nn.Buffer(torch.zeros((1, 1, *box)))
        self.spread = nn.Buffer(torch.ones(1))
        self.where_encoded = nn.Parameter(torch.randn(1, places, *(side // self.fold for side in spec["shape"])))
        self.where_decoded = nn.Parameter(torch.randn(1, places, *self.latent_shape(spec["shape"])[1:]))

    @property
    def grid(self) -> Grid:
        """Where the volumes lie."""
        return Grid.model_validate({name: self.spec[name] for name in Grid.model_fields})

    def standardise(self, mean: np.ndarray, spread: float) -> None:
        """Code differences from `mean` [I,J,K] in units of `spread` from now on."""
        self.mean.copy_(torch.from_numpy(mean))
        self.spread.fill_(spread)

    def save_memory(self) -> None:
        """From now on keep only what passes between blocks for the backward pass, which computes the rest again."""
        blocks: list[nn.Module] = [*self.network.encoder.blocks, *self.network.decoder.blocks]  # type: ignore[misc]
        for block in blocks:
            block.forward = partial(compute_again, block.forward, use_reentrant=False, preserve_rng_state=False)

    def latent_shape(self, grid_shape: Sequence[int]) -> tuple[int, int, int, int]:
        """Shape (C, i, j, k) of the latent of one volume."""
        factor = self.fold * 2 ** (len(self.spec["channels"]) - 1)
        i, j, k = (side // factor for side in grid_shape)
        return (self.spec["latent_channels"], i, j, k)

    def encode(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation of the latent."""
        standardised = self._turned((images - self.mean) / self.spread)
        return self.network.encode(_beside(space_to_depth(standardised, self.fold), self.where_encoded))

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Images [N,1,I,J,K], not clamped."""
        folded = self.network.decoder(_beside(self.network.post_quant_conv(latents), self.where_decoded))
        return self._turned(depth_to_space(folded, self.fold)) * self.spread + self.mean

    def _turned(self, images: torch.Tensor) -> torch.Tensor:
        """Images [N,1,I,J,K] from our order of voxels to the network's, and back."""
        return images.flip(2) if self.right_to_left else images

    def forward(self, images: torch.Tensor, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Reconstruction from the latent that `noise` (standard normal, of the latent's shape) draws, mean, standard deviation."""
        mu, sigma = self.encode(images)
        return self.decode(mu + sigma * noise), mu, sigma


def _beside(features: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    if where.shape[1] == 0:
        return features
    return torch.cat([features, where.expand(len(features), *where.shape[1:])], 1)


def build(options: TrainAutoencoder, grid: Grid) -> Autoencoder:
    """A new network from its section of the configuration."""
    names = ("channels", "latent_channels", "space_to_depth", "standardise", "position_channels", "res_blocks", "norm_groups")
    return Autoencoder({"kind": "autoencoder", **grid.model_dump(), **{name: getattr(options, name) for name in names}})


def load(path: Path) -> Autoencoder:
    """A trained autoencoder, frozen."""
    return checkpoint.load_network(path, "autoencoder", Autoencoder)
