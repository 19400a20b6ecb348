import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from brainldm.core.errors import ScanError
from brainldm.core.grid import Grid
from brainldm.imaging.intensity import to_unit_range
from brainldm.imaging.resample import coarsen, in_field, onto_grid

GRID = Grid(shape=(20, 24, 18), spacing_mm=2.0, center_mm=(3.0, -5.0, 7.0))


def _noise(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).random(shape).astype(np.float32)


def _rigid() -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("xyz", (20, -10, 5), degrees=True).as_matrix()
    pose[:3, 3] = (4, -3, 2)
    return pose


def _ramp(affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A linear function of where a voxel lies in the world."""
    world_mm = np.indices(shape).reshape(3, -1).T @ affine[:3, :3].T + affine[:3, 3]
    return (world_mm @ (0.5, -0.2, 0.3)).reshape(shape).astype(np.float32)


def test_the_grid_itself_comes_back_unchanged() -> None:
    volume = _noise(GRID.shape)
    np.testing.assert_allclose(onto_grid(volume, GRID.affine, GRID), volume, atol=1e-5)


def test_a_shift_by_whole_voxels_moves_the_voxels() -> None:
    volume, shift = _noise(GRID.shape), np.eye(4)
    shift[:3, 3] = (2 * GRID.spacing_mm, 0, -GRID.spacing_mm)
    moved = onto_grid(volume, GRID.affine, GRID, shift)
    np.testing.assert_allclose(moved[:-2, :, 1:], volume[2:, :, :-1], atol=1e-5)
    assert (moved[-2:] == volume.min()).all()


@pytest.mark.parametrize("spacing_mm", [1.0, 1.7, 3.0])
def test_a_ramp_stays_the_same_ramp_at_any_voxel_size_and_pose(spacing_mm: float) -> None:
    pose = _rigid()
    affine = pose @ np.diag([spacing_mm, spacing_mm, spacing_mm * 1.3, 1])
    shape = (round(100 / spacing_mm),) * 3
    affine[:3, 3] += pose[:3, :3] @ (np.array(GRID.center_mm) - 50)
    got = onto_grid(_ramp(affine, shape), affine, GRID, pose)
    np.testing.assert_allclose(got[4:-4, 4:-4, 4:-4], _ramp(pose @ GRID.affine, GRID.shape)[4:-4, 4:-4, 4:-4], atol=0.01)


def test_what_is_finer_than_the_voxels_to_come_is_averaged_not_aliased() -> None:
    stripes = np.tile(np.arange(64) % 2, (64, 64, 1)).astype(np.float32)
    grid = Grid(shape=(12, 12, 12), spacing_mm=4.0, center_mm=(0.0, 0.0, 0.0))
    affine = np.diag([1.0, 1, 1, 1])
    affine[:3, 3] = -31.5
    np.testing.assert_allclose(onto_grid(stripes, affine, grid), 0.5, atol=0.01)
    np.testing.assert_allclose(coarsen(stripes, affine, 4.0)[0][:, :, 2:-2], 0.5, atol=0.05)


def test_no_overshoot_at_an_edge() -> None:
    step = np.zeros(GRID.shape, np.float32)
    step[10:] = 1
    got = onto_grid(step, GRID.affine, GRID, _rigid())
    assert (got.min(), got.max()) == (0, 1)


def test_coarsening_keeps_the_place_and_leaves_coarse_axes_alone() -> None:
    affine = _rigid() @ np.diag([1.0, 2, 6, 1])
    coarse, coarse_affine = coarsen(_ramp(affine, (60, 41, 12)), affine, 4.0)
    np.testing.assert_allclose(np.linalg.norm(coarse_affine[:3, :3], axis=0), [4, 4, 6])
    assert coarse.shape == (15, 21, 12)
    np.testing.assert_allclose(coarse[2:-2, 2:-2], _ramp(coarse_affine, coarse.shape)[2:-2, 2:-2], atol=0.01)


def test_two_percentiles_become_zero_and_one() -> None:
    volume = np.arange(1001.0).reshape(7, 11, 13)
    unit = to_unit_range(volume, (10, 90), "a scan")
    assert (unit.min(), unit.max(), unit.dtype) == (0, 1, np.float32)
    assert unit.flat[500] == pytest.approx(0.5)
    np.testing.assert_allclose(to_unit_range(3 * volume + 40, (10, 90), "a scan"), unit, atol=1e-6)
    with pytest.raises(ScanError, match=r"a scan.*percentiles"):
        to_unit_range(np.ones((4, 4, 4)), (0, 99), "a scan")


def test_the_field_of_view_is_where_the_scan_has_voxels() -> None:
    assert in_field(GRID.shape, GRID.affine, GRID).all()
    cut = in_field((10, 24, 18), GRID.affine, GRID)
    assert cut[:10].all()
    assert not cut[10:].any()
    away = np.eye(4)
    away[2, 3] = -4 * GRID.spacing_mm
    assert in_field(GRID.shape, GRID.affine, GRID, away)[:, :, 4:].all()
    assert not in_field(GRID.shape, GRID.affine, GRID, away)[:, :, :4].any()
