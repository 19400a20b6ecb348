"""Diffeomorphic pull-back deformations of the template: the exponential of a stationary velocity field (Arsigny et al. 2006)."""

from functools import cache

import numpy as np
from scipy import ndimage

from brainldm.imaging.template import template

LATTICE_MM = 4.0  # points of the velocity and displacement fields, over the template's box
REACH_MM = 22.0  # the ventricles' expansion dies away over this distance
CONTROL_MM = 45.0  # distance of the control points of individual anatomy: smooth, so that few numbers describe a brain
SQUARINGS = 4


@cache
def lattice_mm() -> np.ndarray:
    """MNI coordinates of the lattice, [3, I, J, K]."""
    maps = template()
    axes = [origin + np.arange(0, side, LATTICE_MM) for origin, side in zip(maps.origin_mm, maps.mask.shape, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"))


@cache
def ventricle_velocity() -> np.ndarray:
    """Velocity [3, I, J, K] whose flow for 1 mm of expansion pulls points outside the lateral ventricles towards them."""
    maps, step = template(), int(LATTICE_MM)
    smooth = ndimage.gaussian_filter(maps.ventricle_mm, 2.0)
    normal = np.stack([gradient[::step, ::step, ::step] for gradient in np.gradient(smooth)])
    decay = np.exp(-np.square(np.maximum(smooth[::step, ::step, ::step], 0) / REACH_MM))
    return np.asarray(-decay * normal)


def control_shape() -> tuple[int, int, int, int]:
    """Shape [3, A, B, C] of the control points of individual anatomy."""
    a, b, c = (len(_controls(axis)) for axis in range(3))
    return (3, a, b, c)


def _controls(axis: int) -> np.ndarray:
    span = LATTICE_MM * lattice_mm().shape[axis + 1]
    return lattice_mm()[axis].min() + np.arange(-CONTROL_MM / 2, span + CONTROL_MM, CONTROL_MM)


@cache
def _basis(axis: int) -> np.ndarray:
    """[lattice points, control points] of one axis; rows of length 1, so that unit normal controls give a field of unit variance."""
    points = np.unique(lattice_mm()[axis])
    weights = np.exp(-0.5 * np.square((points[:, None] - _controls(axis)) / (0.6 * CONTROL_MM)))
    return np.asarray(weights / np.linalg.norm(weights, axis=1, keepdims=True))


@cache
def _rigid_modes() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Small rigid motions on the lattice [3IJK, 6], which lattice values lie in the brain, and the least-squares projector onto them."""
    x, y, z = lattice_mm().reshape(3, -1)
    zero, one = np.zeros_like(x), np.ones_like(x)
    rotations = [(zero, -z, y), (z, zero, -x), (-y, x, zero)]
    shifts = [(one, zero, zero), (zero, one, zero), (zero, zero, one)]
    modes = np.stack([np.concatenate(mode) for mode in rotations + shifts], axis=1)
    inside = np.tile(template().sample("mask", lattice_mm().reshape(3, -1)) > 0.5, 3)
    return modes, inside, np.linalg.pinv(modes[inside])


def without_rigid(field: np.ndarray) -> np.ndarray:
    """A field [3, I, J, K] less its rigid part in the brain: what is left of the pose is the pose that was drawn."""
    modes, inside, projector = _rigid_modes()
    return np.asarray(field - (modes @ (projector @ field.reshape(-1)[inside])).reshape(field.shape))


def displacement(ventricle_mm: float, controls_mm: np.ndarray) -> np.ndarray:
    """Displacement [3, I, J, K] in mm: a subject's point p shows the template's point p + displacement(p).

    `ventricle_mm`: how far the ventricles' surface moves outwards; `controls_mm`: control points [3, A, B, C] of individual anatomy.
    """
    anatomy = np.einsum("ia,jb,kc,dabc->dijk", _basis(0), _basis(1), _basis(2), controls_mm, optimize=True)
    return exponential(without_rigid(anatomy + ventricle_mm * ventricle_velocity()))


def exponential(velocity: np.ndarray) -> np.ndarray:
    """Displacement of the flow of a velocity field [3, I, J, K] for unit time, by scaling and squaring; invertible."""
    field = velocity / 2**SQUARINGS
    for _ in range(SQUARINGS):
        field = field + sample_field(field, lattice_mm() + field)
    return field


def sample_field(field: np.ndarray, points_mm: np.ndarray) -> np.ndarray:
    """Trilinear samples [3, ...] of a lattice field [3, I, J, K] at points [3, ...] in mm; constant beyond the box."""
    origin = template().origin_mm.reshape(3, *[1] * (points_mm.ndim - 1))
    index = (points_mm - origin) / LATTICE_MM
    return np.stack([ndimage.map_coordinates(component, index, order=1, mode="nearest") for component in field])


def jacobian_determinant(field: np.ndarray) -> np.ndarray:
    """Determinant [I, J, K] of the derivative of p + displacement(p); positive where the deformation is invertible."""
    rows = np.stack([np.stack(np.gradient(component, LATTICE_MM)) for component in field])
    return np.linalg.det(np.moveaxis(rows, (0, 1), (-2, -1)) + np.eye(3))
