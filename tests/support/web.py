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
        content, asked = path.read_bytes(), re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        gives_part = asked and self.server.gives_parts
        part = content[int(asked[1]) : int(asked[2]) + 1] if gives_part else content
        self.send_response(206 if gives_part else 200)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)
        self.server.n_sent += len(part)

    def log_message(self, *words):
        """Nothing."""


@contextmanager
def serve(folder: Path, gives_parts: bool = True):
    """Yields (URL, server)."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder)) as server:
        server.n_sent, server.gives_parts = 0, gives_parts
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", server
        server.shutdown()
