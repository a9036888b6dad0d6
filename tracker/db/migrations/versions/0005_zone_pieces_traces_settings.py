"""Zones in pieces, routes declared on the way, traces, dated settings, dead zones."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from geoalchemy2 import Geometry
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)

# A territory's border has thousands of points: whether a fix lies in it is asked of a small piece.
CUT_ZONE = """
CREATE FUNCTION cut_zone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM zone_pieces WHERE zone_id = NEW.id;
    INSERT INTO zone_pieces (zone_id, piece_no, geom)
    SELECT NEW.id, row_number() OVER (), piece FROM ST_Subdivide(NEW.geom, 64) AS piece;
    RETURN NULL;
END $$
"""


def upgrade() -> None:
    op.create_table(
        "zone_pieces",
        sa.Column("zone_id", sa.BigInteger(), nullable=False),
        sa.Column("piece_no", sa.Integer(), nullable=False),
        sa.Column("geom", Geometry("GEOMETRY", srid=4326, spatial_index=False), nullable=False),
        sa.ForeignKeyConstraint(
            ["zone_id"], ["zones.id"], name=op.f("fk_zone_pieces_zone_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("zone_id", "piece_no", name=op.f("pk_zone_pieces")),
    )
    op.create_index("ix_zone_pieces_geom", "zone_pieces", ["geom"], postgresql_using="gist")
    op.create_index(
        "ix_zones_territory", "zones", ["id"], postgresql_where=sa.text("kind = 'territory'")
    )
    op.execute(CUT_ZONE)
    op.execute(
        "CREATE TRIGGER cut_zone AFTER INSERT OR UPDATE OF geom ON zones"
        " FOR EACH ROW EXECUTE FUNCTION cut_zone()"
    )
    op.execute(
        "INSERT INTO zone_pieces (zone_id, piece_no, geom)"
        " SELECT z.id, row_number() OVER (PARTITION BY z.id), piece"
        " FROM zones z CROSS JOIN LATERAL ST_Subdivide(z.geom, 64) AS piece"
    )
    op.create_table(
        "delivery_routes",
        sa.Column("delivery_id", sa.Uuid(), nullable=False),
        sa.Column("from_t", TIME, nullable=False),
        sa.Column("route_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["delivery_id"], ["deliveries.id"], name=op.f("fk_delivery_routes_delivery_id")
        ),
        sa.ForeignKeyConstraint(
            ["route_id"], ["routes.id"], name=op.f("fk_delivery_routes_route_id")
        ),
        sa.PrimaryKeyConstraint("delivery_id", "from_t", name=op.f("pk_delivery_routes")),
    )
    op.create_table(
        "traces",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("delivery_id", sa.Uuid(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("from_t", TIME, nullable=False),
        sa.Column("to_t", TIME, nullable=True),
        sa.Column("decided_t", TIME, nullable=True),
        sa.Column("geom", Geometry("POINT", srid=4326, spatial_index=False), nullable=True),
        sa.Column("cell", sa.Text(), nullable=True),
        sa.Column(
            "data", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["delivery_id"], ["deliveries.id"], name=op.f("fk_traces_delivery_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_traces")),
    )
    op.create_index("ix_traces_delivery", "traces", ["delivery_id"])
    op.create_index("ix_traces_place", "traces", ["geom"], postgresql_using="gist")
    op.create_index("ix_traces_cell", "traces", ["kind", "cell", "from_t"])
    op.create_table(
        "limit_settings",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("from_t", TIME, nullable=False),
        sa.Column("values", postgresql.JSONB(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, server_default=sa.text("now()"), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.CheckConstraint("scope IN ('national','post','lane','delivery')", name="scope"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_limit_settings")),
    )
    op.create_index("ix_limit_settings_scope", "limit_settings", ["scope", "key", "from_t"])
    op.create_table(
        "dead_zones",
        sa.Column("layer_date", sa.Date(), nullable=False),
        sa.Column("cell", sa.Text(), nullable=False),
        sa.Column("devices", sa.Integer(), nullable=False),
        sa.Column("gaps", sa.Integer(), nullable=False),
        sa.Column("first_at", TIME, nullable=False),
        sa.Column("last_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("layer_date", "cell", name=op.f("pk_dead_zones")),
    )


def downgrade() -> None:
    for table in ("dead_zones", "limit_settings", "traces", "delivery_routes"):
        op.drop_table(table)
    op.execute("DROP TRIGGER cut_zone ON zones")
    op.execute("DROP FUNCTION cut_zone()")
    op.drop_index("ix_zones_territory", table_name="zones")
    op.drop_table("zone_pieces")
