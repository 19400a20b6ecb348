"""Denoising losses tell of a model that was fitted for too long whose latents it has seen, and of one that was not fitted nothing."""

from functools import partial

import numpy as np
import torch
from overfitted import LATENT, STEPS, fitted
from scipy.ndimage import gaussian_filter

from brainldm.metrics.definitions import MEMBERSHIP
from brainldm.metrics.membership import auc
from brainldm.metrics.nearest import nearest_distance
from brainldm.models import diffusion, membership
from brainldm.models.samplers import ddim
from brainldm.models.schedule import scaled_linear

N = 8


def _latents(n: int) -> torch.Tensor:
    """Smooth latents [n,*LATENT] of one population."""
    values = gaussian_filter(np.random.default_rng(1).standard_normal((n, *LATENT)), (0, 0, 0.7, 0.7, 0.7))
    return torch.from_numpy((values / values.std()).astype(np.float32))


def _scores(network: diffusion.Diffusion, latents: torch.Tensor, conditions: torch.Tensor) -> np.ndarray:
    return membership.denoising_scores(partial(network.epsilon, conditions=conditions), latents, network.schedule, 3)


def test_a_small_model_that_was_fitted_for_too_long_is_caught_by_its_losses() -> None:
    latents, conditions = _latents(N + 60), torch.rand(N + 60, 4, generator=torch.Generator().manual_seed(2))
    before, after = (_scores(fitted(latents[:N], conditions[:N], steps), latents, conditions) for steps in (0, STEPS))
    assert auc(after[:N], after[N:]) >= 0.9
    assert 0.25 < auc(before[:N], before[N:]) < 0.75
    np.testing.assert_array_equal(_scores(fitted(latents[:N], conditions[:N], 0), latents, conditions), before)


def test_the_memoriser_is_the_best_denoiser_of_its_latents_and_gives_nothing_but_them() -> None:
    latents = _latents(N + 60)
    schedule = scaled_linear(1000, 0.0015, 0.0205)
    denoiser = membership.memoriser(latents[:N], schedule)
    scores = membership.denoising_scores(denoiser, latents, schedule, 3)
    assert auc(scores[:N], scores[N:]) >= 0.99
    drawn = ddim(denoiser, torch.randn(16, *LATENT, generator=torch.Generator().manual_seed(4)), schedule, 50)
    assert nearest_distance(drawn.flatten(1).numpy(), latents[:N].flatten(1).numpy()).max() < 0.1
    timesteps = torch.full((N,), 200)
    signal, spread = schedule.coefficients(timesteps, 5)
    noise = torch.randn(N, *LATENT, generator=torch.Generator().manual_seed(5))
    error = ((denoiser(signal * latents[:N] + spread * noise, timesteps) - noise) ** 2).mean()
    assert error < 0.01


def test_scores_do_not_depend_on_the_batch() -> None:
    latents = _latents(6)
    schedule = scaled_linear(1000, 0.0015, 0.0205)
    denoiser = membership.memoriser(_latents(9)[6:], schedule)
    whole = membership.denoising_scores(denoiser, latents, schedule, 3)
    parts = [membership.denoising_scores(denoiser, latents[part], schedule, 3) for part in (slice(0, 2), slice(2, 6))]
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=1e-5)
    assert whole.shape == (6,)
    assert not np.allclose(membership.denoising_scores(denoiser, latents, schedule, 4), whole)


def test_the_protocol_names_the_timesteps() -> None:
    *first, last = (f"{100 * time:g}" for time in membership.TIMES)
    assert f"at {', '.join(first)} and {last} % of its timesteps" in MEMBERSHIP
