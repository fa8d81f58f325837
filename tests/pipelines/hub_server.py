"""A server in place of the Hugging Face hub."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer


@contextmanager
def hub() -> Iterator[tuple[str, list[str]]]:
    """Yield the server's URL for HF_ENDPOINT, and the paths that were requested, which it does not find."""
    requested: list[str] = []

    class Refuse(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requested.append(self.path)
            self.send_error(404)

        def do_HEAD(self) -> None:
            self.do_GET()

    with HTTPServer(("127.0.0.1", 0), Refuse) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", requested
        server.shutdown()
