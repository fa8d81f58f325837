"""Reviews, with an index for each of the two listings.

Revision ID: 0001
Revises:
Create Date: 2026-11-22 19:53:33+00:00
"""

import sqlalchemy as sa
from alembic import op

revision: str = "0001"
down_revision: str | None = None
branch_labels: None = None
depends_on: None = None

NEWEST_FIRST = sa.literal_column("created_at DESC"), sa.literal_column("id DESC")


def upgrade() -> None:
    op.create_table(
        "review",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("movie_id", sa.String(64), nullable=False),
        sa.Column("author", sa.String(100), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("rating", sa.Integer()),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("sentiment_label", sa.String(8)),
        sa.Column("sentiment_score", sa.Float()),
        sa.Column("sentiment_model_version", sa.String(64)),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("movie_id ~ '^[A-Za-z0-9_-]{1,64}$'", name="review_movie_id"),
        sa.CheckConstraint("char_length(author) BETWEEN 1 AND 100", name="review_author_length"),
        sa.CheckConstraint("char_length(text) BETWEEN 1 AND 20000", name="review_text_length"),
        sa.CheckConstraint("rating BETWEEN 1 AND 10", name="review_rating_range"),
        # VARCHAR and CHECK, because an enum type would survive the downgrade and break the next upgrade.
        sa.CheckConstraint("sentiment_label IN ('positive', 'negative')", name="review_sentiment_label"),
        sa.CheckConstraint("sentiment_score BETWEEN 0 AND 1", name="review_sentiment_score"),
        sa.CheckConstraint(
            "num_nulls(sentiment_label, sentiment_score, sentiment_model_version) IN (0, 3)",
            name="review_sentiment_whole",
        ),
    )
    op.create_index("review_newest", "review", ["movie_id", *NEWEST_FIRST])
    op.create_index("review_newest_by_label", "review", ["movie_id", "sentiment_label", *NEWEST_FIRST])


def downgrade() -> None:
    op.drop_table("review")
