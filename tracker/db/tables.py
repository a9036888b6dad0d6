"""The tables, as SQLAlchemy models with GeoAlchemy2 geometry; migrations must equal them.

Keys are led by the device or the delivery, so that the tables can be distributed by either
without change. All instants are ``timestamptz``; all geometry is WGS 84 (4326), except the
planar copy of route pieces (3857), which only finds which piece is near.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any
from uuid import UUID

from geoalchemy2 import Geometry, WKBElement
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, INT8MULTIRANGE, JSONB, ExcludeConstraint, Range
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """Common metadata: names of constraints, types of Python annotations."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it as a class attribute
        datetime: DateTime(timezone=True),
        str: Text(),
        bytes: LargeBinary(),
        dict[str, Any]: JSONB(),
        list[Any]: JSONB(),
    }


def _uuid_key() -> Mapped[UUID]:
    return mapped_column(primary_key=True, server_default=text("gen_random_uuid()"))


def _now() -> Mapped[datetime]:
    return mapped_column(server_default=func.now())


# ---------------------------------------------------------------- people and places


class User(Base):
    """A person or system that may log in."""

    __tablename__ = "users"
    id: Mapped[UUID] = _uuid_key()
    username: Mapped[str] = mapped_column(unique=True)
    password_hash: Mapped[str]
    role: Mapped[str]
    posts: Mapped[list[Any]] = mapped_column(server_default=text("'[]'::jsonb"))
    participant_id: Mapped[UUID | None] = mapped_column(ForeignKey("participants.id"))
    active: Mapped[bool] = mapped_column(server_default=text("true"))
    created_at: Mapped[datetime] = _now()
    __table_args__ = (
        CheckConstraint(
            "role IN ('monitor','officer','carrier','analyst','auditor','admin','integration')",
            name="role",
        ),
    )


class Zone(Base):
    """A version of a zone, an area with a meaning for a stop or a passage.

    Versions of one code follow each other in time, each in force from ``valid_from`` (included) to
    ``valid_to`` (not included); what refers to a zone means its code. ``version`` grows with each
    change; the newest version is the one that has not been superseded.
    """

    __tablename__ = "zones"
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    code: Mapped[str]
    name: Mapped[dict[str, Any]]
    kind: Mapped[str]
    geom: Mapped[WKBElement] = mapped_column(
        Geometry("MULTIPOLYGON", srid=4326, spatial_index=False)
    )
    max_dwell_s: Mapped[float | None]
    valid_from: Mapped[datetime | None]
    valid_to: Mapped[datetime | None]
    created_at: Mapped[datetime] = _now()
    version: Mapped[int] = mapped_column(server_default=text("1"))
    superseded_at: Mapped[datetime | None] = mapped_column(
        comment="When a newer version was entered; the newest has none."
    )
    created_by: Mapped[str | None] = mapped_column(
        comment="Who entered this version; unknown of those entered before this was kept."
    )
    ended_at: Mapped[datetime | None] = mapped_column(
        comment="When it was entered that this version ends, if it was ended by hand."
    )
    ended_by: Mapped[str | None]
    __table_args__ = (
        Index("ix_zones_geom", "geom", postgresql_using="gist"),
        Index("ix_zones_code", "code"),
        Index(
            "uq_zones_newest", "code", unique=True, postgresql_where=text("superseded_at IS NULL")
        ),
        ExcludeConstraint(
            (text("code"), "="),
            (text("tstzrange(valid_from, valid_to)"), "&&"),
            using="gist",
            name="ex_zones_code_time",
        ),
        Index("ix_zones_territory", "id", postgresql_where=text("kind = 'territory'")),
        CheckConstraint(
            "kind IN ('post','border','parking','rest','fuel','terminal','restricted','territory')",
            name="kind",
        ),
    )


class ZonePiece(Base):
    """A small piece of a zone, cut by a trigger whenever a zone's geometry is written."""

    __tablename__ = "zone_pieces"
    zone_id: Mapped[int] = mapped_column(
        ForeignKey("zones.id", ondelete="CASCADE"), primary_key=True
    )
    piece_no: Mapped[int] = mapped_column(primary_key=True)
    geom: Mapped[WKBElement] = mapped_column(Geometry("GEOMETRY", srid=4326, spatial_index=False))
    __table_args__ = (Index("ix_zone_pieces_geom", "geom", postgresql_using="gist"),)


