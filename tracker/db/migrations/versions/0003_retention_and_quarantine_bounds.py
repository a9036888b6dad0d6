"""Archives, deliveries that are not judged again, bounds of quarantine in bytes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "archives",
        sa.Column("partition", sa.Text(), nullable=False),
        sa.Column("run", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("records", sa.BigInteger(), nullable=False),
        sa.Column("messages", sa.BigInteger(), nullable=False),
        sa.Column("kept", sa.BigInteger(), nullable=False),
        sa.Column("path", sa.Text(), nullable=True),
        sa.Column(
            "sha256", sa.Text(), nullable=True, comment="Of the manifest, which has the files'."
        ),
        sa.Column(
            "archived_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("partition", "run", name=op.f("pk_archives")),
    )
    op.add_column(
        "delivery_state",
        sa.Column(
            "retired_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Its records are archived: what was found stands and is not judged again.",
        ),
    )
    op.add_column(
        "quarantine",
        sa.Column(
            "message_id",
            sa.BigInteger(),
            nullable=True,
            comment="The signed message this is a part of, if it was signed and kept.",
        ),
    )
    for name in ("kept_bytes", "over_limit_bytes"):
        op.add_column(
            "quarantine_counts",
            sa.Column(name, sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        )
    op.execute(
        """
        UPDATE quarantine_counts c SET kept_bytes = q.size
        FROM (SELECT device_id, sum(size_bytes) AS size FROM quarantine GROUP BY device_id) q
        WHERE q.device_id = c.device_id
        """
    )
    op.create_index(
        "ix_signed_messages_received",
        "signed_messages",
        ["received_at"],
        unique=False,
        postgresql_using="brin",
    )


def downgrade() -> None:
    op.drop_index(
        "ix_signed_messages_received", table_name="signed_messages", postgresql_using="brin"
    )
    op.drop_column("quarantine_counts", "over_limit_bytes")
    op.drop_column("quarantine_counts", "kept_bytes")
    op.drop_column("quarantine", "message_id")
    op.drop_column("delivery_state", "retired_at")
    op.drop_table("archives")
