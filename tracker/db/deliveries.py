"""Deliveries: storing, acts and bindings. Reading them is in `reading_deliveries`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row, bindparam, select, text, update
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.orm import Session

from tracker.db.connect import WriteSession, raw
from tracker.db.marks import mark_dirty
from tracker.db.outbox import Event, append
from tracker.db.reading import rfc3339
from tracker.db.tables import Binding, Delivery, Device
from tracker.errors import Conflict


def create_delivery(session: WriteSession, *, device_nos: Sequence[int], **values: Any) -> Delivery:
    """Store a delivery and reserve its devices.

    Raises:
        Conflict: the registration number is taken.
    """
    statement = insert(Delivery).values(**values)
    row: Delivery | None = session.scalar(
        statement.on_conflict_do_nothing(index_elements=["registration_number"]).returning(Delivery)
    )
    if row is None:
        number = values["registration_number"]
        raise Conflict.field(
            "body", "registration_number", msg=f"delivery {number!r} exists; check the number"
        )
    if device_nos:
        reserved = [{"delivery_id": row.id, "device_no": no} for no in device_nos]
        session.execute(insert(Binding), reserved)
    return row


def locked(session: WriteSession, delivery_id: UUID) -> Delivery | None:
    """The delivery, locked against other acts until the transaction ends.

    Not against rows that refer to it, since no act changes its keys: evaluation writes some while
    it holds the alerts that an act goes on to ask for, and each would wait for the other.
    """
    query = select(Delivery).where(Delivery.id == delivery_id)
    return session.scalar(query.with_for_update(key_share=True))


_HELD: Final = text("""
    SELECT dev.id AS device_id, d.registration_number
    FROM bindings b
    JOIN deliveries d ON d.id = b.delivery_id
    JOIN devices dev ON dev.device_no = b.device_no
    WHERE b.device_no = ANY(:devices) AND NOT b.released
    ORDER BY dev.id
""")


def holders(session: Session, device_nos: Sequence[int]) -> Sequence[Row[Any]]:
    """Which of these devices are reserved or bound, and on which delivery."""
    return session.execute(_HELD, {"devices": list(device_nos)}).all()


_BUSY: Final = text("""
    SELECT dev.id AS device_id, d.registration_number, other.bound_to
    FROM bindings own
    JOIN bindings other ON other.device_no = own.device_no
                       AND other.delivery_id <> own.delivery_id
                       AND other.bound_from IS NOT NULL
                       AND tstzrange(other.bound_from, other.bound_to) && tstzrange(:at, NULL)
    JOIN deliveries d ON d.id = other.delivery_id
    JOIN devices dev ON dev.device_no = own.device_no
    WHERE own.delivery_id = :delivery AND NOT own.released
    ORDER BY dev.id
""")


def busy_from(session: Session, delivery_id: UUID, at: datetime) -> Sequence[Row[Any]]:
    """Devices of a delivery that are on another one at some time after ``at``."""
    return session.execute(_BUSY, {"delivery": delivery_id, "at": at}).all()


def lock_bound_devices(session: WriteSession, delivery_id: UUID) -> list[Device]:
    """The devices reserved or bound on a delivery, locked in one order."""
    query = (
        select(Device)
        .join(Binding, Binding.device_no == Device.device_no)
        .where(Binding.delivery_id == delivery_id, Binding.released.is_(False))
        .order_by(Device.device_no)
        .with_for_update(of=Device)
    )
    return list(session.scalars(query))


def bind(session: WriteSession, delivery_id: UUID, at: datetime) -> None:
    """The reserved devices are on the delivery from ``at``."""
    session.execute(
        update(Binding)
        .where(Binding.delivery_id == delivery_id, Binding.released.is_(False))
        .values(bound_from=at)
    )


def unbind(session: WriteSession, delivery_id: UUID, at: datetime) -> None:
    """The devices are free again from ``at``."""
    session.execute(
        update(Binding)
        .where(Binding.delivery_id == delivery_id, Binding.released.is_(False))
        .values(bound_to=at, released=True)
    )


def unbind_these(
    session: WriteSession, delivery_id: UUID, nos: Sequence[int], at: datetime
) -> None:
    """Take devices off a delivery on its way: their records from ``at`` on are not its own."""
    session.execute(
        update(Binding)
        .where(
            Binding.delivery_id == delivery_id,
            Binding.released.is_(False),
            Binding.device_no.in_(nos),
        )
        .values(bound_to=at, released=True)
    )


def bind_these(session: WriteSession, delivery_id: UUID, nos: Sequence[int], at: datetime) -> None:
    """Put devices on a delivery on its way, from ``at`` on."""
    if nos:
        rows = [{"delivery_id": delivery_id, "device_no": no, "bound_from": at} for no in nos]
        session.execute(insert(Binding), rows)


_STANDING: Final = text("""
    SELECT dev.id AS device_id, dev.device_no, dev.kind, b.bound_from, b.released
    FROM bindings b JOIN devices dev ON dev.device_no = b.device_no
    WHERE b.delivery_id = :delivery ORDER BY b.id
