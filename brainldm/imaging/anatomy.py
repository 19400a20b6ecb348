"""What a subject of the population is made of at any point: tissue fractions, label, T1 intensity; and its true volumes."""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from brainldm.core.labels import DEMO
from brainldm.imaging.deform import LATTICE_MM, displacement, lattice_mm, sample_field
from brainldm.imaging.population import Brain
from brainldm.imaging.template import template

CENTER_MM = np.array([0.0, -17.0, 6.0])  # about which heads are scaled: the middle of the MNI152 brain
WHITE_INTENSITY = 225.0  # of the template's T1
FLUID = 0.25  # intensity of pure CSF, as a fraction of white matter's; the template, a mean of 152 brains, shows it blurred and brighter
LEFT = (2, 3, 4, 24)  # white, grey, lateral ventricle, CSF
RIGHT = (41, 42, 43, 24)


class Anatomy(NamedTuple):
    """A brain with its displacement `field` [3, I, J, K] in mm, and where on the lattice it lies, `reach` [I, J, K]: both unscaled."""

    brain: Brain
    field: np.ndarray
    reach: np.ndarray


class Tissue(NamedTuple):
    """At N points: `fractions` [4, N] of white, grey, lateral ventricle, CSF; `lost` [N], tissue gone to CSF; `right` [N], the side."""

    fractions: np.ndarray
    lost: np.ndarray
    right: np.ndarray


def anatomy_of(brain: Brain) -> Anatomy:
    """Deform the template into this brain."""
    field = displacement(brain.ventricle_mm, brain.controls_mm)
    shown = template().sample("mask", (lattice_mm() + field).reshape(3, -1)).reshape(field.shape[1:])
    return Anatomy(brain, field, ndimage.binary_dilation(shown > 0, np.ones((3, 3, 3))))


def to_template(anatomy: Anatomy, points_mm: np.ndarray) -> np.ndarray:
    """Points [3, N] of a subject in MNI pose -> the template's points that they show, in mm."""
    unscaled = _unscaled(anatomy, points_mm)
    return np.asarray(unscaled + sample_field(anatomy.field, unscaled))


def _unscaled(anatomy: Anatomy, points_mm: np.ndarray) -> np.ndarray:
    center = CENTER_MM[:, None]
    return np.asarray((points_mm - center) / anatomy.brain.head_scale + center)


def near_brain(anatomy: Anatomy, points_mm: np.ndarray) -> np.ndarray:
    """Indices of those of the points [3, N], in MNI pose, that may lie in the brain; the others certainly do not."""
    index = np.rint((_unscaled(anatomy, points_mm) - lattice_mm()[:, :1, 0, 0]) / LATTICE_MM).astype(np.int32)
    limit = np.array(anatomy.reach.shape)[:, None]
    inside = np.flatnonzero(np.all((index >= 0) & (index < limit), axis=0))
    return np.asarray(inside[anatomy.reach[tuple(index[:, inside])]])


def tissue(brain: Brain, template_mm: np.ndarray) -> Tissue:
    """Tissue at the template's points [3, N]. Atrophy turns grey matter into CSF from the sulci and the brain's surface inwards."""
    maps = template()
    threshold = 0.5 - 0.35 * brain.atrophy  # from nearly all grey matter of the template to a quarter less
    lost = np.clip((maps.sample("sulcal", template_mm) - threshold) / 0.2 + 0.5, 0, 1)
    white, ventricle = maps.sample("white", template_mm), maps.sample("ventricle", template_mm)
    grey = maps.sample("grey", template_mm) * (1 - lost)
    csf = np.maximum(maps.sample("mask", template_mm) - white - grey - ventricle, 0)
    return Tissue(np.stack([white, grey, ventricle, csf]), lost * (1 - white), template_mm[0] > 0)


def labels_of(at: Tissue) -> np.ndarray:
    """The label [N] of the largest fraction, uint8, background included."""
    background = 1 - at.fractions.sum(0)
    winner = np.argmax(np.concatenate([background[None], at.fractions]), axis=0)
    return np.where(at.right, np.array([0, *RIGHT], np.uint8)[winner], np.array([0, *LEFT], np.uint8)[winner])


def t1_of(at: Tissue, template_mm: np.ndarray, contrast: tuple[float, float, float]) -> np.ndarray:
    """T1 intensity [N] in units of white matter's; `contrast` shifts white, grey and CSF."""
    white, grey, ventricle, csf = at.fractions
    t1 = template().sample("t1", template_mm)
    t1 = t1 + at.lost * (FLUID * WHITE_INTENSITY - t1)
    t1 = t1 + ventricle * (FLUID * WHITE_INTENSITY - t1)
    shift = contrast[0] * white + contrast[1] * grey + contrast[2] * (ventricle + csf)
    return np.asarray(np.maximum(t1 / WHITE_INTENSITY + shift, 0) * at.fractions.sum(0))


def label_ml_of(at: Tissue, point_ml: float) -> dict[int, float]:
    """Volume in mL of every label: its fractions summed over points that stand for `point_ml` each."""
    volumes = dict.fromkeys(DEMO[1:], 0.0)
    for fractions, left, right in zip(at.fractions, LEFT, RIGHT, strict=True):
        volumes[left] += float(fractions[~at.right].sum()) * point_ml
        volumes[right] += float(fractions[at.right].sum()) * point_ml
    return volumes
