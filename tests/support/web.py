"""A web server on loopback that gives parts of files, as nginx does and `http.server` does not, and counts the bytes it sends."""

import functools
import http.server
import re
import threading
from contextlib import contextmanager
from pathlib import Path

WAIT_S = 60


class Server(http.server.ThreadingHTTPServer):
    """Counts requests and bytes before they are sent, so that who has received an answer finds it counted."""

    def __init__(self, folder: Path, gives_parts: bool, breaks_after: int | None, waits_after: int | None):
        super().__init__(("127.0.0.1", 0), functools.partial(Handler, directory=folder))
        self.gives_parts = gives_parts
        self.breaks_after = breaks_after
        self.waits_after = waits_after
        self.n_sent = 0
        self.n_requests = 0
        self.n_refused = 0
        self.goes_on = threading.Event()
        self.counting = threading.Lock()

    def count(self, n_bytes: int) -> None:
        """Count one more request, and the bytes of its answer."""
        with self.counting:
            self.n_sent += n_bytes
            self.n_requests += 1


class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        if self.server.waits_after is not None and self.server.n_requests >= self.server.waits_after:
            self.server.goes_on.wait(WAIT_S)
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.refuse(404)
            return
        content = path.read_bytes()
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        gives_part = asked and self.server.gives_parts
        part = content[int(asked[1]) : int(asked[2] or len(content)) + 1] if gives_part else content
        if gives_part and not part:
            self.refuse(416)
            return
        sent = part[: self.server.breaks_after]
        self.server.count(len(sent))
        self.send_response(206 if gives_part else 200)
        self.send_header("Content-Length", str(len(part)))
        if gives_part:
            self.send_header("Content-Range", f"bytes {asked[1]}-{int(asked[1]) + len(part) - 1}/{len(content)}")
        self.end_headers()
        self.wfile.write(sent)

    def refuse(self, status: int) -> None:
        with self.server.counting:
            self.server.n_refused += 1
        self.send_error(status)

    def log_message(self, *words):
        """Nothing."""


@contextmanager
def serve(folder: Path, gives_parts: bool = True, breaks_after: int | None = None, waits_after: int | None = None):
    """Yields (URL, server); every answer ends after `breaks_after` bytes, whatever it has promised.

    After `waits_after` answers the server answers nothing until `server.goes_on` is set.
    """
    with Server(folder, gives_parts, breaks_after, waits_after) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", server
        finally:
            server.goes_on.set()
            server.shutdown()
            thread.join(WAIT_S)
