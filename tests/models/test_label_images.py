"""Synthesised training images: fractions add up, volumes survive, left stays left, and all follows from the draw."""

import numpy as np
import pytest
import torch

from brainldm.core.config import TrainSegmenter
from brainldm.core.grid import Grid
from brainldm.core.labels import DEMO
from brainldm.models.generation_labels import BECOMES, GENERATED, SIDES, indices, recognised, t1_image, unknown
from brainldm.models.label_images import Draw, LabelMap, draw, label_map, synthesise

GRID = Grid(shape=(16, 20, 16), spacing_mm=10.0, center_mm=(0, 0, 0))
STILL = {"rotation_deg": 0, "scaling": 0, "translation_mm": 0, "warp_mm": 0, "bias": 0, "gamma": 0}


def options(**changes: float) -> TrainSegmenter:
    sizes = {"steps": 1, "batch_size": 1, "learning_rate": 1, "warmup_steps": 0, "init_filters": 8, "levels": 2, "space_to_depth": 1}
    return TrainSegmenter.model_validate({**sizes, "align": False, "held_out_maps": 1, "any_contrast": 0.5, **changes})


def phantom() -> LabelMap:
    """A box of left white matter, 40 x 60 x 40 mm at 2 mm, with a ventricle of 20 x 20 x 20 mm, left of the middle."""
    labels = np.zeros((80, 100, 80), np.int32)
    labels[10:30, 30:60, 30:50] = 2
    labels[15:25, 40:50, 35:45] = 4
    affine = np.diag([2.0, 2, 2, 1])
    affine[:3, 3] = -(np.array(labels.shape) - 1)
    return label_map(labels, affine, np.eye(4), torch.device("cpu"))


def volume_ml(fractions: torch.Tensor, label: int) -> float:
    return fractions[DEMO.index(label)].sum().item() * GRID.voxel_ml


def drawn(seed: int, **changes: float) -> Draw:
    return draw(options(**changes), GRID, np.random.default_rng(seed))


def test_fractions_add_up_and_undeformed_volumes_are_exact() -> None:
    image, fractions = synthesise(phantom(), drawn(0, **STILL)._replace(flip=False), GRID, DEMO)
    assert image.shape == (1, *GRID.shape)
    assert torch.equal(fractions.sum(0), torch.ones(GRID.shape))
    assert volume_ml(fractions, 4) == pytest.approx(8, rel=0.01)
    assert volume_ml(fractions, 2) == pytest.approx(96 - 8, rel=0.01)


def test_volumes_follow_the_affine() -> None:
    changes = drawn(1, **{**STILL, "rotation_deg": 15, "scaling": 0.2})
    _, fractions = synthesise(phantom(), changes, GRID, DEMO)
    expected = 96 / np.linalg.det(changes.matrix[:3, :3])
    assert volume_ml(fractions, 2) + volume_ml(fractions, 4) == pytest.approx(expected, rel=0.03)


def test_a_warp_deforms_and_nothing_vanishes() -> None:
    draws = (drawn(4, **{**STILL, "warp_mm": warp})._replace(flip=False) for warp in (0, 8))
    still, warped = (synthesise(phantom(), each, GRID, DEMO)[1] for each in draws)
    assert not torch.equal(still, warped)
    assert 2 < volume_ml(warped, 4) < 32


def test_left_stays_left_in_every_draw() -> None:
    for seed in range(8):
        _, fractions = synthesise(phantom(), drawn(seed, rotation_deg=5, translation_mm=0), GRID, DEMO)
        flipped = drawn(seed, rotation_deg=5, translation_mm=0).flip
        side, other = (43, 4) if flipped else (4, 43)
        place = slice(8, None) if flipped else slice(0, 8)
        assert fractions[DEMO.index(side), place].sum() > 0.95 * fractions[DEMO.index(side)].sum() > 0
        assert fractions[DEMO.index(other)].sum() == 0


def test_images_are_normalised_and_follow_the_draw() -> None:
    source = phantom()
    images = [synthesise(source, drawn(seed), GRID, DEMO)[0] for seed in (3, 3, 4)]
    assert torch.equal(images[0], images[1])
    assert not torch.equal(images[0], images[2])
    assert all(image.min() == 0 and image.max() == 1 and torch.isfinite(image).all() for image in images)


def test_t1w_draws_keep_the_order_of_tissues_and_others_do_not() -> None:
    place = {label: index for index, label in enumerate(GENERATED)}
    t1 = np.stack([drawn(seed, any_contrast=0).means for seed in range(100)])
    anything = np.stack([drawn(seed, any_contrast=1).means for seed in range(100)])
    assert (t1[:, place[2]] > t1[:, place[4]]).all()
    assert all(np.array_equal(t1[:, place[label]], t1[:, place[other]]) for label, other in SIDES.items())
    assert 0.2 < (anything[:, place[2]] < anything[:, place[4]]).mean() < 0.8
    assert np.array_equal(anything[:, place[4]], anything[:, place[5]])  # as in SynthSeg: parts of one ventricle
    assert not np.array_equal(anything[:, place[2]], anything[:, place[41]])


def test_a_thick_slice_blurs_one_axis_only() -> None:
    source, sharp = phantom(), drawn(5, **STILL)
    sharp = sharp._replace(stds=np.zeros_like(sharp.stds), resolution_mm=np.ones(3), thickness_mm=np.ones(3))
    thick = sharp._replace(resolution_mm=np.array([1.0, 1.0, 20.0]), thickness_mm=np.array([1.0, 1.0, 20.0]))
    one, other = (synthesise(source, each, GRID, DEMO)[0][0] for each in (sharp, thick))
    assert torch.allclose(one.mean(2) / one.mean(), other.mean(2) / other.mean(), atol=0.15)
    assert other.diff(dim=2).abs().mean() < 0.8 * one.diff(dim=2).abs().mean()


def test_the_54_generation_labels_become_the_33_of_synthseg() -> None:
    assert len(GENERATED) == 54
    assert len(recognised(GENERATED)) == 33
    assert recognised([0, 2, 25, 136]) == (0, 2, 4, 41, 43)
    assert unknown(np.array([0, 2, 77])) == [77]
    assert (np.array(GENERATED)[indices(np.array([0, 530, 2]))] == [0, 530, 2]).all()
    assert all(SIDES[SIDES[label]] == label for label in SIDES)
    assert t1_image(np.array([2, 515, 0])).tolist() == [pytest.approx(0.85), 0.0, 0.0]
    assert set(BECOMES.values()) <= {0, 2, 4, 5, 41, 43, 44}
