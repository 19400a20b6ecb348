"""The template's maps: anatomy that can be counted."""

import numpy as np
import pytest

from brainldm.core.covariates import TEMPLATE_ICV_ML
from brainldm.imaging.template import template


def test_icv_is_the_constant_that_normalises_brain_volumes():
    assert template().mask.sum() / 1000 == pytest.approx(TEMPLATE_ICV_ML, abs=0.1)


def test_fractions_fill_the_mask_and_no_more():
    maps = template()
    total = maps.white + maps.grey + maps.ventricle
    assert total.min() >= 0
    assert (total - maps.mask).max() < 1e-5


def test_lateral_ventricles_are_a_pair_and_spare_the_third():
    maps = template()
    middle = -round(maps.origin_mm[0])
    left, right = maps.ventricle[:middle], maps.ventricle[middle + 1 :]
    assert left.sum() == pytest.approx(right.sum(), rel=0.01)  # the template is symmetric
    assert 15 < maps.ventricle.sum() / 1000 < 20
    trigone, body, third, cistern = (-26, -44, 8), (12, -16, 22), (0, -20, 0), (0, -40, 0)
    points = np.array([trigone, body, third, cistern]).T
    assert maps.sample("ventricle", points).tolist() == [1, 1, 0, 0]


def test_no_csf_of_the_ventricles_is_left_in_t1():
    maps = template()
    core = maps.ventricle_mm < -2
    assert np.percentile(maps.t1[core], 5) > 100  # CSF is near 70, grey matter near 150
