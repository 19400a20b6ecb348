"""Safetensors and torrents: headers in full, and nothing between, before or behind what they list."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from brainldm.formats.leaks.numbers import units_of
from brainldm.formats.leaks.pieces import Array, Fault, Field, Pieces, Records, Text, Unreadable, windows

_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1", "BOOL": "?"}
_SIZES = {**{name: np.dtype(kind).itemsize for name, kind in _TYPES.items()}, "BF16": 2, "U16": 2, "U32": 4, "U64": 8}
_ENTRY = ("dtype", "shape", "data_offsets")
_LONGEST_HEADER = 100_000_000
_AT_ONCE = 1 << 24  # numbers of a tensor that are compared at once
_DEEPEST = 50
_MOST_PEOPLE = 1_000_000  # numbers of a tensor that is compared with others of its length
_MOST_IDS = 100_000  # whole numbers of a tensor, at most, that are searched for ids
_LIKELY = (10.0, 1e5)  # no weight of a network is as large as an age or a volume


def tensor_pieces(path: Path) -> Pieces:
    """Yield the header and the tensors of a safetensors file; Unreadable unless the tensors fill the file."""
    n_bytes = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if n_bytes < 8 or not 2 <= length <= min(n_bytes - 8, _LONGEST_HEADER):
            raise Unreadable("no safetensors header")
        text = file.read(length)
    yield Array("header", text)
    try:
        pairs = json.loads(text, object_pairs_hook=list)
        found = [(name, dict(entry)) for name, entry in pairs if name != "__metadata__"]
        placed = sorted((*map(int, entry["data_offsets"]), name, entry) for name, entry in found)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise Unreadable(f"a safetensors header that does not parse ({error})") from None
    for name, value in pairs:
        yield Text("header", name)
        used = dict(value) if name != "__metadata__" else {}
        yield from (Text(f"header, {name}, {key}", f"{key}: {one}") for key, one in value if key not in _ENTRY or used.get(key) != one)
    data = np.memmap(path, np.uint8, "r", offset=8 + length) if n_bytes > 8 + length else np.zeros(0, np.uint8)
    flat: dict[int, list[np.ndarray]] = {}
    end = 0
    for begin, stop, name, entry in placed:
        size = _SIZES.get(entry.get("dtype"), 0)
        if begin != end or stop > len(data) or size == 0 or math.prod(entry["shape"]) * size != stop - begin:
            raise Unreadable(f"tensor {name}: bytes that are not those of its type and shape, right behind the tensor before")
        yield from _tensor(f"tensor {name}", data[begin:stop], entry["dtype"], entry["shape"])
        if len(entry["shape"]) == 1 and entry["dtype"] in _TYPES and 2 <= entry["shape"][0] <= _MOST_PEOPLE:
            flat.setdefault(entry["shape"][0], []).append(data[begin:stop].view(_TYPES[entry["dtype"]]))
        end = stop
    for alike in flat.values():
        yield from _side_by_side([one for one in alike if one.max() >= _LIKELY[0]])
    if end != len(data):
        yield Fault("behind the tensors", f"{len(data) - end} bytes behind the tensors")
        yield Field("behind the tensors", data[end:].tobytes())


def _tensor(place: str, data: np.ndarray, kind: str, shape: list[int]) -> Pieces:
    """Yield the bytes of a tensor, and as records those of its numbers that could be a covariate."""
    for start in range(0, len(data), _AT_ONCE):
        yield Array(place, data[start : start + _AT_ONCE + 64].tobytes())
    if kind not in _TYPES or kind == "BOOL":
        return
    values = data.view(_TYPES[kind])
    yield from likely(place, values)
    if len(shape) == 2 and min(shape) <= 64:
        yield from likely(f"{place}, by columns", values.reshape(shape).T.reshape(-1))


def likely(place: str, values: np.ndarray) -> Pieces:
    """Yield the numbers of the size of covariates that stand in a tensor, as neighbours, and those that could be ids."""
    parts = []
    whole: list[np.ndarray] = []
    for start in range(0, len(values), _AT_ONCE):
        part = values[start : start + _AT_ONCE]
        size = np.abs(part.astype(np.float32) if part.dtype.kind == "f" else part.astype(np.int64))
        parts.append(part[(size >= _LIKELY[0]) & (size < _LIKELY[1])])
        large = part[size >= _LIKELY[1]]
        whole.append(large[np.isfinite(large) & (large == np.trunc(large))])
    kept = np.concatenate(parts) if parts else values
    large = np.concatenate(whole) if whole else values
    if values.dtype.itemsize > 2 and 0 < len(large) < _MOST_IDS:
        yield Text(place, "\n".join(str(int(value)) for value in large.tolist()))
    yield from windows(place, kept.astype(np.float64), units_of(kept), scaled=False)
    if kept.dtype.kind in "iu" and kept.dtype.itemsize > 2 and len(kept) < _MOST_IDS:
        yield Text(place, "\n".join(map(str, kept.tolist())))


def _side_by_side(vectors: list[np.ndarray]) -> Pieces:
    """Yield as records what stands at equal places of tensors of one length."""
    for start in range(0, len(vectors), 12):
        some = vectors[start : start + 24]
        if len(some) > 1:
            values = np.stack([one.astype(np.float64) for one in some], axis=1)
            yield Records("tensors side by side", values, np.stack([units_of(one) for one in some], axis=1), scaled=False)


def torrent_pieces(content: bytes) -> Pieces:
    """Yield every key, text and number of a torrent; the hashes of its pieces must be as many as its files need."""
    value, end = bdecode(content, 0)
    if end != len(content):
        yield Fault("behind the torrent's end", f"{len(content) - end} bytes behind the torrent's end")
        yield Field("behind the torrent's end", content[end:])
    if not isinstance(value, list):
        raise Unreadable("no torrent")
    yield from _walk("torrent", value)
    info = next((part for key, part in value if key == b"info" and isinstance(part, list)), [])
    hashes = sum(len(part) for key, part in info if key == b"pieces" and isinstance(part, bytes))
    length = next((part for key, part in info if key == b"piece length" and isinstance(part, int)), 0)
    if length <= 0 or hashes != 20 * -(-_total(info) // length):
        yield Fault("torrent, pieces", f"{hashes} bytes of hashes, which is not what its files need")


def _total(info: list[tuple[bytes, Any]]) -> int:
    """Return how many bytes the files of a torrent have."""
    files = next((part for key, part in info if key == b"files" and isinstance(part, list)), [info])
    lengths = [value for file in files if isinstance(file, list) for key, value in file if key == b"length"]
    return sum(length for length in lengths if isinstance(length, int))


def _walk(place: str, value: Any, key: str = "") -> Pieces:
    """Yield the texts and numbers of a bencoded value; a dictionary is a list of its pairs."""
    if isinstance(value, bytes):
        yield Array(place, value) if key == "pieces" else Field(place, value)
    elif isinstance(value, int):
        yield Text(place, f"{key}: {value}")
    else:
        for item in value:
            if isinstance(item, tuple):
                yield Field(f"{place}, a key", item[0])
                name = item[0].decode("utf-8", "replace")[:60]
                yield from _walk(f"{place}, {name}", item[1], name)
            else:
                yield from _walk(place, item, key)


def bdecode(content: bytes, start: int, depth: int = 0) -> tuple[Any, int]:
    """Return the bencoded value at `start` (int, bytes, list; a dictionary as a list of pairs) and where it ends."""
    if depth > _DEEPEST:
        raise Unreadable("a torrent nested too deeply")
    mark = content[start : start + 1]
    if mark == b"i":
        end = content.find(b"e", start)
        digits = content[start + 1 : max(end, start + 1)]
        if end < 0 or len(digits) > 20 or not _is_integer(digits):
            raise Unreadable("a torrent with a damaged number")
        return int(digits), end + 1
    if mark.isdigit():
        end = content.find(b":", start, start + 12)
        digits = content[start : max(end, start)]
        if end < 0 or not digits.isdigit() or (digits[:1] == b"0" and len(digits) > 1):
            raise Unreadable("a torrent with a damaged text")
        stop = end + 1 + int(digits)
        if stop > len(content):
            raise Unreadable("a torrent that ends in the middle")
        return content[end + 1 : stop], stop
    if mark not in (b"l", b"d"):
        raise Unreadable("no torrent, or one that ends in the middle")
    return _collection(content, start, depth, mark == b"d")


def _collection(content: bytes, start: int, depth: int, is_dictionary: bool) -> tuple[list[Any], int]:
    """Return a bencoded list, or a dictionary as a list of pairs, and where it ends."""
    here = start + 1
    items = list(_items(content, here, depth, is_dictionary))
    return [item for item, _ in items], (items[-1][1] if items else here) + 1


def _items(content: bytes, here: int, depth: int, is_dictionary: bool) -> Iterator[tuple[Any, int]]:
    """Yield the items of a collection and where each ends."""
    while content[here : here + 1] != b"e":
        item, here = bdecode(content, here, depth + 1)
        if is_dictionary:
            if not isinstance(item, bytes):
                raise Unreadable("a torrent with a key that is no text")
            inside, here = bdecode(content, here, depth + 1)
            item = (item, inside)
        yield item, here


def _is_integer(digits: bytes) -> bool:
    plain = digits.removeprefix(b"-")
    return plain.isdigit() and (plain == b"0" or not plain.startswith(b"0")) and digits != b"-0"
