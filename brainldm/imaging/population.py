"""Draws the embedded population: one frozen record per subject, from which everything about it follows.

The effects of age are ours, not fitted to data: ventricles grow, the cortex thins, grey/white contrast fades.
"""

from dataclasses import dataclass

import numpy as np

from brainldm.core.config import Cohort
from brainldm.imaging.deform import control_shape

SUBJECTS, LABEL_MAPS = 0, 1  # streams of random numbers: the label maps belong to brains that are no subject's
MIDDLE_YEARS, SPREAD_YEARS = 63.0, 11.0  # age in the formulas below is (age_years - 63) / 11
HEAD_SCALE = {"F": 0.92, "M": 0.96}  # linear, against the large MNI152 head
ANATOMY_MM = 1.3  # standard deviation of the individual displacement
# Volume of the lateral ventricles when their surface in the template moves outwards (measured; a test repeats it).
EXPANSION_MM = (-3.0, -1.0, 0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0)
EXPANSION_ML = (8.3, 13.5, 17.4, 28.7, 43.2, 61.2, 83.0, 108.8, 136.6)


@dataclass(frozen=True)
class Brain:
    """Anatomy. `atrophy`: 0 for a full cortex ... 1 for a thin one. `controls_mm` [3, A, B, C]: smooth individual displacement."""

    ventricle_mm: float
    atrophy: float
    head_scale: float
    controls_mm: np.ndarray


@dataclass(frozen=True)
class Acquisition:
    """How a brain is scanned: pose, as angles about and shifts along the world's axes; voxels; contrast; imperfections.

    `spacing_mm` runs along right, anterior, superior; `axes` is the storage order. `contrast` shifts white, grey and CSF, in units of
    white's intensity; `bias` [9] is the log gain's linear and quadratic terms; `noise`, Rician, is a fraction of white's intensity.
    """

    rotation_deg: tuple[float, float, float]
    translation_mm: tuple[float, float, float]
    spacing_mm: tuple[float, float, float]
    axes: str
    contrast: tuple[float, float, float]
    bias: np.ndarray
    gain: float
    noise: float
    noise_seed: int


@dataclass(frozen=True)
class Subject:
    """One member of the population."""

    participant_id: str
    age_years: float
    sex: str
    split: str
    brain: Brain
    acquisition: Acquisition


def draw_subject(options: Cohort, seed: int, index: int) -> Subject:
    """The subject of this index: the same whatever the size of the population."""
    generator = np.random.default_rng([seed, SUBJECTS, index])
    age_years = round(float(generator.uniform(*options.age_years)), 1)
    sex = "FM"[generator.integers(2)]
    split = "test" if generator.random() < options.held_out_fraction else "train"
    brain = _draw_brain(generator, age_years, sex)
    return Subject(f"sub-{index + 1:04d}", age_years, sex, split, brain, _draw_acquisition(generator, options, age_years))


def _draw_brain(generator: np.random.Generator, age_years: float, sex: str) -> Brain:
    age = (age_years - MIDDLE_YEARS) / SPREAD_YEARS
    ventricles_ml = np.exp(np.log(35) + 0.30 * age + 0.40 * generator.standard_normal())
    return Brain(
        ventricle_mm=expansion_mm(float(np.clip(ventricles_ml, 9, 125))),
        atrophy=float(np.clip(0.48 + 0.2 * age + 0.1 * generator.standard_normal(), -0.2, 1.1)),
        head_scale=float(HEAD_SCALE[sex] * (1 + 0.018 * generator.standard_normal())),
        controls_mm=ANATOMY_MM * generator.standard_normal(control_shape()),
    )


def draw_label_map(seed: int, index: int) -> Brain:
    """A brain for the segmenter to learn from: every trait drawn from a wider range than the subjects', and free of age."""
    generator = np.random.default_rng([seed, LABEL_MAPS, index])
    return Brain(
        ventricle_mm=expansion_mm(float(np.exp(generator.uniform(np.log(8.5), np.log(135))))),
        atrophy=float(generator.uniform(-0.3, 1.2)),
        head_scale=float(generator.uniform(0.84, 1.05)),
        controls_mm=1.5 * ANATOMY_MM * generator.standard_normal(control_shape()),
    )


def expansion_mm(ventricles_ml: float) -> float:
    """How far the ventricles' surface must move for this volume, in mm."""
    return float(np.interp(ventricles_ml, EXPANSION_ML, EXPANSION_MM))


def _draw_acquisition(generator: np.random.Generator, options: Cohort, age_years: float) -> Acquisition:
    age = (age_years - MIDDLE_YEARS) / SPREAD_YEARS
    spacing = generator.uniform(*options.spacing_mm, 3)
    thick_mm, thick_axis = generator.uniform(*options.thick_slice_mm), generator.integers(3)
    if generator.random() < options.thick_slice_fraction:
        spacing[thick_axis] = thick_mm
    contrast = np.array([-0.025, 0.012, 0.0]) * age + np.array([0.012, 0.015, 0.02]) * generator.standard_normal(3)
    return Acquisition(
        rotation_deg=_triple(generator.uniform(-options.rotation_deg, options.rotation_deg, 3)),
        translation_mm=_triple(generator.uniform(-options.translation_mm, options.translation_mm, 3)),
        spacing_mm=_triple(np.round(spacing, 2)),
        axes="".join(generator.choice(list(pair)) for pair in generator.permutation(["RL", "AP", "SI"])),
        contrast=_triple(contrast),
        bias=0.035 * generator.standard_normal(9),
        gain=float(generator.uniform(400, 1600)),
        noise=float(generator.uniform(*options.noise)),
        noise_seed=int(generator.integers(1 << 62)),
    )


def _triple(values: np.ndarray) -> tuple[float, float, float]:
    a, b, c = values.tolist()
    return (a, b, c)
