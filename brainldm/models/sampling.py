"""From noise and covariates to images: a sampler in the latent space, then the decoder."""

import numpy as np
import torch

from brainldm.core.config import Sampling
from brainldm.models.autoencoder import Autoencoder
from brainldm.models.diffusion import Diffusion
from brainldm.models.samplers import ddim, guided


@torch.inference_mode()
def sample_latents(diffusion: Diffusion, covariates: np.ndarray, noise: torch.Tensor, how: Sampling) -> torch.Tensor:
    """Latents [N,C,i,j,k] for the decoder, from covariates [N,4] in physical units and noise [N,C,i,j,k], on the network's device.

    DDIM with eta 0, so the noise a row starts from is all the noise it sees. `guidance` other than 1 is classifier-free and doubles
    the cost; it amplifies what the network has learned, not what a standardised model's regression on the covariates adds.
    """
    diffusion.check_guidance(how.guidance)
    device = next(diffusion.parameters()).device
    conditions = torch.from_numpy(diffusion.ranges.scale(np.asarray(covariates))).to(device)
    dropped = torch.ones(len(conditions), dtype=torch.bool, device=device)
    denoiser = guided(
        lambda x, t: diffusion.epsilon(x, t, conditions), lambda x, t: diffusion.epsilon(x, t, conditions, dropped), how.guidance
    )
    return diffusion.to_latents(ddim(denoiser, noise.to(device), diffusion.schedule, how.steps), conditions)


@torch.inference_mode()
def sample_volumes(
    diffusion: Diffusion, autoencoder: Autoencoder, covariates: np.ndarray, noise: torch.Tensor, how: Sampling
) -> torch.Tensor:
    """Images [N,1,I,J,K], not clamped; arguments as of `sample_latents`."""
    return autoencoder.decode(sample_latents(diffusion, covariates, noise, how))
