"""Small models that were fitted for too long to a few scans: membership attacks must catch them."""

from pathlib import Path

import numpy as np
import torch
import yaml

from brainldm.core.config import parse
from brainldm.core.covariates import Ranges
from brainldm.models import diffusion

LATENT, STEPS = (3, 4, 4, 4), 40
OPTIONS = parse(yaml.safe_load((Path(__file__).parents[1] / "tiny/config.yaml").read_text())).train_diffusion
SMALL = {"channels": [16], "attention_levels": [True], "head_channels": [16], "norm_groups": 8}
RANGES = Ranges((0, 44, 10, 1000), (1, 82, 110, 1500))


def fitted(latents: torch.Tensor, conditions: torch.Tensor, steps: int = STEPS) -> diffusion.Diffusion:
    """A small diffusion model after so many steps, each on all latents [N,C,i,j,k] under conditions [N,4]."""
    torch.manual_seed(0)
    network = diffusion.build(OPTIONS.model_copy(update=SMALL), tuple(latents.shape[1:]), RANGES)
    adam = torch.optim.Adam(network.parameters(), 4e-3)
    for _ in range(steps):
        timesteps, noise = torch.randint(500, (len(latents),)), torch.randn_like(latents)
        signal, spread = network.schedule.coefficients(timesteps, latents.ndim)
        predicted = network(signal * latents + spread * noise, timesteps, conditions)
        loss = ((predicted - network.target(latents, noise, timesteps)) ** 2).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    return network.eval()


class Linear(torch.nn.Module):
    """A linear autoencoder: the principal components of images [N,1,I,J,K], as many as there are images less one."""

    def __init__(self, images: np.ndarray) -> None:
        super().__init__()
        flat = images.reshape(len(images), -1).astype(np.float64)
        self.shape, self.mean = images.shape[1:], torch.from_numpy(flat.mean(axis=0)).float()
        self.axes = torch.from_numpy(np.linalg.svd(flat - flat.mean(axis=0), full_matrices=False)[2][:-1]).float()

    def encode(self, images: torch.Tensor) -> tuple[torch.Tensor, None]:
        """Latent means [N,D]."""
        return (images.flatten(1) - self.mean) @ self.axes.T, None

    def decode(self, mu: torch.Tensor) -> torch.Tensor:
        """Images [N,1,I,J,K]."""
        return (mu.flatten(1) @ self.axes + self.mean).reshape(-1, *self.shape)
