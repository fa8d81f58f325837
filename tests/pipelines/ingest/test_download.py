"""Downloads, from a real server that breaks off when it is told to."""

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipelines.core.errors import PipelineError
from pipelines.ingest.download import download

CONTENT = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Site:
    """One file, of which the next answer holds `most` bytes only; what was asked for is kept."""

    url: str = ""
    content: bytes = CONTENT
    most: int = len(CONTENT)
    ranges: list[str | None] = field(default_factory=list)

    @property
    def etag(self) -> str:
        return f'"{hashlib.sha256(self.content).hexdigest()[:8]}"'


@pytest.fixture
def site() -> Iterator[Site]:
    found = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            found.ranges.append(asked)
            goes_on = asked is not None and self.headers.get("If-Range") == found.etag
            start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and goes_on else 0
            self.send_response(206 if goes_on else 200)
            self.send_header("ETag", found.etag)
            self.send_header("Content-Length", str(len(found.content) - start))
            self.end_headers()
            self.wfile.write(found.content[start : start + found.most])

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found.url = f"http://127.0.0.1:{server.server_port}/aclImdb.tar.gz"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield found
        server.shutdown()
        thread.join()


def test_it_is_fetched_once(site: Site, tmp_path: Path) -> None:
    path = download(site.url, SHA256, tmp_path)
    assert path.read_bytes() == CONTENT
    assert path.name == "aclImdb.tar.gz"
    assert download(site.url, SHA256, tmp_path) == path
    assert len(site.ranges) == 1


def test_it_goes_on_where_it_was_broken_off(site: Site, tmp_path: Path) -> None:
    site.most = 300_000
    for _ in range(2):
        with pytest.raises(PipelineError, match=r"[36]00,000 bytes are kept: run the same command again"):
            download(site.url, SHA256, tmp_path)
    site.most = len(CONTENT)
    assert download(site.url, SHA256, tmp_path).read_bytes() == CONTENT
    assert site.ranges == [None, "bytes=300000-", "bytes=600000-"]


def test_another_file_by_now_is_fetched_from_the_start(site: Site, tmp_path: Path) -> None:
    site.most = 300_000
    with pytest.raises(PipelineError):
        download(site.url, None, tmp_path)
    site.content, site.most = CONTENT[::-1], len(CONTENT)
    assert download(site.url, None, tmp_path).read_bytes() == CONTENT[::-1]


def test_a_file_of_another_sha256_is_not_kept(site: Site, tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="was deleted"):
        download(site.url, "0" * 64, tmp_path)
    assert download(site.url, SHA256, tmp_path).read_bytes() == CONTENT


def test_who_does_not_answer_is_named(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"http://127\.0\.0\.1:1/x.*run the same command again"):
        download("http://127.0.0.1:1/x", None, tmp_path)
