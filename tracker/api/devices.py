"""Seals and vehicle units: registering them, and how they are."""

from __future__ import annotations

import base64
import json
import secrets
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from tracker.api.creation import Creating, IfMatch, require_match
from tracker.api.deps import Cursor, Limit, Reading, Writing, may, page_after
from tracker.api.described import refusals
from tracker.api.device_keys import KEY_BYTES, give_login, shown_once
from tracker.api.schemas.common import Page
from tracker.api.schemas.device_keys import LoginOut
from tracker.api.schemas.devices import (
    DEFAULT_PERIODS,
    ClockOut,
    CurrentDelivery,
    DeviceDetail,
    DeviceIn,
    DeviceKind,
    DeviceOut,
    DevicePatch,
    Health,
    KeyOut,
    NewDeviceOut,
    PeriodsOut,
)
from tracker.clocks import ClockHealth, clock_health
from tracker.db import broker_logins, device_keys, devices
from tracker.db.clock_readings import newest_readings
from tracker.db.reading import decode_cursor, encode_cursor, int64, rfc3339
from tracker.db.tables import Device, DeviceState
from tracker.db.users import CurrentUser
from tracker.errors import NotFound
from tracker.received import Received, ack_of
from tracker.trust import trust

router = APIRouter(prefix="/api/v1", tags=["devices"], responses=refusals(404, 409))


@router.post("/devices", status_code=201, response_model=NewDeviceOut)
def create_device(
    user: Annotated[CurrentUser, may("devices.create")],
    body: DeviceIn,
    creating: Creating,
) -> JSONResponse:
    """Register a device. The answer shows its key and its password at the broker, once."""
    login: dict[str, Any] = {}

    def make() -> tuple[NewDeviceOut, str]:
        secret = secrets.token_bytes(KEY_BYTES)
        moving_s, parked_s = DEFAULT_PERIODS[body.kind]
        device = devices.create_device(
            creating.session,
            secret=secret,
            id=body.id,
            kind=body.kind,
            model=body.model,
            hmac_required=body.kind == "seal" if body.hmac_required is None else body.hmac_required,
            moving_s=body.periods.moving_s or moving_s,
            parked_s=body.periods.parked_s or parked_s,
        )
        key = KeyOut(kid=devices.FIRST_KEY, secret_b64=base64.b64encode(secret).decode())
        if body.broker_login:
            login["password"] = give_login(creating.session, device.device_no)
        mqtt = LoginOut(username=device.id, password=None) if login else None
        made = NewDeviceOut(**_fields(device, None), key=key, mqtt=mqtt)
        return made, f"/api/v1/devices/{device.id}"

    return shown_once(creating.once(body, make), login, within="mqtt")


@router.get("/devices")
def list_devices(
    user: Annotated[CurrentUser, may("devices.read")],
    session: Reading,
    limit: Limit = 100,
    cursor: Cursor = None,
    kind: DeviceKind | None = None,
) -> Page[DeviceOut]:
    """All devices, in the order of registration."""
    page = page_after(limit, decode_cursor(cursor, int64))
    rows = devices.list_devices(session, page, kind=kind)
    items = [DeviceOut(**_fields(*row)) for row in rows[:limit]]
    last = rows[limit - 1][0].device_no if len(rows) > limit else None
    return Page(items=items, next=encode_cursor([last]) if last is not None else None)


@router.get("/devices/{device_id}")
def get_device(
    user: Annotated[CurrentUser, may("devices.read")],
    device_id: str,
    session: Reading,
    response: Response,
) -> DeviceDetail:
    """A device with its last record, what has been received from it, its health and trust."""
    device = devices.device_by_id(session, device_id)
    if device is None:
        raise NotFound(f"no device {device_id}")
    response.headers["ETag"] = f'"{device.version}"'
    state = devices.device_state(session, device.device_no)
    received = devices.received_by_gen(session, device.device_no)
    gen = _generation(state, received)
    ack = ack_of(gen or 0, received.get(gen, Received()) if gen is not None else Received())
    refused = devices.refused_of(session, device.id)
    last = devices.last_record(session, device.device_no, state)
    last_record = _shown(last)
    return DeviceDetail(
        **_fields(device, state, last.received_at if last else None),
        last_record=last_record,
        gen=gen,
        acked_upto=ack["upto"],
        missing=ack["missing"],
        health=_health(
            state,
            last,
            last_record,
            refused["refused"],
            clock_health(newest_readings(session, device.device_no)),
        ),
        trust=round(trust(stored=_stored(received), **refused), 4),
        delivery=_delivery(session, device.device_no),
    )


@router.patch("/devices/{device_id}", responses=refusals(404, 412))
def change_device(
    user: Annotated[CurrentUser, may("devices.manage")],
    device_id: str,
    body: DevicePatch,
    session: Writing,
    response: Response,
    if_match: IfMatch = None,
) -> DeviceOut:
    """Change whether a device must sign, how often it reports, what model it is."""
    device = device_keys.lock_device(session, device_id)
    if device is None:
        raise NotFound(f"no device {device_id}")
    require_match(if_match, device.version)
    changed = body.model_dump(exclude_unset=True, exclude_none=True)
    changed |= changed.pop("periods", {})
    if changed:
        device_keys.change_device(session, device, changed)
        broker_logins.announce(session)
    response.headers["ETag"] = f'"{device.version}"'
    state = devices.device_state(session, device.device_no)
    last = devices.last_record(session, device.device_no, state)
    return DeviceOut(**_fields(device, state, last.received_at if last else None))


def _fields(
    device: Device, state: DeviceState | None, heard: datetime | None = None
) -> dict[str, Any]:
    """``heard``: when a record of its own was last received; the state knows of others'."""
    times = [at for at in (heard, state.last_received_at if state else None) if at is not None]
    return {
        "id": device.id,
        "kind": device.kind,
        "model": device.model,
        "hmac_required": device.hmac_required,
        "periods": PeriodsOut(moving_s=device.moving_s, parked_s=device.parked_s),
        "created_at": device.created_at,
        "version": device.version,
        "online": state.online if state else None,
        "last_received_at": max(times, default=None),
    }


def _generation(state: DeviceState | None, received: dict[int, Received]) -> int | None:
    """The generation that the device is in: by its records or, if newer, by its birth."""
    known = [*received, *([state.gen] if state and state.gen is not None else [])]
    return max(known, default=None)


def _stored(received: dict[int, Received]) -> int:
    return sum(high - low for r in received.values() for low, high in r.ranges)


def _shown(last: devices.Last | None) -> dict[str, Any] | None:
    if last is None or last.body is None:
        return None
    record = json.loads(last.body)
    return {**record, "t": rfc3339(last.t_star)}


def _health(
    state: DeviceState | None,
    heard: devices.Last | None,
    last: dict[str, Any] | None,
    quarantined: int,
    clock: ClockHealth,
) -> Health:
    power = (last or {}).get("pwr") or {}
    return Health(
        online=state.online if state else None,
        state_at=state.state_at if state else None,
        last_received_at=heard.received_at if heard else None,
        battery_pct=power.get("bat"),
        external_mv=power.get("ext"),
        quarantined=quarantined,
        clock=ClockOut(
            offset_s=clock.offset_s, drift_s_per_day=clock.drift_s_per_day, fault=clock.fault
        ),
    )


def _delivery(session: Session, device_no: int) -> CurrentDelivery | None:
    row = devices.delivery_of(session, device_no)
    if row is None:
        return None
    return CurrentDelivery(
        id=str(row.delivery_id), registration_number=row.registration_number, since=row.bound_from
    )
