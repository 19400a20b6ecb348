"""Latents: sound ones pass; a wrong spread, noise, overflow and latents of another autoencoder are named."""

from pathlib import Path

import pytest
import torch

from brainldm.formats.settings import read_config
from brainldm.models import diffusion, latents_check, memory

CONFIG = read_config(Path(__file__).parents[1] / "tiny/config.yaml")
LATENT = (3, 4, 6, 4)
MU = torch.randn(20, *LATENT, generator=torch.Generator().manual_seed(0))
CONDITIONS = torch.rand(20, 4, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("mu", "sigma", "standardised", "verdict", "words"),
    [
        (MU, 0.1, False, "ok", ""),
        (10 * MU, 0.1, True, "ok", ""),
        (10 * MU, 0.1, False, "warning", "standard deviation 1 or so, these have"),
        (0.1 * MU, 0.01, False, "warning", "standard deviation 1 or so, these have"),
        (0.1 * MU, 0.9, True, "warning", "say little of the scans"),
        (MU / 0, 0.1, True, "error", "diverged"),
    ],
)
def test_the_spread_is_held_against_what_training_expects(
    mu: torch.Tensor, sigma: float, standardised: bool, verdict: str, words: str
) -> None:
    finding = latents_check.check(mu, torch.full_like(mu, sigma), standardised)
    assert finding.verdict == verdict
    assert words in finding.cause
    assert bool(finding.remedy) == (verdict != "ok")


def network(standardised: bool) -> diffusion.Diffusion:
    made = diffusion.build(CONFIG.train_diffusion, LATENT, memory.NO_RANGES)
    if standardised:
        made.standardise(3 * MU + 1, CONDITIONS)
    return made


def test_the_scale_factor_belongs_to_the_latents_it_was_measured_on() -> None:
    assert latents_check.check_scale(network(True), 3 * MU + 1, CONDITIONS).verdict == "ok"
    assert "std 1.00" in latents_check.check_scale(network(True), 3 * MU + 1, CONDITIONS).found
    other = latents_check.check_scale(network(True), 6 * MU, CONDITIONS)
    assert other.verdict == "error"
    assert "trained on other latents" in other.cause


def test_a_model_without_a_scale_factor_says_so_and_another_shape_is_an_error() -> None:
    assert latents_check.check_scale(network(False), 6 * MU, CONDITIONS)[1:3] == ("none in the diffusion model", "ok")
    assert "(3, 4, 6, 4), these are (2, 4, 6, 4)" in latents_check.check_scale(network(False), MU[:, :2], CONDITIONS).cause
