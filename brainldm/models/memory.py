"""How much memory the configured networks take: storages that live at once, counted on the meta device, where nothing is computed.

A training step holds: weights (4 bytes a parameter), Adam's moments (8), the average of the weights where there is one (4), and the peak
of its forward and backward pass, gradients (4) included. All in 32 bits: `bf16-mixed` takes less (counted for the published autoencoder:
50 instead of 59 GB). Losses' own networks, the device's context and workspaces are not in it: MARGIN stands for them.
"""

import os
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from brainldm.core.config import Config
from brainldm.core.covariates import NAMES, Ranges
from brainldm.core.findings import Finding, error, size, warning
from brainldm.core.labels import DEMO
from brainldm.models import age, autoencoder, diffusion, segmenter

MARGIN = 1.1
ROOMY = 0.9  # of the device's memory
NO_RANGES = Ranges((0.0,) * 4, (1.0,) * 4)
CGROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


class Networks(NamedTuple):
    """The configured networks, on the meta device."""

    segmenter: segmenter.Segmenter
    autoencoder: autoencoder.Autoencoder
    diffusion: diffusion.Diffusion
    age: age.AgeModel


def networks(config: Config) -> Networks:
    """All that the configuration trains, without memory for the weights; MONAI's ValueError where the numbers make no network."""
    with torch.device("meta"):
        coder = autoencoder.build(config.train_autoencoder, config.grid)
        if config.train_autoencoder.recompute:
            coder.save_memory()
        return Networks(
            segmenter.build(config.train_segmenter, config.grid, DEMO),
            coder,
            diffusion.build(config.train_diffusion, coder.latent_shape(config.grid.shape), NO_RANGES),
            age.AgeModel({"shape": config.grid.shape, **config.train_age.model_dump(include={"channels", "space_to_depth"})}),
        )


def n_parameters(network: nn.Module) -> int:
    """How many numbers are trained."""
    return sum(parameter.numel() for parameter in network.parameters())


class _Living(TorchDispatchMode):
    """Counts the bytes of the storages that operations make, from their birth to their end."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                self._meet(tensor.untyped_storage())
        return made

    def _meet(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return
        self._known.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


def peak_bytes(compute: Callable[[], object]) -> int:
    """The most that the storages made by `compute`, on the meta device, take at any one time."""
    with torch.device("meta"), _Living() as living:
        compute()
    return living.peak


def training_bytes(network: nn.Module, loss: Callable[[], torch.Tensor], average: bool = False) -> int:
    """An estimate of a training step's memory; `average` where a moving average of the weights is kept."""
    network.zero_grad(set_to_none=True)
    step = peak_bytes(lambda: loss().backward())
    return int(MARGIN * (step + (16 if average else 12) * n_parameters(network)))


def generation_bytes(nets: Networks, n: int) -> int:
    """An estimate of the memory that n volumes take at once: the weights, and the denoiser's or the decoder's peak."""
    latent = nets.diffusion.latent_shape
    with torch.inference_mode():
        peaks = [peak_bytes(lambda: _denoised(nets, n)), peak_bytes(lambda: nets.autoencoder.decode(torch.zeros(n, *latent)))]
    return int(MARGIN * (4 * (n_parameters(nets.autoencoder) + n_parameters(nets.diffusion)) + max(peaks)))


def stage_bytes(stage: str, config: Config, nets: Networks) -> int:
    """The estimate of a stage, one of STAGES, whose network fits the grid (core.grid_fit)."""
    n = getattr(config, stage).batch_size
    if stage == "generate":
        return generation_bytes(nets, n)
    return training_bytes(getattr(nets, stage.removeprefix("train_")), partial(_loss(stage, config), nets, n), stage == "train_diffusion")


def _loss(stage: str, config: Config) -> Callable[[Networks, int], torch.Tensor]:
    options = config.train_autoencoder
    if stage == "train_autoencoder" and options.patch_steps is None and options.patch_shape:  # never a whole volume
        return partial(_coded, shape=options.patch_shape)
    return LOSSES[stage]


def _images(nets: Networks, n: int, shape: tuple[int, ...] | None = None) -> torch.Tensor:
    return torch.zeros(n, 1, *(shape or nets.autoencoder.spec["shape"]))


def _denoised(nets: Networks, n: int) -> torch.Tensor:
    return nets.diffusion(torch.zeros(n, *nets.diffusion.latent_shape), torch.zeros(n), torch.zeros(n, len(NAMES)))


def _coded(nets: Networks, n: int, shape: tuple[int, ...] | None = None) -> torch.Tensor:
    images = _images(nets, n, shape)
    found, mu, sigma = nets.autoencoder(images, torch.zeros(n, *nets.autoencoder.latent_shape(images.shape[2:])))
    return (found - images).abs().mean() + (mu**2 + sigma**2).mean()


# A loss of every training that holds what the true one holds, but for what its own networks add.
LOSSES: dict[str, Callable[[Networks, int], torch.Tensor]] = {
    "train_segmenter": lambda nets, n: (nets.segmenter(_images(nets, n)).softmax(1) ** 2).mean(),
    "train_autoencoder": _coded,
    "train_diffusion": lambda nets, n: (_denoised(nets, n) ** 2).mean(),
    "train_age": lambda nets, n: nets.age(_images(nets, n)).abs().mean(),
}
STAGES = (*LOSSES, "generate")


def device_bytes(device: str) -> tuple[str, int]:
    """The device that `device` (auto, cpu, cuda) means here, and its memory."""
    if device != "cpu" and torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        return properties.name, properties.total_memory
    limits = [Path(path).read_text().strip() for path in CGROUPS if Path(path).exists()]
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return "CPU", min([physical, *(int(limit) for limit in limits if limit.isdigit())])


def check(stage: str, config: Config, nets: Networks, device: str, has: int) -> Finding:
    """The estimate of one of STAGES against the device, whose name and memory in bytes are given."""
    need, name = stage_bytes(stage, config, nets), f"memory of {stage}"
    found = f"about {size(need)} of {size(has)} ({device})"
    if need <= ROOMY * has:
        return Finding(name, found)
    ways = [f"a smaller {stage}.batch_size", "fewer channels", "a smaller preset (workflow/presets)", "a device with more memory"]
    remedy = ", ".join(["recompute: true or patch_shape (docs/training.md)", *ways] if stage == "train_autoencoder" else ways)
    if need <= has:
        return warning(name, found, "by the estimate less than a tenth of the memory stays free", remedy)
    return error(name, found, "the networks as configured do not fit the device's memory (an estimate in 32 bits)", remedy)
