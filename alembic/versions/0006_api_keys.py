"""API keys, the key that wrote a review, and the rate limits of callers.

Revision ID: 0006
Revises: 0005
Create Date: 2026-11-23 08:50:00+00:00
"""

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str = "0005"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    op.create_table(
        "api_key",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", sa.ARRAY(sa.String(5)), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("last_used_at", sa.DateTime(timezone=True)),
        sa.Column("expires_at", sa.DateTime(timezone=True)),
        sa.Column("revoked_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint("id ~ '^[0-9a-f]{16}$'", name="api_key_id"),
        sa.CheckConstraint("char_length(name) BETWEEN 1 AND 100", name="api_key_name_length"),
        sa.CheckConstraint(
            "scopes <@ '{read,write,admin}' AND cardinality(scopes) > 0", name="api_key_scopes"
        ),
    )
    op.create_table(
        "rate_limit",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("spent_until", sa.DateTime(timezone=True), nullable=False),
        prefixes=["UNLOGGED"],  # may be lost in a crash; saves WAL writes
    )
    # Existing reviews have no key: only an admin key may change them.
    op.add_column("review", sa.Column("key_id", sa.String(16)))
    # NOT VALID: existing rows have no key, and checking them all would block writes.
    op.execute(
        "ALTER TABLE review ADD CONSTRAINT review_key_id_fkey"
        " FOREIGN KEY (key_id) REFERENCES api_key (id) NOT VALID"
    )
    # Answers now belong to a caller; the existing ones have none, so they are dropped.
    op.drop_table("first_answer")
    op.create_table(
        "first_answer",
        sa.Column("caller", sa.String(64), primary_key=True),
        sa.Column("idempotency_key", sa.String(255), primary_key=True),
        sa.Column("request_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    )
    op.create_index("first_answer_created_at", "first_answer", ["created_at"])


def downgrade() -> None:
    op.drop_table("first_answer")
    op.create_table(
        "first_answer",
        sa.Column("idempotency_key", sa.String(255), primary_key=True),
        sa.Column("request_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    )
    op.create_index("first_answer_created_at", "first_answer", ["created_at"])
    op.drop_column("review", "key_id")
    op.drop_table("rate_limit")
    op.drop_table("api_key")
