"""Deformations are invertible, leave the pose alone, and their exponential has the properties of one."""

import numpy as np
import pytest

from brainldm.imaging.deform import (
    LATTICE_MM,
    control_shape,
    displacement,
    exponential,
    jacobian_determinant,
    lattice_mm,
    sample_field,
    ventricle_velocity,
    without_rigid,
)


def controls(seed, sd_mm):
    return sd_mm * np.random.default_rng(seed).standard_normal(control_shape())


@pytest.mark.parametrize("ventricle_mm", [-3.0, 0.0, 12.0])
def test_the_widest_deformations_are_invertible(ventricle_mm):
    for seed in range(3):
        assert jacobian_determinant(displacement(ventricle_mm, controls(seed, 3.6))).min() > 0


def test_jacobian_of_a_scaling_is_its_volume():
    scaled = 0.1 * lattice_mm()
    assert jacobian_determinant(scaled) == pytest.approx(1.1**3)
    assert jacobian_determinant(-1.5 * lattice_mm()).max() < 0


def test_the_flow_backwards_undoes_the_flow():
    velocity = 4 * ventricle_velocity() + 0.05 * np.sin(lattice_mm() / 20)
    there, back = exponential(velocity), exponential(-velocity)
    inner = (slice(None),) + (slice(5, -5),) * 3
    error = (there + sample_field(back, lattice_mm() + there))[inner]
    assert np.abs(there).max() > 3
    assert np.sqrt((error**2).sum(0).mean()) < 0.1
    assert np.abs(error).max() < LATTICE_MM / 4


def test_rigid_motion_is_removed_whole_and_nothing_else():
    x, y, z = lattice_mm()
    motion = np.stack([0.02 * y - 3, -0.02 * x + 0.01 * z, -0.01 * y + 1])
    assert np.abs(without_rigid(motion)).max() < 1e-9
    shape = np.stack([0.05 * x, np.sin(y / 9), np.cos(z / 9)])
    once = without_rigid(shape + motion)
    assert np.allclose(once, without_rigid(shape))
    assert np.allclose(once, without_rigid(once))


def test_individual_displacement_has_the_variance_asked_for_everywhere():
    fields = np.stack([displacement(0.0, controls(seed, 1.0)) for seed in range(40)])
    sd = fields[:, :, 8:-8, 8:-8, 8:-8].std(0)
    assert 0.75 < np.median(sd) < 1.05  # a little below 1: the rigid part is gone
    assert sd.max() < 1.7
