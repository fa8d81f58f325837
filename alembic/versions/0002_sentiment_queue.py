"""The queue of reviews to analyse: the time at which a row is pending, and a NOTIFY at that moment.

Revision ID: 0002
Revises: 0001
Create Date: 2026-11-23 06:15:00+00:00
"""

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str = "0001"
branch_labels: None = None
depends_on: None = None

QUEUED = sa.text("analyze_after IS NOT NULL")


def upgrade() -> None:
    # The steps before the index are committed separately, so each must be repeatable in case the index fails.
    # The default makes all existing reviews pending, without rewriting the table.
    queued_at = sa.Column("analyze_after", sa.DateTime(timezone=True), server_default=sa.func.now())
    attempts = sa.Column("analyze_attempts", sa.Integer(), nullable=False, server_default="0")
    for column in (queued_at, attempts):
        op.add_column("review", column, if_not_exists=True)
    op.execute("""
        CREATE OR REPLACE FUNCTION review_is_due() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN NOTIFY review_due; RETURN NULL; END $$
    """)
    # A lease or a delay lies in the future and sends no NOTIFY.
    op.execute("""
        CREATE OR REPLACE TRIGGER review_is_due AFTER INSERT OR UPDATE OF analyze_after ON review
        FOR EACH ROW WHEN (NEW.analyze_after <= now()) EXECUTE FUNCTION review_is_due()
    """)
    with op.get_context().autocommit_block():
        # CREATE INDEX CONCURRENTLY waits for other transactions without blocking any.
        op.execute("SET lock_timeout = 0")
        # A failed attempt leaves an invalid index behind.
        op.drop_index("review_due", "review", if_exists=True, postgresql_concurrently=True)
        op.create_index(
            "review_due", "review", ["analyze_after"], postgresql_where=QUEUED, postgresql_concurrently=True
        )
        op.execute("RESET lock_timeout")


def downgrade() -> None:
    op.drop_index("review_due", "review")
    op.execute("DROP TRIGGER review_is_due ON review")
    op.execute("DROP FUNCTION review_is_due()")
    op.drop_column("review", "analyze_attempts")
    op.drop_column("review", "analyze_after")