class Post(Base):
    """A customs post."""

    __tablename__ = "posts"
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    code: Mapped[str] = mapped_column(unique=True)
    name: Mapped[dict[str, Any]]
    geom: Mapped[WKBElement] = mapped_column(Geometry("POINT", srid=4326, spatial_index=False))
    country: Mapped[str]
    kind: Mapped[str] = mapped_column(server_default="inland")
    zone_id: Mapped[int] = mapped_column(ForeignKey("zones.id"))
    created_at: Mapped[datetime] = _now()
    __table_args__ = (
        CheckConstraint("kind IN ('border','inland','airport','rail','sea')", name="kind"),
    )


class Participant(Base):
    """A carrier or declarant, with the facts that decide the category."""

    __tablename__ = "participants"
    id: Mapped[UUID] = _uuid_key()
    name: Mapped[str]
    kind: Mapped[str]
    tax_id: Mapped[str]
    country: Mapped[str]
    facts: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    created_at: Mapped[datetime] = _now()
    __table_args__ = (
        Index("ix_participants_tax_id", "tax_id", "country"),
        CheckConstraint("kind IN ('carrier','declarant','both')", name="kind"),
    )


# ---------------------------------------------------------------- routes


class Route(Base):
    """A declared route: a line with a corridor. No ``code``: declared within a delivery."""

    __tablename__ = "routes"
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    code: Mapped[str | None] = mapped_column(unique=True)
    name: Mapped[str]
    geom: Mapped[WKBElement] = mapped_column(Geometry("LINESTRING", srid=4326, spatial_index=False))
    length_m: Mapped[float]
    corridor_m: Mapped[float]
    legs: Mapped[list[Any]] = mapped_column(server_default=text("'[]'::jsonb"))
    checkpoints: Mapped[list[Any]] = mapped_column(server_default=text("'[]'::jsonb"))
    created_at: Mapped[datetime] = _now()


class RoutePiece(Base):
    """A short piece of a route with the distance along the route at which it starts.

    ``geom_plane`` is the piece in Web Mercator: conformal, so that the planar nearest point on a
    short piece is the true one to second order; distances are then taken on the ellipsoid.
    """

    __tablename__ = "route_pieces"
    route_id: Mapped[int] = mapped_column(
        ForeignKey("routes.id", ondelete="CASCADE"), primary_key=True
    )
    piece_no: Mapped[int] = mapped_column(primary_key=True)
    start_m: Mapped[float]
    length_m: Mapped[float]
    half_width_m: Mapped[float]
    geom_plane: Mapped[WKBElement] = mapped_column(
        Geometry("LINESTRING", srid=3857, spatial_index=False)
    )
    __table_args__ = (
        Index("ix_route_pieces_near", "route_id", "geom_plane", postgresql_using="gist"),
    )


# ---------------------------------------------------------------- devices


class Device(Base):
    """A registered seal or vehicle unit. ``device_no`` is its short key in large tables."""

    __tablename__ = "devices"
    device_no: Mapped[int] = mapped_column(Identity(), primary_key=True)
    id: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[str]
    model: Mapped[str | None]
    hmac_required: Mapped[bool]
    moving_s: Mapped[float]
    parked_s: Mapped[float]
    created_at: Mapped[datetime] = _now()
    version: Mapped[int] = mapped_column(server_default=text("1"))
    __table_args__ = (CheckConstraint("kind IN ('seal','gps')", name="kind"),)


class DeviceKey(Base):
    """A key with which a device signs its messages. An old one is valid until it expires."""

    __tablename__ = "device_keys"
    device_no: Mapped[int] = mapped_column(
        ForeignKey("devices.device_no", ondelete="CASCADE"), primary_key=True
    )
    kid: Mapped[str] = mapped_column(primary_key=True)
    secret: Mapped[bytes]
    created_at: Mapped[datetime] = _now()
    expires_at: Mapped[datetime | None]


class RegistryChange(Base):
    """Counts the statements that changed `Device` or `DeviceKey`, by session (triggers do it).

    The sum tells who remembers devices whether what he remembers still holds.
    """

    __tablename__ = "registry_changes"
    slot: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    changes: Mapped[int] = mapped_column(BigInteger)


class BrokerLogin(Base):
    """A device's password at the broker, as the hash that Mosquitto reads. The name is the id."""

    __tablename__ = "broker_logins"
    device_no: Mapped[int] = mapped_column(
        ForeignKey("devices.device_no", ondelete="CASCADE"), primary_key=True
    )
    password_hash: Mapped[str]
    changed_at: Mapped[datetime] = _now()


