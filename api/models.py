"""The nouns of the API: what a client sends, what the database keeps, what a client gets."""

import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from annotated_types import Ge, Le
from pydantic import AfterValidator, BeforeValidator, Strict, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError
from sqlalchemy import CheckConstraint, DateTime, Index, String, Text, func, text, type_coerce
from sqlmodel import Field, SQLModel, col
from uuid_utils.compat import uuid7

Label = Literal["positive", "negative"]

NEWEST_FIRST = text("created_at DESC"), text("id DESC")

MOVIE_ID_EXAMPLE = "tt0453418"
TEXT_EXAMPLE = "Warm, funny and beautifully shot."


# For those who read the schema, what the validators ask for: something is left after trimming, and of an
# author no more than 100 characters of one line.
WITHOUT_NUL = r"^[^\u0000]*[^\u0000\s][^\u0000]*$"
_EDGE = r"[\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]*"
_CONTROL = r"\u0000-\u001f\u007f-\u009f\u2028\u2029"
ONE_LINE = rf"^{_EDGE}[^{_CONTROL}\s]([^{_CONTROL}]{{0,98}}[^{_CONTROL}\s])?{_EDGE}$"


def _as_integer(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _without_nul(value: str) -> str:
    if "\0" in value:
        raise PydanticCustomError("nul_character", "String should hold no NUL character")
    return value


def _one_line(value: str) -> str:
    if any(unicodedata.category(character) in {"Cc", "Zl", "Zp"} for character in value):
        raise PydanticCustomError("control_character", "String should be one line without control characters")
    return value


MovieId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Author = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=100),
    AfterValidator(_one_line),
    WithJsonSchema({"type": "string", "pattern": ONE_LINE}),
]
ReviewText = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=20_000),
    AfterValidator(_without_nul),
    WithJsonSchema({"type": "string", "maxLength": 20_000, "pattern": WITHOUT_NUL}),
]
# JSON has no integers, so 9.0 is one; "9" and true are none.
Rating = Annotated[int, Strict(), Ge(1), Le(10), BeforeValidator(_as_integer)]


class Sentiment(SQLModel):
    """What the model says of one text."""

    label: Label
    score: float = Field(ge=0, le=1, description="Probability of that label, from 0 to 1.")
    model_version: str = Field(description="Version of the registered model that answered.")


class Analysis(Sentiment):
    """The same, of a text that is not kept."""

    truncated: bool = Field(default=False, description="Whether the model left out a part of the text.")


class ReviewBase(SQLModel):
    author: Author = Field(sa_type=String(100), schema_extra={"examples": ["Ada"]})
    text: ReviewText = Field(sa_type=Text, schema_extra={"examples": [TEXT_EXAMPLE]})
    rating: Rating | None = Field(default=None, schema_extra={"examples": [9]})


class ReviewCreate(ReviewBase):
    # A misspelt field would otherwise be dropped without a word.
    model_config = {"extra": "forbid"}

    movie_id: MovieId = Field(
        description="IMDb id or slug of the movie.", schema_extra={"examples": [MOVIE_ID_EXAMPLE]}
    )


class ReviewUpdate(ReviewBase):
    """The whole of what may change: a rating that is left out becomes null."""

    model_config = {"extra": "forbid"}


def _now() -> datetime:
    return datetime.now(UTC)


