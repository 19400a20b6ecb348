"""Parquet tables: every text of the footer, every page, every value; every byte of the file belongs to one of them."""

import mmap
import struct
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from brainldm.core.columns import MEASURED, REQUESTED, STORED
from brainldm.core.rows import participant_id
from brainldm.formats.leaks.compressed import MOST_BYTES, gzip_pieces, png_pieces
from brainldm.formats.leaks.numbers import units_of
from brainldm.formats.leaks.pieces import Array, Fault, Field, Piece, Pieces, Records, Text, Unreadable, windows
from brainldm.formats.leaks.thrift import Struct, binaries, read_struct

NUMERIC = frozenset(column.name for column in (*REQUESTED, *MEASURED, *STORED) if column.kind != "string")
_MAGIC = b"PAR1"
_CODECS = {1: "snappy", 4: "brotli", 6: "zstd", 7: "lz4_raw"}  # 0: none, 2: gzip; the others are not read
_BYTE_ARRAYS = (6, 7)  # physical types that can hold text
_DICTIONARY_PAGE = 2
_MOST_ATTEMPTS = 1000
_DICTIONARY_INDEXES = (2, 8)
_UTF8, _MOST_ROWS = 0, 10_000


def parquet_pieces(path: Path) -> Pieces:
    """Yield the pieces of a Parquet file; Unreadable if it is damaged, encrypted or in a form that is not known."""
    if path.stat().st_size < 12:
        raise Unreadable("no Parquet file")
    with path.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if content[:4] != _MAGIC or content[-4:] != _MAGIC:
            raise Unreadable("no Parquet file, or an encrypted one")
        (length,) = struct.unpack("<I", content[-8:-4])
        start = len(content) - 8 - length
        if start < 4:
            raise Unreadable("a Parquet file whose footer is damaged")
        footer, end = read_struct(content[start:-8], 0)
        yield Array("footer", content[start:-8])
        yield from (Field("footer", text) for text in binaries(footer))
        yield from _schema(path)
        if end != length:
            yield Fault("footer", f"{length - end} bytes behind the footer's end")
        used = [(0, 4), (start, len(content))]
        for column in _columns(footer):
            used += yield from _chunk(content, column, _texts_of(footer))
        yield from _gaps(content, used)
    yield from _values(path)


def _schema(path: Path) -> Pieces:
    """Yield what pyarrow keeps of the table's schema in the footer, in a form of its own."""
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise Unreadable(f"a Parquet table whose schema cannot be read ({error})") from None
    metadata = [schema.metadata or {}, *(field.metadata or {} for field in schema)]
    yield from (Field("schema", key + b": " + value) for found in metadata for key, value in found.items())
    yield Text("schema", "\n".join(f"{field.name} {field.type}" for field in schema))


def _columns(footer: Struct) -> Iterator[Struct]:
    for group in footer.get(4) or []:
        yield from group.get(1) or []


def _texts_of(footer: Struct) -> frozenset[bytes]:
    """Return the dotted names of the leaves that are declared to be text."""
    schema = footer.get(2) or []
    names: list[bytes] = []
    stack: list[tuple[bytes, int]] = []
    for element in schema[1:]:
        while stack and stack[-1][1] == 0:
            stack.pop()
        name = element.get(4, b"")
        full = b".".join([*(parent for parent, _ in stack), name])
        if stack:
            stack[-1] = (stack[-1][0], stack[-1][1] - 1)
        if element.get(5):
            stack.append((name, element[5]))
        elif element.get(6) == _UTF8 or 1 in (element.get(10) or {}):
            names.append(full)
    return frozenset(names)


def _chunk(content: mmap.mmap, column: Struct, texts: frozenset[bytes]) -> Generator[Piece, None, list[tuple[int, int]]]:
    """Yield the pages and indexes of a column chunk; returns the parts of the file that they take."""
    meta = column.get(3)
    if column.get(1) or not meta or column.get(8) or column.get(9):
        raise Unreadable("a Parquet column that is encrypted or lies in another file")
    name = b".".join(meta[3])
    label = f"column {name.decode('utf-8', 'replace')}"
    begin = min(place for place in (meta.get(9), meta.get(11), meta.get(10)) if place)
    end = begin + meta[7]
    here = begin
    while here < end:
        header, size = read_struct(content[here : min(here + (1 << 20), end)], 0)
        yield from (Field(f"{label}, page header", text) for text in binaries(header))
        here += size
        page = content[here : here + header[3]]
        inside: list[bytes] = []
        yield from _page(label, page, header, meta.get(4, 0), inside)
        is_text = meta.get(1) in _BYTE_ARRAYS and name in texts and _encoding(header) not in _DICTIONARY_INDEXES
        joined = b"".join(inside)
        if is_text and header.get(1) == _DICTIONARY_PAGE:
            joined = b"\n".join(_byte_arrays(joined))
        yield Field(f"{label}, page", joined) if is_text else Array(f"{label}, page", joined)
        here += header[3]
    if here != end:
        raise Unreadable(f"{label}: pages that do not fill their place")
    used = [(begin, end)]
    for place, length in ((column.get(4), column.get(5)), (column.get(6), column.get(7)), (meta.get(14), meta.get(15))):
        if place and length:
            index = content[place : place + length]
            yield Array(f"{label}, index", index, 10)
            if place != meta.get(14):
                yield from (Field(f"{label}, index", text) for text in binaries(read_struct(index, 0)[0]))
            used.append((place, place + length))
    return used


