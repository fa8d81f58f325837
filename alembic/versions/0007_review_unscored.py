"""Indexes on the reviews without a sentiment: for workers, which claim them before all others, and for lists.

Revision ID: 0007
Revises: 0006
Create Date: 2026-11-28 05:40:00+00:00
"""

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str = "0006"
branch_labels: None = None
depends_on: None = None

INDEXES = {
    "review_unscored": (["analyze_after"], "analyze_after IS NOT NULL AND sentiment_label IS NULL"),
    "review_newest_unscored": (
        ["movie_id", sa.text("created_at DESC"), sa.text("id DESC")],
        "sentiment_label IS NULL",
    ),
}


def upgrade() -> None:
    with op.get_context().autocommit_block():
        # CREATE INDEX CONCURRENTLY waits for other transactions without blocking any.
        op.execute("SET lock_timeout = 0")
        for name, (columns, condition) in INDEXES.items():
            # A failed attempt leaves an invalid index behind.
            op.drop_index(name, "review", if_exists=True, postgresql_concurrently=True)
            op.create_index(
                name, "review", columns, postgresql_where=sa.text(condition), postgresql_concurrently=True
            )
        op.execute("RESET lock_timeout")


def downgrade() -> None:
    for name in INDEXES:
        op.drop_index(name, "review")
