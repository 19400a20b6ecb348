"""Samplers as functions of any callable denoiser: they know no files, no network class, no device."""

from collections.abc import Callable

import torch

from brainldm.models.schedule import Schedule

Denoiser = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def guided(conditional: Denoiser, unconditional: Denoiser, guidance: float) -> Denoiser:
    """Classifier-free guidance (Ho & Salimans 2022): from the unconditional noise `guidance` times as far as the conditions lead.

    At 1 it is `conditional` itself, at its cost; any other value costs both.
    """
    if guidance == 1:
        return conditional

    def denoiser(x: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        without = unconditional(x, timesteps)
        return without + guidance * (conditional(x, timesteps) - without)

    return denoiser


def ddim_timesteps(total: int, steps: int) -> list[int]:
    """'Leading' spacing as the published bundle has it: 980, 960, ... 0 for 50 of 1000."""
    return [index * (total // steps) for index in reversed(range(steps))]


def ddim(
    denoiser: Denoiser,
    noise: torch.Tensor,
    schedule: Schedule,
    steps: int,
    eta: float = 0.0,
    fresh_noise: Callable[[int], torch.Tensor] | None = None,
) -> torch.Tensor:
    """DDIM (Song et al. 2021, eq. 12): from `noise` [N,...] to a sample of the same shape.

    `denoiser(x, t [N])` gives the predicted noise epsilon; the last step lands on alpha_bar = 1.
    With eta > 0, `fresh_noise(step)` gives the noise added at that step.
    """
    timesteps = ddim_timesteps(len(schedule.alpha_bar), steps)
    x = noise
    for step, (now, then) in enumerate(zip(timesteps, [*timesteps[1:], -1], strict=True)):
        a_now = schedule.alpha_bar[now].item()
        a_then = schedule.alpha_bar[then].item() if then >= 0 else 1.0
        epsilon = denoiser(x, torch.full((len(x),), now, device=x.device))
        clean = (x - (1 - a_now) ** 0.5 * epsilon) / a_now**0.5
        sigma = eta * ((1 - a_then) / (1 - a_now) * (1 - a_now / a_then)) ** 0.5
        x = a_then**0.5 * clean + max(0.0, 1 - a_then - sigma**2) ** 0.5 * epsilon
        if sigma > 0 and fresh_noise is not None:
            x = x + sigma * fresh_noise(step)
    return x
