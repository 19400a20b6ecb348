"""Packs: a shard as it is published, a tar of BIDS files with its table, and a manifest with its checksum and piece hashes."""

import io
from pathlib import Path
from typing import TypedDict, cast

import numpy as np
import pyarrow as pa
from PIL import Image

from brainldm.core.columns import MEASURED, PREVIEW, REQUESTED, STORED
from brainldm.core.errors import DataError
from brainldm.core.files import read_json
from brainldm.formats.shards import Provenance
from brainldm.formats.tables import arrow_schema, read_arrow

PLAIN = arrow_schema((*REQUESTED, *MEASURED, *STORED))
SCHEMA = arrow_schema((*REQUESTED, *MEASURED, *STORED, PREVIEW))
COLUMNS = PLAIN.names
_PREVIEW_EDGE = 64  # pixels, at most


class Pack(TypedDict):
    """What stands beside a pack's tar and table: `pieces` are the tar's SHA-1 piece hashes end to end, in hexadecimal."""

    shard: str
    n_bytes: int
    sha256: str
    piece_length: int
    pieces: str
    provenance: Provenance


def read_pack(path: Path) -> Pack:
    """Read a pack's manifest; DataError if it is something else, or its tar is not as long as it was."""
    pack = cast(Pack, read_json(path))
    if not isinstance(pack, dict) or not set(Pack.__annotations__) <= set(pack):
        raise DataError(f"{path}: expected a pack's manifest with {', '.join(Pack.__annotations__)}, found another JSON file")
    tar = path.with_suffix(".tar")
    found = tar.stat().st_size if tar.exists() else "none"
    if found != pack["n_bytes"]:
        raise DataError(f"{tar}: expected the pack's tar of {pack['n_bytes']} bytes, found {found}")
    return pack


def read_rows(path: Path) -> pa.Table:
    """The table of the pack with the manifest `path`; DataError if there is none or it has other columns."""
    table = path.with_suffix(".parquet")
    try:
        found = read_arrow(table)
    except Exception as error:  # whatever a damaged file makes pyarrow raise
        raise DataError(f"{table}: expected the pack's table, found none or a damaged one ({error})") from None
    if not found.schema.equals(SCHEMA, check_metadata=False):
        raise DataError(f"{table}: expected the columns {', '.join(SCHEMA.names)}, found {', '.join(found.schema.names)} or other types")
    return found.cast(SCHEMA)


def preview(volume: np.ndarray) -> bytes:
    """The middle axial plane of a volume [I,J,K] with intensities in [0, 1], as a PNG of at most 64 x 64 pixels, front upwards."""
    plane = volume[:, :, volume.shape[2] // 2].T[::-1]
    step = -(-max(plane.shape) // _PREVIEW_EDGE)
    grey = (np.nan_to_num(plane[::step, ::step]).clip(0, 1) * 255).round().astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, "PNG")
    return buffer.getvalue()
