"""The track of a delivery from the records of its devices within the time they were bound."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

import msgspec
import psycopg

from tracker.model import to_ms

# Records that carry a position, thinned evenly per device: the first of each stride and the last.
# Thinning by rank and not by distance keeps the shape of time: a stop stays a stop.
_POINTS: LiteralString = """
WITH bound AS (
    SELECT b.device_no, v.id AS device_id, v.kind, min(b.bound_from) AS t0,
           max(coalesce(b.bound_to, 'infinity')) AS t1
    FROM bindings b JOIN devices v USING (device_no)
    WHERE b.delivery_id = %(delivery_id)s AND b.bound_from IS NOT NULL
    GROUP BY b.device_no, v.id, v.kind
), numbered AS (
    SELECT bound.device_id, bound.kind, t.t_star, t.geom, t.body,
           row_number() OVER w AS n, count(*) OVER (PARTITION BY bound.device_id) AS total
    FROM bound JOIN telemetry t ON t.device_no = bound.device_no
         AND t.t_star >= bound.t0 AND t.t_star <= bound.t1
         AND (%(since)s::timestamptz IS NULL OR t.t_star >= %(since)s)
         AND (%(until)s::timestamptz IS NULL OR t.t_star <= %(until)s)
    WHERE t.geom IS NOT NULL
    WINDOW w AS (PARTITION BY bound.device_id ORDER BY t.t_star, t.gen, t.seq)
)
SELECT device_id, kind, t_star, ST_X(geom), ST_Y(geom), body, total
FROM numbered
WHERE (n - 1) %% greatest(1, ceil(total::numeric / %(limit)s)::bigint) = 0 OR n = total
ORDER BY device_id, t_star, n
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackPoint:
    """A position of a device at its time t*; degrees WGS 84, km/h, degrees from north."""

    t: datetime
    lon: float
    lat: float
    speed_kmh: float | None
    heading_deg: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceTrack:
    """The track of one device.

    ``total``: how many records with a position it has; ``thinned``: not all of them were read.
    """

    device_id: str
    kind: str
    points: tuple[TrackPoint, ...]
    total: int
    thinned: bool


class _Fix(msgspec.Struct):
    t: Any = None
    ok: Any = None
    spd: Any = None
    hdg: Any = None
    src: Any = None


class _Body(msgspec.Struct):
    fix: _Fix | None = None


_decode = msgspec.json.Decoder(_Body).decode


def read_track(
    conn: psycopg.Connection[Any],
    delivery_id: UUID,
    *,
    since: datetime | None,
    until: datetime | None,
    limit: int,
) -> list[DeviceTrack]:
    """The tracks of a delivery's devices, at most about ``limit`` points each, in t* order."""
    params = {"delivery_id": delivery_id, "since": since, "until": until, "limit": limit}
    with conn.cursor(name="track") as cursor:
        cursor.itersize = 5000
        cursor.execute(_POINTS, params)
        return list(_by_device(cursor))


def _by_device(rows: Iterable[tuple[Any, ...]]) -> Iterator[DeviceTrack]:
    devices: dict[tuple[str, str], list[tuple[Any, ...]]] = {}
    for row in rows:
        devices.setdefault((row[0], row[1]), []).append(row)
    for (device_id, kind), own in devices.items():
        points = tuple(_points(own))
        total = own[0][6]
        yield DeviceTrack(
            device_id=device_id, kind=kind, points=points, total=total, thinned=len(own) < total
        )


def _points(rows: Iterable[tuple[Any, ...]]) -> Iterator[TrackPoint]:
    """Those that are fixes from GNSS, away from 0,0, and newer than the one before."""
    newest_ms = -1
    for _, _, t, lon, lat, body, _ in rows:
        fix = _fix(body)
        fix_ms = fix.t if isinstance(fix.t, int) else to_ms(t)
        if fix.ok is False or fix.src not in (None, "gnss") or (lon == 0 and lat == 0):
            continue
        if fix_ms <= newest_ms:
            continue
        newest_ms = fix_ms
        yield TrackPoint(
            t=t, lon=lon, lat=lat, speed_kmh=_number(fix.spd), heading_deg=_number(fix.hdg)
        )


def _fix(body: bytes) -> _Fix:
    """The fix as stored. Another device's dialect may keep it elsewhere: then only the place."""
    try:
        return _decode(body).fix or _Fix()
    except msgspec.MsgspecError:
        return _Fix()


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
