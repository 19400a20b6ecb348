import numpy as np
import pytest

from brainldm.core.errors import DataError
from brainldm.metrics import fidelity, frechet, manifold


def test_fid_of_one_population_equals_that_of_real_halves_and_a_shift_adds_its_square() -> None:
    generator = np.random.default_rng(2)
    real, same = generator.standard_normal((400, 4)), generator.standard_normal((300, 4))
    alike, shifted = fidelity.fidelity(real, same, seed=5), fidelity.fidelity(real, same + np.array([3.0, 0, 0, 0]), seed=5)
    assert alike["fid_n"] == alike["fid_real_n"] == 200
    assert alike["fid"] == pytest.approx(alike["fid_real"], abs=0.1)
    assert shifted["fid"] == pytest.approx(9, abs=1)
    assert shifted["fid_real"] == alike["fid_real"]
    assert alike["kid"] == pytest.approx(0, abs=0.05)
    assert shifted["kid"] > 1
    assert shifted["fid_ci"][0] < shifted["fid"] < shifted["fid_ci"][1]


def test_fid_falls_with_n_and_the_curve_ends_in_the_headline() -> None:
    generator = np.random.default_rng(3)
    found = fidelity.fidelity(generator.standard_normal((400, 16)), generator.standard_normal((300, 16)), seed=5)
    curve = found["fid_curve"]
    assert curve["n"] == [25, 50, 100, 200]
    assert curve["fid"] == sorted(curve["fid"], reverse=True)
    assert curve["fid"][-1] == found["fid"]
    with pytest.raises(DataError, match="at least 4 real scans"):
        fidelity.fidelity(np.zeros((3, 2)), np.zeros((9, 2)), seed=1)


@pytest.mark.parametrize("n_synthetic", [50, 30, 300])  # more than half of them are compared at once, all of them, a few of them
def test_intervals_hold_the_value_of_the_population_in_about_95_of_100_trials(n_synthetic: int) -> None:
    generator, trials = np.random.default_rng(7), 50
    spread = np.linspace(0.5, 1.5, 4)
    found = []
    for trial in range(trials):
        real, others = generator.standard_normal((60, 4)) * spread, generator.standard_normal((n_synthetic, 4)) * spread + 0.5
        alone = fidelity.against_reference((np.zeros(4), np.diag(spread**2), 999), others, trial)
        found.append({**fidelity.fidelity(real, others, seed=trial), **alone})
    for name in ("fid", "fid_real", "kid", "recall", "coverage", "fid_reference"):
        truth = np.mean([one[name] for one in found])
        assert sum(one[f"{name}_ci"][0] <= truth <= one[f"{name}_ci"][1] for one in found) >= 0.8 * trials, (
            name
        )  # least for recall, which is skewed near 1


def test_saved_statistics_score_as_the_features_themselves() -> None:
    generator = np.random.default_rng(4)
    real, synthetic = generator.standard_normal((90, 5)), generator.standard_normal((80, 5)) + 1
    found = fidelity.against_reference(frechet.moments(real), synthetic, seed=1)
    assert found["fid_reference"] == pytest.approx(frechet.frechet_distance(real, synthetic), abs=1e-9)
    assert found["fid_reference_ci"][0] < found["fid_reference"] < found["fid_reference_ci"][1]
    assert (found["fid_reference_n"], found["fid_reference_n_real"]) == (80, 90)


def test_the_kernel_distance_is_unbiased_and_finds_a_planted_difference() -> None:
    generator = np.random.default_rng(5)
    same = [manifold.kernel_distance(*generator.standard_normal((2, 40, 8))) for _ in range(200)]
    assert abs(np.mean(same)) < 3 * np.std(same) / np.sqrt(200)
    assert manifold.kernel_distance(generator.standard_normal((90, 8)), 1 + generator.standard_normal((90, 8))) > 5 * np.std(same)


def test_the_kernel_distance_of_two_pairs_by_hand() -> None:
    a, b = np.array([[1.0], [2.0]]), np.array([[0.0], [3.0]])
    across = np.mean([1.0, 4.0**3, 1.0, 7.0**3])
    assert manifold.kernel_distance(a, b) == pytest.approx(3.0**3 + 1.0 - 2 * across)


def test_precision_falls_with_outliers_and_recall_and_coverage_with_lost_modes() -> None:
    generator = np.random.default_rng(6)
    real, same = generator.standard_normal((2, 200, 3))
    sound = manifold.precision_recall(real, same)
    assert all(value > 0.85 for value in sound.values())
    outliers = manifold.precision_recall(real, 20 + same)
    assert max(outliers.values()) == 0
    collapsed = manifold.precision_recall(real, np.repeat(same[:3], 60, axis=0) + 0.01 * generator.standard_normal((180, 3)))
    assert collapsed["precision"] > 0.6
    assert collapsed["recall"] < 0.1
    assert collapsed["coverage"] < 0.4
