"""What evaluation reads and keeps between batches: claims, plans, records, checkpoints."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import psycopg
from msgspec import Struct
from msgspec.structs import replace
from psycopg.rows import dict_row

from tracker.db.arrays import byteas, numbers, uuids, words
from tracker.detectors.limits import DatedSettings
from tracker.model import (
    Act,
    ActKind,
    BoundDevice,
    Checkpoint,
    DeclaredRoute,
    DeliveryPlan,
    Periods,
    PlanPost,
    to_ms,
)

Connection = psycopg.Connection[Any]

FOREVER = datetime(9999, 1, 1, tzinfo=UTC)
"""A mark from this time on asks to look at the clocks again, at no record."""

FOREVER_MS = to_ms(FOREVER)

_BEGINNING = datetime(1, 1, 2, tzinfo=UTC)
_BEGINNING_MS = to_ms(_BEGINNING)

_DUE = "(s.retry_at IS NULL OR s.retry_at <= clock_timestamp())"
"""A delivery that could not be judged is put off: its marks stay, and it is passed over."""


class Claim(Struct, frozen=True):
    """A delivery to be judged; ``from_ms`` None: from its start.

    ``version`` and ``status``: the delivery's own, which tell whether a plan read before still
    holds: every act of a person changes them. ``plan_no`` tells it of what many deliveries share,
    zones and settings: it is another whenever the delivery is judged from its start, by whomever.
    ``evaluated_at`` tells the same of the fold.
    """

    delivery_id: UUID
    from_ms: int | None
    version: int
    status: str
    assessed: str | None
    evaluated_at: datetime | None
    plan_no: int


def claim(
    conn: Connection, limit: int, only: UUID | None = None, *, urgent: bool = False
) -> list[Claim]:
    """Take deliveries that are marked, the longest waiting first, and take their marks.

    ``urgent``: only of those with an urgent mark, which have an index of their own.

    The row lock on the delivery's state is the lease: it ends with the transaction, however that
    ends. Marks are deleted by one statement, whose snapshot holds exactly the marks it deletes:
    records of a mark that commits later are judged again, never missed. A retired delivery loses
    its marks and is not judged: its records are archived; what is left would show nothing.
    """
    ids = conn.execute(
        f"""
        SELECT s.delivery_id
        FROM (
            SELECT delivery_id, min(marked_at) AS since FROM dirty
            WHERE {"urgent" if urgent else "true"}
              AND (%(only)s::uuid IS NULL OR delivery_id = %(only)s)
            GROUP BY delivery_id ORDER BY since, delivery_id
        ) m
        CROSS JOIN LATERAL (  -- one by one, until there are enough: never the whole table
            SELECT s.delivery_id FROM delivery_state s
            WHERE s.delivery_id = m.delivery_id
              AND {_DUE}
            FOR UPDATE SKIP LOCKED
        ) s
        LIMIT %(limit)s
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
        SELECT g.delivery_id, g.from_ms, d.version, d.status, s.assessed, s.evaluated_at, s.plan_no
        FROM (
            SELECT delivery_id, CASE WHEN bool_and(from_t IS NOT NULL)
                THEN (date_part('epoch', min(from_t)) * 1000)::bigint END AS from_ms
            FROM gone GROUP BY delivery_id
        ) g
        JOIN deliveries d ON d.id = g.delivery_id
        JOIN delivery_state s ON s.delivery_id = g.delivery_id
        WHERE s.retired_at IS NULL
        """,
        (uuids([row[0] for row in ids]),),
        binary=True,
    ).fetchall()
    claims = [Claim(*row) for row in rows]
    anew = [c.delivery_id for c in claims if c.from_ms is None]
    if anew:
        numbers_of = _number_plans(conn, anew)
        claims = [replace(c, plan_no=numbers_of.get(c.delivery_id, c.plan_no)) for c in claims]
    return claims


def waiting(conn: Connection, limit: int, *, urgent: bool = False) -> list[UUID]:
    """The deliveries that `claim` would take first, whoever holds them; it leaves them as they are.

    Those that are put off are left out, as there: else enough of them would hide all the others.
    """
    rows = conn.execute(
        f"""
        SELECT m.delivery_id
        FROM (
            SELECT delivery_id, min(marked_at) AS since FROM dirty
            WHERE {"urgent" if urgent else "true"} GROUP BY delivery_id
        ) m
        JOIN delivery_state s ON s.delivery_id = m.delivery_id AND {_DUE}
        ORDER BY m.since, m.delivery_id LIMIT %s
        """,
        (limit,),
    ).fetchall()
    return [row[0] for row in rows]


def _number_plans(conn: Connection, ids: Sequence[UUID]) -> dict[UUID, int]:
    """Give the plans that are about to be read a number that no other transaction gives."""
    rows = conn.execute(
        """
        UPDATE delivery_state SET plan_no = pg_current_xact_id()::text::bigint
        WHERE delivery_id = ANY(%s::uuid[]) RETURNING delivery_id, plan_no
        """,
        (uuids(ids),),
    )
    return dict(rows.fetchall())


# ---------------------------------------------------------------- plans


class CaseFile(Struct, frozen=True, kw_only=True):
    """A delivery as evaluation needs it: the pure plan, and what risk and events need."""

    plan: DeliveryPlan
    id: UUID
    registration_number: str
    status: str
    carrier_id: UUID
    goods: list[dict[str, Any]]
    carrier_facts: dict[str, Any]
    declarant_facts: dict[str, Any]
    settings: tuple[DatedSettings, ...]
    device_nos: dict[str, int]
    devices: dict[int, BoundDevice]
    version: int


_DELIVERIES = """
SELECT d.id, d.registration_number, d.status, d.direction, d.carrier_id, d.goods, d.deadline,
       d.released_at, d.arrived_at, d.version, d.departure_post, d.destination_post,
       c.facts AS carrier_facts, e.facts AS declarant_facts
