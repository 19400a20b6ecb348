from functools import cache

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from brainldm.core.grid import Grid
from brainldm.imaging.mni152 import read_map
from brainldm.imaging.register import rate, register
from brainldm.imaging.resample import onto_grid

SPACING_MM = 4.0
CENTER_MM = np.array([0.0, -17.0, 6.0])  # of the template's brain


def _pose(rotation_deg: tuple[float, float, float], translation_mm: tuple[float, float, float]) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("xyz", rotation_deg, degrees=True).as_matrix()
    pose[:3, 3] = CENTER_MM - pose[:3, :3] @ CENTER_MM + translation_mm
    return pose


@cache
def _brain_mm() -> np.ndarray:
    """Points of the template's brain, [N, 3]."""
    volume, affine = read_map("t1")
    return np.argwhere(volume[::8, ::8, ::8] > 20) * 8 + affine[:3, 3]


def _error_mm(one: np.ndarray, other: np.ndarray) -> float:
    """Mean distance between where two poses put the brain."""
    difference = one - other
    return float(np.linalg.norm(_brain_mm() @ difference[:3, :3].T + difference[:3, 3], axis=1).mean())


def _planted(pose: np.ndarray, spacing_mm: float) -> tuple[np.ndarray, Grid]:
    """The template, resampled into this pose, with noise and a bias field; the head is not in the middle of the field of view."""
    center = pose[:3, :3] @ CENTER_MM + pose[:3, 3] + (4, -6, 5)
    sides = [int(side // spacing_mm) for side in (210, 240, 210)]
    grid = Grid(shape=(sides[0], sides[1], sides[2]), spacing_mm=spacing_mm, center_mm=tuple(center.tolist()))
    volume = onto_grid(*read_map("t1"), grid, np.linalg.inv(pose))
    volume *= np.linspace(0.9, 1.1, sides[1], dtype=np.float32)[None, :, None]
    return volume + np.random.default_rng(0).normal(0, 4, volume.shape).astype(np.float32), grid


@pytest.mark.parametrize(
    ("rotation_deg", "translation_mm", "spacing_mm"),
    [((0, 0, 0), (0, 0, 0), 2.5), ((20, -15, 20), (15, -10, 5), 3.0), ((-20, 20, -20), (-15, 15, 15), 2.0)],
)
def test_a_planted_pose_is_found(rotation_deg: tuple[float, ...], translation_mm: tuple[float, ...], spacing_mm: float) -> None:
    pose = _pose(rotation_deg, translation_mm)
    volume, grid = _planted(pose, spacing_mm)
    found = register(volume, grid.affine, SPACING_MM, 0.7, seed=1)
    assert _error_mm(pose, found.mni_to_native) < 0.5
    assert found.similarity > 0.95
    rotation = found.mni_to_native[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-5)
    assert np.linalg.det(rotation) == pytest.approx(1, abs=1e-5)


def test_thick_slices_and_a_tilted_header_are_no_obstacle() -> None:
    volume, grid = _planted(_pose((5, 10, -5), (3, 0, -4)), 2.0)
    tilt = _pose((-12, 4, 9), (20, -30, 10))
    thick = volume[:, :, : volume.shape[2] // 3 * 3].reshape(*volume.shape[:2], -1, 3).mean(-1)
    affine = grid.affine @ np.diag([1.0, 1, 3, 1])
    affine[:3, 3] = (grid.affine @ (0, 0, 1, 1))[:3]
    found = register(thick, tilt @ affine, SPACING_MM, 0.7, seed=1)
    assert _error_mm(tilt @ _pose((5, 10, -5), (3, 0, -4)), found.mni_to_native) < 0.7


def test_the_same_seed_gives_the_same_pose_to_the_last_bit(capfd: pytest.CaptureFixture[str]) -> None:
    volume, grid = _planted(_pose((8, 0, 12), (0, 5, 0)), 4.0)
    first, second = (register(volume, grid.affine, 6.0, 0.7, seed=5) for _ in range(2))
    assert np.array_equal(first.mni_to_native, second.mni_to_native)
    assert capfd.readouterr() == ("", "")


def test_a_start_that_falls_short_is_followed_by_wider_ones() -> None:
    volume, grid = _planted(_pose((120, 0, 0), (10, 0, 10)), 4.0)
    lost = register(volume, grid.affine, 5.0, -1.0, seed=1)
    again = register(volume, grid.affine, 5.0, 0.9, seed=1)
    assert lost.similarity < 0.7 < again.similarity
    assert _error_mm(_pose((120, 0, 0), (10, 0, 10)), again.mni_to_native) < 2


def test_similarity_tells_right_poses_from_wrong_ones() -> None:
    volume, grid = _planted(np.eye(4), 4.0)
    half_turns = [_pose(turn, (0, 0, 0)) for turn in ((180, 0, 0), (0, 180, 0), (0, 0, 180))]
    assert rate(volume, grid.affine, np.eye(4)).similarity > 0.95
    assert max(rate(volume, grid.affine, pose).similarity for pose in half_turns) < 0.7
    assert rate(volume, grid.affine, _pose((0, 0, 0), (500, 0, 0))).similarity == 0


@pytest.mark.parametrize("size", [0.9, 1.0, 1.1])
def test_the_size_of_the_head_is_found_and_does_not_move_the_pose(size: float) -> None:
    pose = _pose((10, -5, 15), (5, 8, -6))
    volume, grid = _planted(pose, 3.0)
    about = np.eye(4)
    about[:3, 3] = (pose @ [*CENTER_MM, 1])[:3] * (1 - size)
    scaled = np.diag([size, size, size, 1.0])
    found = register(volume, about @ scaled @ grid.affine, SPACING_MM, 0.7, seed=1)
    assert found.head_size == pytest.approx(size)
    assert _error_mm(pose, found.mni_to_native) < 1


@pytest.mark.parametrize("cut", [np.s_[:, :, 18:], np.s_[:, :, :-18], np.s_[:, 16:]], ids=["no lowest quarter", "no top", "no back"])
def test_a_cropped_field_of_view_is_no_obstacle(cut: tuple[slice, ...]) -> None:
    pose = _pose((-10, 12, 8), (5, -4, 6))
    volume, grid = _planted(pose, 3.0)
    affine = grid.affine.copy()
    affine[:3, 3] += [3.0 * (part.start or 0) for part in (*cut, slice(None))[:3]]
    found = register(volume[cut], affine, SPACING_MM, 0.7, seed=1)
    assert _error_mm(pose, found.mni_to_native) < 1.5
    assert found.similarity > 0.85
