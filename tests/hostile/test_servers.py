"""Servers made to harm or to hold their client: each is one error that names the URL, soon, bounded in memory and disk."""

import gzip
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import plain_release
import pytest
from hostile_server import Asked, Script, serve
from watched import watched

from brainldm.commands import get
from brainldm.core.errors import DataError
from brainldm.formats import places, transfers
from brainldm.formats.places import read_part, read_text

SOON_S = 10.0
TAR = f"shards/{plain_release.SHARD}.tar"
TABLE = "covariates.parquet"
README = "README.md"
LISTED = "checksums.sha256"
OK = b"HTTP/1.1 200 OK\r\n"
PART = b"HTTP/1.1 206 Part\r\n"
SERVERS: dict[str, tuple[str, Script]] = {}


def server(name: str, file: str = README):
    def add(script: Script) -> Script:
        SERVERS[name] = file, script
        return script

    return add


def says(name: str, *blocks: bytes, file: str = README) -> None:
    SERVERS[name] = file, lambda asked: iter(blocks)


def forever(name: str, head: bytes, block: bytes, file: str = README, pause_s: float = 0.0) -> None:
    def script(asked: Asked) -> Iterator[bytes]:
        yield head
        while True:
            yield block
            time.sleep(pause_s)

    SERVERS[name] = file, script


def redirects(name: str, to: str, file: str = README, status: int = 302, tail: bytes = b"") -> None:
    def script(asked: Asked) -> Iterator[bytes]:
        yield f"HTTP/1.1 {status} Found\r\nLocation: {to.format(url=asked.url)}\r\n\r\n".encode() + tail

    SERVERS[name] = file, script


MEGA = bytes(1 << 20)
for file in (README, TABLE, LISTED):
    says(f"short without a length: {file}", OK + b"\r\n" + b"half", file=file)
    says(f"shorter than promised: {file}", OK + b"Content-Length: 5000\r\n\r\nhalf", file=file)
    says(f"2^62 bytes promised: {file}", OK + b"Content-Length: 4611686018427387904\r\n\r\n", file=file)
    forever(f"endless: {file}", OK + b"\r\n", MEGA, file)
    redirects(f"to a file: {file}", "file:///etc/passwd", file)
    says(f"closed at once: {file}", b"", file=file)
