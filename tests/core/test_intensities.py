"""Damage planted in a head is measured and flagged, by the function that `doctor` and preprocessing share; a sound head is not."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy import ndimage

from brainldm.core.grid import Grid
from brainldm.core.intensities import MEASURES, flags, limited, measures, survey
from brainldm.core.scan_flags import Flags
from brainldm.imaging.mni152 import read_map
from brainldm.imaging.resample import onto_grid

HEAD = Grid(shape=(60, 72, 60), spacing_mm=3.0, center_mm=(0.0, -17.0, 6.0))


@pytest.fixture(scope="module")
def head() -> np.ndarray:
    """The template's brain in whole numbers up to 1000, in air of 0."""
    volume = onto_grid(*read_map("t1"), HEAD)
    return np.rint(volume / np.percentile(volume, 99.9) * 1000).clip(0).astype(np.float32)


def noise(volume: np.ndarray, sigma: float) -> np.ndarray:
    """Rician, as a magnitude image has it."""
    real, imaginary = np.random.default_rng(1).normal(0, sigma, (2, *volume.shape))
    return np.hypot(volume + real, imaginary).astype(np.float32)


def raised(volume: np.ndarray) -> list[str]:
    seen = survey(volume)
    at_0, at_1 = np.percentile(limited(volume, seen), (0, 99.8))
    return flags(measures(seen, float(at_0), float(at_1)), Flags())


def exchanged(volume: np.ndarray, axis: int, one: int, other: int) -> np.ndarray:
    order = np.arange(volume.shape[axis])
    order[[one, other]] = other, one
    return np.take(volume, order, axis)


def some(volume: np.ndarray) -> np.ndarray:
    return np.random.default_rng(3).random(volume.shape) < 0.005


def uniform_air(volume: np.ndarray) -> np.ndarray:
    """As the uniform image of an MP2RAGE: air is noise over the whole range, half way up."""
    smooth = ndimage.gaussian_filter(np.random.default_rng(2).random(volume.shape), 0.5) * 1000
    return np.where(volume > 20, volume, smooth).astype(np.float32)


SOUND: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as it is": lambda head: head,
    "with the noise of a scanner": lambda head: noise(head, 20),
    "stored at 255 levels and saturated": lambda head: np.clip(np.rint(head / 900 * 255), 0, 255),
    "coarse": lambda head: head.reshape(30, 2, 36, 2, 30, 2).mean((1, 3, 5)),
    "of another unit": lambda head: head * 1e-4,
    "cut at its edges": lambda head: head[10:-10, 8:-8, 12:],
}
DAMAGED: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    "a constant": (lambda head: head + 100, "intensity_offset"),
    "a constant below zero": (lambda head: head - 1000, "intensity_offset"),
    "a constant under noise": (lambda head: noise(head, 10) + 150, "intensity_offset"),
    "noise for air": (uniform_air, "noisy_background"),
    "an inverted contrast": (lambda head: 1000 - head, "bright_background"),
    "half a per cent of voxels far below": (lambda head: np.where(some(head), -900, head), "bright_background"),
    "wrapped bytes": (lambda head: np.rint(head / 1000 * 300).astype(np.int64).astype(np.uint8), "wrapped_integers"),
    "wrapped shorts": (lambda head: np.rint(head * 40).astype(np.int64).astype(np.int16), "wrapped_integers"),
    "two exchanged slices": (lambda head: exchanged(head, 2, 30, 31), "slices_out_of_order"),
    "two exchanged slices far apart": (lambda head: exchanged(head, 1, 30, 44), "slices_out_of_order"),
    "two exchanged sagittal slices": (lambda head: exchanged(head, 0, 20, 30), "slices_out_of_order"),
    "all slices exchanged in pairs": (
        lambda head: head[:, :, np.arange(60).reshape(-1, 2)[:, ::-1].ravel()],
        "slices_out_of_order",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", SOUND)
def test_a_sound_head_raises_no_flag(head: np.ndarray, kind: str) -> None:
    volume = SOUND[kind](head).astype(np.float32)
    assert raised(volume) == []
    assert limited(volume, survey(volume)) is volume


@pytest.mark.parametrize("kind", DAMAGED)
def test_planted_damage_raises_its_flag(head: np.ndarray, kind: str) -> None:
    damage, flag = DAMAGED[kind]
    assert flag in raised(damage(head).astype(np.float32))


@pytest.mark.parametrize("value", [-32768.0, 32767.0, 1e9, -1e30])
@pytest.mark.parametrize("n", [1, 40])
def test_a_few_voxels_take_no_range_wherever_they_lie(head: np.ndarray, value: float, n: int) -> None:
    spoiled = head.copy()
    places = np.random.default_rng(4).choice(head.size, n, replace=False)
    spoiled.reshape(-1)[places] = value
    seen = survey(spoiled)
    volume = limited(spoiled, seen)
    assert seen.outlier_share == pytest.approx(n / head.size)
    assert (volume.min(), volume.max()) == (head.min(), pytest.approx(head.max(), rel=0.05))
    untouched = np.delete(volume.reshape(-1), places)
    assert np.array_equal(untouched, np.delete(head.reshape(-1), places))


def test_measures_are_named_and_in_the_scans_own_units(head: np.ndarray) -> None:
    found = measures(survey(head + 200), 200.0, 1200.0)
    assert tuple(found) == MEASURES
    assert (found["raw_lowest"], found["raw_at_0"], found["raw_at_1"]) == (200, 200, 1200)
    assert found["intensity_offset"] == pytest.approx(0.2, abs=0.01)
    assert found["background_level"] == 0
