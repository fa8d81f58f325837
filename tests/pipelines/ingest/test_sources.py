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
from pipelines.prepare.cleaning import read_reviews
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
    output = ingest(tmp_path, "--source", "imdb-archive", str(form(tmp_path)), "--max-refused", "0.5")
    kept = {row["review_id"]: (row["movie_id"], row["text"], row["label"]) for row in reviews(tmp_path)}
    assert kept["train-pos-0_9"] == ("tt0453418", "Warm.<br />Brave.", "1")
    assert kept["train-neg-0_1"] == ("tt0064354", "Dull.", "0")
    assert kept["train-pos-7_10"] == ("unknown", "A line without an address.", "1")
    assert not any("Nobody" in text or "root:" in text for _, text, _ in kept.values())
    reasons = {re.sub(r".*/", "", place): reason for place, reason in quarantine(tmp_path).items()}
    assert reasons.keys() == {"1_2.txt", "train-neg-1_1", "train-neg-2_3", "9_1.txt"}
    assert "2 stars" in reasons["1_2.txt"]
    assert "not UTF-8" in reasons["9_1.txt"]
    assert "1 duplicates, 3 refused" in output
    assert "dvc add data" in output
    assert {path.name for path in tmp_path.iterdir()} <= {"data", "results", "aclImdb", "aclImdb.tar.gz"}


@pytest.mark.skipif(not ARCHIVE.exists(), reason="needs a copy of the IMDB archive")
def test_the_real_imdb_archive_is_ingested_completely(tmp_path: Path) -> None:
    output = ingest(tmp_path, "--source", "imdb-archive", str(ARCHIVE))
    assert "24,904 reviews from imdb-archive" in output
    assert "96 of 25,000 rows, with reasons: 96 duplicates, 0 refused" in output
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
    ingest(tmp_path, "--source", "kaggle", str(path), "--max-refused", "0.4")
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


def stars_csv(path: Path) -> Path:
    """100 reviews, a fifth for each number of stars from 0 to 4."""
    return write_csv(
        path, ("text", "label"), *((f"Review {number}.", f"{number % 5}.0") for number in range(100))
    )


def kept_labels(folder: Path) -> dict[str, str]:
    return {row["text"]: row["label"] for row in reviews(folder)}


