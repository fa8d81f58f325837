"""The sources of labelled reviews, through the command line."""

import csv
import io
import os
import random
import re
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Callable
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from pipelines.core.errors import run_stage
from pipelines.ingest.__main__ import main
from pipelines.ingest.imdb import imdb
from pipelines.ingest.labels import LabelledReview
from tests.project import ROOT

pytestmark = pytest.mark.process  # the command runs `dvc commit`

ARCHIVE = ROOT.parent / "shared" / "imdb" / "aclImdb_train.tar.gz"


def ingest(folder: Path, *words: str, code: int = 0) -> str:
    """Run the command, assert its exit code, and return its output."""
    output = io.StringIO()
    ended: str | int | None = 0
    with chdir(folder), redirect_stdout(output), redirect_stderr(output):
        try:
            run_stage(lambda: main(list(words)))
        except SystemExit as end:
            ended = end.code
            if isinstance(ended, str):  # like Python at the end of a process
                print(ended)
                ended = 1
    assert ended == code, output.getvalue()
    return output.getvalue()


def table(path: Path) -> list[dict[str, str]]:
    csv.field_size_limit(sys.maxsize)
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def reviews(folder: Path) -> list[dict[str, str]]:
    return table(folder / "data" / "reviews.csv")


def quarantine(folder: Path) -> dict[str, str]:
    return {row["found_at"]: row["reason"] for row in table(folder / "results/ingest/quarantine.csv")}


FILES = {
    "aclImdb/train/urls_pos.txt": "http://www.imdb.com/title/tt0453418/usercomments\n" * 2,
    "aclImdb/train/urls_neg.txt": "http://www.imdb.com/title/tt0064354/usercomments\n" * 3,
    "aclImdb/train/pos/0_9.txt": "Warm.<br />Brave.",
    "aclImdb/train/pos/1_2.txt": "In the wrong folder.",
    "aclImdb/train/pos/7_10.txt": "A line without an address.",
    "aclImdb/train/neg/0_1.txt": "Dull.",
    "aclImdb/train/neg/1_1.txt": "Dull.",
    "aclImdb/train/neg/2_3.txt": " ",
    "aclImdb/train/unsup/0_0.txt": "Nobody has labelled it.",
    "aclImdb/README": "No review.",
}


