"""The first answers to POSTs with an Idempotency-Key.

Revision ID: 0004
Revises: 0003
Create Date: 2026-11-23 07:20:00+00:00
"""

import sqlalchemy as sa
from alembic import op

revision: str = "0004"
down_revision: str = "0003"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    op.create_table(
        "first_answer",
        sa.Column("idempotency_key", sa.String(255), primary_key=True),
        sa.Column("request_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    )
    op.create_index("first_answer_created_at", "first_answer", ["created_at"])


def downgrade() -> None:
    op.drop_table("first_answer")