FROM deliveries d
JOIN participants c ON c.id = d.carrier_id
JOIN participants e ON e.id = d.declarant_id
WHERE d.id = ANY(%s)
"""

# plan_posts: both posts of each delivery with the zones that stand for them.
_POSTS = """
SELECT d.id, p.code = d.departure_post AS departs, p.code = d.destination_post AS arrives,
       p.code, p.kind, z.code, ST_X(p.geom), ST_Y(p.geom)
FROM deliveries d
JOIN posts p ON p.code IN (d.departure_post, d.destination_post)
JOIN zones z ON z.id = p.zone_id
WHERE d.id = ANY(%s)
"""

# plan_routes: the routes of each delivery in the order in which they came into force; each of their
# checkpoints, for each version of its zone, with the last place along the route that the zone
# touches, or where the route comes nearest to a zone beside it. The plane ends at 85 degrees.
_ROUTES = """
WITH declared AS (
    SELECT d.id, d.route_id, NULL::timestamptz AS from_t FROM deliveries d WHERE d.id = ANY(%(ids)s)
    UNION ALL
    SELECT r.delivery_id, r.route_id, r.from_t FROM delivery_routes r
    WHERE r.delivery_id = ANY(%(ids)s)
)
SELECT w.id, w.route_id, w.from_t, r.length_m, coalesce(passed.checkpoints, '[]'::jsonb)
FROM declared w
JOIN routes r ON r.id = w.route_id
LEFT JOIN LATERAL (
    SELECT jsonb_agg(
        jsonb_build_array(
            z.code, place.progress_m, coalesce((c ->> 'mandatory')::boolean, true),
            (extract(epoch FROM z.valid_from) * 1000)::bigint,
            (extract(epoch FROM z.valid_to) * 1000)::bigint
        )
        ORDER BY place.progress_m, z.code, z.version
    ) AS checkpoints
    FROM jsonb_array_elements(r.checkpoints) AS c
    JOIN zones z ON z.code = c ->> 'zone_code'
    CROSS JOIN LATERAL (
        SELECT ST_Transform(
            ST_Intersection(z.geom, ST_MakeEnvelope(-180, -85.05, 180, 85.05, 4326)), 3857
        ) AS plane
    ) AS there
    CROSS JOIN LATERAL (
        SELECT p.start_m + p.length_m * coalesce(
            (
                SELECT max(ST_LineLocatePoint(p.geom_plane, touched.geom))
                FROM ST_DumpPoints(ST_Intersection(p.geom_plane, there.plane)) AS touched
            ),
            ST_LineLocatePoint(p.geom_plane, ST_ClosestPoint(p.geom_plane, there.plane))
        ) AS progress_m
        FROM route_pieces p
        WHERE p.route_id = r.id AND NOT ST_IsEmpty(there.plane)
        ORDER BY ST_Distance(p.geom_plane, there.plane), p.start_m DESC
        LIMIT 1
    ) AS place
) AS passed ON true
ORDER BY w.id, w.from_t NULLS FIRST
"""

# plan_settings: what differs from the defaults, from the widest scope to the narrowest. A lane is
# departure and destination post.
_SETTINGS = """
SELECT d.id, s.scope, (extract(epoch FROM s.from_t) * 1000)::bigint, s.values
FROM deliveries d
JOIN limit_settings s ON
    s.scope = 'national'
    OR s.scope = 'post' AND s.key IN (d.departure_post, d.destination_post)
    OR s.scope = 'lane' AND s.key = d.departure_post || '>' || d.destination_post
    OR s.scope = 'delivery' AND s.key = d.id::text
