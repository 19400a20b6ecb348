"""The age model: a planted age is learned, and what it reads survives a checkpoint."""

import numpy as np
import pytest
import torch

from brainldm.core.config import Training
from brainldm.core.projection import VIEWS
from brainldm.models import age, checkpoint
from brainldm.models.training import Optimizer, make_fabric

SPEC = {"kind": "age", "channels": [8], "space_to_depth": 2, "shape": (8, 8, 8), "age_mean": 60.0, "age_sd": 10.0}


def planted(n, generator):
    """Noise in which the brightness of one corner tells the age."""
    ages = generator.uniform(-1, 1, n)
    images = generator.normal(0.5, 0.05, (n, 1, 8, 8, 8))
    images[:, :, :4, :4, :4] += 0.2 * ages[:, None, None, None, None]
    return torch.from_numpy(images.astype(np.float32)), ages * 10 + 60


def test_a_planted_age_is_learned_and_kept(tmp_path):
    fabric, generator = make_fabric("cpu", "32-true", 0), np.random.default_rng(0)
    network = age.AgeModel(SPEC)
    network.standardise(np.full((8, 8, 8), 0.5, np.float32), 0.1)
    optimizer = Optimizer(fabric, network, Training(steps=200, batch_size=16, learning_rate=0.01, warmup_steps=5))
    for _ in range(200):
        images, years = planted(16, generator)
        target = torch.from_numpy((years - 60) / 10).float()
        optimizer.step((optimizer.network(age.augment(images, generator)) - target).abs().mean())
    images, years = planted(64, generator)
    predicted = network.eval().predict(images)
    assert np.abs(predicted - years).mean() < 2.5
    assert network.features(images).shape == (64, 8)
    checkpoint.save(tmp_path / "age.safetensors", network.state_dict(), network.spec)
    assert age.load(tmp_path / "age.safetensors").predict(images) == pytest.approx(predicted, abs=1e-3)


def test_answers_are_predictions_of_the_views_and_plan_counts_them():
    torch.manual_seed(0)
    network, images = age.AgeModel(SPEC), torch.rand(3, 1, 8, 8, 8)
    answers = network.answers(images)
    assert len(answers) == VIEWS
    np.testing.assert_allclose(answers[:2], [network.predict(images), network.predict(images.flip(2))])
    assert (answers.std(0) > 0).all()
