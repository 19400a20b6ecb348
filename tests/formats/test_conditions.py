"""Conditions give the rows that an SQL engine gives, and no text runs anything, hangs, or ends in a traceback."""

import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from condition_texts import Conditions, damaged, hostile, table

from brainldm.core.errors import DataError
from brainldm.formats.conditions import MAX_OPERANDS, select_rows

duckdb = pytest.importorskip("duckdb")

HANGS_S = 2.0
FORBIDDEN = ("open", "exec", "compile", "import", "os.", "subprocess.", "socket.", "shutil.", "ctypes.", "marshal.", "pickle.")
WARM_UP = "index in [1.5, 2] and sex in ['F'] or -age_years is not null and qc_pass or not in_support and qc_reason == 'x'"
_seen: list[str] = []
_watching = False


def _hook(event: str, arguments: object) -> None:
    if _watching and event.startswith(FORBIDDEN):
        _seen.append(f"{event} {arguments}")


sys.addaudithook(_hook)


@contextmanager
def nothing_runs() -> Iterator[None]:
    """Fail if Python opens a file, imports, compiles, connects or starts a program meanwhile, or if it takes long."""
    global _watching
    _seen.clear()
    begun = time.process_time(), time.monotonic()
    _watching = True
    try:
        yield
    finally:
        _watching = False
    assert _seen == []
    assert time.process_time() - begun[0] < HANGS_S
    assert time.monotonic() - begun[1] < 10 * HANGS_S  # on a machine with other work


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """Warmed up: what pandas and pyarrow import at their first use is no matter of a condition."""
    made = table(60, seed=1)
    select_rows(made, WARM_UP)
    with pytest.raises(DataError):
        select_rows(made, "sxe > 1")
    return made


def by_sql(made: pd.DataFrame) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    schema = pa.Schema.from_pandas(made, preserve_index=False)
    schema = schema.set(schema.get_field_index("qc_reason"), pa.field("qc_reason", pa.string()))
    connection.register("made", pa.Table.from_pandas(made, schema=schema, preserve_index=False))
    connection.execute("CREATE TABLE rows AS SELECT * FROM made")
    return connection


def check_rows(made: pd.DataFrame, n: int, seed: int) -> None:
    connection, conditions, n_some = by_sql(made), Conditions(seed), 0
    for _ in range(n):
        ours, sql = conditions.draw()
        kept = connection.execute(f'SELECT "index" FROM rows WHERE {sql} ORDER BY "index"').fetchall()
        expected = [row for (row,) in kept]
        with nothing_runs():
            found = select_rows(made, ours)
        assert found["index"].tolist() == expected, f"{ours}\n{sql}"
        n_some += 0 < len(expected) < len(made)
    assert n_some > n / 3  # the test would not see much if most conditions kept all rows or none


def check_damaged(made: pd.DataFrame, n: int, seed: int, flag: Path) -> None:
    rng, conditions, refused = random.Random(seed), Conditions(seed), 0
    payloads = [text for text in hostile(str(flag)) if len(text) < 200]
    for _ in range(n):
        text = damaged(conditions.draw()[0] if rng.random() < 0.7 else rng.choice(payloads), rng)
        with nothing_runs():
            try:
                select_rows(made, text)
            except DataError as error:
                refused += 1
                check_message(str(error))
    assert n / 3 < refused < n
    assert not flag.exists()


def check_message(message: str) -> None:
    said, text, caret = message.split("\n")
    assert said.startswith("Cannot use the condition: ")
    assert message.replace("\n", "").isprintable()
    assert message.isascii()
    assert len(message) < 1500
    assert set(caret) <= {" ", "^"}
    assert caret.count("^") == 1
    assert len(caret) <= len(text) + 1


def test_ordinary_conditions_give_the_rows_of_duckdb(rows: pd.DataFrame) -> None:
    check_rows(rows, 500, seed=2)


@pytest.mark.slow
def test_twenty_thousand_conditions_give_the_rows_of_duckdb(rows: pd.DataFrame) -> None:
    check_rows(rows, 20_000, seed=3)


def test_damaged_conditions_are_refused_in_words(rows: pd.DataFrame, tmp_path: Path) -> None:
    check_damaged(rows, 500, 4, tmp_path / "flag")


@pytest.mark.slow
def test_twenty_thousand_damaged_conditions_are_refused_in_words(rows: pd.DataFrame, tmp_path: Path) -> None:
    check_damaged(rows, 20_000, 5, tmp_path / "flag")


