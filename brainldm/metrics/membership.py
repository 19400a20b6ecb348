"""Membership inference: does what is published tell whose scans the models were trained on?

An attack gives every scan a score, higher for scans that it takes for training scans. Held-out scans of the same population are the
control: an attack has learned something if it ranks training scans ("members") above held-out ones ("others"). The area under the ROC
curve (AUC) says how often; the true-positive rate at 1 % false positives says whether it is sure of a few (Carlini et al. 2022,
arXiv 2112.03570). Distances to the nearest record alone do not show this (arXiv 2505.01524).
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy import ndimage, optimize, stats

from brainldm.core.errors import DataError
from brainldm.core.gate import NO_LEAK
from brainldm.metrics.audit import FEWEST, NEIGHBOURS, low_resolution, rate
from brainldm.metrics.nearest import Rows, nearest_references
from brainldm.metrics.summary import Entries, entry

FALSE_POSITIVES = 0.01  # at which the true-positive rate is reported
UNUSUAL = 0.1  # share of people, the most unusual ones, of whom figures are reported as well
CONFIDENCE = 0.95
TOLERANCE, TOLERANCE_UNUSUAL = 0.03, 0.05  # by which an AUC may exceed 0.5: of all people, of the most unusual tenth
MOST_SURE = 0.02  # true-positive rate at 1 % false positives that is still no leak
EXCLUDED = 0.65  # AUC of all people that every attack must exclude before a release may be called free of leaks
CONTROL_AUC = 0.9  # that an attack must reach where training scans are planted
TEXTURE_MM = 20.0  # edge of a block in which the strength of fine detail is averaged
FOLDS = 10  # of held-out scans, which are the reference of a density and the control at once
LEAK, TOO_LITTLE, UNLIKE = "training scans can be told", "not enough data", "held-out scans are unlike training scans"


def auc(members: np.ndarray, others: np.ndarray) -> float:
    """Return the probability that a score of members [N] exceeds one of others [M], ties counting half; nan if there are none."""
    if not len(members) or not len(others):
        return math.nan
    ranks = stats.rankdata(np.concatenate([members, others]))
    return float((ranks[: len(members)].sum() - len(members) * (len(members) + 1) / 2) / (len(members) * len(others)))


def auc_interval(area: float, n_members: int, n_others: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the two-sided confidence interval of an AUC (Newcombe 2006, method 5; variance of Hanley & McNeil 1982).

    The interval holds the areas whose standard error explains the one that was found. At 0.5 this is the Mann-Whitney test, so the
    chance that an interval lies above 0.5 although scores tell nothing does not depend on how scores are distributed.
    """
    if math.isnan(area):
        return math.nan, math.nan
    z = float(stats.norm.ppf((1 + confidence) / 2))

    def beyond(truth: float, sign: int) -> float:
        return sign * (truth - area) - z * _standard_error(truth, n_members, n_others)

    tiny = 1e-9
    low = 0.0 if area <= tiny else float(optimize.brentq(beyond, 0.0, area - tiny, args=(-1,)))
    high = 1.0 if area >= 1 - tiny else float(optimize.brentq(beyond, area + tiny, 1.0, args=(1,)))
    return low, high


def _standard_error(area: float, n_members: int, n_others: int) -> float:
    more = (n_members + n_others) / 2 - 1
    spread = area * (1 - area) * (1 + more * (1 - area) / (2 - area) + more * area / (1 + area))
    return math.sqrt(spread / (n_members * n_others))


