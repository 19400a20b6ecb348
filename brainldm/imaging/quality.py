"""Numbers by which a person finds the scans that preprocessing got wrong."""

import numpy as np

from brainldm.core.grid import Grid


def rotation_deg(rigid: np.ndarray) -> float:
    """Angle of a rigid transform [4, 4] in degrees."""
    return float(np.degrees(np.arccos(np.clip((np.trace(rigid[:3, :3]) - 1) / 2, -1, 1))))


def shift_mm(rigid: np.ndarray, point_mm: tuple[float, float, float]) -> float:
    """How far a transform [4, 4] moves a point, in mm."""
    return float(np.linalg.norm(rigid[:3, :3] @ point_mm + rigid[:3, 3] - point_mm))


def foreground(volume: np.ndarray) -> np.ndarray:
    """Voxels brighter than the mean: head against air."""
    return np.asarray(volume > volume.mean())


def coverage(volume: np.ndarray, affine: np.ndarray, grid: Grid, mni_to_native: np.ndarray) -> float:
    """Fraction of the scan's foreground that lies inside the grid's box once in MNI space."""
    to_index = np.linalg.inv(grid.affine) @ np.linalg.inv(mni_to_native) @ affine
    index = np.argwhere(foreground(volume)) @ to_index[:3, :3].T + to_index[:3, 3]
    return float(((index > -0.5) & (index < np.array(grid.shape) - 0.5)).all(axis=1).mean())
