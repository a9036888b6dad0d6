"""Deliveries, and what people record of them."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self
from uuid import UUID

from pydantic import AliasChoices, BeforeValidator, ConfigDict, Field, model_validator

from tracker.api.schemas.common import (
    Answer,
    Body,
    Code,
    Instant,
    Lat,
    Lon,
    Moment,
    Money,
    Name,
    Point,
    Text,
    Warning,
    Words,
)
from tracker.api.schemas.devices import DeviceId, DeviceKind
from tracker.api.schemas.routes import InlineRouteIn, RouteOut
from tracker.deliveries import SealState, Status
from tracker.errors import Invalid

Direction = Literal["import", "transit", "export"]
RegistrationNumber = Annotated[str, Text(longest=100)]
Plate = Annotated[str, Text(longest=32)]

_DELIVERY: dict[str, Any] = {
    "registration_number": "55301/010326/0000147",
    "direction": "transit",
    "carrier_id": "6f0b7c52-6a53-4a3e-9a41-0a4f8f6f7d11",
    "declarant_id": "0d7f2a0e-0f0a-4d3e-8f4e-5f0d1c2b3a49",
    "departure_post": "KZ-NURZHOLY",
    "destination_post": "KZ-ALMATY",
    "route_code": "R-NURZHOLY-ALMATY",
    "deadline": "2026-03-02T20:00:00.000Z",
    "goods": [
        {
            "hs_code": "8517130000",
            "description": "Smartphones",
            "gross_kg": 4200,
            "value_kzt": 399000000,
            "payments_at_stake_kzt": 52080000,
        }
    ],
    "vehicle": {"plate": "123 ABC 02", "country": "KZ", "trailer": "45 XYZ 02"},
    "devices": ["SEAL-0001", "GPS-0001"],
    "scheduled_departure": "2026-03-01T08:00:00.000Z",
}


class Goods(Body):
    """One line of goods."""

    hs_code: Annotated[str, Text(longest=10, shortest=2, pattern=r"^[0-9]{2,10}$")]
    description: Words
    gross_kg: Annotated[float, Field(ge=0, le=1e9)]
    value_kzt: Money
    payments_at_stake_kzt: Money


class Vehicle(Body):
    """The vehicle as declared."""

    plate: Plate
    country: Annotated[str, Text(longest=3, shortest=2)]
    trailer: Plate | None = None
    container: Annotated[str, Text(longest=32)] | None = None


class DeliveryIn(Body):
    """A delivery to register: exactly one of ``route_code`` and ``route``."""

    registration_number: RegistrationNumber
    direction: Direction
    carrier_id: UUID
    declarant_id: UUID
    departure_post: Code
    destination_post: Code
    route_code: Code | None = None
    route: InlineRouteIn | None = None
    deadline: Instant
    goods: Annotated[list[Goods], Field(min_length=1, max_length=1000)]
    vehicle: Vehicle
    devices: Annotated[list[DeviceId], Field(max_length=50)] = Field(default_factory=list)
    scheduled_departure: Instant | None = None

    model_config = ConfigDict(json_schema_extra={"examples": [_DELIVERY]})

    @model_validator(mode="after")
    def _one_route(self) -> Self:
        if (self.route_code is None) == (self.route is None):
            text = "give exactly one of route_code (a declared route) and route"
            raise Invalid.field("body", "route", msg=text)
        return self


class RouteBrief(Answer):
    """Which route a delivery has. Its line: ``GET /deliveries/{id}/route``."""

    id: int
    code: str | None
    name: str | dict[str, str]
    corridor_m: float
    length_m: float


class BindingOut(Answer):
    """A device of the delivery: reserved while ``from`` is null, on it until ``to``."""

    device_id: str
    kind: DeviceKind
    from_: Moment | None = Field(
        serialization_alias="from", validation_alias=AliasChoices("from", "from_")
    )
    to: Moment | None


class LastPosition(Answer):
    """The newest valid position of the delivery's devices."""

    t: Moment
    lon: float
    lat: float
    speed_kmh: float | None
    heading_deg: float | None
    moving: bool | None
    device_id: str
    distance_m: float | None = Field(description="From the declared route, m.")
    progress_m: float | None = Field(description="Along the declared route, m.")


class ActOut(Answer):
    """What a person did: when it happened, when it was entered, by whom."""

    id: int
    kind: str
    at: Moment
    recorded_at: Moment
    recorded_by: str
    data: dict[str, Any]


class StepOut(Answer):
    """A step of the life cycle with its time norm. ``kept`` null: not done and not late yet."""

    step: str
    since: Moment
    due_at: Moment
    norm_s: float
    done_at: Moment | None
    taken_s: float | None
    kept: bool | None
    reason: str = Field(description="Where the norm comes from.")


class RiskBrief(Answer):
    """The newest risk, in short. Not shown to carriers."""

    level: Literal["low", "medium", "high"]
    rank: int | None = Field(
        description="1: most at stake among the active deliveries; in lists with `order=rank` only."
    )
    probability: float
    expected_loss_kzt: int
    at: Moment | None


