"""What leaves the tables beside telemetry: for each, which rows go. Nothing that is evidence of a
case, and nothing that a delivery which may be judged again is judged by.

A delivery may be judged again until its records have left telemetry (`delivery_state.retired_at`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import partial
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from msgspec import Struct

from tracker.clocks import FUTURE_MS
from tracker.db import quarantine, traces
from tracker.db.partitions import DEFAULT
from tracker.db.retention import let_go, weeks

Connection = psycopg.Connection[Any]

LOCK = 7238249
BATCH = 10_000
"""Rows deleted in one transaction: a moment, so that nobody waits for it."""

CLOCK_AHEAD = timedelta(milliseconds=FUTURE_MS)
"""A record may say that it was made so long after it was received."""


def lead(conn: Connection) -> bool:
    """Take the right to tidy until the transaction ends; False: another process has it."""
    row = conn.execute("SELECT pg_try_advisory_xact_lock(%s)", (LOCK,)).fetchone()
    return bool(row and row[0])


class Table(Struct, frozen=True, kw_only=True):
    """A table of which rows go by age: how many would, and deleting at most `BATCH` of them."""

    name: str
    count: Callable[[Connection, datetime], int]
    remove: Callable[[Connection, datetime], int]


Params = Callable[[Connection, datetime], dict[str, Any]]


def _of_time(conn: Connection, before: datetime) -> dict[str, Any]:
    return {"before": before}


def _count(rows: LiteralString, params: Params, conn: Connection, before: datetime) -> int:
    row = conn.execute("SELECT count(*) " + rows, params(conn, before)).fetchone()
    return int(row[0]) if row else 0


def _remove(delete: LiteralString, params: Params, conn: Connection, before: datetime) -> int:
    return conn.execute(delete, {**params(conn, before), "most": BATCH}).rowcount


# delete: rows that somebody is writing to are left for the next run, so that nobody waits in a
# circle with us.
def _delete(name: LiteralString, rows: LiteralString) -> LiteralString:
    return (
        "DELETE FROM "
        + name
        + " t USING (SELECT x.ctid "
        + rows
        + " LIMIT %(most)s FOR UPDATE OF x SKIP LOCKED) AS gone WHERE t.ctid = gone.ctid"
    )


def _table(name: LiteralString, rows: LiteralString, params: Params = _of_time) -> Table:
    return Table(
        name=name,
        count=partial(_count, rows, params),
        remove=partial(_remove, _delete(name, rows), params),
    )


# ---------------------------------------------------------------- what judging reads

# refusals: of times at which no delivery that may be judged again had the device.
_REFUSALS: LiteralString = """
FROM refusals x
WHERE greatest(x.last_at, x.to_t) < %(before)s
  AND NOT EXISTS (
      SELECT FROM bindings b JOIN delivery_state s USING (delivery_id)
      WHERE b.device_no = x.device_no AND s.retired_at IS NULL AND b.bound_from IS NOT NULL
        AND x.at_slot > b.bound_from - interval '1 hour'
        AND x.at_slot <= coalesce(b.bound_to, 'infinity'))
"""

# dead_zones: a layer serves the silences of the days after its own, up to that of the next one;
# it goes when no delivery that may be judged again was on its way on those days.
_DEAD_ZONES: LiteralString = """
FROM dead_zones x JOIN (
    SELECT layer_date, lead(layer_date) OVER (ORDER BY layer_date) AS next
    FROM (SELECT DISTINCT layer_date FROM dead_zones) AS layers
) AS served USING (layer_date)
WHERE (served.next + 1)::timestamp AT TIME ZONE 'UTC' < %(before)s
  AND NOT EXISTS (
      SELECT FROM bindings b JOIN delivery_state s USING (delivery_id)
      WHERE s.retired_at IS NULL
        AND b.bound_from < (served.next + 1)::timestamp AT TIME ZONE 'UTC'
        AND coalesce(b.bound_to, 'infinity') >= served.layer_date::timestamp AT TIME ZONE 'UTC')
"""

# checkpoints: of deliveries whose devices have all been off them for so long. Without them a late
# record is judged by folding from the start, to the same end.
_CHECKPOINTS: LiteralString = """
FROM checkpoints x
WHERE NOT EXISTS (
    SELECT FROM bindings b
    WHERE b.delivery_id = x.delivery_id AND b.bound_from IS NOT NULL
      AND coalesce(b.bound_to, 'infinity') >= %(before)s)
"""

# signed_messages: of weeks that have left telemetry, kept for a row in quarantine that is gone.
_MESSAGES: LiteralString = (
    """
FROM signed_messages x
WHERE x.received_at < %(before)s
  AND date_trunc('week', x.received_at AT TIME ZONE 'UTC')::date <> ALL (%(weeks)s)
  AND NOT EXISTS (SELECT FROM """
    + DEFAULT
    + """ t WHERE t.device_no = x.device_no AND t.message_id = x.id)
  AND NOT EXISTS (
      SELECT FROM quarantine q JOIN devices d ON d.id = q.device_id
      WHERE d.device_no = x.device_no AND q.message_id = x.id)
