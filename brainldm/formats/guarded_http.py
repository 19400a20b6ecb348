"""HTTP requests to servers that nobody vouches for: bounded in time, in bytes and in where they lead (RFC 9110).

Only http and https are spoken. A redirect is followed within its origin, and elsewhere only where a hash confirms what comes. A server that
is silent, or sends less than SLOWEST bytes a second, is given up. The proxies of the environment are used, as urllib does.

Neither pooch nor fsspec does this: both read a body of unknown length to its end, follow any redirect and have no limit on slowness.
"""

import functools
import http.client
import io
import ipaddress
import re
import socket
import ssl
import time
import urllib.request
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

from brainldm.core.errors import DataError
from brainldm.core.printable import printable

SLOWEST = 1024  # bytes a second, over the time of one's patience
HEADER_BYTES = 256 << 10  # of an answer, redirects and framing included
MOST_REDIRECTS = 5
BLOCK = 1 << 18
FAULTS = (OSError, http.client.HTTPException, ValueError)  # what a server's answer makes the standard library raise
_REDIRECTS = (301, 302, 303, 307, 308)
_PORTS = {"http": 80, "https": 443}


class TooMuchError(Exception):
    """A server sends more than was asked for."""


class Guard:
    """Watches the bytes of one request and those that go on with it: their number, and how long they take."""

    def __init__(self, patience_s: float) -> None:
        self.patience_s = patience_s
        self._budget = 0
        self._since = time.monotonic()
        self._n_bytes = 0

    def allow(self, n_bytes: int) -> None:
        """A new answer may have `n_bytes` of body, and what frames them."""
        self._budget = n_bytes + n_bytes // 8 + HEADER_BYTES

    def seconds_left(self) -> float:
        """Return how long the next bytes may take; TimeoutError if too few came in the time of one's patience."""
        elapsed = time.monotonic() - self._since
        if elapsed >= self.patience_s:
            if self._n_bytes < SLOWEST * self.patience_s:
                raise TimeoutError(f"{self._n_bytes} bytes came in {elapsed:.0f} s")
            self._since = time.monotonic()
            self._n_bytes = 0
            elapsed = 0.0
        return self.patience_s - elapsed

    def is_spent(self) -> bool:
        """Return True if there is no time left."""
        try:
            return self.seconds_left() <= 0
        except TimeoutError:
            return True

    def saw(self, n_bytes: int) -> None:
        """Count bytes that arrived; TooMuchError beyond what is allowed."""
        self._n_bytes += n_bytes
        self._budget -= n_bytes
        if self._budget < 0:
            raise TooMuchError("the server sends more than was asked for")


class _GuardedReader(io.RawIOBase):
    """The bytes of a socket, each read as long as the guard allows."""

    def __init__(self, sock: socket.socket, guard: Guard) -> None:
        self._socket = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._guard = guard

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what has arrived, at most the buffer's size."""
        self._socket.settimeout(self._guard.seconds_left())
        n_bytes = self._raw.readinto(buffer) or 0
        self._guard.saw(n_bytes)
        return n_bytes

    def close(self) -> None:
        """Close the socket's file: with the last one the socket ends."""
        self._raw.close()
        super().close()


class _GuardedSocket:
    """What http.client needs of a socket."""

    def __init__(self, sock: socket.socket, guard: Guard) -> None:
        self._socket = sock
        self._guard = guard

    def makefile(self, mode: str, *args: object, **options: object) -> io.BufferedReader:
        """Return the answer's bytes."""
        return io.BufferedReader(_GuardedReader(self._socket, self._guard), 1 << 16)

    def sendall(self, content: bytes) -> None:
        """Send a request."""
        self._socket.settimeout(self._guard.seconds_left())
        self._socket.sendall(content)

    def close(self) -> None:
        """Close, once the answer is read."""
        self._socket.close()


def _guarded(kind: type[http.client.HTTPConnection], guard: Guard) -> type[http.client.HTTPConnection]:
    class Connection(kind):  # type: ignore[misc, valid-type]
        """A connection whose socket is guarded."""

        def connect(self) -> None:
            """Connect in the time that is left."""
            self.timeout = guard.seconds_left()
            super().connect()
            plain: socket.socket = self.sock  # type: ignore[has-type]
            self.sock = _GuardedSocket(plain, guard)

    return Connection


class _Http(urllib.request.HTTPHandler):
    def __init__(self, guard: Guard) -> None:
        super().__init__()
        self._guard = guard

    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_guarded(http.client.HTTPConnection, self._guard), request)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, guard: Guard) -> None:
        super().__init__(context=_tls())
        self._guard = guard

    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_guarded(http.client.HTTPSConnection, self._guard), request, context=_tls())


