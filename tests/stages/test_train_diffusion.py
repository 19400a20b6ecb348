"""The stage train_diffusion: a row's target is its own latent, unaugmented, and its covariates are its own; the options train."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch

from brainldm.core import copula
from brainldm.core.covariates import Ranges, covariate_array
from brainldm.core.files import write_json
from brainldm.core.requests import CovariateModel
from brainldm.formats.tables import write_tsv
from brainldm.models import denoising, diffusion, latents
from brainldm.stages import train_diffusion

N, LATENT = 12, (3, 4, 6, 4)
GRID = {"shape": [16, 24, 16], "spacing_mm": 10.0, "center_mm": [0, -17, 7]}
OPTIONS: dict[str, Any] = {
    "channels": [8], "attention_levels": [True], "head_channels": [8], "space_to_depth": 1, "position_channels": 0, "res_blocks": 1,
    "norm_groups": 4, "prediction": "epsilon", "ema_decay": 0.9, "standardise": False, "steps": 6, "batch_size": 4, "learning_rate": 1e-3,
    "warmup_steps": 1,
}  # fmt: skip
USED: tuple[str, ...] = ()  # every augmentation of train_diffusion: none
FALSIFYING: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "mirrored": lambda latents: latents.flip(2),
    "moved": lambda latents: latents.roll(1, 3),
    "scaled": lambda latents: torch.nn.functional.interpolate(latents[:, :, 1:-1, 1:-1, 1:-1], LATENT[1:]),  # ventricles and brain grow
    "brightened": lambda latents: 1.03 * latents,
    "noisier": lambda latents: latents + 0.01 * torch.randn_like(latents),
}


class Inputs(NamedTuple):
    """The files of a training, what stands in them, and what the network should be told of every row."""

    folder: Path
    mu: torch.Tensor
    sigma: torch.Tensor
    conditions: torch.Tensor
    ranges: Ranges  # rounded bounds: no participant's own value


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    generator = torch.Generator().manual_seed(0)
    mu = torch.randn(N, *LATENT, generator=generator).half()
    sigma = (0.1 + torch.rand(N, *LATENT, generator=generator)).half()
    names = [f"sub-{index}" for index in range(N)]
    latents.write_file(latents.file_of(tmp_path / "latents.json", 0), mu, sigma, names, "a test")
    latents.write_manifest(tmp_path / "latents.json", [names])
    table = pd.DataFrame({"participant_id": names, "split": ["train", "train", "test"] * (N // 3), "age_years": np.linspace(45, 80, N)})
    table = table.assign(
        sex=["F", "M"] * (N // 2), volume="none", ventricles_ml=20 + 5 * np.arange(N) % 12, brain_ml=1400 + 7 * np.arange(N) ** 2 % 11
    )
    write_tsv(tmp_path / "covariates.tsv", table)
    trained = table["split"] == "train"
    model = copula.fit(covariate_array(table[trained]), CovariateModel(), "table")
    write_json(tmp_path / "model.json", model.model_dump(mode="json"))
    ranges = model.ranges()
    conditions = torch.from_numpy(ranges.scale(covariate_array(table[trained])))
    chosen = torch.tensor(trained.tolist())
    return Inputs(tmp_path, mu.float()[chosen], sigma.float()[chosen], conditions, ranges)


def train(inputs: Inputs, **changes: object) -> diffusion.Diffusion:
    folder = inputs.folder
    section = {"stage": "train_diffusion", "seed": 1, "precision": "32-true", "grid": GRID, "section": OPTIONS | changes}
    write_json(folder / "section.json", section)
    files = (folder / name for name in ("section.json", "covariates.tsv", "model.json", "latents.json", "model.safetensors"))
    train_diffusion.main(*files, device="cpu")
    return diffusion.load(folder / "model.safetensors")


def spy(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, what: Callable[..., Any]) -> list[Any]:
    """What is seen of every call, which goes on to the true function."""
    seen: list[Any] = []
    true = getattr(owner, name)

    def watched(*args: Any) -> Any:
        result = true(*args)
        seen.append(what(result, *args))
        return result

    monkeypatch.setattr(owner, name, watched)
    return seen


def test_the_target_of_a_row_is_its_own_latent_and_no_augmentation_is_used(inputs: Inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    draws = spy(monkeypatch, denoising, "draw", lambda result, *_: result)
    cleans = spy(monkeypatch, diffusion.Diffusion, "target", lambda _, network, clean, noise, timesteps: clean)
    given = spy(
        monkeypatch, diffusion.Diffusion, "forward", lambda _, network, x, timesteps, conditions, dropped: (x, timesteps, conditions)
    )
    model = train(inputs)
    assert len(draws) == len(cleans) == len(given) == OPTIONS["steps"]
    met = set()
    for drawn, clean, (x, timesteps, conditions) in zip(draws, cleans, given, strict=True):
        rows = [int((inputs.conditions == condition).all(1).nonzero().squeeze()) for condition in conditions]
        latent = clean * model.latent_spread
        assert torch.allclose(latent, inputs.mu[rows] + inputs.sigma[rows] * drawn.latent_noise, atol=1e-5)
        signal, spread = model.schedule.coefficients(timesteps, 5)
        assert torch.equal(x, signal * clean + spread * drawn.noise)
        for name, augmented in FALSIFYING.items():  # each would have been seen
            assert name in USED or not torch.allclose(
                latent, augmented(inputs.mu[rows]) + inputs.sigma[rows] * drawn.latent_noise, atol=1e-5
            )
        met |= set(rows)
    assert met == set(range(len(inputs.mu)))  # three epochs: every training scan, and no other


def test_standardised_or_not_a_row_keeps_its_latent(inputs: Inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    draws = spy(monkeypatch, denoising, "draw", lambda result, *_: result)
    cleans = spy(monkeypatch, diffusion.Diffusion, "target", lambda _, network, clean, noise, timesteps: clean)
    given = spy(monkeypatch, diffusion.Diffusion, "forward", lambda _, network, x, timesteps, conditions, dropped: conditions)
    model = train(inputs, standardise=True)
    for drawn, clean, conditions in zip(draws, cleans, given, strict=True):
        rows = [int((inputs.conditions == condition).all(1).nonzero().squeeze()) for condition in conditions]
        latents = inputs.mu[rows] + inputs.sigma[rows] * drawn.latent_noise
        assert torch.allclose(model.to_latents(clean, conditions), latents, atol=1e-4)


def test_a_model_trained_with_drop_out_learns_its_no_condition_and_can_be_guided(inputs: Inputs) -> None:
    plain, able = train(inputs), train(inputs, condition_dropout=0.5)
    assert plain.no_condition is None
    assert able.no_condition is not None
    assert not torch.equal(able.no_condition, torch.full((4,), -1.0))  # it started there
    able.check_guidance(2.0)
    assert able.ranges == inputs.ranges


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_min_snr_is_logged_beside_the_error_and_gives_other_weights(inputs: Inputs, prediction: str) -> None:
    plain, weighted = train(inputs, prediction=prediction), train(inputs, prediction=prediction, loss_weighting="min_snr")
    log = pd.read_csv(inputs.folder / "log.csv")
    assert log["min_snr"].iloc[0] < log["mse"].iloc[0]
    assert not torch.equal(plain.state_dict()["network.conv_in.conv.weight"], weighted.state_dict()["network.conv_in.conv.weight"])
