"""The owner of an API key: its reviews belong to all keys of one owner.

Revision ID: 0008
Revises: 0007
Create Date: 2026-11-28 06:30:00+00:00
"""

import sqlalchemy as sa
from alembic import op

revision: str = "0008"
down_revision: str = "0007"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    # Null means the key itself, so existing rows need nothing. An older release, after a roll-back,
    # knows no owners: it refuses a rotated key the reviews of its owner.
    owner = sa.Column("owner_id", sa.String(16), sa.ForeignKey("api_key.id", name="api_key_owner_id_fkey"))
    op.add_column("api_key", owner)


def downgrade() -> None:
    op.drop_column("api_key", "owner_id")