""")


def bindings_of(session: Session, delivery_id: UUID) -> Sequence[Row[Any]]:
    """Every binding of a delivery, those that have ended among them."""
    return session.execute(_STANDING, {"delivery": delivery_id}).all()


_ELSEWHERE: Final = text("""
    SELECT dev.id AS device_id, d.registration_number
    FROM bindings b
    JOIN deliveries d ON d.id = b.delivery_id
    JOIN devices dev ON dev.device_no = b.device_no
    WHERE b.device_no = ANY(:devices) AND b.delivery_id <> :delivery
      AND b.bound_from IS NOT NULL
      AND tstzrange(b.bound_from, b.bound_to) && tstzrange(:at, NULL)
    ORDER BY dev.id
""")


def elsewhere_from(
    session: Session, delivery_id: UUID, nos: Sequence[int], at: datetime
) -> Sequence[Row[Any]]:
    """Which of these devices are on another delivery at some time after ``at``."""
    params = {"delivery": delivery_id, "devices": list(nos), "at": at}
    return session.execute(_ELSEWHERE, params).all()


def free_reserved(session: WriteSession, delivery_id: UUID) -> None:
    """The devices that were reserved are free again; they were never on the delivery."""
    session.execute(
        update(Binding)
        .where(Binding.delivery_id == delivery_id, Binding.bound_from.is_(None))
        .values(released=True)
    )


_FILE: Final = text("""
    INSERT INTO scan_files (delivery_id, act_id, name, media_type, sha256, content)
    VALUES (:delivery, :act, :name, :media_type, :sha256, :content)
""")


def keep_scan_file(
    session: WriteSession, delivery_id: UUID, act_id: int, **file: str | bytes
) -> None:
    """Keep the picture of a container scan: name, media_type, sha256, content."""
    session.execute(_FILE, {"delivery": delivery_id, "act": act_id, **file})


def scan_file(session: Session, delivery_id: UUID, act_id: int) -> Row[Any] | None:
    """The picture of a scan: name, media type, content; None: it has none."""
    query = text(
        "SELECT name, media_type, content FROM scan_files"
        " WHERE delivery_id = :delivery AND act_id = :act"
    )
    return session.execute(query, {"delivery": delivery_id, "act": act_id}).one_or_none()


_ACT: Final = text("""
    INSERT INTO delivery_acts (delivery_id, kind, at, recorded_by, data)
    VALUES (:delivery, :kind, :at, :who, :data) RETURNING id
""").bindparams(bindparam("data", type_=JSONB))


def record_act(
    session: WriteSession,
    delivery_id: UUID,
    *,
    kind: str,
    at: datetime,
    who: str,
    data: Mapping[str, Any],
) -> int:
    """Record what a person did, when it happened, and have the delivery judged again; its id."""
    act_id: int = session.execute(
        _ACT, {"delivery": delivery_id, "kind": kind, "at": at, "who": who, "data": dict(data)}
    ).scalar_one()
    mark_dirty(raw(session), [delivery_id])
    return act_id


def has_act(session: Session, delivery_id: UUID, kind: str) -> bool:
    """Whether an act of this kind has been recorded."""
    query = text("SELECT EXISTS (SELECT FROM delivery_acts WHERE delivery_id = :id AND kind = :k)")
    return bool(session.scalar(query, {"id": delivery_id, "k": kind}))


def move(session: WriteSession, delivery: Delivery, **values: Any) -> None:
    """Change a delivery; every change is a new version."""
    for name, value in values.items():
        setattr(delivery, name, value)
    delivery.version += 1
    session.flush()


def announce(session: WriteSession, delivery: Delivery, at: datetime) -> None:
    """Tell the stream and other systems. Call it last: it holds the outbox until the commit."""
    payload = {
        "id": str(delivery.id),
        "registration_number": delivery.registration_number,
        "status": delivery.status,
        "carrier_id": str(delivery.carrier_id),
        "at": rfc3339(at),
    }
    session.flush()
    append(raw(session), [Event(kind="delivery", delivery_id=delivery.id, payload=payload)])


_OFFICER: Final = text("""
    SELECT u.username
    FROM users u
    LEFT JOIN delivery_acts a ON a.kind = 'arrival' AND a.data ->> 'officer' = u.username
    LEFT JOIN deliveries d ON d.id = a.delivery_id AND d.status IN ('arrived', 'under_control')
    WHERE u.role = 'officer' AND u.active AND u.posts ? :post
    GROUP BY u.username
    ORDER BY count(d.id), u.username
    LIMIT 1
""")


def least_loaded_officer(session: Session, post: str) -> str | None:
    """The officer of a post with the fewest arrivals not yet dealt with; None if it has none."""
    officer: str | None = session.scalar(_OFFICER, {"post": post})
    return officer
