"""Tar files: every header field of every member, pax records, long names, padding, and what follows the end."""

import re
import tarfile
from collections.abc import Callable
from typing import BinaryIO

from brainldm.formats.leaks.pieces import Fault, Field, Pieces, Text, Unreadable, rest

_BLOCK = tarfile.BLOCKSIZE
_STEP = 1 << 20
_TEXTS = {"name": (0, 100), "link's target": (157, 100), "owner": (265, 32), "group": (297, 32), "prefix": (345, 155)}
_TEXTS |= {"version": (257, 8), "end": (500, 12)}
_NUMBERS = {"mode": (100, 8), "user id": (108, 8), "group id": (116, 8), "size": (124, 12), "time": (136, 12), "checksum": (148, 8)}
_NUMBERS |= {"device": (329, 8), "device, minor": (337, 8)}
_OWN = ("user id", "group id", "time", "device", "device, minor")  # numbers that do not follow from the content
_MOST_MODE = 0o7777  # a larger mode is none
_OCTAL = re.compile(rb" *[0-7]*[ \0]*")
_FILES = b"0\0"
_LONG = {b"L": "long name", b"K": "long link", b"x": "pax records", b"g": "pax records of all members"}
_KINDS = {b"1": "a hard link", b"2": "a symbolic link", b"3": "a device", b"4": "a device", b"6": "a FIFO"}


def tar_pieces(file: BinaryIO, n_bytes: int, member_pieces: Callable[[str, bytes], Pieces]) -> Pieces:
    """Yield the pieces of a tar of `n_bytes`; `member_pieces(name, content)` are those of a regular member."""
    long_name = ""
    while True:
        start = file.tell()
        header = file.read(_BLOCK)
        if len(header) < _BLOCK:
            raise Unreadable("a tar without its two last blocks of zeros")
        if not header.strip(b"\0"):
            break
        name, size = _checked(header)
        label = f"member {long_name or name or start}"
        yield from _header(header, label)
        if file.tell() + size > n_bytes:
            raise Unreadable(f"{label}: a size of {size} bytes, which is more than the tar holds")
        kind = header[156:157]
        content = file.read(size)
        padding = file.read(-size % _BLOCK)
        yield from rest(f"{label}, padding", padding, "in the padding")
        if kind in _LONG:
            yield Field(f"{label}, {_LONG[kind]}", content)
            long_name = _name_of(kind, content) or long_name
            continue
        if kind in _FILES or kind == b"":
            yield from member_pieces(long_name or name, content)
        elif kind != b"5" or size:
            yield Fault(label, f"{_KINDS.get(kind, 'a member of an unknown kind')} in the tar")
            yield Field(label, content)
        long_name = ""
    while block := file.read(_STEP):
        yield from rest("behind the tar's end", block, "behind the tar's end")


def _checked(header: bytes) -> tuple[str, int]:
    """Return name and size of a member; Unreadable if the header is damaged."""
    try:
        member = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        raise Unreadable(f"a tar with a damaged header ({error})") from None
    if member.size < 0:
        raise Unreadable("a tar with a member of negative size")
    return member.name, member.size


def _header(header: bytes, label: str) -> Pieces:
    """Yield the fields of a header."""
    for name, (start, length) in _TEXTS.items():
        yield Field(f"{label}, {name}", header[start : start + length])
    for name, (start, length) in _NUMBERS.items():
        content = header[start : start + length]
        if content[0] >= 0o200:
            number = int.from_bytes(content[1:])
        elif _OCTAL.fullmatch(content):
            number = int(content.strip(b" \0") or b"0", 8)
        else:
            yield Fault(f"{label}, {name}", "a number with other characters in its field")
            yield Field(f"{label}, {name}", content)
            continue
        if number and (name in _OWN or (name == "mode" and number > _MOST_MODE)):
            yield Text(f"{label}, {name}", str(number))
    full = header[0:100].rstrip(b"\0")
    if prefix := header[345:500].rstrip(b"\0"):
        yield Field(f"{label}, full name", prefix + b"/" + full)


def _name_of(kind: bytes, content: bytes) -> str:
    """Return the name that a long name or pax records give the next member."""
    if kind == b"L":
        return content.rstrip(b"\0").decode("utf-8", "replace")
    if kind != b"x":
        return ""
    here = 0
    found = ""
    while here < len(content):
        length, _, _ = content[here : here + 20].partition(b" ")
        if not length.isdigit() or int(length) < 5 or here + int(length) > len(content):
            raise Unreadable("a tar with pax records that are damaged")
        key, _, value = content[here + len(length) + 1 : here + int(length) - 1].partition(b"=")
        if key == b"path":
            found = value.decode("utf-8", "replace")
        if key in (b"size", b"GNU.sparse.major", b"GNU.sparse.map"):
            raise Unreadable("a tar with pax records of sizes or sparse files, which a release does not hold")
        here += int(length)
    return found
