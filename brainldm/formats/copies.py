"""Copies of one image under several names, found by what is in the files: sizes first, then checksums, then every byte."""

import gzip
import hashlib
import struct
import zlib
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import IO

GZIP_MAGIC = b"\x1f\x8b"
PIECE = 1 << 16  # bytes
EMPTY_GZIP = 18  # bytes of the shortest gzip file


def copies(paths: Iterable[Path]) -> list[list[Path]]:
    """Return groups of two or more files that hold the same bytes once decompressed; files that cannot be read are in none.

    Of a compressed file only the last bytes are read, its size and checksum, unless another agrees with them; of an
    uncompressed one that has the size of another three pieces. What agrees in these is compared to the last byte.
    """
    sized = _groups((path, _size(path)) for path in paths)
    likely = [group for one in sized for group in _alike(one)]
    return [group for one in likely for group in _groups((path, _digest(path)) for path in one)]


def _groups(keyed: Iterable[tuple[Path, Hashable]]) -> list[list[Path]]:
    groups: dict[Hashable, list[Path]] = {}
    for path, key in keyed:
        if key is not None:
            groups.setdefault(key, []).append(path)
    return [group for group in groups.values() if len(group) > 1]


def _trailer(path: Path) -> tuple[int, int] | None:
    """Return the checksum and the size (modulo 2^32) of what a gzip file holds; None for any other file."""
    with path.open("rb") as handle:
        if handle.read(2) != GZIP_MAGIC or path.stat().st_size < EMPTY_GZIP:
            return None
        handle.seek(-8, 2)
        checksum, size = struct.unpack("<II", handle.read(8))
        return checksum, size


def _size(path: Path) -> int | None:
    """Return the bytes of a file once decompressed, modulo 2^32."""
    try:
        trailer = _trailer(path)
        return path.stat().st_size % 2**32 if trailer is None else trailer[1]
    except OSError:
        return None


def _alike(paths: list[Path]) -> list[list[Path]]:
    """Return groups of files of one size that agree in a checksum, or in three pieces where none of them is compressed."""
    if any(_is_compressed(path) for path in paths):
        return _groups((path, _checksum(path)) for path in paths)
    return _groups((path, _pieces(path)) for path in paths)


def _is_compressed(path: Path) -> bool:
    try:
        return _trailer(path) is not None
    except OSError:
        return False


def _pieces(path: Path) -> bytes | None:
    try:
        size = path.stat().st_size
        pieces = []
        with path.open("rb") as handle:
            for start in (0, max(size - PIECE, 0) // 2, max(size - PIECE, 0)):
                handle.seek(start)
                pieces.append(handle.read(PIECE))
    except OSError:
        return None
    return hashlib.sha256(b"".join(pieces)).digest()


def _checksum(path: Path) -> int | None:
    """Return the CRC-32 of a file's content, decompressed."""
    try:
        trailer = _trailer(path)
        if trailer is not None:
            return trailer[0]
        checksum = 0
        with path.open("rb") as handle:
            while piece := handle.read(1 << 20):
                checksum = zlib.crc32(piece, checksum)
    except OSError:
        return None
    return checksum


def _digest(path: Path) -> str | None:
    """Return the SHA-256 of a file's content, decompressed unless that fails; None where it cannot be read."""
    try:
        if not _is_compressed(path):
            return _sha256(path.open("rb"))
        try:
            return _sha256(gzip.open(path))
        except (EOFError, zlib.error, gzip.BadGzipFile):
            return _sha256(path.open("rb"))
    except OSError:
        return None


def _sha256(stream: IO[bytes] | gzip.GzipFile) -> str:
    digest = hashlib.sha256()
    with stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
