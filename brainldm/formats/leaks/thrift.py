"""Thrift's compact protocol, in which Parquet writes its footer and page headers: structures as dictionaries of field numbers."""

import struct
from collections.abc import Iterator
from typing import Any

from brainldm.formats.leaks.pieces import Unreadable

Struct = dict[int, Any]
_DEEPEST = 40


def read_struct(content: bytes, start: int) -> tuple[Struct, int]:
    """Return the structure at `start` and where it ends; Unreadable if it is damaged."""
    try:
        return _struct(content, start, 0)
    except (IndexError, struct.error):
        raise Unreadable("a Parquet file whose metadata are damaged") from None


def binaries(value: Any) -> Iterator[bytes]:
    """Yield every text of a structure, those in fields of no known meaning too."""
    if isinstance(value, bytes):
        yield value
    elif isinstance(value, dict):
        for key, inside in value.items():
            yield from binaries(key)
            yield from binaries(inside)
    elif isinstance(value, list):
        for inside in value:
            yield from binaries(inside)


def _struct(content: bytes, here: int, depth: int) -> tuple[Struct, int]:
    found: Struct = {}
    last = 0
    if depth > _DEEPEST:
        raise Unreadable("a Parquet file whose metadata are nested too deeply")
    while content[here]:
        kind, step = content[here] & 15, content[here] >> 4
        here += 1
        if step:
            last += step
        else:
            code, here = _varint(content, here)
            last = _signed(code)
        if kind in (1, 2):
            found[last] = kind == 1
        else:
            found[last], here = _value(content, here, kind, depth)
    return found, here + 1


def _value(content: bytes, here: int, kind: int, depth: int) -> tuple[Any, int]:
    if kind == 3:
        return content[here], here + 1
    if kind in (4, 5, 6):
        code, here = _varint(content, here)
        return _signed(code), here
    if kind == 7:
        return struct.unpack_from("<d", content, here)[0], here + 8
    if kind == 8:
        length, here = _varint(content, here)
        if here + length > len(content):
            raise IndexError
        return content[here : here + length], here + length
    if kind in (9, 10):
        return _list(content, here, depth)
    if kind == 11:
        return _map(content, here, depth)
    if kind == 12:
        return _struct(content, here, depth + 1)
    raise Unreadable("a Parquet file whose metadata are damaged")


def _list(content: bytes, here: int, depth: int) -> tuple[list[Any], int]:
    size, kind = content[here] >> 4, content[here] & 15
    here += 1
    if size == 15:
        size, here = _varint(content, here)
    if size > len(content):
        raise IndexError
    found = []
    for _ in range(size):
        value, here = (content[here] == 1, here + 1) if kind in (1, 2) else _value(content, here, kind, depth + 1)
        found.append(value)
    return found, here


def _map(content: bytes, here: int, depth: int) -> tuple[dict[Any, Any], int]:
    size, here = _varint(content, here)
    found: dict[Any, Any] = {}
    if size:
        kinds = content[here]
        here += 1
        for _ in range(size):
            key, here = _value(content, here, kinds >> 4, depth + 1)
            found[key], here = _value(content, here, kinds & 15, depth + 1)
    return found, here


def _varint(content: bytes, here: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[here]
        value |= (byte & 127) << shift
        here += 1
        if byte < 128:
            return value, here
        shift += 7
        if shift > 70:
            raise IndexError


def _signed(code: int) -> int:
    return (code >> 1) ^ -(code & 1)
