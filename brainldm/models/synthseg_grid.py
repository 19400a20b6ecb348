"""What SynthSeg does to an image before its network sees it, and how the way back goes (Billot et al. 2023; its predict script)."""

from itertools import permutations
from typing import NamedTuple

import numpy as np
from scipy import ndimage

TARGET_MM = 1.0
TOLERANCE_MM = 0.05  # voxels this near to 1 mm are left alone
PERCENTILES = (0.5, 99.5)
PAD_MULTIPLE = 32


class Orientation(NamedTuple):
    """For each of R, A, S: the array's axis that runs along it, and whether it runs backwards."""

    axes: tuple[int, ...]
    flipped: tuple[int, ...]

    def to_ras(self, volume: np.ndarray) -> np.ndarray:
        """A volume as stored -> R, A, S (a view)."""
        return np.flip(volume.transpose(self.axes), self.flipped)

    def from_ras(self, volume: np.ndarray) -> np.ndarray:
        """The inverse of `to_ras`."""
        return np.flip(volume, self.flipped).transpose(np.argsort(self.axes))


def orientation(affine: np.ndarray) -> Orientation:
    """The axis swaps and flips that bring an image with this affine [4, 4] nearest to RAS."""
    share = np.abs(np.linalg.inv(affine[:3, :3]))  # [array's axis, RAS axis]
    axes = max(permutations(range(3)), key=lambda order: sum(share[axis, ras] for ras, axis in enumerate(order)))
    return Orientation(axes, tuple(ras for ras, axis in enumerate(axes) if affine[ras, axis] < 0))


def voxel_mm(affine: np.ndarray) -> np.ndarray:
    """Edges of a voxel, [3], along the array's axes."""
    return np.linalg.norm(affine[:3, :3], axis=0)


def to_1mm(volume: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The volume, float32, and its affine at 1 mm along its own axes; untouched where every voxel size is within 0.05 mm of it.

    Linear, clamped at the border, after a blur of 0.25 / factor voxels along the axes that are not refined. The new grid covers the
    old field of view: ceil(side x factor) samples, the first half a new voxel from the old edge.
    """
    factor = voxel_mm(affine) / TARGET_MM
    volume = np.asarray(volume, np.float32)
    if np.all(np.abs(factor - 1) * TARGET_MM <= TOLERANCE_MM):
        return volume, affine
    volume = ndimage.gaussian_filter(volume, np.where(factor > 1, 0, 0.25 / factor))
    for axis, scale in enumerate(factor):
        count = int(np.ceil(volume.shape[axis] * scale - 1e-9))  # an integer but for rounding is that integer
        volume = _sample(volume, axis, (np.arange(count) - (scale - 1) / 2) / scale)
    fine = np.diag([*(1 / factor), 1.0])
    fine[:3, 3] = (1 / factor - 1) / 2
    return volume, affine @ fine


def rescale(volume: np.ndarray) -> np.ndarray:
    """Clipped at the 0.5 and 99.5 percentiles of the whole image and scaled to [0, 1]; zeros where the two are equal."""
    low, high = np.percentile(volume, PERCENTILES)
    return ((np.clip(volume, low, high) - low) / (high - low) if high > low else np.zeros_like(volume)).astype(np.float32)


def pad(volume: np.ndarray, multiple: int, at_least: int) -> tuple[np.ndarray, tuple[slice, ...]]:
    """Zeros around the volume up to multiples of `multiple`, and of `at_least` or more; and where in the result the volume lies."""
    sides = [max(-(-side // multiple), -(-at_least // multiple)) * multiple for side in volume.shape]
    starts = [(wide - side) // 2 for wide, side in zip(sides, volume.shape, strict=True)]
    inside = tuple(slice(start, start + side) for start, side in zip(starts, volume.shape, strict=True))
    padded = np.zeros(sides, volume.dtype)
    padded[inside] = volume
    return padded, inside


def _sample(volume: np.ndarray, axis: int, positions: np.ndarray) -> np.ndarray:
    """Linear interpolation along one axis at `positions` (voxels), clamped to the volume."""
    positions = np.clip(positions, 0, volume.shape[axis] - 1)
    below = np.minimum(positions.astype(int), max(volume.shape[axis] - 2, 0))
    above = np.minimum(below + 1, volume.shape[axis] - 1)
    part = (positions - below).astype(np.float32).reshape([-1 if index == axis else 1 for index in range(volume.ndim)])
    return volume.take(below, axis) * (1 - part) + volume.take(above, axis) * part
