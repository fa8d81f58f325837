import itertools
import random
import tarfile
from pathlib import Path

import pytest

from benchmarks.command import BenchmarkError
from benchmarks.serving import texts


@pytest.fixture
def validation(tmp_path: Path) -> Path:
    path = tmp_path / "validation.csv"
    rows = [
        f'r{movie}{number},movie{movie},"snippet {number} of movie{movie}, {"word " * 20}.",1'
        for movie in range(3)
        for number in range(12)
    ]
    path.write_text("\n".join(["review_id,movie_id,text,label", *rows]))
    return path


def test_snippets_are_the_validation_reviews(validation: Path) -> None:
    found = texts.load("snippets", validation, None)
    assert len(found) == len(set(found)) == 36
    assert found == texts.load("snippets", validation, None), "reproducible"


def test_long_texts_are_joined_from_snippets_of_one_movie(validation: Path) -> None:
    found = texts.load("imdb", validation, None)
    assert len(found) == len(set(found)) > 1000
    assert all(sum(f"movie{movie}," in text for movie in range(3)) == 1 for text in found[:100])
    words = sorted(len(text.split()) for text in found)
    assert words[0] >= texts.MIN_WORDS
    assert 150 < words[len(words) // 2] < 200


def test_snippets_of_several_movies_are_joined_if_no_movie_has_enough() -> None:
    assert texts.join_snippets({"a": ["one two"], "b": ["three"]}, random.Random(1))[0] in (
        "one two three",
        "three one two",
    )


def imdb(folder: Path) -> Path:
    for part, name, text in (
        ("test/pos", "1_9.txt", "Great.<br /><br />Really  great."),
        ("test/neg", "2_1.txt", "Bad."),
        ("train/pos", "3_9.txt", "Fine."),
        ("train/unsup", "4_0.txt", "Unlabelled."),
        ("test", "urls.txt", "No review."),
    ):
        (folder / part).mkdir(parents=True, exist_ok=True)
        (folder / part / name).write_text(text)
    return folder


@pytest.mark.parametrize("packed", [False, True])
def test_imdb_is_read_from_its_folder_or_archive(tmp_path: Path, packed: bool) -> None:
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


def test_missing_texts_are_an_error_with_a_solution(tmp_path: Path) -> None:
    (tmp_path / "no.tar.gz").write_text("no archive")
    (tmp_path / "empty.csv").write_text("review_id,movie_id,text,label\n")
    for file in ("missing.csv", "empty.csv", "no.tar.gz"):
        with pytest.raises(BenchmarkError, match="make repro"):
            texts.load("snippets", tmp_path / file, None)
    for path, solution in (
        (tmp_path, "give the folder or archive aclImdb"),
        (tmp_path / "no.tar.gz", "Download it again"),
        (tmp_path / "missing", "give the folder or archive aclImdb"),
    ):
        with pytest.raises(BenchmarkError, match=rf"(?s)^--imdb {path}.*{solution}"):
            texts.load("imdb", tmp_path / "missing.csv", path)


def test_unique_texts_are_the_texts_and_then_permutations_of_their_words() -> None:
    base = ["one two three four five", "a b c d e f"]
    found = list(itertools.islice(texts.unique_texts(base), 20))
    assert found[:2] == base
    assert len(set(found)) == 20
    assert all(sorted(text.split()) in [sorted(one.split()) for one in base] for text in found)


def test_texts_without_further_permutations_are_an_error() -> None:
    with pytest.raises(BenchmarkError, match="too few"):
        list(texts.unique_texts(["one", "two"]))
