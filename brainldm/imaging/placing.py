"""Any T1w scan onto the grid: its rigid pose in MNI space, one resampling, intensities in [0, 1]."""

from typing import NamedTuple

import numpy as np

from brainldm.core import intensities
from brainldm.core.config import Preprocess
from brainldm.core.errors import ScanError
from brainldm.core.grid import Grid
from brainldm.imaging import unires
from brainldm.imaging.intensity import scaled, unit_ends
from brainldm.imaging.register import Pose, rate, register
from brainldm.imaging.resample import onto_grid


class Placed(NamedTuple):
    """A volume [I, J, K] on the grid, float32 in [0, 1], and how it came about."""

    volume: np.ndarray
    pose: Pose
    native: np.ndarray  # the scan as it was registered: without outliers
    intensities: dict[str, float]  # core.intensities.MEASURES


def place(volume: np.ndarray, affine: np.ndarray, grid: Grid, options: Preprocess, seed: int, name: str) -> Placed:
    """Place a scan [X, Y, Z] whose voxels `affine` maps to RAS mm; ScanError, naming it, where no pose resembles the template.

    Outliers among its voxels are limited first, because they would take the range of registration, resampling and scaling.
    """
    seen = intensities.survey(volume)
    volume = intensities.limited(volume, seen)
    if options.backend == "unires":  # its super-resolved scan, in the same space, is resampled
        found = unires.register(volume, affine, options.unires_command, options.unires_super_resolution, name)
        pose, shown = rate(volume, affine, found.mni_to_native), (found.volume, found.affine)
    else:
        pose = register(volume, affine, options.registration_spacing_mm, options.min_similarity, seed)
        shown = volume, affine
    if pose.similarity < options.min_similarity:
        raise ScanError(
            f"{name}: expected a head that resembles the MNI152 template, found a similarity of {pose.similarity:.2f} at the best pose, "
            f"below preprocess.min_similarity {options.min_similarity}"
        )
    resampled = onto_grid(*shown, grid, pose.mni_to_native)
    low, high = unit_ends(resampled, options.intensity_percentiles, name)
    return Placed(scaled(resampled, low, high), pose, volume, intensities.measures(seen, float(low), float(high)))
