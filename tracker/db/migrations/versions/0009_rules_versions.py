"""The version of the rules that found an anomaly."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "anomalies",
        sa.Column("rules_version", sa.Text(), server_default=sa.text("'1'"), nullable=False),
    )


def downgrade() -> None:
    op.drop_column("anomalies", "rules_version")
