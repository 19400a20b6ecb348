"""One synthetic volume with plain MONAI: DDIM (Song et al. 2021) over a U-Net under hybrid conditioning, then the decoder.

Exported bundles carry this file as scripts/sampler.py, so it imports nothing but torch and MONAI.
"""

from collections.abc import Sequence

import torch
from monai.data.meta_tensor import MetaTensor
from monai.networks.nets.autoencoderkl import AutoencoderKL
from monai.networks.nets.diffusion_model_unet import DiffusionModelUNet
from monai.networks.schedulers.ddim import DDIMScheduler


def load(network: torch.nn.Module, path: str, device: torch.device) -> torch.nn.Module:
    """The network with the weights of a file, ready to use."""
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return network.to(device).eval()


def scale(covariates: Sequence[float], low: Sequence[float], high: Sequence[float]) -> torch.Tensor:
    """Sex (0 female, 1 male), years, mL, mL -> the network's conditions [1,1,4]; outside the ranges lies outside [0, 1], not clamped."""
    values, lowest, highest = (torch.tensor(numbers, dtype=torch.float64) for numbers in (covariates, low, high))
    return ((values - lowest) / (highest - lowest)).float()[None, None]


def set_timesteps(scheduler: DDIMScheduler, steps: int) -> DDIMScheduler:
    """Timesteps that lie one stride apart, such as 980, 960 ... 0 for 50 of 1000.

    A step of MONAI's DDIMScheduler goes back by that stride, but its own `set_timesteps` spaces them by another (MONAI 1.6.1).
    """
    scheduler.set_timesteps(steps)
    scheduler.timesteps = torch.arange(steps - 1, -1, -1) * (scheduler.num_train_timesteps // steps)
    return scheduler


@torch.inference_mode()
def sample(
    noise: torch.Tensor,
    conditions: torch.Tensor,
    scheduler: DDIMScheduler,
    diffusion: DiffusionModelUNet,
    autoencoder: AutoencoderKL,
    scale_factor: float = 1.0,
) -> torch.Tensor:
    """Image [1,1,I,J,K], not clamped, from noise [1,C,i,j,k] and conditions [1,1,4], on the networks' device."""
    device = next(diffusion.parameters()).device
    latents, conditions = noise.to(device), conditions.to(device)
    maps = conditions[:, 0, :, None, None, None].expand(-1, -1, *latents.shape[2:])
    for timestep in scheduler.timesteps.tolist():
        now = torch.full((len(latents),), timestep, device=device)
        prediction = diffusion(torch.cat([latents, maps], 1), now, context=conditions)
        latents, _ = scheduler.step(prediction, timestep, latents)
    return autoencoder.decode_stage_2_outputs(latents / scale_factor)


def as_image(images: torch.Tensor, affine: Sequence[Sequence[float]], name: str) -> MetaTensor:
    """The first of images [N,1,I,J,K] with its place in space and the name of its file."""
    place = torch.tensor(affine, dtype=torch.float64)
    return MetaTensor(images[0].float().cpu(), affine=place, meta={"filename_or_obj": name})
