"""From noise and covariates to images: a sampler in the latent space, then the decoder."""

import numpy as np
import torch

from brainldm.core.config import Sampling
from brainldm.models.autoencoder import Autoencoder
from brainldm.models.diffusion import Diffusion
from brainldm.models.samplers import Denoiser, FreshNoise, ddim, dpmpp_2m, guided
from brainldm.models.schedule import Schedule


@torch.inference_mode()
def sample_latents(
    diffusion: Diffusion, covariates: np.ndarray, noise: torch.Tensor, how: Sampling, fresh_noise: FreshNoise | None = None
) -> torch.Tensor:
    """Latents [N,C,i,j,k] for the decoder, from covariates [N,4] in physical units and noise [N,C,i,j,k], on the network's device.

    `fresh_noise(step)` [N,C,i,j,k] is asked for by DDPM, and by DDIM with eta above 0. `guidance` other than 1 is classifier-free and
    doubles the cost; it amplifies what the network has learned, not what a standardised model's regression on the covariates adds.
    """
    diffusion.check_guidance(how.guidance)
    device = next(diffusion.parameters()).device
    conditions = torch.from_numpy(diffusion.ranges.scale(np.asarray(covariates))).to(device)
    dropped = torch.ones(len(conditions), dtype=torch.bool, device=device)
    denoiser = guided(
        lambda x, t: diffusion.epsilon(x, t, conditions), lambda x, t: diffusion.epsilon(x, t, conditions, dropped), how.guidance
    )
    return diffusion.to_latents(solve(denoiser, noise.to(device), diffusion.schedule, how, fresh_noise), conditions)


def solve(
    denoiser: Denoiser, noise: torch.Tensor, schedule: Schedule, how: Sampling, fresh_noise: FreshNoise | None = None
) -> torch.Tensor:
    """A sample by the sampler that the configuration names."""
    if how.sampler in ("dpmpp_2m", "unipc"):
        return dpmpp_2m(denoiser, noise, schedule, how.steps, correct=how.sampler == "unipc")
    return ddim(denoiser, noise, schedule, how.steps, 1.0 if how.sampler == "ddpm" else how.eta, fresh_noise)


@torch.inference_mode()
def sample_volumes(
    diffusion: Diffusion,
    autoencoder: Autoencoder,
    covariates: np.ndarray,
    noise: torch.Tensor,
    how: Sampling,
    fresh_noise: FreshNoise | None = None,
) -> torch.Tensor:
    """Images [N,1,I,J,K], not clamped; arguments as of `sample_latents`."""
    return autoencoder.decode(sample_latents(diffusion, covariates, noise, how, fresh_noise))
