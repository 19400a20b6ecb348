"""The population: reproducible, growing without changing anybody, ageing as brains do."""

import numpy as np
import pytest

from brainldm.core.config import Cohort
from brainldm.imaging.anatomy import anatomy_of, label_ml_of, near_brain, tissue, to_template
from brainldm.imaging.deform import control_shape
from brainldm.imaging.population import EXPANSION_ML, EXPANSION_MM, Brain, draw_label_map, draw_subject, expansion_mm

OPTIONS = Cohort(
    n_subjects=400,
    n_label_maps=2,
    held_out_fraction=0.25,
    age_years=(44.0, 82.0),
    spacing_mm=(2.0, 3.0),
    thick_slice_fraction=0.1,
    thick_slice_mm=(4.0, 6.0),
    rotation_deg=20.0,
    translation_mm=15.0,
    noise=(0.01, 0.03),
)


@pytest.fixture(scope="module")
def subjects():
    return [draw_subject(OPTIONS, 7, index) for index in range(OPTIONS.n_subjects)]


def volumes_ml(brain):
    """Lateral ventricles and grey matter of a brain in MNI pose, summed over points 2 mm apart."""
    anatomy = anatomy_of(brain)
    points = np.mgrid[-80:81:2, -115:81:2, -80:91:2].reshape(3, -1)
    volumes = label_ml_of(tissue(brain, to_template(anatomy, points[:, near_brain(anatomy, points)])), 0.008)
    return volumes[4] + volumes[43], volumes[3] + volumes[42]


def test_a_record_depends_on_seed_and_index_alone(subjects):
    again = draw_subject(OPTIONS.model_copy(update={"n_subjects": 3}), 7, 11)
    assert again.brain.controls_mm.tobytes() == subjects[11].brain.controls_mm.tobytes()
    assert again.acquisition.noise_seed == subjects[11].acquisition.noise_seed
    assert draw_subject(OPTIONS, 8, 11).age_years != subjects[11].age_years
    assert draw_label_map(7, 11).head_scale != subjects[11].brain.head_scale


def test_records_keep_to_the_configuration(subjects):
    assert all(44 <= subject.age_years <= 82 for subject in subjects)
    assert len({subject.acquisition.axes for subject in subjects}) > 40  # of 48
    assert np.mean([subject.split == "test" for subject in subjects]) == pytest.approx(0.25, abs=0.07)
    assert np.mean([max(subject.acquisition.spacing_mm) >= 4 for subject in subjects]) == pytest.approx(0.1, abs=0.05)
    poses = np.array([subject.acquisition.rotation_deg for subject in subjects])
    assert 19 < np.abs(poses).max() <= 20


def test_age_shows_in_the_ventricles_and_more_in_the_cortex(subjects):
    ages = [subject.age_years for subject in subjects]
    assert 0.4 < np.corrcoef(ages, [subject.brain.ventricle_mm for subject in subjects])[0, 1] < 0.7
    assert 0.8 < np.corrcoef(ages, [subject.brain.atrophy for subject in subjects])[0, 1] < 0.95


def test_men_have_the_larger_heads(subjects):
    scale = {sex: np.mean([subject.brain.head_scale for subject in subjects if subject.sex == sex]) for sex in "FM"}
    assert 1.03 < scale["M"] / scale["F"] < 1.06


def test_atrophy_takes_cortex_and_leaves_the_ventricles():
    full, thin = (volumes_ml(Brain(2.0, atrophy, 1.0, np.zeros(control_shape()))) for atrophy in (0.0, 1.0))
    assert thin[0] == pytest.approx(full[0], rel=1e-6)
    assert thin[1] < 0.85 * full[1]


@pytest.mark.parametrize(("surface_mm", "volume_ml"), list(zip(EXPANSION_MM, EXPANSION_ML, strict=True))[::2])
def test_table_of_ventricular_expansion_is_what_the_deformation_does(surface_mm, volume_ml):
    assert expansion_mm(volume_ml) == surface_mm
    measured_ml, _ = volumes_ml(Brain(surface_mm, 0.0, 1.0, np.zeros(control_shape())))
    assert measured_ml == pytest.approx(volume_ml, rel=0.03)


def test_label_maps_span_more_than_the_subjects(subjects):
    maps = [draw_label_map(7, index).ventricle_mm for index in range(100)]
    drawn = [subject.brain.ventricle_mm for subject in subjects]
    assert min(maps) <= min(drawn)
    assert max(maps) > np.percentile(drawn, 99)