def test_hostile_texts_run_nothing(rows: pd.DataFrame, tmp_path: Path) -> None:
    texts = hostile(str(tmp_path / "flag"))
    assert len(texts) >= 100
    for text in texts:
        with nothing_runs(), pytest.raises(DataError) as told:
            select_rows(rows.assign(preview=b"x"), text)
        check_message(str(told.value))
    assert list(tmp_path.iterdir()) == []


def test_the_longest_conditions_are_read_in_time() -> None:
    made = table(20_000, seed=6)
    select_rows(made, "index > 1 and sex == 'F'")
    with nothing_runs():
        assert len(select_rows(made, " and ".join(["sex != 'x'"] * (MAX_OPERANDS // 2)))) == made["sex"].notna().sum()
    with nothing_runs():
        assert len(select_rows(made, f"index in [{','.join(map(str, range(15_000)))}]")) == 15_000
    with nothing_runs():
        assert len(select_rows(made, "(" * 49 + "qc_pass" + ")" * 49)) == made["qc_pass"].sum()


OLD = (  # what pandas' eval read before, on a table without missing values
    "age_years >= 70 and sex == 'F'",
    "qc_pass and age_years >= 70",
    "measured_ventricles_ml > 38 and sex == 'F'",
    "70 <= age_years < 80",
    "(age_years >= 70) & (sex == 'F') | ~qc_pass",
    "age_years > 70 & sex == 'F'",
    "~(sex == 'F') and not qc_pass",
    "sex in ['F', 'M'] and index not in (1, 2, 3)",
    'sex != "M" or qc_pass == True',
    "age_years == 70.1 or -age_years < -80",
    "age_years > measured_ventricles_ml",
    "index < 1e1",
)


@pytest.mark.parametrize("where", OLD)
def test_old_filters_keep_their_rows(where: str) -> None:
    rng = np.random.default_rng(7)
    made = pd.DataFrame({"index": range(200), "sex": rng.choice(["F", "M"], 200), "qc_pass": rng.random(200) < 0.5})
    for name in ("age_years", "measured_ventricles_ml"):
        made[name] = np.float32(rng.choice(np.arange(600, 900) / 10, 200))
    made.loc[7, "age_years"] = 70.1
    found = select_rows(made, where)
    assert found.index.tolist() == made[made.eval(where, engine="python")].index.tolist()
    assert 0 < len(found) < len(made)


@pytest.mark.parametrize(
    ("where", "fault", "place"),
    [
        ("age_yeras > 70", r"no column age_yeras. Did you mean age_years\?", 0),
        ("sex == 'F' and SEX == 'M'", r"no column SEX. Did you mean sex\?", 15),
        ("sex == 'F' and", "it ends too early", 14),
        ("age_years > 'F'", "a number cannot be compared with a text", 10),
        ("sex in ['F', 3]", "a text cannot be compared with a number", 13),
        ("qc_pass == 1", "true or false cannot be compared with a number. Write the column alone", 8),
        ("age_years + 1", "no part of a condition", 10),
        ("age_years = 1", "Write == to compare", 10),
        ("sex == ['F']", "Write in to compare with a list", 7),
        ("1 < index in [1]", "follows another", 10),
        ("age_years != null", "Write is null or is not null", 13),
        ("print(1)", "nothing can be called", 0),
        ("@x > 1", "variables are not known", 0),
        ("sex == 'F", "does not end", 7),
    ],
)
def test_errors_show_where(rows: pd.DataFrame, where: str, fault: str, place: int) -> None:
    with pytest.raises(DataError, match=fault) as told:
        select_rows(rows, where)
    assert str(told.value).split("\n")[1:] == [f"  {where}", f"  {' ' * place}^"]


def test_a_table_of_two_columns_of_one_name_or_of_several_types_is_refused(rows: pd.DataFrame) -> None:
    twice = pd.concat([rows[["sex"]], rows[["sex"]]], axis=1)
    with pytest.raises(DataError, match="two columns have this name"):
        select_rows(twice, "sex == 'F'")
    with pytest.raises(DataError, match="several types"):
        select_rows(rows.assign(sex=["F", 1, *["M"] * 58]), "sex == 'F'")
    with pytest.raises(DataError, match="beyond 64 bits"):
        select_rows(rows.assign(index=np.full(60, 2**64 - 1, np.uint64)), "index > 1")
    with pytest.raises(DataError, match="it is a int, not a text"):
        select_rows(rows, 5)  # type: ignore[arg-type]
