"""Denoising losses tell of a model that was fitted for too long whose latents it has seen, and of one that was not fitted nothing."""

from functools import partial
from pathlib import Path

import numpy as np
import torch
import yaml
from scipy.ndimage import gaussian_filter

from brainldm.core.config import parse
from brainldm.core.covariates import Ranges
from brainldm.metrics.definitions import MEMBERSHIP
from brainldm.metrics.membership import auc
from brainldm.metrics.nearest import nearest_distance
from brainldm.models import diffusion, membership
from brainldm.models.samplers import ddim

LATENT, N, STEPS = (3, 4, 4, 4), 8, 120
OPTIONS = parse(yaml.safe_load((Path(__file__).parents[1] / "tiny/config.yaml").read_text())).train_diffusion
SMALL = {"channels": [16], "attention_levels": [True], "head_channels": [16], "norm_groups": 8}


def _latents(n: int) -> torch.Tensor:
    """Smooth latents [n,*LATENT] of one population."""
    values = gaussian_filter(np.random.default_rng(1).standard_normal((n, *LATENT)), (0, 0, 0.7, 0.7, 0.7))
    return torch.from_numpy((values / values.std()).astype(np.float32))


def _fitted(latents: torch.Tensor, conditions: torch.Tensor, steps: int) -> diffusion.Diffusion:
    """A small diffusion model after so many steps, each on all of the latents."""
    torch.manual_seed(0)
    options = OPTIONS.model_copy(update=SMALL)
    network = diffusion.build(options, LATENT, Ranges((0, 44, 10, 1000), (1, 82, 110, 1500)))
    adam = torch.optim.Adam(network.parameters(), 4e-3)
    for _ in range(steps):
        timesteps, noise = torch.randint(500, (len(latents),)), torch.randn_like(latents)
        signal, spread = network.schedule.coefficients(timesteps, latents.ndim)
        predicted = network(signal * latents + spread * noise, timesteps, conditions)
        loss = ((predicted - network.target(latents, noise, timesteps)) ** 2).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    return network.eval()


def _scores(network: diffusion.Diffusion, latents: torch.Tensor, conditions: torch.Tensor) -> np.ndarray:
    return membership.denoising_scores(partial(network.epsilon, conditions=conditions), latents, network.schedule, 3)


def test_a_small_model_that_was_fitted_for_too_long_is_caught_by_its_losses() -> None:
    latents, conditions = _latents(N + 60), torch.rand(N + 60, 4, generator=torch.Generator().manual_seed(2))
    before, after = (_scores(_fitted(latents[:N], conditions[:N], steps), latents, conditions) for steps in (0, STEPS))
    assert auc(after[:N], after[N:]) >= 0.9
    assert 0.25 < auc(before[:N], before[N:]) < 0.75
    np.testing.assert_array_equal(_scores(_fitted(latents[:N], conditions[:N], 0), latents, conditions), before)


def test_the_memoriser_is_the_best_denoiser_of_its_latents_and_gives_nothing_but_them() -> None:
    latents = _latents(N + 60)
    schedule = diffusion.scaled_linear(1000, 0.0015, 0.0205)
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
    schedule = diffusion.scaled_linear(1000, 0.0015, 0.0205)
    denoiser = membership.memoriser(_latents(9)[6:], schedule)
    whole = membership.denoising_scores(denoiser, latents, schedule, 3)
    parts = [membership.denoising_scores(denoiser, latents[part], schedule, 3) for part in (slice(0, 2), slice(2, 6))]
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=1e-5)
    assert whole.shape == (6,)
    assert not np.allclose(membership.denoising_scores(denoiser, latents, schedule, 4), whole)


def test_the_protocol_names_the_timesteps() -> None:
    *first, last = (f"{100 * time:g}" for time in membership.TIMES)
    assert f"at {', '.join(first)} and {last} % of its timesteps" in MEMBERSHIP
