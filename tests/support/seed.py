"""Makes deliveries in a database without the API, for tests of what lies below it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
from shapely import LineString, box

from tracker.model import from_ms, to_ms
from tracker.payload import topic_of
from tracker.pipeline import judge, store
from tracker.routes import Leg, declare_route
from tracker.storing import Incoming, Storing

START = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)
LINE = [(76.0, 43.5), (77.0, 43.5), (78.0, 43.7)]


@dataclass(frozen=True, kw_only=True)
class SeededDelivery:
    """A released delivery with its devices."""

    id: UUID
    route_id: int
    devices: tuple[str, ...]


class World:
    """One test's database with the few things that a delivery needs."""

    def __init__(self, dsn: str) -> None:
        self.conn = psycopg.connect(dsn, autocommit=True, options="-c timezone=UTC")
        self._count = 0
        self._kinds: dict[str, str] = {}

    def close(self) -> None:
        self.conn.close()

    def _next(self) -> int:
        self._count += 1
        return self._count

    def _value(self, query: str, *params: Any) -> Any:
        row = self.conn.execute(query, params).fetchone()
        assert row is not None
        return row[0]

    def zone(self, lon: float, lat: float, *, kind: str = "parking", half_deg: float = 0.01) -> str:
        """A square zone around a place; its code."""
        code = f"zone-{self._next()}"
        area = box(lon - half_deg, lat - half_deg, lon + half_deg, lat + half_deg)
        self.conn.execute(
            "INSERT INTO zones (code, name, kind, geom) VALUES"
            " (%s, '{}', %s, ST_Multi(ST_GeomFromText(%s, 4326)))",
            (code, kind, area.wkt),
        )
        return code

    def post(self, lon: float, lat: float) -> str:
        """A post with a zone of its own; its code."""
        zone = self.zone(lon, lat, kind="post")
        code = f"post-{self._next()}"
        self.conn.execute(
            "INSERT INTO posts (code, name, geom, country, zone_id) SELECT %s, '{}',"
            " ST_SetSRID(ST_MakePoint(%s, %s), 4326), 'KZ', id FROM zones WHERE code = %s",
            (code, lon, lat, zone),
        )
        return code

    def route(
        self,
        line: Sequence[tuple[float, float]] = LINE,
        corridor_m: float = 1000.0,
        legs: Sequence[Leg] = (),
    ) -> int:
        """A declared route; its id."""
        plan = declare_route(line, corridor_m, legs)
        route_id = self._value(
            "INSERT INTO routes (name, geom, length_m, corridor_m) VALUES"
            " ('r', ST_GeomFromText(%s, 4326), %s, %s) RETURNING id",
            LineString(plan.points).wkt,
            plan.length_m,
            corridor_m,
        )
        with self.conn.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO route_pieces VALUES (%s, %s, %s, %s, %s,"
                " ST_Transform(ST_GeomFromText(%s, 4326), 3857))",
                [
                    (route_id, n, p.start_m, p.length_m, p.half_width_m, LineString(p.points).wkt)
                    for n, p in enumerate(plan.pieces)
                ],
            )
        return int(route_id)

    def device(self, kind: str = "gps", *, id_: str | None = None) -> str:
        """A registered device that need not sign; its id."""
        name = id_ or f"{kind}-{self._next()}"
        moving_s, parked_s = (300, 1800) if kind == "seal" else (60, 600)
        self.conn.execute(
            "INSERT INTO devices (id, kind, hmac_required, moving_s, parked_s)"
            " VALUES (%s, %s, false, %s, %s)",
            (name, kind, moving_s, parked_s),
        )
        self._kinds[name] = kind
        return name

    def delivery(
        self,
        devices: Iterable[str],
        *,
        route_id: int | None = None,
        released: datetime = START,
        deadline: datetime | None = None,
    ) -> SeededDelivery:
        """A delivery released at ``released``, its devices bound from then on."""
        route = self.route() if route_id is None else route_id
        who = self._value(
            "INSERT INTO participants (name, kind, tax_id, country) VALUES"
            " ('p', 'both', %s, 'KZ') RETURNING id",
            str(uuid4()),
        )
        goods = [{"hs_code": "220830", "value_kzt": 10_000_000, "payments_at_stake_kzt": 5_000_000}]
        id_ = self._value(
            "INSERT INTO deliveries (registration_number, direction, carrier_id, declarant_id,"
            " departure_post, destination_post, route_id, deadline, goods, vehicle, status,"
            " released_at) VALUES (%s, 'transit', %s, %s, %s, %s, %s, %s, %s, '{}', 'released', %s)"
            " RETURNING id",
            f"reg-{self._next()}",
            who,
            who,
            self.post(76.0, 43.5),
            self.post(78.0, 43.7),
            route,
            deadline or released + timedelta(days=3650),
            json.dumps(goods),
            released,
        )
        names = tuple(devices)
        self.conn.execute(
            "INSERT INTO bindings (delivery_id, device_no, bound_from)"
            " SELECT %s, device_no, %s FROM devices WHERE id = ANY(%s)",
            (id_, released, list(names)),
        )
        return SeededDelivery(id=id_, route_id=route, devices=names)

    def end(self, delivery: SeededDelivery, when: datetime, status: str) -> None:
        """A delivery is over: its devices are off it from then on."""
        self.conn.execute(
            "UPDATE bindings SET bound_to = %s, released = true WHERE delivery_id = %s",
            (when, delivery.id),
        )
        self.conn.execute(
            "UPDATE deliveries SET status = %s, arrived_at = %s WHERE id = %s",
            (status, when, delivery.id),
        )

    # -------------------------------------------------------- records

    def message(
        self, device: str, body: Any, *, received: datetime | None = None, channel: str = "tlm"
    ) -> Incoming:
        """A message from a device, as the broker would hand it over."""
        payload = body if isinstance(body, bytes) else json.dumps(body).encode()
        return Incoming(
            topic=topic_of(device, self._kinds.get(device, "gps"), channel),
            payload=payload,
            received_ms=to_ms(received or START + timedelta(days=1)),
        )

    def store(self, messages: Sequence[Incoming]) -> Storing:
        """The first stage, committed."""
        with self.conn.transaction():
            return store(self.conn, messages, quarantine_per_device=100)

    def judge(self, now: datetime = START + timedelta(days=1)) -> int:
        """The second stage for all that is marked, committed."""
        total = 0
        while True:
            with self.conn.transaction():
                judged = judge(self.conn, now=now, limit=100)
            if not judged:
                return total
            total += judged

    def anomalies(self, delivery: SeededDelivery) -> list[dict[str, Any]]:
        """Standing anomalies as (code, device, start, end, evidence …), in a fixed order."""
        rows = self.conn.execute(
            "SELECT code, device_id, start_at, end_at, evidence, status, severity, provisional"
            " FROM anomalies WHERE delivery_id = %s AND status <> 'retracted'"
            " ORDER BY code, device_id, start_at",
            (delivery.id,),
        )
        names = [column.name for column in rows.description or ()]
        return [dict(zip(names, row, strict=True)) for row in rows]


def record(
    seq: int,
    at: datetime,
    lon: float | None = None,
    lat: float | None = None,
    *,
    moving: bool | None = True,
    gen: int = 0,
    **more: Any,
) -> dict[str, Any]:
    """A record of the contract, with a good fix if a place is given."""
    t_ms = to_ms(at)
    body: dict[str, Any] = {"v": 1, "gen": gen, "seq": seq, "ts": t_ms, "tq": "gnss"}
    if lon is not None and lat is not None:
        body["fix"] = {"t": t_ms, "ok": True, "lat": lat, "lon": lon, "acc": 5, "src": "gnss"}
    if moving is not None:
        body["mot"] = {"mov": moving}
    return body | more


def at(minutes: float) -> datetime:
    """So many minutes after the start."""
    return from_ms(to_ms(START) + round(minutes * 60_000))
