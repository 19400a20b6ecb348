"""Measure a scan's intensities before they are scaled: background, outliers, range, and signs of damage.

The stage `preprocess` and `doctor` judge by the same functions. Thresholds were chosen on two real heads, the MNI152 template and
demo scans, whole, coarse, noisy and damaged on purpose (docs/registration.md).
"""

from typing import NamedTuple

import numpy as np

from brainldm.core.scan_flags import Flags

SAMPLED = 100  # places along each axis, at most twice as many, of those from which quantiles are estimated
ENDS = (0.1, 99.9)  # percentiles; a few voxels lie beyond
BELOW = 0.2  # times the distance between ENDS: what is further below is an outlier; ringing stays within
ABOVE = 4.0  # vessels and fat stay within
CORNER = 10  # a corner of the field of view is a tenth of each edge long
STEEP = 0.85  # of the range: where an integer wrapped around, neighbours differ by more
FEWEST_PITS = 8
BLOCKS = 32  # means of a slice along each edge, by which slices are compared
NEAR = 9  # slices
SHOWS = 0.1  # of the largest difference between slices: below, they show air
LEAST_CHANGE = (1.0, 0.5, 0.5)  # of the median near by, along x, y, z; beside the middle of a head left and right are nearly alike

MEASURES = (
    "raw_lowest",  # intensities as the file has them
    "raw_highest",
    "raw_at_0",  # which intensities became 0 and 1 on the grid
    "raw_at_1",
    "outlier_share",  # of the voxels, far beyond all others; they were limited to the others' range
    "background_level",  # of the air in the corners of the field of view, where 0 and 1 are those of the volume; right: 0
    "background_noise",  # 95th less 5th percentile there
    "intensity_offset",  # of the air from 0 as stored, in units of the brightest voxels above it; 0 where noise explains it
    "wraparound",  # dark pits with walls as high as the whole range, per voxel; right: 0
    "slice_jump",  # how much worse a slice fits between its neighbours than they fit to each other; right: 1 to 2
)


class Intensities(NamedTuple):
    """Intensities of a scan in the file's own units, and two ratios."""

    lowest: float
    highest: float
    floor: float  # lowest and highest of the voxels that are no outliers
    ceiling: float
    outlier_share: float
    top: float  # 99.9th percentile
    background: tuple[float, float, float]  # 5th, 50th, 95th percentile in the corners of the field of view
    wraparound: float
    slice_jump: float


