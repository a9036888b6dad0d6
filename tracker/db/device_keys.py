"""A device's signing keys: making a new one, ending an old one; and edits of the device itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, func, or_, select, text, update

from tracker.db.connect import ReadSession, WriteSession
from tracker.db.tables import Device, DeviceKey

_NEXT: Final = text("""
    SELECT coalesce(max(kid::bigint), 0) + 1 FROM device_keys
    WHERE device_no = :device_no AND kid ~ '^[0-9]{1,15}$'
""")


def lock_device(session: WriteSession, device_id: str) -> Device | None:
    """The device of this id, locked."""
    return session.scalar(select(Device).where(Device.id == device_id).with_for_update())


def change_device(session: WriteSession, device: Device, values: dict[str, Any]) -> None:
    """Change fields of a device; its version grows."""
    session.execute(
        update(Device)
        .where(Device.device_no == device.device_no)
        .values(**values, version=Device.version + 1)
    )
    session.refresh(device)


def add_key(
    session: WriteSession, device_no: int, secret: bytes, *, old_until: datetime
) -> DeviceKey:
    """Store a new key; those in force expire at ``old_until``, or earlier if they would anyway.

    A number is never given twice: keys are ended, not deleted, so that what they signed can be
    verified for ever. Call it with the device locked.
    """
    in_force = (DeviceKey.expires_at.is_(None), DeviceKey.expires_at > old_until)
    session.execute(
        update(DeviceKey)
        .where(DeviceKey.device_no == device_no, or_(*in_force))
        .values(expires_at=old_until)
    )
    kid = str(session.scalar(_NEXT, {"device_no": device_no}))
    key = DeviceKey(device_no=device_no, kid=kid, secret=secret)
    session.add(key)
    session.flush()
    session.refresh(key)
    return key


def end_key(session: WriteSession, device_no: int, kid: str) -> bool:
    """End a key now, unless it has ended; False if there is no such key."""
    now = func.clock_timestamp()
    found = session.scalar(
        update(DeviceKey)
        .where(DeviceKey.device_no == device_no, DeviceKey.kid == kid)
        .values(expires_at=func.least(func.coalesce(DeviceKey.expires_at, now), now))
        .returning(DeviceKey.kid)
    )
    return found is not None


def keys_of(session: ReadSession, device_no: int) -> Sequence[Row[str, datetime, datetime | None]]:
    """Kid, making and expiry of a device's keys, oldest first; never the secret."""
    query = select(DeviceKey.kid, DeviceKey.created_at, DeviceKey.expires_at)
    return session.execute(
        query.where(DeviceKey.device_no == device_no).order_by(DeviceKey.created_at, DeviceKey.kid)
    ).all()
