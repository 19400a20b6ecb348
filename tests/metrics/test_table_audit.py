"""The attacks on the released table: each recovers participants from the design of version 0.1, and none from today's designs."""

import numpy as np
import old_design
import pytest
from scipy import stats

from brainldm.core import copula
from brainldm.core.design import Sources, draw
from brainldm.core.requests import CovariateModel, RequestDesign
from brainldm.metrics.membership import LEAK, NO_LEAK, TOO_LITTLE
from brainldm.metrics.table_attacks import Space, edge_hits, hit, replayed, trilaterated
from brainldm.metrics.table_audit import Table, TableAudit, audit_table, leaks

SEED = 20220915
SAFE = ("copula", "uniform", "stratified")


def people(n: int, seed: int) -> np.ndarray:
    """Covariates [n, 4] that depend on one another and on sex, with a heavy tail of large ventricles."""
    generator = np.random.default_rng([seed, 5])
    sex = generator.integers(0, 2, n)
    age = generator.uniform(44, 82, n)
    ventricles = np.exp(3.2 + 0.02 * (age - 60) + 0.15 * sex + 0.3 * generator.standard_t(6, n))
    brain = 1700 - 4 * (age - 44) - 1.5 * ventricles + generator.normal(0, 50, n)
    return np.stack([sex, age, ventricles, brain], axis=1)


def requested(training: np.ndarray, n_rows: int, design: str) -> Table:
    """What a run with this design publishes."""
    model = copula.fit(training, CovariateModel(bounds={"age_years": (44, 82)}), "people")
    rows = draw(Sources(model, bytes(range(32)), SEED, training), range(n_rows), RequestDesign(design=design))
    covariates = np.stack([row.covariates for row in rows]).astype(np.float32).astype(float)
    return Table(covariates, np.arange(n_rows), SEED, sorted({row.cell for row in rows}))


def of_version_0_1(training: np.ndarray, n_rows: int) -> Table:
    rows = old_design.draw(training, SEED, range(n_rows)).astype(np.float32).astype(float)
    return Table(rows, np.arange(n_rows), SEED, [], old_design.support_distance(rows, training))


@pytest.fixture(scope="module")
def both() -> tuple[np.ndarray, np.ndarray]:
    return people(300, 1), people(300, 2)


def test_the_bootstrap_with_a_public_seed_gives_participants_away(both: tuple[np.ndarray, np.ndarray]) -> None:
    found = audit_table(of_version_0_1(both[0], 1_000), *both)
    assert found.verdict == LEAK
    assert found.rates["replay"]["training"] > 0.9
    assert found.rates["replay"]["held_out"] < 0.02
    assert found.rates["trilateration"]["training"] > 0.1
    assert found.rates["trilateration"]["held_out"] < 0.01
    assert found.attacks["nearest"]["auc"] > 0.8
    assert found.attacks["nearest"]["unusual_auc"] > 0.85
    for secret in ("age_years", "ventricles_ml", "brain_ml"):
        assert leaks(found.rates[f"inference of {secret}"], 1)
    assert leaks(found.rates["linkability"], 1)


def test_a_secret_key_alone_does_not_help_the_bootstrap(both: tuple[np.ndarray, np.ndarray]) -> None:
    found = audit_table(requested(both[0], 1_000, "empirical"), *both)
    assert found.rates["replay"]["training"] < 0.05
    assert found.attacks["nearest"]["auc"] > 0.75
    assert found.verdict == LEAK


@pytest.mark.parametrize("design", SAFE)
def test_todays_designs_tell_nothing_of_who_was_trained_on(both: tuple[np.ndarray, np.ndarray], design: str) -> None:
    found = audit_table(requested(both[0], 1_000, design), *both)
    assert found.verdict == NO_LEAK
    assert set(found.attacks) == {"nearest", "density", "likelihood"}
    assert max(row["control_auc"] for row in found.attacks.values()) > 0.9
    assert not any(leaks(row, 1) for row in found.rates.values())
    assert found.rates["replay"]["training"] < 0.02


