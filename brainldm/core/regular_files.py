"""Files of a folder that strangers filled: regular files inside of it only, their sizes known before a byte is read.

A symbolic link is followed where it stays inside the folder, as in data sets of DataLad; one that leads out is refused. Pipes, devices,
sockets and folders are refused without being opened for good: none can hang or flood a reader.
"""

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from brainldm.core.errors import DataError
from brainldm.core.printable import printable

MOST_TEXT = 64 << 20  # bytes of a text file, or of a table as text
MOST_ENTRIES = 1_500_000  # files and folders of a release
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC  # O_NONBLOCK: a pipe without a writer is not waited for
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


def open_regular(path: Path, kind: str = "file") -> BinaryIO:
    """Open the regular file that a user names, links followed; DataError if it is missing or something else."""
    try:
        return _as_file(os.open(path, _FLAGS), path, kind)
    except (OSError, ValueError) as error:
        raise DataError(_unreadable(path, error, kind)) from None


def read_regular(path: Path, most: int) -> bytes:
    """Return the bytes of the regular file that a user names; DataError as of `open_regular` and `read_all`, and for an empty file."""
    content = read_all(open_regular(path), path, most)
    if not content:
        raise DataError(f"Cannot read {printable(path)}: the file is empty.")
    return content


def file_inside(folder: Path, name: str) -> Path:
    """Return the path of the regular file `name` below `folder`; DataError as of `open_inside`."""
    with open_inside(folder, name):
        return folder / name


def open_inside(folder: Path, name: str, kind: str = "file") -> BinaryIO:
    """Open the regular file `name` below `folder`; DataError if it is missing, something else, or lies outside of the folder."""
    path = folder / name
    try:
        root = os.path.realpath(folder)
        inside = os.path.relpath(os.path.realpath(path), root)
        if inside.split(os.sep)[0] == "..":
            raise DataError(f"{printable(path)} leads out of {printable(folder)}. Replace the link by the {kind} itself if you trust it.")
        return _as_file(_open_below(root, inside.split(os.sep)), path, kind)
    except (OSError, ValueError) as error:  # ValueError: a null byte in a name
        raise DataError(_unreadable(path, error, kind)) from None


def _open_below(root: str, parts: list[str]) -> int:
    """Open `parts` below `root` one by one, no link followed: nothing is exchanged between the check and the opening."""
    at = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts[:-1]:
            deeper = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
            os.close(at)
            at = deeper
        return os.open(parts[-1], _FLAGS | os.O_NOFOLLOW, dir_fd=at)
    finally:
        os.close(at)


def _as_file(descriptor: int, path: Path, kind: str) -> BinaryIO:
    found = kind_of(os.fstat(descriptor).st_mode)
    if found:
        os.close(descriptor)
        raise DataError(f"Cannot read {printable(path)}: it is {found}, no {kind}. Get the {kind} from another copy.")
    return os.fdopen(descriptor, "rb")


def kind_of(mode: int) -> str:
    """Return what a file of this mode is, in words; nothing for a regular file."""
    return next((words for test, words in _KINDS if test(mode)), "")


def _unreadable(path: Path, error: Exception, kind: str) -> str:
    cause = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"Cannot read {printable(path)}: {printable(cause)}. Expected a {kind} there."


def size_of(handle: BinaryIO) -> int:
    """Return the size of an open file in bytes."""
    return os.fstat(handle.fileno()).st_size


def sha256_of(handle: BinaryIO) -> str:
    """Return the hexadecimal SHA-256 of what follows in an open file, read in blocks of 1 MiB."""
    digest = hashlib.sha256()
    while block := handle.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def check_size(handle: BinaryIO, path: object, most: int) -> int:
    """Return the size of an open file in bytes; DataError, before anything is read, if it exceeds `most`."""
    n_bytes = size_of(handle)
    if n_bytes > most:
        raise DataError(f"Cannot read {printable(path)}: it has {n_bytes} bytes, and at most {most} are read.")
    return n_bytes


def read_all(handle: BinaryIO, path: object, most: int) -> bytes:
    """Return the whole content of an open regular file and close it; DataError as of `check_size`."""
    with handle:
        n_bytes = check_size(handle, path, most)
        content = handle.read(n_bytes + 1)
    if len(content) > n_bytes:
        raise DataError(f"Cannot read {printable(path)}: it grew while it was read. Read it once it is whole.")
    return content


def entries(folder: Path) -> Iterator[tuple[str, int, int]]:
    """Yield name relative to the folder, mode and size of everything below it that is no folder; links are not followed.

    DataError if there are more than MOST_ENTRIES.
    """
    left, n_entries = [Path()], 0
    while left:
        at = left.pop()
        for entry in _listed(folder / at):
            n_entries += 1
            if n_entries > MOST_ENTRIES:
                raise DataError(f"{printable(folder)} holds more than {MOST_ENTRIES} files. Name the folder of one release.")
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                left.append(at / entry.name)
            else:
                yield (at / entry.name).as_posix(), status.st_mode, status.st_size


def _listed(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"Cannot read {printable(folder)}: {error.strerror}. Name a folder that can be read.") from None
