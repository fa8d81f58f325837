"""Downloads into the user's cache, with resumption of partial downloads."""

import hashlib
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from platformdirs import user_cache_path
from tqdm import tqdm

from pipelines.core.errors import PipelineError
from pipelines.core.wheels import sha256

TIMEOUT = 60.0


def download(url: str, expected: str | None = None, cache: Path | None = None) -> Path:
    """Return the path of the cached file, downloading it if missing. `expected` is its sha256 as hex digits.

    Raises PipelineError if the download fails, keeping the partial file for the next attempt, or if the
    sha256 differs, deleting the file.
    """
    cache = cache or user_cache_path("movie-review-service")
    folder = cache / hashlib.sha256(url.encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    whole = folder / (Path(urlsplit(url).path).name or "download")
    if not whole.exists():
        part, tag = whole.with_name(f"{whole.name}.part"), whole.with_name(f"{whole.name}.etag")
        try:
            receive(url, part, tag)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            had = part.stat().st_size if part.exists() else 0
            raise PipelineError(
                f"could not download {url}: {error or type(error).__name__}."
                f" {had:,} bytes are kept: run the same command again to resume."
            ) from None
        part.replace(whole)
    if expected and (found := sha256(whole)) != expected.lower():
        whole.unlink()
        raise PipelineError(f"{url} has sha256 {found}, expected {expected}: the file was deleted")
    return whole


def receive(url: str, part: Path, tag: Path) -> None:
    """Append the missing bytes to `part`; start over if the server cannot resume or the file has changed."""
    had = part.stat().st_size if part.exists() and tag.exists() else 0
    headers = {"Range": f"bytes={had}-", "If-Range": tag.read_text()} if had else {}
    with httpx.stream("GET", url, headers=headers, follow_redirects=True, timeout=TIMEOUT) as answer:
        if answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # the partial file is already complete
        answer.raise_for_status()
        resumes = answer.status_code == httpx.codes.PARTIAL_CONTENT
        had = had if resumes else 0
        if etag := answer.headers.get("ETag"):
            tag.write_text(etag)
        size = had + int(answer.headers.get("Content-Length", 0))
        with (
            part.open("ab" if resumes else "wb") as file,
            tqdm(total=size or None, initial=had, unit="B", unit_scale=True, disable=None) as bar,
        ):
            for chunk in answer.iter_raw():
                file.write(chunk)
                bar.update(len(chunk))