@functools.cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def request(url: str, headers: dict[str, str], guard: Guard, most: int, confirmed: bool) -> http.client.HTTPResponse:
    """Return the answer of a server to a GET, of any status, its body unread; `most` bytes may follow.

    `confirmed` says that a hash confirms what comes: only then a redirect may lead to another origin.
    DataError for a redirect that may not be followed; one of FAULTS if the server does not answer as HTTP wants.
    """
    opener = urllib.request.OpenerDirector()  # none of urllib's handlers of file:, ftp: and data:, nor of its redirects
    for handler in (urllib.request.ProxyHandler(), urllib.request.UnknownHandler(), _Http(guard), _Https(guard)):
        opener.add_handler(handler)
    at = url
    for _ in range(MOST_REDIRECTS + 1):
        guard.allow(0)
        asked = urllib.request.Request(at, headers={"Accept-Encoding": "identity", "User-Agent": "brainldm", **headers})
        answer: http.client.HTTPResponse = opener.open(asked, timeout=guard.seconds_left())  # type: ignore[assignment]
        if answer.status not in _REDIRECTS:
            guard.allow(most)
            return answer
        answer.close()
        at = _next(url, at, answer.headers["Location"] or "", confirmed)
    raise DataError(f"Cannot read {printable(url)}: its server redirects more than {MOST_REDIRECTS} times.")


def _next(first: str, at: str, location: str, confirmed: bool) -> str:
    """Return where a redirect leads; DataError if it may not be followed."""
    target = urljoin(at, location)
    old = urlsplit(at)
    new = urlsplit(target)
    told = f"Cannot read {printable(first)}: its server redirects to {printable(target)}"
    if new.scheme not in _PORTS or not new.hostname or not target.isprintable() or " " in target:
        raise DataError(f"{told}, which is no http or https URL.")
    if (old.scheme, new.scheme) == ("https", "http"):
        raise DataError(f"{told}, which is not encrypted.")
    upgrade = old.hostname == new.hostname and (_origin(old)[2], _origin(new)[2]) == (80, 443)
    if _origin(old) == _origin(new) or upgrade:
        return target
    if not confirmed:
        raise DataError(f"{told}, another origin, and no hash confirms what would come. Name that URL yourself if you trust it.")
    if _is_private(new.hostname) and not _is_private(urlsplit(first).hostname or ""):
        raise DataError(f"{told}, an address of a private network.")
    return target


def _origin(url: SplitResult) -> tuple[str, str, int]:
    return url.scheme, url.hostname or "", url.port or _PORTS[url.scheme]


def _is_private(host: str) -> bool:
    """Return True if a host's name or address is one of a private network or of this machine."""
    try:
        found = {str(place[4][0]) for place in socket.getaddrinfo(host, None)}
    except OSError:  # behind a proxy names may be unknown here
        return False
    return not all(ipaddress.ip_address(address.partition("%")[0]).is_global for address in found)


def number_of(answer: http.client.HTTPResponse, header: str) -> int | None:
    """Return a header that is a count of bytes; None if it is missing. ValueError if it is something else."""
    text = answer.headers[header]
    if text is None:
        return None
    if not re.fullmatch(r"\d{1,18}", text.strip()):
        raise ValueError(f"{header}: {printable(text, 60)} is no number of bytes")
    return int(text)


def range_of(answer: http.client.HTTPResponse) -> tuple[int, int, int | None]:
    """Return first byte, end (exclusive) and total of an answer's Content-Range; ValueError if it tells none."""
    text = answer.headers["Content-Range"] or ""
    found = re.fullmatch(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", text.strip())
    if not found:
        raise ValueError(f"Content-Range: {printable(text, 60) or 'none'} is no range of bytes")
    return int(found[1]), int(found[2]) + 1, None if found[3] == "*" else int(found[3])


def check_plain(answer: http.client.HTTPResponse) -> None:
    """ValueError if the body is compressed or otherwise not the bytes that were asked for."""
    if (coding := answer.headers.get("Content-Encoding", "identity").strip().lower()) not in ("", "identity"):
        raise ValueError(f"Content-Encoding: {printable(coding, 60)}, which was not asked for")
    if (coding := answer.headers.get("Transfer-Encoding", "chunked").strip().lower()) != "chunked":
        raise ValueError(f"Transfer-Encoding: {printable(coding, 60)}, which was not asked for")
