"""Checksums of a folder in the format of `sha256sum -c`."""

from collections.abc import Iterable
from pathlib import Path

from brainldm.core.files import sha256, write_text


def write_checksums(path: Path, files: Iterable[Path]) -> None:
    """Write the SHA-256 of each file, named relative to the folder of `path`, in the order given."""
    write_text(path, "".join(f"{sha256(file)}  {file.relative_to(path.parent).as_posix()}\n" for file in files))
