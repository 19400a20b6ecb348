"""The training loop: it learns a planted answer, repeats itself by seed, logs what it did, and stops at a loss that is not finite."""

import csv

import numpy as np
import pytest
import torch

from brainldm.core.config import Training
from brainldm.core.errors import BrainLDMError
from brainldm.models.training import LOG_EVERY, Optimizer, batches, make_fabric, run

OPTIONS = Training(steps=300, batch_size=8, learning_rate=0.05, warmup_steps=10)


def fit(folder, seed=0):
    """Regress y = x @ w on fresh x; the planted w comes back as the network's weight."""
    fabric = make_fabric("cpu", "32-true", seed)
    network = torch.nn.Linear(3, 1, bias=False)
    optimizer = Optimizer(fabric, network, OPTIONS)
    generator = torch.Generator().manual_seed(seed)

    def step(_):
        x = torch.randn((8, 3), generator=generator)
        loss = ((optimizer.network(x) - x @ torch.tensor([[1.0], [-2.0], [3.0]])) ** 2).mean()
        optimizer.step(loss)
        return {"mse": loss}

    run(step, OPTIONS.steps, folder / "log.csv", "regression")
    return network.weight.detach().clone()


def test_a_planted_answer_is_learned_and_repeated(tmp_path):
    first, again = fit(tmp_path / "a"), fit(tmp_path / "b")
    assert first.numpy().ravel() == pytest.approx([1, -2, 3], abs=0.02)
    assert torch.equal(first, again)
    assert not torch.equal(first, fit(tmp_path / "c", seed=1))
    rows = list(csv.DictReader((tmp_path / "a/log.csv").open()))
    assert [int(row["step"]) for row in rows] == list(range(LOG_EVERY, 301, LOG_EVERY))
    assert float(rows[-1]["mse"]) < 1e-3 < float(rows[0]["mse"])
    assert list((tmp_path / "a/tensorboard").iterdir())


def test_a_loss_that_is_not_finite_stops_with_its_name_and_step(tmp_path):
    with pytest.raises(BrainLDMError, match=r"toy: the loss 'mse' is nan at step 3"):
        run(lambda index: {"mse": torch.tensor(float("nan") if index == 3 else 1.0)}, 10, tmp_path / "log.csv", "toy")
    assert not (tmp_path / "log.csv").exists()


def test_batches_go_through_every_item_once_an_epoch():
    draw = batches(10, 4, seed=0)
    items = np.concatenate([draw() for _ in range(5)])
    assert sorted(items[:10]) == sorted(items[10:]) == list(range(10))
    assert items[:10].tolist() != items[10:].tolist()
    other = batches(10, 4, seed=1)
    assert np.concatenate([other() for _ in range(5)]).tolist() != items.tolist()
