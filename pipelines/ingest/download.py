"""Files from the web: into the user's cache, going on where an earlier try ended."""

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
    """The path of the file, which is there already, or is downloaded. `expected` is its sha256, in hex.

    Raises PipelineError when it cannot be had whole, or is another file; what came so far is kept for the
    next try, unless it is another file.
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
                f" {had:,} bytes are kept: run this again to go on."
            ) from None
        part.replace(whole)
    if expected and (found := sha256(whole)) != expected.lower():
        whole.unlink()
        raise PipelineError(f"{url} has sha256 {found}, and {expected} was asked for: it has been deleted")
    return whole


def receive(url: str, part: Path, tag: Path) -> None:
    """Add what is missing to `part`; from the start when the server cannot go on, or has another file."""
    had = part.stat().st_size if part.exists() and tag.exists() else 0
    headers = {"Range": f"bytes={had}-", "If-Range": tag.read_text()} if had else {}
    with httpx.stream("GET", url, headers=headers, follow_redirects=True, timeout=TIMEOUT) as answer:
        if answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # all of it was there
        answer.raise_for_status()
        goes_on = answer.status_code == httpx.codes.PARTIAL_CONTENT
        had = had if goes_on else 0
        if etag := answer.headers.get("ETag"):
            tag.write_text(etag)
        size = had + int(answer.headers.get("Content-Length", 0))
        with (
            part.open("ab" if goes_on else "wb") as file,
            tqdm(total=size or None, initial=had, unit="B", unit_scale=True, disable=None) as bar,
        ):
            for piece in answer.iter_raw():
                file.write(piece)
                bar.update(len(piece))
