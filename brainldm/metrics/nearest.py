"""Distance to the nearest training scan: do synthetic volumes copy it more closely than unseen real ones do?"""

from collections.abc import Callable

import numpy as np

from brainldm.core.errors import DataError

Rows = Callable[[np.ndarray], np.ndarray]  # places -> features [N, D]
CHUNK_VALUES = 1 << 24
BLOCK_VALUES = 1 << 26


class Chosen:
    """Rows [M, D] of a larger array, or of files, which are read some at a time when they are asked for."""

    def __init__(self, rows: Rows, places: np.ndarray) -> None:
        self.rows, self.places = rows, places
        self.shape = (len(places), rows(places[:1]).shape[1]) if len(places) else (0, 0)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, which: slice | np.ndarray) -> np.ndarray:
        return self.rows(self.places[which])


def nearest_distance(queries: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Euclidean distance of each query [N, D] to its nearest reference [M, D] -> float64 [N]; 0 for an exact copy."""
    return nearest_references(queries, references)[0][:, 0]


def nearest_references(queries: np.ndarray | Chosen, references: np.ndarray | Chosen, k: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Distances [N, k] of each query [N, D] to its k nearest references [M, D], nearest first, and which they are, int [N, k]."""
    if not len(queries) or len(references) < k:
        raise DataError(f"nearest distance: expected queries and at least {k} references, found {len(queries)} and {len(references)}")
    size = max(1, CHUNK_VALUES // max(references.shape))
    parts = [_nearest(np.asarray(queries[first : first + size], dtype=np.float64), references, k) for first in range(0, len(queries), size)]
    distances, which = zip(*parts, strict=True)
    return np.concatenate(distances), np.concatenate(which)


def _nearest(queries: np.ndarray, references: np.ndarray | Chosen, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The product finds which references are nearest; the distances are taken from the differences, free of its round-off.

    References are taken some at a time, so that only those become float64.
    """
    size = max(1, BLOCK_VALUES // references.shape[1])
    scores = []
    for first in range(0, len(references), size):
        block = np.asarray(references[first : first + size], dtype=np.float64)
        scores.append(np.sum(block**2, axis=1) - 2 * queries @ block.T)
    which = np.argpartition(np.concatenate(scores, axis=1), k - 1, axis=1)[:, :k]
    columns = [np.linalg.norm(queries - np.asarray(references[chosen], dtype=np.float64), axis=1) for chosen in which.T]
    distances = np.stack(columns, axis=1)
    order = np.argsort(distances, axis=1)
    return np.take_along_axis(distances, order, 1), np.take_along_axis(which, order, 1)


def nearest_train_ratio(synthetic: np.ndarray, held_out: np.ndarray) -> float:
    """Median distance to the nearest training scan of synthetic volumes [N] over that of held-out real scans [H]; 1 is ideal, 0 copying."""
    real = float(np.median(held_out))
    if real == 0:
        raise DataError("nearest distance: most held-out scans are exact copies of training scans, so the split leaks")
    return float(np.median(synthetic)) / real
