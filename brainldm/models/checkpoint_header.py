"""The header of a safetensors file, read and checked before any tensor is: names, types, shapes and offsets add up to the file.

The format (huggingface.co/docs/safetensors): 8 bytes with the length n of the header, little-endian; n bytes of JSON; the tensors' bytes.
"""

import math
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import Field, Strict, ValidationError

from brainldm.core.errors import DataError
from brainldm.core.printable import printable
from brainldm.core.regular_files import check_size, open_regular
from brainldm.core.schema import Schema, faults, strict_json

MOST_BYTES = 2**34  # of a file; the published model has 2 GB
MOST_HEADER_BYTES = 2**22  # the published model's has 80 kB
MOST_TENSORS = 10_000
LONGEST_NAME = 200
SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}  # bytes of a value; networks of ours hold no other types
Number = Annotated[int, Strict(), Field(ge=0, le=2**40)]
Shapes = dict[str, tuple[int, ...]]


class Entry(Schema):
    """What a header says of a tensor."""

    dtype: str
    shape: Annotated[tuple[Number, ...], Field(max_length=8)]
    data_offsets: tuple[Number, Number]


class Header(NamedTuple):
    """The network's spec and the shapes of the tensors by name."""

    spec: dict[str, Any]
    shapes: Shapes


def read(path: Path) -> Header:
    """Return what the header of a checkpoint says; DataError, naming file and field, unless it describes the file to its last byte."""
    try:
        return _read(path)
    except (ValueError, OverflowError) as error:
        raise DataError(f"{path}: expected a brainldm checkpoint, found none that can be read ({error})") from None


def _read(path: Path) -> Header:
    with open_regular(path) as handle:
        check_size(handle, path, MOST_BYTES)
        size = int.from_bytes(handle.read(8), "little")
        n_bytes = handle.seek(0, 2) - 8 - size
        if not 2 <= size <= MOST_HEADER_BYTES or n_bytes < 0:
            raise ValueError(f"no header of safetensors: its length is given as {size} bytes")
        handle.seek(8)
        values = strict_json(handle.read(size).decode("utf-8"))
    if not isinstance(values, dict):
        raise ValueError("the header is no JSON object")
    spec = _spec(values.pop("__metadata__", None))
    if len(values) > MOST_TENSORS:
        raise ValueError(f"the header lists {len(values)} tensors; at most {MOST_TENSORS} are read")
    entries = {_name(name): _entry(name, value) for name, value in values.items()}
    _check_offsets(entries, n_bytes)
    return Header(spec, {name: entry.shape for name, entry in entries.items()})


def _spec(metadata: object) -> dict[str, Any]:
    """The JSON object that the metadata hold under `spec`."""
    if not isinstance(metadata, dict) or not isinstance(metadata.get("spec"), str):
        raise ValueError("the header has no spec of a network")
    if unknown := sorted(metadata.keys() - {"spec", "format"}):
        raise ValueError(f"__metadata__ holds the unknown key {printable(unknown[0], 60)}")
    spec = strict_json(metadata["spec"])
    if not isinstance(spec, dict):
        raise ValueError("the spec is no JSON object")
    return spec


def _name(name: str) -> str:
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise ValueError(f"no name of a tensor: {printable(name, 60)!r}")
    return name


def _entry(name: str, value: object) -> Entry:
    try:
        entry = Entry.model_validate(value)
    except ValidationError as error:
        raise ValueError(f"tensor {name}: {faults(error)}") from None
    if entry.dtype not in SIZES:
        raise ValueError(f"tensor {name}: dtype {printable(entry.dtype, 20)}; expected one of {', '.join(SIZES)}")
    begin, end = entry.data_offsets
    if math.prod(entry.shape) * SIZES[entry.dtype] != end - begin:
        raise ValueError(f"tensor {name}: the shape {list(entry.shape)} does not fill the bytes {begin} to {end}")
    return entry


def _check_offsets(entries: dict[str, Entry], n_bytes: int) -> None:
    """ValueError unless the tensors follow one another without gap or overlap, from the header to the end of the file."""
    place = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1].data_offsets):
        begin, end = entry.data_offsets
        if begin != place:
            raise ValueError(f"tensor {name} begins at byte {begin} of the data; the one before it ends at {place}")
        place = end
    if place != n_bytes:
        raise ValueError(f"the tensors fill {place} bytes of data, and the file has {n_bytes}")
