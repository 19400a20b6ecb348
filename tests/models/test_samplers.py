"""DDIM against closed forms: for Gaussian data the exact denoiser, the ODE's end point and the marginals are known."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from brainldm.models.noise import row_noise
from brainldm.models.samplers import ddim, ddim_timesteps, guided
from brainldm.models.schedule import scaled_linear

SCHEDULE = scaled_linear(1000, 0.0015, 0.0205)
MEAN, SD = 1.5, 0.4


def exact_epsilon(x, timesteps, mean=MEAN):
    """E[noise | x] for data of N(mean, SD^2)."""
    a = SCHEDULE.alpha_bar[timesteps].to(x.dtype)[:, None]
    return (1 - a).sqrt() * (x - a.sqrt() * mean) / (a * SD**2 + 1 - a)


def end_point(noise, first, mean=MEAN):
    """Where the probability-flow ODE carries noise that is taken as a sample at timestep `first`."""
    a = SCHEDULE.alpha_bar[first]
    return mean + SD * (noise - a.sqrt() * mean) / (a * SD**2 + 1 - a).sqrt()


def test_schedule_is_the_published_one():
    assert SCHEDULE.alpha_bar[-1].item() == pytest.approx(9.69e-5, rel=5e-3)  # measured on the published bundle
    assert (SCHEDULE.alpha_bar.diff() < 0).all()


def test_timesteps_are_the_published_ones():
    assert ddim_timesteps(1000, 50) == list(range(980, -1, -20))


def error(steps):
    noise = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    return (ddim(exact_epsilon, noise, SCHEDULE, steps) - end_point(noise, ddim_timesteps(1000, steps)[0])).abs().max().item()


def test_ddim_converges_to_the_end_point_of_the_ode_at_first_order():
    errors = [error(steps) for steps in (50, 100, 200)]
    assert errors[-1] < 0.03
    for coarse, fine in pairwise(errors):
        assert 1.5 < coarse / fine < 2.5


def test_eta_one_gives_the_data_distribution():
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn((4000, 1), generator=generator, dtype=torch.float64)
    fresh = lambda step: torch.randn((4000, 1), generator=generator, dtype=torch.float64)  # noqa: E731
    samples = ddim(exact_epsilon, noise, SCHEDULE, 1000, 1.0, fresh)
    assert samples.mean().item() == pytest.approx(MEAN, abs=0.03)
    assert samples.std().item() == pytest.approx(SD, rel=0.05)


@pytest.mark.parametrize("guidance", [0.0, 0.5, 1.0, 2.0, 4.0])
def test_guidance_moves_a_gaussian_by_its_factor(guidance):
    """Of two Gaussians of one spread, means 0.5 and MEAN, the guided score is that of a third, `guidance` times as far from the first."""
    noise = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    denoiser = guided(exact_epsilon, lambda x, t: exact_epsilon(x, t, 0.5), guidance)
    moved = 0.5 + guidance * (MEAN - 0.5)
    assert (ddim(denoiser, noise, SCHEDULE, 1000) - end_point(noise, 999, moved)).abs().max() < 0.02


def test_without_guidance_nothing_unconditional_is_computed():
    assert guided(exact_epsilon, lambda x, t: pytest.fail("called"), 1.0) is exact_epsilon


def test_noise_is_addressed_by_seed_and_index():
    noise = row_noise(7, 123, (3, 8, 10, 8))
    assert torch.equal(noise, row_noise(7, 123, (3, 8, 10, 8)))
    assert not torch.equal(noise, row_noise(7, 124, (3, 8, 10, 8)))
    assert not torch.equal(noise, row_noise(8, 123, (3, 8, 10, 8)))
    many = torch.stack([row_noise(7, index, (500,)) for index in range(200)]).numpy()
    assert abs(np.corrcoef(many[:-1].ravel(), many[1:].ravel())[0, 1]) < 0.02
    assert many.std() == pytest.approx(1, abs=0.02)
