"""Membership inference against planted truths: intervals that cover, leaks that are found, and attacks that learn nothing."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from brainldm.core.errors import DataError
from brainldm.core.gate import NO_LEAK
from brainldm.metrics import membership
from brainldm.metrics.membership import Attack, auc, auc_interval, chance_of, sure

SIZES = pytest.mark.parametrize(("n", "m"), [(222, 66), (60, 60), (22, 7), (1000, 300)])


def _entries(members: np.ndarray, others: np.ndarray) -> dict:
    """Entries of an attack; the unusual are the first tenth."""
    return membership.membership(members, others, *(np.arange(len(side)) < len(side) / 10 for side in (members, others)))


def _verdict(members: np.ndarray, others: np.ndarray, control: float = 1.0, n_attacks: int = 1) -> str:
    attack = Attack(_entries(members, others), control)
    return membership.verdict({str(number): attack for number in range(n_attacks)})


def test_the_auc_is_that_of_mann_and_whitney_and_ties_count_half() -> None:
    members, others = np.array([1.0, 2.0, 2.0, 5.0]), np.array([0.0, 2.0, 3.0])
    pairs = [(a > b) + 0.5 * (a == b) for a in members for b in others]
    assert auc(members, others) == pytest.approx(np.mean(pairs))
    assert auc(others, members) == pytest.approx(1 - np.mean(pairs))
    assert auc(np.array([np.inf, 1]), np.array([-np.inf, 0])) == 1
    assert np.isnan(auc(members, others[:0]))


@SIZES
@pytest.mark.parametrize("truth", [0.5, 0.6, 0.75, 0.95])
def test_intervals_of_normal_scores_hold_the_true_auc_in_95_of_100_trials(n: int, m: int, truth: float) -> None:
    generator, shift = np.random.default_rng([n, m]), np.sqrt(2) * stats.norm.ppf(truth)
    held = []
    for _ in range(400):
        low, high = auc_interval(auc(generator.standard_normal(n) + shift, generator.standard_normal(m)), n, m)
        held.append(low <= truth <= high)
    assert 0.92 <= np.mean(held) <= 0.99


@pytest.mark.parametrize("share", [0.05, 0.3])
def test_intervals_hold_also_where_a_few_people_leak_for_certain(share: float) -> None:
    """Scores of a share of the members lie above all others': the mixture that memorisation makes."""
    generator, truth = np.random.default_rng(5), 0.5 + share / 2
    held = []
    for _ in range(400):
        members = generator.standard_normal(222) + 100 * (generator.random(222) < share)
        low, high = auc_interval(auc(members, generator.standard_normal(66)), 222, 66)
        held.append(low <= truth <= high)
    assert np.mean(held) >= 0.93


def test_intervals_of_scores_that_tell_nothing_do_not_depend_on_how_scores_are_distributed() -> None:
    draw = np.random.default_rng(6)
    kinds = (draw.standard_normal, draw.standard_cauchy, draw.standard_exponential, lambda n: draw.exponential(size=n) ** 6)
    for kind in kinds:
        above = [auc_interval(auc(kind(222), kind(66)), 222, 66)[0] > 0.5 for _ in range(600)]
        assert np.mean(above) <= 0.045  # 2.5 % expected


def test_intervals_have_limits_and_shrink() -> None:
    assert auc_interval(1.0, 20, 20)[1] == 1.0
    assert 0.8 < auc_interval(1.0, 20, 20)[0] < 0.95
    assert auc_interval(0.0, 20, 20) == pytest.approx([0.0, 1 - auc_interval(1.0, 20, 20)[0]], abs=1e-6)
    widths = [np.diff(auc_interval(0.7, n, n))[0] for n in (5, 20, 80, 320, 100_000)]
    assert all(wide > narrow for wide, narrow in pairwise(widths))
    assert auc_interval(0.5, 1, 1) == pytest.approx((0, 1), abs=0.15)


def test_any_scores_have_an_interval_around_their_auc_that_turns_with_them() -> None:
    generator = np.random.default_rng(18)
    for _ in range(1000):
        n, m = generator.integers(1, 300, 2)
        levels = generator.choice([2, 5, 1000])
        members, others = (generator.integers(0, levels, size) + generator.choice([0.0, 1.0]) for size in (n, m))
        members[generator.random(n) < 0.1] = np.inf
        area = auc(members, others)
        low, high = auc_interval(area, n, m)
        assert 0 <= low <= area <= high <= 1
        assert auc(-others, -members) == pytest.approx(area)
        assert auc_interval(1 - area, n, m) == pytest.approx((1 - high, 1 - low), abs=1e-6)
        assert 0 <= chance_of(int(sure(members, others).sum()), n, m) <= 1