def sure(members: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return which members [N] score above all but 1 % of the others [M] (all others below M = 100), bool [N]."""
    if not len(others):
        return np.zeros(0, bool)
    allowed = _allowed(len(others))
    return np.asarray(members > np.sort(others)[::-1][allowed])


def _allowed(n_others: int) -> int:
    """Return how many of the others may be false positives."""
    return int(FALSE_POSITIVES * n_others + 1e-9)


def chance_of(n_sure: int, n_members: int, n_others: int) -> float:
    """Return the probability that at least `n_sure` members are `sure` if scores tell nothing (negative hypergeometric, exact).

    That many are, if and only if the `n_sure + allowed` highest scores of all hold at most the allowed number of others.
    """
    allowed = _allowed(n_others)
    return float(stats.hypergeom.cdf(allowed, n_members + n_others, n_others, n_sure + allowed))


def membership(members: np.ndarray, others: np.ndarray, unusual_members: np.ndarray, unusual_others: np.ndarray) -> Entries:
    """Return how well scores of members [N] and others [M] tell the two apart, for all people and for the unusual ones (bool [N], [M]).

    `auc` with the interval of `auc_interval`; `tpr`, the true-positive rate at 1 % false positives, with the interval of Clopper &
    Pearson (1934) for the threshold that the others give; `tpr_chance`, the probability of so many if scores tell nothing. The keys of
    the unusual begin with `unusual_`. DataError for a score that is no number.
    """
    for scores in (members, others):
        if np.isnan(scores).any():
            raise DataError(f"A membership attack gave {np.isnan(scores).sum()} scores that are no numbers. Check the models it used.")
    return {
        **_told(members, others, ""),
        **_told(members[unusual_members], others[unusual_others], "unusual_"),
    }


def _told(members: np.ndarray, others: np.ndarray, prefix: str) -> Entries:
    n, n_others = len(members), len(others)
    area = auc(members, others)
    found = sure(members, others)
    chance = chance_of(int(found.sum()), n, n_others) if n_others else math.nan
    return {
        **entry(f"{prefix}auc", area, n, auc_interval(area, n, n_others)),
        f"{prefix}n_others": n_others,
        **rate(f"{prefix}tpr", found),
        f"{prefix}tpr_chance": None if math.isnan(chance) else chance,
    }


def unusual(covariates: np.ndarray) -> np.ndarray:
    """Return who of people with covariates [N, D] are the tenth farthest from the mean (Mahalanobis distance), bool [N]."""
    away = covariates - covariates.mean(axis=0)
    inverse = np.linalg.pinv(np.atleast_2d(np.cov(covariates, rowvar=False))) if len(covariates) > 1 else np.eye(covariates.shape[1])
    distance = np.einsum("nd,de,ne->n", away, inverse, away)
    found = np.zeros(len(covariates), bool)
    found[np.argsort(-distance, kind="stable")[: round(UNUSUAL * len(covariates))]] = True
    return found


def reference_distances(rows: Rows, members: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean distances of scans at the places members [N] and others [M] to their nearest held-out scans, [N] and [M].

    Held-out scans are compared with those of other folds, and so are members, each of which belongs to a fold too: otherwise others
    would have a smaller reference than members, which alone would tell the two apart. Ones where there are too few scans.
    """
    n_folds = min(FOLDS, len(others))
    found = [np.ones(len(members)), np.ones(len(others))]
    if n_folds < 2:
        return found[0], found[1]
    fold = np.arange(len(others)) % n_folds
    for turn in range(n_folds):
        reference = rows(others[fold != turn])
        for places, distances in zip((members, others), found, strict=True):
            mine = np.arange(len(places)) % n_folds == turn
            if mine.any():
                near = nearest_references(rows(places[mine]), reference, min(NEIGHBOURS, len(reference)))[0]
                distances[mine] = near.mean(axis=1)
    return found[0], found[1]


def texture(images: np.ndarray, spacing_mm: float) -> np.ndarray:
    """Return how strong fine detail is in each block of 20 mm of images [N,1,I,J,K]: the rest after a mean over 3 x 3 x 3 voxels.

    Normalised as `audit.low_resolution`; float16 [N, D].
    """
    fine = images - ndimage.uniform_filter(images, (1, 1, 3, 3, 3))
    return low_resolution(np.abs(fine), spacing_mm, TEXTURE_MM)


def log_ratio(reference: np.ndarray, synthetic: np.ndarray) -> np.ndarray:
    """Return the log ratio [N] of distances to reference scans over those to synthetic volumes.

    The log density of synthetic volumes around a scan over that of people (DOMIAS, van Breugel et al. 2023, arXiv 2302.12580), divided
    by the dimension, with densities estimated by nearest neighbours (Loftsgaarden & Quesenberry 1965).
    """
    return np.log(np.maximum(reference, 1e-12)) - np.log(np.maximum(synthetic, 1e-12))


class Attack(NamedTuple):
    """What an attack found: entries of `membership`, and the AUC it reaches where training scans are planted."""

    found: Entries
    control_auc: float


def verdict(attacks: Mapping[str, Attack], without_release: Entries | None = None) -> str:
    """Return LEAK, UNLIKE, TOO_LITTLE or NO_LEAK.

    Every attack is looked at three times: AUC of all, AUC of the unusual, sure ones among all. The looks share 5 % of false alarms
    (Bonferroni). NO_LEAK also needs an attack that finds planted training scans, enough scans, and an AUC of 0.65 excluded.
    `without_release` is what can be told without any attack on the release: if that tells the two apart, they are no fair control.
    """
    level = (1 - CONFIDENCE) / (3 * max(1, len(attacks)))
    if without_release and _apart(without_release, 1 - CONFIDENCE):
        return UNLIKE
    if any(_leaks(attack.found, level) for attack in attacks.values()):
        return LEAK
    seen = any(attack.control_auc >= CONTROL_AUC for attack in attacks.values())
    enough = all(min(attack.found["auc_n"], attack.found["n_others"]) >= FEWEST for attack in attacks.values())
    if not (attacks and seen and enough) or any(attack.found["auc_ci"][1] > EXCLUDED for attack in attacks.values()):
        return TOO_LITTLE
    return NO_LEAK


def _leaks(found: Entries, level: float) -> bool:
    """Return whether one of the three looks at an attack shows a leak, each at a one-sided `level`."""
    for prefix, tolerance in (("", TOLERANCE), ("unusual_", TOLERANCE_UNUSUAL)):
        area = found[f"{prefix}auc"]
        if area is not None:
            low = auc_interval(area, found[f"{prefix}auc_n"], found[f"{prefix}n_others"], 1 - 2 * level)[0]
            if low > 0.5 + tolerance:
                return True
    return bool(found["tpr"] is not None and found["tpr"] > MOST_SURE and found["tpr_chance"] < level)


def _apart(found: Entries, level: float) -> bool:
    """Return whether an AUC differs from 0.5, in either direction, by more than the tolerance."""
    if found["auc"] is None:
        return False
    low, high = auc_interval(found["auc"], found["auc_n"], found["n_others"], 1 - level)
    return low > 0.5 + TOLERANCE or high < 0.5 - TOLERANCE
