"""Samplers against closed forms: for Gaussians and mixtures of them the exact denoiser, the ODE's end point and the marginals are known."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from monai.networks.schedulers.ddpm import DDPMScheduler

from brainldm.core.config import Sampling
from brainldm.core.errors import ConfigError
from brainldm.models.noise import fresh_noise, row_noise
from brainldm.models.samplers import ddim, ddim_timesteps, guided, log_snr_timesteps
from brainldm.models.sampling import solve
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


@pytest.mark.parametrize("eta", [0.3, 1.0])
def test_one_step_adds_the_variance_that_eta_asks_for(eta):
    """Of a denoiser that always says zero, all spread is fresh noise: sigma_t of eq. 16 of Song et al., scaled by what follows."""
    fresh = lambda step: torch.ones(1, 1, dtype=torch.float64) * (step == 3)  # noqa: E731
    found = ddim(lambda x, t: torch.zeros_like(x), torch.zeros(1, 1, dtype=torch.float64), SCHEDULE, 10, eta, fresh).item()
    now, then = SCHEDULE.alpha_bar[600], SCHEDULE.alpha_bar[500]
    sigma = eta * ((1 - then) / (1 - now) * (1 - now / then)).sqrt()
    assert found == pytest.approx((sigma / then.sqrt()).item(), rel=1e-12)


def test_ddpm_is_monais_where_monai_is_right():
    """All 1000 steps with MONAI's own noise; its DDIM steps elsewhere than its timesteps say, so that only DDPM can be compared."""
    theirs = DDPMScheduler(1000, schedule="scaled_linear_beta", beta_start=0.0015, beta_end=0.0205, clip_sample=False)
    assert torch.allclose(theirs.alphas_cumprod.double(), SCHEDULE.alpha_bar, rtol=1e-5)
    noise = torch.randn(5, 1, generator=torch.Generator().manual_seed(1))
    clean, t = torch.linspace(-2, 2, 5)[:, None], torch.tensor([0, 10, 400, 900, 999])
    signal, spread = SCHEDULE.coefficients(t, 2)
    assert torch.allclose(theirs.add_noise(clean, noise, t), signal * clean + spread * noise, atol=1e-5)
    generator, x = torch.Generator().manual_seed(2), noise
    for timestep in range(999, -1, -1):
        x, _ = theirs.step(exact_epsilon(x, torch.full((5,), timestep)), timestep, x, generator)
    generator = torch.Generator().manual_seed(2)
    ours = solve(exact_epsilon, noise, SCHEDULE, Sampling(sampler="ddpm", steps=1000), lambda step: torch.randn(5, 1, generator=generator))
    assert torch.allclose(x, ours, atol=1e-3)


def test_more_steps_than_timesteps_are_refused():
    for sampler in ("ddim", "dpmpp_2m"):
        with pytest.raises(ConfigError, match=r"generate\.steps: expected at most the 1000 timesteps .*, found 1001"):
            solve(exact_epsilon, torch.zeros(1, 1), SCHEDULE, Sampling(sampler=sampler, steps=1001))


@pytest.mark.parametrize("steps", [1, 2, 10, 20, 50, 200, 999, 1000])
def test_log_snr_timesteps_go_from_the_last_to_the_first(steps):
    timesteps = log_snr_timesteps(SCHEDULE, steps)
    assert len(timesteps) == steps
    assert timesteps[0] == 999
    assert all(now > then for now, then in pairwise(timesteps))
    if 1 < steps < 1000:
        assert timesteps[-1] == 0
    if 2 < steps <= 20:
        gaps = SCHEDULE.alpha_bar[timesteps].logit().diff()
        assert gaps.std() < 0.1 * gaps.mean()


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


def test_fresh_noise_is_each_rows_own_in_every_step():
    keys = [(7, 123), (7, 124)]
    fresh = fresh_noise(keys, (500,))
    streams = torch.cat([row_noise(7, 123, (1, 500)), row_noise(7, 124, (1, 500)), *(fresh(step) for step in range(20))])
    assert np.abs(np.corrcoef(streams.numpy()) - np.eye(len(streams))).max() < 0.25
    assert torch.equal(fresh(5), fresh_noise(keys[::-1], (500,))(5)[[1, 0]])
