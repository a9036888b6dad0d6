"""Escalation of alerts, the thresholds behind each version, files of container scans."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column(
        "alerts", sa.Column("escalation", sa.Integer(), server_default=sa.text("0"), nullable=False)
    )
    op.add_column("alerts", sa.Column("escalated_at", TIME, nullable=True))
    op.add_column("alerts", sa.Column("escalated_to", sa.Text(), nullable=True))
    op.create_index(
        "ix_alerts_due",
        "alerts",
        ["due_at"],
        postgresql_where=sa.text("status IN ('open','acknowledged')"),
    )
    op.create_table(
        "limit_versions",
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("in_force", postgresql.JSONB(), nullable=False),
        sa.Column("first_used_at", TIME, server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_limit_versions")),
    )
    op.create_table(
        "scan_files",
        sa.Column("delivery_id", sa.Uuid(), nullable=False),
        sa.Column("act_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["delivery_id"], ["deliveries.id"], name=op.f("fk_scan_files_delivery_id")
        ),
        sa.PrimaryKeyConstraint("delivery_id", "act_id", name=op.f("pk_scan_files")),
    )


def downgrade() -> None:
    op.drop_table("scan_files")
    op.drop_table("limit_versions")
    op.drop_index("ix_alerts_due", table_name="alerts")
    for name in ("escalated_to", "escalated_at", "escalation"):
        op.drop_column("alerts", name)
