"""A web server on loopback that gives parts of files, as nginx does and `http.server` does not, and counts the bytes it sends."""

import functools
import http.server
import re
import threading
from contextlib import contextmanager
from pathlib import Path


class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        content, asked = path.read_bytes(), re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        gives_part = asked and self.server.gives_parts
        part = content[int(asked[1]) : int(asked[2] or len(content)) + 1] if gives_part else content
        if gives_part and not part:
            self.send_error(416)
            return
        self.send_response(206 if gives_part else 200)
        self.send_header("Content-Length", str(len(part)))
        if gives_part:
            self.send_header("Content-Range", f"bytes {asked[1]}-{int(asked[1]) + len(part) - 1}/{len(content)}")
        self.end_headers()
        part = part[: self.server.breaks_after]
        self.wfile.write(part)
        self.server.n_sent += len(part)
        self.server.n_requests += 1

    def log_message(self, *words):
        """Nothing."""


@contextmanager
def serve(folder: Path, gives_parts: bool = True, breaks_after: int | None = None):
    """Yields (URL, server); every answer ends after `breaks_after` bytes, whatever it has promised."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder)) as server:
        server.n_sent, server.n_requests, server.gives_parts, server.breaks_after = 0, 0, gives_parts, breaks_after
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", server
        server.shutdown()
