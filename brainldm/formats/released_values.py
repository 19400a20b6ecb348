"""The values of a stranger's table: each is checked before it becomes a name of a file, a place in one, or a text that is shown."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from brainldm.core.columns import MEASURED, REQUESTED, SEXES, STORED, YES_NO
from brainldm.core.covariates import NAMES
from brainldm.core.errors import DataError
from brainldm.core.printable import printable
from brainldm.core.rows import SHARD_PATTERN
from brainldm.formats.bids import volume_path

PACKAGINGS = ("files", "tars", "latents")
MOST_VOLUME = 128 << 20  # bytes of a volume, packed or unpacked: 0.5 mm voxels need 92 MB
MOST_OFFSET = 1 << 44  # bytes of a tar
MOST_INDEX = 10**9
_MOST_BETWEEN = 1 << 20  # bytes of a sidecar, headers and filling before a volume in its tar
_PARTICIPANT = r"sub-[A-Za-z0-9]{1,60}"
_SHA256 = r"[0-9a-f]{64}"
_MAY_BE_MISSING = ("tar_offset", "cell", "rejected", "qc_reason", "design", *(column.name for column in MEASURED))
_NUMBERS = ("index", "seed", "noise_index", "attempt")
_HASHES = ("sha256", "voxel_sha256", "latent_sha256")


def check_values(table: pd.DataFrame, packaging: str, name: str) -> None:
    """DataError, naming table, column, row and value, unless these are the rows of a release; `table` has the types of its columns."""
    if packaging not in PACKAGINGS:
        raise DataError(f"Cannot read {name}: it is packaged as {printable(packaging, 40)!r}, expected {', '.join(PACKAGINGS)}.")
    for column, good, expected in _rules(table, packaging):
        wrong = np.flatnonzero(~np.asarray(good, bool))
        if len(wrong):
            found = printable(table[column].iloc[wrong[0]], 80)
            raise DataError(
                f"Cannot use {name}: {column} of its row {wrong[0]} is {found!r}, expected {expected}. "
                "Get the release again, or from another copy."
            )


def _rules(table: pd.DataFrame, packaging: str) -> Iterator[tuple[str, pd.Series | np.ndarray, str]]:
    """Yield column, what of its rows is right, and what is expected of them; a rule may rely on those before it."""
    columns = [*REQUESTED, *STORED, *MEASURED]
    for column in columns:
        if column.name not in _MAY_BE_MISSING:
            yield column.name, table[column.name].notna(), "a value"
    for column in columns:
        if column.kind == "string":
            yield column.name, _are_plain(table[column.name]), "a text without control characters"
        elif column.kind == "float32":
            yield column.name, ~np.isinf(table[column.name].astype(float)), "a finite number"
        elif column.levels == YES_NO:
            yield column.name, table[column.name].map(lambda value: value is True or value is False), "true or false"
    for column_name in NAMES[1:]:
        yield column_name, table[column_name] > 0, "a number above 0"
    yield "sex", table["sex"].isin(list(SEXES)), "F or M"
    for column_name in _NUMBERS:
        yield column_name, table[column_name].between(0, np.iinfo(np.int64).max), "0 or more"
    yield "index", table["index"] <= MOST_INDEX, f"at most {MOST_INDEX}"
    for column_name in _HASHES:
        yield column_name, _match(table[column_name], _SHA256), "a SHA-256"
    yield "participant_id", _match(table["participant_id"], _PARTICIPANT), "a participant of a release such as sub-000001"
    yield "path", table["path"] == table["participant_id"].map(volume_path), "the path of the participant's volume"
    yield "shard", _match(table["shard"], SHARD_PATTERN), "a shard such as 000000-000249"
    first, last = (table["shard"].str.split("-").str[place].astype("int64") for place in (0, 1))
    yield "shard", table["index"].between(first, last), "the shard that holds the row"
    for column_name in ("index", "participant_id"):
        yield column_name, ~table[column_name].duplicated(), "another one in every row"
    yield "n_bytes", table["n_bytes"].between(1, MOST_VOLUME), f"1 to {MOST_VOLUME} bytes"
    offset = table["tar_offset"]
    if packaging == "tars":
        yield "tar_offset", offset.between(0, MOST_OFFSET), f"0 to {MOST_OFFSET} bytes"
        room = (table["n_bytes"] + _MOST_BETWEEN).groupby(table["shard"]).transform("sum")
        yield "tar_offset", offset + table["n_bytes"] <= room, "a tar of its volumes and sidecars, without holes"
    else:
        yield "tar_offset", offset.isna(), "none where volumes lie in no tar"


def _texts(values: pd.Series) -> pa.Array:
    return pa.array(values, pa.string(), from_pandas=True)


def _are_plain(values: pd.Series) -> np.ndarray:
    """Return where texts are missing, or have no control, format or other character that does not print."""
    return np.asarray(pc.utf8_is_printable(_texts(values)).fill_null(True))


def _match(values: pd.Series, pattern: str) -> np.ndarray:
    """Return where whole texts match a pattern of ASCII."""
    return np.asarray(pc.match_substring_regex(_texts(values), rf"\A(?:{pattern})\z").fill_null(False))
