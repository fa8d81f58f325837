"""The texts that every contender gets: two kinds, never one twice.

`snippets` are the validation reviews as they are, 25 tokens long. `imdb` are reviews of IMDB's lengths: real
ones where the user names a copy of aclImdb, else snippets of one film joined until they are as long.
"""

import csv
import itertools
import random
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from benchmarks.serving.errors import BenchmarkError
from pipelines.core.errors import PipelineError
from pipelines.ingest.imdb import imdb
from pipelines.ingest.labels import LabelledReview

SEED = 3
KINDS = ("imdb", "snippets")

JOINED = 4000
"""Long texts joined from snippets, before any is varied."""

WORDS_MEDIAN, WORDS_SPREAD, WORDS_LEAST = 175, 0.6, 40
"""IMDB's lengths are about log-normal: half have 175 words or fewer, the mean is 210, few have 1,000."""


def load(kind: str, validation: Path, imdb: Path | None) -> list[str]:
    """The distinct texts of a kind, in a fixed random order. Raises BenchmarkError."""
    order = random.Random(SEED)
    if kind == "imdb" and imdb is not None:
        texts = sorted(read_imdb(imdb))
    else:
        films = read_films(validation)
        texts = joined(films, order) if kind == "imdb" else sorted(itertools.chain(*films.values()))
    order.shuffle(texts)
    return list(dict.fromkeys(texts))


def read_films(validation: Path) -> dict[str, list[str]]:
    """The validation reviews of each film, or BenchmarkError when there are none."""
    try:
        with validation.open(newline="", encoding="utf-8") as file:
            films = defaultdict(list)
            for row in csv.DictReader(file):
                films[row["movie_id"]].append(row["text"])
    except (OSError, KeyError) as error:
        raise BenchmarkError(f"no reviews in {validation}: make them with `make repro`") from error
    if not films:
        raise BenchmarkError(f"no reviews in {validation}: make them with `make repro`")
    return films


def joined(films: dict[str, list[str]], order: random.Random) -> list[str]:
    """Texts of IMDB's lengths from snippets of one film each, in another order each time.

    Only films that reach the median length are used; a text that wants more than its film has is shorter.
    """
    long_enough = [
        snippets for snippets in films.values() if len(" ".join(snippets).split()) >= WORDS_MEDIAN
    ] or [list(itertools.chain(*films.values()))]
    texts = []
    for _ in range(JOINED):
        wanted = max(WORDS_LEAST, int(WORDS_MEDIAN * order.lognormvariate(0, WORDS_SPREAD)))
        snippets = order.choice(long_enough)
        words = " ".join(order.sample(snippets, len(snippets))).split()
        texts.append(" ".join(words[:wanted]))
    return texts


def read_imdb(path: Path) -> Iterator[str]:
    """The labelled reviews of aclImdb, from its archive or from the folder that it unpacks to."""
    try:
        for found in imdb(path):
            if isinstance(found, LabelledReview):
                yield " ".join(found.text.replace("<br />", " ").split())
    except PipelineError as error:
        raise BenchmarkError(f"--imdb {error}") from error


def endless(texts: list[str]) -> Iterator[str]:
    """The texts, then the same with two words swapped, and so on: as long as before, and never one twice.

    Raises BenchmarkError when nothing new can be made, as of texts of a single word.
    """
    order = random.Random(SEED)
    seen: set[str] = set()
    for lap in itertools.count():
        before = len(seen)
        for text in texts:
            new = swapped(text, order) if lap else text
            if new not in seen:
                seen.add(new)
                yield new
        if len(seen) == before:
            raise BenchmarkError(f"{len(texts)} texts are too few to go on without repeating one")


def swapped(text: str, order: random.Random) -> str:
    words = text.split()
    if len(words) > 1:
        one, other = order.sample(range(len(words)), 2)
        words[one], words[other] = words[other], words[one]
    return " ".join(words)
