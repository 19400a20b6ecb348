"""Does a set hold copies of training scans? Distances to training against held-out scans, and planted copies that must be found.

A memorised volume lies far nearer to one training scan than to any scan that was never trained on (Dar et al. 2024, arXiv 2402.01054).
The ratio of both distances says so; a distance alone also falls when volumes are merely blurred, because the mean is near to everyone.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy import ndimage, stats

from brainldm.core.gate import PASSED
from brainldm.core.judging import Evaluate
from brainldm.metrics.nearest import Chosen, nearest_references
from brainldm.metrics.summary import Entries, entry, nearness

NEIGHBOURS = 5  # held-out scans whose mean distance stands for "a scan that was never trained on"
FALSE_ALARMS = 0.01  # share of new volumes at most that may be taken for copies
SENSITIVITY = 0.95  # share of planted copies at least that must be found
CONFIDENCE = 0.95
SAFETY = 10  # thresholds aim at a tenth of the false alarms allowed: real tails are longer than the normal's (docs/evaluation.md)
FEWEST = 20  # planted copies and held-out scans below which nothing is claimed
BLOCK_MM = 10.0  # edge of a voxel of the low-resolution images
NOISE, SHIFT_MM, GAIN = 0.02, 1.0, 0.1  # how much planted copies are altered, intensities in [0, 1]
COPIES, TOO_LITTLE = "copies found", "not enough data"

Arrays = dict[str, np.ndarray]
Ratios = Mapping[str, np.ndarray]  # by space


class Space(NamedTuple):
    """Features [N, D] of the training scans and [H, D] of the held-out scans in one space."""

    train: np.ndarray | Chosen
    held_out: np.ndarray | Chosen

    def ratio(self, queries: np.ndarray | Chosen, own: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of queries [Q, D]: distance to the nearest training scan over that to held-out ones; which scan it is; that distance; all [Q].

        `own`: the queries are the held-out scans themselves, each of which is none of its own neighbours.
        """
        distance, which = nearest_references(queries, self.train)
        k = min(NEIGHBOURS, len(self.held_out) - 1)
        others = nearest_references(queries, self.held_out, k + own)[0][:, own:].mean(axis=1) if k else np.ones(len(queries))
        return distance[:, 0] / np.maximum(others, 1e-12), which[:, 0], distance[:, 0]


class Detector(NamedTuple):
    """Spaces by the name that their features have in a description, and the held-out scans' own ratios in each."""

    spaces: Mapping[str, Space]
    held_out: Ratios
    held_out_from_train: np.ndarray  # [H], in the first space

    def __call__(self, described: Arrays) -> Arrays:
        """A description of N volumes, with its features of the spaces replaced by what they tell, all [N].

        copy_score: the least over spaces of ratio over threshold; below 1 a volume counts as a copy. copied: the training scan that
        this is about. from_train: distance to the nearest training scan in the first space.
        """
        found = {name: space.ratio(described[name]) for name, space in self.spaces.items()}
        scores = np.stack(scores_of({name: ratio for name, (ratio, _, _) in found.items()}, self.held_out))
        place = (scores.argmin(axis=0), np.arange(scores.shape[1]))
        which, distance = np.stack([which for _, which, _ in found.values()]), next(iter(found.values()))[2]
        others = {name: values for name, values in described.items() if name not in self.spaces}
        return {**others, "copy_score": scores[place], "copied": which[place], "from_train": distance}


def detector(spaces: Mapping[str, Space]) -> Detector:
    """Calibrate on the held-out scans."""
    own = {name: space.ratio(space.held_out, own=True) for name, space in spaces.items()}
    return Detector(spaces, {name: found[0] for name, found in own.items()}, next(iter(own.values()))[2])


