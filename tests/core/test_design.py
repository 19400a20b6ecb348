from collections import Counter
from collections.abc import Iterable
from itertools import product

import numpy as np
import pytest

from brainldm.core import copula
from brainldm.core.design import Row, Sources
from brainldm.core.design import draw as draw_rows
from brainldm.core.errors import DataError
from brainldm.core.requests import CovariateModel, RequestDesign, Values


def people(n: int = 200) -> np.ndarray:
    """Covariates that depend on one another and on sex, as real ones do."""
    generator = np.random.default_rng(1)
    sex = generator.integers(0, 2, n)
    age = generator.uniform(44, 82, n)
    ventricles = 10 + 0.6 * (age - 44) + 5 * sex + generator.normal(0, 4, n)
    brain = 1700 - 6 * (age - 44) - 1.5 * ventricles + generator.normal(0, 40, n)
    return np.stack([sex, age, ventricles, brain], axis=1)


TRAINING = people()
MODEL = copula.fit(TRAINING, CovariateModel(), "people")
KEY = bytes(range(32))


DESIGNS = {
    "copula": {},
    "empirical": {},
    "uniform": {},
    "stratified": {"age_bands": 2, "ventricle_bands": (5, 20, 60)},
    "grid": {"values": Values(sex=("F", "M"), age_years=(50, 70, 90), ventricles_ml=(20, 40), brain_ml=(1400,))},
    "paired": {"values": Values(ventricles_ml=(10, 30, 50))},
    "table": {"table": "rows.tsv"},
}


def rows(design: str, seed: int, indices: Iterable[int], jitter: float = 0.1, key: bytes = KEY, **options: object) -> list[Row]:
    wanted = RequestDesign(design=design, jitter=jitter, **(DESIGNS[design] | options))
    return draw_rows(Sources(MODEL, key, seed, TRAINING, people(50)), indices, wanted)


def draw(seed: int, indices: Iterable[int], design: str, jitter: float = 0.1, key: bytes = KEY) -> np.ndarray:
    return np.stack([row.covariates for row in rows(design, seed, indices, jitter, key)]).astype(np.float32)


@pytest.mark.parametrize("design", DESIGNS)
def test_a_row_depends_on_key_seed_and_index_alone(design: str) -> None:
    def plain(found: list[Row]) -> list[tuple[object, ...]]:
        return [(*row.covariates, row.noise_index, row.cell) for row in found]

    whole = plain(rows(design, 7, range(40)))
    assert plain(rows(design, 7, range(13))) + plain(rows(design, 7, range(13, 40))) == whole
    assert plain(rows(design, 7, range(39, -1, -1))) == whole[::-1]
    assert len(set(whole)) == 40
    if design not in ("grid", "table"):  # they list covariates; the noise's key holds the seed
        assert not set(whole) & set(plain(rows(design, 8, range(40))))
        assert not set(whole) & set(plain(rows(design, 7, range(40), key=bytes(32))))


def test_the_smoothed_bootstrap_keeps_means_deviations_and_correlations() -> None:
    drawn = draw(3, range(20000), "empirical", 0.5).astype(float)
    assert drawn.mean(0) == pytest.approx(TRAINING.mean(0), rel=0.02)
    assert drawn[:, 1:].std(0) == pytest.approx(TRAINING[:, 1:].std(0), rel=0.02)  # 12 % too wide without the shrinkage
    assert np.corrcoef(drawn[:, 1:].T) == pytest.approx(np.corrcoef(TRAINING[:, 1:].T), abs=0.02)


def test_the_default_draws_from_the_model() -> None:
    drawn = draw(3, range(5000), RequestDesign().design).astype(float)
    assert drawn.mean(0) == pytest.approx(TRAINING.mean(0), rel=0.1)
    assert drawn[:, 1:].std(0) == pytest.approx(TRAINING[:, 1:].std(0), rel=0.15)
    assert np.corrcoef(drawn[:, 1:].T) == pytest.approx(np.corrcoef(TRAINING[:, 1:].T), abs=0.1)
    assert MODEL.in_support(drawn).mean() == pytest.approx(0.99, abs=0.01)


def test_uniform_rows_fill_the_rounded_bounds_independently() -> None:
    drawn = draw(3, range(4000), "uniform").astype(float)
    ranges = MODEL.ranges()
    low, high = np.array(ranges.low), np.array(ranges.high)
    scaled = (drawn - low) / (high - low)
    assert scaled.min() >= -1e-6
    assert scaled.max() <= 1 + 1e-6
    assert scaled.mean(0) == pytest.approx([0.5] * 4, abs=0.03)
    assert scaled[:, 1:].std(0) == pytest.approx([12**-0.5] * 3, abs=0.01)
    assert np.corrcoef(scaled.T) == pytest.approx(np.eye(4), abs=0.06)


def test_strata_hold_equally_many_rows_inside_their_bands() -> None:
    found = rows("stratified", 3, range(80))
    drawn = np.stack([row.covariates for row in found])
    age_edges = MODEL.bands("age_years", 2)
    cells = set(Counter(row.cell for row in found).values())
    assert (cells, len({row.cell for row in found})) == ({10}, 8)
    for index, (sex, age, ventricles, _) in enumerate(drawn):
        cell = np.unravel_index(index % 8, (2, 2, 2))
        assert sex == cell[0]
        assert age_edges[cell[1]] <= age <= age_edges[cell[1] + 1]
        assert (5, 20, 60)[cell[2]] <= ventricles <= (5, 20, 60)[cell[2] + 1]
    assert found[7].cell == f"M, {age_edges[1]:.4g}-{age_edges[2]:.4g} years, ventricles 20-60 mL"


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


def test_the_bootstrap_without_its_table_is_refused() -> None:
    with pytest.raises(DataError, match="needs the table of training covariates"):
        draw_rows(Sources(MODEL, KEY, 1), [0], RequestDesign(design="empirical"))
