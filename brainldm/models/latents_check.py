"""Whether cached latents suit the diffusion model: finite, of a spread that the noise schedule expects, those it was trained on."""

import torch

from brainldm.core.findings import Finding, error, warning
from brainldm.models.diffusion import Diffusion

NAME = "latents"
SAME = (0.8, 1.25)  # of what the model was trained on, in units of its scale factor; ours
SILENT = 1.0  # sigma in units of the spread of mu: above, a latent is mostly noise


def check(mu: torch.Tensor, sigma: torch.Tensor) -> Finding:
    """Moments [N,C,i,j,k] of latents; whatever their spread, training measures it and divides by it."""
    if not (torch.isfinite(mu).all() and torch.isfinite(sigma).all()):
        return error(
            NAME, "not finite", "the autoencoder diverged, or 16 bits overflowed", "train the autoencoder again, in precision 32-true"
        )
    spread, noise = float(mu.std()), float(sigma.mean())
    found = f"std {spread:.3g}, sigma {noise:.3g}"
    if noise > SILENT * spread:
        cause = f"sigma {noise:.3g} exceeds the spread of mu {spread:.3g}: the latents say little of the scans"
        return warning(NAME, found, cause, "lower train_autoencoder.kl_weight and train the autoencoder again")
    return Finding(NAME, found)


def check_scale(network: Diffusion, mu: torch.Tensor, conditions: torch.Tensor) -> Finding:
    """Latents [N,C,i,j,k] of scans with conditions [N,4], in units of the scale factor of a model that was trained on such."""
    name, scale, remedy = "scale factor", float(network.latent_spread), "train the diffusion model again, on the latents as they are now"
    if mu.shape[1:] != network.latent_shape:
        cause = f"the diffusion model is of latents of shape {network.latent_shape}, these are {tuple(mu.shape[1:])}"
        return error(name, "of other latents", cause, remedy)
    if scale == 1 and not network.latent_fit.any():
        return Finding(name, "none in the diffusion model")
    spread = float(network.from_latents(mu, conditions).std())
    found = f"{scale:.3g}; what it leaves of the latents has std {spread:.2f}"
    if SAME[0] <= spread <= SAME[1]:
        return Finding(name, found)
    return error(name, found, "the diffusion model was trained on other latents than these, which would have std 1", remedy)
