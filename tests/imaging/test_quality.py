"""QC measures of planted faults, and the flags that they raise."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from brainldm.core.grid import Grid
from brainldm.core.scan_flags import Flags
from brainldm.imaging.mni152 import read_map
from brainldm.imaging.quality import MEASURES, brain_in_scan, flags, foreground, head_in_grid, measure, rotation_deg, shift_mm
from brainldm.imaging.register import Pose, rate
from brainldm.imaging.resample import onto_grid

GRID = Grid(shape=(20, 24, 18), spacing_mm=2.0, center_mm=(3.0, -5.0, 7.0))
HEAD = Grid(shape=(50, 60, 50), spacing_mm=4.0, center_mm=(0.0, -17.0, 6.0))
SOUND = dict(zip(MEASURES, (0.95, 10.0, 20.0, 1.0, 0.99, 0.1, 0.6, 0.9), strict=True))


def _measured(volume: np.ndarray, grid: Grid = HEAD) -> dict[str, float]:
    return measure(volume, HEAD.affine, rate(volume, HEAD.affine, np.eye(4)), grid, onto_grid(volume, HEAD.affine, grid))


@pytest.fixture(scope="module")
def head() -> np.ndarray:
    return onto_grid(*read_map("t1"), HEAD) / 255


def test_measures_of_a_planted_pose() -> None:
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_rotvec(np.radians(25) * np.array([0.6, 0, 0.8])).as_matrix()
    pose[:3, 3] = np.array(GRID.center_mm) - pose[:3, :3] @ GRID.center_mm + (3, 0, 4)
    assert rotation_deg(pose) == pytest.approx(25)
    assert shift_mm(pose, GRID.center_mm) == pytest.approx(5)


def test_the_share_of_the_head_inside_the_box() -> None:
    head = np.zeros(GRID.shape, np.float32)
    head[4:14, 4:14, 4:14] = 1
    assert foreground(head).sum() == 1000
    for voxels, share in [(0, 1.0), (4, 1.0), (8, 0.6), (10, 0.4), (30, 0.0)]:
        away = np.eye(4)
        away[0, 3] = voxels * GRID.spacing_mm
        assert head_in_grid(head, GRID.affine, GRID, away) == pytest.approx(share)


def test_the_share_of_the_brain_in_the_field_of_view_falls_as_slices_are_cut_off(head: np.ndarray) -> None:
    shares = [brain_in_scan((*HEAD.shape[:2], n_slices), HEAD.affine, Pose(np.eye(4), 1.0, 1.0)) for n_slices in (50, 30, 25, 0)]
    assert shares[0] == 1
    assert shares[3] == 0
    shown = head > 0.1 * head.max()
    np.testing.assert_allclose(shares[1:3], [shown[:, :, :n].sum() / shown.sum() for n in (30, 25)], atol=0.05)


def test_a_sound_scan_has_sound_measures_and_no_flag(head: np.ndarray) -> None:
    measures = _measured(head)
    assert tuple(measures) == MEASURES
    assert measures["similarity"] > 0.95
    assert measures["head_in_grid"] == 1
    assert 0 < measures["intensity_p05"] < 0.5 < measures["intensity_p50"] < measures["intensity_p95"] < 1
    assert flags(measures, Flags()) == []


def test_planted_faults_raise_their_flags(head: np.ndarray) -> None:
    small_box = Grid(shape=(24, 24, 24), spacing_mm=4.0, center_mm=HEAD.center_mm)
    assert flags(_measured(head, small_box), Flags()) == ["head_cut_by_grid"]
    assert flags(_measured(head / 10), Flags()) == ["dark_brain", "flat_brain"]
    noise = np.random.default_rng(0).random(HEAD.shape).astype(np.float32)
    assert "low_similarity" in flags(_measured(noise), Flags())


@pytest.mark.parametrize(
    ("fault", "flag"),
    [
        ({"similarity": 0.76}, "low_similarity"),
        ({"rotation_deg": 50.0}, "large_rotation"),
        ({"translation_mm": 100.0}, "large_translation"),
        ({"brain_in_scan": 0.9}, "brain_cut_by_scan"),
        ({"head_in_grid": 0.5}, "head_cut_by_grid"),
        ({"intensity_p50": 0.15}, "dark_brain"),
        ({"intensity_p05": 0.85}, "flat_brain"),
    ],
)
def test_every_flag_has_its_threshold(fault: dict[str, float], flag: str) -> None:
    assert flags(SOUND, Flags()) == []
    assert flags(SOUND | fault, Flags()) == [flag]
    everything_goes = Flags(
        similarity_below=-1,
        rotation_above_deg=181,
        translation_above_mm=1000,
        brain_in_scan_below=0,
        head_in_grid_below=0,
        brain_median_below=0,
        brain_spread_below=0,
    )
    assert flags(SOUND | fault, everything_goes) == []
