"""What evaluation reads and keeps between batches: claims, plans, records, checkpoints."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import psycopg
from msgspec import Struct
from psycopg.rows import dict_row

from tracker.db.arrays import numbers, uuids
from tracker.model import Act, ActKind, BoundDevice, DeliveryPlan, Periods, from_ms, to_ms

Connection = psycopg.Connection[Any]

FOREVER = datetime(9999, 1, 1, tzinfo=UTC)
"""A mark from this time on asks to look at the clocks again, at no record."""

FOREVER_MS = to_ms(FOREVER)

_BEGINNING = datetime(1, 1, 2, tzinfo=UTC)
_BEGINNING_MS = to_ms(_BEGINNING)


class Claim(Struct, frozen=True):
    """A delivery to be judged; ``from_ms`` None: from its start.

    ``version`` and ``status``: the delivery's own, which tell whether a plan read before still
    holds: every act of a person changes them. ``evaluated_at`` tells the same of the fold.
    """

    delivery_id: UUID
    from_ms: int | None
    version: int
    status: str
    assessed: str | None
    evaluated_at: datetime | None


def claim(conn: Connection, limit: int, only: UUID | None = None) -> list[Claim]:
    """Take deliveries that are marked, the longest waiting first, and take their marks.

    The row lock on the delivery's state is the lease: it ends with the transaction, however that
    ends. Marks are deleted by one statement, whose snapshot holds exactly the marks it deletes:
    records of a mark that commits later are judged again, never missed. A retired delivery loses
    its marks and is not judged: its records are archived; what is left would show nothing.
    """
    conn.execute(
        """
        INSERT INTO delivery_state (delivery_id)
        SELECT DISTINCT m.delivery_id FROM dirty m JOIN deliveries d ON d.id = m.delivery_id
        WHERE NOT EXISTS (SELECT 1 FROM delivery_state s WHERE s.delivery_id = m.delivery_id)
        ON CONFLICT DO NOTHING
        """
    )
    ids = conn.execute(
        """
        SELECT s.delivery_id
        FROM delivery_state s
        JOIN (
            SELECT delivery_id, min(marked_at) AS since FROM dirty GROUP BY delivery_id
        ) m USING (delivery_id)
        WHERE (s.retry_at IS NULL OR s.retry_at <= clock_timestamp() OR %(only)s::uuid IS NOT NULL)
          AND (%(only)s::uuid IS NULL OR s.delivery_id = %(only)s)
        ORDER BY m.since, s.delivery_id
        LIMIT %(limit)s
        FOR UPDATE OF s SKIP LOCKED
        """,
        {"limit": limit, "only": only},
    ).fetchall()
    if not ids:
        return []
    rows = conn.execute(
        """
        WITH gone AS (
            DELETE FROM dirty WHERE delivery_id = ANY(%s::uuid[]) RETURNING delivery_id, from_t
        )
        SELECT g.delivery_id, g.from_ms, d.version, d.status, s.assessed, s.evaluated_at
        FROM (
            SELECT delivery_id, CASE WHEN bool_and(from_t IS NOT NULL)
                THEN (extract(epoch FROM min(from_t)) * 1000)::bigint END AS from_ms
            FROM gone GROUP BY delivery_id
        ) g
        JOIN deliveries d ON d.id = g.delivery_id
        JOIN delivery_state s ON s.delivery_id = g.delivery_id
        WHERE s.retired_at IS NULL
        """,
        (uuids([row[0] for row in ids]),),
        binary=True,
    ).fetchall()
    return [Claim(*row) for row in rows]


# ---------------------------------------------------------------- plans


class CaseFile(Struct, frozen=True, kw_only=True):
    """A delivery as evaluation needs it: the pure plan, and what risk and events need."""

    plan: DeliveryPlan
    id: UUID
    registration_number: str
    status: str
    carrier_id: UUID
    route_id: int
    goods: list[dict[str, Any]]
    carrier_facts: dict[str, Any]
    declarant_facts: dict[str, Any]
    device_nos: dict[str, int]
    devices: dict[int, BoundDevice]
    version: int


_DELIVERIES = """
SELECT d.id, d.registration_number, d.status, d.carrier_id, d.route_id, d.goods, d.deadline,
       d.released_at, d.arrived_at, d.version, c.facts AS carrier_facts,
       e.facts AS declarant_facts
