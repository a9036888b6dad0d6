"""Devices' passwords at the broker; a version of devices, for edits with If-Match."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "devices", sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False)
    )
    op.create_table(
        "broker_logins",
        sa.Column("device_no", sa.Integer(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column(
            "changed_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["device_no"],
            ["devices.device_no"],
            name=op.f("fk_broker_logins_device_no"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("device_no", name=op.f("pk_broker_logins")),
    )


def downgrade() -> None:
    op.drop_table("broker_logins")
    op.drop_column("devices", "version")