"""
)


def _of_weeks(conn: Connection, before: datetime) -> dict[str, Any]:
    return {"before": before, "weeks": [week.monday for week in weeks(conn)]}


def trace_table(within: timedelta) -> Table:
    """The traces, which are compared with those that began so long before or after."""
    return Table(
        name="traces",
        count=lambda conn, before: traces.count_gone(conn, before, within),
        remove=lambda conn, before: traces.prune(conn, before, within, BATCH),
    )


REFUSALS = _table("refusals", _REFUSALS)
DEAD_ZONES = _table("dead_zones", _DEAD_ZONES)
SIGNED_MESSAGES = _table("signed_messages", _MESSAGES, _of_weeks)
CHECKPOINTS = _table("checkpoints", _CHECKPOINTS)

# ---------------------------------------------------------------- what is sent and answered

# outbox: from its beginning, and never the newest event: readers know by it how far they are.
_OUTBOX: LiteralString = """
FROM outbox x WHERE x.at < %(before)s AND x.id < (SELECT max(id) FROM outbox)
"""
_OLDEST: LiteralString = " AND x.id < (SELECT min(id) FROM outbox) + %(most)s"

OUTBOX = Table(
    name="outbox",
    count=partial(_count, _OUTBOX, _of_time),
    remove=partial(_remove, _delete("outbox", _OUTBOX + _OLDEST), _of_time),
)
IDEMPOTENCY_KEYS = _table(
    "idempotency_keys", "FROM idempotency_keys x WHERE x.created_at < %(before)s"
)

# ---------------------------------------------------------------- what may be evidence

# scan_files: of deliveries let go; the act keeps the verdict, the file's size and its digest.
_SCANS: LiteralString = "FROM scan_files x WHERE x.delivery_id = ANY(%(let_go)s)"

_SCANNED: LiteralString = """
SELECT DISTINCT f.delivery_id FROM scan_files f
JOIN delivery_acts a ON a.delivery_id = f.delivery_id AND a.id = f.act_id
WHERE a.recorded_at < %s
"""


def _scanned(conn: Connection, before: datetime) -> dict[str, Any]:
    ids = [row[0] for row in conn.execute(_SCANNED, (before,))]
    return {"let_go": let_go(conn, ids, before)}


SCAN_FILES = _table("scan_files", _SCANS, _scanned)

# quarantine: unless the device was on a case then, or the case's refusals name the row. What a
# device sent on its way may have come as long after it as rows are kept at all.
_QUARANTINE: LiteralString = """
FROM quarantine x LEFT JOIN devices d ON d.id = x.device_id
WHERE x.received_at < %(before)s
  AND NOT EXISTS (
      SELECT FROM bindings b
      WHERE b.device_no = d.device_no AND b.delivery_id = ANY(%(cases)s)
        AND (x.received_at BETWEEN b.bound_from - %(ahead)s
                 AND coalesce(b.bound_to, 'infinity') + (now() - %(before)s)
             OR EXISTS (
                 SELECT FROM refusals r
                 WHERE r.device_no = b.device_no AND x.id = ANY(r.quarantine_ids)
                   AND r.to_t >= b.bound_from
                   AND r.from_t <= coalesce(b.bound_to, 'infinity'))))
"""

_REFUSED: LiteralString = """
SELECT DISTINCT b.delivery_id FROM bindings b
WHERE b.bound_from IS NOT NULL AND b.device_no IN (
    SELECT d.device_no FROM devices d JOIN quarantine q ON q.device_id = d.id
    WHERE q.received_at < %s)
"""

_REMOVE_REFUSED: LiteralString = (
    _delete("quarantine", _QUARANTINE)
    + " RETURNING (SELECT d.id FROM devices d WHERE d.id = t.device_id)"
)


def _of_cases(conn: Connection, before: datetime) -> dict[str, Any]:
    ids = [row[0] for row in conn.execute(_REFUSED, (before,))]
    gone = set(let_go(conn, ids, before))
    cases: list[UUID] = [id_ for id_ in ids if id_ not in gone]
    return {"before": before, "cases": cases, "ahead": CLOCK_AHEAD}


def _remove_refused(conn: Connection, before: datetime) -> int:
    rows = conn.execute(_REMOVE_REFUSED, {**_of_cases(conn, before), "most": BATCH}).fetchall()
    quarantine.recount(conn, _senders(device for (device,) in rows))
    return len(rows)


def _senders(devices: Iterable[str | None]) -> set[str]:
    return {device or quarantine.UNKNOWN_SENDERS for device in devices}


QUARANTINE = Table(
    name="quarantine",
    count=partial(_count, _QUARANTINE, _of_cases),
    remove=_remove_refused,
)
