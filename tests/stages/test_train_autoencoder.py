"""The autoencoder's training: ways to save memory change nothing else, crops are of the scans, what does not fit is refused."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scans import TINY, write_scans, write_section, write_segmenter

from brainldm.core.config import TrainAutoencoder
from brainldm.core.errors import ConfigError
from brainldm.models import autoencoder, medicalnet
from brainldm.stages.train_autoencoder import cropped, main

STEPS = {"steps": 6, "adversarial_start": 2, "learning_rate": 1e-4, "discriminator_learning_rate": 1e-4}
PLAIN = {"standardise": False, "position_channels": 0}
Trained = tuple[dict[str, torch.Tensor], list[dict[str, float]]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scans")
    write_scans(folder, TINY.grid, 8)
    write_segmenter(folder / "segmenter.safetensors")
    return folder


def train(folder: Path, out: Path, features: str = "segmenter.safetensors", **changes: Any) -> Trained:
    """Weights and losses of a few steps."""
    section = write_section(out / "section.json", "train_autoencoder", **{**STEPS, **changes})
    main(section, folder / "covariates.tsv", folder / features, out / "model.safetensors", "cpu")
    rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader((out / "log.csv").open())]
    return load_file(out / "model.safetensors"), rows


@pytest.fixture(scope="module")
def whole(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train(folder, tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize("way", [{"accumulate": 2}, {"accumulate": 4}, {"recompute": True}])
def test_saving_memory_changes_nothing_but_round_off(folder: Path, tmp_path: Path, whole: Trained, way: dict[str, Any]) -> None:
    weights, rows = train(folder, tmp_path, **way)
    for name, tensor in whole[0].items():
        assert torch.allclose(weights[name], tensor, atol=1e-5), name
    for name in ("l1", "gradient_l1", "kl", "perceptual", "adversarial", "discriminator"):
        assert rows[-1][name] == pytest.approx(whole[1][-1][name], rel=1e-5), name


def test_a_file_of_medicalnets_weights_takes_the_segmenters_place(folder: Path, tmp_path: Path, whole: Trained) -> None:
    torch.manual_seed(0)
    torch.save(medicalnet.MedicalNet("basic", [1, 1, 1, 1], "B").network.state_dict(), folder / "resnet_10.pth")
    _, rows = train(folder, tmp_path, "resnet_10.pth", perceptual="medicalnet", perceptual_weights="resnet_10.pth")
    assert np.isfinite(rows[-1]["perceptual"])
    assert rows[-1]["perceptual"] != whole[1][-1]["perceptual"]


def test_recomputed_activations_give_identical_gradients() -> None:
    torch.manual_seed(0)
    network = autoencoder.build(TINY.train_autoencoder, TINY.grid)
    images, noise = torch.rand(2, 1, *TINY.grid.shape), torch.randn(2, *network.latent_shape(TINY.grid.shape))
    gradients = []
    for _ in range(2):
        network.zero_grad()
        network(images, noise)[0].square().sum().backward()
        gradients.append({name: parameter.grad.clone() for name, parameter in network.named_parameters() if parameter.grad is not None})
        network.save_memory()
    kept, recomputed = gradients
    assert kept.keys() == recomputed.keys()
    assert len(kept) > 20
    assert all(torch.equal(kept[name], recomputed[name]) for name in kept)


def test_crops_are_of_their_scans_and_follow_from_key_and_place() -> None:
    options = TINY.train_autoencoder.model_copy(update={**PLAIN, "patch_shape": (8, 12, 4), "patch_steps": 5, "batch_size": 4})
    images = np.random.default_rng(0).random((4, 1, *TINY.grid.shape))
    crops = cropped(images, options, [1, 4, 0], slice(0, 4))
    assert crops.shape == (4, 1, 8, 12, 4)
    windows = np.lib.stride_tricks.sliding_window_view(images, (8, 12, 4), axis=(2, 3, 4))
    for place in range(4):
        assert (windows[place, 0] == crops[place, 0]).all(axis=(-3, -2, -1)).sum() == 1
    assert np.array_equal(cropped(images[2:], options, [1, 4, 0], slice(2, 4)), crops[2:])
    assert not np.array_equal(cropped(images, options, [1, 4, 1], slice(0, 4)), crops)
    assert cropped(images, options, [1, 4, 5], slice(0, 4)) is images


def test_crops_come_first_and_whole_volumes_after(folder: Path, tmp_path: Path) -> None:
    weights, rows = train(folder, tmp_path, **PLAIN, patch_shape=[16, 16, 16], patch_steps=4)
    assert np.isfinite(rows[-1]["l1"])
    network = autoencoder.load(tmp_path / "model.safetensors")
    mu, _ = network.encode(torch.rand(1, 1, *TINY.grid.shape))
    assert mu.shape[1:] == network.latent_shape(TINY.grid.shape)
    assert weights["mean"].numel() == 1


def test_a_patch_that_the_grid_or_the_network_cannot_hold_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"patch_shape: expected it to fit the grid \(16, 24, 16\), found \(32, 16, 16\)"):
        train(folder, tmp_path, **PLAIN, patch_shape=[32, 16, 16])
    values = TINY.train_autoencoder.model_dump()
    with pytest.raises(ValueError, match="multiple of 4"):
        TrainAutoencoder.model_validate({**values, **PLAIN, "patch_shape": (16, 18, 16)})
    with pytest.raises(ValueError, match="standardise: false"):
        TrainAutoencoder.model_validate({**values, "patch_shape": (16, 16, 16)})
    with pytest.raises(ValueError, match="perceptual_weights must name a file"):
        TrainAutoencoder.model_validate({**values, "perceptual": "medicalnet"})
