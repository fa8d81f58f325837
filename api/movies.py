"""Statistics per movie and month, which database triggers update with every write (migration 0003)."""

from datetime import date

from sqlalchemy import BigInteger, Computed, Float, Index, String, text
from sqlmodel import Field, SQLModel

from api.fields import MOVIE_ID_EXAMPLE


def _by(key: str) -> Index:
    return Index(f"movie_by_{key}", text(f"{key} DESC"), text("movie_id DESC"))


def _ratio(part: str, whole: str) -> Computed:
    return Computed(f"coalesce({part}::float8 / nullif({whole}, 0), -1)", persisted=True)


class Counts(SQLModel):
    """Numbers of reviews, of reviews per sentiment and with a rating, and the sum of the ratings."""

    reviews: int = Field(sa_type=BigInteger)
    positive: int = Field(sa_type=BigInteger)
    negative: int = Field(sa_type=BigInteger)
    ratings: int = Field(sa_type=BigInteger)
    rating_sum: int = Field(sa_type=BigInteger)


class Movie(Counts, table=True):
    __table_args__ = (
        _by("reviews"),
        _by("positive_key"),
        _by("rating_key"),
        Index("movie_prefix", "movie_id", postgresql_ops={"movie_id": "text_pattern_ops"}),
    )

    movie_id: str = Field(primary_key=True, sa_type=String(64))
    # The keys of the sort orders: -1 stands for "unknown", so it comes last and can be a cursor.
    positive_key: float = Field(sa_type=Float, sa_column_args=[_ratio("positive", "positive + negative")])
    rating_key: float = Field(sa_type=Float, sa_column_args=[_ratio("rating_sum", "ratings")])

    @property
    def share_positive(self) -> float | None:
        return None if self.positive_key < 0 else self.positive_key

    @property
    def mean_rating(self) -> float | None:
        return None if self.rating_key < 0 else self.rating_key


class MovieMonth(Counts, table=True):
    """The counts of the reviews created in one month (UTC); `month` is its first day."""

    __tablename__ = "movie_month"

    movie_id: str = Field(primary_key=True, sa_type=String(64))
    month: date = Field(primary_key=True)


class Figures(SQLModel):
    reviews: int
    positive: int = Field(description="Reviews that the model classified as positive.")
    negative: int = Field(
        description="Reviews classified as negative; those neither positive nor negative are pending."
    )


class MoviePublic(Figures):
    movie_id: str = Field(schema_extra={"examples": [MOVIE_ID_EXAMPLE]})
    share_positive: float | None = Field(
        description="Share of positive among the classified reviews, from 0 to 1; null if there are none."
    )
    mean_rating: float | None = Field(
        description="Mean of the ratings, from 1 to 10; null if there are none."
    )


class MonthPublic(Figures):
    month: str = Field(description="Year and month (UTC).", schema_extra={"examples": ["2026-11"]})


class MovieSummary(MoviePublic):
    months: list[MonthPublic] = Field(description="Figures by month of creation, oldest first.")


class MoviesPublic(SQLModel):
    items: list[MoviePublic] = Field(description="Descending by `sort`.")
    next_cursor: str | None = Field(
        description="Pass it as `cursor` to get the next page; null on the last page."
    )
