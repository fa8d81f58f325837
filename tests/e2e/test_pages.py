"""What a person sees, in a real browser."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.stack import Stack

CHROMIUM = shutil.which("chromium")
# Else it looks up hosts of its maker at every start.
QUIET = ("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium: apt-get install chromium")


def rendered(url: str, profile: Path) -> tuple[str, list[str]]:
    """The page's elements after its scripts have run, and what they or the browser wrote to its console.

    No name but localhost resolves: nothing is fetched.
    """
    words = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", *QUIET]
    words += [f"--user-data-dir={profile}", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
    words += ["--virtual-time-budget=20000", "--enable-logging=stderr", "--dump-dom", url]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def test_the_api_page_shows_every_endpoint_without_the_internet(stack: Stack, tmp_path: Path) -> None:
    page, console = rendered(stack.url("API_PORT", "/docs"), tmp_path)
    for path in ("/api/reviews", "/api/reviews/{movie_id}", "/api/reviews/{review_id}", "/api/analyze"):
        assert f'data-path="{path}"' in page
    assert console == [], "nothing that the page needs is against its own policy"
