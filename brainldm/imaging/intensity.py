"""Intensities: two percentiles become 0 and 1."""

import numpy as np

from brainldm.core.errors import ScanError


def unit_ends(volume: np.ndarray, percentiles: tuple[float, float], name: str) -> tuple[np.floating, np.floating]:
    """Return the two percentiles of the volume; ScanError, naming the scan, if they coincide."""
    low, high = np.percentile(volume, percentiles)
    if not high > low:
        raise ScanError(f"{name}: expected intensities that vary, found percentiles {percentiles} of the volume both at {low:g}")
    return low, high


def scaled(volume: np.ndarray, low: np.floating, high: np.floating) -> np.ndarray:
    """Scale linearly so that `low` and `high` become 0 and 1, clip beyond; float32."""
    return np.clip((volume - low) / (high - low), 0, 1).astype(np.float32)


def to_unit_range(volume: np.ndarray, percentiles: tuple[float, float], name: str) -> np.ndarray:
    """Scale the two percentiles of the volume to 0 and 1, clip beyond; float32. ScanError, naming the scan, if they coincide."""
    return scaled(volume, *unit_ends(volume, percentiles, name))
