"""Few-step samplers on a Gaussian mixture: its score is known in closed form, its ODE by fine integration that shares no code with them."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from brainldm.core.config import Sampling
from brainldm.models.samplers import ddim_timesteps, log_snr_timesteps
from brainldm.models.sampling import solve
from brainldm.models.schedule import Schedule, scaled_linear

SCHEDULE = scaled_linear(1000, 0.0015, 0.0205)
COARSE = SCHEDULE.alpha_bar.logit().numpy()
# The same schedule between the same ends, as good as continuous.
FINE = Schedule(torch.from_numpy(np.interp(np.linspace(0, 999, 64_000), np.arange(1000), COARSE)).sigmoid())
RNG = torch.Generator().manual_seed(0)
DIMENSIONS = 16
MEANS = 0.5 * torch.randn(4, DIMENSIONS, generator=RNG, dtype=torch.float64)
SPREADS = torch.logspace(-1.5, -0.3, DIMENSIONS, dtype=torch.float64)  # details from 0.03 to 0.5, as an image has
NOISE = torch.randn(64, DIMENSIONS, generator=RNG, dtype=torch.float64)


def epsilon_at(x, a):
    """E[noise | x] of the mixture with equal weights, at alpha_bar a."""
    variances = a * SPREADS**2 + 1 - a
    away = x[:, None] - a**0.5 * MEANS
    weights = (-(away**2) / variances / 2).sum(-1).softmax(1)
    return (1 - a) ** 0.5 * (weights[..., None] * away / variances).sum(1)


def solver(schedule, sampler, steps):
    return solve(lambda x, t: epsilon_at(x, schedule.alpha_bar[t[0]].item()), NOISE, schedule, Sampling(sampler=sampler, steps=steps))


def end_point(schedule, first, steps=400):
    """RK4 of dy/dlambda = -exp(-lambda) epsilon, y = x / alpha, to the first timestep, and from there to the mean clean sample."""
    lambdas = torch.linspace(schedule.alpha_bar[first].logit().item() / 2, schedule.alpha_bar[0].logit().item() / 2, steps + 1).double()
    signal = lambda l: torch.sigmoid(2 * l) ** 0.5  # noqa: E731, E741
    slope = lambda y, l: -torch.exp(-l) * epsilon_at(y * signal(l), torch.sigmoid(2 * l))  # noqa: E731, E741
    y = NOISE / signal(lambdas[0])
    for now, then in pairwise(lambdas):
        h = then - now
        one = slope(y, now)
        two = slope(y + h / 2 * one, now + h / 2)
        three = slope(y + h / 2 * two, now + h / 2)
        y = y + h / 6 * (one + 2 * two + 2 * three + slope(y + h * three, then))
    return y + slope(y, lambdas[-1])


def distance(x, y):
    return (x - y).square().mean().sqrt().item()


@pytest.mark.parametrize(("sampler", "order"), [("ddim", 1), ("dpmpp_2m", 2), ("unipc", 3)])
def test_order_of_convergence(sampler, order):
    """Twice the steps divide the error by 2 to the order; UniPC's correction makes its second-order steps third."""
    errors = []
    for steps in (160, 320):
        first = len(FINE.alpha_bar) - 1 if sampler != "ddim" else ddim_timesteps(len(FINE.alpha_bar), steps)[0]
        errors.append(distance(solver(FINE, sampler, steps), end_point(FINE, first)))
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.15), errors


def test_few_steps_come_as_near_as_fifty_of_ddim():
    """From where each starts; 10 steps of the second-order solvers at least as near as 50 of DDIM, 20 twice as near."""
    end = end_point(SCHEDULE, 999)
    ddim_50 = distance(solver(SCHEDULE, "ddim", 50), end_point(SCHEDULE, 980))
    for sampler in ("dpmpp_2m", "unipc"):
        errors = {steps: distance(solver(SCHEDULE, sampler, steps), end) for steps in (10, 15, 20)}
        assert errors[10] <= ddim_50, (sampler, errors, ddim_50)
        assert errors[20] < ddim_50 / 2
        assert errors[20] < errors[15] < errors[10]


def test_one_step_is_the_predicted_clean_sample():
    a = SCHEDULE.alpha_bar[999].item()
    clean = (NOISE - (1 - a) ** 0.5 * epsilon_at(NOISE, a)) / a**0.5
    for sampler in ("dpmpp_2m", "unipc"):
        assert torch.equal(solver(SCHEDULE, sampler, 1), clean)
    assert log_snr_timesteps(SCHEDULE, 1) == [999]


def test_every_sampler_is_exact_for_data_of_one_point():
    """The clean sample is then always right, so that any grid of any sampler must end there."""
    point = MEANS[:1]
    for sampler in ("ddim", "dpmpp_2m", "unipc"):
        how = Sampling(sampler=sampler, steps=7)
        denoiser = lambda x, t: (x - SCHEDULE.alpha_bar[t[0]].sqrt() * point) / (1 - SCHEDULE.alpha_bar[t[0]]).sqrt()  # noqa: E731
        assert torch.allclose(solve(denoiser, NOISE, SCHEDULE, how), point.expand_as(NOISE), atol=1e-9)
