"""The load: deliveries on one long declared route, and the records their devices send.

Everything is drawn from one seed, so two runs store the same records.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from math import cos, radians, sin
from typing import Any

from shapely import LineString

from tests.support.seed import World
from tracker.model import to_ms
from tracker.payload import topic_of
from tracker.storing import Incoming

VERTICES = 1_500
"""As many as a lane of 800 km has when it is drawn by its bends."""

PERIOD_S = 60.0
SPEED_KMH = 70.0
KM_PER_DEGREE = 111.2
DELAY_MS = 900
"""From the device's clock to the server's: radio and broker."""

CROOKED = 50
"""Of so many deliveries one leaves its corridor for a while and one stands where it may not."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """How much: deliveries of one vehicle unit each, and records of each."""

    deliveries: int
    records_each: int
    begin: datetime
    seed: int = 7

    @property
    def records(self) -> int:
        """Records in all."""
        return self.deliveries * self.records_each

    @cached_property
    def line(self) -> LineString:
        """The declared route, in degrees: eastward, winding, each vertex a bend."""
        steps = [i / (VERTICES - 1) for i in range(VERTICES)]
        return LineString(
            [(70 + 10 * s, 43 + 0.6 * sin(40 * s) + 0.02 * sin(900 * s)) for s in steps]
        )

    def device(self, number: int) -> str:
        """The id of a delivery's device."""
        return f"bench-{number:06d}"

    def batches(self, size: int) -> Iterator[list[Incoming]]:
        """Messages of one record each, as a live fleet sends them: in rounds of all devices."""
        rng = random.Random(self.seed)
        batch: list[Incoming] = []
        for round_ in range(self.records_each):
            for number in range(self.deliveries):
                batch.append(self._message(number, round_, rng))
                if len(batch) == size:
                    yield batch
                    batch = []
        if batch:
            yield batch

    def _message(self, number: int, round_: int, rng: random.Random) -> Incoming:
        at = self.begin + timedelta(seconds=round_ * PERIOD_S + PERIOD_S * number / self.deliveries)
        return self.message(number, round_, to_ms(at), rng)

    def message(
        self, number: int, round_: int, t_ms: int, rng: random.Random, **more: Any
    ) -> Incoming:
        """A device's message of one record. ``more``: fields besides those of every record."""
        device = self.device(number)
        body = _record(round_ + 1, t_ms, self._place(number, round_, rng), rng) | more
        return Incoming(
            topic=topic_of(device, "gps", "tlm"),
            payload=json.dumps(body, separators=(",", ":")).encode(),
            received_ms=t_ms + DELAY_MS,
        )

    def _place(self, number: int, round_: int, rng: random.Random) -> tuple[float, float]:
        # Degrees of longitude stand for the way: the load needs places along a line, not a drive.
        step_deg = SPEED_KMH * PERIOD_S / 3600 / KM_PER_DEGREE
        standing = number % CROOKED == 1
        start = (number * 0.618) % 1 * 0.6
        along = start + (0 if standing else round_ * step_deg / self.line.length)
        point = self.line.interpolate(min(along, 1.0), normalized=True)
        astray = number % CROOKED == 0 and self.records_each / 3 < round_ < self.records_each / 2
        noise_deg = 5 / 1000 / KM_PER_DEGREE
        lat = point.y + (0.03 if astray else 0) + rng.gauss(0, noise_deg)
        return point.x + rng.gauss(0, noise_deg) / cos(radians(point.y)), lat


def _record(seq: int, t_ms: int, place: tuple[float, float], rng: random.Random) -> dict[str, Any]:
    """A record with all that a vehicle unit sends."""
    return {
        **{"v": 1, "gen": 0, "seq": seq, "ts": t_ms + 123, "tq": "gnss"},
        **{"hist": False, "why": "time"},
        "fix": {
            **{"t": t_ms, "ok": True, "lat": round(place[1], 7), "lon": round(place[0], 7)},
            **{"alt": 812, "spd": round(rng.uniform(60, 80), 1), "hdg": 84, "hdop": 0.9},
            **{"sat": 11, "acc": 5, "src": "gnss", "jam": 0, "spoof": 0},
        },
        "mot": {"ign": True, "mov": True, "odo": 1_234_567 + seq * 1_166},
        "pwr": {"ext": 24_100, "bat": 87, "chg": False},
        "net": {"rssi": -71, "mcc": 401, "mnc": 1, "lac": 711, "cid": 12_345},
        "sleep_s": 0,
    }


def seed(dsn: str, load: Load) -> None:
    """Register the load's devices and release its deliveries, all on one route."""
    world = World(dsn)
    try:
        departure, destination = world.post(70.0, 43.0), world.post(80.0, 43.6)
        route = world.route([(x, y) for x, y in load.line.coords])
        released = load.begin - timedelta(minutes=1)
        who = world.conn.execute(
            "INSERT INTO participants (name, kind, tax_id, country)"
            " VALUES ('bench', 'both', '000000000000', 'KZ') RETURNING id"
        ).fetchone()
        assert who is not None
        world.conn.execute(_DEVICES, {"n": load.deliveries})
        world.conn.execute(
            _DELIVERIES,
            {
                **{"n": load.deliveries, "who": who[0], "route": route, "released": released},
                **{"departure": departure, "destination": destination},
                "deadline": datetime.now(UTC) + timedelta(days=30),
            },
        )
        world.conn.execute(_BINDINGS, {"released": released})
        world.conn.execute("ANALYZE")
    finally:
        world.close()


# Periods of hours: played faster than its own clock, the load would else be one long silence.
_DEVICES = """
INSERT INTO devices (id, kind, hmac_required, moving_s, parked_s)
SELECT 'bench-' || lpad(n::text, 6, '0'), 'gps', false, 7200, 7200
FROM generate_series(0, %(n)s - 1) AS n
"""

_DELIVERIES = """
INSERT INTO deliveries (registration_number, direction, carrier_id, declarant_id, departure_post,
    destination_post, route_id, deadline, goods, vehicle, status, released_at)
SELECT 'bench-' || lpad(n::text, 6, '0'), 'transit', %(who)s, %(who)s, %(departure)s,
    %(destination)s, %(route)s, %(deadline)s,
    '[{"hs_code": "220830", "value_kzt": 10000000, "payments_at_stake_kzt": 5000000}]', '{}',
    'released', %(released)s
FROM generate_series(0, %(n)s - 1) AS n
"""

_BINDINGS = """
INSERT INTO bindings (delivery_id, device_no, bound_from)
SELECT d.id, v.device_no, %(released)s
FROM deliveries d JOIN devices v ON v.id = d.registration_number
"""
