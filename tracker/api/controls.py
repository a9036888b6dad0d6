"""What controls and scans found, and the end of customs control."""

from __future__ import annotations

import binascii
from base64 import b64decode
from typing import Annotated, Any
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Form
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel

from tracker.api.acting import Acting, given, once, opened
from tracker.api.creation import Creating, IfMatch
from tracker.api.deliveries import require_delivery
from tracker.api.deps import Config, Reading, may
from tracker.api.described import refusals
from tracker.api.rights import require, require_post
from tracker.api.schemas.acts import (
    CloseIn,
    ControlIn,
    RecordedOut,
    ScanFileIn,
    ScanForm,
    ScanIn,
)
from tracker.api.schemas.common import Page
from tracker.api.schemas.deliveries import DeliveryDetail
from tracker.api.uploads import (
    KINDS,
    MAX_FIELD_BYTES,
    MAX_FILE_BYTES,
    FormRoute,
    Picture,
    form_of,
    picture,
    received,
)
from tracker.db import deliveries as store
from tracker.db import reading_deliveries as reading
from tracker.db.users import CurrentUser
from tracker.deliveries import Status, closing, controlled
from tracker.errors import Forbidden, Invalid, NotFound
from tracker.model import ActKind

router = APIRouter(prefix="/api/v1", tags=["deliveries"], responses=refusals(404, 409, 412))
uploads = APIRouter(route_class=FormRoute)


@router.post("/deliveries/{delivery_id}/controls", status_code=201, response_model=RecordedOut)
def record_control(
    user: Annotated[CurrentUser, may("deliveries.read")],
    delivery_id: UUID,
    body: ControlIn,
    creating: Creating,
    config: Config,
    if_match: IfMatch = None,
) -> JSONResponse:
    """A control that was ordered, or what it found. The delivery is under control from then on."""

    def act() -> RecordedOut:
        acting = opened(creating, user, delivery_id, config, if_match)
        require_post(user, "deliveries.control", acting.delivery.destination_post)
        data = given(
            kind=body.kind,
            result=body.result,
            code=body.code,
            amount_kzt=body.amount_kzt,
            text=body.text,
        )
        return _recorded(acting, ActKind.CONTROL, body, data)

    return once(creating, delivery_id, body, act, status=201)


class _Sent(BaseModel):
    """What a form held, as an `Idempotency-Key` remembers it."""

    form: dict[str, Any]


@uploads.post(
    "/deliveries/{delivery_id}/scans",
    status_code=201,
    response_model=RecordedOut,
    include_in_schema=False,  # described with the JSON of the same call
    form_limits={"max_files": 1, "max_fields": 16, "max_part_size": MAX_FIELD_BYTES},
)
def upload_scan(
    user: Annotated[CurrentUser, may("deliveries.read")],
    delivery_id: UUID,
    form: Annotated[ScanForm, Form(media_type="multipart/form-data")],
    creating: Creating,
    config: Config,
    if_match: IfMatch = None,
) -> JSONResponse:
    """A container scan with its verdict and, if given, its picture, as a form."""
    file = None if form.file is None else received(form.file, "file")
    sent = form.model_dump(mode="json", exclude={"file"}) | {"file": file and file.told}

    def act() -> RecordedOut:
        acting = opened(creating, user, delivery_id, config, if_match)
        require_post(user, "deliveries.scan", acting.delivery.destination_post)
        return _scanned(acting, form, file)

    return once(creating, delivery_id, _Sent(form=sent), act, status=201)


router.include_router(uploads)

_SCAN_FORM = form_of(
    ("verdict",),
    {"verdict": "clean", "file": "(binary)", "container": "MSKU1234565"},
    verdict={"type": "string", "enum": ["clean", "suspicious", "violation"]},
    file={
        "type": "string",
        "format": "binary",
        "description": f"At most {MAX_FILE_BYTES} bytes of one of: {', '.join(KINDS)}.",
    },
    container={"type": "string", "maxLength": 300},
    scanner={"type": "string", "maxLength": 300},
    at={"type": "string", "format": "date-time", "description": "By default now."},
    text={"type": "string", "maxLength": 4000},
)


@router.post(
    "/deliveries/{delivery_id}/scans",
    status_code=201,
    response_model=RecordedOut,
    openapi_extra=_SCAN_FORM,
)
def record_scan(
    user: Annotated[CurrentUser, may("deliveries.read")],
    delivery_id: UUID,
    body: ScanIn,
    creating: Creating,
    config: Config,
    if_match: IfMatch = None,
) -> JSONResponse:
    """A container scan with its verdict and, if given, its picture: as JSON with the picture in
    base64, or as a form with the file itself."""

    def act() -> RecordedOut:
        acting = opened(creating, user, delivery_id, config, if_match)
        require_post(user, "deliveries.scan", acting.delivery.destination_post)
        return _scanned(acting, body, _decoded(body.file))

    return once(creating, delivery_id, body, act, status=201)


def _decoded(file: ScanFileIn | None) -> Picture | None:
    if file is None:
        return None
    try:
        content = b64decode(file.data_base64, validate=True)
    except binascii.Error:
        raise Invalid.field("body", "file", "data_base64", msg="is no base64") from None
    if len(content) > MAX_FILE_BYTES:
        text = f"holds {len(content)} bytes, at most {MAX_FILE_BYTES} fit; make it smaller"
        raise Invalid.field("body", "file", "data_base64", msg=text)
    return picture(file.name, file.media_type, content)


