"""Losses of the autoencoder (Pinaya et al. 2022): L1, perceptual, patch adversarial and KL, and an L1 of the spatial gradients."""

from typing import Protocol

import torch
from torch import nn


class FeatureNetwork(Protocol):
    """Anything that gives a list of activations [N,C,...] of images [N,1,I,J,K]."""

    def features(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Activations, finest first."""


def gradient_l1(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference of the finite differences along the three axes: a blurred edge costs as much as a shifted one."""
    difference = a - b
    return torch.stack([difference.diff(dim=axis).abs().mean() for axis in (2, 3, 4)]).mean()


def kl_divergence(mu: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """KL to the standard normal, summed over the latent [N,C,i,j,k], mean over the batch."""
    return 0.5 * (mu**2 + sigma**2 - torch.log(sigma**2) - 1).sum((1, 2, 3, 4)).mean()


def perceptual(network: FeatureNetwork, reconstruction: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """Mean squared distance of channel-normalised features, mean over levels, as LPIPS without its learned weights (Zhang et al. 2018)."""
    with torch.no_grad():
        wanted = [unit(level) for level in network.features(images)]
    found = [unit(level) for level in network.features(reconstruction)]
    return torch.stack([((a - b) ** 2).sum(1).mean() for a, b in zip(found, wanted, strict=True)]).mean()


def unit(features: torch.Tensor) -> torch.Tensor:
    """Features [N,C,...] of length 1 over the channels."""
    return features / (features.norm(dim=1, keepdim=True) + 1e-6)


def generator_adversarial(critic: nn.Module, reconstruction: torch.Tensor) -> torch.Tensor:
    """Least-squares loss that pulls the patch scores of reconstructions to 1 (Mao et al. 2017); the critic's weights get no gradient."""
    critic.requires_grad_(False)
    loss = ((critic(reconstruction)[-1] - 1) ** 2).mean()
    critic.requires_grad_(True)
    return loss


def patch_adversarial(critic: nn.Module, reconstruction: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """Least-squares loss of the critic: real patches to 1, reconstructed ones to 0."""
    return 0.5 * (((critic(images)[-1] - 1) ** 2).mean() + (critic(reconstruction)[-1] ** 2).mean())
