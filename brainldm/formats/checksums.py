"""Checksums of a folder in the format of `sha256sum -c`."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from brainldm.core.errors import DataError
from brainldm.core.files import sha256, write_text
from brainldm.core.printable import printable
from brainldm.formats.places import full_name, read_text

_LINE = re.compile(r"([0-9a-f]{64})  (.+)", re.ASCII)
_LONGEST = 1000  # characters of a name


def write_checksums(path: Path, files: Iterable[Path], known: Mapping[Path, str] = MappingProxyType({})) -> None:
    """Write the SHA-256 of each file, named relative to the folder of `path`, in the order given; `known` ones are not read."""
    write_text(path, "".join(f"{known.get(file) or sha256(file)}  {file.relative_to(path.parent).as_posix()}\n" for file in files))


def read_checksums(place: str, name: str) -> dict[str, str]:
    """Return the SHA-256 of every file of a release, by name, as its file of checksums `name` lists them.

    DataError if there is no such file, a line of it is none, or a name is there twice or leads out of the folder.
    """
    told = full_name(place, name)
    found: dict[str, str] = {}
    content = read_text(place, name, None)
    for number, raw in enumerate(content.removesuffix(b"\n").split(b"\n") if content else [], 1):
        try:
            line = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"Cannot read {told}: line {number} is no text in UTF-8 ({printable(error, 80)}). Get it again.") from None
        parts = _LINE.fullmatch(line)
        if parts is None:
            raise DataError(
                f"Cannot read {told}: line {number} is {printable(line, 120)!r}, expected a SHA-256, two spaces and a name. Get it again."
            )
        if not _is_inside(parts[2]):
            raise DataError(f"Cannot use {told}: line {number} names {printable(parts[2], 120)!r}, expected a file in its folder.")
        if parts[2] in found:
            raise DataError(f"Cannot use {told}: line {number} names {printable(parts[2], 120)!r}, as a line before it does.")
        found[parts[2]] = parts[1]
    if not found:
        raise DataError(f"Cannot use {told}: it lists no file. Get it again.")
    return found


def _is_inside(name: str) -> bool:
    """Return True if a name is that of a file below a folder, and prints as it is."""
    return len(name) <= _LONGEST and name.isprintable() and not any(part in ("", ".", "..") for part in name.split("/"))
