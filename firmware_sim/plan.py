"""The plan file: which vehicles go where, with which devices and plots. Validated at once.

Format (YAML or JSON; every key not marked optional is needed):

    version: 1                      # optional
    seed: 7                         # optional, default of the vehicles' seeds
    vehicles:
      - vehicle: "123ABC02"         # label or number plate, unique
        devices:
          - {id: seal-1, kind: seal, key: {kid: k1, secret: 00ff…}, bat_pct: 90, gen: 0}
          - {id: gps-1, kind: gps}  # key, bat_pct, gen, username, password are optional
        route: [[80.385, 44.223], [76.911, 43.252]]   # lon, lat; or a GeoJSON file's name
        start: now-12h              # now, now-90m, now-2d, or RFC 3339 with offset; default now
        start_at_m: 0               # optional: where along the route it begins
        stops: [{at: [78.26, 43.60], minutes: 40}]    # optional planned stops, by place
        slow: [{at: [78.26, 43.60], radius_m: 4000, limit_kmh: 60}]   # optional towns
        plot: {name: diversion, params: {km: 8}}      # or a name, or a list of them
        acts: [{kind: incident, at: 0.4, after_minutes: 10, fields: {code: 1}}]   # optional
        seed: 1                     # optional
        periods: {seal: {moving_s: 60}}               # optional, by kind
        tail_s: 600                 # optional: reports on so long after arrival
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from firmware_sim.errors import PlanError
from firmware_sim.plots import PLOTS, Behaviour
from firmware_sim.truth import ActKind

_MAX_U32 = 2**32 - 1
_AGO = re.compile(r"now(?:-(\d+(?:\.\d+)?)([smhd]))?")
_NO_TIME = "start {!r} is no time; give now, now-12h or 2025-11-20T08:00:00Z"
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

DeviceId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Lon = Annotated[float, Field(ge=-180, le=180)]
Lat = Annotated[float, Field(ge=-90, le=90)]
Point = tuple[Lon, Lat]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KeyPlan(_Part):
    """A signing key: `secret` in hex."""

    kid: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    secret: str = Field(pattern=r"^([0-9a-fA-F]{2})+$")


class DevicePlan(_Part):
    """A device. `gen`: a number, or "ask" to lose it and ask the server; left out: the run's."""

    id: DeviceId
    kind: Literal["seal", "gps"]
    key: KeyPlan | None = None
    bat_pct: float = Field(95.0, gt=0, le=100)
    gen: Annotated[int, Field(ge=0, le=_MAX_U32)] | Literal["ask"] | None = None
    username: str | None = None
    password: str | None = None


class StopPlan(_Part):
    """A planned stop at a place (lon, lat) within 5 km of the route."""

    at: Point
    minutes: float = Field(gt=0)


class SlowPlan(_Part):
    """A town or pass: the limit within a radius of a place."""

    at: Point
    radius_m: float = Field(gt=0)
    limit_kmh: float = Field(gt=0, le=130)


class ActPlan(_Part):
    """Something a person does, for a runner to send through the HTTP API; none of it is MQTT.

    `at`: where, as a part of the way; 1 is on arrival. `after_minutes` may be negative.
    `position`: lon, lat that is told, "here" for the vehicle's true place, or none.
    """

    kind: ActKind
    at: float = Field(0.0, ge=0, le=1)
    after_minutes: float = 0.0
    position: Point | Literal["here"] | None = None
    fields: dict[str, Any] = Field(default_factory=dict)


class PeriodsPlan(_Part):
    """Reporting limits that differ from the contract's defaults."""

    moving_s: float | None = Field(None, gt=0)
    parked_s: float | None = Field(None, gt=0)
    distance_m: float | None = Field(None, gt=0)
    angle_deg: float | None = Field(None, gt=0)
    speed_kmh: float | None = Field(None, gt=0)
    sleep_s: float | None = Field(None, gt=0)


def _read_start(value: str) -> str:
    start_time(value, datetime.now(UTC))
    return value


def _rfc3339(value: object) -> object:
    # YAML reads an unquoted time stamp as a datetime of its own.
    return value.isoformat() if isinstance(value, datetime) else value


def _plots(value: object) -> object:
    entries = value if isinstance(value, list) else [value]
    return tuple(entry if isinstance(entry, Behaviour) else _plot(entry) for entry in entries)


def _plot(entry: object) -> Behaviour:
    name: object = entry if isinstance(entry, str) else None
    params: Any = {}
    if isinstance(entry, dict) and set(entry) <= {"name", "params"}:
        name, params = entry.get("name"), entry.get("params") or {}
    if name is None or not isinstance(params, dict):
        raise ValueError("give a plot as {name, params} or by its name")
    return make_plot(str(name), params)