WHERE d.id = ANY(%s)
ORDER BY d.id, s.from_t, s.id
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
    posts = _posts(conn, ids)
    routes = _routes(conn, ids)
    dated: dict[UUID, list[DatedSettings]] = defaultdict(list)
    for id_, scope, from_ms, values in conn.execute(_SETTINGS, (list(ids),)):
        dated[id_].append(DatedSettings(scope=scope, from_ms=from_ms, values=values))
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(_DELIVERIES, (list(ids),)).fetchall()
    return {
        row["id"]: _case_file(
            row,
            replace(
                _plan(row),
                devices=tuple(devices[row["id"]]),
                acts=tuple(acts[row["id"]]),
                departure=posts.get((row["id"], "departs")),
                destination=posts.get((row["id"], "arrives")),
                routes=tuple(routes[row["id"]]),
            ),
            tuple(dated[row["id"]]),
            device_nos[row["id"]],
        )
        for row in rows
    }


def _posts(conn: Connection, ids: Sequence[UUID]) -> dict[tuple[UUID, str], PlanPost]:
    found: dict[tuple[UUID, str], PlanPost] = {}
    for id_, departs, arrives, code, kind, zone, lon, lat in conn.execute(_POSTS, (list(ids),)):
        post = PlanPost(code=code, kind=kind, zone=zone, lon=lon, lat=lat)
        for end, meant in (("departs", departs), ("arrives", arrives)):
            if meant:
                found[id_, end] = post
    return found


def _routes(conn: Connection, ids: Sequence[UUID]) -> dict[UUID, list[DeclaredRoute]]:
    routes: dict[UUID, list[DeclaredRoute]] = defaultdict(list)
    for id_, route_id, from_t, length_m, passed in conn.execute(_ROUTES, {"ids": list(ids)}):
        routes[id_].append(
            DeclaredRoute(
                route_id=route_id,
                length_m=length_m,
                from_ms=None if from_t is None else to_ms(from_t),
                checkpoints=tuple(
                    Checkpoint(
                        zone=zone,
                        progress_m=progress_m,
                        mandatory=mandatory,
                        from_ms=from_ms,
                        to_ms=to_ms_,
                    )
                    for zone, progress_m, mandatory, from_ms, to_ms_ in passed
                ),
            )
        )
    return routes


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


def _plan(row: dict[str, Any]) -> DeliveryPlan:
    released, arrived = row["released_at"], row["arrived_at"]
    return DeliveryPlan(
        id=str(row["id"]),
        deadline_ms=to_ms(row["deadline"]),
        released_ms=None if released is None else to_ms(released),
        arrived_ms=None if arrived is None else to_ms(arrived),
        devices=(),
        cancelled=row["status"] == "cancelled",
        direction=row["direction"],
    )


