"""A diffusion step: draws that belong to places of the batch, weights against their definition, targets that are the rows' own."""

from pathlib import Path

import pytest
import torch
import yaml

from brainldm.core.config import TrainDiffusion, parse
from brainldm.core.covariates import Ranges
from brainldm.models import denoising, diffusion
from brainldm.models.schedule import scaled_linear

OPTIONS = parse(yaml.safe_load((Path(__file__).parents[1] / "tiny/config.yaml").read_text())).train_diffusion
LATENT = (3, 4, 6, 4)
SCHEDULE = scaled_linear(1000, 0.0015, 0.0205)
TIMESTEPS = torch.tensor([0, 10, 100, 250, 400, 700, 999])
PREDICTIONS = pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])


def options(**changes: object) -> TrainDiffusion:
    return OPTIONS.model_copy(update=changes)


def network(chosen: TrainDiffusion) -> diffusion.Diffusion:
    torch.manual_seed(0)
    return diffusion.build(chosen, LATENT, Ranges((0, 44, 10, 1000), (1, 82, 110, 1500)))


def test_the_signal_to_noise_ratio_is_that_of_the_noisy_latents() -> None:
    signal, spread = SCHEDULE.coefficients(TIMESTEPS, 5)
    assert torch.allclose(SCHEDULE.snr(TIMESTEPS, 5), (signal / spread) ** 2, rtol=1e-4)
    assert SCHEDULE.snr(TIMESTEPS, 5).shape == (7, 1, 1, 1, 1)


@PREDICTIONS
def test_min_snr_weighs_the_error_of_the_clean_latent_by_the_clamped_ratio(prediction: str) -> None:
    """The definition (Hang et al. 2023): min(SNR, 5) |x0 - x0_predicted|^2, here from predictions that are off by a known amount."""
    model = network(options(prediction=prediction))
    clean, noise, off = torch.randn(3, len(TIMESTEPS), *LATENT, dtype=torch.float64)
    signal, spread = (part.double() for part in SCHEDULE.coefficients(TIMESTEPS, 5))
    target = model.target(clean, noise, TIMESTEPS)
    noisy, predicted = signal * clean + spread * noise, target + off
    found = (noisy - spread * predicted) / signal if prediction == "epsilon" else signal * noisy - spread * predicted
    defined = ((signal / spread) ** 2).clamp(max=5) * (found - clean) ** 2
    weight = denoising.min_snr_weight(SCHEDULE.snr(TIMESTEPS, 5), 5.0, prediction)
    assert torch.allclose(weight * (predicted - target) ** 2, defined, rtol=1e-3)


def test_min_snr_weights_have_their_published_limits() -> None:
    snr = SCHEDULE.snr(torch.arange(1000), 1)
    epsilon, velocity = (denoising.min_snr_weight(snr, 5.0, prediction) for prediction in ("epsilon", "v_prediction"))
    noisy = snr <= 5
    assert torch.equal(epsilon[noisy], torch.ones_like(epsilon[noisy]))
    assert torch.allclose(epsilon[~noisy], 5 / snr[~noisy])
    assert torch.allclose(velocity, epsilon * snr / (snr + 1))
    assert velocity.max() == pytest.approx(5 / 6, abs=0.01)  # at SNR = 5


@PREDICTIONS
def test_plain_is_the_mean_squared_error_and_min_snr_another(prediction: str) -> None:
    predicted, target = torch.randn(2, len(TIMESTEPS), *LATENT)
    plain, logged = denoising.loss(network(options()), predicted, target, TIMESTEPS, options(prediction=prediction))
    assert torch.equal(plain, torch.nn.functional.mse_loss(predicted, target))
    assert set(logged) == {"mse"}
    chosen = options(prediction=prediction, loss_weighting="min_snr")
    weighted, logged = denoising.loss(network(options()), predicted, target, TIMESTEPS, chosen)
    weight = denoising.min_snr_weight(SCHEDULE.snr(TIMESTEPS, 1), 5.0, prediction)
    by_row = ((predicted - target) ** 2).mean((1, 2, 3, 4))
    assert torch.allclose(weighted, (weight * by_row).mean(), rtol=1e-5)
    assert torch.equal(logged["mse"], plain)
    assert torch.equal(logged["min_snr"], weighted)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_draws_belong_to_places_of_the_batch_however_many_processes_share_it(dropout: float) -> None:
    chosen, shares = options(batch_size=8, condition_dropout=dropout), [slice(0, 2), slice(2, 4), slice(4, 8)]
    torch.manual_seed(1)
    whole = denoising.draw(chosen, LATENT, slice(0, 8), torch.device("cpu"))
    parts = []
    for mine in shares:
        torch.manual_seed(1)
        parts.append(denoising.draw(chosen, LATENT, mine, torch.device("cpu")))
    for one, *shared in zip(whole, *parts, strict=True):
        assert torch.equal(one, torch.cat(shared)) if one is not None else dropout == 0


def test_drop_out_takes_its_share_of_rows_and_changes_no_other_draw() -> None:
    torch.manual_seed(2)
    plain = denoising.draw(options(batch_size=4000), (1, 1, 1, 1), slice(0, 4000), torch.device("cpu"))
    torch.manual_seed(2)
    able = denoising.draw(options(batch_size=4000, condition_dropout=0.1), (1, 1, 1, 1), slice(0, 4000), torch.device("cpu"))
    assert plain.dropped is None
    assert able.dropped is not None
    assert able.dropped.float().mean().item() == pytest.approx(0.1, abs=0.02)
    assert all(torch.equal(one, other) for one, other in zip(plain[:3], able[:3], strict=True))
    assert set(plain.timesteps.tolist()) <= set(range(1000))
