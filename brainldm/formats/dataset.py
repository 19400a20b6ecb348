"""A finished dataset wherever it lies, as a release or in a folder of results: the table of its rows, what made them, their files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pandas as pd

from brainldm.core.covariates import NAMES
from brainldm.core.errors import DataError
from brainldm.formats.places import read_part, read_text
from brainldm.formats.provenance import parse as parse_provenance
from brainldm.formats.released import locate, read_release
from brainldm.formats.released_values import MOST_VOLUME
from brainldm.formats.shard_set import current, join, provenance
from brainldm.formats.shards import Row, read_member
from brainldm.formats.tables import read_parquet

MOST_PROVENANCE = 4 << 20  # bytes
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
    release = read_release(str(folder), {})  # a table that was changed is found by the rows that do not follow from it
    places = {int(index): place for place, index in enumerate(release.table["index"])}

    def name(index: int) -> str:
        return str(folder / locate(release.table.iloc[places[index]].to_dict())[0])

    def read(index: int) -> bytes:
        row = release.table.iloc[places[index]].to_dict()
        file, start = locate(row)
        if not pd.isna(row["tar_offset"]):
            return read_part(str(folder), file, start, int(row["n_bytes"]))
        return read_text(str(folder), file, None, MOST_VOLUME)

    told = folder / "provenance.json"
    made_by = parse_provenance(read_text(str(folder), told.name, None, MOST_PROVENANCE), told)
    return Dataset(release.table, made_by, read, name)


def _results(folder: Path, paths: list[Path]) -> Dataset:
    paths = current(paths)
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
