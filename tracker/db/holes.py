"""Numbers of devices that have not been received, for the deliveries they are on.

What has been received of a device is a multirange; its holes are read from that. A device without
any costs one look at its row.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from msgspec.structs import replace

from tracker.db.arrays import numbers, uuids
from tracker.db.evaluation import FOREVER
from tracker.db.marks import DIRTY_CHANNEL
from tracker.model import Hole

Connection = psycopg.Connection[Any]

MOST_HOLES = 64
"""Newest holes of a generation that are told apart, as many as an ack names; those below are told
as one, with the count of all their numbers."""

MOST_LATER = 500
"""Records after a hole that are asked when they came: the first of them that came tells since when
the hole is one. More than a device sends in several messages, so that a backlog that is sent newest
first hides nothing."""

WITH_HOLES: LiteralString = """
NOT isempty(r.received) AND r.received <> int8multirange(int8range(1, upper(r.received)))
"""
"""Of a row ``r`` of ``device_received``: its numbers are not one range from 1."""

# holes_of: of each generation of a bound device that has holes, each hole with its neighbours in
# time and the moment since which it is one. A lower neighbour of the first hole there cannot be.
_OF: LiteralString = f"""
WITH bound AS (
    SELECT b.delivery_id, b.device_no, d.id AS device, min(b.bound_from) AS since,
           max(coalesce(b.bound_to, 'infinity')) AS until
    FROM bindings b JOIN devices d USING (device_no)
    WHERE b.delivery_id = ANY(%(ids)s::uuid[]) AND b.bound_from IS NOT NULL
    GROUP BY 1, 2, 3
), ranges AS (
    SELECT n.device_no, n.gen, r.lo, lower(g) AS low, upper(g) AS high,
           coalesce(lag(upper(g)) OVER w, 1) AS reached, row_number() OVER (
               PARTITION BY n.device_no, n.gen ORDER BY lower(g) DESC
           ) AS newest
    FROM (SELECT DISTINCT device_no FROM bound) AS b
    JOIN device_received r USING (device_no)
    CROSS JOIN LATERAL (SELECT r.device_no, r.gen) AS n
    CROSS JOIN LATERAL unnest(r.received) AS g
    WHERE {WITH_HOLES}
    WINDOW w AS (PARTITION BY n.device_no, n.gen ORDER BY lower(g))
), holes AS (
    SELECT device_no, gen, min(reached) AS first, max(low) - 1 AS last,
           sum(low - reached)::bigint AS missing, max(lo) AS lo
    FROM ranges WHERE low > reached
    GROUP BY device_no, gen, least(newest, %(most)s)
)
SELECT b.delivery_id, b.device, h.gen, h.first, h.last, h.missing, h.lo,
       (extract(epoch FROM later.first_at) * 1000)::bigint,
       (extract(epoch FROM before.t_star) * 1000)::bigint,
       (extract(epoch FROM after.t_star) * 1000)::bigint
FROM bound b
JOIN holes h USING (device_no)
CROSS JOIN LATERAL (
    SELECT t_star FROM telemetry t
    WHERE t.device_no = h.device_no AND t.gen = h.gen AND t.seq > h.last AND t.t_star IS NOT NULL
    ORDER BY t.seq LIMIT 1
) AS after
LEFT JOIN LATERAL (
    SELECT t_star FROM telemetry t
    WHERE t.device_no = h.device_no AND t.gen = h.gen AND t.seq < h.first AND t.t_star IS NOT NULL
    ORDER BY t.seq DESC LIMIT 1
) AS before ON h.first > 1
CROSS JOIN LATERAL (
    SELECT min(l.received_at) AS first_at FROM (
        SELECT received_at FROM telemetry t
        WHERE t.device_no = h.device_no AND t.gen = h.gen AND t.seq > h.last
        ORDER BY t.seq LIMIT %(later)s
    ) AS l
) AS later
WHERE after.t_star >= b.since AND after.t_star <= b.until
ORDER BY b.delivery_id, b.device, h.gen, h.first
"""


def holes_of(conn: Connection, ids: Collection[UUID]) -> dict[UUID, tuple[Hole, ...]]:
    """Holes in the numbers of these deliveries' devices that end while they are bound.

    Deliveries without any are left out.
    """
    if not ids:
        return {}
    found: dict[UUID, list[Hole]] = defaultdict(list)
    params = {"ids": uuids(ids), "most": MOST_HOLES, "later": MOST_LATER}
    for id_, device, gen, first, last, missing, lo, since, before, after in conn.execute(
        _OF, params
    ):
        hole = Hole(
            device=device,
            gen=gen,
            seqs=(first, last),
            missing=missing,
            higher_received_ms=since,
            before_ms=before,
            after_ms=after,
            final=last < lo,
        )
        found[id_] += _parted(hole, lo)
    return {id_: tuple(holes) for id_, holes in found.items()}


def _parted(hole: Hole, lo: int) -> list[Hole]:
    """A hole of which the device still holds a part is two; one that stands for many is not."""
    first, last = hole.seqs
    if not first < lo <= last or hole.missing != last - first + 1:
        return [hole]
    gone = replace(hole, seqs=(first, lo - 1), missing=lo - first, final=True)
    return [gone, replace(hole, seqs=(lo, last), missing=last - lo + 1)]


def mark_given_up(conn: Connection, device_nos: Iterable[int]) -> None:
    """Mark the deliveries of devices that no longer hold what is missing, to be looked at again
    without records."""
    wanted = sorted(set(device_nos))
    if not wanted:
        return
    conn.execute(
        """
        INSERT INTO dirty (delivery_id, from_t)
        SELECT DISTINCT delivery_id, %s::timestamptz FROM bindings
        WHERE device_no = ANY(%s::int[]) AND bound_from IS NOT NULL
        """,
        (FOREVER, numbers(wanted)),
    )
    conn.execute("SELECT pg_notify(%s, '')", (DIRTY_CHANNEL,))
