"""Tables as TSV and Parquet: written atomically, the same bytes for the same values; missing columns are named when read."""

import json
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from brainldm.core.columns import Column
from brainldm.core.errors import DataError
from brainldm.core.files import atomic, write_text


def read_tsv(path: Path, columns: Iterable[str] = ()) -> pd.DataFrame:
    """Read a tab-separated table with a header; 'n/a' (as in BIDS) and empty cells are missing values.

    DataError if there is no table or it lacks one of `columns`.
    """
    try:
        frame = pd.read_csv(path, sep="\t", na_values=["n/a", ""], keep_default_na=False)
        if not isinstance(frame.index, pd.RangeIndex):  # pandas takes cells beyond the header's for names of rows
            raise ValueError("lines have more cells than the header")
    except OSError as error:
        raise DataError(f"{path}: expected a TSV table, found none ({error.strerror})") from None
    except ValueError as error:
        raise DataError(f"{path}: expected a TSV table, found text that does not parse ({error})") from None
    return _checked(path, frame, columns)


def write_tsv(path: Path, frame: pd.DataFrame) -> None:
    """Write a tab-separated table without index; missing values become 'n/a', floats keep every digit that tells them apart."""
    write_text(path, tsv_text(frame))


def tsv_text(frame: pd.DataFrame) -> str:
    """What `write_tsv` writes."""
    return str(frame.to_csv(sep="\t", index=False, na_rep="n/a", lineterminator="\n"))


def read_parquet(path: Path, columns: Iterable[str] = ()) -> pd.DataFrame:
    """Read a Parquet table; DataError if there is none, it is damaged, or it lacks one of `columns`."""
    try:
        frame = read_arrow(path).to_pandas(use_threads=False)
    except Exception as error:  # whatever a damaged file makes pyarrow and pandas raise
        raise DataError(f"{path}: expected a Parquet table, found none or a damaged one ({error})") from None
    return _checked(path, frame, columns)


def read_rows(paths: Iterable[Path], columns: Iterable[str], indices: list[int]) -> pd.DataFrame:
    """The rows `indices`, in that order, of Parquet tables; `columns` include `index`; DataError if one is missing."""
    paths, names = list(paths), list(columns)
    table = pd.concat([read_parquet(path, names) for path in paths])[names].set_index("index")
    missing = sorted(set(indices) - set(table.index))
    if missing:
        raise DataError(f"{', '.join(map(str, paths))}: expected the rows of all shards, found none for {missing[:10]}")
    return table.loc[indices]


def read_arrow(path: Path) -> pa.Table:
    """Read a Parquet table in this thread alone: where memory is short and none can be started, pyarrow's own would wait for ever."""
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        return file.read(use_threads=False)


def write_parquet(path: Path, frame: pd.DataFrame, schema: pa.Schema | None = None) -> None:
    """Write a Parquet table without index, with the types and field metadata of `schema` where one is given."""
    with atomic(path) as temporary:
        frame.to_parquet(temporary, engine="pyarrow", index=False, compression="zstd", schema=schema, write_page_checksum=True)


def arrow_schema(columns: Iterable[Column]) -> pa.Schema:
    """The Arrow schema of columns; description, unit and levels stand in the fields' metadata."""
    return pa.schema([pa.field(column.name, pa.type_for_alias(column.kind), metadata=_metadata(column)) for column in columns])


def _metadata(column: Column) -> dict[str, str]:
    unit = {"unit": column.unit} if column.unit else {}
    levels = {"levels": json.dumps(column.levels)} if column.levels else {}
    return {"description": column.description, **unit, **levels}


def _checked(path: Path, frame: pd.DataFrame, columns: Iterable[str]) -> pd.DataFrame:
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise DataError(f"{path}: expected the column(s) {', '.join(missing)}, found {', '.join(map(str, frame.columns))}")
    return frame
