"""A finished dataset wherever it lies, as a release or in a folder of results: the table of its rows, what made them, their files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pandas as pd

from brainldm.core.covariates import NAMES
from brainldm.core.errors import DataError
from brainldm.formats.places import read_part
from brainldm.formats.provenance import read as read_provenance
from brainldm.formats.released import locate, open_release
from brainldm.formats.shard_set import join, provenance
from brainldm.formats.shards import Row, read_member
from brainldm.formats.tables import read_parquet

COLUMNS = ("index", "seed", *NAMES)
OF_ROWS: tuple[Literal["index", "attempt", "voxel_sha256"], ...] = ("index", "attempt", "voxel_sha256")


class Dataset(NamedTuple):
    """`table` has the columns index, seed, attempt, covariates, shard and voxel_sha256; `provenance` is that of `shard_set.provenance`."""

    table: pd.DataFrame
    provenance: dict[str, Any]
    read: Callable[[int], bytes]  # a row's .nii.gz, by its index; DataError if there is none
    name: Callable[[int], str]  # where it lies

    def machine(self, shard: str) -> dict[str, Any]:
        """Device, precision and versions that made a shard; DataError where the provenance does not tell."""
        found = [machine for machine in self.provenance["made_on"] if shard in machine["shards"]]
        if not found:
            raise DataError(f"provenance.json: expected the machine that made shard {shard}, found none that did.")
        return dict(found[0])


def open_dataset(folder: Path) -> Dataset:
    """A release or a folder of results; DataError if it is neither."""
    manifests = sorted((folder / "generate").glob("*-*.json"))
    if (folder / "covariates.parquet").exists():
        return _release(folder)
    if manifests:
        return _results(folder, manifests)
    raise DataError(f"{folder}: expected a release (covariates.parquet) or a folder of results (generate/*.json), found neither")


def _release(folder: Path) -> Dataset:
    table = open_release(str(folder)).table
    rows = {row["index"]: row for row in table.to_dict("records")}

    def read(index: int) -> bytes:
        name, start = locate(rows[index])
        return read_part(str(folder), name, start, None if pd.isna(rows[index]["tar_offset"]) else rows[index]["n_bytes"])

    return Dataset(table, read_provenance(folder / "provenance.json"), read, lambda index: str(folder / locate(rows[index])[0]))


def _results(folder: Path, paths: list[Path]) -> Dataset:
    manifests = join(paths)
    rows: dict[int, tuple[Path, Row]] = {
        row["index"]: (path, row) for path, found in zip(paths, manifests, strict=True) for row in found["rows"]
    }
    requested = pd.concat([read_parquet(folder / f"request/{path.stem}.parquet", COLUMNS) for path in paths]).drop_duplicates("index")
    made = pd.DataFrame([{"shard": path.stem, **{name: row[name] for name in OF_ROWS}} for path, row in rows.values()])
    return Dataset(
        requested.merge(made, on="index"),
        provenance(manifests),
        lambda index: read_member(*rows[index]),
        lambda index: str(rows[index][0].with_suffix(".tar")),
    )
