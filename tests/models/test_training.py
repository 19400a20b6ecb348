"""The training loop: it learns a planted answer, repeats itself, goes on where it was killed, and stops at a loss that is not finite."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from brainldm.core.config import Training
from brainldm.core.errors import BrainLDMError, ConfigError
from brainldm.models.training import Optimizer, batches, make_fabric, run
from brainldm.models.training_log import LOG_EVERY

OPTIONS = Training(steps=300, batch_size=8, learning_rate=0.05, warmup_steps=10, save_every_s=0)


class Killed(Exception):
    """Stands for the end of a process."""


def fit(folder: Path, seed: int = 0, killed_at: int | None = None, settings: str = "a", options: Training = OPTIONS) -> torch.Tensor:
    """Regress y = x @ w on fresh x; the planted w comes back as the network's weight."""
    folder.mkdir(exist_ok=True)
    (folder / "settings").write_text(settings)
    fabric = make_fabric("cpu", "32-true", seed)
    network = torch.nn.Linear(3, 1, bias=False)
    optimizer = Optimizer(fabric, network, options)

    def step(index: int, part: slice) -> dict[str, torch.Tensor]:
        if index == killed_at:
            raise Killed
        x = torch.randn(8, 3)[part]
        loss = ((optimizer.network(x) - x @ torch.tensor([[1.0], [-2.0], [3.0]])) ** 2).mean()
        optimizer.step(loss)
        return {"mse": loss}

    def save() -> None:
        torch.save(network.weight.detach(), folder / "weights")

    run(fabric, options, step, folder / "log.csv", "regression", {"optimizer": optimizer}, [folder / "settings"], save, seed)
    return torch.load(folder / "weights", weights_only=True)


def test_a_planted_answer_is_learned_and_repeated(tmp_path: Path) -> None:
    first, again = fit(tmp_path / "a"), fit(tmp_path / "b")
    assert first.numpy().ravel() == pytest.approx([1, -2, 3], abs=0.02)
    assert torch.equal(first, again)
    assert not torch.equal(first, fit(tmp_path / "c", seed=1))
    rows = list(csv.DictReader((tmp_path / "a/log.csv").open()))
    assert [int(row["step"]) for row in rows] == list(range(LOG_EVERY, 301, LOG_EVERY))
    assert float(rows[-1]["mse"]) < 1e-3 < float(rows[0]["mse"])
    assert list((tmp_path / "a/tensorboard").iterdir())


def test_a_batch_in_four_passes_gives_the_same_updates(tmp_path: Path) -> None:
    whole, divided = fit(tmp_path / "a"), fit(tmp_path / "b", options=OPTIONS.model_copy(update={"accumulate": 4}))
    assert torch.allclose(whole, divided, atol=1e-5)
    one, other = ([float(row["mse"]) for row in csv.DictReader((tmp_path / name / "log.csv").open())] for name in "ab")
    assert len(one) == len(other) == 30
    assert other[:10] == pytest.approx(one[:10], rel=1e-4)


def test_a_batch_that_passes_cannot_share_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a multiple of the 1 processes times 3 passes, found 8"):
        fit(tmp_path, options=OPTIONS.model_copy(update={"accumulate": 3}))


def test_a_killed_training_goes_on_and_ends_as_one_that_ran_through(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = fit(tmp_path / "whole")
    with pytest.raises(Killed):
        fit(tmp_path / "killed", killed_at=155)
    assert not (tmp_path / "killed/weights").exists()
    with caplog.at_level("INFO"):
        resumed = fit(tmp_path / "killed")
    assert "goes on after step 150 of 300" in caplog.text
    assert torch.equal(whole, resumed)
    one, other = ([row["mse"] for row in csv.DictReader((tmp_path / name / "log.csv").open())] for name in ("whole", "killed"))
    assert one == other
    assert not (tmp_path / "killed/state.pt").exists()


@pytest.mark.parametrize("damage", ["other settings", "truncated", "flipped bit"])
def test_a_state_of_other_settings_or_a_damaged_one_is_not_taken_up(tmp_path: Path, damage: str) -> None:
    with pytest.raises(Killed):
        fit(tmp_path, killed_at=155)
    state = tmp_path / "state.pt"
    if damage == "truncated":
        state.write_bytes(state.read_bytes()[:500])
    if damage == "flipped bit":
        content = bytearray(state.read_bytes())
        content[len(content) // 2] ^= 4
        state.write_bytes(content)
    with pytest.raises(Killed):  # step 100 lies before the saved state: it is met only by a training that starts anew
        fit(tmp_path, killed_at=100, settings="b" if damage == "other settings" else "a")


def test_a_loss_that_is_not_finite_stops_with_its_name_and_step(tmp_path: Path) -> None:
    def step(index: int, _: slice) -> dict[str, torch.Tensor]:
        return {"mse": torch.tensor(float("nan") if index == 3 else 1.0)}

    with pytest.raises(BrainLDMError, match=r"toy: the loss 'mse' is nan at step 3"):
        run(make_fabric("cpu", "32-true", 0), OPTIONS, step, tmp_path / "log.csv", "toy", {}, [], lambda: None, seed=0)
    assert not (tmp_path / "log.csv").exists()


def test_batches_go_through_every_item_once_an_epoch() -> None:
    draw = batches(10, 4, seed=0)
    items = np.concatenate([draw(step) for step in range(5)])
    assert sorted(items[:10]) == sorted(items[10:]) == list(range(10))
    assert items[:10].tolist() != items[10:].tolist()
    assert draw(2).tolist() == items[8:12].tolist()
    other = batches(10, 4, seed=1)
    assert np.concatenate([other(step) for step in range(5)]).tolist() != items.tolist()
