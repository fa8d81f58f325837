"""A review: what a client sends, the row in the database, what a client receives."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Self
from uuid import UUID

from pydantic import AwareDatetime
from sqlalchemy import CheckConstraint, DateTime, Index, String, Text, func, text, type_coerce
from sqlmodel import Field, SQLModel, col
from uuid_utils.compat import uuid7

from api.fields import MOVIE_ID_EXAMPLE, TEXT_EXAMPLE, Author, MovieId, Rating, ReviewText
from api.sentiments import Sentiment

NEWEST_FIRST = text("created_at DESC"), text("id DESC")


class ReviewBase(SQLModel):
    author: Author = Field(sa_type=String(100), schema_extra={"examples": ["Ada"]})
    text: ReviewText = Field(sa_type=Text, schema_extra={"examples": [TEXT_EXAMPLE]})
    rating: Rating | None = Field(default=None, schema_extra={"examples": [9]})


class ReviewCreate(ReviewBase):
    # A misspelt field would otherwise be ignored silently.
    model_config = {"extra": "forbid"}

    movie_id: MovieId = Field(
        description="IMDb id or slug of the movie.", schema_extra={"examples": [MOVIE_ID_EXAMPLE]}
    )


READ_ONLY: dict[str, Any] = {"json_schema_extra": {"readOnly": True}}


class ReadOnlyFields(SQLModel):
    """What a client may send back as it was read; `Review.changed_read_only_fields` finds the changes."""

    model_config = {"extra": "forbid"}

    id: UUID | None = Field(default=None, schema_extra=READ_ONLY)
    movie_id: str | None = Field(default=None, schema_extra=READ_ONLY)
    sentiment: Sentiment | None = Field(default=None, schema_extra=READ_ONLY)
    created_at: AwareDatetime | None = Field(default=None, schema_extra=READ_ONLY)
    updated_at: AwareDatetime | None = Field(default=None, schema_extra=READ_ONLY)


class ReviewUpdate(ReviewBase, ReadOnlyFields):
    """A full replacement of the editable fields: an omitted rating becomes null."""

    def edits(self) -> dict[str, Any]:
        """Return the editable fields."""
        return self.model_dump(include=set(ReviewBase.model_fields))


class ReviewPatch(ReadOnlyFields):
    """The fields to change (RFC 7396): an omitted one stays, and a null rating is removed."""

    # A default factory, and not None, because null is no value of these fields; the defaults are never used.
    author: Author = Field(default_factory=str)
    text: ReviewText = Field(default_factory=str)
    rating: Rating | None = None

    def edits(self) -> dict[str, Any]:
        """Return the editable fields that were sent."""
        return self.model_dump(include=set(ReviewBase.model_fields), exclude_unset=True)


def _now() -> datetime:
    return datetime.now(UTC)


class Review(ReviewBase, table=True):
    """The row of a review.

    `key_id` is the author: the first API key of the owner whose key wrote it (api.credentials). It is null
    for reviews older than API keys. `revision` counts edits.
    `analyze_after` and `analyze_attempts` make the row an entry of the queue (api.review_queue).
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
        # For the listings: all reviews of a movie, those with one label, and those without.
        Index("review_newest", "movie_id", *NEWEST_FIRST),
        Index("review_newest_by_label", "movie_id", "sentiment_label", *NEWEST_FIRST),
        # PostgreSQL does not read the rows with a null label in order from the index above.
        Index(
            "review_newest_unscored",
            "movie_id",
            *NEWEST_FIRST,
            postgresql_where=text("sentiment_label IS NULL"),
        ),
        # For the queue: all pending reviews, and those of them that have no sentiment.
        Index("review_due", "analyze_after", postgresql_where=text("analyze_after IS NOT NULL")),
        Index(
            "review_unscored",
            "analyze_after",
            postgresql_where=text("analyze_after IS NOT NULL AND sentiment_label IS NULL"),
        ),
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
    def create(cls, new: ReviewCreate, owner: str | None) -> Self:
        """Build the row of a new review and queue it for analysis."""
        now = _now()
        review = cls.model_validate(new, update={"key_id": owner, "created_at": now, "updated_at": now})
        review.request_analysis()
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
        """Changes with every edit and with every new sentiment."""
        version = self.sentiment_model_version
        return f'"{self.revision}"' if version is None else f'"{self.revision}-{version}"'

    def has_revision(self, etag: str) -> bool:
        """Whether the review has not been edited since it had this ETag; its sentiment may have changed."""
        return etag == f'"{self.revision}"' or etag.startswith(f'"{self.revision}-')

    def request_analysis(self) -> None:
        """Queue the text for analysis; the time comes from the database's clock, as in the worker."""
        self.analyze_after = func.now()  # type: ignore[assignment]  # an SQL expression until the flush
        self.analyze_attempts = 0

    def changed_read_only_fields(self, sent: ReadOnlyFields) -> list[str]:
        """Return the names of the read-only fields that were sent with another value than they have.

        What the server has changed since the client read the review is accepted: an earlier `updated_at`, so
        that a PUT can be repeated, and null or a sentiment from another model version.
        """
        current = {"sentiment": self.sentiment, **self.model_dump(include=set(ReadOnlyFields.model_fields))}
        return [
            name
            for name in ReadOnlyFields.model_fields
            if name in sent.model_fields_set
            and getattr(sent, name) != current[name]
            and not self._was_earlier(name, getattr(sent, name))
        ]

    def _was_earlier(self, name: str, value: Any) -> bool:
        """Whether a field may have had this value since the review was created."""
        if name == "sentiment":
            return value is None or value.model_version != self.sentiment_model_version
        return name == "updated_at" and value is not None and self.created_at <= value <= self.updated_at

    def edit(self, edits: dict[str, Any]) -> None:
        """Change fields. A new text drops the sentiment of the old one and is queued for analysis.

        Without any field nothing changes, and the ETag stays.
        """
        if not edits:
            return
        if edits.get("text", self.text) != self.text:
            self.sentiment_label = self.sentiment_score = self.sentiment_model_version = None
            self.request_analysis()
        self.sqlmodel_update(edits)
        self.revision += 1
        self.updated_at = _now()


class ReviewPublic(SQLModel):
    id: UUID
    movie_id: str
    author: str
    text: str
    rating: int | None
    sentiment: Sentiment | None = Field(description="Null until the model has classified the text.")
    created_at: datetime
    updated_at: datetime


class ReviewsPublic(SQLModel):
    items: list[ReviewPublic] = Field(description="Newest first.")
    next_cursor: str | None = Field(
        description="Pass it as `cursor` to get the next page; null on the last page."
    )


PUBLIC_COLUMNS: tuple[Any, ...] = (
    *(Review.id, Review.movie_id, Review.author, Review.text, Review.rating),
    *(Review.sentiment_label, Review.sentiment_score, Review.sentiment_model_version),
    # asyncpg returns these in UTC already; SQLModel's type would convert every value again.
    type_coerce(col(Review.created_at), DateTime(timezone=True)),
    type_coerce(col(Review.updated_at), DateTime(timezone=True)),
)
"""The columns that `public_fields` reads, in order."""


def public_fields(row: Sequence[Any]) -> dict[str, Any]:
    """Return the fields of a ReviewPublic from a row of PUBLIC_COLUMNS, without building a Review."""
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
