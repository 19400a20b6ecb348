import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from brainldm.core import copula
from brainldm.core.copula import CONTINUOUS, Copula, Marginal
from brainldm.core.errors import DataError
from brainldm.core.private_sums import private_sums
from brainldm.core.requests import CovariateModel


def people(n: int, seed: int = 1) -> np.ndarray:
    """Covariates [n, 4] that depend on one another and on sex, as real ones do."""
    generator = np.random.default_rng(seed)
    sex = generator.integers(0, 2, n)
    age = generator.uniform(44, 82, n)
    ventricles = np.exp(3.2 + 0.02 * (age - 60) + 0.15 * sex + generator.normal(0, 0.35, n))
    brain = 1700 - 4 * (age - 44) - 1.5 * ventricles + generator.normal(0, 50, n)
    return np.stack([sex, age, ventricles, brain], axis=1)


PUBLIC = {"age_years": (44, 82), "ventricles_ml": (4, 200), "brain_ml": (1000, 2000)}
PLAIN = CovariateModel(bounds={"age_years": (44, 82)})


def draw(model: Copula, n: int, seed: int = 2) -> np.ndarray:
    generator = np.random.default_rng(seed)
    sex = (generator.random(n) >= model.female_share).astype(float)
    return model.draw(sex, generator.standard_normal((n, 3)))


def test_what_is_drawn_is_distributed_as_the_people_are() -> None:
    training = people(20_000)
    drawn = draw(copula.fit(training, PLAIN, "people"), 20_000)
    for sex in (0, 1):
        ours, theirs = (table[table[:, 0] == sex, 1:] for table in (drawn, training))
        assert len(ours) == pytest.approx(10_000, rel=0.05)
        assert ours.mean(0) == pytest.approx(theirs.mean(0), rel=0.02)
        assert ours.std(0) == pytest.approx(theirs.std(0), rel=0.08)
        assert np.percentile(ours, [10, 50, 90], axis=0) == pytest.approx(np.percentile(theirs, [10, 50, 90], axis=0), rel=0.03)
        assert stats.spearmanr(ours).statistic == pytest.approx(stats.spearmanr(theirs).statistic, abs=0.08)


def test_a_uniform_covariate_between_public_bounds_stays_uniform() -> None:
    ages = draw(copula.fit(people(20_000), PLAIN, "people"), 20_000)[:, 1]
    assert stats.kstest((ages - 44) / 38, "uniform").statistic < 0.03


def test_one_person_more_or_less_moves_no_parameter_but_rarely_and_by_one_step() -> None:
    same = []
    for seed in range(20):  # a parameter lies near one of its steps at times
        training = people(400, seed)
        whole = copula.fit(training, PLAIN, "people")
        same += [copula.fit(np.delete(training, person, axis=0), PLAIN, "people") == whole for person in range(0, 400, 80)]
    assert np.mean(same) > 0.7
    training = people(400)
    whole = copula.fit(training, PLAIN, "people")
    giant = np.array([[1, 81.9, 5000.0, 4900.0]])
    with_giant = copula.fit(np.concatenate([training, giant]), CovariateModel(bounds=PUBLIC), "people")
    whole = copula.fit(training, CovariateModel(bounds=PUBLIC), "people")
    from_data = copula.fit(np.concatenate([training, giant]), PLAIN, "people")
    assert from_data.high["ventricles_ml"] < 150
    assert from_data.high["brain_ml"] < 1900
    for letter in whole.marginals:
        for name in CONTINUOUS:
            old, new = whole.marginals[letter][name], with_giant.marginals[letter][name]
            assert abs(new.mean - old.mean) <= 2**-5  # the step, which is about the standard error
            assert abs(new.spread - old.spread) <= 2**-6


@pytest.mark.parametrize("n", [60, 222, 2_000, 31_740])
def test_no_bound_and_no_edge_is_a_participants_value(n: int) -> None:
    training = people(n)
    model = copula.fit(training, CovariateModel(), "people")
    for column, name in enumerate(CONTINUOUS, start=1):
        edges = [*model.bands(name, 4), model.low[name], model.high[name]]
        assert not np.isin(edges, training[:, column]).any()
        assert np.allclose(np.array(edges) / 5, np.round(np.array(edges) / 5))  # round numbers
        inside = (training[:, column] >= model.low[name]) & (training[:, column] <= model.high[name])
        assert inside.mean() > 0.95


def test_scores_and_values_are_inverse_and_normal() -> None:
    model = copula.fit(people(5_000), PLAIN, "people")
    drawn = draw(model, 5_000)
    scores = model.scores(drawn)
    assert model.at_scores(drawn[:, 0], scores) == pytest.approx(drawn, rel=1e-6)
    assert np.cov(scores.T) == pytest.approx(np.array(model.correlation), abs=0.05)
    assert model.in_support(drawn).mean() == pytest.approx(0.99, abs=0.005)


def test_support_ends_where_nobody_is() -> None:
    model = copula.fit(people(5_000), PLAIN, "people")
    ordinary, other_pairing, beyond = [0, 60, 28, 1600], [0, 80, 9, 1760], [1, 120, 60, 1300]
    assert model.in_support(np.array([ordinary, other_pairing, beyond], float)).tolist() == [True, False, False]