def test_the_chance_of_a_true_positive_rate_is_exact() -> None:
    generator = np.random.default_rng(7)
    for n, m in ((30, 20), (40, 250)):
        counts = [int(sure(generator.random(n), generator.random(m)).sum()) for _ in range(4000)]
        for least in (0, 1, 3, 6):
            assert chance_of(least, n, m) == pytest.approx(np.mean(np.array(counts) >= least), abs=0.025)
    assert chance_of(222, 222, 66) == pytest.approx(1 / _choose(288, 66), rel=1e-6)


def _choose(n: int, k: int) -> float:
    return float(np.exp(np.sum(np.log(np.arange(n - k + 1, n + 1))) - np.sum(np.log(np.arange(1, k + 1)))))


def test_at_most_one_in_a_hundred_others_scores_as_high_as_the_sure_ones() -> None:
    generator = np.random.default_rng(8)
    for m in (1, 66, 99, 100, 250, 1000):
        members, others = generator.standard_normal(500), generator.standard_normal(m)
        found = sure(members, others)
        least = members[found].min() if found.any() else np.inf
        assert (others >= least).sum() <= 0.01 * m
    assert sure(np.zeros(4), np.zeros(9)).sum() == 0  # ties are not sure
    assert sure(np.ones(4), np.zeros(0)).sum() == 0


def test_scores_that_tell_nothing_pass_and_planted_leaks_do_not() -> None:
    generator = np.random.default_rng(9)
    verdicts = [_verdict(generator.standard_normal(1000), generator.standard_normal(300), n_attacks=6) for _ in range(60)]
    assert verdicts.count(NO_LEAK) >= 57
    shifted = generator.standard_normal(1000) + 0.5
    assert _verdict(shifted, generator.standard_normal(300), n_attacks=6) == membership.LEAK
    few = np.where(np.arange(1000) >= 940, 9.0, generator.standard_normal(1000))  # 6 %, none of them unusual: an AUC of 0.53
    assert _verdict(few, generator.standard_normal(300), n_attacks=6) == membership.LEAK
    assert _entries(few, generator.standard_normal(300))["auc"] < 0.58
    tenth = np.where(np.arange(1000) < 100, 1.5, 0.0) + generator.standard_normal(1000)
    assert _entries(tenth, generator.standard_normal(300))["unusual_auc"] > 0.8
    assert _verdict(tenth, generator.standard_normal(300)) == membership.LEAK


def test_too_little_is_never_called_safe() -> None:
    generator = np.random.default_rng(10)
    members, others = generator.standard_normal(1000), generator.standard_normal(300)
    assert _verdict(members, others) == NO_LEAK
    assert _verdict(members, others, control=0.89) == membership.TOO_LITTLE
    assert _verdict(members, others, control=float("nan")) == membership.TOO_LITTLE
    assert _verdict(members, others[:19]) == membership.TOO_LITTLE
    assert _verdict(members[:19], others) == membership.TOO_LITTLE
    assert _verdict(members, others[:0]) == membership.TOO_LITTLE
    assert membership.verdict({}) == membership.TOO_LITTLE
    wide = Attack({**_entries(members, others), "auc_ci": [0.4, 0.66]}, 1.0)
    assert membership.verdict({"wide": wide}) == membership.TOO_LITTLE


def test_held_out_people_of_another_kind_are_no_control() -> None:
    generator = np.random.default_rng(11)
    scores = Attack(_entries(generator.standard_normal(500), generator.standard_normal(200)), 1.0)
    for shift in (-0.5, 0.5):
        unlike = _entries(generator.standard_normal(500) + shift, generator.standard_normal(200))
        assert membership.verdict({"one": scores}, unlike) == membership.UNLIKE
    alike = _entries(generator.standard_normal(500), generator.standard_normal(200))
    assert membership.verdict({"one": scores}, alike) == NO_LEAK


