import dataclasses

import numpy as np
import pytest

from brainldm.core.errors import DataError
from brainldm.metrics.agreement import agreement


def test_the_interval_holds_the_planted_r_in_about_95_of_100_trials() -> None:
    planted, hits = 0.8, 0
    for trial in range(100):
        x, noise = np.random.default_rng([1, trial]).standard_normal((2, 150))
        found = agreement(x, planted * x + np.sqrt(1 - planted**2) * noise, bootstrap=400, seed=trial)
        hits += found.ci["r"][0] <= planted <= found.ci["r"][1]
    assert 88 <= hits <= 99


def test_the_interval_narrows_as_one_over_the_root_of_n() -> None:
    def width(n: int) -> float:
        x, noise = np.random.default_rng(n).standard_normal((2, n))
        low, high = agreement(x, x + noise, bootstrap=500, seed=0).ci["r"]
        return high - low

    assert width(200) / width(3200) == pytest.approx(4, rel=0.3)


def test_planted_line() -> None:
    requested = np.array([10.0, 20.0, 40.0, 80.0])
    found = agreement(requested, 0.5 * requested + 3, bootstrap=200, seed=0)
    assert found.n == 4
    assert (found.r, found.slope, found.intercept) == pytest.approx((1, 0.5, 3))
    assert found.bias == pytest.approx(3 - 0.5 * requested.mean())
    assert found.mae == pytest.approx(np.mean([2, 7, 17, 37]))
    assert found.ci["r"] == pytest.approx((1, 1))


def test_slope_is_that_of_least_squares() -> None:
    x, noise = np.random.default_rng(3).standard_normal((2, 60))
    found = agreement(x, 2 * x + noise, bootstrap=50, seed=0)
    assert (found.slope, found.intercept) == pytest.approx(np.polyfit(x, 2 * x + noise, 1))


def test_the_seed_decides_the_interval_alone() -> None:
    x, noise = np.random.default_rng(4).standard_normal((2, 60))
    first, again, other = (agreement(x, x + noise, bootstrap=50, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.ci != other.ci
    assert dataclasses.replace(first, ci=other.ci) == other


@pytest.mark.filterwarnings("error")
def test_a_constant_measurement_has_no_r_but_a_bias() -> None:
    found = agreement(np.arange(5.0), np.ones(5), bootstrap=20, seed=0)
    assert np.isnan([found.r, *found.ci["r"]]).all()
    assert found.bias == pytest.approx(-1)


@pytest.mark.parametrize("measured", [np.arange(4.0), np.array([0, 1, 2, 3, np.nan])])
def test_unpaired_or_missing_values_are_an_error(measured: np.ndarray) -> None:
    with pytest.raises(DataError, match="pairs of finite values"):
        agreement(np.arange(5.0), measured, bootstrap=20, seed=0)