FROM deliveries d
JOIN participants c ON c.id = d.carrier_id
JOIN participants e ON e.id = d.declarant_id
WHERE d.id = ANY(%s)
"""

_BINDINGS = """
SELECT b.delivery_id, v.id, v.device_no, v.kind, v.moving_s, v.parked_s, b.bound_from, b.bound_to
FROM bindings b JOIN devices v USING (device_no)
WHERE b.delivery_id = ANY(%s) AND b.bound_from IS NOT NULL
ORDER BY b.bound_from, v.id
"""

_ACTS = """
SELECT delivery_id, kind, at, data FROM delivery_acts WHERE delivery_id = ANY(%s) ORDER BY at, id
"""


def case_files(conn: Connection, ids: Sequence[UUID]) -> dict[UUID, CaseFile]:
    """Plans of deliveries with their bindings and acts."""
    devices: dict[UUID, list[BoundDevice]] = defaultdict(list)
    device_nos: dict[UUID, dict[str, int]] = defaultdict(dict)
    for id_, name, no, kind, moving_s, parked_s, since, until in conn.execute(
        _BINDINGS, (list(ids),)
    ):
        device_nos[id_][name] = no
        devices[id_].append(
            _bound(name, kind, Periods(moving_s=moving_s, parked_s=parked_s), since, until)
        )
    acts: dict[UUID, list[Act]] = defaultdict(list)
    for id_, kind, at, data in conn.execute(_ACTS, (list(ids),)):
        acts[id_].append(Act(kind=ActKind(kind), t_ms=to_ms(at), data=data))
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(_DELIVERIES, (list(ids),)).fetchall()
    return {
        row["id"]: _case_file(
            row, tuple(devices[row["id"]]), tuple(acts[row["id"]]), device_nos[row["id"]]
        )
        for row in rows
    }


def _bound(
    name: str,
    kind: Literal["seal", "gps"],
    periods: Periods,
    since: datetime,
    until: datetime | None,
) -> BoundDevice:
    return BoundDevice(
        id=name,
        kind=kind,
        periods=periods,
        from_ms=to_ms(since),
        to_ms=None if until is None else to_ms(until),
    )


def _case_file(
    row: dict[str, Any],
    devices: tuple[BoundDevice, ...],
    acts: tuple[Act, ...],
    device_nos: dict[str, int],
) -> CaseFile:
    released, arrived = row["released_at"], row["arrived_at"]
    plan = DeliveryPlan(
        id=str(row["id"]),
        deadline_ms=to_ms(row["deadline"]),
        released_ms=None if released is None else to_ms(released),
        arrived_ms=None if arrived is None else to_ms(arrived),
        devices=devices,
        acts=acts,
        cancelled=row["status"] == "cancelled",
    )
    return CaseFile(
        plan=plan,
        id=row["id"],
        registration_number=row["registration_number"],
        status=row["status"],
        carrier_id=row["carrier_id"],
        route_id=row["route_id"],
        goods=row["goods"],
        carrier_facts=row["carrier_facts"],
        declarant_facts=row["declarant_facts"],
        device_nos=device_nos,
        devices={device_nos[device.id]: device for device in devices},
        version=row["version"],
    )


# ---------------------------------------------------------------- records


class StoredRecord(Struct, frozen=True):
    """A stored record of a bound device, with the time at which it stands in the delivery."""

    delivery_id: UUID
    device_no: int
    received_ms: int
    t_ms: int
    timed: bool
    flags: int
    body: bytes


# records_after: all records of bound devices, within each binding, after the newest state. Times as
# milliseconds and numbers for names, in binary: this is the widest road in the database.
_RECORDS = """
SELECT c.n, t.device_no, (extract(epoch FROM t.received_at) * 1000)::bigint,
       (extract(epoch FROM t.t_star) * 1000)::bigint, t.flags, t.body
