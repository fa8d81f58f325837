"""Generates reviews of ten years in chronological order; a few movies have most of them."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import numpy as np

CHUNK = 50_000
"""Rows of one COPY, about 60 MB of Python objects."""

REVIEWS_PER_MOVIE = 100
START = datetime(2016, 1, 1, tzinfo=UTC)
SPAN = timedelta(days=3650)
"""It ends in the past, so that the reviews written by the benchmark are newer."""

SHORTEST, LONGEST = 100, 900
VOCABULARY = """
the a of and it is that this but with for as so never always film movie story scene camera actor script
director ending music plot hero villain warm funny dull brave slow sharp long beautiful café naïve watched
loved hated wanted felt seemed laughed slept again twice tonight quite hardly nearly
"""

COLUMNS = (
    *("id", "movie_id", "author", "text", "rating", "revision"),
    *("sentiment_label", "sentiment_score", "sentiment_model_version"),
    *("analyze_after", "created_at", "updated_at"),
)
Row = tuple[object, ...]


def generate(rows: int, seed: int = 0) -> Iterator[list[Row]]:
    """Yield chunks of at most CHUNK rows, as tuples of COLUMNS. The same seed yields the same rows."""
    random = np.random.default_rng(seed)
    words = " ".join(random.choice(VOCABULARY.split(), 200_000))
    movies = zipf(max(10, rows // REVIEWS_PER_MOVIE))
    for first in range(0, rows, CHUNK):
        yield generate_chunk(np.arange(first, min(first + CHUNK, rows)) / rows, rows, random, words, movies)


def generate_chunk(
    positions: np.ndarray, rows: int, random: np.random.Generator, words: str, movies: np.ndarray
) -> list[Row]:
    """Return rows at these positions in the time span, which is from 0 to 1."""
    count = len(positions)
    # Evenly spaced, plus a random offset below the distance to the next row.
    times = ((positions + random.random(count) / rows) * (SPAN // timedelta(microseconds=1))).astype(np.int64)
    lengths = random.integers(SHORTEST, LONGEST + 1, count)
    columns: Iterator[tuple[int, int, int, int, int, int, int, float]] = zip(
        times.tolist(),
        random.integers(2**63, size=count).tolist(),
        np.searchsorted(movies, random.random(count)).tolist(),
        random.integers(5000, size=count).tolist(),
        random.integers(len(words) - LONGEST, size=count).tolist(),
        lengths.tolist(),
        random.integers(0, 11, count).tolist(),  # 0: no rating
        random.random(count).tolist(),
        strict=True,
    )
    return [make_row(*values, words) for values in columns]


def zipf(movies: int) -> np.ndarray:
    """Return the cumulative shares [movies]: the second movie has half the reviews of the first."""
    shares = np.cumsum(1 / np.arange(1, movies + 1))
    cumulative: np.ndarray = shares / shares[-1]
    return cumulative


def make_row(
    microseconds: int,
    bits: int,
    movie: int,
    author: int,
    start: int,
    length: int,
    rating: int,
    score: float,
    words: str,
) -> Row:
    created_at = START + timedelta(microseconds=microseconds)
    label = "positive" if rating > 5 else "negative"
    has_sentiment = score < 0.95
    return (
        uuid7(created_at, bits),
        f"tt{movie:07}",
        f"Author {author}",
        words[start : start + length],
        rating or None,
        1,
        *((label, 0.5 + score / 2, "1") if has_sentiment else (None, None, None)),
        None,  # not queued for analysis: no worker runs
        created_at,
        created_at,
    )


def uuid7(time: datetime, bits: int) -> UUID:
    """Return a UUID of RFC 9562: milliseconds since 1970, version and variant, and 63 random bits."""
    milliseconds = int(time.timestamp() * 1000)
    high, low = bits >> 51, bits & (2**51 - 1)
    return UUID(int=milliseconds << 80 | 7 << 76 | high << 64 | 2 << 62 | low)
