"""What the configured networks cost on this device: timed on growing pieces of a volume while the time allows, then extrapolated.

A call costs something whatever the size (reading the weights), and something by voxel: the line through the two largest pieces.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

from brainldm.core.config import Config
from brainldm.core.covariates import NAMES
from brainldm.core.errors import ConfigError
from brainldm.core.grid_fit import side_multiples
from brainldm.models import autoencoder, diffusion, memory, segmenter, synthseg
from brainldm.models.synthseg_grid import PAD_MULTIPLE

N = TypeVar("N", bound=nn.Module)
Piece = tuple[float, Callable[[], object]]  # how many volumes' voxels it takes, and what is run
SHARES = (0.25, 0.5, 0.75, 1.0)  # of every side
SHARE_OF_TIME = {"denoise": 0.45, "decode": 0.3, "segment": 0.2, "age": 0.05}
WEIGHTS = (".h5", ".safetensors")
REPEATS = 5


class Timing(NamedTuple):
    """Seconds for one volume; `measured` volumes were timed at once, and where that is below 1 the rest is extrapolated."""

    seconds: float
    measured: float


class Run(NamedTuple):
    """What a run took, of all threads together and from start to end."""

    cpu_s: float
    wall_s: float


def per_volume(pieces: Iterable[Piece], budget_s: float, threads: int | None = None) -> Timing:
    """The cost by some pieces, each larger than the one before, as far as they end within the time; the first is always run.

    On a CPU, with its number of `threads`, it is their CPU time, shared equally: other work beside leaves that as it is.
    """
    start, found = time.perf_counter(), list[tuple[float, Run]]()
    for worth, run in pieces:
        left = start + budget_s - time.perf_counter()
        if found and (line([(w, ran.wall_s) for w, ran in found], worth) if len(found) > 1 else found[0][1].wall_s) > left:
            break
        try:
            found.append((worth, _least(run, budget_s / 10)))
        except torch.OutOfMemoryError:  # a GPU's; what was timed before stands
            if not found:
                raise
            break
    seconds = [(worth, ran.cpu_s / threads if threads else ran.wall_s) for worth, ran in found]
    measured, last = seconds[-1]
    return Timing(last / measured if measured >= 1 else line(seconds, 1.0), measured)


def line(found: Sequence[tuple[float, float]], worth: float) -> float:
    """Seconds at `worth` on the line through the last two points (worth, seconds), at least the last; of one point, through the origin."""
    (x0, y0), (x1, y1) = found[-2:] if len(found) > 1 else [(0.0, 0.0), *found]
    return y1 + max(0.0, (y1 - y0) / (x1 - x0)) * (worth - x1)


def _least(run: Callable[[], object], most_s: float) -> Run:
    """The quickest of some runs, as many as fit into the time, at least one; the first also sets up kernels."""
    end, found = time.perf_counter() + most_s, list[Run]()
    while len(found) < REPEATS and (not found or time.perf_counter() + found[-1].wall_s < end):
        start, cpu_start = time.perf_counter(), time.process_time()
        with torch.inference_mode():
            run()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        found.append(Run(time.process_time() - cpu_start, time.perf_counter() - start))
    return min(found)


def shapes(full: Sequence[int], multiple: int, shares: Sequence[float] = SHARES) -> list[tuple[int, ...]]:
    """Boxes of growing size up to `full`, whose sides are multiples."""
    boxes = [tuple(max(multiple, int(share * side) // multiple * multiple) for side in full) for share in shares]
    return list(dict.fromkeys(boxes))


def filled(network: N, device: torch.device, given: dict[str, torch.Tensor] | None = None) -> N:
    """A network made on the meta device, frozen, with the tensors `given` where they fit and random ones elsewhere."""
    tensors = {name: _tensor(like, (given or {}).get(name), device) for name, like in network.state_dict().items()}
    network.load_state_dict(tensors, assign=True)
    return network.eval().requires_grad_(False)


def _tensor(like: torch.Tensor, given: torch.Tensor | None, device: torch.device) -> torch.Tensor:
    if given is not None and given.shape == like.shape:
        return given
    made = torch.empty(like.shape, device=device).uniform_(-0.02, 0.02)
    return made.contiguous(memory_format=torch.channels_last_3d) if made.ndim == 5 else made


def resized(network: Any, device: torch.device, **spec: Any) -> Any:
    """The same network for a box of another size: it shares the weights."""
    if all(tuple(network.spec[name]) == tuple(value) for name, value in spec.items()):
        return network
    with torch.device("meta"):
        other = type(network)(network.spec | spec)
    return filled(other, device, network.state_dict())


def measure(config: Config, nets: memory.Networks, fabric: Fabric, budget_s: float) -> dict[str, Timing]:
    """An evaluation of the U-Net, a volume decoded, segmented (unless by a program) and its age predicted, in the fabric's precision."""
    device, latent = fabric.device, nets.diffusion.latent_shape
    work: dict[str, Callable[[], Iterable[Piece]]] = {
        "denoise": lambda: _denoised(_ready(nets.diffusion, device), config.generate.batch_size, device),
        "decode": lambda: _decoded(_ready(nets.autoencoder, device), latent, device),
        "segment": lambda: _segmented(config, nets, device),
        "age": lambda: [(1.0, partial(_ready(nets.age, device), torch.rand(1, 1, *config.grid.shape, device=device)))],
    }
    if config.segmenter and not config.segmenter.endswith(WEIGHTS):
        del work["segment"]
    threads = torch.get_num_threads() if device.type == "cpu" else None
    with fabric.autocast():
        return {name: per_volume(pieces(), SHARE_OF_TIME[name] * budget_s, threads) for name, pieces in work.items()}


