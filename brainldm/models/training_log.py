"""What a training tells of itself: losses as CSV, to tensorboard, as a progress bar, now and then as a line."""

import csv
import logging
import math
from pathlib import Path

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.utils.tensorboard import SummaryWriter

from brainldm.core.errors import BrainLDMError
from brainldm.core.files import atomic

LOG_EVERY = 10


class Log:
    """Mean losses of every LOG_EVERY steps; `shown` is false in all processes but the first, where only the rows are kept."""

    def __init__(self, path: Path, title: str, steps: int, shown: bool = True) -> None:
        self.path, self.title, self.steps = path, title, steps
        self.rows: list[dict[str, float]] = []
        self._window: list[dict[str, float]] = []
        self._writer = SummaryWriter(path.parent / "tensorboard") if shown else None
        columns = [TextColumn(title), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[losses]}"), TimeRemainingColumn()]
        self._progress = Progress(*columns, disable=not shown)
        self._bar = self._progress.add_task(title, total=steps, losses="")

    def __enter__(self) -> "Log":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
        if self._writer:
            self._writer.close()

    def state_dict(self) -> dict[str, list[dict[str, float]]]:
        """The rows so far, and the losses since the last of them."""
        return {"rows": self.rows, "window": self._window}

    def load_state_dict(self, state: dict[str, list[dict[str, float]]]) -> None:
        """Take back what `state_dict` gave."""
        self.rows, self._window = state["rows"], state["window"]

    def add(self, values: dict[str, float], index: int, seconds: float) -> None:
        """Take the losses of step `index`; one that is not finite is an error that names it and the step."""
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
        if self._writer is None:
            return
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
