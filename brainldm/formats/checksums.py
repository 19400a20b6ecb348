"""Checksums of a folder in the format of `sha256sum -c`."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from brainldm.core.errors import DataError
from brainldm.core.files import sha256, write_text


def write_checksums(path: Path, files: Iterable[Path], known: Mapping[Path, str] = MappingProxyType({})) -> None:
    """Write the SHA-256 of each file, named relative to the folder of `path`, in the order given; `known` ones are not read."""
    write_text(path, "".join(f"{known.get(file) or sha256(file)}  {file.relative_to(path.parent).as_posix()}\n" for file in files))


def read_checksums(path: Path) -> dict[str, str]:
    """SHA-256 by name; DataError if there is no such file or it is none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: expected checksums, found none that can be read ({error})") from None
    bad = next((line for line in lines if len(line) < 67 or line[64:66] != "  "), None)
    if bad is not None:
        raise DataError(f"{path}: expected lines of a SHA-256, two spaces and a name, found {bad!r}")
    if outside := [line[66:] for line in lines if line[66:].startswith("/") or ".." in line[66:].split("/")]:
        raise DataError(f"{path}: expected names of files in its folder, found {outside[0]!r}")
    return {line[66:]: line[:64] for line in lines}