FROM unnest(%(ids)s::uuid[], %(after)s::bigint[]) WITH ORDINALITY AS c (delivery_id, after, n)
JOIN bindings b USING (delivery_id)
JOIN telemetry t ON t.device_no = b.device_no
    AND t.t_star > to_timestamp(c.after / 1000.0) AND t.t_star >= b.bound_from
    AND t.t_star < coalesce(b.bound_to, 'infinity')
WHERE b.bound_from IS NOT NULL
"""

# timeless_records: records without t* take that of the nearest lower number of their generation
# that has one, else of the nearest higher (detection.md); they are few, and have their own index.
_TIMELESS = """
SELECT c.n, t.device_no, (extract(epoch FROM t.received_at) * 1000)::bigint,
       (extract(epoch FROM n.t_star) * 1000)::bigint, t.flags, t.body
FROM unnest(%(ids)s::uuid[]) WITH ORDINALITY AS c (delivery_id, n)
JOIN bindings b USING (delivery_id)
JOIN telemetry t ON t.device_no = b.device_no AND t.t_star IS NULL
CROSS JOIN LATERAL (
    SELECT coalesce(
        (SELECT l.t_star FROM telemetry l
         WHERE l.device_no = t.device_no AND l.gen = t.gen AND l.seq < t.seq
           AND l.t_star IS NOT NULL ORDER BY l.seq DESC LIMIT 1),
        (SELECT h.t_star FROM telemetry h
         WHERE h.device_no = t.device_no AND h.gen = t.gen AND h.seq > t.seq
           AND h.t_star IS NOT NULL ORDER BY h.seq LIMIT 1)
    ) AS t_star
) AS n
WHERE b.bound_from IS NOT NULL
  AND n.t_star >= b.bound_from AND n.t_star < coalesce(b.bound_to, 'infinity')
"""


def records_after(conn: Connection, after_ms: Mapping[UUID, int | None]) -> list[StoredRecord]:
    """Records of deliveries after a t* each (None: all)."""
    ids = list(after_ms)
    params = {
        "ids": uuids(ids),
        "after": numbers([_BEGINNING_MS if t is None else t for t in after_ms.values()]),
    }
    rows = conn.execute(_RECORDS, params, binary=True)
    return [
        StoredRecord(ids[n - 1], no, received, t, True, flags, body)
        for n, no, received, t, flags, body in rows
    ]


def timeless_records(conn: Connection, ids: Sequence[UUID]) -> list[StoredRecord]:
    """Records without a time of their own, at their neighbours' time."""
    rows = conn.execute(_TIMELESS, {"ids": uuids(ids)}, binary=True)
    return [
        StoredRecord(ids[n - 1], no, received, t, False, flags, body)
        for n, no, received, t, flags, body in rows
    ]


# ---------------------------------------------------------------- states

KEEP_HOURS = 48
"""Late data is rarely older than two days of driving; older still is judged from the start."""

STATE_EVERY_S = 3600.0
"""One older state an hour of t*: replaying an hour of records costs milliseconds."""


class SavedState(Struct, frozen=True, kw_only=True):
    """A delivery's fold after all records up to ``upto_ms``, as bytes."""

    delivery_id: UUID
    upto_ms: int
    state: bytes


