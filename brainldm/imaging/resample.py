"""Resampling: one cubic interpolation from the native image onto a grid, blurred first where voxels grow."""

import numpy as np
from scipy import ndimage

from brainldm.core.grid import Grid

IDENTITY = np.eye(4)
TOLERANCE = 1e-6  # of a voxel's index


def spacing_mm(affine: np.ndarray) -> np.ndarray:
    """Edges of a voxel in mm, [3], along the array's own axes."""
    return np.linalg.norm(affine[:3, :3], axis=0)


def blur(volume: np.ndarray, affine: np.ndarray, target_mm: float) -> np.ndarray:
    """Blur along the axes finer than `target_mm`, so that nothing finer than the coming voxels is left to alias.

    Standard deviation after Cardoso et al. 2015 (scale factor point spread function matching), both point spreads
    taken as Gaussians of one voxel's full width at half maximum: sqrt((target² - native²) / (8 ln 2)).
    """
    native_mm = spacing_mm(affine)
    sigma_mm = np.sqrt(np.maximum(target_mm**2 - native_mm**2, 0) / (8 * np.log(2)))
    return ndimage.gaussian_filter(np.asarray(volume, np.float32), sigma_mm / native_mm)


def coarsen(volume: np.ndarray, affine: np.ndarray, target_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """The volume at voxels of at least `target_mm` along its own axes, with its affine; axes already coarser keep their samples.

    Its field of view is never padded: zeros around a whole head would mislead a registration by millimetres.
    """
    step = np.maximum(target_mm / spacing_mm(affine), 1.0)
    last = np.array(volume.shape) - 1
    shape = np.floor(last / step).astype(int) + 1
    start = (last - (shape - 1) * step) / 2
    coarse_to_fine = np.diag([*step, 1.0])
    coarse_to_fine[:3, 3] = start
    coarse = ndimage.affine_transform(blur(volume, affine, target_mm), step, start, tuple(shape), order=1, mode="nearest")
    return coarse, affine @ coarse_to_fine


def in_field(shape: tuple[int, ...], affine: np.ndarray, grid: Grid, grid_to_native: np.ndarray = IDENTITY) -> np.ndarray:
    """Which voxels [I, J, K] of the grid lie inside a scan of this shape and affine: between the centres of its outermost voxels.

    That is where `onto_grid` interpolates; in the half voxel beyond them it already gives the scan's minimum.
    """
    matrix = np.linalg.inv(affine) @ grid_to_native @ grid.affine
    index = np.tensordot(matrix[:3, :3], np.indices(grid.shape), axes=1) + matrix[:3, 3].reshape(3, 1, 1, 1)
    last = np.array(shape).reshape(3, 1, 1, 1) - 1
    return np.asarray(((index > -TOLERANCE) & (index < last + TOLERANCE)).all(axis=0))


def onto_grid(volume: np.ndarray, affine: np.ndarray, grid: Grid, grid_to_native: np.ndarray = IDENTITY) -> np.ndarray:
    """The volume [X, Y, Z] on the grid, float32 [I, J, K], interpolated once.

    `grid_to_native` maps the grid's RAS mm to those of `affine`. Cubic splines overshoot at edges, so values are clipped to the
    volume's own range; outside its field of view lies its minimum.
    """
    smooth = blur(volume, affine, grid.spacing_mm)
    low, high = float(smooth.min()), float(smooth.max())
    matrix = np.linalg.inv(affine) @ grid_to_native @ grid.affine
    sampled = ndimage.affine_transform(smooth, matrix[:3, :3], matrix[:3, 3], grid.shape, order=3, mode="constant", cval=low)
    return np.clip(sampled, low, high)
