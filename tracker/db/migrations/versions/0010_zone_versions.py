"""Zones have versions, each in force from a time on; plans of deliveries have a number."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "zones", sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False)
    )
    op.add_column(
        "zones",
        sa.Column(
            "superseded_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When a newer version was entered; the newest has none.",
        ),
    )
    op.drop_constraint("uq_zones_code", "zones", type_="unique")
    op.create_index("ix_zones_code", "zones", ["code"])
    op.create_index(
        "uq_zones_newest",
        "zones",
        ["code"],
        unique=True,
        postgresql_where=sa.text("superseded_at IS NULL"),
    )
    op.execute(
        "ALTER TABLE zones ADD CONSTRAINT ex_zones_code_time"
        " EXCLUDE USING gist (code WITH =, tstzrange(valid_from, valid_to) WITH &&)"
    )
    op.add_column(
        "delivery_state",
        sa.Column(
            "plan_no",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="Another when it is judged from its start: plans read before are void.",
        ),
    )


def downgrade() -> None:
    op.drop_column("delivery_state", "plan_no")
    op.drop_constraint("ex_zones_code_time", "zones")
    op.drop_index("uq_zones_newest", table_name="zones")
    op.drop_index("ix_zones_code", table_name="zones")
    # Only the newest version of each zone fits where a code stands once.
    op.execute(
        "UPDATE posts p SET zone_id = n.id FROM zones o JOIN zones n ON n.code = o.code"
        " AND n.superseded_at IS NULL WHERE o.id = p.zone_id AND o.superseded_at IS NOT NULL"
    )
    op.execute("DELETE FROM zones WHERE superseded_at IS NOT NULL")
    op.create_unique_constraint("uq_zones_code", "zones", ["code"])
    op.drop_column("zones", "superseded_at")
    op.drop_column("zones", "version")
