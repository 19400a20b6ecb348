"""The published bundle's files: read under both kinds of names, sampled as its own loop does, refused by the name of what differs."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bundle_files import (
    SMALL_AUTOENCODER,
    SMALL_DIFFUSION,
    plain_autoencoder,
    plain_diffusion,
    small_networks,
    under_old_names,
    write_old_files,
)

from brainldm.core.config import Sampling
from brainldm.core.errors import DataError
from brainldm.models import bundle
from brainldm.models.sampling import sample_volumes

# Normalised covariates (sex, age, ventricles, brain): the bundle's defaults, and the paper's extrapolations beyond the training data.
CONDITIONS = np.array([[0, 0.1, 0.2, 0.4], [1, 0.7, 1.9, -0.5]])


def physical(conditions: np.ndarray) -> np.ndarray:
    """Years and mL, by the inverse map of the published model, which is in mm3."""
    sex, age, ventricles, brain = conditions.T
    return np.stack([sex, 44 + 38 * age, (6995.68 + 164379.32 * ventricles) / 1000, (1144240 + 649670 * brain) / 1000], 1)


def published_sampling(files: tuple[Path, Path], noise: torch.Tensor, conditions: np.ndarray, steps: int) -> torch.Tensor:
    """The bundle's sampler from its description: DDIM, eta 0, epsilon, not clipped, timesteps 'leading', last alpha 1; volume by volume."""
    coder, unet = plain_autoencoder(SMALL_AUTOENCODER).eval(), plain_diffusion(SMALL_DIFFUSION).eval()
    for network, path in zip((coder, unet), files, strict=True):
        network.load_old_state_dict(torch.load(path, weights_only=True))
    alpha_bar = np.cumprod(1 - np.linspace(0.0015**0.5, 0.0205**0.5, 1000) ** 2)
    images = []
    for start, condition in zip(noise, conditions, strict=True):
        x, context = start[None], torch.tensor(condition, dtype=torch.float32).reshape(1, 1, 4)
        for t in [step * (1000 // steps) for step in range(steps)][::-1]:
            volume = context.reshape(1, 4, 1, 1, 1).expand(1, 4, *x.shape[2:])
            epsilon = unet(torch.cat((x, volume), dim=1), timesteps=torch.tensor([t]), context=context)
            now, then = alpha_bar[t], alpha_bar[t - 1000 // steps] if t >= 1000 // steps else 1.0
            clean = (x - (1 - now) ** 0.5 * epsilon) / now**0.5
            x = then**0.5 * clean + (1 - then) ** 0.5 * epsilon
        images.append(coder.decode_stage_2_outputs(x))
    return torch.cat(images)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return write_old_files(tmp_path)


@torch.no_grad()
def test_our_sampler_on_imported_weights_gives_what_the_published_loop_gives(files: tuple[Path, Path]) -> None:
    coder = bundle.read_autoencoder(files[0], SMALL_AUTOENCODER)
    denoiser = bundle.read_diffusion(files[1], SMALL_DIFFUSION)
    noise = torch.randn(2, 3, 4, 4, 4, generator=torch.Generator().manual_seed(3))
    ours = sample_volumes(denoiser, coder, physical(CONDITIONS), noise, Sampling(steps=3))
    theirs = published_sampling(files, noise, CONDITIONS, 3).flip(2)  # stored from right to left
    assert theirs.std() > 0.01
    assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()
    still = sample_volumes(denoiser, coder, physical(CONDITIONS[:1].repeat(2, 0)), noise, Sampling(steps=3))
    assert (ours[1] - still[1]).abs().max() > 1e-2 * theirs.abs().max()  # conditions beyond [0, 1] count


def test_the_published_ranges_are_in_years_and_millilitres() -> None:
    ranges = bundle.Diffusion(SMALL_DIFFUSION).ranges
    assert ranges.scale(physical(CONDITIONS)) == pytest.approx(CONDITIONS, abs=1e-6)
    assert ranges.scale(np.array([0, 63, 39.872, 1404.108]))[2:] == pytest.approx([0.2, 0.4], abs=1e-5)  # what the bundle's defaults mean


@torch.no_grad()
def test_images_are_turned_on_their_way_in_as_on_their_way_out(files: tuple[Path, Path]) -> None:
    coder = bundle.read_autoencoder(files[0], SMALL_AUTOENCODER)
    images = torch.rand(1, 1, 32, 32, 32)
    mu, _ = small_networks()[0].encode(images.flip(2))
    assert torch.allclose(coder.encode(images)[0], mu, atol=1e-6)
    assert torch.allclose(coder.decode(mu), small_networks()[0].decode(mu).flip(2), atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("wrap", ["plain", "old", "state_dict", "nested", "module", "legacy"])
def test_files_of_every_kind_are_read(tmp_path: Path, wrap: str, dtype: torch.dtype) -> None:
    tensors = {name: tensor.to(dtype) for name, tensor in small_networks()[1].state_dict().items()}
    content: Any = under_old_names(tensors) if wrap == "old" else tensors
    content = (
        {"state_dict": content, "epoch": 3} if wrap == "state_dict" else {"model": {"state_dict": content}} if wrap == "nested" else content
    )
    content = {f"module.{name}": tensor for name, tensor in content.items()} if wrap == "module" else content
    torch.save(content, tmp_path / "model.pt", _use_new_zipfile_serialization=wrap != "legacy")
    found = bundle.read_diffusion(tmp_path / "model.pt", SMALL_DIFFUSION).network.state_dict()
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensor.float()) for name, tensor in tensors.items())


def renamed(tensors: dict[str, torch.Tensor]) -> None:
    tensors["conv_inn.conv.bias"] = tensors.pop("conv_in.conv.bias")


def reshaped(tensors: dict[str, torch.Tensor]) -> None:
    tensors["conv_in.conv.weight"] = torch.zeros(16, 4, 3, 3, 3)


def cut(tensors: dict[str, torch.Tensor]) -> None:
    for name in list(tensors)[5:]:
        del tensors[name]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (renamed, ["missing conv_in.conv.bias", "unexpected conv_inn.conv.bias"]),
        (reshaped, ["wrong conv_in.conv.weight of shape (16, 4, 3, 3, 3) instead of (16, 7, 3, 3, 3)"]),
        (cut, ["found 5", "missing time_embed.2.bias", "more"]),
    ],
)
@pytest.mark.parametrize("names", ["old", "new"])
def test_another_networks_file_is_refused_by_the_names_that_differ(tmp_path: Path, spoil: Any, words: list[str], names: str) -> None:
    tensors = dict(small_networks()[1].state_dict())
    tensors = under_old_names(tensors) if names == "old" else tensors
    spoil(tensors)
    torch.save(tensors, tmp_path / "model.pt")
    with pytest.raises(DataError) as error:
        bundle.read_diffusion(tmp_path / "model.pt", SMALL_DIFFUSION)
    for word in ["model.pt: expected the", *words]:
        assert word in str(error.value)
    assert len(str(error.value)) < 1000


def test_the_two_files_in_each_others_place_are_refused(files: tuple[Path, Path]) -> None:
    for path, read in zip(reversed(files), (bundle.read_autoencoder, bundle.read_diffusion), strict=True):
        with pytest.raises(DataError, match=r"missing .* unexpected "):
            read(path)


@pytest.mark.parametrize("content", [{}, [1, 2], {"epoch": 3}, torch.zeros(2), {"state_dict": {"a": "b"}}])
def test_what_is_no_state_dict_is_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(DataError, match=r"model\.pt: expected a state dict, found"):
        bundle.read_diffusion(tmp_path / "model.pt", SMALL_DIFFUSION)


def test_absent_damaged_and_dangerous_files_are_refused(tmp_path: Path, files: tuple[Path, Path]) -> None:
    damaged = tmp_path / "damaged.pt"
    damaged.write_bytes(files[1].read_bytes()[:5000])
    pickled = tmp_path / "pickled.pt"
    torch.save({"conv": itertools.count()}, pickled)
    for path in (tmp_path / "absent.pt", damaged, pickled, tmp_path):
        with pytest.raises(DataError, match=f"{path.name}: expected a file of PyTorch weights"):
            bundle.read_diffusion(path, SMALL_DIFFUSION)
