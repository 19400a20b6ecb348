"""Generators that are broken in one way each: the figure meant for it must fail, and a sound generator must pass all."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.ndimage import gaussian_filter

from brainldm.metrics import audit, conditioning, diversity, fidelity, summary, verdicts
from brainldm.metrics.sharpness import sharpness

SHAPE, BOOTSTRAP, SEED = (14, 16, 14), 50, 1
N_TRAIN, N_HELD_OUT, N = 150, 100, 120


@cache
def _people(seed: int, n: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Covariates and volumes [n,1,I,J,K]: a ball whose dark core has the volume of the ventricles, and folds of each one's own.

    The age brightens its upper half, the brain volume its lower one.
    """
    generator = np.random.default_rng([9, seed])
    drawn = {"ventricles_ml": generator.uniform(10, 60, n), "age_years": generator.uniform(45, 80, n)}
    table = pd.DataFrame({**drawn, "brain_ml": generator.uniform(450, 800, n), "sex": "F"})
    return table, _images(table, generator)


X, Y, Z = np.meshgrid(*(np.linspace(-1, 1, side) for side in SHAPE), indexing="ij")
RADIUS = np.sqrt(X**2 + Y**2 + Z**2)
HALVES = Z > 0, Z < 0


def _images(asked: pd.DataFrame, generator: np.random.Generator) -> np.ndarray:
    ventricles_ml, age_years, brain_ml = (
        asked[name].to_numpy()[:, None, None, None] for name in ("ventricles_ml", "age_years", "brain_ml")
    )
    folds = gaussian_filter(generator.standard_normal((len(asked), *SHAPE)), (0, 0.8, 0.8, 0.8))
    core = 0.4 / (1 + np.exp((RADIUS - np.cbrt(ventricles_ml / 100)) / 0.05))
    head = (RADIUS < 1) * (0.4 + 0.005 * np.where(HALVES[0], age_years, brain_ml / 10) + 0.5 * folds)
    return np.clip(head - core, 0, 1)[:, None].astype(np.float32)


def _measured(images: np.ndarray) -> dict[str, np.ndarray]:
    """What a ruler reads from images alone: how dark the core is, and how bright the rim of each half."""
    rims = [images[:, 0][:, (RADIUS > 0.9) & (RADIUS < 1) & half].mean(1) for half in HALVES]
    inside = [images[:, 0][:, (RADIUS < 0.9) & half] for half in HALVES]
    dark = sum((rim[:, None] - values).sum(1) for rim, values in zip(rims, inside, strict=True))
    years, tenths = (200 * (rim - 0.4) for rim in rims)
    return {"measured_ventricles_ml": dark, "age_predicted_years": years, "measured_brain_ml": 10 * tenths}


def _features(images: np.ndarray) -> np.ndarray:
    """A random projection, standing for the age model's last block."""
    flat = audit.low_resolution(images, 5.0).astype(float)
    return flat @ np.random.default_rng(2).standard_normal((flat.shape[1], 12))


def _report(asked: pd.DataFrame, images: np.ndarray) -> dict:
    """The figures that evaluate has, by the functions that it calls."""
    (_, train), (held_out_table, held_out) = _people(1, N_TRAIN), _people(2, N_HELD_OUT)
    table = asked.assign(**_measured(images), qc_pass=True, attempt=0, rejected="", qc_reason="")
    held_out_table = held_out_table.assign(age_predicted_years=_measured(held_out)["age_predicted_years"])
    real = np.concatenate([train, held_out])
    sharp = {"sharpness": sharpness(images), "sharpness_real": sharpness(real)}
    return {
        **conditioning.conditioning(table, held_out_table, BOOTSTRAP, SEED),
        **fidelity.fidelity(_features(real), _features(images), SEED),
        **_alike(images, ""),
        **_alike(real, "reconstruction"),
        **summary.means_of(sharp, BOOTSTRAP, SEED),
        **_audit(train, held_out, images),
    }


def _alike(images: np.ndarray, kind: str) -> dict:
    """An autoencoder that loses nothing makes reconstructions as alike as real scans."""
    return diversity.diversity(lambda places: images[places], len(images), 100, SEED, torch.device("cpu"), kind)


