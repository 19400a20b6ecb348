import dataclasses
import sys
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

sys.path.append(str(Path(__file__).parents[1] / "support"))

from networks import write_networks

from brainldm.core.config import Sampling
from brainldm.core.covariates import Ranges
from brainldm.core.files import sha256
from brainldm.core.labels import DEMO
from brainldm.models import age, checkpoint, diffusion, medicalnet, panel
from brainldm.models.panel import beyond_rows, ladder_rows

SHAPE = (16, 16, 16)


def _training() -> np.ndarray:
    generator = np.random.default_rng(1)
    return np.column_stack([np.arange(101) % 3 > 0, *generator.uniform(0, 100, (3, 101))]).astype(float)


def test_a_ladder_moves_one_covariate_and_keeps_the_others_at_the_median() -> None:
    training = _training()
    rows = ladder_rows(training, "ventricles_ml", 5)
    low, high = np.percentile(training[:, 2], [2, 98])
    assert low - 5 < rows[0, 2] <= low < high <= rows[-1, 2] < high + 5
    np.testing.assert_allclose(np.diff(rows[:, 2], 2), 0, atol=1e-9)
    assert np.ptp(rows[:, [1, 3]], axis=0).tolist() == [0, 0]
    np.testing.assert_allclose(rows[0, [1, 3]], np.median(training[:, [1, 3]], axis=0), atol=12.5)
    assert (rows[:, 0] == 1).all()


def test_a_ladder_shows_no_value_of_a_participant() -> None:
    """Percentiles and medians of few people are single people's values; the ladder asks for multiples of 5 years, 5 mL and 25 mL."""
    training = _training()[:5] + 0.3
    for name in panel.WITHIN:
        rows = ladder_rows(training, name, 2)
        assert (rows / panel.ROUND_TO == np.round(rows / panel.ROUND_TO)).all()


def _age_file(path: Path) -> Path:
    spec = {"kind": "age", "shape": SHAPE, "channels": (4, 8), "space_to_depth": 1, "age_mean": 60.0, "age_sd": 8.0}
    torch.manual_seed(0)
    checkpoint.save(path, age.AgeModel(spec).state_dict(), spec)
    return path


def _panel(embed: Any = None) -> panel.Panel:
    """A panel with a true age model's place taken by none: what a test does not name is not asked."""
    coder = SimpleNamespace(encode=lambda images: (images[:, :, ::8, ::8, ::8], None), decode=lambda mu: 3 * mu)
    ruler = SimpleNamespace(segment=lambda images: SimpleNamespace(label_ml={label: images.sum((1, 2, 3, 4)).numpy() for label in DEMO}))
    years = SimpleNamespace(predict=lambda images: images.mean((1, 2, 3, 4)).numpy())
    parts = (ruler, years, coder, None, embed, "planted", torch.device("cpu"), 2)
    return panel.Panel(*cast("Any", parts))


def test_beyond_the_range_means_the_papers_min_max_values() -> None:
    ranges = Ranges((0.0, 40.0, 10.0, 1000.0), (1.0, 80.0, 110.0, 2000.0))
    rows = beyond_rows(_training(), "ventricles_ml", ranges)
    np.testing.assert_allclose((rows[:, 2] - 10) / 100, panel.BEYOND["ventricles_ml"])
    assert {-0.5, 1.5, 1.9} <= set(panel.BEYOND["ventricles_ml"])
    assert {-0.1, -0.3, -0.5} <= set(panel.BEYOND["brain_ml"])


def test_a_part_is_described_batch_by_batch_and_whole() -> None:
    images = np.random.default_rng(2).random((7, 1, *SHAPE)).astype(np.float32)
    nets = _panel(lambda batch: batch.mean((2, 3, 4)).numpy())
    found = nets.describe(lambda places: images[places], range(2, 7), "a part", lambda batch: {"top": batch.max((1, 2, 3, 4))})
    np.testing.assert_allclose(found["features"][:, 0], images[2:].mean((1, 2, 3, 4)), rtol=1e-5)
    np.testing.assert_allclose(found["top"], images[2:].max((1, 2, 3, 4)))
    assert nets.encode(images[2:]).shape == (5, 8)
    assert nets.encode(images[2:]).dtype == np.float16


def test_regions_have_synthsegs_names_and_decoding_is_clamped() -> None:
    images = np.full((3, 1, *SHAPE), 0.5, np.float32)
    regions = _panel().regions(lambda places: images[places], range(3), "regions")
    np.testing.assert_allclose(regions["left lateral ventricle"], 0.5 * 16**3)
    np.testing.assert_allclose(regions["total intracranial"], 0.5 * 16**3 * (len(DEMO) - 1))
    assert _panel().decode(np.full((1, 1, 2, 2, 2), 0.5, np.float16)).max() == 1


def test_the_diffusion_model_is_gone_before_the_first_volume_is_decoded(tmp_path: Path) -> None:
    _, path = write_networks(tmp_path)
    loaded: list[weakref.ref[diffusion.Diffusion]] = []

    def denoiser() -> diffusion.Diffusion:
        network = diffusion.load(path)
        loaded.append(weakref.ref(network))
        return network

    def decode(latents: torch.Tensor) -> torch.Tensor:
        assert [one() for one in loaded] == [None]
        return latents[:, :1]

    nets = dataclasses.replace(_panel(), denoiser=denoiser, autoencoder=cast("Any", SimpleNamespace(decode=decode)))
    ladders = nets.ladders(_training(), 2, (0, 0), Sampling(steps=1))
    assert {name: len(ladder["images"]) for name, ladder in ladders.items() if name.startswith("ladder")} == {
        f"ladder_{name}": 2 for name in panel.WITHIN
    }


@pytest.mark.parametrize("ending", ["resnet_10.pth", "resnet_10_23dataset.pth"])
def test_the_features_are_named_with_their_weights(tmp_path: Path, ending: str) -> None:
    images, device = torch.rand(2, 1, *SHAPE), torch.device("cpu")
    years = age.load(_age_file(tmp_path / "age.safetensors"))
    embed, name = panel.embedding("age", years, tmp_path / "age.safetensors", device)
    np.testing.assert_allclose(embed(images), years.features(images))
    assert sha256(tmp_path / "age.safetensors")[:12] in name
    weights = tmp_path / ending
    torch.save(medicalnet.MedicalNet("basic", [1, 1, 1, 1], "B").network.state_dict(), weights)
    embed, name = panel.embedding(str(weights), years, tmp_path / "age.safetensors", device)
    assert embed(images).shape == (2, 512)
    assert ending in name
    assert sha256(weights)[:12] in name


def test_label_maps_come_back_on_the_images_grid_whatever_grid_the_ruler_has() -> None:
    images = np.random.default_rng(5).random((3, 6, 8, 6)).astype(np.float32)
    affine, finer = np.diag([2.0, 2, 2, 1]), np.diag([1.0, 1, 1, 1])
    finer[:3, 3] = -0.5  # each voxel of the images is 2 x 2 x 2 of the ruler's

    def segment(batch: torch.Tensor) -> SimpleNamespace:
        labels = (batch[:, 0].numpy() > 0.5).astype(np.uint8)
        return SimpleNamespace(labels=labels.repeat(2, 1).repeat(2, 2).repeat(2, 3), affine=finer)

    nets = dataclasses.replace(_panel(), ruler=cast("Any", SimpleNamespace(segment=segment)))
    np.testing.assert_array_equal(nets.labels(images, affine, "labels"), images > 0.5)
