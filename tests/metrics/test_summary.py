import json

import numpy as np
import pytest
import torch

from brainldm.core.errors import DataError
from brainldm.metrics import summary
from brainldm.metrics.diversity import diversity, reconstruction
from brainldm.metrics.ssim import ms_ssim


def test_obedience_finds_a_planted_line_and_names_every_n() -> None:
    generator = np.random.default_rng(1)
    asked = generator.uniform(10, 100, 200)
    found = summary.obedience("ventricles", "ml", asked, 0.9 * asked + 7 + generator.normal(0, 2, 200), bootstrap=200, seed=3)
    assert found["ventricles_slope"] == pytest.approx(0.9, abs=0.02)
    assert found["ventricles_intercept_ml"] == pytest.approx(7, abs=1)
    assert found["ventricles_bias_ml"] == pytest.approx(7 - 0.1 * asked.mean(), abs=0.5)
    low, high = found["ventricles_r_ci"]
    assert low < found["ventricles_r"] < high
    values = [key for key in found if not key.endswith(("_ci", "_n"))]
    assert len(values) == 5
    assert all(found[f"{key}_n"] == 200 for key in values)


def test_a_kind_ends_the_keys() -> None:
    found = summary.obedience("age", "years", np.arange(9.0), np.arange(9.0) ** 2, bootstrap=50, seed=3, kind="real")
    assert {"age_r_real", "age_r_real_ci", "age_r_real_n", "age_mae_years_real"} <= set(found)


def test_what_cannot_be_computed_is_null_in_json() -> None:
    found = summary.obedience("age", "years", np.arange(9.0), np.ones(9), bootstrap=20, seed=3)
    assert json.loads(json.dumps(found, allow_nan=False))["age_r"] is None


def test_nearness_is_1_for_new_people_and_0_for_copies() -> None:
    generator = np.random.default_rng(4)
    held_out = generator.uniform(1, 2, 200)
    fresh = summary.nearness(generator.uniform(1, 2, 300), held_out, bootstrap=100, seed=1)
    assert fresh["nearest_train_ratio_ci"][0] < 1 < fresh["nearest_train_ratio_ci"][1]
    assert fresh["nearest_train_ratio_n"] == 300
    assert summary.nearness(np.zeros(50), held_out, bootstrap=10, seed=1)["nearest_train_ratio"] == 0
    with pytest.raises(DataError, match="split leaks"):
        summary.nearness(held_out, np.zeros(5), bootstrap=10, seed=1)


def test_psnr_of_a_known_error() -> None:
    images = np.zeros((2, 1, 4, 4, 4), np.float32)
    np.testing.assert_allclose(summary.psnr_db(images, images + np.array([0.1, 0.01]).reshape(2, 1, 1, 1, 1)), [20, 40])


def test_diversity_is_the_mean_over_all_pairs_and_copies_are_all_alike() -> None:
    volumes = np.random.default_rng(6).random((5, 1, 16, 16, 16), np.float32)
    found = diversity(lambda places: volumes[places], 5, 1000, 7, torch.device("cpu"))
    first, second = np.triu_indices(5, 1)
    expected = ms_ssim(torch.from_numpy(volumes[first]), torch.from_numpy(volumes[second])).mean().item()
    assert found["ms_ssim_n"] == found["g4r_ssim_n"] == 10
    assert found["ms_ssim"] == pytest.approx(expected, abs=1e-5)
    copies = diversity(lambda places: volumes[0 * places], 5, 1000, 7, torch.device("cpu"), "real")
    assert copies["ms_ssim_real"] == pytest.approx(1, abs=1e-5)
    assert copies["g4r_ssim_real"] == pytest.approx(1, abs=1e-5)


def test_all_pairs_of_a_sample_have_the_mean_of_all_pairs_and_an_interval() -> None:
    volumes = np.random.default_rng(8).random((6, 1, 10, 10, 10), np.float32)
    found = diversity(lambda places: volumes[places], 6, 4, 7, torch.device("cpu"), "real", sample=5)
    everyone = diversity(lambda places: volumes[places], 6, 15, 7, torch.device("cpu"), "real", sample=9)
    assert found["ms_ssim_all_pairs_real_n"] == 10
    assert everyone["ms_ssim_all_pairs_real"] == pytest.approx(everyone["ms_ssim_real"])
    low, high = everyone["ms_ssim_all_pairs_real_ci"]
    assert low < everyone["ms_ssim_all_pairs_real"] < high
    assert "ms_ssim_all_pairs" not in diversity(lambda places: volumes[places], 6, 4, 7, torch.device("cpu"))


def test_a_reconstruction_is_scored_with_its_own_original() -> None:
    originals = np.random.default_rng(9).random((3, 1, 12, 12, 12), np.float32)
    images = originals + np.array([1e-4, 0.1, 1e-4], np.float32).reshape(3, 1, 1, 1, 1)
    found = reconstruction(lambda places: images[places], lambda places: originals[places], len(images), torch.device("cpu"))
    assert found["autoencoder_psnr_db"][1] == pytest.approx(20, abs=1e-3)
    assert found["autoencoder_ms_ssim"][0] == pytest.approx(1, abs=1e-4)
    assert found["autoencoder_ms_ssim"][1] < found["autoencoder_ms_ssim"][2]
    assert found["sharpness_reconstruction"].shape == (3,)