def _scanned(acting: Acting, body: ScanIn | ScanForm, file: Picture | None) -> RecordedOut:
    data = given(
        result=body.verdict,
        container=body.container,
        scanner=body.scanner,
        text=body.text,
        file=None if file is None else file.told,
    )
    return _recorded(acting, ActKind.SCAN, body, data, file)


def _recorded(
    acting: Acting,
    kind: ActKind,
    body: ControlIn | ScanIn | ScanForm,
    data: dict[str, Any],
    file: Picture | None = None,
) -> RecordedOut:
    delivery, session = acting.delivery, acting.session
    status = controlled(Status(delivery.status))
    at = acting.when(body.at)
    act_id = acting.record(kind, at, data)
    if file is not None:
        store.keep_scan_file(
            session,
            delivery.id,
            act_id,
            name=file.name,
            media_type=file.media_type,
            sha256=file.sha256,
            content=file.content,
        )
    store.move(session, delivery, status=status.value)
    acting.done(at)
    row = next(a for a in reading.acts_of(session, delivery.id) if a["id"] == act_id)
    return _out(delivery.id, dict(row), status)


def _out(delivery_id: UUID, act: dict[str, Any], status: Status) -> RecordedOut:
    data = dict(act["data"])
    return RecordedOut(
        id=act["id"],
        delivery_id=delivery_id,
        kind=data.pop("kind", act["kind"]),
        result=data.pop("result", None),
        at=act["at"],
        recorded_at=act["recorded_at"],
        recorded_by=act["recorded_by"],
        status=status,
        **data,
    )


@router.get("/deliveries/{delivery_id}/controls")
def list_controls(
    user: Annotated[CurrentUser, may("deliveries.read")], delivery_id: UUID, session: Reading
) -> Page[RecordedOut]:
    """What controls were ordered and found, in order. Not for carriers."""
    return _listed(user, delivery_id, session, ActKind.CONTROL)


@router.get("/deliveries/{delivery_id}/scans")
def list_scans(
    user: Annotated[CurrentUser, may("deliveries.read")], delivery_id: UUID, session: Reading
) -> Page[RecordedOut]:
    """Container scans, in order. Not for carriers."""
    return _listed(user, delivery_id, session, ActKind.SCAN)


def _listed(
    user: CurrentUser, delivery_id: UUID, session: Reading, kind: ActKind
) -> Page[RecordedOut]:
    row = require_delivery(session, user, delivery_id)
    _not_for_carriers(user)
    status = Status(row["status"])
    acts = [dict(a) for a in reading.acts_of(session, delivery_id) if a["kind"] == kind]
    return Page(items=[_out(delivery_id, act, status) for act in acts])


def _not_for_carriers(user: CurrentUser) -> None:
    if user.role == "carrier":
        raise Forbidden("results of controls are for customs; see the delivery's own state")


@router.get("/deliveries/{delivery_id}/scans/{scan_id}/file", response_class=Response)
def get_scan_file(
    user: Annotated[CurrentUser, may("deliveries.read")],
    delivery_id: UUID,
    scan_id: int,
    session: Reading,
) -> Response:
    """The picture of a scan, as it came."""
    require_delivery(session, user, delivery_id)
    _not_for_carriers(user)
    row = store.scan_file(session, delivery_id, scan_id)
    if row is None:
        raise NotFound(f"scan {scan_id} of this delivery has no file")
    # Never shown in the page: whoever sent it chose what it is.
    headers = {
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(row.name)}",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(bytes(row.content), media_type="application/octet-stream", headers=headers)


@router.post("/deliveries/{delivery_id}/close", response_model=DeliveryDetail)
def close(
    user: Annotated[CurrentUser, may("deliveries.read")],
    delivery_id: UUID,
    creating: Creating,
    config: Config,
    body: CloseIn | None = None,
    if_match: IfMatch = None,
) -> JSONResponse:
    """Customs control ends: the delivery is completed, or a discrepancy was found."""
    asked = body or CloseIn()

    def act() -> DeliveryDetail:
        acting = opened(creating, user, delivery_id, config, if_match)
        require(user, "deliveries.close")
        require_post(user, "deliveries.close", acting.delivery.destination_post)
        return _closed(acting, asked)

    return once(creating, delivery_id, asked, act)


def _closed(acting: Acting, body: CloseIn) -> DeliveryDetail:
    delivery, session = acting.delivery, acting.session
    acts = reading.acts_of(session, delivery.id)
    results = [a["data"].get("result") for a in acts if a["kind"] in ("control", "scan")]
    arrival = next((a for a in reversed(acts) if a["kind"] == ActKind.ARRIVAL), None)
    ordered = arrival["data"].get("measures", []) if arrival is not None else []
    status = closing(Status(delivery.status), results, ordered, body.result)
    at = acting.when(body.at)
    acting.record(ActKind.CLOSE, at, given(result=status.value, remarks=body.remarks))
    store.move(session, delivery, status=status.value)
    return acting.done(at)
