"""From noise and covariates to images: DDIM in the latent space, then the decoder."""

import numpy as np
import torch

from brainldm.models.autoencoder import Autoencoder
from brainldm.models.diffusion import Diffusion
from brainldm.models.samplers import ddim, guided


@torch.inference_mode()
def sample_volumes(
    diffusion: Diffusion, autoencoder: Autoencoder, covariates: np.ndarray, noise: torch.Tensor, steps: int, guidance: float = 1.0
) -> torch.Tensor:
    """Images [N,1,I,J,K], not clamped, from covariates [N,4] in physical units and noise [N,C,i,j,k], on the networks' device.

    DDIM with eta 0, so the noise a row starts from is all the noise it sees. `guidance` other than 1 is classifier-free and doubles
    the cost; it amplifies what the network has learned, not what a standardised model's regression on the covariates adds.
    """
    diffusion.check_guidance(guidance)
    device = next(diffusion.parameters()).device
    conditions = torch.from_numpy(diffusion.ranges.scale(np.asarray(covariates))).to(device)
    dropped = torch.ones(len(conditions), dtype=torch.bool, device=device)
    denoiser = guided(lambda x, t: diffusion.epsilon(x, t, conditions), lambda x, t: diffusion.epsilon(x, t, conditions, dropped), guidance)
    latents = ddim(denoiser, noise.to(device), diffusion.schedule, steps)
    return autoencoder.decode(diffusion.to_latents(latents, conditions))