def states_before(
    conn: Connection, before_ms: Mapping[UUID, int], version: str
) -> dict[UUID, SavedState]:
    """For each delivery its newest state from before a t*; none: it is judged from the start."""
    rows = conn.execute(
        """
        WITH w AS (
            SELECT delivery_id, to_timestamp(before / 1000.0) AS before
            FROM unnest(%(ids)s::uuid[], %(before)s::bigint[]) AS w (delivery_id, before)
        )
        SELECT w.delivery_id, (extract(epoch FROM coalesce(s.upto, c.upto)) * 1000)::bigint,
               coalesce(s.state, c.state)
        FROM w
        LEFT JOIN delivery_state s
            ON s.delivery_id = w.delivery_id AND s.upto < w.before
            AND s.state_version = %(version)s
        LEFT JOIN LATERAL (
            SELECT upto, state FROM checkpoints c
            WHERE s.delivery_id IS NULL AND c.delivery_id = w.delivery_id
              AND c.upto < w.before AND c.version = %(version)s
            ORDER BY c.upto DESC LIMIT 1
        ) c ON true
        WHERE coalesce(s.upto, c.upto) IS NOT NULL
        """,
        {
            "ids": uuids(before_ms),
            "before": numbers([min(t, FOREVER_MS) for t in before_ms.values()]),
            "version": version,
        },
        binary=True,
    ).fetchall()
    return {
        id_: SavedState(delivery_id=id_, upto_ms=upto_ms, state=state)
        for id_, upto_ms, state in rows
    }


def forget_states_after(conn: Connection, upto_ms: Mapping[UUID, int | None]) -> None:
    """Forget the older states after a t* (None: all): late records have made them void."""
    conn.execute(
        """
        DELETE FROM checkpoints c
        USING unnest(%s::uuid[], %s::bigint[]) AS w (delivery_id, upto)
        WHERE c.delivery_id = w.delivery_id AND c.upto > to_timestamp(w.upto / 1000.0)
        """,
        (
            uuids(upto_ms),
            numbers([_BEGINNING_MS if t is None else t for t in upto_ms.values()]),
        ),
    )


def keep_states(conn: Connection, states: Sequence[SavedState], version: str) -> None:
    """Keep states that are no longer the newest, and drop those that have grown too old."""
    if not states:
        return
    params = {
        "ids": [s.delivery_id for s in states],
        "upto": [from_ms(s.upto_ms) for s in states],
        "state": [s.state for s in states],
        "version": version,
        "keep": timedelta(hours=KEEP_HOURS),
    }
    conn.execute(
        """
        INSERT INTO checkpoints (delivery_id, upto, version, state)
        SELECT w.delivery_id, w.upto, %(version)s, w.state
        FROM unnest(%(ids)s::uuid[], %(upto)s::timestamptz[], %(state)s::bytea[])
            AS w (delivery_id, upto, state)
        ON CONFLICT (delivery_id, upto) DO UPDATE
            SET state = excluded.state, version = excluded.version
        """,
        params,
    )
    conn.execute(
        """
        DELETE FROM checkpoints c
        USING unnest(%(ids)s::uuid[], %(upto)s::timestamptz[]) AS w (delivery_id, upto)
        WHERE c.delivery_id = w.delivery_id AND c.upto < w.upto - %(keep)s
        """,
        params,
    )


# ---------------------------------------------------------------- faults and clocks


def record_fault(conn: Connection, delivery_id: UUID, *, fault_id: str, retry_at: datetime) -> None:
    """Note that a delivery could not be judged; its marks stay, so it is not settled."""
    conn.execute(
        """
        INSERT INTO delivery_state (delivery_id, error, retry_at) VALUES (%(id)s, %(fault)s, %(at)s)
        ON CONFLICT (delivery_id) DO UPDATE SET error = %(fault)s, retry_at = %(at)s
        """,
        {"id": delivery_id, "fault": fault_id, "at": retry_at},
    )


def mark_clocks(conn: Connection, now: datetime) -> int:
    """Mark the deliveries whose clock has come; how many. Their records need not be read again."""
    rows = conn.execute(
        """
        WITH due AS (
            SELECT delivery_id FROM delivery_state
            WHERE next_clock_at <= %(now)s FOR UPDATE SKIP LOCKED
        ), marked AS (
            UPDATE delivery_state s SET next_clock_at = NULL
            FROM due WHERE due.delivery_id = s.delivery_id RETURNING s.delivery_id
        )
        INSERT INTO dirty (delivery_id, from_t) SELECT delivery_id, %(forever)s FROM marked
        RETURNING 1
        """,
        {"now": now, "forever": FOREVER},
    ).fetchall()
    return len(rows)
