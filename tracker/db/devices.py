"""Devices: registering with a key, finding, and what is known of their reporting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Row, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from tracker.db.connect import WriteSession
from tracker.db.reading import Page
from tracker.db.tables import Device, DeviceKey, DeviceReceived, DeviceState
from tracker.errors import Conflict
from tracker.received import Received

FIRST_KEY: Final = "1"


def create_device(session: WriteSession, *, secret: bytes, **values: Any) -> Device:
    """Store a device and its first key.

    Raises:
        Conflict: the id is taken.
    """
    statement = insert(Device).values(**values)
    device: Device | None = session.scalar(
        statement.on_conflict_do_nothing(index_elements=["id"]).returning(Device)
    )
    if device is None:
        raise Conflict.field(
            "body", "id", msg=f"device {values['id']!r} exists; use it, or choose another id"
        )
    session.add(DeviceKey(device_no=device.device_no, kid=FIRST_KEY, secret=secret))
    session.flush()
    return device


def device_by_id(session: Session, device_id: str) -> Device | None:
    """The device of this id."""
    return session.scalar(select(Device).where(Device.id == device_id))


def lock_devices(session: WriteSession, ids: Sequence[str]) -> dict[str, Device]:
    """The devices of these ids that exist, locked in one order so that none waits in a circle."""
    query = select(Device).where(Device.id.in_(ids)).order_by(Device.device_no).with_for_update()
    return {device.id: device for device in session.scalars(query)}


def list_devices(
    session: Session, page: Page, *, kind: str | None
) -> Sequence[Row[Device, DeviceState | None, datetime | None]]:
    """One device more than the page holds, in the order of registration.

    Each with its state and with the time at which its own last record was received.
    """
    heard = (
        select(func.max(DeviceReceived.last_received_at))
        .where(DeviceReceived.device_no == Device.device_no)
        .scalar_subquery()
    )
    query = (
        select(Device, DeviceState, heard)
        .outerjoin(DeviceState, DeviceState.device_no == Device.device_no)
        .order_by(Device.device_no)
        .limit(page.limit + 1)
    )
    if page.after:
        query = query.where(Device.device_no > page.after[0])
    if kind:
        query = query.where(Device.kind == kind)
    return session.execute(query).all()


def device_state(session: Session, device_no: int) -> DeviceState | None:
    """What the device last said of itself."""
    return session.get(DeviceState, device_no)


class Last(NamedTuple):
    """A device's newest record. ``body`` None: it is archived."""

    received_at: datetime
    t_star: datetime | None
    body: bytes | None


_LAST: Final = text("""
    SELECT max(r.last_received_at) OVER () AS received_at, r.newest_t_star AS t_star, t.body
    FROM device_received r LEFT JOIN telemetry t
         ON t.device_no = r.device_no AND t.gen = r.gen AND t.seq = r.newest_seq
         AND t.received_at = r.newest_received_at
    WHERE r.device_no = :device_no AND r.newest_seq IS NOT NULL
    ORDER BY r.newest_t_star DESC NULLS LAST, r.newest_received_at DESC LIMIT 1
""")


def last_record(session: Session, device_no: int, state: DeviceState | None) -> Last | None:
    """The newest record of a device: by t*, else by arrival; None: there was none yet."""
    row = session.execute(_LAST, {"device_no": device_no}).first()
    own = None if row is None else Last(row.received_at, row.t_star, row.body)
    if state is None or state.last_received_at is None:
        return own
    shown = Last(state.last_received_at, state.last_t_star, state.last_body)
    return shown if own is None or _place(own) < _place(shown) else own


def _place(last: Last) -> tuple[bool, datetime]:
    return last.t_star is not None, last.t_star or last.received_at


_RECEIVED: Final = text("""
    SELECT d.gen, d.lo, lower(r.r) AS low, upper(r.r) AS high
    FROM device_received d LEFT JOIN LATERAL unnest(d.received) AS r (r) ON true
    WHERE d.device_no = :device_no ORDER BY d.gen, low
""")


def received_by_gen(session: Session, device_no: int) -> dict[int, Received]:
    """What has been received from a device, by generation."""
    ranges: dict[int, list[tuple[int, int]]] = {}
    lowest: dict[int, int] = {}
    for row in session.execute(_RECEIVED, {"device_no": device_no}):
        lowest[row.gen] = row.lo
        found = ranges.setdefault(row.gen, [])
        if row.low is not None:
            found.append((row.low, row.high))
    return {gen: Received(ranges=tuple(ranges[gen]), lo=lowest[gen]) for gen in ranges}


_REFUSED: Final = text("""
    SELECT coalesce((SELECT kept + over_limit FROM quarantine_counts WHERE device_id = :id), 0)
               AS refused,
           (SELECT count(*) FROM quarantine
            WHERE device_id = :id AND reason = 'identity_conflict') AS conflicts
""")


def refused_of(session: Session, device_id: str) -> Mapping[str, int]:
    """How many of a device's records were refused, and how many of them contradicted others."""
    row = session.execute(_REFUSED, {"id": device_id}).one()
    return {"refused": int(row.refused), "conflicts": int(row.conflicts)}


_DELIVERY: Final = text("""
    SELECT b.delivery_id, d.registration_number, b.bound_from
    FROM bindings b JOIN deliveries d ON d.id = b.delivery_id
    WHERE b.device_no = :device_no AND NOT b.released
""")


def delivery_of(session: Session, device_no: int) -> Row[Any] | None:
    """The delivery on which a device is reserved or bound."""
    return session.execute(_DELIVERY, {"device_no": device_no}).first()
