"""Tables come back as they went, the same values make the same bytes, and a missing column is named."""

import numpy as np
import pandas as pd
import pytest

from brainldm.core.errors import DataError
from brainldm.formats.tables import read_parquet, read_tsv, write_parquet, write_tsv

FRAME = pd.DataFrame({"participant_id": ["sub-0001", "sub-0002"], "age_years": [0.1 + 0.2, 71.0], "note": ["NA", None], "n": [1, 2]})


@pytest.mark.parametrize(("write", "read", "name"), [(write_tsv, read_tsv, "t.tsv"), (write_parquet, read_parquet, "t.parquet")])
def test_round_trip_keeps_every_digit_and_every_gap(tmp_path, write, read, name):
    path = tmp_path / "new" / name
    write(path, FRAME)
    content = path.read_bytes()
    back = read(path, FRAME.columns)
    assert back["age_years"].tolist() == FRAME["age_years"].tolist()
    assert back["note"].isna().tolist() == [False, True]  # 'NA' is a value, a gap is a gap
    assert back["n"].dtype == np.int64
    write(path, back)
    assert path.read_bytes() == content


@pytest.mark.parametrize(("write", "read", "name"), [(write_tsv, read_tsv, "t.tsv"), (write_parquet, read_parquet, "t.parquet")])
def test_missing_table_and_missing_column_are_named(tmp_path, write, read, name):
    path = tmp_path / name
    with pytest.raises(DataError, match=name):
        read(path)
    write(path, FRAME)
    with pytest.raises(DataError, match=rf"{name}.*expected the column\(s\) sex, t1w, found participant_id"):
        read(path, ["sex", "participant_id", "t1w"])


def test_damaged_tables_are_data_errors(tmp_path):
    path = tmp_path / "t"
    path.write_bytes(b"")
    with pytest.raises(DataError):
        read_tsv(path)
    path.write_bytes(b"a\tb\n1\t2\t3\t4\n1\n\xff\xfe\x00")
    with pytest.raises(DataError):
        read_tsv(path)
    path.write_bytes(b"PAR1 but no more")
    with pytest.raises(DataError):
        read_parquet(path)
