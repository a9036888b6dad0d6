"""Traces: what deliveries leave behind to be compared with each other's. Written when they change.

Two deliveries that are judged at the same time must not miss each other: whoever changes a trace
locks the places it touches until its commit, before it reads what others have left there.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from math import cos, floor, radians
from typing import Any, LiteralString
from uuid import UUID
from zlib import crc32

import psycopg
from msgspec import Struct

from tracker.db.arrays import numbers, uuids
from tracker.db.evaluation import FOREVER
from tracker.db.marks import DIRTY_CHANNEL
from tracker.model import Trace, from_ms

Connection = psycopg.Connection[Any]

NEAR_M = 1_000.0
"""Stops within this of each other are looked at together: ten times what makes a meeting."""

_M_PER_DEG = 111_000.0

LOCKS = 7238300
"""The first number of the advisory locks of places; the second is the place's."""

ALL_PLACES = 7238301
"""Held shared by all who lock places one by one, and alone by those who change very many."""

MOST_LOCKS = 256
"""Places locked one by one: the database's table of locks holds some thousands."""

_GRID_DEG = 0.02


class StoredTrace(Struct, frozen=True, kw_only=True):
    """A trace with its row. ``decided_ms`` as of a finding; None while it may change, or where it
    was not asked for."""

    id: int
    trace: Trace
    decided_ms: int | None = None


_COLUMNS: LiteralString = """
t.delivery_id, t.device_id, t.kind, (extract(epoch FROM t.from_t) * 1000)::bigint,
(extract(epoch FROM t.to_t) * 1000)::bigint, ST_X(t.geom), ST_Y(t.geom), t.cell, t.data
"""


def _trace(row: Sequence[Any]) -> Trace:
    delivery, device, kind, from_t, to_t, lon, lat, cell, data = row
    return Trace(
        delivery=str(delivery),
        device=device,
        kind=kind,
        from_ms=from_t,
        to_ms=to_t,
        lon=lon,
        lat=lat,
        cell=cell,
        data=data,
    )


# traces_of: one probe of an index for each delivery; most have none.
_OF: LiteralString = f"""
SELECT t.id, (extract(epoch FROM t.decided_t) * 1000)::bigint, {_COLUMNS}
FROM traces t WHERE t.delivery_id = ANY(%s::uuid[])
ORDER BY t.delivery_id, t.from_t, t.device_id, t.kind
"""


def traces_of(conn: Connection, ids: Iterable[UUID]) -> dict[UUID, list[StoredTrace]]:
    """What these deliveries have left, in order of time; those that left nothing are left out."""
    found: dict[UUID, list[StoredTrace]] = defaultdict(list)
    for id_, decided_ms, *row in conn.execute(_OF, (uuids(ids),)):
        found[row[0]].append(StoredTrace(id=id_, trace=_trace(row), decided_ms=decided_ms))
    return dict(found)


# ---------------------------------------------------------------- locks


def lock_places(conn: Connection, traces: Iterable[Trace]) -> None:
    """Wait until nobody else changes traces near these, and keep others waiting until the commit.

    In one order, so that two batches cannot wait for each other.
    """
    keys = sorted({crc32(name.encode()) - 2**31 for t in traces for name in _places(t)})
    if not keys:
        return
    if len(keys) > MOST_LOCKS:
        conn.execute("SELECT pg_advisory_xact_lock(%s)", (ALL_PLACES,))
        return
    conn.execute("SELECT pg_advisory_xact_lock_shared(%s)", (ALL_PLACES,))
    conn.execute(
        "SELECT pg_advisory_xact_lock(%s, key) FROM unnest(%s::int[]) WITH ORDINALITY AS w (key, n)"
        " ORDER BY n",
        (LOCKS, numbers(keys)),
    )


def _places(trace: Trace) -> set[str]:
    """Names of the places that a trace touches: two traces near each other share one.

    Of a stop the squares that half of `NEAR_M` around it touches.
    """
    if trace.kind != "stop":
        return {f"{trace.kind} {trace.cell}"}
    lat_deg, lon_deg = _degrees(trace.lat, NEAR_M / 2)
    return {
        f"stop {floor((trace.lon + east * lon_deg) / _GRID_DEG)}"
        f" {floor((trace.lat + north * lat_deg) / _GRID_DEG)}"
        for east in (-1, 1)
        for north in (-1, 1)
    }


