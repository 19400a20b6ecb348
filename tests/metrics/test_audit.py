from functools import cache

import numpy as np
import pytest
from scipy import stats

from brainldm.metrics import audit

SHAPE = (12, 14, 12)


@cache
def _people(seed: int, n: int) -> np.ndarray:
    """Volumes [n,1,I,J,K] in [0, 1]: one common smooth head and a smooth part of each one's own."""
    generator = np.random.default_rng([7, seed])
    waves = [np.sin(np.outer(np.arange(1, 7), np.linspace(0, np.pi, side))) for side in SHAPE]
    common = np.einsum("ai,bj,ck,abc->ijk", *waves, np.random.default_rng(1).standard_normal((6, 6, 6)))
    own = np.einsum("ai,bj,ck,nabc->nijk", *waves, generator.standard_normal((n, 6, 6, 6)))
    return np.clip(0.5 + 0.02 * common + 0.012 * own, 0, 1)[:, None].astype(np.float32)


def _audited(train: np.ndarray, held_out: np.ndarray, synthetic: np.ndarray, planted: int = 40, limit: float = 0.05) -> dict:
    """The audit in image space alone."""
    low = [audit.low_resolution(images, 10.0) for images in (train, held_out, synthetic)]
    detector = audit.detector({"image": audit.Space(low[0], low[1])})
    copies = audit.altered(train[:planted], 10.0, np.random.default_rng(3))

    def scores(features: np.ndarray) -> np.ndarray:
        return detector({"image": features})["copy_score"]

    altered = {"altered": scores(audit.low_resolution(copies, 10.0))}
    return audit.audit(scores(low[2]), audit.false_alarms(detector.held_out), altered, limit)


def test_the_detector_names_the_scan_that_was_copied_and_keeps_what_else_is_known() -> None:
    train, held_out = (audit.low_resolution(_people(seed, n), 10.0) for seed, n in ((1, 60), (2, 40)))
    detector = audit.detector({"mu": audit.Space(train[:, :50], held_out[:, :50]), "image": audit.Space(train, held_out)})
    found = detector({"mu": held_out[:9, :50], "image": train[20:29], "age": np.arange(9)})
    np.testing.assert_array_equal(found["copied"], np.arange(20, 29))
    assert (found["copy_score"] < 0.01).all()
    assert (found["from_train"] > 0).all()
    assert set(found) == {"age", "copy_score", "copied", "from_train"}


def test_new_people_pass_and_all_planted_copies_are_found() -> None:
    found = _audited(_people(1, 150), _people(2, 100), _people(3, 200))
    assert found["audit"] == audit.PASSED
    assert found["audit_found_altered"] >= 0.95
    assert found["audit_false_alarms"] <= 0.01
    assert found["copy_rate_ci"][1] < 0.05


def test_a_memoriser_is_caught_also_when_it_alters_and_only_one_in_ten_is_a_copy() -> None:
    train, held_out, fresh = _people(1, 150), _people(2, 100), _people(3, 180)
    stolen = audit.altered(train[100:120], 10.0, np.random.default_rng(5))
    assert _audited(train, held_out, train)["audit"] == audit.COPIES
    found = _audited(train, held_out, np.concatenate([fresh, stolen]))
    assert found["audit"] == audit.COPIES
    assert found["copy_rate"] == pytest.approx(0.1, abs=0.01)


def test_a_single_copy_among_hundreds_is_no_false_alarm() -> None:
    train, held_out, fresh = _people(1, 150), _people(2, 100), _people(3, 400)
    found = _audited(train, held_out, np.concatenate([fresh, train[120:121]]))
    assert found["audit"] == audit.COPIES
    assert found["copies_as_planted"] == pytest.approx(1 / 401)
    just_below = np.append(np.full(400, 2.0), 0.99)
    scores = {"altered": np.linspace(0.1, 0.5, 50)}
    assert audit.audit(just_below, np.zeros(500, bool), scores, 0.05)["audit"] == audit.PASSED
    assert audit.audit(np.append(just_below, 0.2), np.zeros(500, bool), scores, 0.05)["audit"] == audit.COPIES


def test_blurred_new_people_are_no_copies() -> None:
    """Everyone lies nearer to the mean; a distance alone would call half of them copies."""
    train, held_out, fresh = _people(1, 150), _people(2, 100), _people(3, 200)
    blurred = 0.5 * fresh + 0.5 * train.mean(axis=0)
    assert _audited(train, held_out, blurred)["audit"] == audit.PASSED


@pytest.mark.parametrize(("n_held_out", "n_synthetic", "n_planted"), [(100, 30, 40), (3, 200, 40), (100, 200, 5)])
def test_too_few_volumes_are_never_called_safe(n_held_out: int, n_synthetic: int, n_planted: int) -> None:
    found = _audited(_people(1, 150), _people(2, n_held_out), _people(3, n_synthetic), n_planted)
    assert found["audit"] == audit.TOO_LITTLE


def test_a_blind_detector_is_never_called_safe() -> None:
    far, none, found = np.full(500, 2.0), np.zeros(500, dtype=bool), np.full(50, 0.5)
    assert audit.audit(far, none, {"altered": found}, 0.05)["audit"] == audit.PASSED
    missed = np.where(np.arange(50) < 40, 0.5, 1.5)
    assert audit.audit(far, none, {"altered": found, "decoded": missed}, 0.05)["audit"] == audit.TOO_LITTLE


def test_the_threshold_keeps_its_promise_in_95_of_100_trials() -> None:
    """Of log-normal ratios at most 1 % lie below it, with 95 % confidence."""
    generator = np.random.default_rng(8)
    beyond = [stats.norm.cdf(np.log(audit.threshold(np.exp(generator.standard_normal(60)), 0.01))) for _ in range(300)]
    assert 0.92 <= np.mean(np.array(beyond) <= 0.01) <= 0.98


def test_gain_and_offset_leave_low_resolution_images_alone() -> None:
    images = _people(4, 3)
    np.testing.assert_allclose(audit.low_resolution(images, 5.0), audit.low_resolution(0.5 * images + 0.1, 5.0), atol=1e-3)
    assert audit.low_resolution(images, 5.0).shape == (3, 6 * 7 * 6)


def test_the_interval_of_a_rate_is_that_of_clopper_and_pearson() -> None:
    found = audit.rate("copy_rate", np.arange(50) < 4)
    exact = stats.binomtest(4, 50).proportion_ci(method="exact")
    assert found["copy_rate_ci"] == pytest.approx([exact.low, exact.high])
    assert audit.rate("copy_rate", np.zeros(0, bool))["copy_rate"] is None
