"""The load's fleet in a database: devices with keys, routes, released deliveries, bindings."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from bench.load import Load, lines
from tests.support.seed import World


def seed(dsn: str, load: Load) -> None:
    """Register the load's devices and release its deliveries, on several routes."""
    world = World(dsn)
    try:
        released = load.begin - timedelta(minutes=1)
        sizes = {"n": load.devices, "stride": load.stride, "released": released}
        world.conn.execute(_DEVICES, sizes)
        world.conn.execute(_KEYS)
        who = world.conn.execute(
            "INSERT INTO participants (name, kind, tax_id, country)"
            " VALUES ('bench', 'both', '000000000000', 'KZ') RETURNING id"
        ).fetchone()
        assert who is not None
        deadline = datetime.now(UTC) + timedelta(days=30)
        common = {"n": load.deliveries, "who": who[0], "deadline": deadline, "released": released}
        world.conn.execute(_DELIVERIES, common | _roads(world))
        world.conn.execute(_BINDINGS, sizes)
        world.conn.execute("ANALYZE")
    finally:
        world.close()


def _roads(world: World) -> dict[str, Any]:
    """Each route with a post at either end."""
    ways = [list(zip(line.x.tolist(), line.y.tolist(), strict=True)) for line in lines()]
    return {
        "routes": [world.route(way) for way in ways],
        "departures": [world.post(*way[0]) for way in ways],
        "destinations": [world.post(*way[-1]) for way in ways],
    }


# Periods of hours: played faster than its own clock, the load would else be one long silence.
_DEVICES = """
INSERT INTO devices (id, kind, hmac_required, moving_s, parked_s)
SELECT 'bench-' || lpad(n::text, 6, '0'),
    CASE WHEN (n * %(stride)s::bigint) %% %(n)s %% 2 = 1 THEN 'seal' ELSE 'gps' END,
    true, 7200, 7200
FROM generate_series(0, %(n)s - 1) AS n
"""

_KEYS = """
INSERT INTO device_keys (device_no, kid, secret)
SELECT device_no, '1', sha256(convert_to(id, 'UTF8')) FROM devices
"""

_DELIVERIES = """
INSERT INTO deliveries (registration_number, direction, carrier_id, declarant_id, departure_post,
    destination_post, route_id, deadline, goods, vehicle, status, released_at)
SELECT 'bench-' || lpad(n::text, 6, '0'), 'transit', %(who)s, %(who)s, r.departure,
    r.destination, r.route, %(deadline)s,
    '[{"hs_code": "220830", "value_kzt": 10000000, "payments_at_stake_kzt": 5000000}]', '{}',
    'released', %(released)s
FROM generate_series(0, %(n)s - 1) AS n
JOIN unnest(%(routes)s::bigint[], %(departures)s::text[], %(destinations)s::text[])
    WITH ORDINALITY AS r (route, departure, destination, number)
    ON r.number = n %% cardinality(%(routes)s::bigint[]) + 1
"""

_BINDINGS = """
INSERT INTO bindings (delivery_id, device_no, bound_from)
SELECT d.id, v.device_no, %(released)s
FROM generate_series(0, %(n)s - 1) AS n
JOIN devices v ON v.id = 'bench-' || lpad(n::text, 6, '0')
JOIN deliveries d ON d.registration_number
    = 'bench-' || lpad(((n * %(stride)s::bigint) %% %(n)s / 2)::text, 6, '0')
"""
