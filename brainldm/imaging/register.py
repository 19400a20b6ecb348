"""Rigid registration of a scan to the MNI152 template with picsl-greedy, in process: random search, then descent on NMI.

Rigid on purpose: a scale would change the very volumes that condition the model (UK Biobank measures them in native space).
The template is scaled instead, to the size of the head: beside a template of another size the descent lays one surface of the
brain on the template's and leaves the other apart (measured: 3 mm off for a head a tenth smaller).
Both steps look at the brain and its surroundings only: the neck, and the edge of the field of view in a scan that was resampled
before, drew whole heads away (measured: 3 of 24 poses lost; now none).
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
from scipy import ndimage

from brainldm.core.grid import Grid
from brainldm.imaging.mni152 import CENTER_MM, read_map
from brainldm.imaging.resample import coarsen, in_field, onto_grid, spacing_mm

LPS = np.diag([-1.0, -1.0, 1.0])  # ITK's axes from RAS
GREEDY = "-d 3 -a -dof 6 -i fixed moving -gm near -o pose -m NMI -threads 1 -V 0 -seed {} "
SEARCH = GREEDY + "-ia-image-centers -search {} {} {} -n 100"
DESCENT = GREEDY + "-ia-identity -n 50x5"
SEARCH_MM = 8.0  # at 16 mm nothing near the brain tells a right pose from a wrong one; at 4 mm a search costs four times as much
# Of the search: random poses, standard deviations of their angle in degrees and of their offset in mm, and whether it looks near the brain
# only. The first start found every pose tried up to 50 degrees; the wider ones are for scans that lie in no usual way. Offsets wider than
# 10 mm need the whole image: near the brain, a head moved out of the field of view resembles the template best.
STARTS = ((400, 40, 10, True), (2000, 60, 10, True), (4000, 60, 20, False))
NEAR_MM = 8.0  # the brain's surroundings: CSF and skull, little of the neck
HEAD_SIZES = (0.9, 0.95, 1.0, 1.05, 1.1)  # of the template's, along an edge
SIMILARITY_MM = 8.0
BRAIN_FRACTION = 0.1  # of the template's maximum: its brain, without the blurred rim
IN_FIELD_FRACTION = 0.5  # of the brain that a scan must show for its similarity to count


class Pose(NamedTuple):
    """A rigid transform [4, 4] from MNI mm to the scan's RAS mm; the similarity to the template that it reaches, and the head's size."""

    mni_to_native: np.ndarray
    similarity: float
    head_size: float


def register(volume: np.ndarray, affine: np.ndarray, target_mm: float, enough: float, seed: int) -> Pose:
    """Find the pose of a T1w scan [X, Y, Z] whose voxels `affine` maps to RAS mm: a search at SEARCH_MM, a descent to `target_mm`.

    A start that ends below the similarity `enough` is followed by a wider one with another seed; the best pose is returned,
    even where it still lies below. Seeded and on one thread: the same on every run.
    """
    fine = coarsen(volume, affine, target_mm)
    coarse = coarsen(*fine, SEARCH_MM)
    best = Pose(np.eye(4), -1.0, 1.0)
    for attempt, (*search, near) in enumerate(STARTS):
        greedy_seed = _greedy_seed(seed, attempt)
        rough = rate(*coarse, _greedy(SEARCH.format(greedy_seed, *search), template(SEARCH_MM), coarse, near))
        placed = fine[0], np.linalg.inv(rough.mni_to_native) @ fine[1]
        descent = _greedy(DESCENT.format(greedy_seed), template(target_mm, rough.head_size), placed)
        best = max(best, rate(*fine, _rigid(rough.mni_to_native @ descent)), key=lambda found: found.similarity)
        if best.similarity >= enough:
            break
    return best


def rate(volume: np.ndarray, affine: np.ndarray, mni_to_native: np.ndarray) -> Pose:
    """A scan's pose, rated: its correlation with the template of the head's size, inside its brain at SIMILARITY_MM; and that size.

    Inside, because skull and neck are no fault of the pose; where the field of view reaches, because neither is what it cuts off;
    coarse, because folds differ between people. Measured: 0.8 to 0.99 at right poses (the lowest was a whole head), mostly 0.4 to 0.7
    where a search ended at a wrong one. 0 where less than half of the brain is in the field of view.
    """
    _, grid = template(SIMILARITY_MM)
    found = onto_grid(volume, affine, grid, mni_to_native)
    seen = in_field(volume.shape, affine, grid, mni_to_native)
    similarity, size = max((_correlation(template(SIMILARITY_MM, size)[0], found, seen), size) for size in HEAD_SIZES)
    return Pose(mni_to_native, similarity, size)


@cache
def template(target_mm: float, size: float = 1.0) -> tuple[np.ndarray, Grid]:
    """The T1 template, scaled by `size` about the middle of the brain, at voxels of `target_mm`, and the grid on which it lies."""
    volume, affine = _coarse_template(target_mm / 2)  # the rest of the blur comes with the sampling, at a fraction of the cost
    edges_mm = np.array(volume.shape) * spacing_mm(affine)
    i, j, k = (int(edge_mm // target_mm) for edge_mm in edges_mm)
    x, y, z = affine[:3, :3] @ (np.array(volume.shape) - 1) / 2 + affine[:3, 3]
    grid = Grid(shape=(i, j, k), spacing_mm=target_mm, center_mm=(x, y, z))
    shown = np.diag([1 / size, 1 / size, 1 / size, 1.0])
    shown[:3, 3] = np.array(CENTER_MM) * (1 - 1 / size)
    return onto_grid(volume, affine, grid, shown), grid


@cache
def _coarse_template(target_mm: float) -> tuple[np.ndarray, np.ndarray]:
    return coarsen(*read_map("t1"), target_mm)


def brain(target: np.ndarray) -> np.ndarray:
    """The brain in a template."""
    return np.asarray(target > BRAIN_FRACTION * target.max())


@cache
def _near_brain(target_mm: float) -> np.ndarray:
    """The template's brain and what lies within NEAR_MM of it, on the grid of `template(target_mm)`."""
    outside = ~ndimage.binary_closing(brain(template(target_mm)[0]), iterations=2)
    return np.asarray(ndimage.distance_transform_edt(outside, sampling=target_mm) <= NEAR_MM, np.float32)