def trained(nets: memory.Networks, coder: Path | None, denoiser: Path | None) -> memory.Networks:
    """The networks, with those of checkpoints in their places; ConfigError if their latents are not the configured ones."""
    shape, expected = nets.autoencoder.spec["shape"], nets.diffusion.latent_shape
    found: dict[str, Any] = {}
    if coder:
        network = found["autoencoder"] = autoencoder.load(coder)
        _check(coder, [*network.spec["shape"], *network.latent_shape(shape)], [*shape, *expected])
    if denoiser:
        found["diffusion"] = diffusion.load(denoiser)
        _check(denoiser, found["diffusion"].latent_shape, expected)
    return nets._replace(**found)


def _check(path: Path, found: Sequence[int], expected: Sequence[int]) -> None:
    if list(found) != list(expected):
        raise ConfigError(f"{path}: expected a network for shapes {list(expected)}, as configured, found {list(found)}")


def _ready(network: Any, device: torch.device) -> Any:
    return filled(network, device) if next(network.parameters()).is_meta else network.to(device)


def _denoised(network: diffusion.Diffusion, batch_size: int, device: torch.device) -> Iterator[Piece]:
    """One evaluation of the U-Net, at growing latents and then at a whole batch."""
    channels, *full = network.latent_shape
    boxes = shapes(full, network.fold * 2 ** (len(network.spec["channels"]) - 1), SHARES[1:])  # less is all reading of weights
    for n, box in _then_batch(boxes, batch_size):
        own, conditions = resized(network, device, latent_shape=(channels, *box)), torch.rand(n, len(NAMES), device=device)
        latents, timesteps = torch.randn(n, channels, *box, device=device), torch.full((n,), 500, device=device)
        yield n * math.prod(box) / math.prod(full), partial(own, latents, timesteps, conditions)


def _then_batch(boxes: list[tuple[int, ...]], batch_size: int) -> list[tuple[int, tuple[int, ...]]]:
    """Every box once, and the last as often as stands in a batch."""
    return [*((1, box) for box in boxes), *([(batch_size, boxes[-1])] if batch_size > 1 else [])]


def _decoded(network: autoencoder.Autoencoder, latent: Sequence[int], device: torch.device) -> Iterator[Piece]:
    """One volume decoded, from growing latents [C,i,j,k]."""
    factor = network.spec["shape"][0] // latent[1]
    for box in shapes(latent[1:], 1):
        own = resized(network, device, shape=tuple(factor * side for side in box))
        yield math.prod(box) / math.prod(latent[1:]), partial(own.decode, torch.randn(1, latent[0], *box, device=device))


def _segmented(config: Config, nets: memory.Networks, device: torch.device) -> Iterator[Piece]:
    """One volume segmented by the project's own network or SynthSeg's."""
    if config.segmenter and config.segmenter.endswith(".h5"):
        yield from _synthseg(synthseg.load(Path(config.segmenter)).to(device), config)
        return
    own = segmenter.load(Path(config.segmenter)) if config.segmenter else nets.segmenter
    network, full = _ready(own, device), config.grid.shape
    boxes = shapes(full, side_multiples(config)["train_segmenter"])
    for n, box in _then_batch(boxes, config.measure.batch_size):
        yield n * math.prod(box) / math.prod(full), partial(network.segment, torch.rand(n, 1, *box, device=device))


def _synthseg(network: synthseg.SynthSeg, config: Config) -> Iterator[Piece]:
    sides = [max(128, side * config.grid.spacing_mm) for side in config.grid.shape]  # at 1 mm, and what it pads to
    full = [math.ceil(side / PAD_MULTIPLE) * PAD_MULTIPLE for side in sides]
    for box in shapes(full, PAD_MULTIPLE):
        image = np.random.default_rng(0).random(box, np.float32)
        yield math.prod(box) / math.prod(full), partial(synthseg.segment, image, np.eye(4), network, min_side=0)
