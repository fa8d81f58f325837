"""What the reviews of a movie come to. The database keeps these figures with every write (migration 0003)."""

from datetime import date

from sqlalchemy import BigInteger, Computed, Float, Index, String, text
from sqlmodel import Field, SQLModel

from api.fields import MOVIE_ID_EXAMPLE


def _by(key: str) -> Index:
    return Index(f"movie_by_{key}", text(f"{key} DESC"), text("movie_id DESC"))


def _ratio(part: str, whole: str) -> Computed:
    return Computed(f"coalesce({part}::float8 / nullif({whole}, 0), -1)", persisted=True)


class Counts(SQLModel):
    """Reviews, those of each sentiment, those with a rating, and the sum of the ratings."""

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
    # To sort by: what is not known yet is -1, hence last, and a page can begin after it.
    positive_key: float = Field(sa_type=Float, sa_column_args=[_ratio("positive", "positive + negative")])
    rating_key: float = Field(sa_type=Float, sa_column_args=[_ratio("rating_sum", "ratings")])

    @property
    def share_positive(self) -> float | None:
        return None if self.positive_key < 0 else self.positive_key

    @property
    def mean_rating(self) -> float | None:
        return None if self.rating_key < 0 else self.rating_key


class MovieMonth(Counts, table=True):
    """The same of the reviews that were created in one month of UTC; `month` is its first day."""

    __tablename__ = "movie_month"

    movie_id: str = Field(primary_key=True, sa_type=String(64))
    month: date = Field(primary_key=True)


class Figures(SQLModel):
    reviews: int
    positive: int = Field(description="Reviews that the model finds positive.")
    negative: int = Field(
        description="Reviews that it finds negative; of the others it has not read the text yet."
    )


class MoviePublic(Figures):
    movie_id: str = Field(schema_extra={"examples": [MOVIE_ID_EXAMPLE]})
    share_positive: float | None = Field(
        description="Of the reviews with a sentiment, from 0 to 1; null with none."
    )
    mean_rating: float | None = Field(
        description="Of the reviews with a rating, from 1 to 10; null with none."
    )


class MonthPublic(Figures):
    month: str = Field(description="Year and month of UTC.", schema_extra={"examples": ["2026-11"]})


class MovieSummary(MoviePublic):
    months: list[MonthPublic] = Field(
        description="By the month in which the reviews were created, oldest first."
    )


class MoviesPublic(SQLModel):
    items: list[MoviePublic] = Field(description="In descending order of what `sort` names.")
    next_cursor: str | None = Field(
        description="Send it back as `cursor` for the next page; null on the last."
    )
