"""A finished dataset wherever it lies, as a release or in a folder of results: the table of its rows, what made them, their files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from brainldm.core.covariates import NAMES
from brainldm.core.errors import DataError
from brainldm.core.files import read_json
from brainldm.formats.shard_set import join, provenance
from brainldm.formats.shards import Row, read_member
from brainldm.formats.tables import read_parquet

COLUMNS = ("index", "seed", *NAMES)


class Dataset(NamedTuple):
    """`table` has the columns index, seed, covariates, shard and voxel_sha256; `provenance` is that of `shard_set.provenance`."""

    table: pd.DataFrame
    provenance: dict[str, Any]
    read: Callable[[int], bytes]  # a row's .nii.gz, by its index; DataError if there is none
    name: Callable[[int], str]  # where it lies

    def machine(self, shard: str) -> dict[str, Any]:
        """Device, precision and versions that made a shard."""
        return next(machine for machine in self.provenance["made_on"] if shard in machine["shards"])


def open_dataset(folder: Path) -> Dataset:
    """A release or a folder of results; DataError if it is neither."""
    manifests = sorted((folder / "generate").glob("*-*.json"))
    if (folder / "covariates.parquet").exists():
        return _release(folder)
    if manifests:
        return _results(folder, manifests)
    raise DataError(f"{folder}: expected a release (covariates.parquet) or a folder of results (generate/*.json), found neither")


def _release(folder: Path) -> Dataset:
    table = read_parquet(folder / "covariates.parquet", (*COLUMNS, "shard", "path", "voxel_sha256"))
    paths = dict(zip(table["index"], table["path"], strict=True))

    def read(index: int) -> bytes:
        try:
            return (folder / paths[index]).read_bytes()
        except OSError as error:
            raise DataError(f"{folder / paths[index]}: expected a volume, found none ({error.strerror})") from None

    return Dataset(table, read_json(folder / "provenance.json"), read, lambda index: str(folder / paths[index]))


def _results(folder: Path, paths: list[Path]) -> Dataset:
    manifests = join(paths)
    rows: dict[int, tuple[Path, Row]] = {
        row["index"]: (path, row) for path, found in zip(paths, manifests, strict=True) for row in found["rows"]
    }
    requested = pd.concat([read_parquet(folder / f"request/{path.stem}.parquet", COLUMNS) for path in paths]).drop_duplicates("index")
    made = pd.DataFrame([{"index": index, "shard": path.stem, "voxel_sha256": row["voxel_sha256"]} for index, (path, row) in rows.items()])
    return Dataset(
        requested.merge(made, on="index"),
        provenance(manifests),
        lambda index: read_member(*rows[index]),
        lambda index: str(rows[index][0].with_suffix(".tar")),
    )