HOT: dict[str, object] = {"fillfactor": 50, "autovacuum_vacuum_scale_factor": 0.05}
"""For tables whose rows are rewritten with every record: room for the next version on the page."""


class DeviceState(Base):
    """What the device last said of itself: presence, generation, versions.

    ``last_…``: the newest record of a device of another system, in our words; that of our own
    devices is found by `DeviceReceived`.
    """

    __tablename__ = "device_state"
    device_no: Mapped[int] = mapped_column(
        ForeignKey("devices.device_no", ondelete="CASCADE"), primary_key=True
    )
    online: Mapped[bool | None]
    conn: Mapped[int | None] = mapped_column(BigInteger)
    boot: Mapped[int | None] = mapped_column(BigInteger)
    gen: Mapped[int | None] = mapped_column(BigInteger)
    birth: Mapped[dict[str, Any] | None]
    state_at: Mapped[datetime | None]
    last_received_at: Mapped[datetime | None]
    last_t_star: Mapped[datetime | None]
    last_body: Mapped[bytes | None]


class DeviceReceived(Base):
    """The sequence numbers received from a device in one generation: the guard of identity.

    The storing transaction changes the row, so a (device, gen, seq) enters telemetry once;
    ``version`` counts the changes, for those who remember the row instead of reading it.
    ``lo``: lowest seq the device still holds; holes below it are final. ``newest_…``: which of the
    generation's records is the newest by t*, else by arrival.
    """

    __tablename__ = "device_received"
    device_no: Mapped[int] = mapped_column(
        ForeignKey("devices.device_no", ondelete="CASCADE"), primary_key=True
    )
    gen: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    received: Mapped[list[Range[int]]] = mapped_column(INT8MULTIRANGE)
    lo: Mapped[int] = mapped_column(BigInteger, server_default=text("1"))
    version: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    last_received_at: Mapped[datetime | None]
    newest_seq: Mapped[int | None] = mapped_column(BigInteger)
    newest_received_at: Mapped[datetime | None]
    newest_t_star: Mapped[datetime | None]
    __table_args__ = ({"postgresql_with": HOT},)


# ---------------------------------------------------------------- deliveries


class Delivery(Base):
    """One movement under customs control from a departure to a destination post."""

    __tablename__ = "deliveries"
    id: Mapped[UUID] = _uuid_key()
    registration_number: Mapped[str] = mapped_column(unique=True)
    direction: Mapped[str]
    carrier_id: Mapped[UUID] = mapped_column(ForeignKey("participants.id"), index=True)
    declarant_id: Mapped[UUID] = mapped_column(ForeignKey("participants.id"), index=True)
    departure_post: Mapped[str] = mapped_column(ForeignKey("posts.code"))
    destination_post: Mapped[str] = mapped_column(ForeignKey("posts.code"), index=True)
    route_id: Mapped[int] = mapped_column(ForeignKey("routes.id"))
    deadline: Mapped[datetime]
    scheduled_departure: Mapped[datetime | None]
    goods: Mapped[list[Any]]
    vehicle: Mapped[dict[str, Any]]
    status: Mapped[str] = mapped_column(server_default="declared", index=True)
    version: Mapped[int] = mapped_column(server_default=text("1"))
    declared_at: Mapped[datetime] = _now()
    released_at: Mapped[datetime | None]
    arrived_at: Mapped[datetime | None]
    __table_args__ = (
        CheckConstraint("direction IN ('import','transit','export')", name="direction"),
    )


class DeliveryAct(Base):
    """What a person did: when it happened (``at``), when it was entered, by whom, with what."""

    __tablename__ = "delivery_acts"
    delivery_id: Mapped[UUID] = mapped_column(ForeignKey("deliveries.id"), primary_key=True)
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    kind: Mapped[str]
    at: Mapped[datetime]
    recorded_at: Mapped[datetime] = _now()
    recorded_by: Mapped[str]
    data: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))


class ScanFile(Base):
    """The picture of a container scan, as it came, with the act that records its verdict."""

    __tablename__ = "scan_files"
    delivery_id: Mapped[UUID] = mapped_column(ForeignKey("deliveries.id"), primary_key=True)
    act_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    name: Mapped[str]
    media_type: Mapped[str]
    sha256: Mapped[str]
    content: Mapped[bytes]


