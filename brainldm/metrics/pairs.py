"""Random pairs of volumes, over which diversity is measured (Pinaya et al. 2022: 1000 pairs)."""

from collections.abc import Sequence

import numpy as np

from brainldm.core.errors import DataError


def random_pairs(n_a: int, n_b: int, n_pairs: int, seed: int | Sequence[int], same: bool) -> list[tuple[int, int]]:
    """Draw pairs (i, j) with i < n_a and j < n_b, no pair twice; all there are, if that is fewer than `n_pairs`.

    `same`: both indices address one set (n_a = n_b), so no i = j, and (i, j) and (j, i) are one pair.
    """
    if same and n_a != n_b:
        raise ValueError(f"pairs within one set: expected n_a = n_b, found {n_a} and {n_b}")
    n_possible = n_a * (n_a - 1) // 2 if same else n_a * n_b
    if n_possible == 0:
        raise DataError(f"expected {'at least two volumes' if same else 'volumes on both sides'} to pair, found {n_a} and {n_b}")
    codes = np.random.default_rng(seed).choice(n_possible, size=min(n_pairs, n_possible), replace=False)
    if same:  # codes walk round the circle of volumes: all at distance 1, then all at distance 2, ... half-way round
        return [(int(code % n_a), int((code % n_a + code // n_a + 1) % n_a)) for code in codes]
    return [(int(code // n_b), int(code % n_b)) for code in codes]
