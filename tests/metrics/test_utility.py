"""Age models of several training sets, compared: planted errors come back, and their difference lies in its interval."""

import numpy as np
import pytest

from brainldm.core.errors import DataError
from brainldm.metrics.utility import compare


def test_figures_are_those_of_single_trainings_averaged() -> None:
    true = np.array([50.0, 60.0, 70.0, 80.0])
    ages = np.stack([true + 2, 0.5 * true])
    found = compare(true, {"real": ages, "synthetic": ages[::-1] + 0.0}, "real", bootstrap=20, seed=0)
    assert found["real"]["r"] == pytest.approx(1)
    assert found["real"]["mae_years"] == pytest.approx((2 + 32.5) / 2)
    assert found["synthetic"]["mae_years_minus_real"] == pytest.approx(0)
    assert found["synthetic"]["r_n"] == 4
    assert not [key for key in found["real"] if "minus" in key]


def test_the_interval_of_the_difference_holds_the_planted_one_and_pairs_scans() -> None:
    """Errors of sd 4 and 6 years, mostly shared: their means differ by 2 * sqrt(2 / pi)."""
    planted, hits, narrow = 2 * np.sqrt(2 / np.pi), 0, []
    for trial in range(100):
        generator = np.random.default_rng([5, trial])
        true, shared = generator.uniform(45, 80, 60), generator.standard_normal(60)
        found = compare(true, {"real": (true + 4 * shared)[None], "synthetic": (true + 6 * shared)[None]}, "real", 200, trial)["synthetic"]
        low, high = found["mae_years_minus_real_ci"]
        hits += low <= planted <= high
        narrow.append((high - low) < 0.6 * np.diff(found["mae_years_ci"])[0])
    assert 88 <= hits <= 99
    assert all(narrow)


def test_trainings_that_differ_widen_the_interval() -> None:
    generator = np.random.default_rng(0)
    true = generator.uniform(45, 80, 60)
    one = true + generator.standard_normal((1, 60))
    alike, apart = (compare(true, {"real": np.concatenate([one, one + by])}, "real", 200, 0)["real"]["mae_years_ci"] for by in (0, 8))
    assert np.diff(apart) > 4 * np.diff(alike)


def test_a_model_that_says_one_age_has_no_r() -> None:
    true = np.linspace(45, 80, 8)
    found = compare(true, {"real": np.full((1, 8), 60.0)}, "real", 20, 0)["real"]
    assert found["r"] is None
    assert found["mae_years"] == pytest.approx(np.abs(true - 60).mean())


def test_two_scans_are_too_few() -> None:
    with pytest.raises(DataError, match="expected at least 3 held-out scans"):
        compare(np.array([1.0, 2.0]), {"real": np.ones((1, 2))}, "real", 5, 0)
