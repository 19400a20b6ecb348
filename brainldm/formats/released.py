"""A release as its users read it, from a folder or over HTTP: its table, rows that fulfil a condition, volumes whose hash is checked."""

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd
import pyarrow.parquet as pq

from brainldm.core.errors import DataError
from brainldm.formats.package import SHARDS, TABLE
from brainldm.formats.packs import COLUMNS
from brainldm.formats.places import open_file, read_part


class Released(NamedTuple):
    """A release at a place (folder or URL), or some of its rows: `table` has every column but the previews."""

    place: str
    table: pd.DataFrame


def open_release(place: str, where: str | None = None, n: int | None = None) -> Released:
    """The rows of a release that fulfil a condition on its columns, the first `n` of them; DataError if it is no release."""
    with open_file(place, TABLE) as handle:
        try:
            table = pq.read_table(handle, columns=COLUMNS).to_pandas()
        except (OSError, ValueError) as error:
            raise DataError(f"{place}/{TABLE}: expected the table of a release, found something else ({error})") from None
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise DataError(f"{place}/{TABLE}: expected the column(s) {', '.join(missing)}, found {', '.join(table.columns)}")
    return Released(place, select(table, where).head(len(table) if n is None else n).reset_index(drop=True))


def select(table: pd.DataFrame, where: str | None) -> pd.DataFrame:
    """Rows of a table that fulfil a condition such as "age_years >= 70 and sex == 'F'"; DataError if it is none."""
    if where is None:
        return table
    try:
        found = table.eval(where, engine="python")
    except Exception as error:  # whatever Python says of a text that is no condition
        raise DataError(f"expected a condition on the columns {', '.join(table.columns)}, found {where!r} ({error})") from None
    if str(getattr(found, "dtype", "")) != "bool":
        raise DataError(f"expected a condition, true or false for every row, found {where!r}")
    return table[found]


def locate(row: Mapping[Any, Any]) -> tuple[str, int]:
    """The file of a release that holds a row's volume, and where in it the volume begins."""
    if pd.isna(row["tar_offset"]):
        return str(row["path"]), 0
    return f"{SHARDS}/{row['shard']}.tar", int(row["tar_offset"])


def read_volume_bytes(release: Released, row: Mapping[Any, Any]) -> bytes:
    """The .nii.gz of a row of the table; DataError, naming file and row, if it is not what it was."""
    name, start = locate(row)
    content = read_part(release.place, name, start, int(row["n_bytes"]))
    digest = hashlib.sha256(content).hexdigest()
    if digest != row["sha256"]:
        raise DataError(f"{release.place}/{name}: row {row['index']}: expected SHA-256 {row['sha256']}, found {digest}")
    return content
