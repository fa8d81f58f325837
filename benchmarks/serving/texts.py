"""The texts that are sent to every contender, in two kinds.

`snippets` are the validation reviews, with 25 tokens on average. `imdb` has texts as long as IMDB's reviews:
the reviews of a copy of aclImdb, or else snippets of the same movie joined to that length.
"""

import csv
import itertools
import random
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from benchmarks.command import BenchmarkError
from pipelines.core.errors import PipelineError
from pipelines.ingest.imdb import imdb
from pipelines.ingest.labels import LabelledReview

SEED = 3
KINDS = ("imdb", "snippets")

LONG_TEXTS = 4000
"""Number of long texts that are joined from snippets."""

MEDIAN_WORDS, SPREAD, MIN_WORDS = 175, 0.6, 40
"""The lengths of IMDB's reviews are about log-normal: the mean is 210 words, and few have 1,000."""


def load(kind: str, validation: Path, imdb: Path | None) -> list[str]:
    """Return the distinct texts of a kind, shuffled with a fixed seed. Raises BenchmarkError."""
    generator = random.Random(SEED)
    if kind == "imdb" and imdb is not None:
        texts = sorted(read_imdb(imdb))
    else:
        movies = read_validation(validation)
        texts = (
            join_snippets(movies, generator) if kind == "imdb" else sorted(itertools.chain(*movies.values()))
        )
    generator.shuffle(texts)
    return list(dict.fromkeys(texts))


def read_validation(path: Path) -> dict[str, list[str]]:
    """Return the validation reviews by movie. Raises BenchmarkError if there are none."""
    movies = defaultdict(list)
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                movies[row["movie_id"]].append(row["text"])
    except (OSError, KeyError) as error:
        raise BenchmarkError(f"{path} cannot be read: create it with `make repro`") from error
    if not movies:
        raise BenchmarkError(f"{path} has no reviews: create it with `make repro`")
    return movies


def join_snippets(movies: dict[str, list[str]], generator: random.Random) -> list[str]:
    """Join shuffled snippets of one movie to each text, with the lengths of IMDB's reviews.

    Only movies with at least the median number of words are used, or all movies together if there are none. A
    text is shorter than its length if its movie has too few words.
    """
    long_enough = [
        snippets for snippets in movies.values() if len(" ".join(snippets).split()) >= MEDIAN_WORDS
    ] or [list(itertools.chain(*movies.values()))]
    texts = []
    for _ in range(LONG_TEXTS):
        length = max(MIN_WORDS, int(MEDIAN_WORDS * generator.lognormvariate(0, SPREAD)))
        snippets = generator.choice(long_enough)
        words = " ".join(generator.sample(snippets, len(snippets))).split()
        texts.append(" ".join(words[:length]))
    return texts


def read_imdb(path: Path) -> Iterator[str]:
    """Yield the labelled reviews of aclImdb, a folder or its archive. Raises BenchmarkError."""
    try:
        for review in imdb(path):
            if isinstance(review, LabelledReview):
                yield " ".join(review.text.replace("<br />", " ").split())
    except PipelineError as error:
        raise BenchmarkError(f"--imdb {error}") from error


def unique_texts(texts: list[str]) -> Iterator[str]:
    """Yield the texts, then variants of them without end, none of them twice.

    A variant has two words swapped, and so the same length. Raises BenchmarkError if there are no more
    variants.
    """
    generator = random.Random(SEED)
    seen: set[str] = set()
    for lap in itertools.count():
        before = len(seen)
        for text in texts:
            variant = swap_two_words(text, generator) if lap else text
            if variant not in seen:
                seen.add(variant)
                yield variant
        if len(seen) == before:
            raise BenchmarkError(f"{len(texts)} texts are too few: no more variants of them can be made")


def swap_two_words(text: str, generator: random.Random) -> str:
    words = text.split()
    if len(words) > 1:
        one, other = generator.sample(range(len(words)), 2)
        words[one], words[other] = words[other], words[one]
    return " ".join(words)