class DeliveryRoute(Base):
    """A route declared on the way, in force from a time on; until the first of these: the
    delivery's own."""

    __tablename__ = "delivery_routes"
    delivery_id: Mapped[UUID] = mapped_column(ForeignKey("deliveries.id"), primary_key=True)
    from_t: Mapped[datetime] = mapped_column(primary_key=True)
    route_id: Mapped[int] = mapped_column(ForeignKey("routes.id"))


class Binding(Base):
    """A device on a delivery. Reserved while ``bound_from`` is empty, bound from the release on."""

    __tablename__ = "bindings"
    delivery_id: Mapped[UUID] = mapped_column(ForeignKey("deliveries.id"), primary_key=True)
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    device_no: Mapped[int] = mapped_column(ForeignKey("devices.device_no"))
    bound_from: Mapped[datetime | None]
    bound_to: Mapped[datetime | None]
    released: Mapped[bool] = mapped_column(
        server_default=text("false"), comment="The reservation or binding has ended."
    )
    __table_args__ = (
        ExcludeConstraint(
            (text("device_no"), "="),
            (text("tstzrange(bound_from, bound_to)"), "&&"),
            where=text("bound_from IS NOT NULL"),
            using="gist",
            name="ex_bindings_device_time",
        ),
        Index("ix_bindings_device", "device_no", "bound_from"),
    )


# ---------------------------------------------------------------- telemetry


class Telemetry(Base):
    """Records as received, partitioned by the time of reception (docs/decisions)."""

    __tablename__ = "telemetry"
    device_no: Mapped[int] = mapped_column(primary_key=True)
    gen: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    received_at: Mapped[datetime] = mapped_column(primary_key=True)
    t_star: Mapped[datetime | None]
    flags: Mapped[int] = mapped_column(server_default=text("0"), comment="Bits of model.TimeFlag.")
    geom: Mapped[WKBElement | None] = mapped_column(
        Geometry("POINT", srid=4326, spatial_index=False)
    )
    body: Mapped[bytes]
    message_id: Mapped[int | None] = mapped_column(
        BigInteger, comment="The signed message this record came in, if it was signed."
    )
    topic: Mapped[str | None] = mapped_column(
        comment="Of the signed message that held this record alone."
    )
    trailer: Mapped[bytes | None] = mapped_column(
        comment="What that message held after the body: line feed, key id, MAC."
    )
    __table_args__ = (
        Index("ix_telemetry_device_time", "device_no", "t_star"),
        Index(
            "ix_telemetry_without_time",
            "device_no",
            "gen",
            "seq",
            postgresql_where=text("t_star IS NULL"),
        ),
        {"postgresql_partition_by": "RANGE (received_at)"},
    )


class SignedMessage(Base):
    """A signed message of several records, whole: topic, body and trailer, for its MAC.

    One that held a single record is kept with it. The view ``signed_records`` shows the message of
    every signed record. No foreign key: it would lock the device's row with every message.
    """

    __tablename__ = "signed_messages"
    device_no: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    received_at: Mapped[datetime]
    topic: Mapped[str]
    payload: Mapped[bytes]
    __table_args__ = (Index("ix_signed_messages_received", "received_at", postgresql_using="brin"),)


class Archive(Base):
    """What retention has taken out of ``telemetry``, and where it is now. Never changed.

    ``path`` empty: dropped without an archive, as the settings say. ``kept``: records of open
    cases that stayed in the table.
    """

    __tablename__ = "archives"
    partition: Mapped[str] = mapped_column(primary_key=True)
    run: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    records: Mapped[int] = mapped_column(BigInteger)
    messages: Mapped[int] = mapped_column(BigInteger)
    kept: Mapped[int] = mapped_column(BigInteger)
    path: Mapped[str | None]
    sha256: Mapped[str | None] = mapped_column(comment="Of the manifest, which has the files'.")
    archived_at: Mapped[datetime] = _now()


class Quarantine(Base):
    """What was refused, raw, with the reason."""

    __tablename__ = "quarantine"
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    received_at: Mapped[datetime]
    topic: Mapped[str]
    device_id: Mapped[str | None]
    reason: Mapped[str]
    detail: Mapped[str]
    gen: Mapped[int | None] = mapped_column(BigInteger)
    seq: Mapped[int | None] = mapped_column(BigInteger)
    size_bytes: Mapped[int]
    payload: Mapped[bytes]
    message_id: Mapped[int | None] = mapped_column(
        BigInteger, comment="The signed message this is a part of, if it was signed and kept."
    )
    __table_args__ = (
        Index("ix_quarantine_device", "device_id", "id"),
        Index("ix_quarantine_reason", "reason", "id"),
    )