def folder_of(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (tmp_path / "aclImdb/train/neg/9_1.txt").write_bytes(b"caf\xe9")
    return tmp_path / "aclImdb"


def archive_of(tmp_path: Path) -> Path:
    path = tmp_path / "aclImdb.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder_of(tmp_path), "aclImdb")
        for name in ("../../train/pos/99_9.txt", "/train/pos/98_9.txt"):
            member = tarfile.TarInfo(name)
            member.size = len(content := name.encode())
            archive.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo("aclImdb/train/pos/97_9.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return path


@pytest.mark.parametrize("form", [folder_of, archive_of])
def test_imdb_is_read_from_a_folder_or_an_archive(tmp_path: Path, form: Callable[[Path], Path]) -> None:
    output = ingest(tmp_path, "--source", "imdb-archive", str(form(tmp_path)))
    kept = {row["review_id"]: (row["movie_id"], row["text"], row["label"]) for row in reviews(tmp_path)}
    assert kept["train-pos-0_9"] == ("tt0453418", "Warm.<br />Brave.", "1")
    assert kept["train-neg-0_1"] == ("tt0064354", "Dull.", "0")
    assert kept["train-pos-7_10"] == ("unknown", "A line without an address.", "1")
    assert not any("Nobody" in text or "root:" in text for _, text, _ in kept.values())
    reasons = {re.sub(r".*/", "", place): reason for place, reason in quarantine(tmp_path).items()}
    assert reasons.keys() == {"1_2.txt", "train-neg-1_1", "train-neg-2_3", "9_1.txt"}
    assert "2 stars" in reasons["1_2.txt"]
    assert "not UTF-8" in reasons["9_1.txt"]
    assert "1 duplicates, 3 invalid" in output
    assert "dvc add data" in output
    assert {path.name for path in tmp_path.iterdir()} <= {"data", "results", "aclImdb", "aclImdb.tar.gz"}


@pytest.mark.skipif(not ARCHIVE.exists(), reason="needs a copy of the IMDB archive")
def test_the_real_imdb_archive_is_ingested_completely(tmp_path: Path) -> None:
    output = ingest(tmp_path, "--source", "imdb-archive", str(ARCHIVE))
    assert "24,904 reviews from imdb-archive" in output
    assert "96 of 25,000 rows, with reasons: 96 duplicates, 0 invalid" in output
    found = reviews(tmp_path)
    assert abs(Counter(row["label"] for row in found)["1"] - 12_500) < 96
    assert all(re.fullmatch(r"tt\d+", row["movie_id"]) for row in found)


def test_the_number_in_a_file_name_gives_the_line_of_its_movie(tmp_path: Path) -> None:
    (first, *_) = [one for one in imdb(folder_of(tmp_path)) if isinstance(one, LabelledReview)]
    assert (first.review_id, first.movie_id) == ("train-neg-0_1", "tt0064354")


def write_csv(path: Path, *rows: tuple[str, ...]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


def test_the_table_of_kaggle(tmp_path: Path) -> None:
    path = write_csv(
        tmp_path / "IMDB Dataset.csv",
        ("review", "sentiment"),
        ("Warm,\nfunny.", "positive"),
        ("Dull. " * 40_000, "negative"),
        ("Fine.", "neutral"),
    )
    ingest(tmp_path, "--source", "kaggle", str(path))
    assert [(row["label"], row["movie_id"]) for row in reviews(tmp_path)] == [
        ("1", "unknown"),
        ("0", "unknown"),
    ]
    assert "'neutral'" in quarantine(tmp_path)["row-5"]


def test_a_table_with_other_column_names(tmp_path: Path) -> None:
    path = write_csv(
        tmp_path / "ours.csv",
        ("film", "words", "good"),
        ("Heat (1995)", "Great.", "1"),
        ("Alien", "Bad.", "0"),
    )
    columns = ("--text-column", "words", "--label-column", "good", "--movie-column", "film")
    ingest(tmp_path, "--source", "csv", str(path), *columns)
    assert [row["movie_id"] for row in reviews(tmp_path)] == ["Heat-1995", "Alien"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,b\n1,2\n", "no column text or label; its columns are a, b"),
        (b"", "its columns are none"),
        (b"text,label\ncaf\xe9,1\n", "not UTF-8"),
        (b"text,label\nGreat.,1\n", "both labels must occur"),
        (b'text,label\n"Great.,1\n', "line 1: unexpected end"),
    ],
)
def test_an_invalid_table_is_an_error_and_leaves_the_data_unchanged(
    tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "reviews.csv").write_text("unchanged")
    (tmp_path / "bad.csv").write_bytes(content)
    assert message in ingest(tmp_path, "--source", "csv", str(tmp_path / "bad.csv"), code=1)
    assert (tmp_path / "data" / "reviews.csv").read_text() == "unchanged"


@pytest.mark.parametrize("source", ["imdb-archive", "kaggle", "csv"])
def test_a_missing_path_is_named(tmp_path: Path, source: str) -> None:
    assert "nowhere.x" in ingest(tmp_path, "--source", source, "nowhere.x", code=1)


def test_a_truncated_archive_is_an_error(tmp_path: Path) -> None:
    """Otherwise half of the reviews would be ingested as if they were all."""
    path = tmp_path / "aclImdb.tar.gz"
    texts = random.Random(1)
    with tarfile.open(path, "w:gz") as archive:
        for number in range(200):
            content = texts.randbytes(1000).hex().encode()
            member = tarfile.TarInfo(
                f"aclImdb/train/{('neg', 'pos')[number % 2]}/{number}_{1 + 8 * (number % 2)}.txt"
            )
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    ingest(tmp_path, "--source", "imdb-archive", str(path))
    before = (tmp_path / "data" / "reviews.csv").read_bytes()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    output = ingest(tmp_path, "--source", "imdb-archive", str(path), code=1)
    assert "cannot be read as a tar archive" in output
    assert (tmp_path / "data" / "reviews.csv").read_bytes() == before


def test_an_unreachable_hub_is_an_error_with_the_reason(tmp_path: Path) -> None:
    """In a separate process, because the hub's client reads its settings when it is imported."""
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.ingest", "--source", "huggingface", "stanfordnlp/imdb"],
        cwd=tmp_path,
        env=os.environ | offline,
        capture_output=True,
        text=True,
    )
    output = done.stdout + done.stderr
    assert done.returncode == 1, output
    assert "Traceback" not in output
    assert "stanfordnlp/imdb cannot be loaded" in output
    assert "HF_HUB_OFFLINE" in output


def test_a_missing_or_superfluous_argument_is_an_error(tmp_path: Path) -> None:
    assert "imdb-archive PATH|URL" in ingest(tmp_path, "--source", "imdb-archive", code=2)
    assert "takes no argument" in ingest(tmp_path, "somewhere", code=2)
