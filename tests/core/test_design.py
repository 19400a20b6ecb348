import numpy as np
import pytest
from scipy.spatial.distance import cdist

from brainldm.core.design import draw, in_support, nearest, population
from brainldm.core.errors import DataError


def people(n: int = 200) -> np.ndarray:
    """Covariates that depend on one another and on sex, as real ones do."""
    generator = np.random.default_rng(1)
    sex = generator.integers(0, 2, n)
    age = generator.uniform(44, 82, n)
    ventricles = 10 + 0.6 * (age - 44) + 5 * sex + generator.normal(0, 4, n)
    brain = 1700 - 6 * (age - 44) - 1.5 * ventricles + generator.normal(0, 40, n)
    return np.stack([sex, age, ventricles, brain], axis=1)


TRAINING = people()
POPULATION = population(TRAINING, "people")


@pytest.mark.parametrize("design", ["empirical", "uniform"])
def test_a_row_depends_on_seed_and_index_alone(design: str) -> None:
    whole = draw(POPULATION, 7, range(40), design, 0.1)
    parts = [draw(POPULATION, 7, rows, design, 0.1) for rows in (range(0, 13), range(13, 40))]
    assert np.array_equal(whole, np.concatenate(parts))
    assert np.array_equal(whole[::-1], draw(POPULATION, 7, range(39, -1, -1), design, 0.1))
    assert not (whole == draw(POPULATION, 8, range(40), design, 0.1)).all(1).any()
    assert len(np.unique(whole, axis=0)) == 40


def test_the_smoothed_bootstrap_keeps_means_deviations_and_correlations() -> None:
    drawn = draw(POPULATION, 3, range(20000), "empirical", 0.5).astype(float)
    assert drawn.mean(0) == pytest.approx(TRAINING.mean(0), rel=0.02)
    assert drawn[:, 1:].std(0) == pytest.approx(TRAINING[:, 1:].std(0), rel=0.02)  # 12 % too wide without the shrinkage
    assert np.corrcoef(drawn[:, 1:].T) == pytest.approx(np.corrcoef(TRAINING[:, 1:].T), abs=0.02)


def test_no_participant_is_copied_but_each_row_stays_near_one() -> None:
    drawn = draw(POPULATION, 3, range(2000), "empirical", 0.1)
    assert not np.isin(drawn[:, 1:], TRAINING[:, 1:].astype(np.float32)).any()
    assert in_support(POPULATION, drawn).mean() > 0.98


def test_uniform_rows_fill_the_training_ranges_independently() -> None:
    drawn = draw(POPULATION, 3, range(4000), "uniform", 0.1).astype(float)
    low, high = TRAINING.min(0), TRAINING.max(0)
    scaled = (drawn - low) / (high - low)
    assert scaled.min() >= -1e-6
    assert scaled.max() <= 1 + 1e-6
    assert scaled.mean(0) == pytest.approx([0.5] * 4, abs=0.03)
    assert scaled[:, 1:].std(0) == pytest.approx([12**-0.5] * 3, abs=0.01)
    assert np.corrcoef(scaled.T) == pytest.approx(np.eye(4), abs=0.06)


def test_support_reaches_as_far_as_participants_lie_from_one_another() -> None:
    others = nearest(TRAINING, TRAINING, POPULATION.factor, rank=1)
    assert (others <= POPULATION.reach).mean() == pytest.approx(0.95, abs=0.01)
    assert in_support(POPULATION, TRAINING).all()
    outside = np.array([[0, 80, 8, 1750], [1, 120, 60, 1300]])  # an old brain like a young one; an age that nobody has
    assert not in_support(POPULATION, outside).any()


def test_support_asks_for_a_participant_of_the_same_sex() -> None:
    men, women = TRAINING[TRAINING[:, 0] == 1], TRAINING[TRAINING[:, 0] == 0]
    shifted = population(np.concatenate([women, men + [0, 0, 100, 0]]), "shifted")
    swapped = np.concatenate([women[:, 1:], (men + [0, 0, 100, 0])[:, 1:]])
    codes = np.repeat([1.0, 0.0], [len(women), len(men)])
    assert not in_support(shifted, np.column_stack([codes, swapped])).any()


@pytest.mark.parametrize("rank", [0, 1])
def test_nearest_agrees_with_scipy(rank: int) -> None:
    queries = people(1500)[200:]  # more than one chunk
    inverse = np.linalg.inv(np.cov(TRAINING[:, 1:], rowvar=False))
    distance = cdist(queries[:, 1:], TRAINING[:, 1:], "mahalanobis", VI=inverse)
    distance[queries[:, :1] != TRAINING[:, 0]] = np.inf
    assert nearest(queries, TRAINING, POPULATION.factor, rank) == pytest.approx(np.sort(distance, axis=1)[:, rank], abs=1e-5)


@pytest.mark.parametrize("table", [TRAINING[:4], TRAINING[:0], TRAINING * [1, 1, 1, 0], TRAINING[:, [0, 1, 2, 2]]])
def test_a_population_that_does_not_vary_is_refused_by_name(table: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"covariates\.tsv: expected at least 5 training participants"):
        population(table, "covariates.tsv")