class QuarantineCount(Base):
    """Records refused per device: all of them, and those that the bound kept out of quarantine."""

    __tablename__ = "quarantine_counts"
    device_id: Mapped[str] = mapped_column(primary_key=True)
    kept: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    over_limit: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    kept_bytes: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    over_limit_bytes: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))


class RefusalRow(Base):
    """Messages refused in the name of a registered device: those of one reason within one slot of
    reception and one of the time they belong to (see `tracker.db.refusals`).

    Counted whether or not quarantine had room for the raw bytes, so that a flood cannot hide.
    """

    __tablename__ = "refusals"
    device_no: Mapped[int] = mapped_column(
        ForeignKey("devices.device_no", ondelete="CASCADE"), primary_key=True
    )
    at_slot: Mapped[datetime] = mapped_column(primary_key=True)
    reason: Mapped[str] = mapped_column(primary_key=True)
    received_slot: Mapped[datetime] = mapped_column(primary_key=True)
    first_at: Mapped[datetime]
    last_at: Mapped[datetime]
    from_t: Mapped[datetime]
    to_t: Mapped[datetime]
    count: Mapped[int] = mapped_column(BigInteger)
    topics: Mapped[list[str]] = mapped_column(ARRAY(Text()))
    quarantine_ids: Mapped[list[int]] = mapped_column(ARRAY(BigInteger()))
    identities: Mapped[list[str]] = mapped_column(ARRAY(Text()), comment="As gen/seq.")


# ---------------------------------------------------------------- ingest workers


class IngestWorker(Base):
    """A process that takes records in; it lives until ``expires_at`` unless it renews that."""

    __tablename__ = "ingest_workers"
    id: Mapped[str] = mapped_column(primary_key=True)
    wanted: Mapped[list[int]] = mapped_column(ARRAY(Integer()), comment="Shards it would take.")
    expires_at: Mapped[datetime]
    backend_pid: Mapped[int] = mapped_column(comment="The connection that ends with the process.")
    backend_start: Mapped[datetime]
    sessions_up: Mapped[int] = mapped_column(
        comment="Its shards' sessions connected and subscribed."
    )
    broker_dropped: Mapped[int | None] = mapped_column(
        BigInteger, comment="Messages the broker has dropped since its start."
    )
    broker_held: Mapped[int | None] = mapped_column(
        BigInteger, comment="Messages the broker stores."
    )


class ShardLease(Base):
    """Which worker owns a shard. Storing holds the row: nobody takes it before the commit."""

    __tablename__ = "shard_leases"
    shard: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    owner: Mapped[str | None]
    taken_at: Mapped[datetime | None]


# ---------------------------------------------------------------- evaluation


class Dirty(Base):
    """A delivery with records or acts not yet judged, from the time t* on (empty: from its start).

    Append only, so that storing never waits for judging; a delivery is settled when it has none.
    ``urgent``: an event, or a person's act, which routine positions must not keep waiting.
    """

    __tablename__ = "dirty"
    __table_args__ = (Index("ix_dirty_urgent", "delivery_id", postgresql_where=text("urgent")),)
    delivery_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    from_t: Mapped[datetime | None]
    marked_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    urgent: Mapped[bool] = mapped_column(server_default=text("false"))


class DeliveryState(Base):
    """Where evaluation stands: one small row a delivery.

    Made with the delivery, by a trigger. ``evaluated_at`` names the last judgement: who remembers
    it may go on from what it found.
    """

    __tablename__ = "delivery_state"
    delivery_id: Mapped[UUID] = mapped_column(
        ForeignKey("deliveries.id", ondelete="CASCADE"), primary_key=True
    )
    evaluated_at: Mapped[datetime | None]
    next_clock_at: Mapped[datetime | None] = mapped_column(index=True)
    probability: Mapped[float | None]
    expected_loss_kzt: Mapped[int | None] = mapped_column(BigInteger)
    level: Mapped[str | None]
    progress_m: Mapped[float | None]
    assessed: Mapped[str | None] = mapped_column(comment="Digest of the newest assessment.")
    error: Mapped[str | None] = mapped_column(comment="Id of the fault that stopped evaluation.")
    retry_at: Mapped[datetime | None] = mapped_column(comment="When to try again after a fault.")
    retired_at: Mapped[datetime | None] = mapped_column(
        comment="Its records are archived: what was found stands and is not judged again."
    )
    plan_no: Mapped[int] = mapped_column(
        BigInteger,
        server_default=text("0"),
        comment="Another when it is judged from its start: plans read before are void.",
    )
    __table_args__ = ({"postgresql_with": HOT},)


