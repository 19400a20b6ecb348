"""How alike volumes are: both structural similarities over pairs (Pinaya et al. 2022, Table 1)."""

from collections.abc import Callable
from functools import partial
from itertools import combinations

import numpy as np
import torch
from rich.progress import track
from scipy import stats

from brainldm.metrics import g4r, ssim
from brainldm.metrics.g4r import g4r_ssim
from brainldm.metrics.pairs import random_pairs
from brainldm.metrics.sharpness import sharpness
from brainldm.metrics.ssim import ms_ssim
from brainldm.metrics.summary import Entries, entry, psnr_db

SCORES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "ms_ssim": ms_ssim,
    "g4r_ssim": g4r_ssim,
    "g4r_ssim_single_scale": partial(g4r_ssim, multi_scale=False),
    "g4r_ssim_plain": partial(g4r_ssim, star=False),  # what the same lab's public code computes
}
LOADED_VOXELS = 1 << 20  # of the pairs that are read at once: 25 pairs at 5 mm, one at 1 mm
Read = Callable[[np.ndarray], np.ndarray]  # places in a set -> volumes [N,1,I,J,K]; clamped to [0, 1], the similarities' data range
Arrays = dict[str, np.ndarray]
Keep = Callable[[str, int, Callable[[range], Arrays]], Arrays]  # runs a function over parts of n items and joins what it returns


def at_once(name: str, n: int, make: Callable[[range], Arrays]) -> Arrays:
    """No parts."""
    return make(range(n))


def diversity(
    read: Read, n: int, n_pairs: int, seed: int, device: torch.device, kind: str = "", sample: int = 0, keep: Keep = at_once
) -> Entries:
    """All SCORES of random pairs of n volumes, the keys followed by `_kind`; intervals as of `mean_of_pairs`.

    `sample` above 1: of all pairs of as many volumes too, as `..._all_pairs`.
    """
    end = f"_{kind}" if kind else ""
    pairs = np.array(random_pairs(n, n, n_pairs, [seed, 53], same=True))
    found = keep(f"pairs{end}", len(pairs), lambda part: _scores(read, pairs[part], device, f"{kind or 'synthetic'} pairs"))
    means = [mean_of_pairs(f"{name}{end}", found[name], pairs) for name in found]
    if min(sample, n) < 2:
        return {key: value for one in means for key, value in one.items()}
    volumes = np.random.default_rng([seed, 59]).permutation(n)[:sample]
    places = np.array(list(combinations(range(len(volumes)), 2)))
    whole = keep(
        f"all_pairs{end}", len(places), lambda part: _scores(read, volumes[places[part]], device, f"all {kind or 'synthetic'} pairs")
    )
    means += [mean_of_pairs(f"{name}_all_pairs{end}", whole[name], places) for name in whole]
    return {key: value for one in means for key, value in one.items()}


def scales(shape: tuple[int, int, int]) -> Entries:
    """`ms_ssim_weights` and `g4r_ssim_weights` of the scales that fit the grid, finest first."""
    return {"ms_ssim_weights": ssim.scale_weights(shape), "g4r_ssim_weights": g4r.scale_weights(shape)}


def _scores(read: Read, pairs: np.ndarray, device: torch.device, title: str) -> Arrays:
    scores, at_once = [], max(1, LOADED_VOXELS // read(pairs[0, :1]).size)
    for start in track(range(0, len(pairs), at_once), title):
        chunk = pairs[start : start + at_once]
        x, y = (torch.from_numpy(read(side)).float().clamp(0, 1).to(device) for side in chunk.T)
        scores.append(torch.stack([score(x, y) for score in SCORES.values()], 1).double().cpu().numpy())
    values = np.concatenate(scores)
    return dict(zip(SCORES, values.T, strict=True))


def mean_of_pairs(key: str, scores: np.ndarray, pairs: np.ndarray) -> Entries:
    """Mean of scores [P] of pairs [P,2] of volumes; the interval is for other volumes.

    Pairs that share a volume are not independent: the variance sums the products of all of them (Aronow et al. 2015). None of one pair.
    """
    volumes, found = np.unique(pairs, return_inverse=True)
    n, off = len(volumes), scores - scores.mean()
    of_volumes = np.bincount(found.ravel(), np.repeat(off, 2), n)
    squares = max(of_volumes @ of_volumes - off @ off, off @ off) * n / (n - 1)
    reach = stats.t.ppf(0.975, n - 1) * np.sqrt(squares) / len(off) if len(off) > 1 else np.nan
    return entry(key, float(scores.mean()), len(scores), (float(scores.mean() - reach), float(scores.mean() + reach)))


def reconstruction(again: Read, read: Read, n: int, device: torch.device) -> Arrays:
    """PSNR (dB) and MS-SSIM of n images with their originals, and their sharpness, all [N]; one at a time."""
    found: dict[str, list[np.ndarray]] = {}
    for place in range(n):
        image, original = (side(np.array([place])) for side in (again, read))
        alike = ms_ssim(torch.from_numpy(image).to(device), torch.from_numpy(original).to(device)).cpu().numpy()
        values = (alike, psnr_db(image, original), sharpness(image))
        for name, value in zip(("autoencoder_ms_ssim", "autoencoder_psnr_db", "sharpness_reconstruction"), values, strict=True):
            found.setdefault(name, []).append(value)
    return {name: np.concatenate(values) for name, values in found.items()}