def test_figures_stand_beside_their_n_and_no_number_is_refused() -> None:
    found = _entries(np.arange(50.0), np.arange(30.0))
    assert {key.removeprefix("unusual_") for key in found} == {
        *("auc", "auc_ci", "auc_n", "n_others", "tpr", "tpr_ci", "tpr_n", "tpr_chance")
    }
    assert found["tpr"] == pytest.approx(20 / 50)
    assert found["unusual_auc_n"] == 5
    assert _entries(np.arange(50.0), np.zeros(0))["auc"] is None
    with pytest.raises(DataError, match="2 scores that are no numbers"):
        _entries(np.array([1.0, np.nan, np.nan]), np.ones(3))


def test_the_unusual_are_the_farthest_tenth_whatever_the_units_and_whatever_does_not_vary() -> None:
    covariates = np.random.default_rng(12).standard_normal((200, 4))
    covariates[:20] += 9 * np.sign(covariates[:20])
    found = membership.unusual(covariates)
    assert found[:20].all()
    assert found.sum() == 20
    np.testing.assert_array_equal(membership.unusual(covariates * [1, 1000, 1e-3, 7]), found)
    constant = np.column_stack([covariates, np.ones(200), covariates[:, 0]])
    np.testing.assert_array_equal(membership.unusual(constant), found)
    assert membership.unusual(covariates[:1]).sum() == 0


def _attack(train: np.ndarray, held_out: np.ndarray, synthetic: np.ndarray) -> dict[str, dict]:
    """Both attacks of an outsider on points [N, D]."""
    points = np.concatenate([train, held_out])
    members, others = np.arange(len(train)), np.arange(len(train), len(points))
    reference = np.concatenate(membership.reference_distances(lambda places: points[places], members, others))
    nearest = membership.nearest_references(points, synthetic)[0][:, 0]
    scores = {"nearest": -nearest, "density_ratio": membership.log_ratio(reference, nearest), "without_release": -reference}
    return {name: _entries(values[: len(train)], values[len(train) :]) for name, values in scores.items()}


def _population(seed: int, n: int) -> np.ndarray:
    """People in 12 dimensions of unequal spread, a tenth of them far out."""
    generator = np.random.default_rng([13, seed])
    return generator.standard_normal((n, 12)) * np.linspace(0.3, 2, 12) * np.where(np.arange(n) % 10, 1, 3)[:, None]


def test_a_release_of_new_people_tells_nothing_and_one_of_jittered_people_tells_who_they_are() -> None:
    sound, copied, blurred = [], [], []
    for seed in range(12):
        train, held_out, fresh = (_population(3 * seed + part, n) for part, n in enumerate((200, 200, 400)))
        sound.append(_attack(train, held_out, fresh))
        jittered = np.repeat(train, 2, axis=0) + 0.3 * _population(99, 400)
        copied.append(_attack(train, held_out, jittered))
        blurred.append(_attack(train, held_out, np.repeat(train, 2, axis=0) + np.random.default_rng(seed).standard_normal((400, 12))))
    for name in ("nearest", "density_ratio", "without_release"):
        assert np.mean([found[name]["auc"] for found in sound]) == pytest.approx(0.5, abs=0.02)
        assert np.mean([found[name]["tpr"] for found in sound]) < 0.02
    assert np.mean([found["without_release"]["auc"] for found in copied]) == pytest.approx(0.5, abs=0.02)
    for name in ("nearest", "density_ratio"):
        assert min(found[name]["auc"] for found in copied) > 0.9
        assert min(found[name]["auc"] for found in blurred) > 0.6


def test_members_and_others_have_references_of_the_same_size() -> None:
    """If members had all held-out people as reference and others had fewer, nothing published would tell the two apart."""
    generator, areas = np.random.default_rng(14), []
    for _ in range(150):
        points = generator.standard_normal((60, 3))
        members, others = membership.reference_distances(lambda places, points=points: points[places], np.arange(40), np.arange(40, 60))
        areas.append(auc(-members, -others))
    assert np.mean(areas) == pytest.approx(0.5, abs=0.02)
    assert (membership.reference_distances(lambda places: points[places], np.arange(40), np.arange(40, 41))[0] == 1).all()


def test_texture_sees_fine_detail_and_not_brightness() -> None:
    images = np.random.default_rng(15).random((3, 1, 16, 16, 16)).astype(np.float32)
    found = membership.texture(images, 5.0)
    assert found.shape == (3, 4 * 4 * 4)
    np.testing.assert_allclose(membership.texture(0.5 * images + 0.2, 5.0), found, atol=2e-3)
    finer = images.copy()
    finer[:, :, 8:] *= 3
    assert (membership.texture(finer, 5.0)[:, 32:] > found[:, 32:]).mean() > 0.9
