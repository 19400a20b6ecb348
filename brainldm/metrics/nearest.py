"""Distance to the nearest training scan: do synthetic volumes copy it more closely than unseen real ones do?"""

import numpy as np

from brainldm.core.errors import DataError

CHUNK_VALUES = 1 << 24
BLOCK_VALUES = 1 << 26


def nearest_distance(queries: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Euclidean distance of each query [N, D] to its nearest reference [M, D] -> float64 [N]; 0 for an exact copy."""
    return nearest_reference(queries, references)[0]


def nearest_reference(queries: np.ndarray, references: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance [N] of each query [N, D] to its nearest reference [M, D], and which one that is, int [N]."""
    if not len(queries) or not len(references):
        raise DataError(f"nearest distance: expected queries and references, found {len(queries)} and {len(references)}")
    size = max(1, CHUNK_VALUES // max(references.shape))
    parts = [_nearest(np.asarray(queries[first : first + size], dtype=np.float64), references) for first in range(0, len(queries), size)]
    distances, which = zip(*parts, strict=True)
    return np.concatenate(distances), np.concatenate(which)


def _nearest(queries: np.ndarray, references: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The product finds which reference is nearest; the distance itself is taken from the difference, free of its round-off.

    References are taken some at a time, so that only those become float64.
    """
    size = max(1, BLOCK_VALUES // references.shape[1])
    scores = []
    for first in range(0, len(references), size):
        block = np.asarray(references[first : first + size], dtype=np.float64)
        scores.append(np.sum(block**2, axis=1) - 2 * queries @ block.T)
    which = np.argmin(np.concatenate(scores, axis=1), axis=1)
    return np.linalg.norm(queries - np.asarray(references[which], dtype=np.float64), axis=1), which


def nearest_train_ratio(synthetic: np.ndarray, held_out: np.ndarray) -> float:
    """Median distance to the nearest training scan of synthetic volumes [N] over that of held-out real scans [H]; 1 is ideal, 0 copying."""
    real = float(np.median(held_out))
    if real == 0:
        raise DataError("nearest distance: most held-out scans are exact copies of training scans, so the split leaks")
    return float(np.median(synthetic)) / real
