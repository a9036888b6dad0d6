"""Other devices on a delivery that is on its way: those that come off, those that are put on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Row

from tracker.db import deliveries as store
from tracker.db import devices
from tracker.db.connect import WriteSession
from tracker.db.tables import Delivery, Device
from tracker.deliveries import device_warnings
from tracker.errors import Conflict, FieldError, Invalid


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which devices are to be on the delivery. ``add`` may name such as are on it already; of the
    others, those in ``remove`` come off, and all of a kind that is not kept."""

    add: Sequence[str]
    remove: Sequence[str]
    keep_seals: bool = True
    keep_units: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What has come off and been put on, by id."""

    added: list[str]
    removed: list[str]
    warnings: list[FieldError] = field(default_factory=list)


def rebind(session: WriteSession, delivery: Delivery, wanted: Wanted, at: datetime) -> Change:
    """Change a delivery's devices from ``at`` on. Records of a device before it was put on, and
    after it came off, are not the delivery's.

    Raises:
        Invalid: a device that does not exist, or is to come off and is not on.
        Conflict: a device that is on another delivery, or was on this one before.
    """
    store.lock_bound_devices(session, delivery.id)
    known = store.bindings_of(session, delivery.id)
    on = {row.device_id: row for row in known if not row.released}
    added = [i for i in dict.fromkeys(wanted.add) if i not in on]
    removed = _removed(on, wanted)
    found = devices.lock_devices(session, added)
    _check(session, delivery, known, on, added, found, wanted, at)
    _check_times([on[i] for i in removed], at)
    store.unbind_these(session, delivery.id, [on[i].device_no for i in removed], at)
    store.bind_these(session, delivery.id, [found[i].device_no for i in added], at)
    kinds = [row.kind for i, row in on.items() if i not in removed]
    kinds += [found[i].kind for i in added]
    return Change(added=added, removed=removed, warnings=device_warnings(kinds))


def _removed(on: dict[str, Row[tuple[object, ...]]], wanted: Wanted) -> list[str]:
    kept = {"seal": wanted.keep_seals, "gps": wanted.keep_units}
    return [
        i
        for i, row in on.items()
        if i not in wanted.add and (i in wanted.remove or not kept[row.kind])
    ]


def _check(
    session: WriteSession,
    delivery: Delivery,
    known: Sequence[Row[tuple[object, ...]]],
    on: dict[str, Row[tuple[object, ...]]],
    added: list[str],
    found: dict[str, Device],
    wanted: Wanted,
    at: datetime,
) -> None:
    errors = [
        _error("add", f"there is no device {i!r}; register it first")
        for i in added
        if i not in found
    ]
    errors += [
        _error("remove", f"{i!r} is not on this delivery") for i in wanted.remove if i not in on
    ]
    if errors:
        raise Invalid("; ".join(e.msg for e in errors), errors)
    before = {row.device_id for row in known}
    errors = [
        _error("add", f"{i} came off this delivery before; take another device")
        for i in added
        if i in before
    ]
    nos = [found[i].device_no for i in added]
    taken = {row.device_id: row.registration_number for row in store.holders(session, nos)}
    taken |= {
        row.device_id: row.registration_number
        for row in store.elsewhere_from(session, delivery.id, nos, at)
    }
    errors += [
        _error("add", f"device {i} is on delivery {number}; take another device")
        for i, number in taken.items()
        if i not in before
    ]
    if errors:
        raise Conflict("; ".join(e.msg for e in errors), errors)


def _check_times(rows: Sequence[Row[tuple[object, ...]]], at: datetime) -> None:
    for row in rows:
        if row.bound_from is not None and at <= row.bound_from:
            text = f"{row.device_id} was put on at {row.bound_from.isoformat(timespec='seconds')}"
            raise Invalid.field("body", "at", msg=f"{text}; give a later time")


def _error(field_name: str, msg: str) -> FieldError:
    return FieldError(("body", field_name), msg)
