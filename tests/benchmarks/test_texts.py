import itertools
import random
import tarfile
from pathlib import Path

import pytest

from benchmarks.serving import texts
from benchmarks.serving.errors import BenchmarkError


@pytest.fixture
def validation(tmp_path: Path) -> Path:
    path = tmp_path / "validation.csv"
    rows = [
        f'r{film}{number},film{film},"snippet {number} of film{film}, {"word " * 20}.",1'
        for film in range(3)
        for number in range(12)
    ]
    path.write_text("\n".join(["review_id,movie_id,text,label", *rows]))
    return path


def test_snippets_are_the_validation_reviews(validation: Path) -> None:
    found = texts.load("snippets", validation, None)
    assert len(found) == len(set(found)) == 36
    assert found == texts.load("snippets", validation, None), "the same for every run"


def test_long_texts_are_joined_from_one_film_each(validation: Path) -> None:
    found = texts.load("imdb", validation, None)
    assert len(found) == len(set(found)) > 1000
    assert all(sum(f"film{film}," in text for film in range(3)) == 1 for text in found[:100])
    words = sorted(len(text.split()) for text in found)
    assert words[0] >= texts.WORDS_LEAST
    assert 150 < words[len(words) // 2] < 200


def test_films_too_short_are_mixed() -> None:
    assert texts.joined({"a": ["one two"], "b": ["three"]}, random.Random(1))[0] in (
        "one two three",
        "three one two",
    )


def imdb(folder: Path) -> Path:
    for part, name, text in (
        ("test/pos", "1_9.txt", "Great.<br /><br />Really  great."),
        ("test/neg", "2_1.txt", "Bad."),
        ("train/pos", "3_9.txt", "Fine."),
        ("train/unsup", "4_0.txt", "Not for us."),
        ("test", "urls.txt", "No review."),
    ):
        (folder / part).mkdir(parents=True, exist_ok=True)
        (folder / part / name).write_text(text)
    return folder


@pytest.mark.parametrize("packed", [False, True])
def test_reads_imdb(tmp_path: Path, packed: bool) -> None:
    path = imdb(tmp_path / "aclImdb")
    if packed:
        with tarfile.open(tmp_path / "aclImdb_v1.tar.gz", "w:gz") as archive:
            archive.add(path, "aclImdb")
        path = tmp_path / "aclImdb_v1.tar.gz"
    assert sorted(texts.load("imdb", tmp_path / "missing.csv", path)) == [
        "Bad.",
        "Fine.",
        "Great. Really great.",
    ]


def test_missing_texts_say_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "no.tar.gz").write_text("no archive")
    (tmp_path / "empty.csv").write_text("review_id,movie_id,text,label\n")
    for file in ("missing.csv", "empty.csv", "no.tar.gz"):
        with pytest.raises(BenchmarkError, match="make repro"):
            texts.load("snippets", tmp_path / file, None)
    for path, way_out in (
        (tmp_path, "name aclImdb or its archive"),
        (tmp_path / "no.tar.gz", "Fetch it again"),
        (tmp_path / "missing", "name the folder aclImdb or its archive"),
    ):
        with pytest.raises(BenchmarkError, match=rf"(?s)^--imdb {path}.*{way_out}"):
            texts.load("imdb", tmp_path / "missing.csv", path)


def test_endless_never_repeats_and_keeps_the_length() -> None:
    base = ["one two three four five", "a b c d e f"]
    found = list(itertools.islice(texts.endless(base), 20))
    assert found[:2] == base
    assert len(set(found)) == 20
    assert all(sorted(text.split()) in [sorted(one.split()) for one in base] for text in found)


def test_endless_ends_when_nothing_new_can_be_made() -> None:
    with pytest.raises(BenchmarkError, match="too few"):
        list(texts.endless(["one", "two"]))
