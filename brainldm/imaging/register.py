"""Rigid registration of a scan to the MNI152 template with picsl-greedy, in process: random search, then descent on NMI.

Rigid on purpose: a scale would change the very volumes that condition the model (UK Biobank measures them in native space).
The template is scaled instead, to the size of the head: beside a template of another size the descent lays one surface of the
brain on the template's and leaves the other apart (measured: 3 mm off for a head a tenth smaller).
"""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk
from picsl_greedy import Greedy3D

from brainldm.core.grid import Grid
from brainldm.imaging.mni152 import CENTER_MM, read_map
from brainldm.imaging.resample import coarsen, onto_grid, spacing_mm

LPS = np.diag([-1.0, -1.0, 1.0])  # ITK's axes from RAS
GREEDY = "-d 3 -a -dof 6 -i fixed moving -o pose -m NMI -threads 1 -V 0 -seed {} "
SEARCH = GREEDY + "-ia-image-centers -search {} {} {} -n 100x50"
DESCENT = GREEDY + "-ia-identity -n 20x5"
# Of the search: random poses, standard deviations of their angle in degrees and of their offset in mm. The first start is the cheapest that
# found every planted pose up to 45 degrees; the wider ones are for scans that lie in no usual way.
STARTS = ((200, 20, 15), (1000, 40, 10), (4000, 60, 20))
HEAD_SIZES = (0.9, 0.95, 1.0, 1.05, 1.1)  # of the template's, along an edge
SIMILARITY_MM = 8.0
BRAIN_FRACTION = 0.1  # of the template's maximum: its brain, without the blurred rim


class Pose(NamedTuple):
    """A rigid transform [4, 4] from MNI mm to the scan's RAS mm, and the similarity to the template that it reaches."""

    mni_to_native: np.ndarray
    similarity: float


def register(volume: np.ndarray, affine: np.ndarray, target_mm: float, enough: float, seed: int) -> Pose:
    """Find the pose of a T1w scan [X, Y, Z] whose voxels `affine` maps to RAS mm: a search at twice `target_mm`, a descent at `target_mm`.

    A start that ends below the similarity `enough` is followed by a wider one with another seed; the best pose is returned,
    even where it still lies below. Seeded and on one thread: the same on every run.
    """
    coarse, fine = coarsen(volume, affine, 2 * target_mm), coarsen(volume, affine, target_mm)
    best = Pose(np.eye(4), -1.0)
    for attempt, search in enumerate(STARTS):
        greedy_seed = _greedy_seed(seed, attempt)
        rough = _greedy(SEARCH.format(greedy_seed, *search), template(2 * target_mm), coarse)
        _, head_size = similarity(*coarse, rough)
        placed = fine[0], np.linalg.inv(rough) @ fine[1]
        pose = rough @ _greedy(DESCENT.format(greedy_seed), template(target_mm, head_size), placed)
        best = max(best, Pose(pose, similarity(*fine, pose)[0]), key=lambda found: found.similarity)
        if best.similarity >= enough:
            break
    return best


def similarity(volume: np.ndarray, affine: np.ndarray, mni_to_native: np.ndarray) -> tuple[float, float]:
    """Correlation of a scan in this pose with the template of the head's size, inside its brain at SIMILARITY_MM; and that size.

    Inside, because skull and neck are no fault of the pose; coarse, because folds differ between people. Measured: 0.8 to 0.99
    at right poses (the lowest was a whole head), mostly 0.4 to 0.7 where a search ended at a wrong one.
    """
    _, grid = template(SIMILARITY_MM)
    found = onto_grid(volume, affine, grid, mni_to_native)
    return max((_correlation(template(SIMILARITY_MM, size)[0], found), size) for size in HEAD_SIZES)


@cache
def template(target_mm: float, size: float = 1.0) -> tuple[np.ndarray, Grid]:
    """The T1 template, scaled by `size` about the middle of the brain, at voxels of `target_mm`, and the grid on which it lies."""
    volume, affine = read_map("t1")
    i, j, k = (int(edge // target_mm) for edge in volume.shape)
    x, y, z = affine[:3, 3] + (np.array(volume.shape) - 1) / 2
    grid = Grid(shape=(i, j, k), spacing_mm=target_mm, center_mm=(x, y, z))
    shown = np.diag([1 / size, 1 / size, 1 / size, 1.0])
    shown[:3, 3] = np.array(CENTER_MM) * (1 - 1 / size)
    return onto_grid(volume, affine, grid, shown), grid


def _correlation(target: np.ndarray, volume: np.ndarray) -> float:
    brain = target > BRAIN_FRACTION * target.max()
    if np.ptp(volume[brain]) == 0:
        return 0.0
    return float(np.corrcoef(target[brain], volume[brain])[0, 1])


def _image(volume: np.ndarray, affine: np.ndarray) -> sitk.Image:
    image = sitk.GetImageFromArray(np.ascontiguousarray(volume.T))
    image.SetSpacing(spacing_mm(affine).tolist())
    image.SetDirection((LPS @ affine[:3, :3] / spacing_mm(affine)).ravel().tolist())
    image.SetOrigin((LPS @ affine[:3, 3]).tolist())
    return image


def _greedy_seed(seed: int, attempt: int) -> int:
    return int(np.random.default_rng([seed, attempt]).integers(1, 2**31))  # 0 would ask greedy for a random seed


def _greedy(command: str, target: tuple[np.ndarray, Grid], scan: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Run greedy on images in memory; the transform [4, 4] from the template's RAS mm to the scan's."""
    fixed, moving = _image(target[0], target[1].affine), _image(*scan)
    greedy, log = Greedy3D(), io.StringIO()
    with _quiet():
        greedy.execute(command, log, log, fixed=fixed, moving=moving, pose=None)
    return np.array(greedy["pose"])


@contextmanager
def _quiet() -> Iterator[None]:
    """Send this process' stdout nowhere: the optimiser inside greedy prints harmless line-search warnings from C++."""
    sys.stdout.flush()
    kept = os.dup(1)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
