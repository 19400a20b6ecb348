"""Synthesised training images: fractions add up, volumes survive rasterising, and draws follow the seed."""

import numpy as np
import pytest
import torch

from brainldm.core.grid import Grid
from brainldm.core.labels import VALUES
from brainldm.models.label_images import PAIRS, draw_means, rasterise, synthesise

GRID = Grid(shape=(16, 20, 16), spacing_mm=10.0, center_mm=(0, 0, 0))


def phantom():
    """A box of left white matter, 40 x 60 x 40 mm at 2 mm, with a ventricle of 20 x 20 x 20 mm, left of the middle."""
    labels = np.zeros((80, 100, 80), np.uint8)
    labels[10:30, 30:60, 30:50] = 2
    labels[15:25, 40:50, 35:45] = 4
    affine = np.diag([2.0, 2, 2, 1])
    affine[:3, 3] = -(np.array(labels.shape) - 1)
    return labels, affine


def test_fractions_add_up_and_volumes_survive():
    labels, affine = phantom()
    fractions = rasterise(labels, affine, GRID, np.random.default_rng(0)).float()
    assert torch.allclose(fractions.sum(0), torch.ones(GRID.shape), atol=2e-3)
    scale = fractions[VALUES.index(2)].sum() / fractions[VALUES.index(4)].sum()
    assert scale.item() == pytest.approx((96 - 8) / 8, rel=0.05)  # one deformation for both
    volume_ml = fractions[VALUES.index(4)].sum().item() * GRID.voxel_ml
    assert 8 * 0.9**3 * 0.9 < volume_ml < 8 * 1.1**3 * 1.1


def test_left_stays_left():
    labels, affine = phantom()
    fractions = rasterise(labels, affine, GRID, np.random.default_rng(1)).float()
    assert fractions[VALUES.index(4), :8].sum() > 0.99 * fractions[VALUES.index(4)].sum()


def test_images_are_normalised_and_follow_the_seed():
    labels, affine = phantom()
    fractions = torch.stack([rasterise(labels, affine, GRID, np.random.default_rng(2)).float()] * 4)
    images = synthesise(fractions, 0.5, np.random.default_rng(3))
    assert images.shape == (4, 1, *GRID.shape)
    assert images.min() >= 0
    assert images.max() <= 1
    assert torch.equal(images, synthesise(fractions, 0.5, np.random.default_rng(3)))
    assert not torch.equal(images, synthesise(fractions, 0.5, np.random.default_rng(4)))


def test_t1w_means_are_in_order_and_sides_look_alike():
    means = draw_means(500, 0.0, np.random.default_rng(5))
    white, grey, ventricle = (means[:, VALUES.index(value)] for value in (2, 3, 4))
    assert (white > ventricle).all()
    assert (grey > ventricle).all()
    for right, left in PAIRS.items():
        assert np.array_equal(means[:, VALUES.index(right)], means[:, VALUES.index(left)])
    anything = draw_means(500, 1.0, np.random.default_rng(5))
    assert (anything[:, VALUES.index(2)] < anything[:, VALUES.index(4)]).mean() > 0.3