class Review(ReviewBase, table=True):
    """A row.

    `key_id` names the API key that wrote it, none before there were keys; `revision` counts the edits;
    `analyze_after` and `analyze_attempts` belong to api.queue.
    """

    __table_args__ = (
        CheckConstraint("movie_id ~ '^[A-Za-z0-9_-]{1,64}$'", name="review_movie_id"),
        CheckConstraint("char_length(author) BETWEEN 1 AND 100", name="review_author_length"),
        CheckConstraint("char_length(text) BETWEEN 1 AND 20000", name="review_text_length"),
        CheckConstraint("rating BETWEEN 1 AND 10", name="review_rating_range"),
        CheckConstraint("sentiment_label IN ('positive', 'negative')", name="review_sentiment_label"),
        CheckConstraint("sentiment_score BETWEEN 0 AND 1", name="review_sentiment_score"),
        CheckConstraint(
            "num_nulls(sentiment_label, sentiment_score, sentiment_model_version) IN (0, 3)",
            name="review_sentiment_whole",
        ),
        # They serve the two listings in order: all of a movie, and those of one label.
        Index("review_newest", "movie_id", *NEWEST_FIRST),
        Index("review_newest_by_label", "movie_id", "sentiment_label", *NEWEST_FIRST),
        Index("review_due", "analyze_after", postgresql_where=text("analyze_after IS NOT NULL")),
    )

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    movie_id: str = Field(sa_type=String(64))
    key_id: str | None = Field(default=None, sa_type=String(16), foreign_key="api_key.id")
    revision: int = 1
    sentiment_label: str | None = Field(default=None, sa_type=String(8))
    sentiment_score: float | None = None
    sentiment_model_version: str | None = Field(default=None, sa_type=String(64))
    analyze_after: datetime | None = Field(default=None, sa_column_kwargs={"server_default": func.now()})
    analyze_attempts: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    created_at: datetime
    updated_at: datetime

    @classmethod
    def written(cls, new: ReviewCreate, key_id: str | None) -> Self:
        now = _now()
        review = cls.model_validate(new, update={"key_id": key_id, "created_at": now, "updated_at": now})
        review.is_due()
        return review

    @property
    def sentiment(self) -> Sentiment | None:
        if self.sentiment_label is None:
            return None
        return Sentiment.model_validate(
            {
                "label": self.sentiment_label,
                "score": self.sentiment_score,
                "model_version": self.sentiment_model_version,
            }
        )

    @property
    def etag(self) -> str:
        """Changes with whatever a client sees: with an edit, and when a sentiment comes."""
        version = self.sentiment_model_version
        return f'"{self.revision}"' if version is None else f'"{self.revision}-{version}"'

    def is_edition(self, etag: str) -> bool:
        """Whether the text is still the one that had this ETag; a sentiment may have come since."""
        return etag == f'"{self.revision}"' or etag.startswith(f'"{self.revision}-')

    def is_due(self) -> None:
        """Have the text analysed, by the database's clock: the worker goes by that."""
        self.analyze_after = func.now()  # type: ignore[assignment]  # an expression, until it is written
        self.analyze_attempts = 0

    def replace(self, update: ReviewUpdate) -> None:
        """Take over `update`; a sentiment spoke of the old text, so a new text has none."""
        if update.text != self.text:
            self.sentiment_label = self.sentiment_score = self.sentiment_model_version = None
            self.is_due()
        self.sqlmodel_update(update)
        self.revision += 1
        self.updated_at = _now()


SHOWN: tuple[Any, ...] = (
    *(Review.id, Review.movie_id, Review.author, Review.text, Review.rating),
    *(Review.sentiment_label, Review.sentiment_score, Review.sentiment_model_version),
    # As asyncpg gives them: they are in UTC already, and SQLModel would convert each of them again.
    type_coerce(col(Review.created_at), DateTime(timezone=True)),
    type_coerce(col(Review.updated_at), DateTime(timezone=True)),
)
"""The columns that `shown` takes."""


def shown(row: Sequence[Any]) -> dict[str, Any]:
    """A ReviewPublic's fields, of a row of these columns that never was a Review."""
    id, movie_id, author, text, rating, label, score, version, created_at, updated_at = row
    return {
        "id": id,
        "movie_id": movie_id,
        "author": author,
        "text": text,
        "rating": rating,
        "sentiment": None if label is None else {"label": label, "score": score, "model_version": version},
        "created_at": created_at,
        "updated_at": updated_at,
    }


class ReviewPublic(SQLModel):
    id: UUID
    movie_id: str
    author: str
    text: str
    rating: int | None
    sentiment: Sentiment | None = Field(description="Null until the model has read the text.")
    created_at: datetime
    updated_at: datetime


class ReviewsPublic(SQLModel):
    items: list[ReviewPublic] = Field(description="Newest first.")
    next_cursor: str | None = Field(
        description="Send it back as `cursor` for the next page; null on the last."
    )


class Analyze(SQLModel):
    model_config = {"extra": "forbid"}

    text: ReviewText = Field(schema_extra={"examples": [TEXT_EXAMPLE]})


class AnalyzeBatch(SQLModel):
    model_config = {"extra": "forbid"}

    # Plain strings: a text that cannot be analysed is one error among the results, not a refusal of all.
    texts: list[str] = Field(
        min_length=1, max_length=64, schema_extra={"examples": [[TEXT_EXAMPLE, "Dull."]]}
    )


class SentimentError(SQLModel):
    """Why one text got no sentiment."""

    error: str


class AnalyzeBatchPublic(SQLModel):
    results: list[Analysis | SentimentError] = Field(description="One for each text, in order.")
