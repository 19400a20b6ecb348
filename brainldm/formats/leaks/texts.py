"""Texts, JSON and tables: every key and every cell, numbers as they are written."""

import csv
import io
import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from brainldm.formats.leaks.numbers import numbers_of
from brainldm.formats.leaks.parquet import NUMERIC
from brainldm.formats.leaks.pieces import Pieces, Records, Text, Unreadable

_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8-sig"}
_LIST = re.compile(r"\[[^\[\]]{50,}\]|(?:^[ \t]*(?:- )?[-+]?\d+(?:\.\d+)?,?[ \t]*(?:\r?\n|\Z)){2,}", re.M)
_NEIGHBOURS = 24  # numbers of a text that are compared with each other
_AT_ONCE = 10_000  # rows of a table
_SHORT = 64  # rows of a table whose columns may be people


def decode(content: bytes) -> str:
    """Return a file as text; Unreadable if it is none."""
    encoding = next((name for mark, name in _MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise Unreadable(f"a text that is not in UTF-8 ({error.reason} at byte {error.start})") from None
    if "\0" in text:
        raise Unreadable("a text with NUL characters")
    return text


def text_pieces(content: bytes) -> Pieces:
    """Yield a text."""
    text = decode(content)
    yield Text("text", text)
    yield from columns_of(text)


def columns_of(text: str) -> Pieces:
    """Yield as records what stands at equal places of long lists of numbers in a text: in brackets, or one number a line."""
    lists: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {}
    for found in _LIST.finditer(text):
        numbers = numbers_of(found[0])
        if len(numbers[0]) > _NEIGHBOURS:
            lists.setdefault(len(numbers[0]), []).append(numbers)
    for alike in lists.values():
        if len(alike) > 1:
            values, units = (np.stack(columns, axis=1) for columns in zip(*alike, strict=True))
            yield Records("lists side by side", values, units)


class Pairs(list[tuple[str, Any]]):
    """A JSON object as a list of its pairs, those with equal keys too."""


class Number(str):
    """A number as it is written."""


def json_pieces(content: bytes) -> Pieces:
    """Yield keys and values of a JSON file, line by line; Unreadable if it does not parse."""
    try:
        value = json.loads(decode(content), object_pairs_hook=Pairs, parse_float=Number, parse_int=Number)
        lines = list(_lines("", value))
        yield Text("JSON", "\n".join(lines))
        yield from _aligned(value)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"JSON that does not parse ({error})") from None


def _lines(key: str, value: Any) -> Iterator[str]:
    """Yield `key: value` for every value."""
    if isinstance(value, Pairs):
        yield key
        for name, inside in value:
            yield from _lines(name, inside)
    elif isinstance(value, list):
        if any(isinstance(inside, list) for inside in value):
            for inside in value:
                yield from _lines(key, inside)
        else:
            yield f"{key}: {', '.join(map(_quoted, value))}"
    else:
        yield f"{key}: {_quoted(value)}"


def _quoted(value: Any) -> str:
    """Return a value of JSON; a text stands in quotation marks."""
    return f'"{value}"' if isinstance(value, str) and not isinstance(value, Number) else str(value)


def _aligned(value: Any) -> Pieces:
    """Yield as records what stands at equal places of lists that lie side by side."""
    if not isinstance(value, list):
        return
    inside = [item[1] for item in value] if isinstance(value, Pairs) else value
    lists = [[one[1] for one in item] if isinstance(item, Pairs) else item for item in inside if isinstance(item, list) and len(item) > 1]
    for length in {len(item) for item in lists}:
        side_by_side = [item for item in lists if len(item) == length]
        if len(side_by_side) > 1:
            yield table_records("lists side by side", [list(row) for row in zip(*side_by_side, strict=True)])
    for item in inside:
        yield from _aligned(item)


def table_pieces(content: bytes, delimiter: str) -> Pieces:
    """Yield the cells of a table in text, each with its column's name, and its rows as records."""
    text = decode(content)
    if delimiter == ",":
        delimiter = max(",;\t", key=text.partition("\n")[0].count)
    csv.field_size_limit(max(len(text), 1))
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=csv.QUOTE_MINIMAL))
    except csv.Error as error:
        raise Unreadable(f"a table that does not parse ({error})") from None
    header = rows[0] if rows else []
    yield Text("header", "\n".join(header))
    for start in range(0, len(rows), _AT_ONCE):
        part = rows[start : start + _AT_ONCE]
        yield Text(f"rows from {start}", "\n".join(line for row in part for line in _cells(header, row)))
        yield table_records(f"rows from {start}", part)
    if len(rows) <= _SHORT:
        width = max(map(len, rows), default=0)
        yield table_records("columns", [[row[place] if place < len(row) else "" for row in rows] for place in range(width)])


def _cells(header: list[str], row: list[str]) -> Iterator[str]:
    """Yield the cells of a row that are no number of a known column."""
    for place, cell in enumerate(row):
        name = header[place] if place < len(header) else "no column"
        if name not in NUMERIC or not _is_number(cell):
            yield f"{name}: {cell}"


def table_records(place: str, rows: list[list[Any]]) -> Records:
    """Return rows of cells as records; cells that are no number become nan."""
    width = max(map(len, rows), default=0)
    values = np.full((len(rows), width), np.nan)
    units = np.ones((len(rows), width))
    for number, row in enumerate(rows):
        for column, cell in enumerate(row):
            if isinstance(cell, str) and _is_number(cell):
                found, unit = numbers_of(cell.strip().replace(",", "."))
                values[number, column], units[number, column] = (found[0], unit[0]) if len(found) == 1 else (np.nan, 1.0)
    return Records(place, values, units)


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", ".", 1))
    except ValueError:
        return False
    return True
