"""A server on loopback that serves a folder soundly but for one file, whose answers are the raw bytes that a script gives."""

import contextlib
import re
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote


class Asked(NamedTuple):
    """A request: the sound content of the file, and the range that is wanted, if any; `url` is the server's."""

    content: bytes
    start: int
    end: int | None  # exclusive
    url: str
    number: int  # of requests for this file before


Script = Callable[[Asked], Iterator[bytes]]


def sound(asked: Asked) -> Iterator[bytes]:
    """What a good server answers."""
    n = len(asked.content)
    if asked.end is None and asked.start == 0:
        yield f"HTTP/1.1 200 OK\r\nContent-Length: {n}\r\n\r\n".encode() + asked.content
        return
    part = asked.content[asked.start : asked.end]
    told = f"bytes {asked.start}-{asked.start + len(part) - 1}/{n}"
    yield f"HTTP/1.1 206 Part\r\nContent-Length: {len(part)}\r\nContent-Range: {told}\r\n\r\n".encode() + part


class _Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            if not (block := self.request.recv(4096)):
                return
            head += block
        method, target, _ = head.decode().split("\r\n")[0].split(" ")
        name = unquote(target).lstrip("/")
        self.server.asked.append((method, name, head.decode()))
        file = self.server.folder / name
        if method != "GET" or not file.is_file():
            self.request.sendall(b"HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n" if file.is_file() else b"HTTP/1.1 404 No\r\n\r\n")
            return
        found = re.search(r"(?im)^range: bytes=(\d+)-(\d*)", head.decode())
        start, end = (int(found[1]), int(found[2]) + 1 if found[2] else None) if found else (0, None)
        number = sum(one == name for _, one, _ in self.server.asked) - 1
        asked = Asked(file.read_bytes(), start, end, self.server.url, number)
        script = self.server.script if name == self.server.spoilt else sound
        with contextlib.suppress(OSError):
            for block in script(asked):
                self.request.sendall(block)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 50


@contextmanager
def serve(folder: Path, spoilt: str = "", script: Script = sound) -> Iterator[_Server]:
    """Yield the server; `url` is where, `asked` what it was asked for."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.folder, server.spoilt, server.script, server.asked = folder, spoilt, script, []
        server.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()