def test_stars_are_no_labels_until_their_meaning_is_given(tmp_path: Path) -> None:
    """0 and 1 star would otherwise be read as negative and positive, even if few reviews had more."""
    command = ("--source", "csv", str(stars_csv(tmp_path / "stars.csv")))
    output = ingest(tmp_path, *command, "--max-refused", "0.9", code=1)
    assert "the labels found, with their rows, are '0' (20), '1' (20), '2' (20)" in output
    assert "--positive 4,5 --negative 1,2" in output
    assert not (tmp_path / "data").exists()

    meaning = ("--positive", "3, 4", "--negative", "0,1")
    output = ingest(tmp_path, *command, *meaning, code=1)
    assert "neither --positive nor --negative has '2'" in output
    assert "--max-refused 0.2." in output

    ingest(tmp_path, *command, *meaning, "--max-refused", "0.2")
    kept = kept_labels(tmp_path)
    assert len(kept) == 80
    assert [kept.get(f"Review {stars}.") for stars in range(5)] == ["0", "0", None, "1", "1"]


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        (("good", "bad"), "'bad' (2), 'good' (2)"),
        (("1", "2"), "'1' (2), '2' (2)"),
        (("-1", "0", "1"), "'-1' (2)"),
        (("positive", "neutral", "negative"), "'neutral' (1)"),
        (tuple(f"An opinion. {number}" for number in range(13)), "and 3 others"),
    ],
)
def test_labels_without_a_known_meaning_are_an_error_that_names_them(
    tmp_path: Path, labels: tuple[str, ...], found: str
) -> None:
    rows = ((f"Review {number}.", labels[number % len(labels)]) for number in range(max(4, len(labels))))
    path = write_csv(tmp_path / "ours.csv", ("text", "label"), *rows)
    output = ingest(tmp_path, "--source", "csv", str(path), code=1)
    assert found in output
    assert "--positive" in output
    assert "--label-column" in output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--positive", "4,5"), "given together"),
        (("--positive", "Good,1", "--negative", "bad,1.0"), "both have 1"),
        (("--positive", ",", "--negative", "bad"), "one or more labels"),
        (("--max-refused", "5"), "no share between 0 and 1"),
    ],
)
def test_a_contradictory_meaning_of_labels_is_refused(
    tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    assert message in ingest(tmp_path, "--source", "csv", "ours.csv", *options, code=2)


def test_the_meaning_of_the_labels_of_a_known_source_cannot_be_changed(tmp_path: Path) -> None:
    assert "are for the sources csv" in ingest(
        tmp_path, "--positive", "rotten", "--negative", "fresh", code=2
    )


def test_more_than_one_percent_of_refused_rows_is_an_error_until_allowed(tmp_path: Path) -> None:
    rows = [(f"Review {number}.", "pos" if number % 2 else "neg") for number in range(296)]
    path = write_csv(tmp_path / "ours.csv", ("text", "label"), *rows, ("", "pos"), ("Unlabelled.", ""))
    ingest(tmp_path, "--source", "csv", str(path))
    before = kept_labels(tmp_path)

    write_csv(path, ("text", "label"), *rows, ("", "pos"), ("Unlabelled.", ""), (" ", "neg"), ("Or?", "?"))
    output = ingest(tmp_path, "--source", "csv", str(path), code=1)
    assert (
        "4 of 300 rows (1.3%) were refused, and --max-refused allows 0.01: the text is empty (2);" in output
    )
    assert "the label is missing (1)" in output
    assert "results/ingest/quarantine.csv" in output
    assert kept_labels(tmp_path) == before
    assert len(quarantine(tmp_path)) == 4

    assert "--max-refused 0.02." in output
    assert "4 refused" in ingest(tmp_path, "--source", "csv", str(path), "--max-refused", "0.02")


@pytest.mark.parametrize(
    ("names", "options"),
    [
        (["pos", "neg"], ()),
        (["5 stars", "1 star"], ("--positive", "5 Stars", "--negative", "1 star")),
    ],
)
def test_the_labels_of_a_hub_dataset_are_read_by_name(
    tmp_path: Path, names: list[str], options: tuple[str, ...]
) -> None:
    """0 is positive here. A folder is read as a dataset of the hub is; -1 is the hub's missing label."""
    from datasets import ClassLabel, Dataset, Features, Value  # slow to import

    (tmp_path / "hub").mkdir()
    table = {"text": ["Great.", "Dull.", "Unlabelled."], "label": [0, 1, -1]}
    features = Features({"text": Value("string"), "label": ClassLabel(names=names)})
    Dataset.from_dict(table, features).to_parquet(tmp_path / "hub" / "train.parquet")
    ingest(tmp_path, "--source", "huggingface", str(tmp_path / "hub"), *options, "--max-refused", "0.4")
    assert kept_labels(tmp_path) == {"Great.": "1", "Dull.": "0"}
    assert quarantine(tmp_path) == {"train-2": "the label is missing"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,b\n1,2\n", "no column text or label; its columns are a, b"),
        (b"", "its columns are none"),
        (b"text,label\ncaf\xe9,1\n", "not UTF-8"),
        (b"text,label\nGreat.,1\n", "both labels must occur"),
        (b'text,label\n"Great.,1\n', "begins on line 2: unexpected end"),
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


def csv_bytes(path: Path, content: bytes) -> tuple[str, ...]:
    """Write the file and return the command's words that ingest it, whatever the share of refused rows."""
    path.write_bytes(content)
    return "--source", "csv", str(path), "--max-refused", "1"


def test_a_row_with_more_fields_than_the_header_is_refused(tmp_path: Path) -> None:
    """The text of the second row was cut at its comma, and `but dull` was taken for the label's column."""
    content = b"label,text\n1,Great.\n0,Long, but dull, I fear.\n0,Dull.\n"
    ingest(tmp_path, *csv_bytes(tmp_path / "ours.csv", content))
    assert kept_labels(tmp_path) == {"Great.": "1", "Dull.": "0"}
    assert quarantine(tmp_path) == {"row-3": "4 fields, but the header has 2: quote a text with commas"}
    (refused,) = table(tmp_path / "results/ingest/quarantine.csv")
    assert refused["text"] == "0,Long, but dull, I fear."


def test_a_column_that_is_there_twice_is_an_error_only_if_it_is_read(tmp_path: Path) -> None:
    words = csv_bytes(tmp_path / "ours.csv", b"text,note,label,note,label\nGreat.,a,1,b,0\nDull.,c,0,d,1\n")
    output = ingest(tmp_path, *words, code=1)
    assert "more than one column label; its columns are text, note, label, note, label" in output
    words = csv_bytes(tmp_path / "ours.csv", b"text,note,label,note\nGreat.,a,1,b\nDull.,c,0,d\n")
    ingest(tmp_path, *words)
    assert kept_labels(tmp_path) == {"Great.": "1", "Dull.": "0"}


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        (b'text,label\n"Warm.\rBrave.",1\nDull.\rLong.,0\n', ["Warm. Brave.", "Dull. Long."]),
        (b'text,label\r\n"Warm.\r\nBrave.",1\r\nDull.\rLong.,0\r\n', ["Warm.\nBrave.", "Dull. Long."]),
        (b'text,label\r"Warm.\rBrave.",1\rDull.,0\r', ["Warm.\nBrave.", "Dull."]),
    ],
    ids=["lf", "crlf", "cr"],
)
def test_a_carriage_return_in_a_text_ends_no_row(tmp_path: Path, content: bytes, texts: list[str]) -> None:
    """`prepare` reads the data with pandas, for which a CR without quotes ends a row."""
    ingest(tmp_path, *csv_bytes(tmp_path / "ours.csv", content))
    assert read_reviews(tmp_path / "data" / "reviews.csv")["text"].tolist() == texts


def test_a_carriage_return_of_another_source_becomes_a_line_break(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    (folder / "train/pos/0_9.txt").write_bytes(b"Warm.\rBrave.\r\nLong.")
    ingest(tmp_path, "--source", "imdb-archive", str(folder), "--max-refused", "0.5")
    assert "Warm.\nBrave.\nLong." in read_reviews(tmp_path / "data" / "reviews.csv")["text"].tolist()


def test_a_text_with_both_labels_is_refused_altogether(tmp_path: Path) -> None:
    content = b"text,label\nMixed.,1\nGreat.,1\nMixed.,1\nGreat.,1\nMixed.,0\nDull.,0\n"
    output = ingest(tmp_path, *csv_bytes(tmp_path / "ours.csv", content))
    assert kept_labels(tmp_path) == {"Great.": "1", "Dull.": "0"}
    both, twice = "the same text has both labels", "the same text as an earlier review"
    assert quarantine(tmp_path) == {"row-2": both, "row-4": both, "row-5": twice, "row-6": both}
    assert "4 of 6 rows, with reasons: 1 duplicates, 3 refused" in output


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
