"""Nothing of a participant may leave: a search of a finished package for ids, covariate rows and places of the training scans."""

import json
import logging
import re
import struct
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from brainldm.core.columns import MEASURED, REQUESTED, STORED
from brainldm.core.covariates import NAMES
from brainldm.core.errors import DataError
from brainldm.formats.tables import read_tsv

_WORD = re.compile(r"[+-]?\d+\.\d+(?:[eE][+-]?\d+)?|[A-Za-z0-9]+")  # a decimal number is one word: its digits are nobody's id
_SHORT_NUMBER = 5  # ids of fewer digits and no letters are not searched for: every count would be one
_HEADER = 4096  # bytes of a NIfTI file that hold the header and its extensions
_VOX_OFFSET = 108  # where a NIfTI header tells where the voxels begin
_NUMBERS = {column.name for column in (*REQUESTED, *MEASURED, *STORED) if column.kind != "string"}
Rows = frozenset[tuple[Any, ...]]


class Secrets(NamedTuple):
    """What must not leave: ids as their words, rows of covariates in 32 bits, and folders of this machine."""

    ids: frozenset[tuple[str, ...]]
    rows: Rows
    places: tuple[str, ...]


def secrets(covariates: Path, released: Iterable[str]) -> Secrets:
    """The secrets of the training table; ids that are also among the `released` ones cannot be told from them."""
    table = read_tsv(covariates, ("participant_id", *NAMES)).astype({"participant_id": str})
    shared = set(table["participant_id"]) & set(released)
    if shared:
        logging.warning("%s: %d ids are names of synthetic participants too, and are not searched for", covariates, len(shared))
    words = {tuple(_WORD.findall(one)) for one in set(table["participant_id"]) - shared}
    ids = frozenset(one for one in words if any(map(str.isalpha, "".join(one))) or len("".join(one)) >= _SHORT_NUMBER)
    places = {str(place) for place in (Path.cwd(), Path.home(), covariates.resolve().parent) if len(place.parts) > 2}
    return Secrets(ids, covariate_rows(table), tuple(sorted(places)))


def covariate_rows(table: pd.DataFrame) -> Rows:
    """Rows of the four covariates as they are compared: sex, and 32-bit floats."""
    numbers = (table[name].to_numpy(np.float32).tolist() for name in NAMES[1:])
    return frozenset(zip(table["sex"].astype(str), *numbers, strict=True))


def check(folder: Path, covariates: Path, table: pd.DataFrame) -> None:
    """DataError, naming file and finding, if the package in `folder` with rows `table` holds anything of the training scans."""
    kept = secrets(covariates, table["participant_id"])
    found = [f"{folder}: a requested row is that of a training participant: {row}" for row in sorted(kept.rows & covariate_rows(table))]
    found += [f"{file}: {finding}" for file, texts in _files(folder) for finding in dict.fromkeys(findings(texts, kept))]
    if found:
        raise DataError(f"{found[0]}: expected nothing of the training scans in a release, found {len(found)} such thing(s)")


def findings(texts: Iterable[str], kept: Secrets) -> Iterator[str]:
    """What of the secrets stands in texts."""
    lengths = {len(one) for one in kept.ids}
    for line in (line for text in texts for line in text.splitlines()):
        words = _WORD.findall(line)
        for length in lengths:
            windows = set(zip(*(words[start:] for start in range(length)), strict=False))
            yield from (f"id of a training participant {'-'.join(one)!r}" for one in sorted(windows & kept.ids))
        yield from (f"folder of this machine {place!r}" for place in kept.places if place in line)


def _files(folder: Path) -> Iterator[tuple[str, Iterator[str]]]:
    """Name and texts of every file of the folder, and of every member of its tars."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        if path.suffix != ".tar":
            yield name, chain([name], _texts_of(path))
            continue
        with tarfile.open(path) as tar:
            for member in tar:
                content = tar.extractfile(member)
                size = _HEADER if member.name.endswith(".gz") else -1
                yield f"{name}: {member.name}", chain([member.name], texts(member.name, content.read(size) if content else b""))


def _texts_of(path: Path) -> Iterator[str]:
    match path.suffix:
        case ".parquet":
            strings = [field.name for field in pq.read_schema(path) if field.type in (pa.string(), pa.large_string())]
            yield from _strings(pd.read_parquet(path, columns=strings))
        case ".tsv":
            yield from _strings(pd.read_csv(path, sep="\t", dtype=str))
        case ".torrent":  # names, which are checked where they lie, and hashes
            return
        case _:
            with path.open("rb") as handle:
                yield from texts(path.name, handle.read(_HEADER if path.suffix == ".gz" else -1))


def _strings(table: pd.DataFrame) -> Iterator[str]:
    """The values of a table, less the columns of numbers that every release has: no id stands there."""
    for name in table.columns:
        if name not in _NUMBERS:
            yield "\n".join(map(str, table[name].dropna()))


def texts(name: str, content: bytes) -> Iterator[str]:
    """What is text in a file of that name: the strings of JSON, the header of a volume or of tensors; of others everything."""
    if name.endswith(".nii.gz"):
        header = zlib.decompressobj(31).decompress(content, _HEADER)
        yield header[: int(struct.unpack_from("<f", header, _VOX_OFFSET)[0])].decode("latin-1")
    elif name.endswith(".safetensors"):
        yield from _json_strings(json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")]))
    elif name.endswith(".json"):
        yield from _json_strings(json.loads(content))
    else:
        yield content.decode("utf-8", "replace")


def _json_strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (text for key, item in value.items() for text in (str(key), *_json_strings(item)))
    elif isinstance(value, list):
        yield from (text for item in value for text in _json_strings(item))
