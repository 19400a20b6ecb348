"""The noise schedule: beta linear in its square root from 0.0015 to 0.0205 over T = 1000 (published bundle)."""

from typing import NamedTuple

import torch


class Schedule(NamedTuple):
    """A variance-preserving schedule; alpha_bar [T] float64 falls from near 1 to near 0."""

    alpha_bar: torch.Tensor

    def coefficients(self, timesteps: torch.Tensor, ndim: int) -> tuple[torch.Tensor, torch.Tensor]:
        """sqrt(alpha_bar) and sqrt(1 - alpha_bar) at `timesteps` [N], float32, shaped [N,1,...] for a tensor of `ndim` dimensions."""
        alpha_bar = self.alpha_bar[timesteps.cpu()].reshape(-1, *[1] * (ndim - 1))
        return alpha_bar.sqrt().float().to(timesteps.device), (1 - alpha_bar).sqrt().float().to(timesteps.device)

    def snr(self, timesteps: torch.Tensor, ndim: int) -> torch.Tensor:
        """Signal-to-noise ratio alpha_bar / (1 - alpha_bar) at `timesteps` [N], float32, shaped as `coefficients`."""
        alpha_bar = self.alpha_bar[timesteps.cpu()].reshape(-1, *[1] * (ndim - 1))
        return (alpha_bar / (1 - alpha_bar)).float().to(timesteps.device)


def scaled_linear(timesteps: int, beta_start: float, beta_end: float) -> Schedule:
    """Betas linear in sqrt(beta), as the published bundle's `scaled_linear_beta`."""
    betas = torch.linspace(beta_start**0.5, beta_end**0.5, timesteps, dtype=torch.float64) ** 2
    return Schedule(torch.cumprod(1 - betas, 0))
