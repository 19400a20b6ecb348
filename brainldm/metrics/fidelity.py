"""How far the features of synthetic volumes lie from real ones: FID and its companions, each beside real against real of one size."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from brainldm.core.errors import DataError
from brainldm.metrics.frechet import distance, fit, frechet_distance, from_moments
from brainldm.metrics.manifold import kernel_distance, precision_recall
from brainldm.metrics.summary import Entries, entry

DRAWS = 40
LARGEST = 4096  # volumes of a draw, whose distances to one another are all kept
SHARES = ("precision", "recall", "coverage")  # at most 1
CURVE = (8, 4, 2, 1)  # points of the curve of FID against n: n / 8 ... n
Measures = Callable[[np.ndarray, np.ndarray], dict[str, float]]


def fidelity(real: np.ndarray, synthetic: np.ndarray, seed: int) -> Entries:
    """fid, kid, precision, recall, density and coverage of features [N, D]; `..._real` is real against real, `fid_curve` FID against n.

    All are between sets of one size n, because they change with n: real scans are split at random into two halves, of which one is
    compared with the other (`_real`) and with as many synthetic volumes. Values are means over DRAWS such draws. The spread of values
    of halves of a sample, drawn without replacement, is that of the value of a whole sample (delete-d jackknife, Shao & Wu 1989): the
    interval is its 2.5th to 97.5th percentile, moved to the mean. Draws of more than half of the synthetic volumes would vary too
    little, so for the interval they are of a half; draws of less than half vary too much, and so does one draw of real against real
    beside the mean of all: the intervals err on the wide side. `fid_variance_real`, what real features vary in all, does not change with n.
    """
    n = min(len(real) // 2, len(synthetic), LARGEST)
    if n < 2:
        raise DataError(f"FID: expected at least 4 real scans and 2 synthetic volumes, found {len(real)} and {len(synthetic)}")
    draws = partial(_draws, real, synthetic, seed=seed)
    whole = draws(n, _all)
    halves = whole if 2 * n <= len(synthetic) else draws(n, _all, n_synthetic=max(len(synthetic) // 2, 2))
    bounds = {name: _interval(name, values, halves[name]) for name, values in whole.items()}
    entries = {key: value for name, values in whole.items() for key, value in entry(name, _mean(values), n, bounds[name]).items()}
    sizes = [n // part for part in CURVE if n // part > 1]
    curve = {name: [found[name] for found in map(partial(draws, measures=_fid), sizes[:-1])] for name in ("fid", "fid_real")}
    means = {name: [*map(_mean, values), entries[name]] for name, values in curve.items()}
    spread = {f"{name}_ci": [*(_interval(name, one, one) for one in values), bounds[name]] for name, values in curve.items()}
    return {
        **entries,
        "fid_draws": DRAWS,
        "fid_variance_real": float(np.var(real, axis=0, ddof=1, dtype=np.float64).sum()),
        "fid_curve": {"n": sizes, **means, **spread},
    }


def against_reference(moments: tuple[np.ndarray, np.ndarray, int], synthetic: np.ndarray, seed: int) -> Entries:
    """`fid_reference`: FID of features [N, D] from saved moments of others; its interval is for the same moments, from DRAWS halves."""
    reference, generator = from_moments(*moments), np.random.default_rng([seed, 33])
    drawn = (generator.permutation(len(synthetic))[: max(len(synthetic) // 2, 2)] for _ in range(DRAWS))
    halves, value = [distance(reference, fit(synthetic[half])) for half in drawn], distance(reference, fit(synthetic))
    found = entry("fid_reference", value, len(synthetic), _interval("fid_reference", [value], halves))
    return {**found, "fid_reference_n_real": reference.n}


def _draws(
    real: np.ndarray, synthetic: np.ndarray, n: int, measures: Measures, seed: int, n_synthetic: int | None = None
) -> dict[str, list[float]]:
    generator = np.random.default_rng([seed, 31])
    found: dict[str, list[float]] = {}
    for _ in range(DRAWS):
        scans, volumes = generator.permutation(len(real)), generator.permutation(len(synthetic))
        reference = real[scans[:n]]
        for end, others in (("", synthetic[volumes[: n_synthetic or n]]), ("_real", real[scans[n : 2 * n]])):
            for name, value in measures(reference, others).items():
                found.setdefault(f"{name}{end}", []).append(value)
    return found


def _fid(real: np.ndarray, others: np.ndarray) -> dict[str, float]:
    return {"fid": frechet_distance(real, others)}


def _all(real: np.ndarray, others: np.ndarray) -> dict[str, float]:
    return {**_fid(real, others), "kid": kernel_distance(real, others), **precision_recall(real, others)}


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _interval(name: str, values: Sequence[float], halves: Sequence[float]) -> tuple[float, float]:
    """Of the mean of `values`, by the spread of `halves`, within what a measure of this name can be."""
    value = _mean(values)
    low, high = np.percentile(halves, [2.5, 97.5]) - _mean(halves) + value
    least, most = (-np.inf if name.startswith("kid") else 0), (1 if name.startswith(SHARES) else np.inf)
    return float(min(max(low, least), value)), float(max(min(high, most), value))  # round-off may not leave the value outside