class Checkpoint(Base):
    """The detectors' state after all records up to ``upto`` (t*), to go on from.

    One is kept after so many observations, and of those of an hour the last; for two days of t*.
    ``version``: of the code and thresholds that wrote it.
    """

    __tablename__ = "checkpoints"
    delivery_id: Mapped[UUID] = mapped_column(
        ForeignKey("deliveries.id", ondelete="CASCADE"), primary_key=True
    )
    upto: Mapped[datetime] = mapped_column(primary_key=True)
    version: Mapped[str]
    state: Mapped[bytes]


class DevicePosition(Base):
    """The newest valid position of a bound device, for the live map.

    No index but those that never change: a row is rewritten with every record of its device, and
    reading a whole fleet's rows takes milliseconds.
    """

    __tablename__ = "device_positions"
    device_no: Mapped[int] = mapped_column(ForeignKey("devices.device_no"), primary_key=True)
    delivery_id: Mapped[UUID] = mapped_column(index=True)
    t: Mapped[datetime]
    geom: Mapped[WKBElement] = mapped_column(Geometry("POINT", srid=4326, spatial_index=False))
    speed_kmh: Mapped[float | None]
    heading_deg: Mapped[float | None]
    moving: Mapped[bool | None]
    progress_m: Mapped[float | None]
    distance_m: Mapped[float | None]
    updated_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    __table_args__ = ({"postgresql_with": HOT},)


# ---------------------------------------------------------------- findings


class AnomalyRow(Base):
    """An episode that the data shows, with its evidence."""

    __tablename__ = "anomalies"
    delivery_id: Mapped[UUID] = mapped_column(ForeignKey("deliveries.id"), primary_key=True)
    id: Mapped[UUID] = _uuid_key()
    device_id: Mapped[str | None]
    code: Mapped[str]
    eaeu_code: Mapped[str | None]
    severity: Mapped[str]
    basis: Mapped[str]
    status: Mapped[str]
    provisional: Mapped[bool]
    start_at: Mapped[datetime]
    end_at: Mapped[datetime | None]
    decided_at: Mapped[datetime | None]
    geom: Mapped[WKBElement | None] = mapped_column(
        Geometry("GEOMETRY", srid=4326, spatial_index=False)
    )
    evidence: Mapped[dict[str, Any]]
    found_at: Mapped[datetime] = _now()
    found_by: Mapped[dict[str, Any] | None]
    settings_version: Mapped[str]
    rules_version: Mapped[str] = mapped_column(server_default="1")
    alert_id: Mapped[UUID | None]
    updated_at: Mapped[datetime] = _now()
    __table_args__ = (
        UniqueConstraint("id"),
        Index("ix_anomalies_found", "found_at", "id"),
        CheckConstraint("status IN ('open','closed','retracted')", name="status"),
    )


class Trace(Base):
    """What a delivery left behind that other deliveries are compared with: stops, jamming.

    No finding by itself. ``decided_t``: as of an anomaly's finding; empty while it may change.
    """

    __tablename__ = "traces"
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    delivery_id: Mapped[UUID] = mapped_column(ForeignKey("deliveries.id"))
    device_id: Mapped[str]
    kind: Mapped[str]
    from_t: Mapped[datetime]
    to_t: Mapped[datetime | None]
    decided_t: Mapped[datetime | None]
    geom: Mapped[WKBElement | None] = mapped_column(
        Geometry("POINT", srid=4326, spatial_index=False)
    )
    cell: Mapped[str | None]
    data: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    __table_args__ = (
        Index("ix_traces_delivery", "delivery_id"),
        Index("ix_traces_place", "geom", postgresql_using="gist"),
        Index("ix_traces_cell", "kind", "cell", "from_t"),
    )


