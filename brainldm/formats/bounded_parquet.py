"""Parquet tables of strangers: what they unpack to is known, and bounded, before anything is unpacked.

A page's header promises how many bytes it unpacks to, and pyarrow asks for that memory before it looks; the footer may say less. So the
header of every page that will be read is read first. Texts are read as dictionaries, because a page of some bytes may repeat one text a
billion times, and are spelled out once their whole length is known.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from brainldm.core.columns import Column
from brainldm.core.errors import DataError
from brainldm.core.printable import printable
from brainldm.formats.thrift_compact import Reader, Struct

MOST_FILE = 2 << 30  # bytes of a table with its previews
MOST_ROWS = 300_000  # three times the published dataset
MOST_COLUMNS = 1000
MOST_UNPACKED = 384 << 20  # bytes of all pages that are read
MOST_TEXTS = 256 << 20  # bytes of all texts that are read
MOST_CELL = 4096  # bytes of one text
_MOST_FOOTER = 16 << 20
_SMALL_FOOTER = 1 << 20  # bytes: pyarrow needs at most some 200 times as many
_MOST_PARTS = 3_000_000  # of the footer
_MOST_PAGES = 200_000
_MOST_HEADER = 1 << 16  # bytes of a page's header
_DATA, _DICTIONARY, _DATA_V2 = 0, 2, 3
_HEADER_OF = {_DATA: 5, _DICTIONARY: 7, _DATA_V2: 8}  # field of a page's header that tells of its kind
_ENCODING_OF = {_DATA: 2, _DICTIONARY: 2, _DATA_V2: 4}
_PREFIXES = 7  # DELTA_BYTE_ARRAY: texts share beginnings, so that few bytes unpack to many


class Table(NamedTuple):
    """The rows of a table, their types those of the columns asked for, and the schema of the file."""

    rows: pa.Table
    schema: pa.Schema


class _BoundError(ValueError):
    """A table that is refused."""


def read_table(handle: BinaryIO, name: str, columns: Sequence[Column]) -> Table:
    """Return the `columns` of the Parquet file that `handle` reads, in their order and with their types.

    DataError, naming the table, if it is damaged, lacks a column, has one of another kind or twice, or unpacks to more than is read.
    """
    with _named(name):
        file, schema = _open(handle)
        _check_kinds(schema, columns)
        read = _read(handle, file, [column.name for column in columns], [column.name for column in columns if column.kind == "string"])
        fields = [pa.field(column.name, pa.type_for_alias(column.kind)) for column in columns]
        return Table(pa.table([_cast(read.column(field.name), field) for field in fields], pa.schema(fields)), schema)


def read_known(handle: BinaryIO, name: str, wanted: Iterable[str]) -> pa.Table:
    """Return those columns of the Parquet file that are among `wanted`, of whatever flat type; DataError as for `read_table`.

    A table that has none of them gives no columns.
    """
    with _named(name):
        file, schema = _open(handle)
        names = [column for column in wanted if column in schema.names]
        for column in names:
            kind = schema.field(column).type
            if not any(_is_of(kind, known) for known in ("string", "bool", "float32")):
                raise _BoundError(f"the column {printable(column)} is of type {printable(kind, 80)}, expected texts or numbers")
        texts = [column for column in names if _is_of(schema.field(column).type, "string")]
        read = _read(handle, file, names, texts)
        fields = [pa.field(column, pa.string() if column in texts else schema.field(column).type) for column in names]
        return pa.table([_cast(read.column(field.name), field) for field in fields], pa.schema(fields))


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Turn whatever a stranger's table raises into a DataError that names it."""
    try:
        yield
    except _BoundError as error:
        raise DataError(f"Cannot read {name}: {error}. Get the release again, or from another copy.") from None
    except MemoryError:
        raise DataError(f"Cannot read {name}: the memory does not suffice for it.") from None
    except Exception as error:  # whatever a damaged file makes pyarrow raise
        raise DataError(f"Cannot read {name}: it is no whole Parquet table ({printable(error)}). Get it again.") from None


def _open(handle: BinaryIO) -> tuple[pq.ParquetFile, pa.Schema]:
    """Return the file, its texts read as dictionaries, and its schema with texts as texts; nothing but the footer is read."""
    _check_footer(handle, handle.seek(0, 2))
    handle.seek(0)
    plain = pq.ParquetFile(handle, thrift_container_size_limit=1_000_000, thrift_string_size_limit=_MOST_FOOTER)
    schema = plain.schema_arrow
    if len(schema.names) > MOST_COLUMNS:
        raise _BoundError(f"it has {len(schema.names)} columns, and at most {MOST_COLUMNS} are read")
    if twice := [name for name in schema.names if schema.names.count(name) > 1]:
        raise _BoundError(f"the column {printable(twice[0])} is there twice")
    texts = [field.name for field in schema if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)]
    file = pq.ParquetFile(handle, metadata=plain.metadata, read_dictionary=texts, page_checksum_verification=True, pre_buffer=False)
    return file, schema


def _read(handle: BinaryIO, file: pq.ParquetFile, names: Sequence[str], texts: Sequence[str]) -> pa.Table:
    """Return columns, texts as dictionaries, once it is known what they unpack to."""
    _check_rows(file.metadata)
    _check_pages(handle, file, names, handle.seek(0, 2) - 8)
    read = file.read(columns=list(names), use_threads=False, use_pandas_metadata=False)
    read.validate(full=True)
    _check_texts(read, texts)
    return read


