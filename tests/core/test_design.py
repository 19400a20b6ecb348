from collections import Counter
from collections.abc import Iterable
from itertools import product

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from brainldm.core.design import Population, Row, nearest, population, support_distance
from brainldm.core.design import draw as draw_rows
from brainldm.core.errors import DataError
from brainldm.core.requests import RequestDesign, Values


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


DESIGNS = {
    "empirical": {},
    "uniform": {},
    "stratified": {"age_bands": 2, "ventricle_bands": (5, 20, 60)},
    "grid": {"values": Values(sex=("F", "M"), age_years=(50, 70, 90), ventricles_ml=(20, 40), brain_ml=(1400,))},
    "paired": {"values": Values(ventricles_ml=(10, 30, 50))},
    "table": {"table": "rows.tsv"},
}


def rows(design: str, seed: int, indices: Iterable[int], jitter: float = 0.1, **options: object) -> list[Row]:
    wanted = RequestDesign(design=design, jitter=jitter, **(DESIGNS[design] | options))
    return draw_rows(POPULATION, seed, indices, wanted, people(50))


def draw(_people: Population, seed: int, indices: Iterable[int], design: str, jitter: float) -> np.ndarray:
    return np.stack([row.covariates for row in rows(design, seed, indices, jitter)]).astype(np.float32)


def in_support(of: Population, covariates: np.ndarray) -> np.ndarray:
    return support_distance(of, covariates) <= 1


@pytest.mark.parametrize("design", DESIGNS)
def test_a_row_depends_on_seed_and_index_alone(design: str) -> None:
    def plain(found: list[Row]) -> list[tuple[object, ...]]:
        return [(*row.covariates, row.noise_index, row.cell) for row in found]

    whole = plain(rows(design, 7, range(40)))
    assert plain(rows(design, 7, range(13))) + plain(rows(design, 7, range(13, 40))) == whole
    assert plain(rows(design, 7, range(39, -1, -1))) == whole[::-1]
    assert len(set(whole)) == 40
    if design not in ("grid", "table"):  # they list covariates; the noise's key holds the seed
        assert not set(whole) & set(plain(rows(design, 8, range(40))))


def test_the_smoothed_bootstrap_keeps_means_deviations_and_correlations() -> None:
    drawn = draw(POPULATION, 3, range(20000), "empirical", 0.5).astype(float)
    assert drawn.mean(0) == pytest.approx(TRAINING.mean(0), rel=0.02)
    assert drawn[:, 1:].std(0) == pytest.approx(TRAINING[:, 1:].std(0), rel=0.02)  # 12 % too wide without the shrinkage
    assert np.corrcoef(drawn[:, 1:].T) == pytest.approx(np.corrcoef(TRAINING[:, 1:].T), abs=0.02)


@pytest.mark.parametrize("jitter", [0.01, 0.1])
def test_no_participant_is_copied_but_each_row_stays_near_one(jitter: float) -> None:
    drawn = draw(POPULATION, 3, range(2000), "empirical", jitter)
    assert not np.isin(drawn[:, 1:], TRAINING[:, 1:].astype(np.float32)).any()  # not even one covariate
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


def test_strata_hold_equally_many_rows_inside_their_bands() -> None:
    found = rows("stratified", 3, range(80))
    drawn = np.stack([row.covariates for row in found])
    age_edges = np.quantile(TRAINING[:, 1], [0, 0.5, 1])
    cells = set(Counter(row.cell for row in found).values())
    assert (cells, len({row.cell for row in found})) == ({10}, 8)
    for index, (sex, age, ventricles, _) in enumerate(drawn):
        cell = np.unravel_index(index % 8, (2, 2, 2))
        assert sex == cell[0]
        assert age_edges[cell[1]] <= age <= age_edges[cell[1] + 1]
        assert (5, 20, 60)[cell[2]] <= ventricles <= (5, 20, 60)[cell[2] + 1]
    assert found[7].cell == f"M, {age_edges[1]:.4g}-{age_edges[2]:.4g} years, ventricles 20-60 mL"


def test_the_brain_of_a_stratum_is_as_age_and_ventricles_let_expect() -> None:
    drawn = np.stack([row.covariates for row in rows("stratified", 3, range(8000), age_bands=(40, 90), ventricle_bands=(5, 60))])
    slopes, residual = [], []
    for table in (TRAINING, drawn):
        design = np.column_stack([np.ones(len(table)), table[:, 1:3]])
        fit, square, *_ = np.linalg.lstsq(design, table[:, 3])
        slopes.append(fit)
        residual.append((square[0] / len(table)) ** 0.5)
    assert slopes[1] == pytest.approx(slopes[0], rel=0.05)
    assert residual[1] == pytest.approx(residual[0], rel=0.05)


def test_a_grid_holds_every_combination_as_often_each_time_with_other_noise() -> None:
    found = rows("grid", 3, range(24))
    assert Counter(tuple(row.covariates) for row in found) == dict.fromkeys(product((0, 1), (50, 70, 90), (20, 40), (1400,)), 2)
    assert [row.noise_index for row in found] == list(range(24))


def test_a_pair_shares_its_noise_and_all_covariates_but_the_one_that_moves() -> None:
    found = rows("paired", 3, range(4, 16))
    for row, index in zip(found, range(4, 16), strict=True):
        assert row.noise_index == index // 3 * 3
        assert row.covariates[2] == (10, 30, 50)[index % 3]
    groups = {
        row.noise_index: {tuple(other.covariates[[0, 1, 3]]) for other in found if other.noise_index == row.noise_index} for row in found
    }
    assert [len(kept) for kept in groups.values()] == [1] * 5
    assert len(set().union(*groups.values())) == 5
    moved = [row.covariates[0] for row in rows("paired", 3, range(4), values=Values(sex=("M", "F")))]
    assert moved == [1, 0, 1, 0]


def test_rows_beyond_the_table_are_refused() -> None:
    assert np.array_equal([row.covariates for row in rows("table", 3, [49, 0])], people(50)[[49, 0]])
    with pytest.raises(DataError, match=r"row 50 .*found one of 50 rows; lower request\.n_rows"):
        rows("table", 3, [50])


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
