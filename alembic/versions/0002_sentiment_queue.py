"""The queue of reviews whose sentiment is to be found: when a row is due, and a NOTIFY when it becomes so.

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

DUE = sa.text("analyze_after IS NOT NULL")


def upgrade() -> None:
    # What comes before the index is committed before it: every step can be done again when the index fails.
    # Every review that is there is due: none has been read yet. A default of now() rewrites no row.
    due = sa.Column("analyze_after", sa.DateTime(timezone=True), server_default=sa.func.now())
    attempts = sa.Column("analyze_attempts", sa.Integer(), nullable=False, server_default="0")
    for column in (due, attempts):
        op.add_column("review", column, if_not_exists=True)
    op.execute("""
        CREATE OR REPLACE FUNCTION review_is_due() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN NOTIFY review_due; RETURN NULL; END $$
    """)
    # A lease or a delay lies in the future, and wakes nobody.
    op.execute("""
        CREATE OR REPLACE TRIGGER review_is_due AFTER INSERT OR UPDATE OF analyze_after ON review
        FOR EACH ROW WHEN (NEW.analyze_after <= now()) EXECUTE FUNCTION review_is_due()
    """)
    with op.get_context().autocommit_block():
        # It waits for the transactions of others, and nobody waits for it.
        op.execute("SET lock_timeout = 0")
        # One that failed is left behind, not valid.
        op.drop_index("review_due", "review", if_exists=True, postgresql_concurrently=True)
        op.create_index(
            "review_due", "review", ["analyze_after"], postgresql_where=DUE, postgresql_concurrently=True
        )
        op.execute("RESET lock_timeout")


def downgrade() -> None:
    op.drop_index("review_due", "review")
    op.execute("DROP TRIGGER review_is_due ON review")
    op.execute("DROP FUNCTION review_is_due()")
    op.drop_column("review", "analyze_attempts")
    op.drop_column("review", "analyze_after")
