"""Weights: a sound file passes, each planted fault is named; files of another kind are sent where they can be converted."""

import copy
from pathlib import Path
from typing import Any

import keras_files
import pytest
import torch

from brainldm.core.config import Config
from brainldm.core.labels import DEMO
from brainldm.formats.settings import read_config
from brainldm.models import age, autoencoder, checkpoint, diffusion, memory, segmenter, weights_check

CONFIG = read_config(Path(__file__).parents[1] / "tiny/config.yaml")
NETS = memory.networks(CONFIG)


def networks(config: Config) -> dict[str, Any]:
    coder = autoencoder.build(config.train_autoencoder, config.grid)
    architecture = config.train_age.model_dump(include={"channels", "space_to_depth"})
    return {
        "segmenter": segmenter.build(config.train_segmenter, config.grid, (*DEMO, 14)),
        "autoencoder": coder,
        "diffusion": diffusion.build(config.train_diffusion, coder.latent_shape(config.grid.shape), memory.NO_RANGES),
        "age": age.AgeModel({"kind": "age", "shape": config.grid.shape, **architecture, "age_mean": 60.0, "age_sd": 9.0}),
    }


def saved(folder: Path, network: Any, tensors: dict[str, torch.Tensor] | None = None, **changes: object) -> Path:
    path = folder / "train_it/model.safetensors"
    checkpoint.save(path, network.state_dict() if tensors is None else tensors, network.spec | changes)
    return path


@pytest.mark.parametrize("kind", list(weights_check.CLASSES))
def test_a_checkpoint_of_the_configured_architecture_passes(tmp_path: Path, kind: str) -> None:
    finding = weights_check.check(saved(tmp_path, networks(CONFIG)[kind]), NETS)
    assert (finding.check, finding.verdict) == ("weights train_it/model.safetensors", "ok"), finding
    assert finding.found.startswith(kind)


@pytest.mark.parametrize(
    ("section", "changes", "kind", "words"),
    [
        ("train_autoencoder", {"channels": (8, 32)}, "autoencoder", "channels: configured [8, 16], in the file [8, 32]"),
        ("train_diffusion", {"prediction": "epsilon"}, "diffusion", "prediction: configured v_prediction, in the file epsilon"),
        ("train_autoencoder", {"latent_channels": 4}, "diffusion", "latent_shape: configured [3, 4, 6, 4], in the file [4, 4, 6, 4]"),
    ],
)
def test_another_architecture_is_an_error_that_names_the_keys(
    tmp_path: Path, section: str, changes: dict[str, object], kind: str, words: str
) -> None:
    other = CONFIG.model_copy(update={section: getattr(CONFIG, section).model_copy(update=changes)})
    finding = weights_check.check(saved(tmp_path, networks(other)[kind]), NETS)
    assert finding.verdict == "error"
    assert words in finding.cause
    assert f"train_{kind}" in finding.remedy


def test_tensors_that_do_not_fit_the_files_own_spec_are_named(tmp_path: Path) -> None:
    network = networks(CONFIG)["age"]
    tensors = copy.copy(network.state_dict())
    del tensors["head.bias"]
    finding = weights_check.check(saved(tmp_path, network, tensors | {"more": torch.zeros(2)}), NETS)
    assert finding.verdict == "error"
    assert "head.bias: expected (1,), found none; more: expected none, found (2,)" in finding.cause


def test_a_file_of_another_kind_or_a_damaged_one_is_an_error(tmp_path: Path) -> None:
    latents = tmp_path / "latents.safetensors"
    checkpoint.save(latents, {"mu": torch.zeros(1)}, {"kind": "latents"})
    assert "found 'latents'" in weights_check.check(latents, NETS).cause
    latents.write_bytes(latents.read_bytes()[:20])
    assert "none that can be read" in weights_check.check(latents, NETS).cause
    assert "No such file" in weights_check.check(tmp_path / "absent.safetensors", NETS).cause
    foreign = weights_check.check(tmp_path / "diffusion_model.pth", NETS)
    assert foreign.verdict == "error"
    assert "brainldm bundle import" in foreign.remedy


def test_synthseg_weights_are_loaded(tmp_path: Path) -> None:
    path = keras_files.write(tmp_path / "synthseg_2.0.h5", keras_files.random_layers())
    assert weights_check.check(path, NETS)[1:3] == ("SynthSeg, 33 labels", "ok")
    path.write_bytes(b"no HDF5 file")
    finding = weights_check.check(path, NETS)
    assert finding.verdict == "error"
    assert "synthseg_2.0.h5" in finding.cause
