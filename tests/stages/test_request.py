import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml

from brainldm.core.config import parse, section_json
from brainldm.core.covariates import NAMES
from brainldm.core.errors import ConfigError, DataError
from brainldm.formats.request_table import read_wanted
from brainldm.stages import covariate_model
from brainldm.stages.request import main

CONFIG = yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text())


def training(n: int = 60) -> pd.DataFrame:
    generator = np.random.default_rng(5)
    age = generator.uniform(44, 82, n)
    return pd.DataFrame(
        {
            "participant_id": [f"sub-{i:04d}" for i in range(n)],
            "split": ["train"] * n,
            "age_years": age,
            "sex": generator.choice(["F", "M"], n),
            "ventricles_ml": age / 2 + generator.normal(0, 5, n),
            "brain_ml": 1800 - 5 * age + generator.normal(0, 50, n),
        }
    )


def request(folder: Path, table: pd.DataFrame, shard: str, /, **design: object) -> pd.DataFrame:
    values = {**CONFIG, "request": {**CONFIG["request"], **design}, "generate": {**CONFIG["generate"], "attempts": 1}}
    for stage in ("request", "covariate_model"):
        (folder / f"{stage}.json").write_text(section_json(parse(values), stage))
    covariates, model = folder / "covariates.tsv", folder / "model.json"
    table.to_csv(covariates, sep="\t", index=False, na_rep="n/a")
    covariate_model.main(folder / "covariate_model.json", covariates, model)
    listed = None if "table" not in design else Path(str(design["table"]))
    main(folder / "request.json", model, "demo", shard, folder / f"{shard}.parquet", covariates, listed)
    return pd.read_parquet(folder / f"{shard}.parquet")


PAIRED = {"design": "paired", "values": {"ventricles_ml": [10, 30, 60, 400]}}


@pytest.mark.parametrize("design", [{}, {"design": "empirical"}, {"design": "uniform"}, {"design": "stratified"}, PAIRED])
def test_one_big_shard_equals_many_small_ones(tmp_path: Path, design: dict[str, object]) -> None:
    whole = request(tmp_path, training(), "000000-000029", **design)
    parts = [request(tmp_path, training(), name, **design) for name in ("000000-000006", "000007-000007", "000008-000029")]
    pd.testing.assert_frame_equal(whole, pd.concat(parts, ignore_index=True))


def test_the_table_says_what_each_row_is(tmp_path: Path) -> None:
    table = request(tmp_path, training(), "000010-000019")
    assert table["index"].tolist() == list(range(10, 20))
    assert table["participant_id"].tolist() == [f"sub-{i:06d}" for i in range(11, 21)]
    assert set(table["seed"]) == {CONFIG["seed"]}
    assert set(table["sex"]) == {"F", "M"}
    schema = pq.read_schema(tmp_path / "000010-000019.parquet")
    units = {field.name: field.metadata[b"unit"].decode() for field in schema if b"unit" in field.metadata}
    assert units == {"age_years": "year", "ventricles_ml": "mL", "brain_ml": "mL"}
    assert all(field.metadata[b"description"] for field in schema)
    assert [str(schema.field(name).type) for name in ("index", "seed", "age_years", "in_support")] == ["int64", "int64", "float", "bool"]


def test_what_nobody_has_is_flagged_and_not_clamped(tmp_path: Path) -> None:
    table = request(tmp_path, training(), "000000-000007", **PAIRED)
    assert table["ventricles_ml"].tolist() == [10, 30, 60, 400] * 2
    assert table["noise_index"].tolist() == [0] * 4 + [4] * 4
    assert table["cell"].tolist() == [f"ventricles_ml {volume}" for volume in (10.0, 30.0, 60.0, 400.0)] * 2
    assert not table["in_support"][[3, 7]].any()
    assert table["in_support"].any()


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet"])
def test_the_users_own_table_is_taken_as_it_is(tmp_path: Path, kind: str) -> None:
    mine = pd.DataFrame(
        {"age_years": [70.0, 95.5], "note": "x", "sex": ["F", "M"], "ventricles_ml": [30.0, 45.25], "brain_ml": [1400.0, 1300.0]}
    )
    path = tmp_path / f"mine.{kind}"
    mine.to_parquet(path) if kind == "parquet" else mine.to_csv(path, index=False, sep={"csv": ",", "tsv": "\t"}[kind])
    table = request(tmp_path, training(), "000000-000001", design="table", table=str(path))
    pd.testing.assert_frame_equal(table[list(NAMES)], mine[list(NAMES)], check_dtype=False)
    with pytest.raises(DataError, match=r"row 2 .*found one of 2 rows"):
        request(tmp_path, training(), "000001-000002", design="table", table=str(path))


