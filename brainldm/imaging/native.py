"""A subject's scan in its own space: pose, voxel size, thick slices, storage orientation, contrast, bias field, noise."""

from typing import NamedTuple

import nibabel as nib
import numpy as np
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, ornt_transform
from scipy.spatial.transform import Rotation

from brainldm.imaging.anatomy import CENTER_MM, Anatomy, label_ml_of, labels_of, near_brain, t1_of, tissue, to_template
from brainldm.imaging.deform import lattice_mm
from brainldm.imaging.population import Acquisition

THIN_MM = 3.5  # voxels longer than this are averages of several samples along their length


class Native(NamedTuple):
    """T1w int16 and labels uint8, both [I, J, K] in storage order; `affine`: voxel to world mm; `to_mni`: world mm to MNI mm, rigid.

    `label_ml`: true volume of every label, the sum of its fractions before noise and before the choice of one label a voxel.
    """

    t1w: np.ndarray
    labels: np.ndarray
    affine: np.ndarray
    to_mni: np.ndarray
    label_ml: dict[int, float]


def pose(acquisition: Acquisition) -> np.ndarray:
    """World mm to MNI mm, [4, 4]: a rotation about the middle of the brain, which lies `translation_mm` away from its place in MNI."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", acquisition.rotation_deg, degrees=True).as_matrix()
    matrix[:3, 3] = CENTER_MM - matrix[:3, :3] @ (CENTER_MM + np.array(acquisition.translation_mm))
    return matrix


def acquire(anatomy: Anatomy, acquisition: Acquisition) -> Native:
    """Scan a brain. Outside of it the image is 0, as after skull-stripping."""
    to_mni = pose(acquisition)
    shape, affine = field_of_view(anatomy, acquisition.spacing_mm, to_mni)
    t1, labels, label_ml = _sample(anatomy, acquisition, shape, to_mni @ affine)
    noise = np.random.default_rng(acquisition.noise_seed).normal(0, acquisition.noise, (2, *shape))
    t1 = np.where(labels > 0, np.hypot(t1 + noise[0], noise[1]), 0)
    counts = np.clip(np.rint(t1 * acquisition.gain), 0, 32767).astype(np.int16)
    reorient = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(acquisition.axes))
    stored = affine @ inv_ornt_aff(reorient, shape)
    return Native(apply_orientation(counts, reorient), apply_orientation(labels, reorient), stored, to_mni, label_ml)


def field_of_view(anatomy: Anatomy, spacing_mm: tuple[float, ...], to_mni: np.ndarray) -> tuple[tuple[int, int, int], np.ndarray]:
    """Shape and affine of the smallest RAS+ box in the world that holds the head."""
    center = CENTER_MM[:, None]
    head = (lattice_mm()[:, anatomy.reach] - center) * anatomy.brain.head_scale + center
    world = nib.affines.apply_affine(np.linalg.inv(to_mni), head.T)
    low, high = world.min(0), world.max(0)
    i, j, k = (np.ceil((high - low) / spacing_mm).astype(int) + 1).tolist()
    affine = np.diag([*spacing_mm, 1.0])
    affine[:3, 3] = low
    return (i, j, k), affine


def _sample(
    anatomy: Anatomy, acquisition: Acquisition, shape: tuple[int, int, int], voxel_to_mni: np.ndarray
) -> tuple[np.ndarray, np.ndarray, dict[int, float]]:
    """T1 with bias field, in units of white matter, labels, and volumes; long voxels are averages over their length."""
    points = voxel_to_mni[:3, :3] @ np.indices(shape).reshape(3, -1) + voxel_to_mni[:3, 3:]
    chosen = near_brain(anatomy, points)
    points = points[:, chosen]
    axis = int(np.argmax(acquisition.spacing_mm))
    n_samples = int(np.ceil(acquisition.spacing_mm[axis] / THIN_MM))
    offsets = (np.arange(n_samples) + 0.5) / n_samples - 0.5
    samples = []
    for offset in offsets:
        shown = to_template(anatomy, points + offset * voxel_to_mni[:3, axis : axis + 1])
        at = tissue(anatomy.brain, shown)
        samples.append((t1_of(at, shown, acquisition.contrast), at))
    at = at._replace(fractions=np.mean([at.fractions for _, at in samples], axis=0))
    image, labels = np.zeros(shape), np.zeros(shape, np.uint8)
    image.flat[chosen] = np.mean([t1 for t1, _ in samples], axis=0) * gain_of(acquisition.bias, points)
    labels.flat[chosen] = labels_of(at)
    return image, labels, label_ml_of(at, float(np.prod(acquisition.spacing_mm)) / 1000)


def gain_of(bias: np.ndarray, points_mm: np.ndarray) -> np.ndarray:
    """The bias field [N] at MNI points [3, N]: the exponential of a quadratic polynomial with nine coefficients, no constant."""
    x, y, z = (points_mm - CENTER_MM[:, None]) / 90
    terms = np.stack([x, y, z, x * x, y * y, z * z, x * y, x * z, y * z])
    return np.asarray(np.exp(bias @ terms))


def label_map(anatomy: Anatomy, shape: tuple[int, int, int], affine: np.ndarray) -> np.ndarray:
    """Labels [I, J, K], uint8, of a brain in MNI pose on the grid of this shape and affine."""
    points = affine[:3, :3] @ np.indices(shape).reshape(3, -1) + affine[:3, 3:]
    chosen = near_brain(anatomy, points)
    labels = np.zeros(shape, np.uint8)
    labels.flat[chosen] = labels_of(tissue(anatomy.brain, to_template(anatomy, points[:, chosen])))
    return labels
