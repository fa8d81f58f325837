"""The documentation site, built as `make docs` builds it, and the links of README and docs."""

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.project import ROOT

pytestmark = pytest.mark.process
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
MARKDOWN = ("README.md", "CONTRIBUTING.md")
GENERATED = {
    "settings.md": ("`DATABASE_URL`", "`SENTIMENT_POLL_SECONDS`", "`POSTGRES_PORT`", "`PYTHON_IMAGE`"),
    "params.md": ("`train.learning_rate`", "`evaluate.behaviour.negation`", "trials:"),
    "commands.md": ("python -m pipelines.sweep [-h]", "python -m api.keys create", "python -m deploy.local"),
    "make.md": ("Run every test",),
    "http-api.md": ("`POST /api/analyze/batch`", "### ReviewPublic"),
    "metrics.md": (
        "`api_request_duration_seconds`",
        "`worker_reviews_stored_total`",
        "`sentiment_batch_texts`",
    ),
    "openapi.json": ('"/api/reviews/{movie_id}"',),
}


class Page(HTMLParser):
    """The links and anchors of an HTML page, and the URLs of the resources that it loads."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.loads: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value for name, value in attrs if value}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag in ("img", "script") and "src" in values:
            self.loads.append(values["src"])
        if tag == "link" and values.get("rel") in ("stylesheet", "preconnect", "icon"):
            self.loads.append(values.get("href", ""))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the site, built with warnings as errors."""
    folder = tmp_path_factory.mktemp("docs")
    shutil.copy(ROOT / "mkdocs.yml", folder)
    shutil.copytree(ROOT / "docs", folder / "docs", ignore=shutil.ignore_patterns("__pycache__"))
    reference = folder / "docs" / "reference"
    for name in GENERATED:
        (reference / name).unlink(missing_ok=True)
    for command, where in (
        (["docs.generate", str(reference)], ROOT),
        (["zensical", "build", "--strict"], folder),
    ):
        done = subprocess.run([sys.executable, "-m", *command], cwd=where, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "No issues found" in done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(project: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in (project / "site").rglob("*.html")}


@pytest.mark.parametrize("name", GENERATED)
def test_the_reference_is_generated(project: Path, name: str) -> None:
    text = (project / "docs" / "reference" / name).read_text(encoding="utf-8")
    for expected in GENERATED[name]:
        assert expected in text
    assert str(ROOT) not in text
    assert str(Path.home()) not in text or str(Path.home()) == "/"


def test_every_setting_and_parameter_is_explained(project: Path) -> None:
    for name in ("settings.md", "params.md", "metrics.md"):
        rows = re.findall(r"^\| `.*$", (project / "docs" / "reference" / name).read_text(), re.MULTILINE)
        assert rows
        assert not [row for row in rows if row.endswith("|  |")]


def test_every_page_is_in_the_navigation(project: Path) -> None:
    navigation = (project / "mkdocs.yml").read_text(encoding="utf-8")
    docs = project / "docs"
    missing = [path for path in docs.rglob("*.md") if str(path.relative_to(docs)) not in navigation]
    assert not missing


def test_links_inside_the_site_resolve(project: Path, pages: dict[Path, Page]) -> None:
    site = project / "site"
    broken = []
    for path, page in pages.items():
        for link in page.links + page.loads:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or path.name == "404.html":
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            other = pages.get(target)
            if not target.exists() or (parts.fragment and other and parts.fragment not in other.anchors):
                broken.append(f"{path.relative_to(site)}: {link}")
    assert not broken


def test_a_page_loads_nothing_from_other_hosts(pages: dict[Path, Page]) -> None:
    foreign = {load for page in pages.values() for load in page.loads if urlsplit(load).netloc}
    assert not foreign


@pytest.mark.parametrize("name", MARKDOWN)
def test_links_of_the_readme_resolve(project: Path, pages: dict[Path, Page], name: str) -> None:
    for link in LINK.findall((ROOT / name).read_text(encoding="utf-8")):
        parts = urlsplit(link)
        if parts.scheme:
            continue
        assert (ROOT / parts.path).exists(), link
        if parts.fragment:
            page = project / "site" / Path(parts.path).relative_to("docs").with_suffix(".html")
            assert parts.fragment in pages[page].anchors, link


def test_the_readme_has_at_most_150_lines() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_no_curl_command_uses_json_which_curl_7_81_lacks() -> None:
    pages = [ROOT / name for name in MARKDOWN] + [*(ROOT / "docs").rglob("*.md")]
    with_json = re.compile(r"curl\b[^\n]*--json")
    assert not [path for path in pages if with_json.search(path.read_text(encoding="utf-8"))]