def test_the_brain_given_age_and_ventricles_is_that_of_the_joint_model() -> None:
    model = copula.fit(people(5_000), PLAIN, "people")
    joint = draw(model, 40_000)
    mine = joint[(joint[:, 0] == 1)]
    again = model.conditional_brain(mine[:, 0], mine[:, 1:3], np.random.default_rng(3).standard_normal(len(mine)))
    assert again[:, :3] == pytest.approx(mine[:, :3])
    assert again[:, 3].mean() == pytest.approx(mine[:, 3].mean(), rel=0.005)
    assert np.corrcoef(again[:, 1:].T) == pytest.approx(np.corrcoef(mine[:, 1:].T), abs=0.03)


def test_a_sex_with_few_people_shares_its_distributions_with_the_other() -> None:
    training = people(300)
    women, men = training[training[:, 0] == 0], training[training[:, 0] == 1][:5]
    model = copula.fit(np.concatenate([women, men]), PLAIN, "people")
    assert model.marginals["M"] == model.marginals["F"]
    assert 0.05 <= model.female_share <= 0.95


def test_bands_hold_about_as_many_people_each() -> None:
    training = people(20_000)
    edges = copula.fit(training, PLAIN, "people").bands("age_years", 3)
    assert (edges[0], edges[-1], len(edges)) == (44, 82, 4)
    assert np.histogram(training[:, 1], edges)[0] / 20_000 == pytest.approx([1 / 3] * 3, abs=0.07)


def test_the_budget_is_spent_as_the_laplace_mechanism_says() -> None:
    pytest.importorskip("opendp")
    noise = np.array([private_sums(np.ones((4, 1)), 1, 0.5)[0] - 4 for _ in range(2_000)])
    assert np.abs(noise).mean() == pytest.approx(2, rel=0.1)  # scale: sensitivity over epsilon
    assert stats.kstest(noise, stats.laplace(scale=2).cdf).pvalue > 1e-4
    options = CovariateModel(bounds=PUBLIC, epsilon=1.0)
    models = [copula.fit(people(2_000), options, "people") for _ in range(15)]
    assert models[0] != models[1]
    assert {model.epsilon for model in models} == {1.0}
    means = np.median([draw(model, 5_000).mean(0) for model in models], axis=0)  # of one model in ten the noise is large
    assert means == pytest.approx(people(2_000).mean(0), rel=0.25)


def test_a_budget_without_public_bounds_is_refused() -> None:
    with pytest.raises(ValueError, match=r"needs covariate_model\.bounds of all covariates"):
        CovariateModel(bounds={"age_years": (44, 82), "brain_ml": None}, epsilon=1.0)
    with pytest.raises(ValueError, match="low bound above 0"):
        CovariateModel(bounds={"age_years": (82, 44)})


def test_bounds_of_another_study_are_refused_and_stragglers_are_named(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(DataError, match=r"scans.tsv: \d\d.\d% of the training participants lie outside covariate_model.bounds.age_years"):
        copula.fit(people(300), CovariateModel(bounds={"age_years": (20, 62)}), "scans.tsv")
    copula.fit(people(300), CovariateModel(bounds={"age_years": (44, 81)}), "scans.tsv")
    assert "they count as if they lay at the bound" in caplog.text


@pytest.mark.parametrize("table", [people(4), people(4)[:0], people(50) * [1, 1, 1, 0], people(50)[:, [0, 1, 2, 2]]])
def test_people_who_do_not_vary_are_refused_by_the_tables_name(table: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"covariates\.tsv: \d+ training participants .* carry no model"):
        copula.fit(table, CovariateModel(), "covariates.tsv")


@pytest.mark.parametrize("n", [5, 6, 8, 12, 30])
def test_a_handful_of_people_still_make_a_model(n: int) -> None:
    drawn = draw(copula.fit(people(n), CovariateModel(), "few"), 500)
    assert np.isfinite(drawn).all()
    assert (drawn[:, 1:] > 0).all()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("female_share", 1.5), ("female_share", None), ("low", {}), ("low", {"age_years": 90, "ventricles_ml": 5, "brain_ml": 9}),
        ("correlation", [[1, 2, 0], [2, 1, 0], [0, 0, 1]]), ("correlation", [[1, float("nan"), 0]] * 3), ("marginals", {"F": {}}),
        ("extra", 1),
    ],
)  # fmt: skip
def test_a_damaged_model_is_refused_by_its_name(tmp_path: Path, field: str, value: object) -> None:
    good = copula.fit(people(100), CovariateModel(), "people").model_dump(mode="json")
    path = tmp_path / "model.json"
    path.write_text(json.dumps(good))
    assert copula.read(path) == Copula.model_validate(good)
    path.write_text(json.dumps(good | {field: value}))
    with pytest.raises(DataError, match=r"model\.json is no model of covariates"):
        copula.read(path)


def test_the_shape_of_a_beta_distribution_has_the_mean_and_spread_asked_for() -> None:
    a, b = Marginal(mean=0.3, spread=0.1).shape()
    assert stats.beta(a, b).mean() == pytest.approx(0.3)
    assert stats.beta(a, b).std() == pytest.approx(0.1)
