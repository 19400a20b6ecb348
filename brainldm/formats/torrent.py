"""Torrent files, version 1 (BEP 3): the same bytes for the same folder, because nothing in them tells the time or the place."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from brainldm.formats.nifti import write_bytes

_BLOCK = 1 << 20


def write_torrent(
    path: Path,
    folder: Path,
    files: Iterable[Path],
    name: str,
    piece_length: int,
    web_seeds: Sequence[str] = (),
    aligned: Mapping[Path, bytes] = MappingProxyType({}),
) -> str:
    """Write the torrent of `files`, all inside `folder`, as the folder `name`; returns the infohash in hexadecimal.

    A client that seeds looks for the files in a folder called `name`. There is no date and no `private` flag. `aligned` are
    the piece hashes of files of whole pieces: these come first, and are not read. Web seeds (BEP 19) are URLs of the folder
    that holds `name`; they are no part of the infohash.
    """
    placed = sorted((file for file in files if file not in aligned), key=lambda file: file.relative_to(folder).parts)
    ordered = [*sorted(aligned, key=lambda file: file.relative_to(folder).parts), *placed]
    info = {
        "files": [{"length": file.stat().st_size, "path": list(file.relative_to(folder).parts)} for file in ordered],
        "name": name,
        "piece length": piece_length,
        "pieces": b"".join(aligned[file] for file in ordered if file in aligned) + piece_hashes(placed, piece_length),
    }
    write_bytes(path, bencode({"info": info} | ({"url-list": list(web_seeds)} if web_seeds else {})))
    return hashlib.sha1(bencode(info), usedforsecurity=False).hexdigest()


def piece_hashes(files: Iterable[Path], piece_length: int) -> bytes:
    """SHA-1 of every piece of the files end to end, one after the other."""
    return b"".join(hashlib.sha1(piece, usedforsecurity=False).digest() for piece in _pieces(files, piece_length))


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
