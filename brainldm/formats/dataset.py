"""A finished dataset wherever it lies, as a release or in a folder of results: the table of its rows, what made them, their files."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple, Self

import pandas as pd
from pydantic import BaseModel, ValidationError, model_validator

from brainldm.core.config import Generate, Given
from brainldm.core.covariates import NAMES
from brainldm.core.errors import ConfigError, DataError
from brainldm.core.files import parse_json
from brainldm.core.printable import printable
from brainldm.formats.places import read_part, read_text
from brainldm.formats.released import locate, read_release
from brainldm.formats.released_values import MOST_VOLUME
from brainldm.formats.shard_set import join, provenance
from brainldm.formats.shards import Row, read_member
from brainldm.formats.tables import read_parquet

MOST_PROVENANCE = 4 << 20  # bytes
MOST_BATCH = 1024
MOST_STEPS = 10_000
MOST_VOXELS = 1 << 27
MOST_SEED = 1 << 32
PRECISIONS = ("auto", "32-true", "16-mixed", "bf16-mixed", "16-true", "bf16-true", "64-true")
COLUMNS = ("index", "seed", *NAMES)
OF_ROWS: tuple[Literal["index", "attempt", "voxel_sha256"], ...] = ("index", "attempt", "voxel_sha256")


class Machine(BaseModel):
    """What of a machine may change bits, and the shards that it made."""

    device: str
    precision: str
    versions: dict[str, str]
    shards: list[str]


class MadeBy(BaseModel):
    """What made a dataset, as `shard_set.provenance` tells: settings, weights by network, machines."""

    section: Given
    weights_sha256: dict[str, str]
    made_on: list[Machine]

    @model_validator(mode="after")
    def _is_bounded(self) -> Self:
        own = self.section.own(Generate)
        if own.batch_size > MOST_BATCH or own.steps > MOST_STEPS or math.prod(self.section.grid.shape) > MOST_VOXELS:
            raise ValueError(
                f"batches of {own.batch_size}, {own.steps} steps, a grid of {self.section.grid.shape}: more than is made again"
            )
        if self.section.precision not in PRECISIONS or not 0 <= self.section.seed < MOST_SEED:
            raise ValueError(f"the precision {printable(self.section.precision, 40)} or a seed of {self.section.seed}")
        if min(self.section.grid.shape) < 1 or not {"autoencoder", "diffusion"} <= set(self.weights_sha256):
            raise ValueError("no weights of autoencoder and diffusion, or no grid")
        return self


def read_made_by(found: object, name: object) -> MadeBy:
    """Return a provenance; DataError, naming it, if it is none."""
    try:
        return MadeBy.model_validate(found)
    except (ValidationError, ConfigError) as error:
        cause = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise DataError(f"Cannot use {printable(name)}: it does not tell what made the dataset ({printable(cause, 200)}).") from None


class Dataset(NamedTuple):
    """`table` has the columns index, seed, attempt, covariates, shard and voxel_sha256."""

    table: pd.DataFrame
    made_by: MadeBy
    read: Callable[[int], bytes]  # a row's .nii.gz, by its index; DataError if there is none
    name: Callable[[int], str]  # where it lies

    def machine(self, shard: str) -> Machine | None:
        """Return device, precision and versions that made a shard; None if the provenance does not tell."""
        return next((machine for machine in self.made_by.made_on if shard in machine.shards), None)


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
    made_by = read_made_by(parse_json(read_text(str(folder), told.name, None, MOST_PROVENANCE), told), told)
    return Dataset(release.table, made_by, read, name)


def _results(folder: Path, paths: list[Path]) -> Dataset:
    manifests = join(paths)
    rows: dict[int, tuple[Path, Row]] = {
        row["index"]: (path, row) for path, found in zip(paths, manifests, strict=True) for row in found["rows"]
    }
    requested = pd.concat([read_parquet(folder / f"request/{path.stem}.parquet", COLUMNS) for path in paths]).drop_duplicates("index")
    made = pd.DataFrame([{"shard": path.stem, **{name: row[name] for name in OF_ROWS}} for path, row in rows.values()])
    return Dataset(
        requested.merge(made, on="index"),
        read_made_by(provenance(manifests), folder / "generate"),
        lambda index: read_member(*rows[index]),
        lambda index: str(rows[index][0].with_suffix(".tar")),
    )
