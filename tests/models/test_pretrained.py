"""A run packed: half the bytes, nearly the same volumes, and a recipe of what made them."""

from pathlib import Path

import pytest
import torch
import yaml

from brainldm.core.config import parse, section_json
from brainldm.core.covariates import Ranges
from brainldm.core.errors import DataError
from brainldm.core.files import read_json, sha256, write_json, write_text
from brainldm.models import autoencoder, checkpoint, diffusion, pretrained

CONFIG = parse(yaml.safe_load((Path(__file__).parents[1] / "tiny/config.yaml").read_text()))


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    coder = autoencoder.build(CONFIG.train_autoencoder, CONFIG.grid)
    latent = coder.latent_shape(CONFIG.grid.shape)
    for name, network in (
        ("autoencoder", coder),
        ("diffusion", diffusion.build(CONFIG.train_diffusion, latent, Ranges((0.0,) * 4, (1.0,) * 4))),
    ):
        checkpoint.save(folder / f"train_{name}/model.safetensors", network.state_dict(), network.spec)
    for stage in ("generate", "train_diffusion"):
        write_text(folder / f"configure/{stage}.json", section_json(CONFIG, stage))
    write_json(folder / "evaluate/report.json", {"ventricles_r": 0.5, "private": 1.5, "plots": {"x": 1}})
    return folder


def test_a_packed_model_loads_without_more_and_tells_what_made_it(tmp_path: Path, results: Path) -> None:
    out = tmp_path / "packed"
    section = read_json(results / "configure/train_diffusion.json")
    section["section"]["somewhere"] = "/home/me/scans"
    write_json(results / "configure/train_diffusion.json", section)
    told = {"command": "make demo", "hardware": "none"}
    pretrained.pack(results, out, told, publishable=lambda report: {key: value for key, value in report.items() if key != "private"})
    given, packed = pretrained.find(results), pretrained.find(out)
    for before, after, load in zip(given[:2], packed[:2], (autoencoder.load, diffusion.load), strict=True):
        assert after.stat().st_size < 0.6 * before.stat().st_size
        whole, half = load(before).state_dict(), load(after).state_dict()
        for name, tensor in whole.items():
            assert half[name].dtype == torch.float32
            torch.testing.assert_close(half[name], tensor, rtol=1e-3, atol=1e-6)
    recipe = read_json(out / "recipe.json")
    assert (recipe["command"], recipe["measured"]) == ("make demo", {"ventricles_r": 0.5})
    assert recipe["configuration"]["train_diffusion"]["somewhere"] == "(a path)"
    assert recipe["configuration"]["train_diffusion"]["steps"] == CONFIG.train_diffusion.steps
    assert recipe["files"]["diffusion"]["made_from_sha256"] == sha256(given.diffusion)
    assert read_json(out / pretrained.SECTION)["section"]["steps"] == CONFIG.generate.steps


def test_weights_that_do_not_fit_in_16_bits_are_refused(tmp_path: Path, results: Path) -> None:
    path = pretrained.find(results).diffusion
    tensors, spec = checkpoint.load(path, "diffusion")
    checkpoint.save(path, tensors | {"where": tensors["where"] + 1e6}, spec)
    with pytest.raises(DataError, match="within the range of 16-bit floats, found others in where"):
        pretrained.pack(results, tmp_path / "packed", {})
    assert not (tmp_path / "packed").exists()
