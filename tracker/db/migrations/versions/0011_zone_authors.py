"""Who entered a version of a zone, and who ended it, when."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "zones",
        sa.Column(
            "created_by",
            sa.Text(),
            nullable=True,
            comment="Who entered this version; unknown of those entered before this was kept.",
        ),
    )
    op.add_column(
        "zones",
        sa.Column(
            "ended_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When it was entered that this version ends, if it was ended by hand.",
        ),
    )
    op.add_column("zones", sa.Column("ended_by", sa.Text(), nullable=True))


def downgrade() -> None:
    for column in ("ended_by", "ended_at", "created_by"):
        op.drop_column("zones", column)
