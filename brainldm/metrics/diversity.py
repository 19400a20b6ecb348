"""How alike the volumes of a set are: both structural similarities over random pairs (Pinaya et al. 2022, Table 1)."""

from collections.abc import Callable

import numpy as np
import torch
from rich.progress import track

from brainldm.metrics.g4r import g4r_ssim
from brainldm.metrics.pairs import random_pairs
from brainldm.metrics.ssim import ms_ssim
from brainldm.metrics.summary import Entries, mean_of

PAIRS_AT_ONCE = 16


def diversity(
    read: Callable[[np.ndarray], np.ndarray], n: int, n_pairs: int, bootstrap: int, seed: int, device: torch.device, kind: str = ""
) -> Entries:
    """`ms_ssim` and `g4r_ssim` of a set of n volumes, the keys followed by `_kind`; the interval resamples pairs.

    `read(places)` gives volumes [N,1,I,J,K]; intensities are clamped to [0, 1], the similarities' data range.
    """
    pairs = np.array(random_pairs(n, n, n_pairs, [seed, 53], same=True))
    scores = []
    for start in track(range(0, len(pairs), PAIRS_AT_ONCE), f"{kind or 'synthetic'} pairs"):
        chunk = pairs[start : start + PAIRS_AT_ONCE]
        x, y = (torch.from_numpy(read(side)).float().clamp(0, 1).to(device) for side in chunk.T)
        scores.append(torch.stack([ms_ssim(x, y), g4r_ssim(x, y)], 1).double().cpu().numpy())
    values = np.concatenate(scores)
    suffix = f"_{kind}" if kind else ""
    return {**mean_of(f"ms_ssim{suffix}", values[:, 0], bootstrap, seed), **mean_of(f"g4r_ssim{suffix}", values[:, 1], bootstrap, seed)}
