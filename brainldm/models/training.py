"""One training loop for all networks: Lightning Fabric for device and precision, warm-up and cosine decay, CSV and tensorboard.

A training that was killed goes on from its last saved state. All that is random in a step follows from (seed, step), so that it
ends with the same weights as one that ran through.
"""

import csv
import hashlib
import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from lightning_fabric import Fabric
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from brainldm.core.config import Training
from brainldm.core.errors import BrainLDMError
from brainldm.core.files import atomic, sha256

LOG_EVERY = 10
SAVE_EVERY_S = 300.0
Losses = dict[str, torch.Tensor]


class HasState(Protocol):
    """A network, an optimizer, an average of weights."""

    def state_dict(self) -> dict[str, Any]:
        """All that changes in training."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any:
        """Take it back."""


def make_fabric(device: str, precision: str, seed: int) -> Fabric:
    """A Fabric on `device` (auto, cpu, cuda); seeds torch's global generator, which initialises the networks."""
    if precision == "auto":
        precision = "bf16-mixed" if device != "cpu" and torch.cuda.is_available() else "32-true"
    torch.manual_seed(seed)
    return Fabric(accelerator="gpu" if device == "cuda" else device, devices=1, precision=precision)  # type: ignore[arg-type]


class Optimizer:
    """AdamW with linear warm-up, cosine decay to a hundredth, and gradient clipping, over one network."""

    def __init__(self, fabric: Fabric, network: nn.Module, options: Training, learning_rate: float | None = None) -> None:
        adam = torch.optim.AdamW(network.parameters(), learning_rate or options.learning_rate, weight_decay=options.weight_decay)
        self.fabric, self.clip = fabric, options.gradient_clip
        # Channels last: a fifth faster on CPUs in float32 (measured), and what tensor cores want.
        network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self.network, self.adam = fabric.setup(network, adam)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: _rate(step, options))

    def step(self, loss: torch.Tensor) -> None:
        """Back-propagate `loss` and update the network."""
        self.adam.zero_grad(set_to_none=True)
        self.fabric.backward(loss)
        self.fabric.clip_gradients(self.network, self.adam, max_norm=self.clip)
        self.adam.step()
        self.schedule.step()

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


class Log:
    """Mean losses of every LOG_EVERY steps: rows of a CSV, scalars of tensorboard, a progress bar, now and then a line."""

    def __init__(self, path: Path, title: str, steps: int) -> None:
        self.path, self.title, self.steps = path, title, steps
        self.rows: list[dict[str, float]] = []
        self._window: list[dict[str, float]] = []
        self._writer = SummaryWriter(path.parent / "tensorboard")
        columns = [TextColumn(title), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[losses]}"), TimeRemainingColumn()]
        self._progress = Progress(*columns)
        self._bar = self._progress.add_task(title, total=steps, losses="")

    def __enter__(self) -> "Log":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
        self._writer.close()

    def add(self, losses: Losses, index: int, seconds: float) -> None:
        """Take the losses of step `index`; one that is not finite is an error that names it and the step."""
        values = {name: float(value.detach()) for name, value in losses.items()}
        for name, value in values.items():
            if not math.isfinite(value):
                hint = "lower learning_rate or use precision 32-true"
                raise BrainLDMError(f"{self.title}: the loss {name!r} is {value} at step {index}; {hint}")
        self._window.append(values)
        if self.is_due(index + 1):
            self._flush(index + 1, seconds)

    def is_due(self, done: int) -> bool:
        """Whether a row ends after `done` steps."""
        return done % LOG_EVERY == 0 or done == self.steps

    def _flush(self, done: int, seconds: float) -> None:
        means = {name: float(np.mean([row[name] for row in self._window if name in row])) for name in self._window[-1]}
        self.rows.append({"step": done, "seconds": round(seconds, 2), **means})
        self._window = []
        for name, value in means.items():
            self._writer.add_scalar(name, value, done)
        shown = " ".join(f"{name} {value:.4g}" for name, value in means.items())
        self._progress.update(self._bar, completed=done, losses=shown)
        if done % max(LOG_EVERY, self.steps // 10 // LOG_EVERY * LOG_EVERY) == 0 and not self._progress.console.is_terminal:
            logging.info("%s: step %d of %d, %s", self.title, done, self.steps, shown)  # a bar shows nothing in a log

    def write(self) -> None:
        """Write the CSV."""
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        with atomic(self.path) as temporary, temporary.open("w", newline="") as handle:
            writer = csv.DictWriter(handle, names)
            writer.writeheader()
            writer.writerows(self.rows)


def run(
    step: Callable[[int], Losses],
    steps: int,
    log: Path,
    title: str,
    parts: Mapping[str, HasState],
    inputs: Iterable[Path],
    save: Callable[[], None],
    seed: int = 0,
    save_every_s: float = SAVE_EVERY_S,
) -> None:
    """Call `step(index)` for every index below `steps`, then `save()`; losses go to `log` (CSV) and to tensorboard beside it.

    The state of `parts` is saved every `save_every_s` beside the log, and taken up if the files `inputs` are those of then. `step` must
    draw what is random from its index or from torch's global generator, which is seeded before every step.
    """
    path, made_from = log.with_name("state.pt"), _fingerprint(inputs)
    with Log(log, title, steps) as rows:
        first, before = _resume(path, made_from, parts, rows)
        start = saved = time.monotonic()
        for index in range(first, steps):
            torch.manual_seed(int(np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)[0] >> np.uint64(1)))
            rows.add(step(index), index, before + time.monotonic() - start)
            if rows.is_due(index + 1) and time.monotonic() - saved >= save_every_s:
                saved = time.monotonic()
                _keep(path, made_from, parts, rows, index + 1, before + saved - start)
        rows.write()
    save()
    path.unlink(missing_ok=True)


def _fingerprint(inputs: Iterable[Path]) -> str:
    return hashlib.sha256("".join(sha256(path) for path in inputs).encode()).hexdigest()


def _keep(path: Path, made_from: str, parts: Mapping[str, HasState], log: Log, done: int, seconds: float) -> None:
    states = {name: part.state_dict() for name, part in parts.items()}
    with atomic(path) as temporary:
        torch.save({"made_from": made_from, "step": done, "seconds": seconds, "rows": log.rows, "parts": states}, temporary)


def _resume(path: Path, made_from: str, parts: Mapping[str, HasState], log: Log) -> tuple[int, float]:
    """Take up a saved state made from the same inputs; the next step and the seconds spent so far."""
    if not path.exists():
        return 0, 0.0
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged file makes torch raise, the training can start anew
        logging.warning("%s cannot be read and is passed over (%s)", path, error)
        return 0, 0.0
    if state["made_from"] != made_from:
        logging.info("%s: %s is of other settings or inputs and is passed over", log.title, path)
        return 0, 0.0
    for name, part in parts.items():
        part.load_state_dict(state["parts"][name])
    log.rows += state["rows"]
    logging.info("%s: goes on after step %d of %d", log.title, state["step"], log.steps)
    return int(state["step"]), float(state["seconds"])
