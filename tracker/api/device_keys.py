"""What proves that a device is itself: rotation of its keys, its password at the broker."""

from __future__ import annotations

import base64
import json
import secrets
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from tracker.api.creation import Creating
from tracker.api.deps import Reading, Writing, may
from tracker.api.described import refusals
from tracker.api.schemas.device_keys import (
    KeyBrief,
    KeyIn,
    KeysOut,
    LoginIn,
    LoginOut,
    NewKeyOut,
)
from tracker.broker.passwords import hashed, new_password
from tracker.db import broker_logins, device_keys, devices
from tracker.db.connect import WriteSession
from tracker.db.tables import Device
from tracker.db.users import CurrentUser
from tracker.errors import NotFound

router = APIRouter(prefix="/api/v1/devices/{device_id}", tags=["devices"])

KEY_BYTES: Final = 32
OLD_KEYS_DAYS: Final = 30
"""The longest backlog: what a device signed before it got its new key must still be accepted."""

Managing = Annotated[CurrentUser, may("devices.manage")]


@router.post("/keys", status_code=201, response_model=NewKeyOut, responses=refusals(404, 409))
def create_key(
    user: Managing, device_id: str, creating: Creating, body: KeyIn | None = None
) -> JSONResponse:
    """Give a device a new key, shown once. The old ones expire in 30 days."""

    def make() -> tuple[NewKeyOut, str]:
        device = _locked(creating.session, device_id)
        secret = secrets.token_bytes(KEY_BYTES)
        until = datetime.now(UTC) + timedelta(days=OLD_KEYS_DAYS)
        key = device_keys.add_key(creating.session, device.device_no, secret, old_until=until)
        made = NewKeyOut(
            kid=key.kid,
            secret_b64=base64.b64encode(secret).decode(),
            created_at=key.created_at,
            old_keys_until=until,
        )
        return made, f"/api/v1/devices/{device_id}/keys/{key.kid}"

    return creating.once(body or KeyIn(), make)


@router.get("/keys", responses=refusals(404))
def list_keys(
    user: Annotated[CurrentUser, may("devices.read")], device_id: str, session: Reading
) -> KeysOut:
    """The keys of a device and when they expire; never their secrets."""
    device = devices.device_by_id(session, device_id)
    if device is None:
        raise _unknown(device_id)
    now = datetime.now(UTC)
    items = [
        KeyBrief(
            kid=row.kid,
            created_at=row.created_at,
            expires_at=row.expires_at,
            valid=row.expires_at is None or row.expires_at > now,
        )
        for row in device_keys.keys_of(session, device.device_no)
    ]
    return KeysOut(items=items)


@router.delete("/keys/{kid}", status_code=204, responses=refusals(404))
def end_key(user: Managing, device_id: str, kid: str, session: Writing) -> Response:
    """End a key at once. It stays listed, and what it signed can still be verified."""
    device = _locked(session, device_id)
    if not device_keys.end_key(session, device.device_no, kid):
        raise NotFound(f"device {device_id} has no key {kid!r}")
    return Response(status_code=204)


@router.post(
    "/broker-login", status_code=201, response_model=LoginOut, responses=refusals(404, 409)
)
def create_login(
    user: Managing, device_id: str, creating: Creating, body: LoginIn | None = None
) -> JSONResponse:
    """Give a device a new password at the broker, shown once; the old one ends."""
    made: dict[str, Any] = {}

    def make() -> tuple[LoginOut, str]:
        device = _locked(creating.session, device_id)
        made["password"] = give_login(creating.session, device.device_no)
        login = LoginOut(username=device.id, password=None)
        return login, f"/api/v1/devices/{device_id}/broker-login"

    return shown_once(creating.once(body or LoginIn(), make), made)


@router.delete("/broker-login", status_code=204, responses=refusals(404))
def withdraw_login(user: Managing, device_id: str, session: Writing) -> Response:
    """Take a device's password at the broker away; its connection ends within seconds."""
    device = _locked(session, device_id)
    if not broker_logins.withdraw_login(session, device.device_no):
        raise NotFound(f"device {device_id} has no password at the broker")
    return Response(status_code=204)


def give_login(session: WriteSession, device_no: int) -> str:
    """Make a device's password at the broker; only its hash is stored."""
    password = new_password()
    broker_logins.set_login(session, device_no, hashed(password))
    return password


def shown_once(
    answer: JSONResponse, secret: dict[str, Any], within: str | None = None
) -> JSONResponse:
    """Put a secret into the answer that is sent now, not into the one kept for repetitions."""
    if not secret:
        return answer
    content = json.loads(bytes(answer.body))
    (content[within] if within else content).update(secret)
    kept = {"location", "etag"}
    headers = {name: value for name, value in answer.headers.items() if name in kept}
    return JSONResponse(content, answer.status_code, headers=headers)


def _locked(session: WriteSession, device_id: str) -> Device:
    device = device_keys.lock_device(session, device_id)
    if device is None:
        raise _unknown(device_id)
    return device


def _unknown(device_id: str) -> NotFound:
    return NotFound(f"no device {device_id}")
