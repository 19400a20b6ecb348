"""The memory estimate: known tensors are counted to the byte, the published networks to what was counted of them elsewhere."""

from pathlib import Path

import pytest
import torch

from brainldm.core.config import Config
from brainldm.formats.settings import read_config
from brainldm.models import memory

ROOT = Path(__file__).parents[2]
TINY = read_config(ROOT / "tests/tiny/config.yaml")
PAPER = read_config(ROOT / "workflow/presets/paper.yaml")


def test_the_peak_is_of_what_lives_at_once() -> None:
    def chain() -> None:
        a = torch.zeros(1000)  # 4000 bytes
        b = torch.cat([a, a])  # 8000 more
        del a
        c = b[:10]  # a view: none
        del b
        d = torch.zeros(500)  # 2000 beside b's 8000, which c keeps
        assert c.shape != d.shape

    assert memory.peak_bytes(chain) == 12_000


def test_a_training_step_keeps_inputs_for_the_backward_pass_and_makes_gradients() -> None:
    with torch.device("meta"):
        network = torch.nn.Sequential(*(torch.nn.Linear(100, 100, bias=False) for _ in range(5)))
    one, many = (memory.training_bytes(network, lambda n=n: network(torch.zeros(n, 100)).sum()) for n in (1000, 2000))
    states = 12 * 5 * 100 * 100
    activation = 1000 * 100 * 4
    assert many - one == pytest.approx(memory.MARGIN * 6 * activation, rel=0.01)  # the input, four kept for the way back, a gradient
    assert one > memory.MARGIN * (states + 5 * activation)
    averaged = memory.training_bytes(network, lambda: network(torch.zeros(1000, 100)).sum(), average=True)
    assert averaged - one == pytest.approx(memory.MARGIN * 4 * 5 * 100 * 100, abs=1)


def test_the_published_networks_take_what_was_counted_of_them() -> None:
    """58.9 GB for a step of the autoencoder, 8.81 GB for decoding, 6.1 GB for a step of the diffusion model in a batch of 4."""
    nets = memory.networks(PAPER)
    assert memory.n_parameters(nets.diffusion) == 553_168_899
    states = {stage: (16 if stage == "train_diffusion" else 12) for stage in ("train_autoencoder", "train_diffusion")}
    steps = {
        stage: memory.stage_bytes(stage, PAPER, nets) / memory.MARGIN - per * memory.n_parameters(getattr(nets, stage[6:]))
        for stage, per in states.items()
    }
    assert steps["train_autoencoder"] == pytest.approx(58.9e9, rel=0.01)
    assert steps["train_diffusion"] == pytest.approx(6.1e9, rel=0.02)
    with torch.inference_mode():
        assert memory.peak_bytes(lambda: nets.autoencoder.decode(torch.zeros(1, 3, 20, 28, 20))) == pytest.approx(8.81e9, rel=0.01)


@pytest.mark.parametrize("stage", memory.STAGES)
def test_every_stage_has_an_estimate_that_grows_with_the_batch(stage: str) -> None:
    def twice(config: Config) -> Config:
        section = getattr(config, stage)
        return config.model_copy(update={stage: section.model_copy(update={"batch_size": 2 * section.batch_size})})

    nets = memory.networks(TINY)
    assert 0 < memory.stage_bytes(stage, TINY, nets) < memory.stage_bytes(stage, twice(TINY), nets)


@pytest.mark.parametrize(("option", "most"), [({"recompute": True}, 0.6), ({"patch_shape": (80, 112, 80)}, 0.2)])
def test_what_saves_memory_is_counted(option: dict[str, object], most: float) -> None:
    """By the table of docs/training.md, recomputation and crops take a fraction of the whole step's memory."""
    lean = PAPER.model_copy(update={"train_autoencoder": PAPER.train_autoencoder.model_copy(update=option)})
    whole, less = (memory.stage_bytes("train_autoencoder", config, memory.networks(config)) for config in (PAPER, lean))
    assert less < most * whole


def test_too_little_memory_is_an_error_and_little_a_warning() -> None:
    nets = memory.networks(TINY)
    need = memory.stage_bytes("train_diffusion", TINY, nets)
    verdicts = {share: memory.check("train_diffusion", TINY, nets, "a card", int(need * share)) for share in (0.5, 1.05, 2)}
    assert {share: finding.verdict for share, finding in verdicts.items()} == {0.5: "error", 1.05: "warning", 2: "ok"}
    assert "train_diffusion.batch_size" in verdicts[0.5].remedy


def test_this_machine_has_memory() -> None:
    name, has = memory.device_bytes("cpu")
    assert name == "CPU"
    assert has > 10**9
