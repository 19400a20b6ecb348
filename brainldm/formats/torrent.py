"""Torrent files, version 1 (BEP 3): the same bytes for the same folder, because nothing in them tells the time or the place."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from brainldm.formats.nifti import write_bytes

_BLOCK = 1 << 20


def write_torrent(path: Path, folder: Path, files: Iterable[Path], name: str, piece_length: int) -> str:
    """Write the torrent of `files`, all inside `folder`, as the folder `name`; returns the infohash in hexadecimal.

    A client that seeds looks for the files in a folder called `name`. There is no date and no `private` flag.
    """
    ordered = sorted(files, key=lambda file: file.relative_to(folder).parts)
    info = {
        "files": [{"length": file.stat().st_size, "path": list(file.relative_to(folder).parts)} for file in ordered],
        "name": name,
        "piece length": piece_length,
        "pieces": b"".join(hashlib.sha1(piece, usedforsecurity=False).digest() for piece in _pieces(ordered, piece_length)),
    }
    write_bytes(path, bencode({"info": info}))
    return hashlib.sha1(bencode(info), usedforsecurity=False).hexdigest()


def bencode(value: Any) -> bytes:
    """Integers, strings, bytes, lists and dictionaries (keys in order of their bytes) as BEP 3 writes them."""
    match value:
        case int():
            return b"i%de" % value
        case str():
            return bencode(value.encode())
        case bytes():
            return b"%d:%b" % (len(value), value)
        case list():
            return b"l" + b"".join(map(bencode, value)) + b"e"
        case dict():
            return b"d" + b"".join(bencode(key) + bencode(value[key]) for key in sorted(value)) + b"e"
    raise TypeError(f"cannot bencode {type(value).__name__}")


def _pieces(files: Iterable[Path], piece_length: int) -> Iterator[bytes]:
    """The files end to end, cut into pieces; the last one may be shorter."""
    rest = bytearray()
    for file in files:
        with file.open("rb") as handle:
            while block := handle.read(_BLOCK):
                rest += block
                while len(rest) >= piece_length:
                    yield bytes(rest[:piece_length])
                    del rest[:piece_length]
    if rest:
        yield bytes(rest)
