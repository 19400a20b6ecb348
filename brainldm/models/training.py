"""One training loop for all networks: Lightning Fabric for device and precision, warm-up and cosine decay, CSV and tensorboard."""

import csv
import logging
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from brainldm.core.config import Training
from brainldm.core.errors import BrainLDMError
from brainldm.core.files import atomic

LOG_EVERY = 10
Losses = dict[str, torch.Tensor]


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


def _rate(step: int, options: Training) -> float:
    if step < options.warmup_steps:
        return (step + 1) / options.warmup_steps
    done = (step - options.warmup_steps) / max(1, options.steps - options.warmup_steps)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def batches(n_items: int, batch_size: int, seed: int) -> Callable[[], np.ndarray]:
    """A function that gives the next batch of item indices: epochs of shuffled items, without end, by seed."""
    generator = np.random.default_rng([seed, n_items])
    queue: list[int] = []

    def draw() -> np.ndarray:
        while len(queue) < batch_size:
            queue.extend(generator.permutation(n_items).tolist())
        return np.array([queue.pop(0) for _ in range(batch_size)])

    return draw


def run(step: Callable[[int], Losses], steps: int, log: Path, title: str) -> None:
    """Call `step(index)` `steps` times; mean losses of every LOG_EVERY steps go to `log` (CSV) and to tensorboard beside it.

    A loss that is not finite stops the training with an error that names it and the step.
    """
    columns = [TextColumn(title), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[losses]}"), TimeRemainingColumn()]
    start, rows, window = time.monotonic(), [], []  # type: ignore[var-annotated]
    with SummaryWriter(log.parent / "tensorboard") as writer, Progress(*columns) as progress:
        bar = progress.add_task(title, total=steps, losses="")
        for index in range(steps):
            window.append({name: float(value.detach()) for name, value in step(index).items()})
            _check_finite(window[-1], index, title)
            if (index + 1) % LOG_EVERY == 0 or index + 1 == steps:
                means = {name: float(np.mean([losses[name] for losses in window if name in losses])) for name in window[-1]}
                rows.append({"step": index + 1, "seconds": round(time.monotonic() - start, 2), **means})
                for name, value in means.items():
                    writer.add_scalar(name, value, index + 1)
                shown = " ".join(f"{name} {value:.4g}" for name, value in means.items())
                progress.update(bar, completed=index + 1, losses=shown)
                window = []
                if (index + 1) % max(LOG_EVERY, steps // 10 // LOG_EVERY * LOG_EVERY) == 0 and not progress.console.is_terminal:
                    logging.info("%s: step %d of %d, %s", title, index + 1, steps, shown)  # a bar shows nothing in a log
    _write_log(log, rows)


def _check_finite(losses: dict[str, float], index: int, title: str) -> None:
    for name, value in losses.items():
        if not math.isfinite(value):
            raise BrainLDMError(f"{title}: the loss {name!r} is {value} at step {index}; lower learning_rate or use precision 32-true")


def _write_log(log: Path, rows: list[dict[str, float]]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    with atomic(log) as temporary, temporary.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, names)
        writer.writeheader()
        writer.writerows(rows)