def test_a_table_that_holds_its_participants_is_found_whatever_its_size(both: tuple[np.ndarray, np.ndarray]) -> None:
    training, held_out = both
    for n in (40, 300):
        exact = Table(training[:n], np.arange(n), SEED, [])
        assert audit_table(exact, training[:n], held_out).verdict == LEAK


def test_few_people_or_rows_are_no_audit(both: tuple[np.ndarray, np.ndarray]) -> None:
    training, held_out = both
    assert audit_table(requested(training, 10, "copula"), training, held_out) == TableAudit(TOO_LITTLE, {}, {})
    assert audit_table(requested(training, 100, "copula"), training, held_out[:5]).verdict == TOO_LITTLE


def test_replay_and_trilateration_are_exact_where_they_apply() -> None:
    training = people(40, 3)
    table = of_version_0_1(training, 2_000)
    space = Space(training)
    again = replayed(table.covariates, table.indices, SEED, training, old_design.JITTER)
    assert hit(training, again, space).all()
    assert table.distances is not None
    places = trilaterated(table.covariates, table.distances, training)
    assert hit(training, places, space).mean() > 0.9
    assert not hit(people(40, 4), places, space).any()


def test_published_extremes_and_edges_are_compared_with_single_values() -> None:
    training, others = people(200, 6), people(200, 7)
    spread = training[:, 1:].std(0)
    many = old_design.uniform(training, SEED, 20_000)
    assert edge_hits(many, [], training, spread).mean() > 0.8
    assert edge_hits(many, [], others, spread).mean() < 0.5
    middle = np.tile(np.median(others, axis=0), (3, 1))
    own_values = old_design.quantile_cell(people(201, 6))
    assert edge_hits(middle, [own_values], people(201, 6), spread).sum() > edge_hits(middle, [own_values], others, spread).sum()
    rounded = requested(training, 2_000, "stratified")
    assert edge_hits(rounded.covariates, rounded.cells, training, spread).mean() < 0.3


def test_rates_are_compared_with_those_of_people_who_were_not_trained_on() -> None:
    def row(training: float, held_out: float) -> dict[str, float]:
        return {"training": training, "training_n": 222, "held_out": held_out, "held_out_n": 66}

    assert leaks(row(0.6, 0.2), 8)
    assert not leaks(row(0.25, 0.2), 8)
    assert not leaks(row(0.2, 0.6), 8)
    assert not leaks({"training": None, "training_n": 0, "held_out": None, "held_out_n": 0}, 8)


@pytest.mark.slow
@pytest.mark.parametrize("n_rows", [256, 10_000, 100_000])
@pytest.mark.parametrize("design", SAFE)
def test_at_the_scale_of_a_study_areas_stay_near_one_half(design: str, n_rows: int) -> None:
    """Populations of 2,000 training and 2,000 held-out people: the mean AUC of every attack, with the interval of that mean."""
    areas: dict[str, list[float]] = {}
    populations = 4 if n_rows > 10_000 else 8
    for seed in range(populations):
        training, held_out = people(2_000, 2 * seed), people(2_000, 2 * seed + 1)
        found = audit_table(requested(training, n_rows, design), training, held_out)
        assert found.verdict == NO_LEAK, (seed, found)
        assert found.rates["replay"]["training"] <= found.rates["replay"]["held_out_ci"][1] + 0.01
        for name, row in found.attacks.items():
            areas.setdefault(name, []).append(row["auc"])
            areas.setdefault(f"{name}, unusual", []).append(row["unusual_auc"])
    for name, values in areas.items():
        limit = 0.55 if name.endswith("unusual") else 0.53
        upper = np.mean(values) + stats.t.ppf(0.975, populations - 1) * np.std(values, ddof=1) / np.sqrt(populations)
        print(f"{design}, {n_rows} rows, {name}: {np.mean(values):.3f}, upper end {upper:.3f}")
        assert np.mean(values) <= limit
        assert upper <= limit + 0.03
