"""Registers through the HTTP API what a scenario needs, and brings back keys and ids."""

from __future__ import annotations

import base64
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from firmware_sim.cast import Cast, Role
from firmware_sim.errors import OfficeError
from firmware_sim.office import Office, Refusal
from firmware_sim.scenario import ZoneSpec
from firmware_sim.timing import rfc3339
from firmware_sim.wire import Key

# The server does one call on one core; more than a few at a time only wait in its queue.
_AT_ONCE = 4
_CONFLICT = 409
_KIND_OF_COMPANY = "both"

T = TypeVar("T")
Progress = Callable[[str, int, int], None]
"""What is being made, how many are, how many there are to be."""


@dataclass(slots=True, kw_only=True)
class Registered:
    """What the server has made: ids of deliveries by registration number, devices' secrets."""

    deliveries: dict[str, str] = field(default_factory=dict)
    keys: dict[str, Key] = field(default_factory=dict)
    logins: dict[str, tuple[str | None, str | None]] = field(default_factory=dict)


def register(
    office: Office,
    cast: Cast,
    *,
    now: datetime,
    logins: bool,
    progress: Progress = lambda *_: None,
) -> Registered:
    """Make posts, zones, routes, companies, devices and deliveries.

    Places, routes and companies that the server has under the same code are taken as they are;
    devices and deliveries have to be new. `logins`: give each device a password at the broker.

    Raises OfficeError if the server refuses something; the text says what.
    """
    setup = _Setup(office, progress)
    scenario = cast.scenario
    setup.each("zones", scenario.zones, lambda zone: setup.place("/zones", zone_body(cast, zone)))
    setup.each("posts", post_bodies(cast), lambda body: setup.place("/posts", body))
    setup.each("routes", route_bodies(cast), lambda body: setup.place("/routes", body))
    companies = setup.companies(cast)
    made = Registered()
    setup.each("devices", cast.roles, lambda role: setup.devices(role, made, logins=logins))
    setup.each(
        "deliveries", cast.roles, lambda role: setup.delivery(role, made, companies, now=now)
    )
    return made


def derived_keys(cast: Cast) -> dict[str, Key]:
    """Keys for a run without a server: of the scenario's seed, so that the bytes are repeatable."""
    keys = {}
    for role in cast.roles:
        for device in role.plan.devices:
            if role.signs(device.id):
                rng = random.Random(f"{cast.scenario.seed}/key/{device.id}")
                keys[device.id] = Key(kid="1", secret=rng.randbytes(32))
    return keys


class _Setup:
    """The steps, each for all things of a kind, several at a time."""

    def __init__(self, office: Office, progress: Progress) -> None:
        self._office, self._progress = office, progress

    def each(self, what: str, things: Iterable[T], make: Callable[[T], None]) -> None:
        waiting = list(things)
        if not waiting:
            return
        self._progress(what, 0, len(waiting))
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            try:
                for number, _ in enumerate(pool.map(make, waiting), start=1):
                    self._progress(what, number, len(waiting))
            except Refusal as refusal:
                pool.shutdown(cancel_futures=True)
                raise OfficeError(
                    f"the server refuses one of the {what}: {refusal}; the user given with --user "
                    "must be an administrator, and the scenario must fit the server"
                ) from refusal

    def place(self, path: str, body: Mapping[str, Any]) -> None:
        try:
            self._office.create(path, body)
        except Refusal as refusal:
            if refusal.status != _CONFLICT:
                raise

    def companies(self, cast: Cast) -> dict[tuple[str, int], str]:
        """Ids of the companies by (sort, number)."""
        bodies = dict(company_bodies(cast))
        known = {
            str(item["tax_id"]): str(item["id"]) for item in self._office.every("/participants")
        }
        made: dict[tuple[str, int], str] = {}

        def make(key: tuple[str, int]) -> None:
            body = bodies[key]
            made[key] = known.get(body["tax_id"]) or str(
                self._office.create("/participants", body)["id"]
            )

        self.each("companies", bodies, make)
        return made

    def devices(self, role: Role, made: Registered, *, logins: bool) -> None:
        for body in device_bodies(role, logins=logins):
            try:
                answer = self._office.create("/devices", body)
            except Refusal as refusal:
                if refusal.status == _CONFLICT:
                    raise OfficeError(
                        f"device {body['id']} is registered already and its key is not shown "
                        "again; give another --prefix"
                    ) from refusal
                raise
            key = answer["key"]
            if body["hmac_required"]:
                secret = base64.b64decode(key["secret_b64"])
                made.keys[body["id"]] = Key(kid=key["kid"], secret=secret)
            if answer.get("mqtt"):
                made.logins[body["id"]] = answer["mqtt"]["username"], answer["mqtt"]["password"]

    def delivery(
        self,
        role: Role,
        made: Registered,
        companies: Mapping[tuple[str, int], str],
        *,
        now: datetime,
    ) -> None:
        body = delivery_body(
            role,
            carrier=companies[role.carrier],
            declarant=companies[role.declarant],
            deadline=role.deadline(now),
        )
        try:
            answer = self._office.create("/deliveries", body)
        except Refusal as refusal:
            if refusal.status == _CONFLICT:
                raise OfficeError(
                    f"delivery {role.registration}: {refusal}; give another --prefix"
                ) from refusal
            raise
        made.deliveries[role.registration] = str(answer["id"])


