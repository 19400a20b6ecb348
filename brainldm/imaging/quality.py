"""Numbers by which a person finds the scans that preprocessing got wrong, and flags for those beyond the configured thresholds."""

from functools import cache

import numpy as np

from brainldm.core.grid import Grid
from brainldm.core.scan_flags import Flags
from brainldm.imaging.register import SIMILARITY_MM, Pose, brain, template
from brainldm.imaging.resample import in_field, onto_grid, spacing_mm

MEASURES = (
    "similarity",  # correlation with the template in its brain, at 8 mm
    "rotation_deg",  # of the pose, about its axis
    "translation_mm",  # how far the pose moves the middle of the grid
    "brain_in_scan",  # fraction of the template's brain, laid into the scan, that its field of view holds
    "head_in_grid",  # fraction of the scan's head (with its neck, if it shows one) that the grid's box holds
    "intensity_p05",  # percentiles of the volume, 0 to 1, in the template's brain
    "intensity_p50",
    "intensity_p95",
)
COUNTED_MM = 4.0  # the head is counted at about one voxel in this length


def measure(scan: np.ndarray, affine: np.ndarray, pose: Pose, grid: Grid, volume: np.ndarray) -> dict[str, float]:
    """MEASURES of a scan [X, Y, Z] whose voxels `affine` maps to RAS mm, in this pose, and of its volume [I, J, K] on the grid."""
    values = (
        pose.similarity,
        rotation_deg(pose.mni_to_native),
        shift_mm(pose.mni_to_native, grid.center_mm),
        brain_in_scan(scan.shape, affine, pose),
        head_in_grid(scan, affine, grid, pose.mni_to_native),
        *brain_percentiles(volume, grid, pose.head_size),
    )
    return {name: round(float(value), 4) for name, value in zip(MEASURES, values, strict=True)}


def flags(measures: dict[str, float], limits: Flags) -> list[str]:
    """Names of what is beyond its limit, in the order of the configuration."""
    spread = measures["intensity_p95"] - measures["intensity_p05"]
    raised = {
        "low_similarity": measures["similarity"] < limits.similarity_below,
        "large_rotation": measures["rotation_deg"] > limits.rotation_above_deg,
        "large_translation": measures["translation_mm"] > limits.translation_above_mm,
        "brain_cut_by_scan": measures["brain_in_scan"] < limits.brain_in_scan_below,
        "head_cut_by_grid": measures["head_in_grid"] < limits.head_in_grid_below,
        "dark_brain": measures["intensity_p50"] < limits.brain_median_below,
        "flat_brain": spread < limits.brain_spread_below,
    }
    return [name for name, is_raised in raised.items() if is_raised]


def rotation_deg(rigid: np.ndarray) -> float:
    """Angle of a rigid transform [4, 4] in degrees."""
    return float(np.degrees(np.arccos(np.clip((np.trace(rigid[:3, :3]) - 1) / 2, -1, 1))))


def shift_mm(rigid: np.ndarray, point_mm: tuple[float, float, float]) -> float:
    """How far a transform [4, 4] moves a point, in mm."""
    return float(np.linalg.norm(rigid[:3, :3] @ point_mm + rigid[:3, 3] - point_mm))


def foreground(volume: np.ndarray) -> np.ndarray:
    """Voxels brighter than the mean: head against air."""
    return np.asarray(volume > volume.mean())


def brain_in_scan(shape: tuple[int, ...], affine: np.ndarray, pose: Pose) -> float:
    """Fraction of the brain of the template of the head's size that the field of view of a scan of this shape holds."""
    target, grid = template(SIMILARITY_MM, pose.head_size)
    return float(in_field(shape, affine, grid, pose.mni_to_native)[brain(target)].mean())


def head_in_grid(volume: np.ndarray, affine: np.ndarray, grid: Grid, mni_to_native: np.ndarray) -> float:
    """Fraction of the scan's foreground that lies inside the grid's box once in MNI space."""
    step = np.maximum(np.rint(COUNTED_MM / spacing_mm(affine)).astype(int), 1)
    counted = foreground(volume[tuple(slice(None, None, every) for every in step)])
    to_index = np.linalg.inv(grid.affine) @ np.linalg.inv(mni_to_native) @ affine
    index = (np.argwhere(counted) * step) @ to_index[:3, :3].T + to_index[:3, 3]
    return float(((index > -0.5) & (index < np.array(grid.shape) - 0.5)).all(axis=1).mean())


def brain_percentiles(volume: np.ndarray, grid: Grid, head_size: float) -> np.ndarray:
    """5th, 50th and 95th percentile of a volume on the grid inside the template's brain; the whole volume's if the box holds none of it."""
    inside = _brain_on(grid, head_size)
    return np.asarray(np.percentile(volume[inside] if inside.any() else volume, [5, 50, 95]))


@cache
def _brain_on(grid: Grid, head_size: float) -> np.ndarray:
    """Which voxels [I, J, K] of the grid show the brain of the template of this size."""
    target, target_grid = template(SIMILARITY_MM, head_size)
    return np.asarray(onto_grid(brain(target).astype(np.float32), target_grid.affine, grid) > 0.5)