def _correlation(target: np.ndarray, volume: np.ndarray, seen: np.ndarray) -> float:
    inside = brain(target)
    shown = inside & seen
    if shown.sum() < IN_FIELD_FRACTION * inside.sum() or np.ptp(volume[shown]) == 0:
        return 0.0
    return float(np.corrcoef(target[shown], volume[shown])[0, 1])


def _rigid(matrix: np.ndarray) -> np.ndarray:
    """The nearest rigid transform: products of greedy's matrices are orthogonal to five digits only."""
    left, _, right = np.linalg.svd(matrix[:3, :3])
    rigid = matrix.copy()
    rigid[:3, :3] = left @ right
    return rigid


def _image(volume: np.ndarray, affine: np.ndarray) -> sitk.Image:
    image = sitk.GetImageFromArray(np.ascontiguousarray(volume.T))
    image.SetSpacing(spacing_mm(affine).tolist())
    image.SetDirection((LPS @ affine[:3, :3] / spacing_mm(affine)).ravel().tolist())
    image.SetOrigin((LPS @ affine[:3, 3]).tolist())
    return image


def _greedy_seed(seed: int, attempt: int) -> int:
    return int(np.random.default_rng([seed, attempt]).integers(1, 2**31))  # 0 would ask greedy for a random seed


def _greedy(command: str, target: tuple[np.ndarray, Grid], scan: tuple[np.ndarray, np.ndarray], near: bool = True) -> np.ndarray:
    """Run greedy on images in memory, near the brain or all over them; the transform [4, 4] from the template's RAS mm to the scan's."""
    volume, grid = target
    looked_at = _near_brain(grid.spacing_mm) if near else np.ones_like(volume)
    images = {"fixed": _image(volume, grid.affine), "near": _image(looked_at, grid.affine), "moving": _image(*scan)}
    greedy, log = Greedy3D(), io.StringIO()
    with _quiet():
        greedy.execute(command, log, log, **images, pose=None)
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
