"""Two sets of features compared neighbour by neighbour: kernel distance, precision, recall, density, coverage."""

import numpy as np

NEIGHBOURS = 5  # Naeem et al. 2020


def kernel_distance(a: np.ndarray, b: np.ndarray) -> float:
    """KID of a [N, D] and b [M, D]: unbiased squared MMD with the kernel (x.y / D + 1)^3 (Binkowski et al. 2018); may fall below 0."""
    a, b = (np.asarray(x, dtype=np.float64) for x in (a, b))
    own = [(kernel.sum() - np.trace(kernel)) / (len(kernel) * (len(kernel) - 1)) for kernel in (_cubic(a, a), _cubic(b, b))]
    return float(sum(own) - 2 * _cubic(a, b).mean())


def _cubic(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a @ b.T / a.shape[1] + 1) ** 3


def precision_recall(real: np.ndarray, synthetic: np.ndarray) -> dict[str, float]:
    """Precision and recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020) of synthetic [M, D] given real [N, D].

    Every ball reaches from a feature to its NEIGHBOURS-th neighbour in its own set. precision: share of synthetic ones in a real ball;
    recall: share of real ones in a synthetic ball; density: real balls that hold a synthetic one, over NEIGHBOURS; coverage: share of
    real balls that hold a synthetic one.
    """
    across = _distances(real, synthetic)
    reach_real, reach_synthetic = (_reach(_distances(x, x)) for x in (real, synthetic))
    in_real_ball = across <= reach_real[:, None]
    return {
        "precision": float(in_real_ball.any(axis=0).mean()),
        "recall": float((across <= reach_synthetic).any(axis=1).mean()),
        "density": float(in_real_ball.sum(axis=0).mean() / min(NEIGHBOURS, len(real) - 1)),
        "coverage": float(in_real_ball.any(axis=1).mean()),
    }


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Euclidean, [N, M]; the mean is taken off first, for the sake of round-off."""
    a, b = (np.asarray(x, dtype=np.float64) - a.mean(axis=0) for x in (a, b))
    return np.sqrt(np.maximum((a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T, 0))


def _reach(distances: np.ndarray) -> np.ndarray:
    """Distance [N] to the NEIGHBOURS-th other of the set."""
    rank = min(NEIGHBOURS, len(distances) - 1)
    return np.partition(distances, rank, axis=1)[:, rank]
