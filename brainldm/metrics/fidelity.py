"""How far the features of synthetic volumes lie from real ones: FID and its companions, each beside real against real of one size."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from brainldm.core.errors import DataError
from brainldm.metrics.frechet import distance, fit, frechet_distance, from_moments
from brainldm.metrics.manifold import kernel_distance, precision_recall
from brainldm.metrics.summary import Entries, entry

DRAWS = 20
LARGEST = 4096  # volumes of a draw, whose distances to one another are all kept
CURVE = (8, 4, 2, 1)  # points of the curve of FID against n: n / 8 ... n
Measures = Callable[[np.ndarray, np.ndarray], dict[str, float]]


def fidelity(real: np.ndarray, synthetic: np.ndarray, seed: int) -> Entries:
    """fid, kid, precision, recall, density and coverage of features [N, D]; `..._real` is real against real, `fid_curve` FID against n.

    All are between sets of one size n, because they change with n: real scans are split at random into two halves, of which one is
    compared with the other (`_real`) and with as many synthetic volumes. Mean and 2.5th to 97.5th percentile over DRAWS such draws.
    """
    n = min(len(real) // 2, len(synthetic), LARGEST)
    if n < 2:
        raise DataError(f"FID: expected at least 4 real scans and 2 synthetic volumes, found {len(real)} and {len(synthetic)}")
    draws = partial(_draws, real, synthetic, seed=seed)
    whole = draws(n, _all)
    entries = {key: value for name, values in whole.items() for key, value in _spread(name, values, n).items()}
    sizes = [n // part for part in CURVE if n // part > 1]
    curve = [*(draws(size, _fid) for size in sizes[:-1]), whole]
    rows = {name: [float(np.mean(found[name])) for found in curve] for name in ("fid", "fid_real")}
    bounds = {f"{name}_ci": [np.percentile(found[name], [2.5, 97.5]).tolist() for found in curve] for name in rows}
    return {**entries, "fid_draws": DRAWS, "fid_curve": {"n": sizes, **rows, **bounds}}


def against_reference(moments: tuple[np.ndarray, np.ndarray, int], synthetic: np.ndarray, seed: int) -> Entries:
    """`fid_reference`: FID of features [N, D] from saved moments of others, with percentiles of DRAWS resamples."""
    reference, generator = from_moments(*moments), np.random.default_rng([seed, 33])
    resampled = [distance(reference, fit(synthetic[generator.integers(len(synthetic), size=len(synthetic))])) for _ in range(DRAWS)]
    low, high = np.percentile(resampled, [2.5, 97.5])
    found = entry("fid_reference", distance(reference, fit(synthetic)), len(synthetic), (float(low), float(high)))
    return {**found, "fid_reference_n_real": reference.n}


def _draws(real: np.ndarray, synthetic: np.ndarray, n: int, measures: Measures, seed: int) -> dict[str, list[float]]:
    generator = np.random.default_rng([seed, 31])
    found: dict[str, list[float]] = {}
    for _ in range(DRAWS):
        scans, volumes = generator.permutation(len(real)), generator.permutation(len(synthetic))
        reference = real[scans[:n]]
        for end, others in (("", synthetic[volumes[:n]]), ("_real", real[scans[n : 2 * n]])):
            for name, value in measures(reference, others).items():
                found.setdefault(f"{name}{end}", []).append(value)
    return found


def _fid(real: np.ndarray, others: np.ndarray) -> dict[str, float]:
    return {"fid": frechet_distance(real, others)}


def _all(real: np.ndarray, others: np.ndarray) -> dict[str, float]:
    return {**_fid(real, others), "kid": kernel_distance(real, others), **precision_recall(real, others)}


def _spread(name: str, values: Sequence[float], n: int) -> Entries:
    low, high = np.percentile(values, [2.5, 97.5])
    return entry(name, float(np.mean(values)), n, (float(low), float(high)))
