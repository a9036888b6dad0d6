"""Refused messages in the names of devices, for alerts of forged identities."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "refusals",
        sa.Column("device_no", sa.Integer(), nullable=False),
        sa.Column("at_slot", TIME, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("received_slot", TIME, nullable=False),
        sa.Column("first_at", TIME, nullable=False),
        sa.Column("last_at", TIME, nullable=False),
        sa.Column("from_t", TIME, nullable=False),
        sa.Column("to_t", TIME, nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("topics", ARRAY(sa.Text()), nullable=False),
        sa.Column("quarantine_ids", ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("identities", ARRAY(sa.Text()), nullable=False, comment="As gen/seq."),
        sa.ForeignKeyConstraint(
            ["device_no"],
            ["devices.device_no"],
            name=op.f("fk_refusals_device_no"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "device_no", "at_slot", "reason", "received_slot", name=op.f("pk_refusals")
        ),
    )


def downgrade() -> None:
    op.drop_table("refusals")