def _degrees(lat: float, distance_m: float) -> tuple[float, float]:
    """So many metres in degrees of latitude and of longitude, rather more than less."""
    lat_deg = distance_m / _M_PER_DEG
    return lat_deg, lat_deg / max(0.05, cos(radians(lat) + radians(lat_deg)))


# ---------------------------------------------------------------- writing


class NewTrace(Struct, frozen=True, kw_only=True):
    """A trace to be kept."""

    delivery_id: UUID
    trace: Trace
    decided_ms: int | None


def exchange(conn: Connection, gone: Sequence[int], new: Sequence[NewTrace]) -> None:
    """Delete traces by their rows, and keep new ones."""
    if gone:
        conn.execute("DELETE FROM traces WHERE id = ANY(%s::bigint[])", (numbers(gone),))
    if not new:
        return
    with conn.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO traces (delivery_id, device_id, kind, from_t, to_t, decided_t, geom, cell,
                                data)
            VALUES (%s, %s, %s, %s, %s, %s, ST_SetSRID(ST_MakePoint(%s, %s), 4326), %s, %s)
            """,
            [_row(one) for one in new],
        )


def _row(one: NewTrace) -> tuple[Any, ...]:
    t = one.trace
    to_t, decided = t.to_ms, one.decided_ms
    return (
        one.delivery_id,
        t.device,
        t.kind,
        from_ms(t.from_ms),
        None if to_t is None else from_ms(to_t),
        None if decided is None else from_ms(decided),
        t.lon,
        t.lat,
        t.cell,
        json.dumps(t.data),
    )


# ---------------------------------------------------------------- reading others'

# stops_near: of other deliveries, at the same time, and not of the same vehicle: one lorry may
# carry the goods of two deliveries.
_STOPS: LiteralString = f"""
SELECT w.n, t.id, {_COLUMNS}
FROM unnest(%(ids)s::uuid[], %(lon)s::float8[], %(lat)s::float8[], %(dlon)s::float8[],
            %(dlat)s::float8[], %(since)s::bigint[], %(until)s::bigint[])
     WITH ORDINALITY AS w (id, lon, lat, dlon, dlat, since, until, n)
JOIN traces t ON t.kind = 'stop' AND t.delivery_id <> w.id
    AND t.geom && ST_Expand(ST_SetSRID(ST_MakePoint(w.lon, w.lat), 4326), w.dlon, w.dlat)
    AND (w.until IS NULL OR t.from_t < to_timestamp(w.until / 1000.0))
    AND (t.to_t IS NULL OR t.to_t > to_timestamp(w.since / 1000.0))
JOIN deliveries own ON own.id = w.id
JOIN deliveries other ON other.id = t.delivery_id
WHERE (own.vehicle ->> 'plate' = other.vehicle ->> 'plate') IS NOT TRUE
ORDER BY w.n, t.from_t, t.delivery_id, t.device_id
"""

_JAMS: LiteralString = f"""
SELECT w.n, t.id, {_COLUMNS}
FROM unnest(%(ids)s::uuid[], %(cell)s::text[], %(since)s::bigint[])
     WITH ORDINALITY AS w (id, cell, since, n)
JOIN traces t ON t.kind = 'jam' AND t.delivery_id <> w.id AND t.cell = w.cell
    AND t.from_t BETWEEN to_timestamp(w.since / 1000.0) - %(within)s
                     AND to_timestamp(w.since / 1000.0) + %(within)s
