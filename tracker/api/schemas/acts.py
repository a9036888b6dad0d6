"""What people record of a delivery on its way and at its end: requests and answers."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self
from uuid import UUID

from fastapi import UploadFile
from pydantic import AliasChoices, BeforeValidator, ConfigDict, Field, model_validator

from tracker.api.schemas.common import (
    Answer,
    Body,
    Code,
    Instant,
    Moment,
    Money,
    Name,
    Warning,
    Words,
)
from tracker.api.schemas.deliveries import Cards, DeliveryDetail, Vehicle, Where
from tracker.api.schemas.devices import DeviceId
from tracker.deliveries import Status
from tracker.errors import Invalid

Devices = Annotated[list[DeviceId], Field(max_length=50)]
At = Annotated[Instant | None, Field(description="When it happened; by default now.")]


# ---------------------------------------------------------------- notices and incidents


class ArrivalNoticeIn(Body):
    """The carrier says that the vehicle has come, or when it will."""

    at: At = None
    post: Code | None = None
    expected_at: Instant | None = None
    position: Where | None = None
    text: Words | None = None

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"at": "2026-03-02T15:20:00.000Z", "text": "at the gate"}]}
    )


def _number(code: object) -> object:
    return int(code) if isinstance(code, str) and code.strip().isdigit() else code


class PlannedIn(Body):
    """What is planned: a detour or a stop, from when until when."""

    kind: Literal["detour", "stop"]
    from_: Instant | None = Field(
        None, alias="from", validation_alias=AliasChoices("from", "from_")
    )
    until: Instant | None = None
    position: Where | None = None
    text: Words | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.from_ is not None and self.until is not None and self.until <= self.from_:
            raise Invalid.field("body", "planned", "until", msg="must lie after from")
        return self


class IncidentIn(Body):
    """An incident on the way. ``code`` as in NCTS: 1 deviation from the itinerary, 2 seals broken,
    3 goods moved to other transport, 4 partly or fully unloaded, 5 unable to comply, 6 composition
    of the vehicle changed."""

    code: Annotated[Literal[1, 2, 3, 4, 5, 6], BeforeValidator(_number)]
    text: Words = Field(min_length=1)
    at: At = None
    place: Name | None = Field(None, description="In words: a kilometre post, a village.")
    position: Where | None = None
    planned: PlannedIn | None = None
    alert_ids: Annotated[list[UUID], Field(max_length=50)] | None = Field(
        None, description="The open alerts that it explains; by default all that it may."
    )

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "code": 1,
                    "text": "road closed, detour by the old road",
                    "place": "km 112",
                    "position": {"type": "Point", "coordinates": [78.1, 43.6]},
                    "planned": {"kind": "detour", "until": "2026-03-01T16:00:00.000Z"},
                }
            ]
        }
    )


class CheckOut(Answer):
    """What telemetry says to an incident."""

    code: str
    verdict: Literal["agrees", "contradicts", "unknown"]
    msg: str


class IncidentOut(Answer):
    """An incident as recorded, checked against telemetry at once."""

    id: int
    delivery_id: UUID
    code: int
    text: str
    at: Moment
    recorded_at: Moment
    recorded_by: str
    place: str | None = None
    position: list[float] | None = None
    planned: dict[str, Any] | None = None
    agrees: bool | None = Field(
        description="Telemetry says the same (true), otherwise (false), or cannot tell (null)."
    )
    checks: list[CheckOut]
    contradictions: list[CheckOut]
    explained_alerts: list[UUID] = Field(description="Ended as explained by it.")
    noted_alerts: list[UUID] = Field(description="Left to a person, with a line of history.")
    warnings: list[Warning] = Field(default_factory=list)


# ---------------------------------------------------------------- controls, scans, closing


class ControlIn(Body):
    """A control that was ordered, and what it found once it was carried out."""

    kind: Code
    result: Literal["clean", "violation"] | None = Field(
        None, description="Absent: ordered, not carried out yet."
    )
    code: Code | None = Field(None, description="Of the violation.")
    amount_kzt: Money | None = None
    at: At = None
    text: Words | None = None

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"kind": "full_inspection", "result": "violation", "amount_kzt": 1200000}]
        }
    )

    @model_validator(mode="after")
    def _clean_costs_nothing(self) -> Self:
        if self.result == "clean" and (self.code is not None or self.amount_kzt):
            text = "a clean control has no violation; leave it out, or give result violation"
            raise Invalid.field("body", "code" if self.code else "amount_kzt", msg=text)
        return self


class ScanFileIn(Body):
    """A picture, at most 5 MB."""

    name: Name
    media_type: Annotated[str, Field(max_length=100, pattern=r"^[\w.+-]+/[\w.+-]+$")] = (
        "application/octet-stream"
    )
    data_base64: Annotated[str, Field(max_length=7_000_000)]


class ScanIn(Body):
    """A container scan: the verdict of who read it, and the file."""

    verdict: Literal["clean", "suspicious", "violation"] = Field(
        validation_alias=AliasChoices("verdict", "result")
    )
    file: ScanFileIn | None = None
    container: Name | None = None
    scanner: Name | None = None
    at: At = None
    text: Words | None = None

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"verdict": "clean", "container": "MSKU1234565"}]}
    )


def _no_text(value: object) -> object:
    if isinstance(value, str):
        raise ValueError("is a text; send it as a file, with a filename")
    return value


class ScanForm(Body):
    """A container scan as a form: the same fields, the file as it is."""

    verdict: Literal["clean", "suspicious", "violation"] = Field(
        validation_alias=AliasChoices("verdict", "result")
    )
    file: Annotated[UploadFile | None, BeforeValidator(_no_text)] = None
    container: Name | None = None
    scanner: Name | None = None
    at: At = None
    text: Words | None = None


class RecordedOut(Answer):
    """A control or scan as recorded; ``status``: of the delivery, afterwards."""

    id: int
    delivery_id: UUID
    kind: str
    result: str | None
    at: Moment
    recorded_at: Moment
    recorded_by: str
    code: str | None = None
    amount_kzt: int | None = None
    text: str | None = None
    container: str | None = None
    scanner: str | None = None
    file: dict[str, Any] | None = None
    status: Status


class CloseIn(Body):
    """The end of customs control. ``result`` by default follows from what the controls found."""

    result: Literal["completed", "discrepancy"] | None = None
    at: At = None
    remarks: Words | None = None

    model_config = ConfigDict(json_schema_extra={"examples": [{"remarks": "all in order"}]})


# ---------------------------------------------------------------- the rest of the life


class CancelIn(Body):
    """A delivery that will not take place."""

    reason: Words | None = None
    at: At = None

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "declaration withdrawn"}]})


class EnquiryIn(Body):
    """Begin an enquiry, or with ``result`` say what it has found: `non_delivery`, `arrived` (it
    has come, and is confirmed herewith), or `found` (it is still on its way)."""

    result: Literal["non_delivery", "arrived", "found"] | None = None
    at: At = None
    text: Words | None = None

    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "the carrier was called"}]})


class SealOn(Body):
    """A seal that is put on, or stays on."""

    device_id: DeviceId
    state: Name | None = Field(None, description="In which it was found, if it was on before.")


class _DevicesIn(Body):
    """``add`` and ``remove``, or ``devices``: what is on the delivery from then on."""

    at: At = None
    devices: Devices | None = None
    add: Devices = Field(default_factory=list)
    remove: Devices = Field(default_factory=list)
    place: Name | None = None
    position: Where | None = None
    reason: Words | None = None
    text: Words | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.devices is not None and (self.add or self.remove):
            text = "give either devices, or add and remove"
            raise Invalid.field("body", "devices", msg=text)
        both = sorted(set(self.add) & set(self.remove))
        if both:
            raise Invalid.field("body", "add", msg=f"{both[0]} is removed too; choose one")
        return self


class ResealIn(_DevicesIn):
    """An officer puts the seals in order. With ``seals`` or ``devices``, seals that are not listed
    come off; vehicle units stay unless they are removed."""

    seals: Annotated[list[SealOn], Field(max_length=50)] | None = None
    device_id: Annotated[
        DeviceId | None, Field(description="The one seal that is on from now on.")
    ] = None
    cards: Cards = None

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"seals": [{"device_id": "SEAL-0002"}], "reason": "cut"}]}
    )


class TransshipmentIn(_DevicesIn):
    """The goods go on in another vehicle. With ``devices``, all that are not listed come off."""

    vehicle: Vehicle | None = None

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "vehicle": {"plate": "777 KZ 02", "country": "KZ"},
                    "devices": ["SEAL-0001", "GPS-0007"],
                    "place": "Shelek, terminal",
                }
            ]
        }
    )


class RebindingOut(DeliveryDetail):
    """The delivery with its devices as they are now."""

    added: list[str]
    removed: list[str]
