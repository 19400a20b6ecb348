"""Files that may come from strangers: only regular ones are opened, and only up to a size."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

from brainldm.core.errors import DataError


def open_regular(path: Path, most_bytes: int | None = None) -> BinaryIO:
    """Open a file for reading and return its handle.

    DataError for a folder, named pipe, device or socket, none of which is waited for, and for a file of more than `most_bytes`.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"Cannot read {path}: {str(reason).lower()}.") from None
    try:
        _check(path, os.fstat(descriptor), most_bytes)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path, most_bytes: int) -> bytes:
    """Return the bytes of a file; DataError as of `open_regular`, and for an empty file."""
    with open_regular(path, most_bytes) as handle:
        content = handle.read(most_bytes + 1)
    if not content:
        raise DataError(f"Cannot read {path}: the file is empty.")
    if len(content) > most_bytes:
        raise DataError(f"Cannot read {path}: it grows while it is read.")
    return content


def file_inside(folder: Path, name: str) -> Path:
    """Return the path of the regular file `name` below `folder`; DataError where there is none, or a link leads out of the folder."""
    path = folder / name
    try:
        found = path.resolve(strict=True)
        root = folder.resolve(strict=True)
    except (OSError, RuntimeError):  # RuntimeError: links that lead in a circle
        raise DataError(f"{folder}: expected the file {name}, found none. Give the folder of a finished run or of a model.") from None
    if not found.is_relative_to(root):
        raise DataError(f"Cannot use {path}: it is a link that leads out of {folder}. Copy the file into the folder if you trust it.")
    if not stat.S_ISREG(found.stat().st_mode):
        raise DataError(f"Cannot read {path}: it is {_kind(found.stat().st_mode)}, not a file.")
    return path


def _check(path: Path, found: os.stat_result, most_bytes: int | None) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise DataError(f"Cannot read {path}: it is {_kind(found.st_mode)}, not a file.")
    if most_bytes is not None and found.st_size > most_bytes:
        raise DataError(f"Cannot read {path}: it has {found.st_size} bytes; no file of this kind has more than {most_bytes}.")


def _kind(mode: int) -> str:
    kinds = {stat.S_ISDIR: "a folder", stat.S_ISFIFO: "a named pipe", stat.S_ISSOCK: "a socket"}
    return next((name for matches, name in kinds.items() if matches(mode)), "a device")