def _audit(train: np.ndarray, held_out: np.ndarray, images: np.ndarray) -> dict:
    low = [audit.low_resolution(volumes, 10.0) for volumes in (train, held_out, images)]
    detector = audit.detector({"image": audit.Space(low[0], low[1])})
    copies = audit.altered(train[:40], 10.0, np.random.default_rng(4))
    planted = {"altered": detector({"image": audit.low_resolution(copies, 10.0)})["copy_score"]}
    return audit.audit(detector({"image": low[2]})["copy_score"], audit.false_alarms(detector.held_out), planted, 0.05)


def _failed(asked: pd.DataFrame, images: np.ndarray) -> set[str]:
    return verdicts.failed(verdicts.verdicts(_report(asked, images)))


def test_a_sound_generator_passes_everything() -> None:
    assert _failed(*_people(3, N)) == set()


def test_ignoring_the_conditions_is_caught_by_r_alone() -> None:
    asked, images = _people(3, N)
    partial = {"ventricles_partial_r", "brain_partial_r", "age_partial_r"}
    # The planted ruler knows no mL, so its slope says nothing.
    assert _failed(asked, images[::-1]) == {"ventricles_r", "brain_r", "age_r"} | partial


@pytest.mark.parametrize("deaf_to", ["ventricles", "brain", "age"])
def test_a_generator_that_guesses_one_covariate_from_the_others_is_caught_by_the_partial_r(deaf_to: str) -> None:
    asked, _ = _people(3, N)
    own = np.random.default_rng(8).standard_normal((3, N))
    common = (asked["age_years"] - 62.5) / 10  # covariates that go together, as people's do
    asked = asked.assign(ventricles_ml=35 + 9 * common + 3 * own[0], brain_ml=625 - 90 * common + 30 * own[1])
    column, end = {"ventricles": "ventricles_ml", "brain": "brain_ml", "age": "age_years"}[deaf_to], f"{deaf_to}_partial_r"
    others = np.column_stack([np.ones(N), asked.drop(columns=[column, "sex"])])
    guessed = others @ np.linalg.lstsq(others, asked[column], rcond=None)[0]
    sound, deaf = (_images(table, np.random.default_rng(9)) for table in (asked, asked.assign(**{column: guessed})))
    assert not {end} & _failed(asked, sound)
    assert end in _failed(asked, deaf)
    assert _report(asked, deaf)[f"{deaf_to}_r"] > 0.8  # r alone


def test_obeying_by_next_to_nothing_is_caught_by_the_slope() -> None:
    assert verdicts.failed(verdicts.verdicts({"ventricles_r": 0.989, "ventricles_slope": 0.0035})) == {"ventricles_slope"}


def test_collapse_to_three_volumes_is_caught_by_similarity_recall_and_coverage() -> None:
    asked, images = _people(3, N)
    few = np.concatenate([images[:3]] * (N // 3))
    assert {"ms_ssim", "recall", "coverage"} <= _failed(asked, few)


def test_a_memoriser_is_caught_by_the_audit_alone() -> None:
    table, train = _people(1, N_TRAIN)
    noise = 0.01 * np.random.default_rng(6).standard_normal(train[:N].shape)
    assert _failed(table[:N], np.clip(train[:N] + noise, 0, 1).astype(np.float32)) == {"audit"}


@pytest.mark.parametrize("sigma_voxels", [0.6, 1.0])
def test_blur_is_caught_by_sharpness(sigma_voxels: float) -> None:
    asked, images = _people(3, N)
    assert "sharpness" in _failed(asked, gaussian_filter(images, (0, 0, *(sigma_voxels,) * 3)))


def test_a_figure_that_could_not_be_computed_has_not_passed() -> None:
    found = verdicts.verdicts({"age_r": 0.9, "age_r_real": None, "ventricles_r": None, "qc_pass_fraction": 1.0})
    assert verdicts.failed(found) == {"age_r", "ventricles_r"}
    assert verdicts.verdicts({"audit": audit.TOO_LITTLE})["holds no copies of training scans"]["passed"] is False
