"""Files appear whole or not at all: write beside, flush to disk, rename."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from brainldm.core.errors import DataError
from brainldm.core.printable import printable
from brainldm.core.regular_files import open_regular, read_all, sha256_of

MOST_JSON = 64 << 20  # bytes of a JSON file


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; on success it is flushed and renamed to `path`, on error it is removed.

    The temporary name keeps the suffixes of `path`, because writers choose the format by suffix.
    """
    temporary = path.with_name(f".tmp{os.getpid()}.{path.name}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with temporary.open("rb") as handle:
                os.fsync(handle.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder beside `path`; on success it is flushed and takes the place of `path`, on error it is removed.

    A kill between the two renames leaves the old folder under its hidden name and none at `path`: never a mixture.
    """
    fresh, stale = (path.with_name(f".{age}.{path.name}") for age in ("fresh", "stale"))
    with writing(path):
        for left in (fresh, stale):
            shutil.rmtree(left, ignore_errors=True)
        fresh.mkdir(parents=True)
        try:
            yield fresh
            for file in filter(Path.is_file, fresh.rglob("*")):
                with file.open("rb") as handle:
                    os.fsync(handle.fileno())
            if path.exists():
                os.rename(path, stale)
            os.rename(fresh, path)
            shutil.rmtree(stale, ignore_errors=True)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """What the file system refuses meanwhile, a full disk say, becomes a DataError that names `path`."""
    try:
        yield
    except OSError as error:
        named = error.filename and not Path(str(error.filename)).name.startswith((".tmp", ".fresh", ".stale"))
        raise DataError(
            f"{error.filename if named else path}: expected to write there, found that it fails ({error.strerror or error})"
        ) from None


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file; a missing or damaged one, or one that is no regular file, is a DataError."""
    if not path.exists():
        raise DataError(f"{path}: expected a JSON file, found nothing")
    return parse_json(read_all(open_regular(path, "JSON file"), path, MOST_JSON), path)


def parse_json(content: bytes, name: object) -> Any:
    """Return the value of a JSON text; DataError, naming it, if it is none."""
    try:
        return json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{printable(name)}: expected JSON, found text that does not parse ({printable(error)})") from None


def remove_files(folder: Path, names: re.Pattern[str]) -> None:
    """Remove the files below a folder whose names match, temporary ones of theirs, and folders that are empty then."""
    for place, _, files in os.walk(folder, topdown=False):
        for file in files:
            if names.fullmatch(re.sub(r"^\.tmp\d+\.", "", file)):
                os.unlink(os.path.join(place, file))
        if not os.listdir(place):
            os.rmdir(place)


def sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a regular file, read in blocks; DataError if there is none."""
    try:
        with open_regular(path) as handle:
            return sha256_of(handle)
    except OSError as error:
        raise DataError(f"Cannot read {printable(path)}: {error.strerror}. Get the file again, or from another copy.") from None
