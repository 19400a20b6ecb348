import numpy as np
import pandas as pd
import pytest
from scipy import stats

from brainldm.metrics import anatomy


def _people(seed: int, n: int, mean_age: float) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    values = {
        "sex": generator.choice(["F", "M"], n),
        "age_years": generator.normal(mean_age, 6, n),
        "ventricles_ml": 20.0,
        "brain_ml": 1500.0,
    }
    return pd.DataFrame(values)


def _atrophied(people: pd.DataFrame, seed: int) -> np.ndarray:
    """A region that shrinks with age and is larger in men."""
    noise = np.random.default_rng(seed).normal(0, 10, len(people))
    return (600 - 4 * people["age_years"] + 30 * (people["sex"] == "M") + noise).to_numpy()


def test_matching_takes_away_a_difference_that_age_and_sex_explain() -> None:
    real, synthetic = _people(1, 600, 58), _people(2, 500, 66)
    regions = [{"thalamus": _atrophied(people, seed)} for seed, people in ((3, real), (4, synthetic))]
    crude = np.mean(regions[1]["thalamus"]) - np.mean(regions[0]["thalamus"])
    found = anatomy.regions(*regions, real, synthetic)["thalamus"]
    assert crude < -20
    assert found["d_low"] < 0.1
    assert abs(found["d"]) < 0.2
    assert abs(found["mean_ml"] - found["mean_real_ml"]) < 0.2 * abs(crude)


def test_the_interval_holds_a_planted_effect_in_about_95_of_100_trials() -> None:
    generator, hits = np.random.default_rng(5), 0
    for _ in range(100):
        found = anatomy.compare(generator.normal(200, 20, 90), generator.normal(210, 20, 120), np.ones(90), np.ones(120))
        hits += found["d_low"] < 0.5 < found["d_high"]
    assert 89 <= hits <= 99


def test_with_equal_weights_it_is_the_textbook() -> None:
    generator = np.random.default_rng(6)
    real, synthetic = generator.normal(5, 1, 80), generator.normal(6, 2, 80)
    found = anatomy.compare(real, synthetic, np.ones(80), np.ones(80))
    pooled = np.sqrt((real.var(ddof=1) + synthetic.var(ddof=1)) / 2)
    assert found["d"] == pytest.approx((synthetic.mean() - real.mean()) / pooled)
    assert found["wasserstein_ml"] == pytest.approx(stats.wasserstein_distance(synthetic, real))
    assert (found["n"], found["n_real"]) == (80, 80)


def test_who_has_no_match_counts_nothing_and_nobody_to_match_gives_nothing() -> None:
    rows = np.array([[0, 51.0], [0, 52.0], [1, 51.0]])
    others = np.array([[0, 53.0], [0, 71.0]])
    weights = anatomy.matching_weights(rows, others)
    assert weights[0].tolist() == [0.5, 0.5, 0]
    assert weights[1].tolist() == [1, 0]
    assert anatomy.regions({}, {}, _people(1, 30, 40), _people(2, 30, 90)) == {}
