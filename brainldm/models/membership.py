"""What networks tell of the scans they were trained on: the denoising loss of a diffusion model on a scan's latent.

A network has a lower loss on what it was trained on (Matsumoto et al. 2023, arXiv 2302.03262; Carlini et al. 2023, arXiv 2301.13188).
"""

import numpy as np
import torch

from brainldm.models.noise import row_noise
from brainldm.models.samplers import Denoiser
from brainldm.models.schedule import Schedule

TIMES = (0.2, 0.3, 0.4)  # timesteps at which the loss is taken, as shares of all: where it told most on the demo
DRAWS = 2  # of noise at each timestep, the same for every scan
STREAM = 1 << 32  # of that noise; rows start from stream 0 and take one more a step


def memoriser(latents: torch.Tensor, schedule: Schedule) -> Denoiser:
    """Return the denoiser that fits latents [K,C,i,j,k] perfectly: the least squared error that any network can reach on them.

    Its clean latent is the mean of the K, weighted by how likely each gave the noisy one (Karras et al. 2022, appendix B.3). A diffusion
    model that is trained for ever on K latents becomes this one, and gives nothing but them.
    """
    flat = latents.flatten(1).double()

    def denoiser(x: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        signal, spread = schedule.coefficients(timesteps, 2)
        signal, spread = signal.double(), spread.double()
        noisy = x.flatten(1).double()
        weights = torch.softmax(-(torch.cdist(noisy / signal, flat) ** 2) / (2 * (spread / signal) ** 2), dim=1)
        return ((noisy - signal * (weights @ flat)) / spread).reshape(x.shape).to(x.dtype)

    return denoiser


@torch.inference_mode()
def denoising_scores(denoiser: Denoiser, latents: torch.Tensor, schedule: Schedule, seed: int) -> np.ndarray:
    """Return scores [N], higher for latents [N,C,i,j,k] (as the network models them) that the denoiser knows better.

    The negative mean over TIMES of the logarithm of the squared error of the predicted noise, itself a mean over DRAWS of noise.
    """
    logs = []
    for place, time in enumerate(TIMES):
        timesteps = torch.full((len(latents),), round(time * (len(schedule.alpha_bar) - 1)), device=latents.device)
        signal, spread = schedule.coefficients(timesteps, latents.ndim)
        errors = []
        for draw in range(DRAWS):
            noise = row_noise(seed, place * DRAWS + draw, tuple(latents.shape[1:]), stream=STREAM).to(latents)
            predicted = denoiser(signal * latents + spread * noise, timesteps)
            errors.append(((predicted - noise) ** 2).flatten(1).double().mean(1))
        logs.append(torch.stack(errors).mean(0).log())
    return -torch.stack(logs).mean(0).cpu().numpy()