StartText = Annotated[str, BeforeValidator(_rfc3339), AfterValidator(_read_start)]


class VehiclePlan(_Part):
    """One vehicle's trip."""

    vehicle: str = Field(min_length=1)
    devices: tuple[DevicePlan, ...] = Field(min_length=1)
    route: Annotated[tuple[Point, ...], Field(min_length=2)]
    start: StartText = "now"
    start_at_m: float = Field(0.0, ge=0)
    stops: tuple[StopPlan, ...] = ()
    slow: tuple[SlowPlan, ...] = ()
    acts: tuple[ActPlan, ...] = ()
    plot: Annotated[tuple[Behaviour, ...], BeforeValidator(_plots)] = ()
    seed: int = 0
    periods: dict[Literal["seal", "gps"], PeriodsPlan] = Field(default_factory=dict)
    tail_s: float = Field(600.0, ge=0)


class Plan(_Part):
    """The whole plan."""

    version: Literal[1] = 1
    seed: int = 0
    vehicles: tuple[VehiclePlan, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _unique(self) -> Plan:
        for what, names in (
            ("vehicle", [v.vehicle for v in self.vehicles]),
            ("device", [d.id for v in self.vehicles for d in v.devices]),
        ):
            twice = {name for name in names if names.count(name) > 1}
            if twice:
                raise ValueError(f"{what} {min(twice)} occurs twice; names must be unique")
        return self


def make_plot(name: str, params: dict[str, Any]) -> Behaviour:
    """A plot or behaviour by name; ValueError names the remedy."""
    if name not in PLOTS:
        raise ValueError(f"unknown plot {name}; known are {', '.join(PLOTS)}")
    try:
        return PLOTS[name].model_validate(params)
    except ValidationError as error:
        raise ValueError(f"plot {name}: {first_error(error)}") from error


def start_time(text: str, now: datetime) -> datetime:
    """When a trip starts; `now` is the run's own instant. ValueError if unreadable."""
    if ago := _AGO.fullmatch(text):
        amount, unit = ago.groups()
        return now - timedelta(**{_UNITS[unit]: float(amount)}) if amount else now
    try:
        start = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(_NO_TIME.format(text)) from error
    if start.tzinfo is None:
        raise ValueError(_NO_TIME.format(text))
    return start.astimezone(UTC)


def read_plan(file: FilePath) -> Plan:
    """Read and validate a plan file. PlanError is one line with the remedy."""
    try:
        raw = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise PlanError(f"{file}: {error.strerror}; give the name of a plan file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        first = " ".join(str(error).split())
        raise PlanError(f"{file}: not YAML or JSON: {first}") from error
    return parse_plan(raw, base=file.parent, name=str(file))


def parse_plan(raw: object, *, base: FilePath = FilePath(), name: str = "plan") -> Plan:
    """Validate a plan that is already data. Names of GeoJSON files are relative to `base`."""
    if not isinstance(raw, dict) or not isinstance(raw.get("vehicles"), list):
        raise PlanError(f"{name}: a plan is a mapping with a list `vehicles`")
    vehicles = [_with_defaults(v, raw.get("seed", 0), base) for v in raw["vehicles"]]
    try:
        return Plan.model_validate({**raw, "vehicles": vehicles})
    except ValidationError as error:
        raise PlanError(f"{name}: {first_error(error)}") from error


def _with_defaults(vehicle: object, seed: object, base: FilePath) -> object:
    if not isinstance(vehicle, dict):
        return vehicle
    filled = {"seed": seed, **vehicle}
    if isinstance(filled.get("route"), str):
        filled["route"] = read_route(base / filled["route"])
    return filled


def read_route(file: FilePath) -> list[Any]:
    """The first line of a GeoJSON file (LineString, Feature or collection), lon/lat pairs."""
    try:
        found = _line(json.loads(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise PlanError(f"route {file}: {error.strerror}; give an existing GeoJSON file") from error
    except (ValueError, AttributeError, TypeError, KeyError) as error:
        raise PlanError(f"route {file}: not readable as GeoJSON") from error
    if found is None:
        raise PlanError(f"route {file}: holds no LineString")
    return [point[:2] for point in found]


def _line(value: dict[str, Any]) -> list[list[float]] | None:
    if value.get("type") == "LineString":
        coordinates: list[list[float]] = value["coordinates"]
        return coordinates
    if value.get("type") == "Feature":
        return _line(value.get("geometry") or {})
    lines = (_line(part) for part in value.get("features", []))
    return next((line for line in lines if line is not None), None)


def first_error(error: ValidationError) -> str:
    """The first fault of a validation as `place: what is wrong`."""
    fault = error.errors()[0]
    place = ".".join(str(part) for part in fault["loc"])
    text = fault["msg"].removeprefix("Value error, ")
    return f"{place}: {text}" if place else text
