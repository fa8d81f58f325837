"""Downloads from a real server that can interrupt its response."""

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
    """A file on a server. A response sends at most `most` bytes; `ranges` has the requested ranges."""

    url: str = ""
    content: bytes = CONTENT
    most: int = len(CONTENT)
    ranges: list[str | None] = field(default_factory=list)

    @property
    def etag(self) -> str:
        return f'"{hashlib.sha256(self.content).hexdigest()[:8]}"'


@pytest.fixture
def site() -> Iterator[Site]:
    served = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requested = self.headers.get("Range")
            served.ranges.append(requested)
            resumes = requested is not None and self.headers.get("If-Range") == served.etag
            start = int(requested.removeprefix("bytes=").removesuffix("-")) if requested and resumes else 0
            self.send_response(206 if resumes else 200)
            self.send_header("ETag", served.etag)
            self.send_header("Content-Length", str(len(served.content) - start))
            self.end_headers()
            self.wfile.write(served.content[start : start + served.most])

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served.url = f"http://127.0.0.1:{server.server_port}/aclImdb.tar.gz"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield served
        server.shutdown()
        thread.join()


def test_a_file_is_downloaded_only_once(site: Site, tmp_path: Path) -> None:
    path = download(site.url, SHA256, tmp_path)
    assert path.read_bytes() == CONTENT
    assert path.name == "aclImdb.tar.gz"
    assert download(site.url, SHA256, tmp_path) == path
    assert len(site.ranges) == 1


def test_an_interrupted_download_resumes(site: Site, tmp_path: Path) -> None:
    site.most = 300_000
    for _ in range(2):
        with pytest.raises(PipelineError, match=r"[36]00,000 bytes are kept: run the same command again"):
            download(site.url, SHA256, tmp_path)
    site.most = len(CONTENT)
    assert download(site.url, SHA256, tmp_path).read_bytes() == CONTENT
    assert site.ranges == [None, "bytes=300000-", "bytes=600000-"]


def test_a_changed_file_is_downloaded_from_the_start(site: Site, tmp_path: Path) -> None:
    site.most = 300_000
    with pytest.raises(PipelineError):
        download(site.url, None, tmp_path)
    site.content, site.most = CONTENT[::-1], len(CONTENT)
    assert download(site.url, None, tmp_path).read_bytes() == CONTENT[::-1]


def test_a_file_with_another_hash_is_deleted(site: Site, tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="was deleted"):
        download(site.url, "0" * 64, tmp_path)
    assert download(site.url, SHA256, tmp_path).read_bytes() == CONTENT


def test_an_unreachable_host_is_an_error_with_the_url(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"http://127\.0\.0\.1:1/x.*run the same command again"):
        download("http://127.0.0.1:1/x", None, tmp_path)
