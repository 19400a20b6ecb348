"""Bytes of a URL, all of them or a range, written to a file: bounded, resumed where a connection breaks, begun anew if they changed."""

import http.client
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from brainldm.core.errors import DataError
from brainldm.core.printable import printable
from brainldm.formats.guarded_http import BLOCK, FAULTS, Guard, TooMuchError, check_plain, number_of, range_of, request

PATIENCE_S = 6.0  # without progress
MOST_UNTOLD = 64 << 20  # bytes of a body whose length the server does not tell
TRIES = 5  # that bring nothing, one after the other
_AGAIN = (408, 429, 500, 502, 503, 504)


@dataclass
class Transfer:
    """What is asked for: `n_bytes` of `url` from `start` on, or all that follows; never more than `most`."""

    url: str
    most: int
    confirmed: bool = False  # a hash tells whether the right bytes came
    start: int = 0
    n_bytes: int | None = None
    patience_s: float | None = None  # PATIENCE_S where none is given
    wait_s: float = 0.5  # between tries
    seen: Callable[[int, int | None], None] | None = None  # told how many bytes are there, and of how many
    version: str = ""  # ETag or date of the file, as the first answer says
    total: int | None = None  # size of the file

    @property
    def whole(self) -> bool:
        """Return True if all of the file is asked for."""
        return self.start == 0 and self.n_bytes is None


def transfer(asked: Transfer, sink: BinaryIO) -> None:
    """Write what is asked for to `sink`, behind what it holds of it already; DataError, naming the URL, if it does not come."""
    guard = Guard(PATIENCE_S if asked.patience_s is None else asked.patience_s)
    failed = 0
    while True:
        before = sink.seek(0, 2)
        try:
            if _once(asked, sink, guard):
                return
            fault = "the connection ends early"
        except (_RefusedError, TooMuchError) as error:
            raise DataError(f"Cannot read {printable(asked.url)}: {error}.") from None
        except FAULTS as error:
            fault = printable(error) or type(error).__name__
        failed = 0 if sink.seek(0, 2) > before else failed + 1
        if failed >= TRIES or guard.is_spent():
            raise DataError(
                f"Cannot read {printable(asked.url)}: it stops after {sink.tell()} bytes ({fault}). Run the same command again later."
            )
        logging.warning("%s: %s after %d bytes; asking for the rest", asked.url, fault, sink.tell())
        time.sleep(min(asked.wait_s, guard.seconds_left()))


class _RefusedError(Exception):
    """An answer that another try will not mend."""


def _once(asked: Transfer, sink: BinaryIO, guard: Guard) -> bool:
    """Make one request for what is missing; returns True if everything is there then."""
    have = sink.seek(0, 2)
    if have == asked.n_bytes:
        return True
    first = asked.start + have
    room = (asked.most if asked.n_bytes is None else asked.n_bytes) - have
    with request(asked.url, _headers(asked, first), guard, max(room, 0), asked.confirmed) as answer:
        if answer.status == 416 and have and asked.whole:  # there is no more: a hash tells whether it is right
            return True
        if answer.status in _AGAIN:
            raise OSError(f"status {answer.status}")
        if answer.status not in (200, 206):
            raise _RefusedError(f"the server answers with status {answer.status} {printable(answer.reason, 60)}".strip())
        check_plain(answer)
        end = _accepted(asked, answer, first, sink)
        return _copied(asked, answer, end, sink)


def _headers(asked: Transfer, first: int) -> dict[str, str]:
    if asked.n_bytes is not None:
        return {"Range": f"bytes={first}-{asked.start + asked.n_bytes - 1}"}
    if first == 0:
        return {}
    return {"Range": f"bytes={first}-", **({"If-Range": asked.version} if asked.version else {})}


def _accepted(asked: Transfer, answer: http.client.HTTPResponse, first: int, sink: BinaryIO) -> int | None:
    """Return where in the file the answer's body ends, None if it does not say; empties `sink` where it begins anew."""
    length = number_of(answer, "Content-Length")
    if answer.status == 200:
        if not asked.whole and not (first == 0 and length == asked.n_bytes):
            raise _RefusedError("its server gives no parts of files (status 206). Download the whole release, or use another copy")
        if length is not None and length > asked.most:
            raise _RefusedError(f"it has {length} bytes, and at most {asked.most} are read")
        sink.seek(0)
        sink.truncate()
        _remember(asked, answer, length, sink)
        return length
    begin, end, total = range_of(answer)
    wanted = asked.most if asked.n_bytes is None else asked.start + asked.n_bytes
    if begin != first or end <= begin or end > wanted or (length is not None and length != end - begin):
        raise _RefusedError(f"asked for the bytes from {first} on, its server gives those from {begin} to {end}")
    _remember(asked, answer, total, sink)
    return end


def _remember(asked: Transfer, answer: http.client.HTTPResponse, total: int | None, sink: BinaryIO) -> None:
    """Keep size and version of the file; if another size is told than before, what has come of it is no part of it."""
    if asked.total is not None and total is not None and total != asked.total:
        sink.seek(0)
        sink.truncate()
        asked.total = None
        raise OSError("the file changes while it is read")
    asked.total = asked.total if total is None else total
    tag = answer.headers["ETag"] or ""
    version = tag if tag.startswith('"') else answer.headers["Last-Modified"] or ""
    asked.version = version if version.isprintable() and len(version) < 200 else ""


def _copied(asked: Transfer, answer: http.client.HTTPResponse, end: int | None, sink: BinaryIO) -> bool:
    most = asked.most if asked.n_bytes is None else asked.n_bytes
    have = sink.seek(0, 2)
    stop = min(most, MOST_UNTOLD) if end is None else min(most, end - asked.start)
    while block := answer.read(min(BLOCK, stop - have + 1)):
        have += len(block)
        if have > stop:
            raise _RefusedError(f"it has more than {stop} bytes, which are all that was promised or is read")
        sink.write(block)
        if asked.seen:
            asked.seen(have, asked.total)
    if asked.n_bytes is not None:
        return have == asked.n_bytes
    known = asked.total if asked.total is not None else end
    return known is None or have == known
