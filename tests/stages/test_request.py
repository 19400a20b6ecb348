import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml

from brainldm.core.config import parse, section_json
from brainldm.core.errors import DataError
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


def request(folder: Path, table: pd.DataFrame, shard: str, **design: object) -> pd.DataFrame:
    values = {**CONFIG, "request": {**CONFIG["request"], **design}}
    (folder / "request.json").write_text(section_json(parse(values), "request"))
    table.to_csv(folder / "covariates.tsv", sep="\t", index=False, na_rep="n/a")
    main(folder / "request.json", folder / "covariates.tsv", shard, folder / f"{shard}.parquet")
    return pd.read_parquet(folder / f"{shard}.parquet")


@pytest.mark.parametrize("design", ["empirical", "uniform"])
def test_one_big_shard_equals_many_small_ones(tmp_path: Path, design: str) -> None:
    whole = request(tmp_path, training(), "000000-000029", design=design)
    parts = [request(tmp_path, training(), name, design=design) for name in ("000000-000006", "000007-000007", "000008-000029")]
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


def test_held_out_scans_have_no_influence(tmp_path: Path) -> None:
    held_out = training(5).assign(split="test", age_years=200.0)
    alone = request(tmp_path, training(), "000000-000009", design="uniform")
    beside = request(tmp_path, pd.concat([training(), held_out]), "000000-000009", design="uniform")
    pd.testing.assert_frame_equal(alone, beside)


def test_growth_and_shard_size_are_no_part_of_the_section() -> None:
    grown = {**CONFIG, "request": {**CONFIG["request"], "n_rows": 10**5, "rows_per_shard": 250}}
    assert section_json(parse(grown), "request") == section_json(parse(CONFIG), "request")


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
    options = ["--section", tmp_path / "request.json", "--covariates", tmp_path / "covariates.tsv"]
    command = [sys.executable, "-m", "brainldm", "request", *options, "--shard", "000000-000009", "--out", tmp_path / "again.parquet"]
    subprocess.run(command, check=True)
    assert (tmp_path / "again.parquet").read_bytes() == expected
