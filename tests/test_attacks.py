"""All attacks together, on planted people: a sound release and sound models pass, copies and models fitted for too long do not."""

from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import torch
from overfitted import LATENT, Linear, fitted
from scipy.ndimage import gaussian_filter

from brainldm import attacks
from brainldm.core.config import Evaluate
from brainldm.core.gate import NO_LEAK
from brainldm.metrics import audit, membership
from brainldm.models import panel

SHAPE, SPACING_MM = (12, 12, 12), 5.0
N_TRAIN, N_HELD_OUT, N, PLANTED = 220, 160, 300, 24
SEEN = 8  # training scans to which the models are fitted for too long
OPTIONS = Evaluate(batch_size=50, ssim_pairs=2, bootstrap=1, ladder_steps=2, planted_copies=PLANTED, attacked_scans=300)


def _people(seed: int, n: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Covariates and smooth volumes [n,1,I,J,K] of one population."""
    generator = np.random.default_rng([17, seed])
    covariates = generator.uniform((44, 10, 1000), (82, 110, 1500), (n, 3))
    table = pd.DataFrame(covariates, columns=["age_years", "ventricles_ml", "brain_ml"]).assign(sex=np.where(np.arange(n) % 2, "F", "M"))
    smooth = gaussian_filter(generator.standard_normal((n, 1, *SHAPE)), (0, 0, 1.5, 1.5, 1.5))
    return table, (0.5 + 0.6 * smooth).astype(np.float32)


TABLE, SCANS = _people(1, N_TRAIN + N_HELD_OUT)
TABLE = TABLE.assign(participant_id=[f"sub-{index}" for index in range(len(TABLE))])
TRAIN, HELD_OUT = np.arange(N_TRAIN), np.arange(N_TRAIN, N_TRAIN + N_HELD_OUT)


def _latents(places: np.ndarray) -> np.ndarray:
    """Latent means [N,*LATENT]: blocks of the scans, of unit variance, once for each channel."""
    blocks = SCANS[places].reshape(len(places), 4, 3, 4, 3, 4, 3).mean((2, 4, 6))
    return np.stack([(blocks - 0.5) / SCANS.std()] * LATENT[0], axis=1).astype(np.float16)


def _described(images: np.ndarray) -> dict[str, np.ndarray]:
    blocks = images.reshape(len(images), 4, 3, 4, 3, 4, 3).mean((2, 4, 6)).reshape(len(images), -1)
    low = audit.low_resolution(images, SPACING_MM)
    return {"image": low, "texture": membership.texture(images, SPACING_MM), "mu": blocks, "features": blocks[:, ::3]}


def _attacked() -> attacks.Attacked:
    described = _described(SCANS)
    spaces = {name: lambda places, values=values: values[places] for name, values in described.items()}
    return attacks.choose(TABLE, TRAIN, HELD_OUT, OPTIONS, spaces)


def _of_volumes(synthetic: np.ndarray, planted: bool = True) -> dict[str, dict[str, attacks.Attack]]:
    attacked = _attacked()
    halves = [attacked.nearest(_described(part)) for part in (synthetic[::2], synthetic[1::2])]
    nearest = {name: np.concatenate([half[name] for half in halves]) for name in halves[0]}
    copies = audit.altered(SCANS[:PLANTED], 100.0, np.random.default_rng(3))
    return attacks.on_volumes(attacked, nearest, {"altered": attacked.nearest(_described(copies))} if planted else {})


def test_new_people_pass_and_planted_copies_are_seen() -> None:
    found = _of_volumes(_people(2, N)[1])
    figures, table = attacks.entries(found)
    assert figures["membership_images"] == NO_LEAK
    assert figures["membership_images_control_auc"] >= 0.9
    assert figures["membership_images_attacks"] == 4
    for name in ("image_nearest", "image_density_ratio"):
        assert table["images"][name]["auc_ci"][0] < 0.5 < table["images"][name]["auc_ci"][1]
        assert table["images"][name]["control_auc"] >= 0.9
        assert table["images"][name]["unusual_auc_n"] + table["images"][name]["unusual_n_others"] == 38
    assert table["images"]["without_release"]["control_auc"] is None


@pytest.mark.parametrize("share", [1.0, 0.2])
def test_a_release_of_altered_training_scans_is_caught_also_where_one_in_five_was_copied(share: float) -> None:
    stolen = audit.altered(SCANS[: int(share * N_TRAIN)], 100.0, np.random.default_rng(4))
    figures, table = attacks.entries(_of_volumes(np.concatenate([_people(2, N)[1], stolen])))
    assert figures["membership_images"] == membership.LEAK
    assert table["images"]["image_nearest"]["tpr"] > 0.8 * share
    assert figures["membership_autoencoder"] == membership.LEAK
    assert figures["membership_age"] == membership.LEAK


def test_without_planted_copies_or_held_out_people_nothing_is_called_safe() -> None:
    synthetic = _people(2, N)[1]
    assert attacks.entries(_of_volumes(synthetic, planted=False))[0]["membership_images"] == membership.TOO_LITTLE
    described = _described(SCANS)
    spaces = {name: lambda places, values=values: values[places] for name, values in described.items()}
    alone = attacks.choose(TABLE, TRAIN, HELD_OUT[:0], OPTIONS, spaces)
    figures, table = attacks.entries(attacks.on_volumes(alone, alone.nearest(_described(synthetic)), {}))
    assert figures["membership_images"] == membership.TOO_LITTLE
    assert "membership_images_auc" not in figures
    assert table["images"]["image_nearest"]["auc"] is None


def test_features_of_a_network_that_saw_no_scan_belong_to_the_volumes() -> None:
    options = OPTIONS.model_copy(update={"features": "resnet_50.pth"})
    spaces = _attacked().spaces
    assert attacks.choose(TABLE, TRAIN, HELD_OUT, options, spaces).targets["features"] == "images"


def test_one_scan_of_each_person_is_attacked() -> None:
    table = pd.DataFrame({"participant_id": ["a", "b", "a", "c", "b"]})
    np.testing.assert_array_equal(attacks.one_each(table, np.array([4, 2, 0, 1, 3])), [4, 2, 3])


def _panel(coder: Any, denoiser: Any) -> panel.Panel:
    parts = (None, None, coder, lambda: denoiser, None, "planted", torch.device("cpu"), OPTIONS.batch_size)
    return panel.Panel(*cast("Any", parts))


@pytest.mark.parametrize("fitted_to", ["training scans", "others"])
def test_models_that_were_fitted_for_too_long_are_caught_and_models_of_other_people_are_not(fitted_to: str) -> None:
    attacked = _attacked()
    conditions = torch.rand(SEEN, 4, generator=torch.Generator().manual_seed(2))
    if fitted_to == "others":
        coder = Linear(_people(5, 60)[1])
        denoiser = fitted(torch.randn(SEEN, *LATENT, generator=torch.Generator().manual_seed(3)), conditions)
    else:
        coder = Linear(SCANS[:150])
        denoiser = fitted(torch.from_numpy(_latents(TRAIN[:SEEN])).float(), conditions)
    nets = _panel(coder, denoiser)

    def means(places: np.ndarray) -> np.ndarray:
        return coder.encode(torch.from_numpy(SCANS[places]))[0].numpy()

    of_coder = attacks.on_autoencoder(attacked, nets, lambda places: SCANS[places], means)
    of_denoiser = attacks.on_diffusion(attacked, nets, _latents, seed=3)
    assert all(attack.control_auc >= 0.9 for attack in [*of_coder.values(), *of_denoiser.values()])
    verdicts = [membership.verdict(attacks_on) for attacks_on in (of_coder, of_denoiser)]
    if fitted_to == "others":
        assert verdicts == [NO_LEAK, NO_LEAK]
    else:
        assert min(attack.found["tpr"] for attack in of_coder.values()) > 0.6
        assert of_denoiser["denoising_loss"].found["tpr"] >= 0.9 * SEEN / N_TRAIN  # all that it saw, of many that it did not
        assert verdicts[0] == membership.LEAK
