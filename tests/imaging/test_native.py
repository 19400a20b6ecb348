"""Scans in native space: pose, orientation and volumes hold, whatever the voxels."""

from dataclasses import replace

import numpy as np
import pytest
from nibabel.affines import apply_affine
from nibabel.orientations import aff2axcodes
from scipy import ndimage

from brainldm.imaging.anatomy import anatomy_of, label_ml_of, near_brain, tissue, to_template
from brainldm.imaging.deform import lattice_mm
from brainldm.imaging.native import acquire, label_map, pose
from brainldm.imaging.population import Acquisition, draw_label_map

PLAIN = Acquisition(
    rotation_deg=(0, 0, 0),
    translation_mm=(0, 0, 0),
    spacing_mm=(3.0, 3.0, 3.0),
    axes="RAS",
    contrast=(0, 0, 0),
    bias=np.zeros(9),
    gain=1000,
    noise=0,
    noise_seed=1,
)
POSED = replace(PLAIN, rotation_deg=(15, -12, 18), translation_mm=(10, -14, 7), spacing_mm=(2.1, 2.8, 2.4))


@pytest.fixture(scope="module")
def anatomy():
    return anatomy_of(draw_label_map(3, 1))


def resampled(native, values, grid_mm, order):
    """An image sampled at MNI points [3, N], through its true pose."""
    index = apply_affine(np.linalg.inv(native.to_mni @ native.affine), grid_mm.T).T
    return ndimage.map_coordinates(values.astype(float), index, order=order)


def brain_mm(anatomy):
    points = lattice_mm().reshape(3, -1)
    return points[:, near_brain(anatomy, points)]


def test_pose_is_rigid_and_as_drawn():
    matrix = pose(POSED)
    assert np.allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3))
    assert np.linalg.det(matrix) == pytest.approx(1)
    assert np.allclose(pose(PLAIN), np.eye(4))
    shift = np.linalg.inv(matrix) @ [0, -17, 6, 1]  # where the scanner sees the middle of the brain
    assert shift[:3] - [0, -17, 6] == pytest.approx(POSED.translation_mm)


def test_the_true_pose_brings_a_scan_back(anatomy):
    straight, posed = acquire(anatomy, PLAIN), acquire(anatomy, POSED)
    points = brain_mm(anatomy)
    reference = resampled(straight, straight.t1w, points, 1)
    back = resampled(posed, posed.t1w, points, 1)
    assert np.corrcoef(reference, back)[0, 1] > 0.97
    wrong = resampled(posed._replace(to_mni=np.eye(4)), posed.t1w, points, 1)
    assert np.corrcoef(reference, wrong)[0, 1] < 0.8


@pytest.mark.parametrize("axes", ["LPS", "PIR", "SRA", "ASL"])
def test_storage_orientation_moves_no_voxel_in_the_world(anatomy, axes):
    plain, stored = acquire(anatomy, POSED), acquire(anatomy, replace(POSED, axes=axes))
    assert "".join(aff2axcodes(stored.affine)) == axes
    points = brain_mm(anatomy)
    for name in ("t1w", "labels"):
        expected = resampled(plain, getattr(plain, name), points, 0)
        assert np.mean(resampled(stored, getattr(stored, name), points, 0) == expected) > 0.999  # ties of nearest neighbours
    left = np.argwhere(np.isin(stored.labels, (2, 3, 4)))
    assert np.mean(apply_affine(stored.to_mni @ stored.affine, left)[:, 0] < 5) > 0.99  # left is at negative x


@pytest.mark.parametrize("spacing_mm", [(2.1, 2.8, 2.4), (2.5, 6.0, 2.5)])
def test_true_volumes_agree_with_a_count_at_1_mm(anatomy, spacing_mm):
    native = acquire(anatomy, replace(POSED, spacing_mm=spacing_mm))
    low, high = brain_mm(anatomy).min(1), brain_mm(anatomy).max(1)
    points = np.stack(np.meshgrid(*map(np.arange, low, high), indexing="ij")).reshape(3, -1)
    points = points[:, near_brain(anatomy, points)]
    counted = label_ml_of(tissue(anatomy.brain, to_template(anatomy, points)), 0.001)
    for value, volume_ml in counted.items():
        assert native.label_ml[value] == pytest.approx(volume_ml, rel=0.02, abs=0.3)


def test_label_maps_hold_the_volumes(anatomy):
    native = acquire(anatomy, POSED)
    voxel_ml = np.prod(POSED.spacing_mm) / 1000
    assert (native.labels > 0).sum() * voxel_ml == pytest.approx(sum(native.label_ml.values()), rel=0.01)
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = [-96, -133, -90]
    labels = label_map(anatomy, (96, 116, 96), affine)
    for value in (4, 43):
        assert (labels == value).sum() * 0.008 == pytest.approx(native.label_ml[value], rel=0.05)
    assert not np.concatenate([labels[side].ravel() for side in (np.s_[[0, -1]], np.s_[:, [0, -1]], np.s_[:, :, [0, -1]])]).any()


def test_noise_leaves_the_background_empty_and_has_the_size_drawn(anatomy):
    clean, noisy = acquire(anatomy, PLAIN), acquire(anatomy, replace(PLAIN, noise=0.03))
    assert not noisy.t1w[noisy.labels == 0].any()
    bright = clean.t1w > 700  # far above the noise, where Rician is nearly Gaussian
    difference = noisy.t1w[bright].astype(float) - clean.t1w[bright]
    assert difference.std() == pytest.approx(30, rel=0.05)
    assert difference.mean() == pytest.approx(30**2 / 2 / clean.t1w[bright].mean(), abs=0.5)


def test_ventricles_are_the_darkest_part(anatomy):
    native = acquire(anatomy, PLAIN)
    inside = ndimage.binary_erosion(np.isin(native.labels, (4, 43)))
    assert native.t1w[inside].mean() < 350
    assert native.t1w[np.isin(native.labels, (2, 41))].mean() > 850
