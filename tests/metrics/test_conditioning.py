import json

import numpy as np
import pandas as pd
import pytest

from brainldm.metrics import conditioning, strata

N = 200


def _table(seed: int = 1) -> pd.DataFrame:
    """Ventricles measured 10 % too small; far from training participants 5 mL more."""
    generator = np.random.default_rng(seed)
    asked, near = generator.uniform(10, 90, N), generator.random(N) < 0.7
    table = pd.DataFrame({"sex": generator.choice(["F", "M"], N), "age_years": generator.uniform(45, 81, N), "ventricles_ml": asked})
    table["brain_ml"] = table["measured_brain_ml"] = 2000 - 8 * table["age_years"]
    return table.assign(
        in_support=near,
        measured_ventricles_ml=0.9 * asked + 5 * ~near,
        age_predicted_years=table["age_years"] + 1,
        qc_pass=(passed := generator.random(N) < 0.9),
        qc_reason=np.where(passed, "", "empty"),
        attempt=(attempt := generator.integers(0, 3, N)),
        rejected=[" | ".join(["saturated; unsure age"] * n) for n in attempt],
    )


def test_deciles_show_where_the_error_lies() -> None:
    rows = conditioning.tables(_table(), _table(2))["deciles"]["ventricles"]
    assert sum(row["n"] for row in rows) == N
    assert [row["requested"] for row in rows] == sorted(row["requested"] for row in rows)
    near = strata.deciles(np.arange(100.0), 0.9 * np.arange(100.0))
    assert near[-1]["bias"] == pytest.approx(-9.45)
    assert near[-1]["mae"] == pytest.approx(9.45)
    assert len(strata.deciles(np.arange(4.0), np.arange(4.0))) == 4


def test_inside_and_outside_the_training_range() -> None:
    table = _table()
    found = conditioning.tables(table, table)["support"]["ventricles"]
    error = table["measured_ventricles_ml"] - table["ventricles_ml"]
    assert found["inside"]["n"] + found["outside"]["n"] == N
    assert found["outside"]["bias"] == pytest.approx(error[~table["in_support"]].mean())
    assert strata.inside_and_outside(np.ones(3), np.ones(3), np.ones(3, bool))["outside"] == {"n": 0, "bias": None, "mae": None}


def test_every_cell_is_counted_once_and_the_table_is_json() -> None:
    table, training = _table(), _table(2)
    cells = conditioning.tables(table, training)["coverage"]
    assert len(cells) == 2 * 4 * 3
    assert sum(cell["n"] for cell in cells) == N
    assert sum(cell["n_train"] for cell in cells) == N
    json.dumps(conditioning.tables(table.iloc[:5], training), allow_nan=False)


def test_what_was_rejected_is_counted_in_every_cell_and_as_a_whole() -> None:
    table = _table()
    found, whole = conditioning.tables(table, _table(2)), strata.rejections(table)
    again, failed = table["attempt"].sum(), (~table["qc_pass"]).sum()
    assert whole["rejection_rate_n"] == N + again
    assert whole["rejection_rate"] == pytest.approx((again + failed) / (N + again))
    assert whole["rejection_rate_ci"][0] < whole["rejection_rate"] < whole["rejection_rate_ci"][1]
    for key in ("kept_failed", "rejection_rate_n"):
        assert sum(cell[key] for cell in found["coverage"]) == whole[key]
    assert sum(cell["rejection_rate_n"] * (cell["rejection_rate"] or 0) for cell in found["coverage"]) == pytest.approx(again + failed)
    assert found["rejected"] == {"saturated": again, "unsure age": again, "empty": failed}
    error = table["measured_ventricles_ml"] - table["ventricles_ml"]
    assert sum(cell["n"] * (cell["ventricles_bias_ml"] or 0) for cell in found["coverage"]) == pytest.approx(error.sum())


def test_the_partial_r_is_that_of_least_squares_with_all_covariates() -> None:
    generator = np.random.default_rng(4)
    table = _table().assign(brain_ml=lambda known: known["brain_ml"] + generator.normal(0, 30, N))
    table = table.assign(got=0.3 * table["age_years"] + 0.05 * table["brain_ml"] + generator.normal(0, 2, N))
    found = conditioning.other_things_equal("age", table, "age_years", "got", 50, 1)
    columns = [np.ones(N), table["age_years"], table["sex"] == "M", table["ventricles_ml"], table["brain_ml"]]
    design = np.column_stack([np.asarray(column, float) for column in columns])
    fit, rest, *_ = np.linalg.lstsq(design, table["got"].to_numpy(), rcond=None)
    assert found["age_partial_slope"] == pytest.approx(fit[1])
    t = fit[1] / np.sqrt(rest[0] / (N - 5) * np.linalg.inv(design.T @ design)[1, 1])
    assert found["age_partial_r"] == pytest.approx(t / np.sqrt(t**2 + N - 5))


def test_all_covariates_are_scored_beside_the_age_model() -> None:
    held_out = _table(3)[:50].assign(age_years=np.arange(50.0), age_predicted_years=np.arange(50.0)[::-1])
    found = conditioning.conditioning(_table(), held_out, 50, 1)
    assert found["age_bias_years"] == pytest.approx(1)
    assert found["age_r_real"] == pytest.approx(-1)
    assert found["brain_r"] == pytest.approx(1)
    assert "brain_partial_r" not in found  # it follows from the age
    assert found["qc_pass_fraction_n"] == N
