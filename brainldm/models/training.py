"""One training loop for all networks: Lightning Fabric for device and precision, warm-up and cosine decay, CSV and tensorboard.

A training that was killed goes on from its last saved state. All that is random in a step follows from (seed, step), so that it
ends with the same weights as one that ran through.
"""

import hashlib
import logging
import math
import mmap
import os
import signal
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

from brainldm.core.config import Training
from brainldm.core.errors import ConfigError, DataError
from brainldm.core.files import atomic, sha256
from brainldm.core.requeue import REQUEUE
from brainldm.models.training_log import Log

Losses = dict[str, torch.Tensor]


class HasState(Protocol):
    """A network, an optimizer, an average of weights."""

    def state_dict(self) -> dict[str, Any]:
        """All that changes in training."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any:
        """Take it back."""


def make_fabric(device: str, precision: str, seed: int) -> Fabric:
    """A Fabric on `device` (auto, cpu, cuda, cuda:1); seeds torch's global generator, which initialises the networks, and settles MKL.

    Under torchrun (or SLURM's srun with its variables) it is one process of data-parallel training, each on its own device.
    ConfigError where a GPU is asked for and there is none.
    """
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError("device: expected a GPU, found none that torch can use; set device to cpu or auto, or look at nvidia-smi")
    if precision == "auto":
        precision = "bf16-mixed" if device != "cpu" and torch.cuda.is_available() else "32-true"
    warnings.filterwarnings("ignore", "The `srun` command is available")  # of Lightning; in every job where SLURM is installed
    kind, _, place = device.partition(":")
    accelerator = "gpu" if kind == "cuda" else kind
    world, local = (int(os.environ.get(name, 1)) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    many = {"strategy": "ddp", "devices": local, "num_nodes": world // local} if world > 1 else {"devices": [int(place)] if place else 1}
    fabric = Fabric(accelerator=accelerator, precision=precision, **many)  # type: ignore[arg-type]
    fabric.launch()
    torch.manual_seed(seed)
    _settle_mkl()
    return fabric


def _settle_mkl() -> None:
    """Call what torch leaves to MKL once, on one thread.

    A function's first call, if made by several threads at once, gave one of them a coarser kernel in 3 of 1500 processes on a busy
    machine (pytorch/pytorch#188792), and after this in none of 1500.
    """
    for dtype in (torch.float32, torch.float64):
        one = torch.full((1,), 0.5, dtype=dtype)
        for function in (torch.exp, torch.log, torch.sqrt, torch.sin, torch.cos, torch.tanh, torch.erf):
            function(one)


def shares(fabric: Fabric, options: Training) -> list[slice]:
    """This process' parts of a batch, one for each pass; ConfigError if processes and passes cannot share it equally."""
    passes, found = options.accumulate, f"found {options.batch_size}"
    if options.batch_size % (fabric.world_size * passes):
        each = f" times {passes} passes" if passes > 1 else ""
        raise ConfigError(f"batch_size: expected a multiple of the {fabric.world_size} processes{each}, {found}")
    size = options.batch_size // (fabric.world_size * passes)
    first = fabric.global_rank * passes
    return [slice(part * size, (part + 1) * size) for part in range(first, first + passes)]


class Optimizer:
    """AdamW with linear warm-up, cosine decay to a hundredth, gradient clipping and accumulation, over one network."""

    def __init__(
        self, fabric: Fabric, network: nn.Module, options: Training, learning_rate: float | None = None, beta1: float = 0.9
    ) -> None:
        rate, decay = learning_rate or options.learning_rate, options.weight_decay
        adam = torch.optim.AdamW(network.parameters(), rate, (beta1, 0.999), weight_decay=decay)
        self.fabric, self.clip = fabric, options.gradient_clip
        self.passes, self.passed = options.accumulate, 0
        # Channels last: a fifth faster on CPUs in float32 (measured), and what tensor cores want.
        network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self.network, self.adam = fabric.setup(network, adam)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: _rate(step, options))

    def step(self, loss: torch.Tensor) -> bool:
        """Back-propagate the mean `loss` of a part of the batch; after its last part update the network, and say so."""
        if self.passed == 0:
            self.adam.zero_grad(set_to_none=True)
        self.fabric.backward(loss / self.passes)
        self.passed = (self.passed + 1) % self.passes
        if self.passed:
            return False
        self.fabric.clip_gradients(self.network, self.adam, max_norm=self.clip)
        self.adam.step()
        self.schedule.step()
        return True

    def state_dict(self) -> dict[str, Any]:
        """Weights, moments and the place in the schedule."""
        return {name: part.state_dict() for name, part in self._parts().items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        for name, part in self._parts().items():
            part.load_state_dict(state_dict[name])

    def _parts(self) -> dict[str, Any]:
        return {"network": self.network, "adam": self.adam, "schedule": self.schedule}


def _rate(step: int, options: Training) -> float:
    if step < options.warmup_steps:
        return (step + 1) / options.warmup_steps
    done = (step - options.warmup_steps) / max(1, options.steps - options.warmup_steps)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def batches(n_items: int, batch_size: int, seed: int) -> Callable[[int], np.ndarray]:
    """A function of the step that gives its batch of item indices: epochs of shuffled items, without end, by seed."""

    def draw(step: int) -> np.ndarray:
        places = np.arange(step * batch_size, (step + 1) * batch_size)
        epochs = {epoch: np.random.default_rng([seed, n_items, epoch]).permutation(n_items) for epoch in set((places // n_items).tolist())}
        return np.array([epochs[place // n_items][place % n_items] for place in places.tolist()])

    return draw


def run(
    fabric: Fabric,
    options: Training,
    step: Callable[[int, slice], Losses],
    log: Path,
    title: str,
    parts: Mapping[str, HasState],
    inputs: Iterable[Path],
    save: Callable[[], None],
    seed: int,
) -> None:
    """Call `step(index, part)` for every index below `options.steps` and this process' parts of its batch, then `save()`.

    Losses, means over a part, go to `log` (CSV) and to tensorboard beside it. The state of `parts` is saved every `options.save_every_s`
    seconds beside the log, and taken up if the files `inputs` are those of then. `step` must draw what is random, for the whole batch,
    from its index or from torch's global generator, which is seeded before every call, alike for all parts and in every process: a batch
    is the same however it is divided.
    SIGTERM ends the process after the step at hand, its state saved, with the status REQUEUE.
    """
    path, made_from, parts_of_batch = log.with_name("state.pt"), _fingerprint(inputs), shares(fabric, options)
    with Log(log, title, options.steps, shown=fabric.is_global_zero) as rows, _until_told() as told:
        first, before = _resume(path, made_from, parts, rows)
        start = saved = time.monotonic()
        for index in range(first, options.steps):
            rows.add(_losses(fabric, step, index, parts_of_batch, seed), index, before + time.monotonic() - start)
            stop = bool(_over_all(fabric, torch.tensor(float(len(told)), device=fabric.device), "sum"))
            if stop or (rows.is_due(index + 1) and fabric.broadcast(time.monotonic() - saved >= options.save_every_s)):
                saved = time.monotonic()
                if fabric.is_global_zero:
                    _keep(path, made_from, parts, rows, index + 1, before + saved - start)
            if stop:
                logging.warning("%s: told to end; saved after step %d of %d", title, index + 1, options.steps)
                raise SystemExit(REQUEUE)
        if fabric.is_global_zero:
            rows.write()
    if fabric.is_global_zero:
        save()
        path.unlink(missing_ok=True)
    fabric.barrier()


def _losses(fabric: Fabric, step: Callable[[int, slice], Losses], index: int, parts: list[slice], seed: int) -> dict[str, float]:
    """Take a step, part by part; the means of its losses over all parts and processes."""
    found = []
    for part in parts:
        torch.manual_seed(int(np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)[0] >> np.uint64(1)))
        found.append({name: value.detach().float() for name, value in step(index, part).items()})
    means = {name: torch.stack([losses[name] for losses in found]).mean() for name in found[0]}
    return {name: float(_over_all(fabric, value, "mean")) for name, value in means.items()}


def _over_all(fabric: Fabric, value: torch.Tensor, how: str) -> torch.Tensor:
    """The mean or sum of a scalar over all processes."""
    reduced = fabric.all_reduce(value, reduce_op=how)
    assert isinstance(reduced, torch.Tensor)
    return reduced


@contextmanager
def _until_told() -> Iterator[list[int]]:
    """A list that SIGTERM makes longer, instead of ending the process."""
    told: list[int] = []

    def tell(number: int, _: FrameType | None) -> None:
        told.append(number)

    before = signal.signal(signal.SIGTERM, tell)
    try:
        yield told
    finally:
        signal.signal(signal.SIGTERM, before)


def _fingerprint(inputs: Iterable[Path]) -> str:
    return hashlib.sha256("".join(sha256(path) for path in inputs).encode()).hexdigest()


def _keep(path: Path, made_from: str, parts: Mapping[str, HasState], log: Log, done: int, seconds: float) -> None:
    states = {name: part.state_dict() for name, part in parts.items()}
    try:
        with atomic(path) as temporary:
            torch.save({"made_from": made_from, "step": done, "seconds": seconds, "log": log.state_dict(), "parts": states}, temporary)
            digest = bytes.fromhex(sha256(temporary))
            with temporary.open(
                "ab"
            ) as handle:  # torch does not look at the checksums that it writes; what lies behind does not trouble it
                handle.write(digest)
    except RuntimeError as error:
        raise DataError(f"{path}: expected to write there, found that it fails ({error})") from None


def _is_sealed(path: Path) -> bool:
    """Whether a file ends with the SHA-256 of what stands before."""
    with path.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as content, memoryview(content) as whole:
        return hashlib.sha256(whole[:-32]).digest() == content[-32:]


def _resume(path: Path, made_from: str, parts: Mapping[str, HasState], log: Log) -> tuple[int, float]:
    """Take up a saved state made from the same inputs; the next step and the seconds spent so far."""
    if not path.exists():
        return 0, 0.0
    try:
        if not _is_sealed(path):
            raise ValueError("it is damaged")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged file makes torch raise, the training can start anew
        logging.warning("%s cannot be read and is passed over (%s)", path, error)
        return 0, 0.0
    if state["made_from"] != made_from:
        logging.info("%s: %s is of other settings or inputs and is passed over", log.title, path)
        return 0, 0.0
    for name, part in parts.items():
        part.load_state_dict(state["parts"][name])
    log.load_state_dict(state["log"])
    logging.info("%s: goes on after step %d of %d", log.title, state["step"], log.steps)
    return int(state["step"]), float(state["seconds"])
