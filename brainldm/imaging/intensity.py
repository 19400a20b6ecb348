"""Intensities: two percentiles become 0 and 1."""

import numpy as np

from brainldm.core.errors import ScanError


def to_unit_range(volume: np.ndarray, percentiles: tuple[float, float], name: str) -> np.ndarray:
    """Scale linearly so that the two percentiles of the volume become 0 and 1, clip beyond; float32.

    ScanError, naming the scan, if the two percentiles coincide.
    """
    low, high = np.percentile(volume, percentiles)
    if not high > low:
        raise ScanError(f"{name}: expected intensities that vary, found percentiles {percentiles} of the volume both at {low:g}")
    return np.clip((volume - low) / (high - low), 0, 1).astype(np.float32)
