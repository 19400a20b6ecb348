"""A release as its users read it, from a folder or over HTTP: its table, rows that fulfil a condition, volumes whose hash is checked.

Whatever a stranger wrote is read through here: `places` bounds files, `bounded_parquet` the table, `released_values` its values.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from pydantic import BaseModel, Field, ValidationError

from brainldm.core.columns import MEASURED, REQUESTED, STORED
from brainldm.core.errors import DataError
from brainldm.core.printable import printable
from brainldm.core.rows import shard_rows
from brainldm.formats.bounded_parquet import MOST_FILE, read_table
from brainldm.formats.checksums import read_checksums
from brainldm.formats.conditions import select_rows
from brainldm.formats.package import CHECKSUMS, LATENTS, SHARDS, TABLE
from brainldm.formats.places import check_place, full_name, open_whole, read_part
from brainldm.formats.released_values import check_values

_Side = Annotated[int, Field(gt=0, le=1 << 20, strict=True)]
_Offset = Annotated[int, Field(ge=0, le=1 << 44, strict=True)]
MOST_HEADER = 1 << 20  # bytes of a latents file's header
MOST_LATENT = 16 << 20  # bytes of one latent


class Released(NamedTuple):
    """A release at a place (folder or URL), or some of its rows: `table` has every column but the previews."""

    place: str
    table: pd.DataFrame
    packaging: str  # files, tars or latents
    checksums: Mapping[str, str]  # SHA-256 of its files, by name
    schema: pa.Schema  # of the table's file


def open_release(place: str, where: str | None = None, n: int | None = None) -> Released:
    """Return the rows of a release that fulfil a condition on its columns, the first `n` of them.

    The table must have the SHA-256 that the release's checksums list. DataError if it is no release.
    """
    check_place(place)
    checksums = read_checksums(place, CHECKSUMS)
    if TABLE not in checksums:
        raise DataError(f"Cannot use {full_name(place, CHECKSUMS)}: it does not list {TABLE}, which every release has.")
    release = read_release(place, checksums)
    table = release.table
    wanted = select(table, where).head(len(table) if n is None else n).reset_index(drop=True)
    return release._replace(table=wanted)


def read_release(place: str, checksums: Mapping[str, str]) -> Released:
    """Return all rows of a release; DataError if its table is none, or has another SHA-256 than `checksums` list for it."""
    name = full_name(place, TABLE)
    with open_whole(place, TABLE, checksums.get(TABLE), MOST_FILE) as handle:
        found = read_table(handle, name, (*REQUESTED, *MEASURED, *STORED))
    table = found.rows.to_pandas(ignore_metadata=True, use_threads=False)
    packaging = (found.schema.metadata or {}).get(b"packaging", b"files").decode("utf-8", "replace")
    check_values(table, packaging, name)
    return Released(place, table, packaging, checksums, found.schema)


def records(table: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield every row of a table by column; one is in memory at a time."""
    for values in table.itertuples(index=False, name=None):
        yield dict(zip(table.columns, values, strict=True))


def select(table: pd.DataFrame, where: str | None) -> pd.DataFrame:
    """Rows of a table that fulfil a condition such as "age_years >= 70 and sex == 'F'"; DataError if it is none."""
    return table if where is None else select_rows(table, where)


def locate(row: Mapping[Any, Any]) -> tuple[str, int]:
    """The file of a release that holds a row's volume, and where in it the volume begins."""
    if pd.isna(row["tar_offset"]):
        return str(row["path"]), 0
    return f"{SHARDS}/{row['shard']}.tar", int(row["tar_offset"])


def read_volume_bytes(release: Released, row: Mapping[str, Any]) -> bytes:
    """Return the .nii.gz of a row of the table; DataError, naming file and row, if it is not what it was."""
    if release.packaging == "latents":
        raise DataError(f"{printable(release.place)}: expected volumes, found latents; brainldm.data.BrainLDMDataset decodes them")
    name, start = locate(row)
    return _checked(read_part(release.place, name, start, int(row["n_bytes"])), row, "sha256", full_name(release.place, name))


def read_latent(release: Released, row: Mapping[str, Any]) -> np.ndarray:
    """Return the latent of a row, float16 [C,i,j,k]; only its bytes and the header are read. DataError as for a volume."""
    name = f"{LATENTS}/{row['shard']}.safetensors"
    rows = shard_rows(row["shard"])
    shape, start = _latents_at(release.place, name, len(rows))
    n_bytes = 2 * math.prod(shape)
    place = start + n_bytes * (int(row["index"]) - rows[0])
    content = _checked(read_part(release.place, name, place, n_bytes), row, "latent_sha256", full_name(release.place, name))
    return np.frombuffer(content, np.float16).reshape(shape)


def _latents_at(place: str, name: str, n_rows: int) -> tuple[tuple[int, ...], int]:
    """Return the shape of one latent of a safetensors file, and where the first begins; DataError unless it holds `n_rows` of them."""
    told = full_name(place, name)
    size = int.from_bytes(read_part(place, name, 0, 8), "little")
    if not 2 <= size <= MOST_HEADER:
        raise DataError(f"Cannot read {told}: its header is said to have {size} bytes. Get it again, or from another copy.")
    try:
        header = _LatentsHeader.model_validate_json(read_part(place, name, 8, size))
    except ValidationError as error:
        raise DataError(
            f"Cannot read {told}: it is a damaged file, or holds no latents ({printable(error.errors()[0]['msg'], 120)})."
        ) from None
    n_rows_found, *shape = header.latents.shape
    n_bytes = 2 * math.prod(shape)
    begin, end = header.latents.data_offsets
    if begin > MOST_HEADER or n_rows_found != n_rows or n_bytes > MOST_LATENT or end - begin != n_bytes * n_rows:
        raise DataError(f"Cannot read {told}: expected {n_rows} latents, found bytes {begin} to {end} of shape {header.latents.shape}.")
    return tuple(shape), 8 + size + begin


def latents_size(place: str, shard: str) -> int:
    """Return how many bytes the file of a shard's latents has, as its header says; 0 if that is no header."""
    n_rows = len(shard_rows(shard))
    try:
        shape, begin = _latents_at(place, f"{LATENTS}/{shard}.safetensors", n_rows)
    except DataError:
        return 0
    return begin + 2 * math.prod(shape) * n_rows


class _Latents(BaseModel):
    """What a safetensors header tells of a tensor."""

    dtype: Literal["F16"]
    shape: tuple[_Side, _Side, _Side, _Side, _Side]
    data_offsets: tuple[_Offset, _Offset]


class _LatentsHeader(BaseModel):
    """The header of a safetensors file of latents."""

    latents: _Latents


def _checked(content: bytes, row: Mapping[str, Any], column: str, name: str) -> bytes:
    digest = hashlib.sha256(content).hexdigest()
    if digest != row[column]:
        raise DataError(f"{name}: row {row['index']}: expected SHA-256 {row[column]}, found {digest}")
    return content
