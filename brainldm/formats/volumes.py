"""The preprocessed scans that the table of covariates names, read one batch at a time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

from brainldm.core.errors import DataError
from brainldm.core.grid import Grid
from brainldm.formats.nifti import read_volume
from brainldm.formats.tables import read_tsv

COLUMNS = ("participant_id", "split", "age_years", "sex", "volume", "ventricles_ml", "brain_ml")
KEEP_BYTES = 2 << 30  # trainings: sets that fit stay in memory after their first reading


class Volumes(Protocol):
    """Volumes on one grid, read by their place in the set."""

    grid: Grid

    def __len__(self) -> int:
        """How many."""

    def batch(self, indices: np.ndarray | range) -> np.ndarray:
        """Volumes [N,1,I,J,K], float32."""


class Joined:
    """Several sets of volumes as one, in their order."""

    def __init__(self, sets: Sequence[Volumes]) -> None:
        self.sets, self.grid = sets, sets[0].grid
        self.starts = np.cumsum([0, *map(len, sets)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def batch(self, indices: np.ndarray | range) -> np.ndarray:
        """Volumes [N,1,I,J,K], float32."""
        return np.concatenate([self._one(int(index)) for index in indices])

    def _one(self, index: int) -> np.ndarray:
        which = int(np.searchsorted(self.starts, index, "right")) - 1
        place = index - int(self.starts[which])
        return self.sets[which].batch(range(place, place + 1))


class VolumeSet:
    """Scans of a covariate table (or of one of its splits), in the table's order; `table` is the pandas frame."""

    def __init__(self, covariates: Path, grid: Grid, split: str | None = None, keep_bytes: int = KEEP_BYTES) -> None:
        table = read_tsv(covariates, COLUMNS)
        self.table: pd.DataFrame = (table if split is None else table[table["split"] == split]).reset_index(drop=True)
        if self.table.empty:
            raise DataError(f"{covariates}: expected scans of the split {split!r}, found none")
        self.grid, self.folder = grid, covariates.parent
        # One array, whose pages are taken as they are filled: small ones that stay would tear the heap between networks' activations.
        kept = len(self.table) if len(self.table) * int(np.prod(grid.shape)) * 4 < keep_bytes else 0
        self._kept, self._read = np.empty((kept, *grid.shape), np.float32), np.zeros(len(self.table), bool)

    def __len__(self) -> int:
        return len(self.table)

    def batch(self, indices: np.ndarray | range) -> np.ndarray:
        """Scans [N,1,I,J,K], float32 in [0, 1]."""
        return np.stack([self._one(int(index)) for index in indices])[:, None]

    def _one(self, index: int) -> np.ndarray:
        if self._read[index]:
            return self._kept[index]
        volume = read_volume(self.folder / self.table["volume"][index], self.grid)
        if len(self._kept):
            self._kept[index], self._read[index] = volume, True
        return volume


def chunks(n_items: int, size: int) -> list[range]:
    """Consecutive ranges of at most `size` that cover 0 ... n_items - 1."""
    return [range(start, min(start + size, n_items)) for start in range(0, n_items, size)]


def mean_and_spread(volumes: Volumes) -> tuple[np.ndarray, float]:
    """Mean [I,J,K] of a set, float32, and the root mean square difference from it; one volume in memory at a time."""
    total, squares = np.zeros(volumes.grid.shape), np.zeros(volumes.grid.shape)
    for index in range(len(volumes)):
        volume = volumes.batch(range(index, index + 1))[0, 0].astype(np.float64)
        total += volume
        squares += volume**2
    mean = total / len(volumes)
    return mean.astype(np.float32), float(np.sqrt((squares / len(volumes) - mean**2).mean()))
