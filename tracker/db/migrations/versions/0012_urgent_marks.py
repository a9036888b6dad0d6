"""Marks that are not to wait: events of devices, and what a person has done to one delivery."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "dirty",
        sa.Column("urgent", sa.Boolean(), nullable=False, server_default=sa.text("false")),
    )
    op.create_index("ix_dirty_urgent", "dirty", ["delivery_id"], postgresql_where=sa.text("urgent"))


def downgrade() -> None:
    op.drop_index("ix_dirty_urgent", "dirty")
    op.drop_column("dirty", "urgent")