def _case_file(
    row: dict[str, Any],
    plan: DeliveryPlan,
    settings: tuple[DatedSettings, ...],
    device_nos: dict[str, int],
) -> CaseFile:
    return CaseFile(
        plan=plan,
        id=row["id"],
        registration_number=row["registration_number"],
        status=row["status"],
        carrier_id=row["carrier_id"],
        goods=row["goods"],
        carrier_facts=row["carrier_facts"],
        declarant_facts=row["declarant_facts"],
        settings=settings,
        device_nos=device_nos,
        devices={device_nos[device.id]: device for device in plan.devices},
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


# records_after: all records of bound devices, within each binding, after the newest state. A record
# made at the very moment at which the binding ends is in it: an arrival is often recorded with the
# time of the record that shows it. Times as milliseconds and numbers for names, in binary: this is
# the widest road in the database. The later of the two beginnings as one bound, else the index
# would be read from the binding's start each time; no t* is more than 5 min after its reception
# (`clocks.FUTURE_MS`), which leaves out the partitions from before.
_RECORDS = """
SELECT c.n, t.device_no, (date_part('epoch', t.received_at) * 1000)::bigint,
       (date_part('epoch', t.t_star) * 1000)::bigint, t.flags, t.body
FROM (
    SELECT c.n, b.device_no, to_timestamp(c.after / 1000.0::float8) AS after,
           greatest(b.bound_from, to_timestamp(c.after / 1000.0::float8)) AS since,
           coalesce(b.bound_to, 'infinity') AS until
    FROM unnest(%(ids)s::uuid[], %(after)s::bigint[]) WITH ORDINALITY AS c (delivery_id, after, n)
    JOIN bindings b USING (delivery_id) WHERE b.bound_from IS NOT NULL
    OFFSET 0
) c
JOIN telemetry t ON t.device_no = c.device_no AND t.t_star >= c.since AND t.t_star <= c.until
    AND t.t_star > c.after AND t.received_at >= c.since - interval '5 minutes'
"""

# timeless_records: records without t* take that of the nearest lower number of their generation
# that has one, else of the nearest higher (detection.md); they are few, and have their own index.
# Of a generation in which no record has a time, those that came while the device was bound stand at
# the beginning of the binding: a seal that never knew the time may have been cut all the same.
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
           AND h.t_star IS NOT NULL ORDER BY h.seq LIMIT 1),
        CASE WHEN t.received_at >= b.bound_from
             AND t.received_at <= coalesce(b.bound_to, 'infinity') THEN b.bound_from END
    ) AS t_star
) AS n
WHERE b.bound_from IS NOT NULL
  AND n.t_star >= b.bound_from AND n.t_star <= coalesce(b.bound_to, 'infinity')
"""


MOST_RECORDS = 40_000
"""Records of several deliveries that are read at once: some 2 kB and 0.1 ms each until they are
judged. More than 500 deliveries fold again after a restart of the evaluator (`REPLAYED` each)."""


class TooMany(Exception):
    """So many deliveries have more records than can be judged at once: to be tried with fewer."""

    def __init__(self, deliveries: int) -> None:
        super().__init__(f"{deliveries} deliveries have more than {MOST_RECORDS} records to judge")
        self.deliveries = deliveries


def records_after(conn: Connection, after_ms: Mapping[UUID, int | None]) -> list[StoredRecord]:
    """Records of deliveries after a t* each (None: all).

    The number of deliveries does not bound that of their records: a whole fleet may have to be
    judged from its start, when a zone has changed, or all that a long outage has kept back.

    Raises:
        TooMany: they are more than `MOST_RECORDS`; never of a single delivery.
    """
    ids = list(after_ms)
    several = len(ids) > 1
    params = {
        "ids": uuids(ids),
        "after": numbers([_BEGINNING_MS if t is None else t for t in after_ms.values()]),
    }
    # In the text: a plan for any limit at all would be one for a tenth of the records.
    query = f"{_RECORDS} LIMIT {MOST_RECORDS + 1}" if several else _RECORDS
    rows = conn.execute(query, params, binary=True)
    if several and rows.rowcount > MOST_RECORDS:
        raise TooMany(len(ids))
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

REPLAYED = 64
"""Observations folded since the state last kept, at which the next one is: what an evaluator that
does not remember a delivery folds again at most, in a few milliseconds."""


class SavedState(Struct, frozen=True, kw_only=True):
    """A delivery's fold after all records up to ``upto_ms``, as bytes."""

    delivery_id: UUID
    upto_ms: int
    state: bytes
    version: str


def states_before(
    conn: Connection, before_ms: Mapping[UUID, int], versions: Mapping[UUID, str]
) -> dict[UUID, SavedState]:
    """For each delivery its newest state from before a t*; none: it is judged from the start.

    ``versions``: of the code and thresholds for each delivery; states of others are not read.
    """
    rows = conn.execute(
        """
        SELECT w.delivery_id, (date_part('epoch', c.upto) * 1000)::bigint, c.state
        FROM unnest(%(ids)s::uuid[], %(before)s::bigint[], %(versions)s::text[])
            AS w (delivery_id, before, version)
        CROSS JOIN LATERAL (
            SELECT upto, state FROM checkpoints c
            WHERE c.delivery_id = w.delivery_id AND c.version = w.version
              AND c.upto < to_timestamp(w.before / 1000.0::float8)
            ORDER BY c.upto DESC LIMIT 1
        ) c
        """,
        {
            "ids": uuids(before_ms),
            "before": numbers([min(t, FOREVER_MS) for t in before_ms.values()]),
            "versions": words([versions[id_] for id_ in before_ms]),
        },
        binary=True,
    ).fetchall()
    return {
        id_: SavedState(delivery_id=id_, upto_ms=upto_ms, state=state, version=versions[id_])
        for id_, upto_ms, state in rows
    }


