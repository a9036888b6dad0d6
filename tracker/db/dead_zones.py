"""Dead zones, learnt from where many devices fall silent and come back: one dated layer a day.

A layer is made once and never changed, so a severity that it lowered can be explained years later.
It knows the silences that were over before its day began, and serves silences that begin on a later
day: when in its day it was made makes no difference.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, date, datetime, timedelta
from typing import Any, LiteralString

import psycopg
from msgspec import Struct

from tracker.db.arrays import words
from tracker.detectors.layers import silence_key
from tracker.model import Basis, DeadCell, Finding, Severity, to_ms

Connection = psycopg.Connection[Any]

WHOLE_LAYER = ""
"""The row of a layer that stands for all of it: it is there although no cell was dead."""


class Learning(Struct, frozen=True, kw_only=True):
    """What makes a cell a dead zone.

    ``devices``: a fault of one device, or a carrier's habit, is not the place's. ``gaps``: a bad
    day is not either. ``days``: masts are built and break within seasons.
    """

    devices: int = 3
    gaps: int = 5
    days: int = 30


class _Cell(Struct):
    devices: set[str]
    gaps: int
    first_at: datetime
    last_at: datetime


# silences_over: those that ended with the device coming back, and that nobody has found to be the
# cover of a violation, or the device's own fault.
_OVER: LiteralString = """
SELECT a.device_id, a.start_at, a.evidence -> 'last_fix'
FROM anomalies a
LEFT JOIN alerts l ON l.id = a.alert_id
WHERE a.code = 'silence' AND a.status = 'closed' AND a.end_at >= %(since)s AND a.end_at < %(until)s
  AND a.device_id IS NOT NULL
  AND jsonb_typeof(a.evidence -> 'last_fix') = 'array'
  AND a.evidence ->> 'ended_by' IS NULL
  AND l.finding IS DISTINCT FROM 'confirmed' AND l.finding IS DISTINCT FROM 'technical'
"""


def make_layer(conn: Connection, day: date, learning: Learning) -> int | None:
    """Make the layer of a day; how many cells it has. None: it is there already, and stays."""
    until = datetime(day.year, day.month, day.day, tzinfo=UTC)
    made = conn.execute(
        """
        INSERT INTO dead_zones (layer_date, cell, devices, gaps, first_at, last_at)
        VALUES (%s, %s, 0, 0, %s, %s) ON CONFLICT DO NOTHING RETURNING 1
        """,
        (day, WHOLE_LAYER, until - timedelta(days=learning.days), until),
    ).fetchone()
    if made is None:
        return None
    cells = _learnt(conn, until, learning)
    with conn.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO dead_zones (layer_date, cell, devices, gaps, first_at, last_at)"
            " VALUES (%s, %s, %s, %s, %s, %s)",
            [
                (day, name, len(cell.devices), cell.gaps, cell.first_at, cell.last_at)
                for name, cell in sorted(cells.items())
            ],
        )
    return len(cells)


def _learnt(conn: Connection, until: datetime, learning: Learning) -> dict[str, _Cell]:
    since = until - timedelta(days=learning.days)
    cells: dict[str, _Cell] = {}
    for device, at, last_fix in conn.execute(_OVER, {"since": since, "until": until}):
        key = silence_key(_silence(device, at, last_fix))
        if key is None:
            continue
        cell = cells.setdefault(key[0], _Cell(devices=set(), gaps=0, first_at=at, last_at=at))
        cell.devices.add(device)
        cell.gaps += 1
        cell.first_at, cell.last_at = min(cell.first_at, at), max(cell.last_at, at)
    return {
        name: cell
        for name, cell in cells.items()
        if len(cell.devices) >= learning.devices and cell.gaps >= learning.gaps
    }


def _silence(device: str, at: datetime, last_fix: list[float]) -> Finding:
    """A stored silence, as far as its place is concerned."""
    return Finding(
        code="silence",
        device=device,
        severity=Severity.MEDIUM,
        basis=Basis.DATA,
        start_ms=to_ms(at),
        evidence={"last_fix": last_fix},
    )


# cells_known: each cell in the newest layer from before a day.
_KNOWN: LiteralString = """
SELECT w.cell, w.day::text, z.layer_date::text, z.devices, z.gaps
FROM unnest(%s::text[], %s::date[]) AS w (cell, day)
CROSS JOIN LATERAL (
    SELECT max(layer_date) AS layer_date FROM dead_zones WHERE layer_date < w.day
) newest
JOIN dead_zones z ON z.layer_date = newest.layer_date AND z.cell = w.cell
"""


def cells_known(
    conn: Connection, wanted: Collection[tuple[str, str]]
) -> dict[tuple[str, str], DeadCell]:
    """Of cells and days those that were known as dead before that day."""
    if not wanted:
        return {}
    ordered = sorted(wanted)
    rows = conn.execute(
        _KNOWN, (words([cell for cell, _ in ordered]), words([day for _, day in ordered]))
    )
    return {
        (cell, day): DeadCell(cell=cell, layer_date=layer_date, devices=devices, gaps=gaps)
        for cell, day, layer_date, devices, gaps in rows
    }


class ShownCell(Struct, frozen=True, kw_only=True):
    """A cell of a layer as it is shown."""

    cell: str
    devices: int
    gaps: int
    first_at: datetime
    last_at: datetime


def newest_layer(conn: Connection, upto: date) -> tuple[date, list[ShownCell]] | None:
    """The newest layer of a day or before; None: there is none yet."""
    rows = conn.execute(
        """
        SELECT layer_date, cell, devices, gaps, first_at, last_at FROM dead_zones
        WHERE layer_date = (SELECT max(layer_date) FROM dead_zones WHERE layer_date <= %s)
        ORDER BY cell
        """,
        (upto,),
    ).fetchall()
    if not rows:
        return None
    cells = [
        ShownCell(cell=cell, devices=devices, gaps=gaps, first_at=first_at, last_at=last_at)
        for _, cell, devices, gaps, first_at, last_at in rows
        if cell != WHOLE_LAYER
    ]
    return rows[0][0], cells