def survey(volume: np.ndarray) -> Intensities:
    """Measure a scan [X, Y, Z]; its axes point right, anterior, superior."""
    sample = volume[tuple(slice(None, None, max(1, side // SAMPLED)) for side in volume.shape)]
    low, top = (float(value) for value in np.percentile(sample, ENDS))
    floor, ceiling, share = _usual(volume, low - BELOW * (top - low), top + ABOVE * (top - low))
    p05, p50, p95 = np.median(_corners(volume), axis=0).tolist()
    return Intensities(
        lowest=float(volume.min()),
        highest=float(volume.max()),
        floor=floor,
        ceiling=ceiling,
        outlier_share=share,
        top=top,
        background=(p05, p50, p95),
        wraparound=_wraparound(volume),
        slice_jump=_slice_jump(np.clip(volume, floor, ceiling) if share > 0 else volume),
    )


def limited(volume: np.ndarray, seen: Intensities) -> np.ndarray:
    """Return the scan with its outliers limited to the range of the other voxels; itself where it has none."""
    return np.clip(volume, seen.floor, seen.ceiling) if seen.outlier_share > 0 else volume


def measures(seen: Intensities, at_0: float, at_1: float) -> dict[str, float]:
    """Return MEASURES of a scan whose intensities `at_0` and `at_1` become 0 and 1."""
    p05, p50, p95 = seen.background
    span = at_1 - at_0
    above = seen.top - p50
    is_offset = p95 - p05 < abs(p50) and above > 0
    values = (
        seen.lowest,
        seen.highest,
        at_0,
        at_1,
        seen.outlier_share,
        (p50 - at_0) / span,
        (p95 - p05) / span,
        p50 / above if is_offset else 0.0,
        seen.wraparound,
        seen.slice_jump,
    )
    return {name: float(f"{value:.4g}") for name, value in zip(MEASURES, values, strict=True)}


def flags(measured: dict[str, float], limits: Flags) -> list[str]:
    """Return the names of what is beyond its limit, in the order of the configuration."""
    raised = {
        "bright_background": measured["background_level"] > limits.background_above,
        "noisy_background": measured["background_noise"] > limits.background_noise_above,
        "intensity_offset": abs(measured["intensity_offset"]) > limits.offset_above,
        "wrapped_integers": measured["wraparound"] > limits.wraparound_above,
        "slices_out_of_order": measured["slice_jump"] > limits.slice_jump_above,
    }
    return [name for name, is_raised in raised.items() if is_raised]


def _usual(volume: np.ndarray, least: float, most: float) -> tuple[float, float, float]:
    """Lowest and highest voxel between two fences, and the share of voxels beyond them."""
    lowest, highest = float(volume.min()), float(volume.max())
    if least >= most or (lowest >= least and highest <= most):
        return lowest, highest, 0.0
    usual = (volume >= least) & (volume <= most)
    inside = volume[usual]
    return float(inside.min()), float(inside.max()), 1.0 - float(usual.mean())


def _corners(volume: np.ndarray) -> np.ndarray:
    """5th, 50th and 95th percentile [8, 3] in the corners of the field of view."""
    edges = [max(2, side // CORNER) for side in volume.shape]
    ends = [(slice(None, edge), slice(-edge, None)) for edge in edges]
    corners = [volume[one, two, three] for one in ends[0] for two in ends[1] for three in ends[2]]
    return np.array([np.percentile(corner, (5, 50, 95)) for corner in corners])


def _wraparound(volume: np.ndarray) -> float:
    """Dark pits per voxel: a step down of nearly the whole range, and as the next such step of the line one up again.

    Beside air a head has steps up first and down last; 0 where the pits are too few to tell.
    """
    span = float(volume.max()) - float(volume.min())
    pits = 0
    for axis in range(3):
        thin = tuple(slice(None) if other == axis else slice(None, None, 2) for other in range(3))
        steps = np.moveaxis(np.diff(volume[thin], axis=axis), axis, -1)
        flat = steps.reshape(-1)
        places = np.flatnonzero(np.abs(flat) > STEEP * span)
        is_up, line = flat[places] > 0, places // steps.shape[-1]
        pits += int(np.count_nonzero(~is_up[:-1] & is_up[1:] & (line[:-1] == line[1:])))
    return pits / volume.size if pits >= FEWEST_PITS else 0.0


def _slice_jump(volume: np.ndarray) -> float:
    """The largest sum of a slice's differences from its two neighbours, divided by the difference between these.

    1 where slices change evenly, 2 where all is noise, 3 where two neighbours were exchanged.
    """
    largest = 0.0
    for axis, least in enumerate(LEAST_CHANGE):
        means = _block_means(np.moveaxis(volume, axis, 0))
        if len(means) < NEAR:
            continue
        one = np.abs(np.diff(means, axis=0)).mean((1, 2))
        two = np.abs(means[2:] - means[:-2]).mean((1, 2))
        near = np.median(np.lib.stride_tricks.sliding_window_view(np.pad(two, NEAR // 2, mode="edge"), NEAR), axis=-1)
        shows = two > SHOWS * two.max()
        ratio = (one[:-1] + one[1:])[shows] / np.maximum(two, least * near)[shows]
        largest = max(largest, float(ratio.max(initial=0.0)))
    return largest


def _block_means(slices: np.ndarray) -> np.ndarray:
    """Slices [N, A, B] as means over blocks [N, a, b], with a and b at least BLOCKS where there are as many voxels."""
    sizes = [max(1, side // BLOCKS) for side in slices.shape[1:]]
    counts = [side // size for side, size in zip(slices.shape[1:], sizes, strict=True)]
    cut = slices[:, : counts[0] * sizes[0], : counts[1] * sizes[1]]
    return np.asarray(cut.reshape(len(cut), counts[0], sizes[0], counts[1], sizes[1]).mean((2, 4)))
