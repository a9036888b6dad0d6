"""The track of a delivery from the records of its devices within the time they were bound."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

import msgspec
import psycopg
from psycopg.rows import dict_row

from tracker import adapters
from tracker.db.reading import Row
from tracker.model import Record, to_ms

# track_devices: the devices of a delivery with the time they were bound, and how many of their
# records carry a position then. Counted apart, so that the points can be streamed in the order of
# the index instead of being collected first.
_DEVICES: LiteralString = """
WITH bound AS (
    SELECT b.device_no, v.id, v.kind,
           greatest(min(b.bound_from), %(since)s::timestamptz) AS t0,
           least(max(coalesce(b.bound_to, 'infinity')), %(until)s::timestamptz) AS t1
    FROM bindings b JOIN devices v USING (device_no)
    WHERE b.delivery_id = %(delivery_id)s AND b.bound_from IS NOT NULL
    GROUP BY b.device_no, v.id, v.kind
)
SELECT device_no, id, kind, t0, least(t1, '9999-01-01'::timestamptz) AS t1, (
    SELECT count(*) FROM telemetry t
    WHERE t.device_no = bound.device_no AND t.t_star BETWEEN bound.t0 AND bound.t1
      AND t.geom IS NOT NULL
) AS total
FROM bound ORDER BY id
"""

# track_points: a device's records that carry a position, thinned evenly: the first of each stride
# and the last. Thinning by rank and not by distance keeps the shape of time: a stop stays a stop.
_POINTS: LiteralString = """
SELECT t_star, ST_X(geom), ST_Y(geom), flags, body FROM (
    SELECT t_star, geom, flags, body, row_number() OVER (ORDER BY t_star, gen, seq) AS n
    FROM telemetry
    WHERE device_no = %(device_no)s AND t_star BETWEEN %(t0)s AND %(t1)s AND geom IS NOT NULL
) numbered
WHERE (n - 1) %% %(stride)s = 0 OR n = %(total)s
ORDER BY n
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
    params = {"delivery_id": delivery_id, "since": since, "until": until}
    with conn.cursor(row_factory=dict_row) as cursor:
        devices = cursor.execute(_DEVICES, params).fetchall()
    return [_track(conn, device, limit) for device in devices if device["total"]]


def _track(conn: psycopg.Connection[Any], device: Row, limit: int) -> DeviceTrack:
    stride = -(-device["total"] // limit)
    with conn.cursor() as cursor:
        rows = cursor.execute(_POINTS, device | {"stride": stride})
        points = tuple(_points(rows))
    return DeviceTrack(
        device_id=device["id"],
        kind=device["kind"],
        points=points,
        total=device["total"],
        thinned=stride > 1,
    )


def _points(rows: Iterable[tuple[Any, ...]]) -> Iterator[TrackPoint]:
    """Those that are fixes from GNSS, away from 0,0, and newer than the one before."""
    newest_ms = -1
    for t, lon, lat, flags, body in rows:
        fix = _fix(body, flags)
        fix_ms = fix.t if isinstance(fix.t, int) else to_ms(t)
        if fix.ok is False or fix.src not in (None, "gnss") or (lon == 0 and lat == 0):
            continue
        if fix_ms <= newest_ms:
            continue
        newest_ms = fix_ms
        yield TrackPoint(
            t=t, lon=lon, lat=lat, speed_kmh=_number(fix.spd), heading_deg=_number(fix.hdg)
        )


def _fix(body: bytes, flags: int) -> _Fix:
    """The fix as stored, in our own words or in another system's."""
    try:
        if flags & adapters.FOREIGN:
            record = adapters.record_of(body, flags)
            fix = record.fix if isinstance(record, Record) else None
            return _Fix() if fix is None else _Fix(fix.t, fix.ok, fix.spd, fix.hdg, fix.src)
        return _decode(body).fix or _Fix()
    except msgspec.MsgspecError:
        return _Fix()


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