def low_resolution(images: np.ndarray, spacing_mm: float, block_mm: float = BLOCK_MM) -> np.ndarray:
    """Means of blocks of `block_mm` of images [N,1,I,J,K], each volume with mean 0 and norm 1 (so gain and offset are gone) -> float16."""
    edge = max(1, round(block_mm / spacing_mm))
    i, j, k = (side // edge * edge for side in images.shape[2:])
    cut = images[:, :, :i, :j, :k]
    blocks = (
        cut.reshape(len(cut), i // edge, edge, j // edge, edge, k // edge, edge).mean((2, 4, 6), dtype=np.float32).reshape(len(cut), -1)
    )
    centred = blocks - blocks.mean(axis=1, keepdims=True)
    return (centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-6)).astype(np.float16)


def altered(images: np.ndarray, spacing_mm: float, generator: np.random.Generator) -> np.ndarray:
    """Images [N,1,I,J,K] in [0, 1], each moved by up to SHIFT_MM along every axis, with another gain and with noise."""
    shifts = generator.uniform(-SHIFT_MM, SHIFT_MM, (len(images), 3)) / spacing_mm
    gains = generator.uniform(1 - GAIN, 1 + GAIN, len(images))
    moved = [gain * ndimage.shift(image[0], by, order=1, mode="nearest") for image, by, gain in zip(images, shifts, gains, strict=True)]
    return np.clip(np.stack(moved)[:, None] + NOISE * generator.standard_normal(images.shape), 0, 1).astype(np.float32)


def threshold(ratios: np.ndarray, false_alarms: float) -> float:
    """The ratio below which lies, with 95 % confidence, at most `false_alarms` of what the held-out scans' ratios [H] were drawn from.

    A one-sided tolerance limit of the normal distribution (ISO 16269-6), of logarithms. Few scans give a low limit, hence a blind audit.
    """
    n = len(ratios)
    if n < 3 or ratios.min() <= 0:
        return 0.0
    factor = stats.nct.ppf(CONFIDENCE, n - 1, np.sqrt(n) * stats.norm.ppf(1 - false_alarms)) / np.sqrt(n)
    logs = np.log(ratios)
    return float(np.exp(logs.mean() - factor * logs.std(ddof=1)))


def scores_of(ratios: Ratios, held_out: Ratios) -> list[np.ndarray]:
    """Ratio over threshold, [N] for each space; the spaces share the false alarms."""
    return [ratios[space] / max(limit, 1e-12) for space, limit in thresholds(held_out).items()]


def thresholds(held_out: Ratios) -> dict[str, float]:
    """Of every space: the ratio below which a volume counts as a copy."""
    return {space: threshold(ratios, FALSE_ALARMS / SAFETY / len(held_out)) for space, ratios in held_out.items()}


def false_alarms(held_out: Ratios, folds: int = 10) -> np.ndarray:
    """Whether each held-out scan would count as a copy by the thresholds of the others, bool [H]; it takes turns in folds."""
    n = len(next(iter(held_out.values())))
    fold = np.arange(n) % folds
    found = np.zeros(n, dtype=bool)
    for turn in range(min(folds, n)):
        one, rest = ({space: ratios[chosen] for space, ratios in held_out.items()} for chosen in (fold == turn, fold != turn))
        found[fold == turn] = np.min(scores_of(one, rest), axis=0) < 1
    return found


def audit(synthetic: np.ndarray, alarms: np.ndarray, planted: Mapping[str, np.ndarray], limit: float) -> Entries:
    """The verdict `audit`, and what it rests on: the rates of volumes that count as copies, with intervals.

    Given are the copy scores [N] of synthetic volumes and of each kind of planted copies, and whether each held-out scan raised a false
    alarm, bool [H]. `limit`: the copy rate that must be excluded before the set may be called free of copies. False alarms are taken to
    explain some scores just below 1, but none below the median score of a kind of planted copies that is found (`copies_as_planted`).
    """
    seen = [scores for scores in planted.values() if len(scores) >= FEWEST and np.mean(scores < 1) >= SENSITIVITY]
    certain = max((float(np.median(scores)) for scores in seen), default=0.0)
    rates = {
        **rate("copy_rate", synthetic < 1),
        **rate("copies_as_planted", synthetic < certain),
        "copies_as_planted_score": certain,
        **rate("audit_false_alarms", alarms),
        **{key: value for kind, scores in planted.items() for key, value in rate(f"audit_found_{kind}", scores < 1).items()},
    }
    blind = not seen or len(seen) < len(planted) or len(alarms) < FEWEST
    alarmist = rates["audit_false_alarms_ci"][0] > FALSE_ALARMS
    if rates["copy_rate_ci"][0] > FALSE_ALARMS or rates["copies_as_planted"]:
        verdict = COPIES
    else:
        verdict = TOO_LITTLE if blind or alarmist or rates["copy_rate_ci"][1] > limit else PASSED
    return {"audit": verdict, "audit_limit": limit, **rates}


def conduct(detector: Detector, synthetic: Arrays, planted: Mapping[str, Arrays], options: Evaluate, seed: int) -> Entries:
    """`audit` of what the detector said of synthetic volumes and of planted copies, and the plain distances' `nearest_train_ratio`."""
    scores = {kind: told["copy_score"] for kind, told in planted.items()}
    entries = audit(synthetic["copy_score"], false_alarms(detector.held_out), scores, options.copy_rate_limit)
    return {
        **entries,
        "audit_thresholds": thresholds(detector.held_out),
        **nearness(synthetic["from_train"], detector.held_out_from_train, options.bootstrap, seed),
    }


def rate(key: str, found: np.ndarray) -> Entries:
    """The share of [N] that is true, with the interval of Clopper and Pearson (1934)."""
    k, n = int(np.sum(found)), len(found)
    low = stats.beta.ppf(0.025, k, n - k + 1) if k else 0.0
    high = stats.beta.ppf(0.975, k + 1, n - k) if k < n else 1.0
    return entry(key, k / n if n else float("nan"), n, (float(low), float(high)))
