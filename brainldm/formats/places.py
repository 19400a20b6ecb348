"""Where a release lies, a folder or a URL: whole files and parts of files, read alike (RFC 9110, section 14: ranges)."""

import http.client
import io
import logging
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import BinaryIO

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

from brainldm.core.errors import DataError

_TIMEOUT_S = 60
_BUFFER = 1 << 18
_TRIES = 5  # that bring nothing, one after the other


def is_remote(place: str) -> bool:
    """Whether a place is a URL."""
    return place.startswith(("http://", "https://"))


def open_file(place: str, name: str) -> BinaryIO:
    """The file `name` of the release at `place`, seekable; DataError, naming it, if there is none."""
    try:
        if is_remote(place):
            return io.BufferedReader(_Remote(f"{place.rstrip('/')}/{name}"), _BUFFER)
        return (Path(place) / name).open("rb")
    except OSError as error:  # urllib's errors are some too
        raise DataError(f"{place.rstrip('/')}/{name}: expected a file of a release, found none that can be read ({error})") from None


def read_part(place: str, name: str, start: int = 0, n_bytes: int | None = None) -> bytes:
    """`n_bytes` of a file from `start` on, or all of it; over HTTP, no more than these are transferred."""
    if is_remote(place) and n_bytes is not None:
        return _fetch(f"{place.rstrip('/')}/{name}", start, n_bytes)
    with open_file(place, name) as handle:
        handle.seek(start)
        return handle.read(-1 if n_bytes is None else n_bytes)


def _fetch(url: str, start: int, n_bytes: int) -> bytes:
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-{start + n_bytes - 1}"})
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
            if answer.status == 206 or (start == 0 and answer.headers["Content-Length"] == str(n_bytes)):
                return bytes(answer.read())
            raise DataError(f"{url}: expected a server that gives parts of a file (status 206), found status {answer.status}")
    except OSError as error:
        raise DataError(f"{url}: expected {n_bytes} bytes from {start} on, found that the request fails ({error})") from None


def download(url: str, part: Path, wait_s: float = 2.0) -> None:
    """All of a file, appended to what `part` holds of it; a connection that breaks is made again. DataError if nothing more arrives."""
    failed = 0
    with Progress(BarColumn(), DownloadColumn(), TransferSpeedColumn(), console=Console(stderr=True)) as progress:
        while True:
            before = _size(part)
            try:
                if _append(url, part, progress):
                    return
                fault = "the connection ends early"
            except urllib.error.HTTPError as error:
                if error.code < 500:
                    raise DataError(f"{url}: expected a file, found that the server refuses it ({error})") from None
                fault = str(error)
            except (urllib.error.URLError, ConnectionError, TimeoutError, http.client.HTTPException) as error:
                fault = str(error)
            failed = 0 if _size(part) > before else failed + 1
            if failed == _TRIES:
                raise DataError(
                    f"{url}: expected all of a file, found that no more than {before} bytes arrive ({fault}); {part} keeps them"
                )
            logging.warning("%s: %s after %d bytes; asking for the rest", url, fault, _size(part))
            time.sleep(wait_s)


def _append(url: str, part: Path, progress: Progress) -> bool:
    """One request for what is missing; whether the file is whole then. A server that gives no parts starts it anew."""
    start = _size(part)
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        answer = urllib.request.urlopen(request, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code == 416 and start:  # there is no more: what is here is whole, or is refused by its hash
            return True
        raise
    with answer, part.open("ab" if answer.status == 206 else "wb") as handle:
        length = answer.headers["Content-Length"]
        whole = int(length) + handle.tell() if length else None
        task = progress.add_task("", total=whole, completed=handle.tell())
        while block := answer.read(_BUFFER):
            handle.write(block)
            progress.update(task, advance=len(block))
        return whole is None or handle.tell() == whole


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


class _Remote(io.RawIOBase):
    """A file behind a URL that is read by ranges; a table of many columns is then not transferred whole."""

    def __init__(self, url: str) -> None:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=_TIMEOUT_S) as answer:
            self.url, self.size, self.place = url, int(answer.headers["Content-Length"]), 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move; nothing is transferred."""
        self.place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.place, io.SEEK_END: self.size}[whence]
        return self.place

    def tell(self) -> int:
        """Where the next byte is read."""
        return self.place

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def, override]
        """As much as fits, or nothing at the end."""
        n_bytes = min(len(buffer), self.size - self.place)
        if n_bytes <= 0:
            return 0
        buffer[:n_bytes] = _fetch(self.url, self.place, n_bytes)
        self.place += n_bytes
        return n_bytes
