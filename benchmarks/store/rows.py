"""Generated reviews: few movies have most of them, ten years of them, in the order in which they came."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import numpy as np

CHUNK = 50_000
"""Rows of one COPY; about 60 MB of Python objects."""

REVIEWS_A_MOVIE = 100
BEGAN = datetime(2016, 1, 1, tzinfo=UTC)
SPAN = timedelta(days=3650)
"""All of it lies in the past: what the benchmark writes is newer."""

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


@dataclass(frozen=True)
class Source:
    """So many rows, always the same for a seed."""

    rows: int
    seed: int = 0

    def chunks(self) -> Iterator[list[Row]]:
        """Lists of tuples of COLUMNS, `CHUNK` long but the last."""
        random = np.random.default_rng(self.seed)
        soup = " ".join(random.choice(VOCABULARY.split(), 200_000))
        upto = popularity(max(10, self.rows // REVIEWS_A_MOVIE))
        for first in range(0, self.rows, CHUNK):
            yield self._chunk(first, min(CHUNK, self.rows - first), random, soup, upto)

    def _chunk(
        self, first: int, count: int, random: np.random.Generator, soup: str, upto: np.ndarray
    ) -> list[Row]:
        # Evenly over the span, and each anywhere within its own part of it.
        parts = (first + np.arange(count) + random.random(count)) / self.rows
        microseconds = (parts * (SPAN // timedelta(microseconds=1))).astype(np.int64)
        lengths = random.integers(SHORTEST, LONGEST + 1, count)
        drawn: Iterator[tuple[int, int, int, int, int, int, int, float]] = zip(
            microseconds.tolist(),
            random.integers(2**63, size=count).tolist(),
            np.searchsorted(upto, random.random(count)).tolist(),
            random.integers(5000, size=count).tolist(),
            random.integers(len(soup) - LONGEST, size=count).tolist(),
            lengths.tolist(),
            random.integers(0, 11, count).tolist(),  # 0: none
            random.random(count).tolist(),
            strict=True,
        )
        return [row(*one, soup) for one in drawn]


def popularity(movies: int) -> np.ndarray:
    """Zipf: the second movie has half the reviews of the first. Shape (movies,), cumulative up to 1."""
    shares = np.cumsum(1 / np.arange(1, movies + 1))
    found: np.ndarray = shares / shares[-1]
    return found


def row(
    microseconds: int,
    bits: int,
    movie: int,
    author: int,
    start: int,
    length: int,
    rating: int,
    chance: float,
    soup: str,
) -> Row:
    at = BEGAN + timedelta(microseconds=microseconds)
    label = "positive" if rating > 5 else "negative"
    is_read = chance < 0.95
    return (
        uuid7(at, bits),
        f"tt{movie:07}",
        f"Author {author}",
        soup[start : start + length],
        rating or None,
        1,
        *((label, 0.5 + chance / 2, "1") if is_read else (None, None, None)),
        None,  # nothing is due: no worker runs
        at,
        at,
    )


def uuid7(at: datetime, bits: int) -> UUID:
    """RFC 9562: milliseconds since 1970, version, random bits, variant, random bits (63 in all here)."""
    milliseconds = int(at.timestamp() * 1000)
    high, low = bits >> 51, bits & (2**51 - 1)
    return UUID(int=milliseconds << 80 | 7 << 76 | high << 64 | 2 << 62 | low)