def _names(text: str) -> dict[str, str]:
    return {"ru": text, "kk": text, "en": text}


def _point(lon_lat: Sequence[float]) -> dict[str, Any]:
    return {"type": "Point", "coordinates": list(lon_lat)}


def post_bodies(cast: Cast) -> list[dict[str, Any]]:
    """Bodies of ``POST /posts``: those that the scenario names, and those of its roads' ends."""
    named = [
        {
            "code": post.code,
            "name": _names(post.name or post.code),
            "geometry": _point(cast.scenario.point(post.at)),
            "country": post.country,
            "kind": post.kind,
        }
        for post in cast.scenario.posts
    ]
    ends = [
        {
            "code": post.code,
            "name": _names(post.name),
            "geometry": _point(post.point),
            "country": "KZ",
        }
        for post in cast.posts
    ]
    return [*named, *ends]


def zone_body(cast: Cast, zone: ZoneSpec) -> dict[str, Any]:
    """Body of ``POST /zones``."""
    ring = [[round(lon, 6), round(lat, 6)] for lon, lat in cast.scenario.ring(zone)]
    body: dict[str, Any] = {
        "code": zone.code,
        "name": _names(zone.name or zone.code),
        "kind": zone.kind,
        "geometry": {"type": "Polygon", "coordinates": [[*ring[:-1], ring[0]]]},
    }
    if zone.max_dwell_minutes is not None:
        body["max_dwell_s"] = zone.max_dwell_minutes * 60
    return body


def route_bodies(cast: Cast) -> list[dict[str, Any]]:
    """Bodies of ``POST /routes``."""
    return [
        {
            "code": lane.code,
            "name": lane.code,
            "geometry": {"type": "LineString", "coordinates": [list(p) for p in lane.points]},
            "corridor_m": lane.spec.corridor_m,
            "legs": [leg.model_dump() for leg in lane.spec.legs],
            "checkpoints": [
                {"zone_code": c.zone, "mandatory": c.mandatory} for c in lane.spec.checkpoints
            ],
        }
        for lane in cast.lanes.values()
    ]


def company_bodies(cast: Cast) -> Iterable[tuple[tuple[str, int], dict[str, Any]]]:
    """Bodies of ``POST /participants`` by (sort, number). Tax numbers are the scenario's own."""
    for sort, spec in cast.scenario.companies.items():
        for number in range(spec.count):
            rng = random.Random(f"{cast.scenario.name}/{cast.scenario.seed}/{sort}/{number}")
            yield (
                (sort, number),
                {
                    "name": f"{cast.scenario.name} {sort} {number + 1}",
                    "kind": _KIND_OF_COMPANY,
                    "tax_id": f"{rng.randrange(10**12):012d}",
                    "country": "KZ",
                    "facts": dict(spec.facts),
                },
            )


def device_bodies(role: Role, *, logins: bool) -> list[dict[str, Any]]:
    """Bodies of ``POST /devices``."""
    bodies = []
    for device in role.plan.devices:
        given = role.plan.periods.get(device.kind)
        periods = {} if given is None else given.model_dump(exclude_none=True)
        bodies.append(
            {
                "id": device.id,
                "kind": device.kind,
                "model": "firmware_sim",
                "hmac_required": role.signs(device.id),
                "broker_login": logins,
                "periods": {k: v for k, v in periods.items() if k in ("moving_s", "parked_s")},
            }
        )
    return bodies


def delivery_body(
    role: Role, *, carrier: str, declarant: str, deadline: datetime
) -> dict[str, Any]:
    """Body of ``POST /deliveries``."""
    return {
        "registration_number": role.registration,
        "direction": "transit",
        "carrier_id": carrier,
        "declarant_id": declarant,
        "departure_post": role.lane.departure,
        "destination_post": role.lane.destination,
        "route_code": role.lane.code,
        "deadline": rfc3339(deadline),
        "scheduled_departure": rfc3339(role.departs),
        "goods": [dict(role.goods)],
        "vehicle": {"plate": role.plan.vehicle, "country": "KZ"},
        "devices": [device.id for device in role.plan.devices],
    }
