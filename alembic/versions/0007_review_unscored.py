"""An index on the queued reviews without a sentiment, which workers claim before all others.

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

UNSCORED = sa.text("analyze_after IS NOT NULL AND sentiment_label IS NULL")


def upgrade() -> None:
    with op.get_context().autocommit_block():
        # CREATE INDEX CONCURRENTLY waits for other transactions without blocking any.
        op.execute("SET lock_timeout = 0")
        # A failed attempt leaves an invalid index behind.
        op.drop_index("review_unscored", "review", if_exists=True, postgresql_concurrently=True)
        op.create_index(
            "review_unscored",
            "review",
            ["analyze_after"],
            postgresql_where=UNSCORED,
            postgresql_concurrently=True,
        )
        op.execute("RESET lock_timeout")


def downgrade() -> None:
    op.drop_index("review_unscored", "review")