def _byte_arrays(page: bytes) -> Iterator[bytes]:
    """Yield the values of a dictionary page: each has its length in front."""
    here = 0
    while here + 4 <= len(page):
        (length,) = struct.unpack_from("<I", page, here)
        yield page[here + 4 : here + 4 + length]
        here += 4 + length


def _encoding(header: Struct) -> int:
    """Return the encoding of a page's values."""
    return int((header.get(5) or {}).get(2) or (header.get(8) or {}).get(4) or 0)


def _page(label: str, page: bytes, header: Struct, codec: int, inside: list[bytes]) -> Pieces:
    """Yield the compressed bytes of a page, to find what decompressing would skip; append what it holds to `inside`."""
    second = header.get(8) or {}
    levels = second.get(5, 0) + second.get(6, 0)
    inside.append(page[:levels])
    body, expected = page[levels:], header[2] - levels
    if codec == 0 or second.get(7) is False or not body:
        inside.append(body)
    elif codec == 2:
        yield from gzip_pieces(body, inside, MOST_BYTES)
    elif codec in _CODECS:
        yield Array(f"{label}, compressed page", body, 10)
        try:
            inside.append(pa.Codec(_CODECS[codec]).decompress(body, expected, asbytes=True))
        except (OSError, ValueError, pa.ArrowException) as error:
            raise Unreadable(f"{label}: a page that cannot be decompressed ({error})") from None
    else:
        raise Unreadable(f"{label}: pages in a compression that is not read")
    if sum(map(len, inside)) != header[2]:
        raise Unreadable(f"{label}: a page of another length than its header promises")


def _gaps(content: mmap.mmap, used: list[tuple[int, int]]) -> Pieces:
    """Yield what lies between the parts of the file that its footer knows."""
    here = 0
    for begin, end in sorted(used):
        if begin > here and content[here:begin].strip(b"\0"):
            yield Fault("between the columns", f"{begin - here} bytes that belong to no column")
            yield Field("between the columns", content[here:begin])
        here = max(here, end)


def _values(path: Path) -> Pieces:
    """Yield the rows of the table: numbers as records, texts as lines, pictures decoded."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as table:
            for batch in table.iter_batches(_MOST_ROWS, use_threads=False):
                yield from _batch(batch)
    except (pa.ArrowException, OSError) as error:
        raise Unreadable(f"a Parquet table that cannot be read ({error})") from None


def _batch(batch: pa.RecordBatch) -> Pieces:
    """Yield the pieces of some rows."""
    numbers: dict[str, np.ndarray] = {}
    texts: dict[str, list[Any]] = {}
    for name, values in zip(batch.schema.names, batch.columns, strict=True):
        kind = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
        if pa.types.is_floating(kind) or pa.types.is_integer(kind):
            numbers[name] = values.to_numpy(zero_copy_only=False)
            if name not in NUMERIC or not _is_explained(name, numbers[name], batch):
                label = f"{name} (unexpected)" if name in NUMERIC else name
                texts[label] = [_whole(value) for value in values.to_pylist()]
        elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
            for row, value in enumerate(values.to_pylist()):
                yield from _picture(f"column {name}, row {row}", value)
        elif not pa.types.is_boolean(kind):
            texts[name] = values.to_pylist()
            if pa.types.is_list(kind) or pa.types.is_large_list(kind):
                flat = values.flatten()
                if pa.types.is_floating(flat.type):
                    found = flat.to_numpy(zero_copy_only=False)
                    yield from windows(f"column {name}", found.astype(np.float64), units_of(found))
    if numbers:
        yield from _records(numbers)
    lines = ("; ".join(map(_cell, texts, row)) for row in zip(*texts.values(), strict=True))
    yield Text("cells", "\n".join(lines))


def _cell(name: str, value: Any) -> str:
    """Return a cell with its column's name; a text stands in quotation marks."""
    return f'{name}: "{value}"' if isinstance(value, str) else f"{name}: {value}"


def _is_explained(name: str, values: np.ndarray, batch: pa.RecordBatch) -> bool:
    """Return whether a known column holds what its name promises, so that no id can stand in it."""
    if name == "index" and "participant_id" in batch.schema.names:
        return batch["participant_id"].to_pylist() == [participant_id(index) for index in values]
    if name == "seed":
        return len(set(values.tolist())) < 2
    if name == "attempt":
        return bool(np.all(values < _MOST_ATTEMPTS))
    return name != "noise_index" or "index" in batch.schema.names


def _whole(value: Any) -> Any:
    """Return a number without a fraction as an integer, as ids are."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _records(numbers: dict[str, np.ndarray]) -> Pieces:
    """Yield the rows of the numeric columns, and the columns of a short table."""
    values = np.stack([column.astype(np.float64) for column in numbers.values()], axis=1)
    units = np.stack([units_of(column) for column in numbers.values()], axis=1)
    yield Records("rows", values, units)
    if len(values) <= 64:
        yield Records("columns", values.T.copy(), units.T.copy())


def _picture(place: str, value: bytes | None) -> Pieces:
    """Yield the pieces of a picture in a cell; other bytes are a fault."""
    if not value:
        return
    if value.startswith(b"\x89PNG"):
        yield from png_pieces(value)
    else:
        yield Fault(place, "bytes that are no PNG")
        yield Field(place, value)
