"""Where a release lies, a folder or a URL: whole files and parts of files, read alike, their sizes bounded before they are read."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO
from urllib.parse import quote, urlsplit

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

from brainldm.core.errors import DataError
from brainldm.core.printable import printable
from brainldm.core.regular_files import MOST_TEXT, open_inside, sha256_of, size_of
from brainldm.formats.transfers import Transfer, transfer

MOST_WEIGHTS = 64 << 30  # bytes of a file that a user names with its hash
_PATIENCE_WITH_WEIGHTS_S = 60.0


def is_remote(place: str) -> bool:
    """Return True if a place is a URL of http or https."""
    return place.startswith(("http://", "https://"))


def check_place(place: str) -> None:
    """DataError unless a place is a URL of http or https, or the path of a folder."""
    if is_remote(place):
        try:
            named = bool(urlsplit(place).hostname) and place.isprintable() and " " not in place
        except ValueError:
            named = False
        if not named:
            raise DataError(f"{printable(place)} is no URL of a release. Give one such as https://host/folder.")
    elif "://" in place:
        raise DataError(f"Cannot read {printable(place)}: a release is a folder or a URL that begins with https:// or http://.")
    elif not Path(place).is_dir():
        raise DataError(f"{printable(place)}: no folder is there. Name the folder or the URL of a release.")


def full_name(place: str, name: str) -> str:
    """Return how errors name a file of a release, on one line."""
    return printable(f"{place.rstrip('/')}/{name}")


def read_part(place: str, name: str, start: int, n_bytes: int, confirmed: bool = True) -> bytes:
    """Return `n_bytes` of a file from `start` on; over HTTP, no more than these are transferred.

    `confirmed` says that the caller knows a hash of them. DataError, before anything is read, if the file does not hold them.
    """
    if start < 0 or n_bytes < 0:
        raise DataError(f"{full_name(place, name)}: {n_bytes} bytes from {start} on are no part of a file.")
    if is_remote(place):
        sink = io.BytesIO()
        if n_bytes:
            transfer(Transfer(_url(place, name), n_bytes, confirmed, start, n_bytes), sink)
        return sink.getvalue()
    with open_inside(Path(place), name) as handle:
        if start + n_bytes > size_of(handle):
            raise DataError(
                f"{full_name(place, name)} has {size_of(handle)} bytes, fewer than the table says: {n_bytes} from {start} on. "
                "Get the file again, or from another copy."
            )
        handle.seek(start)
        return handle.read(n_bytes)


def read_text(place: str, name: str, sha256: str | None, most: int = MOST_TEXT) -> bytes:
    """Return a whole small file of a release; DataError if it has more than `most` bytes, or another SHA-256 than the one given."""
    with open_whole(place, name, sha256, most) as handle:
        return handle.read()


@contextmanager
def open_whole(place: str, name: str, sha256: str | None, most: int) -> Iterator[BinaryIO]:
    """Give a whole file of a release, seekable, its hash checked; one behind a URL is transferred to a temporary file.

    DataError if it has more than `most` bytes, or another SHA-256 than the one given.
    """
    with TemporaryFile() if is_remote(place) else open_inside(Path(place), name) as handle:
        if is_remote(place):
            transfer(Transfer(_url(place, name), most, confirmed=sha256 is not None), handle)
        n_bytes = size_of(handle)
        if n_bytes > most:
            raise DataError(f"Cannot read {full_name(place, name)}: it has {n_bytes} bytes, and at most {most} are read.")
        handle.seek(0)
        if sha256 is not None and (found := sha256_of(handle)) != sha256:
            raise DataError(
                f"{full_name(place, name)} is damaged or was changed: its SHA-256 is {found}, and checksums.sha256 lists {sha256}. "
                "Get the release again, or from another copy."
            )
        handle.seek(0)
        yield handle


def download(url: str, part: Path, wait_s: float = 2.0) -> None:
    """Write all of a file behind what `part` holds of it already; a connection that breaks is made again. The caller checks its hash.

    DataError if nothing more arrives.
    """
    with Progress(BarColumn(), DownloadColumn(), TransferSpeedColumn(), console=Console(stderr=True)) as progress, part.open("a+b") as sink:
        task = progress.add_task("", total=None)

        def seen(have: int, total: int | None) -> None:
            progress.update(task, completed=have, total=total)

        transfer(Transfer(url, MOST_WEIGHTS, True, patience_s=_PATIENCE_WITH_WEIGHTS_S, wait_s=wait_s, seen=seen), sink)


def _url(place: str, name: str) -> str:
    return f"{place.rstrip('/')}/{quote(name)}"
