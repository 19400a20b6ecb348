"""The labels that training images are made from: SynthSeg's 54 generation labels, FreeSurfer's own among them (Billot et al. 2023).

More tissues are drawn than are recognised: lesions, vessels and what lies outside the brain have an intensity of their own.
"""

from collections.abc import Iterable

import numpy as np

from brainldm.core.labels import MIRRORED, NAMES

OUTSIDE = (502, 506, 507, 508, 509, 511, 512, 514, 515, 516, 530)  # skull, fat, fluids, skin
BECOMES = {25: 2, 57: 41, 136: 4, 163: 43, 137: 5, 164: 44, **dict.fromkeys((30, 62, 72, 85, *OUTSIDE), 0)}  # what is recognised instead
GENERATED = tuple(sorted({*NAMES, *BECOMES}))
SAME_TISSUE = {5: 4, 18: 17, 137: 136, 44: 43, 54: 53, 164: 163}  # one intensity for both
SIDES = MIRRORED | {25: 57, 57: 25, 30: 62, 62: 30, 136: 163, 163: 136, 137: 164, 164: 137}

# Intensities of T1w-like images, white matter's highest being 1; labels outside the brain may be anything.
_WHITE, _GREY, _DEEP, _FLUID = (0.7, 1.0), (0.4, 0.75), (0.5, 0.9), (0.05, 0.3)
_T1 = {
    **dict.fromkeys((2, 7, 16, 28, 85), _WHITE),
    **dict.fromkeys((3, 8, 11, 12, 17, 18, 26), _GREY),
    **dict.fromkeys((10, 13, 25), _DEEP),
    **dict.fromkeys((4, 5, 14, 15, 72), _FLUID),
    24: (0.05, 0.4),
    30: (0.2, 1.0),
    136: (0.1, 0.7),
    137: (0.1, 0.7),
    0: (0.0, 0.02),
}


def t1_range(label: int) -> tuple[float, float]:
    """Lowest and highest mean intensity of a label in a T1w-like image; both sides look alike."""
    return _T1.get(label) or _T1.get(SIDES.get(label, label), (0.0, 1.0))


def unknown(labels: np.ndarray) -> list[int]:
    """The values of a label map that are no generation labels."""
    return sorted(set(np.unique(labels).tolist()) - set(GENERATED))


def indices(labels: np.ndarray) -> np.ndarray:
    """Label map -> places in GENERATED, uint8."""
    return np.searchsorted(GENERATED, labels).astype(np.uint8)


def recognised(labels: Iterable[int]) -> tuple[int, ...]:
    """The labels that a segmenter trained on maps with these labels tells apart, sorted; both sides of each."""
    found = {BECOMES.get(label, label) for label in labels}
    return tuple(sorted({0} | found | {MIRRORED[label] for label in found if label in MIRRORED}))


def t1_image(labels: np.ndarray) -> np.ndarray:
    """A plain T1w-like image of a label map, skull-stripped: every recognised label at the middle of its range, float32."""
    middle = [sum(t1_range(label)) / 2 if BECOMES.get(label, label) else 0.0 for label in GENERATED]
    return np.array(middle, np.float32)[indices(labels)]
