"""provenance.json of a release, checked: what made its rows."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from brainldm.core.config import Generate, Given
from brainldm.core.errors import DataError
from brainldm.core.regular_files import read_regular
from brainldm.core.rows import SHARD_PATTERN
from brainldm.core.schema import HASH, Precision, Schema, checked, strict_json

MOST_BYTES = 2**26  # of 100,000 shards it has 2 MB
MOST_SEED = 1 << 32  # of torch and numpy
Text = Annotated[str, Field(max_length=200)]


class Machine(Schema):
    """What made some shards: of the machine, all that may change bits."""

    precision: Precision
    device: Text
    versions: dict[Text, Text]
    shards: Annotated[list[Annotated[str, Field(pattern=f"^(?:{SHARD_PATTERN})$")]], Field(min_length=1)]


class Provenance(Schema):
    """What `formats.shard_set.provenance` gives."""

    section: Given
    weights_sha256: dict[Literal["autoencoder", "diffusion", "segmenter", "age"], Annotated[str, Field(pattern=HASH)]]
    made_on: Annotated[list[Machine], Field(min_length=1)]


def read(path: Path) -> dict[str, Any]:
    """Return what a release's provenance.json says; DataError, naming file and field, for what no generation writes."""
    return parse(read_regular(path, MOST_BYTES), path)


def parse(content: bytes, path: Path) -> dict[str, Any]:
    """Return what the content of the provenance.json at `path` says; DataError as of `read`."""
    try:
        values = strict_json(content)
    except ValueError as error:
        raise DataError(f"Cannot read {path}: it is no JSON ({error}). Take the file of the release again.") from None
    found = checked(Provenance, values, str(path))
    checked(Generate, found.section.section, f"{path}: section")
    if not 0 <= found.section.seed < MOST_SEED:
        raise DataError(f"Cannot use {path}: section.seed is {found.section.seed}, expected 0 to {MOST_SEED - 1}. Take the release again.")
    return dict(values)
