"""A training step of the diffusion model (Ho et al. 2020): what it draws, and its loss, plain or weighted (Hang et al. 2023)."""

from typing import NamedTuple

import torch
import torch.nn.functional as F

from brainldm.core.config import TrainDiffusion
from brainldm.models.diffusion import Diffusion


class Draws(NamedTuple):
    """All that is random in a step: standard normal noise [N,C,i,j,k] of the latent and of the process, timesteps [N], dropped rows [N].

    There is no augmentation: a mirrored, moved, scaled or brightened brain would no longer be the one its covariates were measured in.
    """

    latent_noise: torch.Tensor
    noise: torch.Tensor
    timesteps: torch.Tensor
    dropped: torch.Tensor | None


def draw(options: TrainDiffusion, latent_shape: tuple[int, ...], mine: slice, device: torch.device) -> Draws:
    """The draws of this process' part `mine` of a batch; they belong to the places of the whole batch, however many processes share it."""
    places, shape = (options.batch_size,), (options.batch_size, *latent_shape)
    latent_noise, noise = (torch.randn(shape, device=device)[mine] for _ in range(2))
    timesteps = torch.randint(options.timesteps, places, device=device)[mine]
    if not options.condition_dropout:
        return Draws(latent_noise, noise, timesteps, None)
    return Draws(latent_noise, noise, timesteps, torch.rand(places, device=device)[mine] < options.condition_dropout)


def loss(
    network: Diffusion, predicted: torch.Tensor, target: torch.Tensor, timesteps: torch.Tensor, options: TrainDiffusion
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """What is to be minimised, and what to log: the mean squared error as `mse`, and the weighted one by its name."""
    mse = F.mse_loss(predicted, target)
    if options.loss_weighting == "plain":
        return mse, {"mse": mse}
    weight = min_snr_weight(network.schedule.snr(timesteps, target.ndim), options.min_snr_gamma, options.prediction)
    weighted = (weight * (predicted - target) ** 2).mean()
    return weighted, {"mse": mse, "min_snr": weighted}


def min_snr_weight(snr: torch.Tensor, gamma: float, prediction: str) -> torch.Tensor:
    """What makes a squared error of the prediction min(SNR, gamma) times that of the clean latent (Hang et al. 2023, section 3.4).

    The clean latent errs by 1 / SNR of epsilon's squared error, and by 1 / (SNR + 1) of v's.
    """
    return snr.clamp(max=gamma) / (snr if prediction == "epsilon" else snr + 1)
