"""Ingest workers and the shards they own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ingest_workers",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column(
            "wanted",
            postgresql.ARRAY(sa.Integer()),
            nullable=False,
            comment="Shards it would take.",
        ),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "backend_pid",
            sa.Integer(),
            nullable=False,
            comment="The connection that ends with the process.",
        ),
        sa.Column("backend_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "sessions_up",
            sa.Integer(),
            nullable=False,
            comment="Its shards' sessions connected and subscribed.",
        ),
        sa.Column(
            "broker_dropped",
            sa.BigInteger(),
            nullable=True,
            comment="Messages the broker has dropped since its start.",
        ),
        sa.Column(
            "broker_held",
            sa.BigInteger(),
            nullable=True,
            comment="Messages the broker stores.",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ingest_workers")),
    )
    op.create_table(
        "shard_leases",
        sa.Column("shard", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("taken_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("shard", name=op.f("pk_shard_leases")),
    )


def downgrade() -> None:
    op.drop_table("shard_leases")
    op.drop_table("ingest_workers")