def _check_footer(handle: BinaryIO, n_bytes: int) -> None:
    """_BoundError if the footer is none, or has more parts than that of a table of a release."""
    if n_bytes > MOST_FILE:
        raise _BoundError(f"it has {n_bytes} bytes, and at most {MOST_FILE} are read")
    handle.seek(max(0, n_bytes - 8))
    end = handle.read(8)
    size = int.from_bytes(end[:4], "little")
    if len(end) < 8 or end[4:] != b"PAR1":
        raise _BoundError("it does not end as a Parquet table does")
    if size > min(_MOST_FOOTER, n_bytes - 12):
        raise _BoundError(f"its footer is said to have {size} bytes")
    handle.seek(n_bytes - 8 - size)
    if size > _SMALL_FOOTER:
        Reader(handle.read(size), _MOST_PARTS).struct()


def _check_kinds(schema: pa.Schema, columns: Sequence[Column]) -> None:
    found = ", ".join(schema.names)
    if missing := [column.name for column in columns if column.name not in schema.names]:
        raise _BoundError(f"expected the column(s) {', '.join(missing)}, found {printable(found, 1500)}")
    for column in columns:
        kind = schema.field(column.name).type
        if not _is_of(kind, column.kind):
            raise _BoundError(f"the column {column.name} is of type {printable(kind, 80)}, expected {column.kind}")


def _is_of(found: pa.DataType, kind: str) -> bool:
    """Return True if a column's type is of the kind that is wanted, of whatever width."""
    if pa.types.is_dictionary(found):
        return kind == "string" and _is_of(found.value_type, kind)
    if pa.types.is_null(found):
        return True
    if kind == "string":
        return pa.types.is_string(found) or pa.types.is_large_string(found)
    if kind == "bool":
        return pa.types.is_boolean(found)
    return pa.types.is_integer(found) or pa.types.is_floating(found)


def _check_rows(metadata: pq.FileMetaData) -> None:
    n_rows = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    if min(n_rows, default=0) < 0 or sum(n_rows) != metadata.num_rows:
        raise _BoundError("its row groups have not the rows that it says")
    if sum(n_rows) > MOST_ROWS:
        raise _BoundError(f"it has {sum(n_rows)} rows, and at most {MOST_ROWS} are read")


def _check_pages(handle: BinaryIO, file: pq.ParquetFile, names: Sequence[str], end: int) -> None:
    """_BoundError if the pages of the named columns unpack to more than MOST_UNPACKED, or to what their headers do not tell."""
    wanted = set(names)
    unpacked = 0
    n_pages = 0
    for group in range(file.metadata.num_row_groups):
        row_group = file.metadata.row_group(group)
        for place in range(row_group.num_columns):
            chunk = row_group.column(place)
            if chunk.path_in_schema.partition(".")[0] not in wanted:
                continue
            for size in _page_sizes(handle, chunk, end):
                unpacked += size
                n_pages += 1
                if unpacked > MOST_UNPACKED:
                    raise _BoundError(f"it unpacks to more than {MOST_UNPACKED} bytes, as no table of a release does")
                if n_pages > _MOST_PAGES:
                    raise _BoundError(f"it has more than {_MOST_PAGES} pages")


def _page_sizes(handle: BinaryIO, chunk: pq.ColumnChunkMetaData, end: int) -> Iterator[int]:
    """Yield how many bytes every page of a column chunk unpacks to."""
    if chunk.file_path:
        raise _BoundError(f"its column {printable(chunk.path_in_schema)} lies in another file")
    starts = [chunk.data_page_offset]
    if chunk.has_dictionary_page and chunk.dictionary_page_offset is not None:
        starts.append(chunk.dictionary_page_offset)
    place = min(starts)
    stop = place + chunk.total_compressed_size
    if place < 4 or stop < place or stop > end:
        raise _BoundError(f"its column {printable(chunk.path_in_schema)} lies outside of the file")
    while place < stop:
        handle.seek(place)
        head = Reader(handle.read(min(_MOST_HEADER, stop - place)), 1000)
        header = head.struct()
        packed, unpacked = header.get(3), header.get(2)
        if not isinstance(packed, int) or not isinstance(unpacked, int) or packed < 0 or unpacked < 0:
            raise _BoundError(f"a page of its column {printable(chunk.path_in_schema)} tells no size")
        _check_encoding(header, chunk.path_in_schema)
        yield unpacked
        place += head.place + packed


def _check_encoding(header: Struct, column: str) -> None:
    kind = header.get(1)
    if not isinstance(kind, int) or kind not in _HEADER_OF:
        return  # an index page, which is not read
    told = header.get(_HEADER_OF[kind])
    if not isinstance(told, dict) or told.get(_ENCODING_OF[kind]) == _PREFIXES:
        raise _BoundError(f"its column {printable(column)} is encoded as no table of a release is")


def _check_texts(read: pa.Table, names: Sequence[str]) -> None:
    """_BoundError if a text, or all texts together, are too long; they are still dictionaries."""
    total = 0
    for name in names:
        for part in read.column(name).chunks:
            if not pa.types.is_dictionary(part.type):
                continue
            lengths = pc.binary_length(part.dictionary)
            longest = pc.max(lengths).as_py() or 0
            if longest > MOST_CELL:
                raise _BoundError(f"a text of its column {name} has {longest} bytes, and at most {MOST_CELL} are read")
            total += pc.sum(lengths.take(part.indices)).as_py() or 0
    if total > MOST_TEXTS:
        raise _BoundError(f"its texts have {total} bytes, and at most {MOST_TEXTS} are read")


def _cast(column: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
    try:
        return column.cast(field.type, safe=pa.types.is_integer(field.type))
    except pa.ArrowInvalid as error:
        raise _BoundError(f"its column {field.name} holds what is no {field.type} ({printable(error, 100)})") from None