class DeliveryOut(Answer):
    """A delivery. ``risk`` is null for who may not see it, and before the first assessment."""

    id: UUID
    version: int
    registration_number: str
    direction: Direction
    status: Status
    carrier_id: UUID
    carrier_name: str
    declarant_id: UUID
    declarant_name: str
    departure_post: str
    destination_post: str
    route_code: str | None
    route: RouteBrief
    deadline: Moment
    scheduled_departure: Moment | None
    goods: list[dict[str, Any]]
    vehicle: dict[str, Any]
    devices: list[str]
    bindings: list[BindingOut]
    declared_at: Moment
    released_at: Moment | None
    arrived_at: Moment | None
    last_position: LastPosition | None
    progress_m: float | None
    settled: bool = Field(description="Every stored record and act has been judged.")
    risk: RiskBrief | None = None

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "3b0fbb0c-2f5e-44b4-a5b6-4f1c7a0d9e55",
                    "version": 2,
                    **_DELIVERY,
                    "status": "released",
                    "carrier_name": "ТОО «Пример Транс»",
                    "declarant_name": "ТОО «Пример Импорт»",
                    "route": {
                        "id": 3,
                        "code": "R-NURZHOLY-ALMATY",
                        "name": "Nur Zholy – Almaty",
                        "corridor_m": 5000,
                        "length_m": 310245.1,
                    },
                    "bindings": [
                        {
                            "device_id": "SEAL-0001",
                            "kind": "seal",
                            "from": "2026-03-01T08:05:00.000Z",
                            "to": None,
                        }
                    ],
                    "declared_at": "2026-03-01T07:40:00.000Z",
                    "released_at": "2026-03-01T08:05:00.000Z",
                    "arrived_at": None,
                    "last_position": None,
                    "progress_m": None,
                    "settled": True,
                    "risk": None,
                }
            ]
        }
    )


class DeliveryDetail(DeliveryOut):
    """A delivery with what people did and what looked odd."""

    acts: list[ActOut] = Field(default_factory=list)
    steps: list[StepOut] = Field(
        default_factory=list, description="What was done in which time, and whether in its norm."
    )
    warnings: list[Warning] = Field(default_factory=list)


class RouteInForce(RouteOut):
    """A route of a delivery: in force from ``from`` on; null: from the beginning."""

    from_: Moment | None = Field(
        serialization_alias="from", validation_alias=AliasChoices("from", "from_")
    )


class DeliveryRoute(RouteInForce):
    """The route of a delivery that is in force, with its line, and all that were declared."""

    routes: list[RouteInForce]


# ---------------------------------------------------------------- acts


class LonLat(Body):
    """A position as two numbers."""

    lon: Lon
    lat: Lat


Where = Point | LonLat


def where(position: Where | None) -> list[float] | None:
    """A position of either form as [lon, lat]."""
    if position is None:
        return None
    if isinstance(position, Point):
        return list(position.lon_lat)
    return [position.lon, position.lat]


Card = Annotated[str, Text(longest=128)]
Cards = Annotated[
    list[Card] | None,
    Field(
        min_length=1,
        max_length=100,
        description="Cards (as the seals send them, hashed) that may open the seals. With none"
        " named by any release or resealing, a card is not judged.",
    ),
]


class ReleaseIn(Body):
    """Seals armed, departure. ``at``: when it happened, by default now."""

    at: Instant | None = None
    position: Where | None = None
    cards: Cards = None

    model_config = ConfigDict(json_schema_extra={"examples": [{"at": "2026-03-01T08:05:00.000Z"}]})


class BorderCrossingIn(Body):
    """The carrier's notification that goods and vehicle crossed the border."""

    post: Code
    at: Instant
    plate: Plate | None = None
    position: Where | None = None
    documents: Annotated[list[Name | dict[str, Name]], Field(max_length=100)] = Field(
        default_factory=list
    )

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "post": "KZ-NURZHOLY",
                    "at": "2026-03-01T06:50:00.000Z",
                    "plate": "123 ABC 02",
                    "documents": ["CMR 0012345"],
                }
            ]
        }
    )


_OTHER_WORDS: Final[dict[object, SealState]] = {
    **dict.fromkeys(("ok", "closed", "sealed", "locked", "whole"), "intact"),
    **dict.fromkeys(("opened", "unlocked"), "open"),
    **dict.fromkeys(("removed", "absent", "lost"), "missing"),
    **dict.fromkeys(("tampered",), "damaged"),
}


def _in_our_words(state: object) -> object:
    return _OTHER_WORDS.get(state, state) if isinstance(state, str) else state


class SealIn(Body):
    """The state in which an officer finds a seal. Usual other words for a state are understood."""

    device_id: DeviceId
    state: Annotated[SealState, BeforeValidator(_in_our_words)]


class ArrivalIn(Body):
    """The officer confirms the arrival. ``at``: when it happened, by default now."""

    seals: Annotated[list[SealIn], Field(max_length=50)] = Field(default_factory=list)
    remarks: Words | None = None
    position: Where | None = None
    at: Instant | None = None

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"seals": [{"device_id": "SEAL-0001", "state": "intact"}]}]}
    )


class ContradictionOut(Answer):
    """Where the confirmed arrival and the telemetry do not agree."""

    code: str
    msg: str


class ArrivalOut(DeliveryDetail):
    """The delivery as arrived, with what the system decided on its control."""

    corridor: Literal["green", "blue", "yellow", "red"]
    measures: list[str]
    profiles: list[str]
    officer: str | None = Field(description="Who carries the control out; chosen by the system.")
    contradictions: list[ContradictionOut]