forever("endless in chunks", OK + b"Transfer-Encoding: chunked\r\n\r\n", b"100000\r\n" + MEGA + b"\r\n")
forever("endless trailers", OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"A: b\r\n" * 10_000)
forever("endless headers", OK, b"A: b\r\n" * 1000)
forever("a header without end", OK + b"A: ", MEGA)
forever("endless interim answers", b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)
forever("an endless status line", b"HTTP/1.1 200 ", MEGA)
forever("endless lines of a chunk", OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1;" + b"a" * 5000 + b"\r\nx\r\n")
says("a length below zero", OK + b"Content-Length: -5\r\n\r\nabc")
says("a length that is none", OK + b"Content-Length: 1e3\r\n\r\nabc")
says("a length of 5000 digits", OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\nabc")
says("chunks of no number", OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n")
says("chunks of a negative number", OK + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nabc\r\n")
says("a chunk of 2^62", OK + b"Transfer-Encoding: chunked\r\n\r\n4000000000000000\r\nabc")
says("gzip that was not asked for", OK + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(bytes(50_000_000)))
says("another transfer coding", OK + b"Transfer-Encoding: gzip\r\n\r\n" + gzip.compress(bytes(50_000_000)))
says("no HTTP", b"hello there\r\n\r\n" * 100)
says("escapes as a reason", b"HTTP/1.1 404 \x1b[2J\x1b]0;owned\x07\r\n\r\n")
says("status 204", b"HTTP/1.1 204 No\r\n\r\n")
says("status 403", b"HTTP/1.1 403 No\r\n\r\n")
says("status 503", b"HTTP/1.1 503 Later\r\nRetry-After: 100000\r\n\r\n")
says("status 999999", b"HTTP/1.1 999999 No\r\n\r\n")
says("other bytes", OK + b"Content-Length: 5\r\n\r\nother")
says("a part that was not asked for", PART + b"Content-Range: bytes 5-9/10\r\nContent-Length: 5\r\n\r\nother")
redirects("to ftp", "ftp://127.0.0.1/README.md")
redirects("to data", "data:text/plain,hello")
redirects("to nothing", "")
redirects("to a name with a line break", "http://127.0.0.1:1/a\tb")
redirects("to a broken address", "http://[::1/README.md")
redirects("to a port that is none", "http://127.0.0.1:99999999/README.md")
redirects("around", "{url}/README.md")
redirects("around, each with a megabyte", "{url}/README.md", tail=MEGA)
redirects("the list elsewhere", "http://localhost:1/checksums.sha256", LISTED)
redirects("the list elsewhere by 308", "http://127.0.0.2:1/checksums.sha256", LISTED, 308)


def _parts(name: str, head: str, change=lambda part: part) -> None:
    def script(asked: Asked) -> Iterator[bytes]:
        part = asked.content[asked.start : asked.end]
        told = head.format(start=asked.start, last=asked.start + len(part) - 1, n=len(asked.content), start1=asked.start + 1)
        yield PART + told.encode() + b"\r\n\r\n" + change(part)

    SERVERS[name] = TAR, script


_parts("a part without a range", "Content-Type: text/plain")
_parts("another part", "Content-Range: bytes {start1}-{last}/{n}")
_parts("a part of another length", "Content-Range: bytes {start}-{last}/{n}\r\nContent-Length: 7")
_parts("a part that is longer", "Content-Range: bytes {start}-999999/{n}", lambda part: part + MEGA)
_parts("a part in many parts", "Content-Type: multipart/byteranges; boundary=x")
_parts("a part of other units", "Content-Range: lines {start}-{last}/{n}")
_parts("a part with other bytes", "Content-Range: bytes {start}-{last}/{n}", lambda part: bytes(len(part)))
_parts("a part that is short", "Content-Range: bytes {start}-{last}/{n}", lambda part: b"")


@server("the whole in place of a part", TAR)
def _(asked: Asked) -> Iterator[bytes]:
    yield OK + b"Content-Length: %d\r\n\r\n" % len(asked.content) + asked.content


@server("a file that grows with each try")
def _(asked: Asked) -> Iterator[bytes]:
    yield OK + b"Content-Length: %d\r\n\r\n" % (100 + asked.number) + b"a"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plain_release.make(tmp_path_factory.mktemp("served") / "release", "tars")


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfers, "PATIENCE_S", 1.0)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("name", SERVERS)
def test_a_hostile_server_is_one_error(name: str, made: Path, tmp_path: Path) -> None:
    file, script = SERVERS[name]
    with serve(made, file, script) as server:
        outcome = watched(partial(get.main, server.url, tmp_path / "mine", None, None))
    assert outcome.fault == ""
    assert f"{server.url}/{file}" in outcome.error
    assert outcome.error.isprintable()
    assert outcome.cpu_seconds < SOON_S
    assert not (tmp_path / "mine" / file).exists()


@pytest.mark.parametrize(
    ("head", "block", "pause_s"),
    [
        pytest.param(b"", b"", 1.0, id="silent"),
        pytest.param(b"", b"H", 0.1, id="a slow status", marks=pytest.mark.slow),
        pytest.param(OK + b"A: b", b"c", 0.1, id="slow headers", marks=pytest.mark.slow),
        pytest.param(OK + b"Content-Length: 900\r\n\r\n", b"x", 0.1, id="a slow body"),
    ],
)
def test_a_slow_server_is_given_up(head: bytes, block: bytes, pause_s: float, made: Path) -> None:
    """With the patience that users have."""
    forever("slow", head, block, README, pause_s)
    file, script = SERVERS.pop("slow")
    with serve(made, file, script) as server:
        begun = time.monotonic()
        with pytest.raises(DataError, match=r"README\.md: it stops after \d+ bytes"):
            read_text(server.url, README, None)
        assert time.monotonic() - begun < SOON_S


@pytest.mark.parametrize(
    "place",
    ["file:///etc", "ftp://127.0.0.1/a", "http://", "https:///a", "http://a b/", "http://[::1/a", "javascript://a", "http://a\x1b[2J/"],
)
def test_a_place_that_is_none_is_one_error(place: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as found:
        get.main(place, tmp_path / "mine", None, None)
    assert str(found.value).isprintable()
    assert not (tmp_path / "mine").exists()


def test_a_server_without_heads_or_lengths_is_enough(made: Path, tmp_path: Path) -> None:
    def without(asked: Asked) -> Iterator[bytes]:
        yield OK + b"\r\n" + asked.content

    with serve(made, TABLE, without) as server:
        get.main(server.url, tmp_path / "mine", None, None)
        assert {method for method, _, _ in server.asked} == {"GET"}
        assert all("accept-encoding: identity" in head.lower() for _, _, head in server.asked)


def test_a_redirect_elsewhere_is_followed_where_a_hash_confirms(made: Path, tmp_path: Path) -> None:
    with serve(made) as elsewhere:

        def away(asked: Asked) -> Iterator[bytes]:
            yield f"HTTP/1.1 307 Away\r\nLocation: {elsewhere.url}/{TAR}\r\n\r\n".encode()

        with serve(made, TAR, away) as server:
            get.main(server.url, tmp_path / "mine", None, 2)
            assert len(elsewhere.asked) == 2
            with pytest.raises(DataError, match=r"another origin, and no hash confirms"):
                read_part(server.url, TAR, 0, 10, confirmed=False)


def test_a_redirect_to_a_private_network_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from brainldm.formats import guarded_http

    for target in ("http://127.0.0.1/a", "http://10.0.0.1/a", "http://169.254.169.254/latest", "http://[::1]/a", "http://localhost/a"):
        with pytest.raises(DataError, match="private network"):
            guarded_http._next("http://8.8.8.8/a", "http://8.8.8.8/a", target, True)
    with pytest.raises(DataError, match="not encrypted"):
        guarded_http._next("https://8.8.8.8/a", "https://8.8.8.8/a", "http://8.8.8.8/a", True)
    assert guarded_http._next("http://8.8.8.8/a", "http://8.8.8.8/a", "https://8.8.8.8/a", False) == "https://8.8.8.8/a"


def test_a_connection_that_breaks_is_resumed_and_a_changed_file_begun_anew(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytes(range(256)) * 40
    told: list[int] = []

    def breaking(asked: Asked) -> Iterator[bytes]:
        told.append(asked.start)
        whole = content if asked.number < 2 else content[::-1]
        version = b'ETag: "old"\r\n' if asked.number < 2 else b'ETag: "new"\r\n'
        if asked.start and asked.number < 2:
            span = f"Content-Range: bytes {asked.start}-{len(whole) - 1}/{len(whole)}\r\n".encode()
            yield PART + span + version + b"\r\n" + whole[asked.start : asked.start + 2000]
        else:
            yield OK + b"Content-Length: %d\r\n" % len(whole) + version + b"\r\n" + whole[: 2000 if asked.number < 2 else None]

    monkeypatch.setattr(transfers.time, "sleep", lambda seconds: None)
    with serve(made, README, breaking) as server:
        assert places.read_text(server.url, README, None) == content[::-1]
        assert told == [0, 2000, 4000]
        assert 'if-range: "old"' in server.asked[1][2].lower()


def test_there_are_enough_of_them() -> None:
    assert len(SERVERS) >= 50
