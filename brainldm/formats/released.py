"""A release as its users read it, from a folder or over HTTP: its table, rows that fulfil a condition, volumes whose hash is checked."""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from brainldm.core.errors import DataError
from brainldm.core.rows import SHARD_PATTERN, shard_rows
from brainldm.formats.bids import volume_path
from brainldm.formats.conditions import select_rows
from brainldm.formats.package import LATENTS, SHARDS, TABLE
from brainldm.formats.packs import COLUMNS
from brainldm.formats.places import open_file, read_part


class Released(NamedTuple):
    """A release at a place (folder or URL), or some of its rows: `table` has every column but the previews."""

    place: str
    table: pd.DataFrame
    packaging: str  # files, tars or latents


def open_release(place: str, where: str | None = None, n: int | None = None) -> Released:
    """The rows of a release that fulfil a condition on its columns, the first `n` of them; DataError if it is no release."""
    with open_file(place, TABLE) as handle:
        try:
            file = pq.ParquetFile(handle, page_checksum_verification=True)
            table, metadata = file.read(columns=COLUMNS).to_pandas(), file.schema_arrow.metadata or {}
        except Exception as error:  # whatever a damaged file makes pyarrow raise
            raise DataError(f"{place}/{TABLE}: expected the table of a release, found something else ({error})") from None
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise DataError(f"{place}/{TABLE}: expected the column(s) {', '.join(missing)}, found {', '.join(table.columns)}")
    _check_names(table, f"{place}/{TABLE}")
    wanted = select(table, where).head(len(table) if n is None else n).reset_index(drop=True)
    return Released(place, wanted, metadata.get(b"packaging", b"files").decode())


def _check_names(table: pd.DataFrame, name: str) -> None:
    """DataError unless paths and shards, which become names of files, are those of a release: none may lead out of its folder."""
    good = table["participant_id"].astype(str).str.fullmatch(r"sub-[A-Za-z0-9]+") & table["shard"].astype(str).str.fullmatch(SHARD_PATTERN)
    bad = table[~good | (table["path"] != table["participant_id"].map(volume_path))]
    if len(bad):
        found = bad[["participant_id", "path", "shard"]].iloc[0].tolist()
        raise DataError(f"{name}: expected participant, path and shard of a release, found {found}")


def select(table: pd.DataFrame, where: str | None) -> pd.DataFrame:
    """Rows of a table that fulfil a condition such as "age_years >= 70 and sex == 'F'"; DataError if it is none."""
    return table if where is None else select_rows(table, where)


def locate(row: Mapping[Any, Any]) -> tuple[str, int]:
    """The file of a release that holds a row's volume, and where in it the volume begins."""
    if pd.isna(row["tar_offset"]):
        return str(row["path"]), 0
    return f"{SHARDS}/{row['shard']}.tar", int(row["tar_offset"])


def read_volume_bytes(release: Released, row: Mapping[Any, Any]) -> bytes:
    """The .nii.gz of a row of the table; DataError, naming file and row, if it is not what it was."""
    if release.packaging == "latents":
        raise DataError(f"{release.place}: expected volumes, found latents; brainldm.data.BrainLDMDataset decodes them")
    name, start = locate(row)
    return _checked(read_part(release.place, name, start, int(row["n_bytes"])), row, "sha256", f"{release.place}/{name}")


def read_latent(release: Released, row: Mapping[Any, Any]) -> np.ndarray:
    """The latent of a row, float16 [C,i,j,k]; only its bytes and the header are read. DataError as for a volume."""
    name = f"{LATENTS}/{row['shard']}.safetensors"
    size = int.from_bytes(read_part(release.place, name, 0, 8), "little")
    try:
        stored = json.loads(read_part(release.place, name, 8, size))["latents"]
        shape, begin = stored["shape"][1:], stored["data_offsets"][0]
    except (ValueError, KeyError, MemoryError, OverflowError) as error:
        raise DataError(
            f"{release.place}/{name}: row {row['index']}: expected latents in safetensors, found a damaged file ({error})"
        ) from None
    n_bytes = 2 * math.prod(shape)
    start = 8 + size + begin + n_bytes * (int(row["index"]) - shard_rows(row["shard"])[0])
    content = _checked(read_part(release.place, name, start, n_bytes), row, "latent_sha256", f"{release.place}/{name}")
    return np.frombuffer(content, np.float16).reshape(shape)


def _checked(content: bytes, row: Mapping[Any, Any], column: str, name: str) -> bytes:
    digest = hashlib.sha256(content).hexdigest()
    if digest != row[column]:
        raise DataError(f"{name}: row {row['index']}: expected SHA-256 {row[column]}, found {digest}")
    return content