ORDER BY w.n, t.from_t, t.delivery_id, t.device_id
"""


def others_near(
    conn: Connection, traces: Sequence[tuple[UUID, Trace]], within: timedelta
) -> list[list[StoredTrace]]:
    """For each trace of a delivery those of others near it: stops at the same time, jams of the
    same cell that began ``within`` this time of it."""
    found: list[list[StoredTrace]] = [[] for _ in traces]
    stops = [n for n, (_, trace) in enumerate(traces) if trace.kind == "stop"]
    jams = [n for n, (_, trace) in enumerate(traces) if trace.kind == "jam"]
    read = ((stops, _stops(conn, traces, stops)), (jams, _jams(conn, traces, jams, within)))
    for places, rows in read:
        for n, id_, *row in rows:
            found[places[n - 1]].append(StoredTrace(id=id_, trace=_trace(row)))
    return found


def _stops(
    conn: Connection, traces: Sequence[tuple[UUID, Trace]], places: Sequence[int]
) -> Iterable[Sequence[Any]]:
    if not places:
        return ()
    chosen = [traces[n] for n in places]
    around = [_degrees(trace.lat, NEAR_M) for _, trace in chosen]
    return conn.execute(
        _STOPS,
        {
            "ids": uuids([id_ for id_, _ in chosen]),
            "lon": numbers([t.lon for _, t in chosen]),
            "lat": numbers([t.lat for _, t in chosen]),
            "dlon": numbers([lon_deg for _, lon_deg in around]),
            "dlat": numbers([lat_deg for lat_deg, _ in around]),
            "since": numbers([t.from_ms for _, t in chosen]),
            "until": numbers([t.to_ms for _, t in chosen]),
        },
    )


def _jams(
    conn: Connection,
    traces: Sequence[tuple[UUID, Trace]],
    places: Sequence[int],
    within: timedelta,
) -> Iterable[Sequence[Any]]:
    if not places:
        return ()
    chosen = [traces[n] for n in places]
    return conn.execute(
        _JAMS,
        {
            "ids": uuids([id_ for id_, _ in chosen]),
            "cell": [t.cell for _, t in chosen],
            "since": numbers([t.from_ms for _, t in chosen]),
            "within": within,
        },
    )


def mark_others(conn: Connection, from_t: Mapping[UUID, int | None]) -> None:
    """Have other deliveries looked at again: from a t* on, or (None) without their records."""
    if not from_t:
        return
    conn.execute(
        """
        INSERT INTO dirty (delivery_id, from_t)
        SELECT id, coalesce(to_timestamp(t / 1000.0), %s)
        FROM unnest(%s::uuid[], %s::bigint[]) AS w (id, t)
        """,
        (FOREVER, uuids(from_t), numbers(from_t.values())),
    )
    conn.execute("SELECT pg_notify(%s, '')", (DIRTY_CHANNEL,))


# ---------------------------------------------------------------- forgetting

# gone: traces of deliveries that are not judged again, older than a time, that no delivery which
# may be judged again is compared with. Twice as far around, and twice as long, as `others_near`.
_GONE: LiteralString = """
FROM traces x JOIN delivery_state s ON s.delivery_id = x.delivery_id AND s.retired_at IS NOT NULL
WHERE greatest(x.from_t, x.to_t) < %(before)s
  AND NOT (x.kind = 'stop' AND EXISTS (
      SELECT FROM traces own JOIN delivery_state t USING (delivery_id)
      WHERE own.kind = 'stop' AND t.retired_at IS NULL
        AND own.geom && ST_Expand(x.geom, %(near_deg)s
            / greatest(0.05, cos(radians(least(90, abs(ST_Y(x.geom)) + %(near_deg)s)))),
            %(near_deg)s)
        AND (x.to_t IS NULL OR own.from_t < x.to_t)
        AND (own.to_t IS NULL OR own.to_t > x.from_t)))
  AND NOT (x.kind = 'jam' AND EXISTS (
      SELECT FROM traces own JOIN delivery_state t USING (delivery_id)
      WHERE own.kind = 'jam' AND t.retired_at IS NULL AND own.cell = x.cell
        AND own.from_t BETWEEN x.from_t - 2 * %(within)s AND x.from_t + 2 * %(within)s))
"""


def count_gone(conn: Connection, before: datetime, within: timedelta) -> int:
    """How many traces `prune` would delete in all."""
    row = conn.execute("SELECT count(*) " + _GONE, _gone_params(before, within)).fetchone()
    return int(row[0]) if row else 0


def prune(conn: Connection, before: datetime, within: timedelta, most: int) -> int:
    """Delete traces that nobody is compared with any more; how many, at most ``most``.

    Nobody changes traces meanwhile, so none that is just being compared with is lost. Judging waits
    for that, so it is asked of it only where something goes.
    """
    params = {**_gone_params(before, within), "most": most}
    if conn.execute("SELECT " + _GONE + " LIMIT 1", params).fetchone() is None:
        return 0
    conn.execute("SELECT pg_advisory_xact_lock(%s)", (ALL_PLACES,))
    query: LiteralString = (
        "DELETE FROM traces t USING (SELECT x.id "
        + _GONE
        + " LIMIT %(most)s) AS gone WHERE t.id = gone.id"
    )
    return conn.execute(query, params).rowcount


def _gone_params(before: datetime, within: timedelta) -> dict[str, Any]:
    near_deg = 2 * NEAR_M / _M_PER_DEG
    return {"before": before, "near_deg": near_deg, "within": within}