def test_the_users_table_is_read_with_the_care_of_all_tables(tmp_path: Path) -> None:
    header = "age_years,sex,ventricles_ml,brain_ml,note\n"
    (tmp_path / "mine.json").write_text('{"sex": {"Levels": {"1": "male", "2": "female"}}}')
    (tmp_path / "mine.csv").write_text(header + "70,2,30,1400,x\n71,1.0,31,1401,\n")
    assert read_wanted(tmp_path / "mine.csv").tolist() == [[0, 70, 30, 1400], [1, 71, 31, 1401]]
    (tmp_path / "mine.csv").write_text(header + '70,2,30,1400\n7_1,1,31,1401,x,y\n"71,5",1,31,1401,x\n70,9,30,1400,x\n')
    with pytest.raises(DataError) as raised:
        read_wanted(tmp_path / "mine.csv")
    assert [fault.split(": ")[:2] for fault in str(raised.value).splitlines()[1:]] == [
        ["  line 2", "the line is shorter than the header"],
        ["  line 3", "the line is longer than the header"],
        ["  line 4", "age_years"],
        ["  line 5", "sex"],
    ]
    (tmp_path / "mine.json").write_text('{"age_years": {"Units": "months"}}')
    with pytest.raises(DataError, match="the unit of age_years is not years"):
        read_wanted(tmp_path / "mine.csv")


def test_every_fault_of_the_users_table_is_listed_by_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("age_years,sex,ventricles_ml,brain_ml\n70,F,30,1400\n\nold,x,30,1400\n70,male,39872,\n-1,M,inf,1400\n")
    with pytest.raises(DataError) as raised:
        read_wanted(path)
    assert str(raised.value).splitlines() == [
        f"{path}: 6 fault(s)",
        "  line 4: age_years: expected years above 0, 125 at most, found 'old'",
        "  line 4: sex: expected F or M, found 'x'",
        "  line 5: brain_ml: expected mL above 0, 5000 at most, found nothing",
        "  line 5: ventricles_ml: expected mL above 0, 5000 at most, found '39872'",
        "  line 6: age_years: expected years above 0, 125 at most, found '-1'",
        "  line 6: ventricles_ml: expected mL above 0, 5000 at most, found 'inf'; it is not finite. Write a number, or n/a.",
    ]
    path.write_text("age,sex,ventricles_ml,brain_ml\n")
    with pytest.raises(DataError, match=r"expected the column.s. age_years, found age, sex"):
        read_wanted(path)
    path.write_text("age_years,sex,ventricles_ml,brain_ml\n")
    with pytest.raises(DataError, match="expected a row, found none"):
        read_wanted(path)


@pytest.mark.parametrize(
    ("design", "message"),
    [
        ({"design": "grid", "values": {"age_years": [50]}}, "must list sex, age_years, ventricles_ml, brain_ml"),
        ({"design": "paired", "values": {"age_years": [50]}}, "two or more values of one covariate"),
        ({"design": "table"}, "must name a CSV"),
        ({"values": {"sex": ["X"]}}, "request.values.sex.0"),
        ({"age_bands": [60, 50]}, "edges in rising order"),
        ({"values": {"ages": [1]}}, "unknown key"),
    ],
)
def test_a_design_without_its_options_is_refused(design: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse({**CONFIG, "request": {**CONFIG["request"], **design}})


def test_held_out_scans_have_no_influence(tmp_path: Path) -> None:
    held_out = training(5).assign(split="test", age_years=200.0)
    alone = request(tmp_path, training(), "000000-000009", design="uniform")
    beside = request(tmp_path, pd.concat([training(), held_out]), "000000-000009", design="uniform")
    pd.testing.assert_frame_equal(alone, beside)


def test_growth_and_shard_size_are_no_part_of_the_section() -> None:
    grown = {**CONFIG, "request": {**CONFIG["request"], "n_rows": 10**5, "rows_per_shard": 250}}
    assert section_json(parse(grown), "request") == section_json(parse(CONFIG), "request")


def test_the_bootstrap_is_an_explicit_choice_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert CONFIG["request"]["design"] == "copula"
    request(tmp_path, training(), "000000-000001")
    assert "gives covariates" not in caplog.text
    request(tmp_path, training(), "000000-000001", design="empirical")
    assert "gives covariates of training participants away" in caplog.text


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [("sex", "X", "expected sex to be F or M, found X"), ("brain_ml", np.nan, "found nan as brain_ml of row 3")],
)
def test_a_bad_training_table_is_one_clear_error(tmp_path: Path, column: str, value: object, message: str) -> None:
    table = training()
    table.loc[3, column] = value
    with pytest.raises(DataError, match=rf"covariates\.tsv: .*{message}"):
        request(tmp_path, table, "000000-000003")


def test_the_command_line_writes_the_same_bytes(tmp_path: Path) -> None:
    request(tmp_path, training(), "000000-000009")
    expected = (tmp_path / "000000-000009.parquet").read_bytes()
    options = ["--section", tmp_path / "request.json", "--model", tmp_path / "model.json", "--key", "demo"]
    command = [sys.executable, "-m", "brainldm", "request", *options, "--shard", "000000-000009", "--out", tmp_path / "again.parquet"]
    subprocess.run(command, check=True)
    assert (tmp_path / "again.parquet").read_bytes() == expected
