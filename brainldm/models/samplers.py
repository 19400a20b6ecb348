"""Samplers as functions of any callable denoiser: they know no files, no network class, no device.

A denoiser(x, t [N]) gives the predicted noise epsilon. `noise` [N,...] is where a sampler starts, and the sample has its shape and type.
"""

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch

from brainldm.core.errors import ConfigError
from brainldm.models.schedule import Schedule

Denoiser = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
FreshNoise = Callable[[int], torch.Tensor]  # step -> standard normal noise of the sample's shape


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
    _check(total, steps)
    return [index * (total // steps) for index in reversed(range(steps))]


def log_snr_timesteps(schedule: Schedule, steps: int) -> list[int]:
    """From the last timestep to 0, evenly spaced in log(alpha / sigma) as far as whole timesteps allow, no two the same."""
    _check(len(schedule.alpha_bar), steps)
    half_log_snr = schedule.alpha_bar.logit().numpy() / 2
    wanted = np.linspace(half_log_snr[-1], half_log_snr[0], steps)
    nearest = np.rint(np.interp(-wanted, -half_log_snr, np.arange(len(half_log_snr)))).astype(int)
    rank = np.arange(steps - 1, -1, -1)  # how many timesteps are still to come, each smaller
    spare = np.maximum.accumulate((nearest - rank)[::-1])[::-1].clip(max=len(half_log_snr) - steps)
    return (spare + rank).tolist()


def _check(total: int, steps: int) -> None:
    if steps > total:
        raise ConfigError(f"generate.steps: expected at most the {total} timesteps that the model was trained with, found {steps}")


def ddim(
    denoiser: Denoiser, noise: torch.Tensor, schedule: Schedule, steps: int, eta: float = 0.0, fresh_noise: FreshNoise | None = None
) -> torch.Tensor:
    """DDIM (Song et al. 2021, eq. 12); the last step lands on alpha_bar = 1. With eta > 0 it needs fresh noise at every step.

    Eta 1 is the ancestral sampling of DDPM (Ho et al. 2020, with the posterior's variance), and DDPM itself with all timesteps as steps.
    """
    timesteps = ddim_timesteps(len(schedule.alpha_bar), steps)
    x = noise
    for step, (now, then) in enumerate(zip(timesteps, [*timesteps[1:], -1], strict=True)):
        a_now = schedule.alpha_bar[now].item()
        a_then = schedule.alpha_bar[then].item() if then >= 0 else 1.0
        epsilon = denoiser(x, _same(now, x))
        clean = (x - (1 - a_now) ** 0.5 * epsilon) / a_now**0.5
        sigma = eta * ((1 - a_then) / (1 - a_now) * (1 - a_now / a_then)) ** 0.5
        x = a_then**0.5 * clean + max(0.0, 1 - a_then - sigma**2) ** 0.5 * epsilon
        if sigma > 0:
            assert fresh_noise is not None
            x = x + sigma * fresh_noise(step).to(x)
    return x


def dpmpp_2m(denoiser: Denoiser, noise: torch.Tensor, schedule: Schedule, steps: int, correct: bool = False) -> torch.Tensor:
    """DPM-Solver++(2M) (Lu et al. 2022, algorithm 2) on a uniform log-SNR grid; its last step is to the predicted clean sample.

    Two evaluations of the past make a line in lambda = log(alpha / sigma), along which the ODE is solved. `correct` makes it UniPC-2
    (Zhao et al. 2023): each new evaluation also corrects the step that led to it, at no evaluation more.
    """
    timesteps = log_snr_timesteps(schedule, steps)
    x = before = noise
    cleans: list[torch.Tensor] = []
    lambdas: list[float] = []
    for now, then in pairwise([*timesteps, -1]):
        a_now = schedule.alpha_bar[now].item()
        lambdas.append(math.log(a_now / (1 - a_now)) / 2)
        cleans.append((x - (1 - a_now) ** 0.5 * denoiser(x, _same(now, x))) / a_now**0.5)
        if correct and len(cleans) > 1:
            x = _step(before, cleans[:-1], lambdas[:-1], lambdas[-1], cleans[-1])
        if then >= 0:
            before, x = x, _step(x, cleans, lambdas, schedule.alpha_bar[then].logit().item() / 2)
        del cleans[:-2], lambdas[:-2]
    return cleans[-1]


def _step(
    x: torch.Tensor, cleans: list[torch.Tensor], lambdas: list[float], to: float, arrived: torch.Tensor | None = None
) -> torch.Tensor:
    """x at lambda `to`, from x at lambdas[-1] and the clean samples predicted at lambdas[-2:]; `arrived`, if known, is the one at `to`.

    With h the step and D the clean sample, x' = sigma' / sigma x + alpha' (1 - exp(-h)) mean(D), the mean weighted by exp((s - 1) h) over s
    from 0 to 1. D is a polynomial in s through the samples; the line through the past takes 1/2 for the mean of s, as Lu et al. do.
    """
    h, clean = to - lambdas[-1], cleans[-1]
    gain = -math.expm1(-h)
    s_past = (lambdas[-2] - lambdas[-1]) / h if len(cleans) > 1 else math.nan
    line = (cleans[-2] - clean) / s_past if len(cleans) > 1 else torch.zeros_like(clean)
    if arrived is None:
        mean = clean + line / 2
    elif len(cleans) == 1:
        mean = (clean + arrived) / 2
    else:
        mean_s = 1 / gain - 1 / h
        bend = (arrived - clean - line) / (1 - s_past)
        mean = clean + mean_s * (arrived - clean - bend) + (1 / gain - 2 / h * mean_s) * bend
    alpha, sigma_ratio = (1 + math.exp(-2 * to)) ** -0.5, math.sqrt((1 + math.exp(2 * lambdas[-1])) / (1 + math.exp(2 * to)))
    return sigma_ratio * x + alpha * gain * mean


def _same(timestep: int, x: torch.Tensor) -> torch.Tensor:
    return torch.full((len(x),), timestep, device=x.device)
