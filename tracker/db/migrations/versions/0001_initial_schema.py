"""The first schema."""

# mypy: disable-error-code="attr-defined"
# GeoAlchemy2 adds its operations to `op` when it is imported.

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from geoalchemy2 import Geometry
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE EXTENSION IF NOT EXISTS postgis")
    op.execute("CREATE EXTENSION IF NOT EXISTS btree_gist")
    op.create_table(
        "devices",
        sa.Column("device_no", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("hmac_required", sa.Boolean(), nullable=False),
        sa.Column("moving_s", sa.Double(), nullable=False),
        sa.Column("parked_s", sa.Double(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint("kind IN ('seal','gps')", name=op.f("ck_devices_kind")),
        sa.PrimaryKeyConstraint("device_no", name=op.f("pk_devices")),
        sa.UniqueConstraint("id", name=op.f("uq_devices_id")),
    )
    op.create_table(
        "dirty",
        sa.Column("delivery_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("from_t", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "marked_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("delivery_id", "id", name=op.f("pk_dirty")),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("request_hash", sa.Text(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("body", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("username", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column(
            "at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("delivery_id", sa.Uuid(), nullable=True),
        sa.Column("payload", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.CheckConstraint(
            "kind IN ('anomaly','alert','risk','delivery')", name=op.f("ck_outbox_kind")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
    )
    op.create_table(
        "participants",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("tax_id", sa.Text(), nullable=False),
        sa.Column("country", sa.Text(), nullable=False),
        sa.Column(
            "facts",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "kind IN ('carrier','declarant','both')", name=op.f("ck_participants_kind")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_participants")),
    )
    op.create_index("ix_participants_tax_id", "participants", ["tax_id", "country"])
    op.create_table(
        "quarantine",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("gen", sa.BigInteger(), nullable=True),
        sa.Column("seq", sa.BigInteger(), nullable=True),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quarantine")),
    )
    op.create_index("ix_quarantine_device", "quarantine", ["device_id", "id"], unique=False)
    op.create_index("ix_quarantine_reason", "quarantine", ["reason", "id"], unique=False)
    op.create_table(
        "quarantine_counts",
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("kept", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("over_limit", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("device_id", name=op.f("pk_quarantine_counts")),
    )
    op.create_geospatial_table(
        "routes",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "geom",
            Geometry(
                geometry_type="LINESTRING",
                srid=4326,
                dimension=2,
                spatial_index=False,
                from_text="ST_GeomFromEWKT",
                name="geometry",
                nullable=False,
            ),
            nullable=False,
        ),
        sa.Column("length_m", sa.Double(), nullable=False),
        sa.Column("corridor_m", sa.Double(), nullable=False),
        sa.Column(
            "legs",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'[]'::jsonb"),
            nullable=False,
        ),
        sa.Column(
            "checkpoints",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'[]'::jsonb"),
            nullable=False,
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_routes")),
        sa.UniqueConstraint("code", name=op.f("uq_routes_code")),
    )
    op.create_geospatial_table(
        "telemetry",
        sa.Column("device_no", sa.Integer(), nullable=False),
        sa.Column("gen", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("t_star", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "flags",
            sa.Integer(),
            server_default=sa.text("0"),
            nullable=False,
            comment="Bits of model.TimeFlag.",
        ),
        sa.Column(
            "geom",
            Geometry(
                geometry_type="POINT",
                srid=4326,
                dimension=2,
                spatial_index=False,
                from_text="ST_GeomFromEWKT",
                name="geometry",
            ),
            nullable=True,
        ),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column(
            "message_id",
            sa.BigInteger(),
            nullable=True,
            comment="The signed message this record came in, if it was signed.",
        ),
        sa.PrimaryKeyConstraint(
            "device_no", "gen", "seq", "received_at", name=op.f("pk_telemetry")
        ),
        postgresql_partition_by="RANGE (received_at)",
    )
    op.create_index("ix_telemetry_device_time", "telemetry", ["device_no", "t_star"], unique=False)
    op.create_index(
        "ix_telemetry_without_time",
        "telemetry",
        ["device_no", "gen", "seq"],
        unique=False,
        postgresql_where=sa.text("t_star IS NULL"),
    )
    op.create_geospatial_table(
        "zones",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column(
            "geom",
            Geometry(
                geometry_type="MULTIPOLYGON",
                srid=4326,
                dimension=2,
                spatial_index=False,
                from_text="ST_GeomFromEWKT",
                name="geometry",
                nullable=False,
            ),
            nullable=False,
        ),
        sa.Column("max_dwell_s", sa.Double(), nullable=True),
        sa.Column("valid_from", sa.DateTime(timezone=True), nullable=True),
        sa.Column("valid_to", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "kind IN ('post','border','parking','rest','fuel','terminal','restricted','territory')",
            name=op.f("ck_zones_kind"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_zones")),
        sa.UniqueConstraint("code", name=op.f("uq_zones_code")),
    )
    op.create_geospatial_index(
        "ix_zones_geom", "zones", ["geom"], unique=False, postgresql_using="gist", postgresql_ops={}
    )
    op.create_table(
        "device_keys",
        sa.Column("device_no", sa.Integer(), nullable=False),
        sa.Column("kid", sa.Text(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["device_no"],
            ["devices.device_no"],
            name=op.f("fk_device_keys_device_no"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("device_no", "kid", name=op.f("pk_device_keys")),
    )
    op.create_geospatial_table(
        "device_positions",
        sa.Column("device_no", sa.Integer(), nullable=False),
        sa.Column("delivery_id", sa.Uuid(), nullable=False),
        sa.Column("t", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "geom",
            Geometry(
                geometry_type="POINT",
                srid=4326,
                dimension=2,
                spatial_index=False,
                from_text="ST_GeomFromEWKT",
                name="geometry",
                nullable=False,
            ),
            nullable=False,
        ),
        sa.Column("speed_kmh", sa.Double(), nullable=True),
        sa.Column("heading_deg", sa.Double(), nullable=True),
        sa.Column("moving", sa.Boolean(), nullable=True),
        sa.Column("progress_m", sa.Double(), nullable=True),
        sa.Column("distance_m", sa.Double(), nullable=True),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["device_no"], ["devices.device_no"], name=op.f("fk_device_positions_device_no")
        ),
        sa.PrimaryKeyConstraint("device_no", name=op.f("pk_device_positions")),
    )
    op.create_index(
        op.f("ix_device_positions_delivery_id"), "device_positions", ["delivery_id"], unique=False
    )
    op.create_table(
        "device_received",
        sa.Column("device_no", sa.Integer(), nullable=False),
        sa.Column("gen", sa.BigInteger(), nullable=False),
        sa.Column("received", postgresql.INT8MULTIRANGE(), nullable=False),
        sa.Column("lo", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["device_no"],
            ["devices.device_no"],
            name=op.f("fk_device_received_device_no"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("device_no", "gen", name=op.f("pk_device_received")),
    )
    op.create_table(
        "device_state",
        sa.Column("device_no", sa.Integer(), nullable=False),
        sa.Column("online", sa.Boolean(), nullable=True),
        sa.Column("conn", sa.BigInteger(), nullable=True),
        sa.Column("boot", sa.BigInteger(), nullable=True),
        sa.Column("gen", sa.BigInteger(), nullable=True),
        sa.Column("birth", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("state_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_received_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_t_star", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_body", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ["device_no"],
            ["devices.device_no"],
            name=op.f("fk_device_state_device_no"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("device_no", name=op.f("pk_device_state")),
    )
    op.create_geospatial_table(
        "posts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column(
            "geom",
            Geometry(
                geometry_type="POINT",
                srid=4326,
                dimension=2,
                spatial_index=False,
                from_text="ST_GeomFromEWKT",
                name="geometry",
                nullable=False,
            ),
            nullable=False,
        ),
        sa.Column("country", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), server_default="inland", nullable=False),
        sa.Column("zone_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "kind IN ('border','inland','airport','rail','sea')", name=op.f("ck_posts_kind")
        ),
        sa.ForeignKeyConstraint(["zone_id"], ["zones.id"], name=op.f("fk_posts_zone_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_posts")),
        sa.UniqueConstraint("code", name=op.f("uq_posts_code")),
    )
    op.create_geospatial_table(
        "route_pieces",
        sa.Column("route_id", sa.BigInteger(), nullable=False),
        sa.Column("piece_no", sa.Integer(), nullable=False),
        sa.Column("start_m", sa.Double(), nullable=False),
        sa.Column("length_m", sa.Double(), nullable=False),
        sa.Column("half_width_m", sa.Double(), nullable=False),
        sa.Column(
            "geom_plane",
            Geometry(
                geometry_type="LINESTRING",
                srid=3857,
                dimension=2,
                spatial_index=False,
                from_text="ST_GeomFromEWKT",
                name="geometry",
                nullable=False,
            ),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["route_id"], ["routes.id"], name=op.f("fk_route_pieces_route_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("route_id", "piece_no", name=op.f("pk_route_pieces")),
    )
    op.create_index(
        "ix_route_pieces_near",
        "route_pieces",
        ["route_id", "geom_plane"],
        unique=False,
        postgresql_using="gist",
    )
    op.create_table(
        "signed_messages",
        sa.Column("device_no", sa.Integer(), nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["device_no"], ["devices.device_no"], name=op.f("fk_signed_messages_device_no")
        ),
        sa.PrimaryKeyConstraint("device_no", "id", name=op.f("pk_signed_messages")),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column(
            "posts",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'[]'::jsonb"),
            nullable=False,
        ),
        sa.Column("participant_id", sa.Uuid(), nullable=True),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "role IN ('monitor','officer','carrier','analyst','auditor','admin','integration')",
            name=op.f("ck_users_role"),
        ),
        sa.ForeignKeyConstraint(
            ["participant_id"], ["participants.id"], name=op.f("fk_users_participant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("username", name=op.f("uq_users_username")),
    )
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("registration_number", sa.Text(), nullable=False),
        sa.Column("direction", sa.Text(), nullable=False),
        sa.Column("carrier_id", sa.Uuid(), nullable=False),
        sa.Column("declarant_id", sa.Uuid(), nullable=False),
        sa.Column("departure_post", sa.Text(), nullable=False),
        sa.Column("destination_post", sa.Text(), nullable=False),
        sa.Column("route_id", sa.BigInteger(), nullable=False),
        sa.Column("deadline", sa.DateTime(timezone=True), nullable=False),
        sa.Column("scheduled_departure", sa.DateTime(timezone=True), nullable=True),
        sa.Column("goods", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("vehicle", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("status", sa.Text(), server_default="declared", nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column(
            "declared_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("released_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("arrived_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "direction IN ('import','transit','export')", name=op.f("ck_deliveries_direction")
        ),
        sa.ForeignKeyConstraint(
            ["carrier_id"], ["participants.id"], name=op.f("fk_deliveries_carrier_id")
        ),
        sa.ForeignKeyConstraint(
            ["declarant_id"], ["participants.id"], name=op.f("fk_deliveries_declarant_id")
        ),
        sa.ForeignKeyConstraint(
            ["departure_post"], ["posts.code"], name=op.f("fk_deliveries_departure_post")
        ),
        sa.ForeignKeyConstraint(
            ["destination_post"], ["posts.code"], name=op.f("fk_deliveries_destination_post")
        ),
        sa.ForeignKeyConstraint(["route_id"], ["routes.id"], name=op.f("fk_deliveries_route_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
        sa.UniqueConstraint("registration_number", name=op.f("uq_deliveries_registration_number")),
    )
    op.create_index(op.f("ix_deliveries_carrier_id"), "deliveries", ["carrier_id"], unique=False)
    op.create_index(
        op.f("ix_deliveries_declarant_id"), "deliveries", ["declarant_id"], unique=False
    )
    op.create_index(
        op.f("ix_deliveries_destination_post"), "deliveries", ["destination_post"], unique=False
    )
    op.create_index(op.f("ix_deliveries_status"), "deliveries", ["status"], unique=False)
    op.create_table(
        "alerts",
        sa.Column("delivery_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column(
            "raised_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("count", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("assignee", sa.Text(), nullable=True),
        sa.Column("finding", sa.Text(), nullable=True),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status IN ('open','acknowledged','resolved','retracted')",
            name=op.f("ck_alerts_status"),
        ),
        sa.ForeignKeyConstraint(
            ["delivery_id"], ["deliveries.id"], name=op.f("fk_alerts_delivery_id")
        ),
        sa.PrimaryKeyConstraint("delivery_id", "id", name=op.f("pk_alerts")),
        sa.UniqueConstraint("id", name=op.f("uq_alerts_id")),
    )
    op.create_index("ix_alerts_raised", "alerts", ["raised_at", "id"], unique=False)
    op.create_index(
        "uq_alerts_one_open",
        "alerts",
        ["delivery_id", "code"],
        unique=True,
        postgresql_where=sa.text("status IN ('open','acknowledged')"),
    )
    op.create_geospatial_table(
        "anomalies",
        sa.Column("delivery_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=True),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("eaeu_code", sa.Text(), nullable=True),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("basis", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("provisional", sa.Boolean(), nullable=False),
        sa.Column("start_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("end_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "geom",
            Geometry(
                srid=4326,
                dimension=2,
                spatial_index=False,
                from_text="ST_GeomFromEWKT",
                name="geometry",
            ),
            nullable=True,
        ),
        sa.Column("evidence", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column(
            "found_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("found_by", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("settings_version", sa.Text(), nullable=False),
        sa.Column("alert_id", sa.Uuid(), nullable=True),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "status IN ('open','closed','retracted')", name=op.f("ck_anomalies_status")
        ),
        sa.ForeignKeyConstraint(
            ["delivery_id"], ["deliveries.id"], name=op.f("fk_anomalies_delivery_id")
        ),
        sa.PrimaryKeyConstraint("delivery_id", "id", name=op.f("pk_anomalies")),
        sa.UniqueConstraint("id", name=op.f("uq_anomalies_id")),
    )
    op.create_index("ix_anomalies_found", "anomalies", ["found_at", "id"], unique=False)
    op.create_table(
        "bindings",
        sa.Column("delivery_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("device_no", sa.Integer(), nullable=False),
        sa.Column("bound_from", sa.DateTime(timezone=True), nullable=True),
        sa.Column("bound_to", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "released",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="The reservation or binding has ended.",
        ),
        postgresql.ExcludeConstraint(
            (sa.text("device_no"), "="),
            (sa.text("tstzrange(bound_from, bound_to)"), "&&"),
            where=sa.text("bound_from IS NOT NULL"),
            using="gist",
            name="ex_bindings_device_time",
        ),
        sa.ForeignKeyConstraint(
            ["delivery_id"], ["deliveries.id"], name=op.f("fk_bindings_delivery_id")
        ),
        sa.ForeignKeyConstraint(
            ["device_no"], ["devices.device_no"], name=op.f("fk_bindings_device_no")
        ),
        sa.PrimaryKeyConstraint("delivery_id", "id", name=op.f("pk_bindings")),
    )
    op.create_index(op.f("ix_bindings_device_no"), "bindings", ["device_no"], unique=False)
    op.create_table(
        "checkpoints",
        sa.Column("delivery_id", sa.Uuid(), nullable=False),
        sa.Column("upto", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("state", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["delivery_id"],
            ["deliveries.id"],
            name=op.f("fk_checkpoints_delivery_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("delivery_id", "upto", name=op.f("pk_checkpoints")),
    )
    op.create_table(
        "delivery_acts",
        sa.Column("delivery_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "recorded_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("recorded_by", sa.Text(), nullable=False),
        sa.Column(
            "data",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["delivery_id"], ["deliveries.id"], name=op.f("fk_delivery_acts_delivery_id")
        ),
        sa.PrimaryKeyConstraint("delivery_id", "id", name=op.f("pk_delivery_acts")),
    )
    op.create_table(
        "delivery_state",
        sa.Column("delivery_id", sa.Uuid(), nullable=False),
        sa.Column("evaluated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_clock_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("probability", sa.Double(), nullable=True),
        sa.Column("expected_loss_kzt", sa.BigInteger(), nullable=True),
        sa.Column("level", sa.Text(), nullable=True),
        sa.Column("progress_m", sa.Double(), nullable=True),
        sa.Column("upto", sa.DateTime(timezone=True), nullable=True),
        sa.Column("state_version", sa.Text(), nullable=True),
        sa.Column("state", sa.LargeBinary(), nullable=True),
        sa.Column("assessed", sa.Text(), nullable=True, comment="Digest of the newest assessment."),
        sa.Column(
            "error", sa.Text(), nullable=True, comment="Id of the fault that stopped evaluation."
        ),
        sa.Column(
            "retry_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When to try again after a fault.",
        ),
        sa.ForeignKeyConstraint(
            ["delivery_id"],
            ["deliveries.id"],
            name=op.f("fk_delivery_state_delivery_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("delivery_id", name=op.f("pk_delivery_state")),
    )
    op.create_index(
        op.f("ix_delivery_state_next_clock_at"), "delivery_state", ["next_clock_at"], unique=False
    )
    op.create_table(
        "risk_assessments",
        sa.Column("delivery_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column(
            "at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("probability", sa.Double(), nullable=False),
        sa.Column("consequence_kzt", sa.BigInteger(), nullable=False),
        sa.Column("expected_loss_kzt", sa.BigInteger(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("corridor", sa.Text(), nullable=False),
        sa.Column("reasons", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("weights_version", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["delivery_id"], ["deliveries.id"], name=op.f("fk_risk_assessments_delivery_id")
        ),
        sa.PrimaryKeyConstraint("delivery_id", "id", name=op.f("pk_risk_assessments")),
    )
    op.create_table(
        "alert_history",
        sa.Column("alert_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column(
            "at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(
            ["alert_id"], ["alerts.id"], name=op.f("fk_alert_history_alert_id")
        ),
        sa.PrimaryKeyConstraint("alert_id", "id", name=op.f("pk_alert_history")),
    )
    # Rows that change with every record: room on their page lets an update touch no index.
    for table in ("delivery_state", "device_state", "device_received", "device_positions"):
        op.execute(f"ALTER TABLE {table} SET (fillfactor = 50)")
    # The safety net: rows go here only if no partition was made ahead (tracker.db.partitions).
    op.execute("CREATE TABLE telemetry_default PARTITION OF telemetry DEFAULT")


def downgrade() -> None:
    op.drop_table("alert_history")
    op.drop_table("risk_assessments")
    op.drop_index(op.f("ix_delivery_state_next_clock_at"), table_name="delivery_state")
    op.drop_table("delivery_state")
    op.drop_table("delivery_acts")
    op.drop_table("checkpoints")
    op.drop_index(op.f("ix_bindings_device_no"), table_name="bindings")
    op.drop_table("bindings")
    op.drop_index("ix_anomalies_found", table_name="anomalies")
    op.drop_geospatial_table("anomalies")
    op.drop_index(
        "uq_alerts_one_open",
        table_name="alerts",
        postgresql_where=sa.text("status IN ('open','acknowledged')"),
    )
    op.drop_index("ix_alerts_raised", table_name="alerts")
    op.drop_table("alerts")
    op.drop_index(op.f("ix_deliveries_status"), table_name="deliveries")
    op.drop_index(op.f("ix_deliveries_destination_post"), table_name="deliveries")
    op.drop_index(op.f("ix_deliveries_declarant_id"), table_name="deliveries")
    op.drop_index(op.f("ix_deliveries_carrier_id"), table_name="deliveries")
    op.drop_table("deliveries")
    op.drop_table("users")
    op.drop_table("signed_messages")
    op.drop_index("ix_route_pieces_near", table_name="route_pieces", postgresql_using="gist")
    op.drop_geospatial_table("route_pieces")
    op.drop_geospatial_table("posts")
    op.drop_table("device_state")
    op.drop_table("device_received")
    op.drop_index(op.f("ix_device_positions_delivery_id"), table_name="device_positions")
    op.drop_geospatial_table("device_positions")
    op.drop_table("device_keys")
    op.drop_geospatial_index(
        "ix_zones_geom", table_name="zones", postgresql_using="gist", column_name="geom"
    )
    op.drop_geospatial_table("zones")
    op.drop_index(
        "ix_telemetry_without_time",
        table_name="telemetry",
        postgresql_where=sa.text("t_star IS NULL"),
    )
    op.drop_index("ix_telemetry_device_time", table_name="telemetry")
    op.drop_geospatial_table("telemetry")
    op.drop_geospatial_table("routes")
    op.drop_table("quarantine_counts")
    op.drop_index("ix_quarantine_reason", table_name="quarantine")
    op.drop_index("ix_quarantine_device", table_name="quarantine")
    op.drop_table("quarantine")
    op.drop_table("participants")
    op.drop_table("outbox")
    op.drop_table("idempotency_keys")
    op.drop_table("dirty")
    op.drop_table("devices")
