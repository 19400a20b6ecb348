"""Timing: planted costs are found again, pieces that would take too long are not begun, and networks shrink with their weights."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from lightning_fabric import Fabric

from brainldm.core.config import parse
from brainldm.core.errors import ConfigError
from brainldm.models import autoencoder, checkpoint, memory, timing

CONFIG = parse(yaml.safe_load((Path(__file__).parents[1] / "tiny/config.yaml").read_text()))
CPU = torch.device("cpu")


class Clock:
    """Time that passes only when something is run."""

    def __init__(self) -> None:
        self.now, self.run = 0.0, list[float]()

    def piece(self, worth: float, seconds: float) -> timing.Piece:
        def work() -> None:
            self.now += seconds
            self.run.append(worth)

        return worth, work


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: clock.now, process_time=lambda: 0.5 * clock.now))
    return clock


def cost(worth: float) -> float:
    return 0.5 + 20 * worth  # reading the weights, and computing


@pytest.mark.parametrize(("budget_s", "largest"), [(4, 0.1), (15, 0.4), (60, 1.0), (5000, 16.0)])
def test_a_planted_cost_is_found_from_the_pieces_that_there_is_time_for(clock: Clock, budget_s: float, largest: float) -> None:
    found = timing.per_volume((clock.piece(worth, cost(worth)) for worth in (0.01, 0.1, 0.4, 1, 16)), budget_s)
    assert found.measured == largest
    assert found.seconds == pytest.approx(cost(max(largest, 1)) / max(largest, 1))
    assert clock.now <= budget_s + cost(0.01)


def test_the_first_piece_is_run_whatever_it_takes_and_scaled_by_voxels(clock: Clock) -> None:
    assert timing.per_volume([clock.piece(0.25, 100), clock.piece(1, 400)], 10) == (400, 0.25)
    assert clock.run == [0.25]


def test_on_a_cpu_it_is_the_time_of_its_threads_that_counts(clock: Clock) -> None:
    assert timing.per_volume([clock.piece(1, 8)], 10, threads=1) == (4, 1)  # other work took half
    assert timing.per_volume([clock.piece(1, 8)], 10, threads=2) == (2, 1)


def test_a_gpu_without_memory_for_more_keeps_what_was_timed(clock: Clock) -> None:
    def full() -> None:
        raise torch.OutOfMemoryError

    assert timing.per_volume([clock.piece(0.5, 1), (1.0, full)], 10) == (2, 0.5)
    with pytest.raises(torch.OutOfMemoryError):
        timing.per_volume([(1.0, full)], 10)


def test_boxes_grow_to_the_whole_in_multiples() -> None:
    assert timing.shapes((20, 28, 20), 4) == [(4, 4, 4), (8, 12, 8), (12, 20, 12), (20, 28, 20)]
    assert timing.shapes((2, 2, 2), 2) == [(2, 2, 2)]


def test_a_smaller_network_shares_the_weights(tmp_path: Path) -> None:
    nets = memory.networks(CONFIG)
    whole = timing.filled(nets.autoencoder, CPU)
    small = timing.resized(whole, CPU, shape=(16, 16, 16))
    weights = dict(whole.network.named_parameters())
    assert all(parameter.data_ptr() == weights[name].data_ptr() for name, parameter in small.network.named_parameters())
    assert small.decode(torch.zeros(1, *small.latent_shape((16, 16, 16)))).shape == (1, 1, 16, 16, 16)
    assert timing.resized(whole, CPU, shape=whole.spec["shape"]) is whole


def test_every_network_of_the_configuration_is_timed_whole() -> None:
    found = timing.measure(CONFIG, memory.networks(CONFIG), Fabric(accelerator="cpu"), 20)
    measured = {name: timed.measured for name, timed in found.items()}
    assert measured == {"denoise": CONFIG.generate.batch_size, "decode": 1, "segment": CONFIG.measure.batch_size, "age": 1}
    assert all(0 < timed.seconds < 5 for timed in found.values())


def _load(coder: Path) -> Callable[[], memory.Networks]:
    return lambda: timing.trained(memory.networks(CONFIG), coder, None)


def test_trained_weights_are_used_and_those_of_another_grid_refused(tmp_path: Path) -> None:
    other = CONFIG.grid.model_copy(update={"shape": (16, 16, 16)})
    for name, grid in (("own", CONFIG.grid), ("other", other)):
        network = autoencoder.build(CONFIG.train_autoencoder, grid)
        checkpoint.save(tmp_path / name, network.state_dict(), network.spec)
    assert not next(_load(tmp_path / "own")().autoencoder.parameters()).is_meta
    with pytest.raises(ConfigError, match=r"other: expected a network for shapes .*, as configured, found \[16, 16, 16"):
        _load(tmp_path / "other")()
