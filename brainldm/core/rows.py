"""Rows of the synthetic dataset and their shards: a row is addressed by its index, a shard by the range of its rows."""

import re
import shlex
from collections.abc import Iterable
from pathlib import Path

from brainldm.core.errors import ConfigError, DataError

SHARD_PATTERN = r"[0-9]{6}-[0-9]{6}"


def shard_names(n_rows: int, rows_per_shard: int) -> list[str]:
    """Names of the shards of rows 0 ... n_rows - 1, each 'first-last' (inclusive): growth adds names, it renames none but the last."""
    return [f"{first:06d}-{min(first + rows_per_shard, n_rows) - 1:06d}" for first in range(0, n_rows, rows_per_shard)]


def shard_rows(name: str) -> range:
    """The row indices of a shard; DataError if the name is not 'first-last'."""
    if not re.fullmatch(SHARD_PATTERN, name):
        raise DataError(f"shard {name!r}: expected a name such as 000000-000249")
    first, last = map(int, name.split("-"))
    if last < first:
        raise DataError(f"shard {name!r}: the last row lies before the first")
    return range(first, last + 1)


def row_numbers(text: str) -> list[int]:
    """The row indices that a user lists as '17,4021', each once; ConfigError for anything else."""
    if not re.fullmatch(r"\d+(,\d+)*", text):
        raise ConfigError(f"--rows: expected row indices such as 17,4021, found {text!r}")
    return list(dict.fromkeys(map(int, text.split(","))))


def batch_names(n_items: int, batch_size: int) -> list[str]:
    """Names of the batches of a manifest: '000', '001', ...; batch b holds lines b * batch_size onwards."""
    return [f"{index:03d}" for index in range(-(-n_items // batch_size))]


def count_scans(manifest: str) -> int:
    """Lines of a manifest below its header, blank ones left out; ConfigError, naming the setting, if there is no such file."""
    try:
        return sum(1 for line in Path(manifest).read_text(encoding="utf-8").split("\n") if line.strip()) - 1
    except OSError as error:
        raise ConfigError(f"source.manifest: expected a TSV of scans, found none at {manifest!r} ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"source.manifest: expected a TSV in UTF-8, found {manifest!r} in another encoding ({error})") from None


def participant_id(index: int) -> str:
    """BIDS participant of row `index`, counted from 1: 'sub-000001'."""
    return f"sub-{index + 1:06d}"


def repeated(option: str, values: Iterable[object]) -> str:
    """'--option value' for every value, quoted for the shell."""
    return " ".join(f"{option} {shlex.quote(str(value))}" for value in values)
