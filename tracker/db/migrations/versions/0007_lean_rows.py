"""Less to write per record: one state a delivery, one row a device, a signed record once."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)

# Rewritten with every record: room for the next version on the same page, vacuumed early.
HOT = ("device_received", "device_positions", "delivery_state")

SIGNED_RECORDS = """
CREATE VIEW signed_records AS
SELECT t.device_no, t.gen, t.seq, t.received_at, coalesce(t.topic, m.topic) AS topic,
       coalesce(t.body || t.trailer, m.payload) AS payload
FROM telemetry t
LEFT JOIN signed_messages m ON m.device_no = t.device_no AND m.id = t.message_id
WHERE t.trailer IS NOT NULL OR t.message_id IS NOT NULL
"""

# Made with the delivery, so that claiming one need not look for those that have none.
FIRST_STATE = """
CREATE FUNCTION first_state() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO delivery_state (delivery_id) SELECT id FROM made ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$
"""

# One count a session and not one for all, so that none waits for another's transaction.
NOTE_CHANGE = """
CREATE FUNCTION note_registry_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO registry_changes AS c (slot, changes) VALUES (pg_backend_pid() % 1024, 1)
    ON CONFLICT (slot) DO UPDATE SET changes = c.changes + 1;
    RETURN NULL;
END $$
"""
REGISTRY = ("devices", "device_keys")


def upgrade() -> None:
    op.execute(
        """
        INSERT INTO checkpoints (delivery_id, upto, version, state)
        SELECT delivery_id, upto, state_version, state FROM delivery_state
        WHERE upto IS NOT NULL AND state IS NOT NULL AND state_version IS NOT NULL
          AND retired_at IS NULL
        ON CONFLICT (delivery_id, upto) DO UPDATE
            SET state = excluded.state, version = excluded.version
        """
    )
    for name in ("upto", "state_version", "state"):
        op.drop_column("delivery_state", name)
    op.add_column(
        "device_received",
        sa.Column("version", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
    )
    op.add_column("device_received", sa.Column("last_received_at", TIME, nullable=True))
    op.add_column("device_received", sa.Column("newest_seq", sa.BigInteger(), nullable=True))
    op.add_column("device_received", sa.Column("newest_received_at", TIME, nullable=True))
    op.add_column("device_received", sa.Column("newest_t_star", TIME, nullable=True))
    op.drop_column("device_received", "updated_at")
    op.add_column(
        "telemetry",
        sa.Column(
            "topic",
            sa.Text(),
            nullable=True,
            comment="Of the signed message that held this record alone.",
        ),
    )
    op.add_column(
        "telemetry",
        sa.Column(
            "trailer",
            sa.LargeBinary(),
            nullable=True,
            comment="What that message held after the body: line feed, key id, MAC.",
        ),
    )
    op.drop_constraint("fk_signed_messages_device_no", "signed_messages", type_="foreignkey")
    op.execute(SIGNED_RECORDS)
    op.execute(FIRST_STATE)
    op.execute(
        "CREATE TRIGGER first_state AFTER INSERT ON deliveries REFERENCING NEW TABLE AS made"
        " FOR EACH STATEMENT EXECUTE FUNCTION first_state()"
    )
    op.execute(
        "INSERT INTO delivery_state (delivery_id) SELECT id FROM deliveries ON CONFLICT DO NOTHING"
    )
    op.create_table(
        "registry_changes",
        sa.Column("slot", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("changes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("slot", name=op.f("pk_registry_changes")),
    )
    op.execute(NOTE_CHANGE)
    for table in REGISTRY:
        op.execute(
            f"CREATE TRIGGER note_registry_change AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE"
            f" ON {table} FOR EACH STATEMENT EXECUTE FUNCTION note_registry_change()"
        )
    op.drop_index("ix_bindings_device_no", table_name="bindings")
    op.create_index("ix_bindings_device", "bindings", ["device_no", "bound_from"])
    for table in HOT:
        op.execute(
            f"ALTER TABLE {table} SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05)"
        )


def downgrade() -> None:
    for table in HOT:
        op.execute(f"ALTER TABLE {table} RESET (fillfactor, autovacuum_vacuum_scale_factor)")
    op.drop_index("ix_bindings_device", table_name="bindings")
    op.create_index("ix_bindings_device_no", "bindings", ["device_no"])
    for table in REGISTRY:
        op.execute(f"DROP TRIGGER note_registry_change ON {table}")
    op.execute("DROP FUNCTION note_registry_change()")
    op.drop_table("registry_changes")
    op.execute("DROP TRIGGER first_state ON deliveries")
    op.execute("DROP FUNCTION first_state()")
    op.execute("DROP VIEW signed_records")
    # Whole again: with the body twice, as before.
    op.execute(
        """
        WITH alone AS (
            SELECT device_no, gen, seq, received_at, topic, body || trailer AS payload,
                   nextval(pg_get_serial_sequence('signed_messages', 'id')) AS id
            FROM telemetry WHERE trailer IS NOT NULL
        ), kept AS (
            INSERT INTO signed_messages (device_no, id, received_at, topic, payload)
            OVERRIDING SYSTEM VALUE
            SELECT device_no, id, received_at, topic, payload FROM alone
        )
        UPDATE telemetry t SET message_id = alone.id FROM alone
        WHERE (t.device_no, t.gen, t.seq, t.received_at)
            = (alone.device_no, alone.gen, alone.seq, alone.received_at)
        """
    )
    op.create_foreign_key(
        "fk_signed_messages_device_no", "signed_messages", "devices", ["device_no"], ["device_no"]
    )
    op.drop_column("telemetry", "trailer")
    op.drop_column("telemetry", "topic")
    # The newest record of each device where it was looked for before.
    op.execute(
        """
        INSERT INTO device_state AS s (device_no, last_received_at, last_t_star, last_body)
        SELECT DISTINCT ON (r.device_no) r.device_no, r.last_received_at, r.newest_t_star, t.body
        FROM device_received r JOIN telemetry t ON t.device_no = r.device_no AND t.gen = r.gen
             AND t.seq = r.newest_seq AND t.received_at = r.newest_received_at
        ORDER BY r.device_no, r.newest_t_star DESC NULLS LAST
        ON CONFLICT (device_no) DO UPDATE SET last_received_at = excluded.last_received_at,
            last_t_star = excluded.last_t_star, last_body = excluded.last_body
        """
    )
    op.add_column(
        "device_received",
        sa.Column("updated_at", TIME, server_default=sa.text("now()"), nullable=False),
    )
    for name in (
        "newest_t_star", "newest_received_at", "newest_seq", "last_received_at", "version",
    ):  # fmt: skip
        op.drop_column("device_received", name)
    op.add_column("delivery_state", sa.Column("upto", TIME, nullable=True))
    op.add_column("delivery_state", sa.Column("state_version", sa.Text(), nullable=True))
    op.add_column("delivery_state", sa.Column("state", sa.LargeBinary(), nullable=True))
