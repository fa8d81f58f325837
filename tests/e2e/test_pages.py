"""Pages rendered by a real browser."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.stack import Stack

CHROMIUM = shutil.which("chromium")
# Otherwise Chromium contacts its vendor at every start.
QUIET = ("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium: apt-get install chromium")


def rendered(url: str, profile: Path) -> tuple[str, list[str]]:
    """Return the DOM after the scripts have run, and the lines of the console.

    Only localhost resolves, so nothing is fetched from the internet.
    """
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", *QUIET]
    command += [f"--user-data-dir={profile}", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
    command += ["--virtual-time-budget=20000", "--enable-logging=stderr", "--dump-dom", url]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def test_the_api_docs_render_without_internet_access(stack: Stack, tmp_path: Path) -> None:
    page, console = rendered(stack.url("API_PORT", "/docs"), tmp_path)
    for path in ("/api/reviews", "/api/reviews/{movie_id}", "/api/reviews/{review_id}", "/api/analyze"):
        assert f'data-path="{path}"' in page
    assert console == [], "the page does not violate its own Content-Security-Policy"