class LimitSetting(Base):
    """Thresholds that differ from the defaults, from a time on: for all, a post, a lane or one
    delivery (``key``)."""

    __tablename__ = "limit_settings"
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    scope: Mapped[str]
    key: Mapped[str] = mapped_column(server_default="")
    from_t: Mapped[datetime]
    values: Mapped[dict[str, Any]]
    reason: Mapped[str]
    created_at: Mapped[datetime] = _now()
    created_by: Mapped[str]
    __table_args__ = (
        CheckConstraint("scope IN ('national','post','lane','delivery')", name="scope"),
        Index("ix_limit_settings_scope", "scope", "key", "from_t"),
    )


class LimitVersion(Base):
    """The thresholds behind a version that findings name: all of them, over time. Never changed."""

    __tablename__ = "limit_versions"
    version: Mapped[str] = mapped_column(primary_key=True)
    in_force: Mapped[dict[str, Any]]
    first_used_at: Mapped[datetime] = _now()


class DeadZone(Base):
    """A cell in which many devices fall silent and come back, as known on a day."""

    __tablename__ = "dead_zones"
    layer_date: Mapped[date] = mapped_column(primary_key=True)
    cell: Mapped[str] = mapped_column(primary_key=True)
    devices: Mapped[int]
    gaps: Mapped[int]
    first_at: Mapped[datetime]
    last_at: Mapped[datetime]


class Alert(Base):
    """What a person handles: one open at a time for a (delivery, code).

    ``escalation``: how often its time has passed without an end; ``escalated_to``: whose it is now.
    """

    __tablename__ = "alerts"
    delivery_id: Mapped[UUID] = mapped_column(ForeignKey("deliveries.id"), primary_key=True)
    id: Mapped[UUID] = _uuid_key()
    code: Mapped[str]
    status: Mapped[str]
    severity: Mapped[str]
    raised_at: Mapped[datetime] = _now()
    due_at: Mapped[datetime]
    count: Mapped[int] = mapped_column(server_default=text("1"))
    assignee: Mapped[str | None]
    finding: Mapped[str | None]
    resolved_at: Mapped[datetime | None]
    escalation: Mapped[int] = mapped_column(server_default=text("0"))
    escalated_at: Mapped[datetime | None]
    escalated_to: Mapped[str | None]
    __table_args__ = (
        UniqueConstraint("id"),
        Index(
            "uq_alerts_one_open",
            "delivery_id",
            "code",
            unique=True,
            postgresql_where=text("status IN ('open','acknowledged')"),
        ),
        Index("ix_alerts_raised", "raised_at", "id"),
        Index(
            "ix_alerts_due",
            "due_at",
            postgresql_where=text("status IN ('open','acknowledged')"),
        ),
        CheckConstraint("status IN ('open','acknowledged','resolved','retracted')", name="status"),
    )


class AlertHistory(Base):
    """What happened to an alert. Rows are never changed or deleted."""

    __tablename__ = "alert_history"
    alert_id: Mapped[UUID] = mapped_column(ForeignKey("alerts.id"), primary_key=True)
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    who: Mapped[str]
    what: Mapped[str]
    text: Mapped[str] = mapped_column(server_default="")


class RiskAssessment(Base):
    """An immutable assessment; the newest one is also on `DeliveryState`."""

    __tablename__ = "risk_assessments"
    delivery_id: Mapped[UUID] = mapped_column(ForeignKey("deliveries.id"), primary_key=True)
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    probability: Mapped[float]
    consequence_kzt: Mapped[int] = mapped_column(BigInteger)
    expected_loss_kzt: Mapped[int] = mapped_column(BigInteger)
    level: Mapped[str]
    corridor: Mapped[str]
    reasons: Mapped[list[Any]]
    weights_version: Mapped[str]


class Outbox(Base):
    """Events for the stream and other systems, in commit order.

    Writers take one advisory lock just before they insert and commit, so ``id`` follows the order
    of commits and a reader that has seen N never misses a smaller id.
    """

    __tablename__ = "outbox"
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    kind: Mapped[str]
    delivery_id: Mapped[UUID | None]
    payload: Mapped[dict[str, Any]]
    __table_args__ = (
        CheckConstraint("kind IN ('anomaly','alert','risk','delivery')", name="kind"),
    )


class IdempotencyKey(Base):
    """Answers already given to a creation, by user and key."""

    __tablename__ = "idempotency_keys"
    username: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request_hash: Mapped[str]
    status: Mapped[int]
    body: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = _now()
