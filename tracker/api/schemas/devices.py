"""Seals and vehicle units."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from tracker.api.schemas.common import Answer, Body, Moment, Name, Text, Warning
from tracker.api.schemas.device_keys import LoginOut
from tracker.clocks import ClockFault

DeviceKind = Literal["seal", "gps"]
DeviceId = Annotated[str, Text(longest=64, pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Period = Annotated[float, Field(ge=1, le=86_400, description="Seconds between two reports.")]

#: Seconds between reports, moving and parked: a seal saves its battery, a unit has the vehicle's.
DEFAULT_PERIODS: dict[str, tuple[float, float]] = {"seal": (300, 1800), "gps": (60, 600)}


class PeriodsIn(Body):
    """Reporting periods; what is left out is the default of the kind."""

    moving_s: Period | None = None
    parked_s: Period | None = None


class PeriodsOut(Answer):
    """Reporting periods in force."""

    moving_s: float
    parked_s: float


class DeviceIn(Body):
    """A device to register. The server makes its key."""

    id: DeviceId
    kind: DeviceKind
    model: Name | None = None
    hmac_required: bool | None = Field(
        None, description="Whether its messages must be signed; by default a seal's must."
    )
    periods: PeriodsIn = PeriodsIn()
    broker_login: bool = Field(
        True, description="Give it a password at the broker; not needed with a certificate."
    )

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"id": "SEAL-0001", "kind": "seal", "model": "JT701D"},
                {"id": "GPS-0001", "kind": "gps", "periods": {"moving_s": 30, "parked_s": 600}},
            ]
        }
    )


class DevicePatch(Body):
    """What of a device is to change; what is left out stays."""

    model: Name | None = None
    hmac_required: bool | None = Field(None, description="Whether its messages must be signed.")
    periods: PeriodsIn | None = None

    model_config = ConfigDict(json_schema_extra={"examples": [{"hmac_required": True}]})


class KeyOut(Answer):
    """The key with which the device signs; shown at registration and never again."""

    kid: str
    secret_b64: str = Field(description="32 random bytes, Base64.")


class DeviceOut(Answer):
    """A registered device."""

    id: str
    kind: DeviceKind
    model: str | None
    hmac_required: bool
    periods: PeriodsOut
    created_at: Moment
    online: bool | None = None
    last_received_at: Moment | None = None
    version: int = Field(1, description="Grows with each edit; the `ETag`.")
    warnings: list[Warning] = Field(default_factory=list)


class NewDeviceOut(DeviceOut):
    """A device just registered, with its key and its login at the broker."""

    key: KeyOut
    mqtt: LoginOut | None = Field(None, description="Its login at a broker that asks for one.")

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "SEAL-0001",
                    "kind": "seal",
                    "model": "JT701D",
                    "hmac_required": True,
                    "periods": {"moving_s": 300, "parked_s": 1800},
                    "created_at": "2026-03-01T08:00:00.000Z",
                    "version": 1,
                    "key": {"kid": "1", "secret_b64": "q83v…"},
                    "mqtt": {"username": "SEAL-0001", "password": "3nQb…"},
                }
            ]
        }
    )


class ClockOut(Answer):
    """The device's own clock by its newest records, against the satellites' or our time."""

    offset_s: float | None = Field(description="How far it is ahead, s; null: nothing to compare.")
    drift_s_per_day: float | None = Field(
        description="How much it gains a day; null: too few records, or they scatter too much."
    )
    fault: ClockFault | None = Field(description="What is wrong with most of its newest records.")


class Health(Answer):
    """How the device is: presence, battery, and how much of what it sent was refused."""

    online: bool | None = Field(description="By its birth and will; null if it never connected.")
    state_at: Moment | None
    last_received_at: Moment | None
    battery_pct: float | None
    external_mv: float | None
    quarantined: int
    clock: ClockOut


class CurrentDelivery(Answer):
    """The delivery on which the device is reserved (``since`` null) or bound."""

    id: str
    registration_number: str
    since: Moment | None


class DeviceDetail(DeviceOut):
    """A device with what is known of its reporting."""

    last_record: dict[str, Any] | None = Field(
        description="The newest record as sent, with `t`, the time found for it."
    )
    gen: int | None
    acked_upto: int = Field(description="Highest n of `gen` with all of 1…n stored or final holes.")
    missing: list[tuple[int, int]] = Field(description="Ranges not received, at most 64.")
    health: Health
    trust: float = Field(
        description=(
            "0 to 1: the share of good records among all, a contradicting one counted twentyfold, "
            "with 20 good ones given in advance."
        )
    )
    delivery: CurrentDelivery | None = None
