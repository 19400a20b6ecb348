"""The grid that networks fit: the arithmetic agrees with the networks themselves."""

from pathlib import Path

import pytest
import torch
import yaml

from brainldm.core import grid_fit
from brainldm.core.config import Config, parse
from brainldm.models import memory

ROOT = Path(__file__).parents[2]
TINY = parse(yaml.safe_load((ROOT / "tests/tiny/config.yaml").read_text()))


def on(shape: tuple[int, int, int]) -> Config:
    return TINY.model_copy(update={"grid": TINY.grid.model_copy(update={"shape": shape})})


@pytest.mark.parametrize("path", [ROOT / "config.yaml", *sorted((ROOT / "workflow/presets").glob("*.yaml"))], ids=lambda path: path.stem)
def test_shipped_configurations_fit(path: Path) -> None:
    assert grid_fit.check(parse(yaml.safe_load(path.read_text()))).verdict == "ok"


def test_a_side_that_does_not_fit_is_named_with_what_would() -> None:
    finding = grid_fit.check(on((16, 20, 18)))
    assert finding.verdict == "error"
    assert finding.cause == (
        "grid.shape [16, 20, 18] does not fit the networks: train_segmenter needs multiples of 4; "
        "train_autoencoder needs multiples of 4; train_diffusion needs multiples of 8"
    )
    assert "a multiple of 8" in finding.remedy


@pytest.mark.parametrize(("stage", "multiple"), grid_fit.side_multiples(TINY).items())
def test_the_networks_want_what_is_said_of_them(stage: str, multiple: int) -> None:
    """They give back a volume of the shape that they were given on sides that are multiples, and on no other."""

    def gives_back(side: int) -> bool:
        config = on((side, 16, 16))
        nets = memory.networks(config)
        latent = nets.diffusion.latent_shape
        image, noise, one = torch.zeros(1, 1, *config.grid.shape), torch.zeros(1, *latent), torch.zeros(1)
        run = {
            "train_segmenter": lambda: nets.segmenter.to_empty(device="cpu")(image).shape[2:] == image.shape[2:],
            "train_autoencoder": lambda: nets.autoencoder.to_empty(device="cpu")(image, noise)[0].shape == image.shape,
            "train_diffusion": lambda: (
                latent[1] * 4 == side and nets.diffusion.to_empty(device="cpu")(noise, one, torch.zeros(1, 4)).shape == noise.shape
            ),
            "train_age": lambda: nets.age.to_empty(device="cpu")(image).shape == (1,),
        }
        try:
            return bool(run[stage]())
        except RuntimeError:
            return False

    assert gives_back(4 * multiple + 16 - 16 % multiple)
    assert not gives_back(16 + multiple // 2)