def forget_states_after(conn: Connection, upto_ms: Mapping[UUID, int | None]) -> None:
    """Forget the states after a t* (None: all): late records have made them void."""
    if not upto_ms:
        return
    conn.execute(
        """
        DELETE FROM checkpoints c
        USING unnest(%s::uuid[], %s::bigint[]) AS w (delivery_id, upto)
        WHERE c.delivery_id = w.delivery_id AND c.upto > to_timestamp(w.upto / 1000.0::float8)
        """,
        (
            uuids(upto_ms),
            numbers([_BEGINNING_MS if t is None else t for t in upto_ms.values()]),
        ),
    )


def keep_states(conn: Connection, states: Sequence[SavedState]) -> None:
    """Keep states; of those before them, drop the same hour's and those that have grown too old.

    The last of each hour of t* stays: replaying an hour of records costs milliseconds.
    """
    if not states:
        return
    params = {
        "ids": uuids([s.delivery_id for s in states]),
        "upto": numbers([s.upto_ms for s in states]),
        "state": byteas([s.state for s in states]),
        "versions": words([s.version for s in states]),
        "keep": timedelta(hours=KEEP_HOURS),
    }
    conn.execute(
        """
        DELETE FROM checkpoints c
        USING unnest(%(ids)s::uuid[], %(upto)s::bigint[]) AS w (delivery_id, upto_ms)
        CROSS JOIN LATERAL to_timestamp(w.upto_ms / 1000.0::float8) AS new (upto)
        WHERE c.delivery_id = w.delivery_id AND c.upto < new.upto
          AND (c.upto >= date_trunc('hour', new.upto, 'UTC') OR c.upto < new.upto - %(keep)s)
        """,
        params,
    )
    conn.execute(
        """
        INSERT INTO checkpoints (delivery_id, upto, version, state)
        SELECT w.delivery_id, to_timestamp(w.upto / 1000.0::float8), w.version, w.state
        FROM unnest(%(ids)s::uuid[], %(upto)s::bigint[], %(state)s::bytea[], %(versions)s::text[])
            AS w (delivery_id, upto, state, version)
        ON CONFLICT (delivery_id, upto) DO UPDATE
            SET state = excluded.state, version = excluded.version
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


# ---------------------------------------------------------------- where evaluation stands


class Standing(Struct, frozen=True, kw_only=True):
    """When a delivery was last judged, and whether there is news that has not been."""

    evaluated_at: datetime | None
    pending: bool


def standing_of(conn: Connection, delivery_id: UUID) -> Standing:
    """Where the evaluation of a delivery stands."""
    row = conn.execute(
        """
        SELECT (SELECT evaluated_at FROM delivery_state WHERE delivery_id = %(id)s),
               EXISTS (SELECT FROM dirty WHERE delivery_id = %(id)s)
        """,
        {"id": delivery_id},
    ).fetchone()
    assert row is not None
    return Standing(evaluated_at=row[0], pending=row[1])


class Found(Struct, frozen=True, kw_only=True):
    """Deliveries that were asked for; ``names``: those of the names given that are known."""

    ids: list[UUID]
    names: frozenset[str]


def find_deliveries(conn: Connection, names: Sequence[str], since: datetime | None) -> Found:
    """Deliveries by id or registration number, and those released since a time."""
    rows = conn.execute(
        """
        SELECT id, registration_number FROM deliveries
        WHERE id::text = ANY(%(names)s) OR registration_number = ANY(%(names)s)
           OR released_at >= %(since)s
        ORDER BY released_at, id
        """,
        {"names": list(names), "since": since},
    ).fetchall()
    known = {str(id_) for id_, _ in rows} | {number for _, number in rows}
    return Found(ids=[id_ for id_, _ in rows], names=frozenset(known & set(names)))
