"""Messages refused in the names of registered devices: counted when stored, read when judging.

One row for a device, a reason, a slot of reception and one of the time that the message belongs to.
So a flood makes at most six rows an hour for each reason, whatever quarantine has room for, and the
order of arrival does not matter. A delivery of whose devices nothing was refused costs one probe of
an index.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from msgspec import Struct

from tracker.db.arrays import numbers, uuids
from tracker.db.evaluation import FOREVER
from tracker.db.marks import DIRTY_CHANNEL
from tracker.db.quarantine import Refused, plain
from tracker.model import OtherBinding, Refusal
from tracker.payload import Reason

Connection = psycopg.Connection[Any]

SUSPECT = frozenset(
    {
        Reason.IDENTITY_CONFLICT,
        Reason.MAC_MISSING,
        Reason.MAC_UNKNOWN_KEY,
        Reason.MAC_EXPIRED_KEY,
        Reason.MAC_WRONG,
        Reason.WRONG_KIND,
        Reason.WRONG_SHARD,
    }
)
"""Reasons that put the sender in doubt, and not only what was sent."""

LISTED = 16
"""Quarantine rows and identities named; the count says how many there were."""

TOPICS = 8
"""A device has four topics; more are a forger's."""


class Noted(Struct, frozen=True, kw_only=True):
    """A refusal that is to be noted. ``row``: its row in quarantine; None: there was no room."""

    device: str
    reason: str
    received_at: datetime
    topic: str
    row: int | None = None
    gen: int | None = None
    seq: int | None = None


def noted(refused: Refused, row: int | None = None) -> Noted | None:
    """A refusal as it is to be noted; None: it puts no device's identity in doubt."""
    if refused.reason not in SUSPECT:
        return None
    device = refused.device
    if refused.reason == Reason.WRONG_SHARD:
        device = refused.topic.split("/")[4]  # all else of the topic was right
    if device is None:
        return None
    return Noted(
        device=device,
        reason=str(refused.reason),
        received_at=refused.received_at,
        topic=plain(refused.topic),
        row=row,
        gen=refused.gen,
        seq=refused.seq,
    )


# The time that a refused message belongs to: t* of the record that it contradicts, else when it
# came. Names that are not registered fall out here.
_SLOTS: LiteralString = """
n AS (
    SELECT d.device_no, w.reason, w.received, w.topic, w.row, w.gen, w.seq, w.n,
           coalesce(t.t_star, w.received) AS at
    FROM unnest(%(device)s::text[], %(reason)s::text[], %(received)s::timestamptz[],
                %(topic)s::text[], %(row)s::bigint[], %(gen)s::bigint[], %(seq)s::bigint[])
         WITH ORDINALITY AS w (device, reason, received, topic, row, gen, seq, n)
    JOIN devices d ON d.id = w.device
    LEFT JOIN LATERAL (
        SELECT t_star FROM telemetry
        WHERE w.reason = 'identity_conflict' AND device_no = d.device_no
          AND gen = w.gen AND seq = w.seq
        LIMIT 1
    ) t ON true
), slots AS (
    SELECT device_no, date_bin('1 hour', at, 'epoch') AS at_slot, reason,
           date_bin('10 minutes', received, 'epoch') AS received_slot,
           min(received) AS first_at, max(received) AS last_at,
           min(at) AS from_t, max(at) AS to_t, count(*) AS count,
           array_agg(DISTINCT topic) AS topics,
           coalesce(array_agg(row ORDER BY n) FILTER (WHERE row IS NOT NULL), '{}') AS rows,
           coalesce(array_agg(DISTINCT gen || '/' || seq) FILTER (WHERE seq IS NOT NULL), '{}')
               AS identities
    FROM n GROUP BY 1, 2, 3, 4
)
"""

# note: what a row has is kept in front, so that a resend changes nothing but the count.
_NOTE: LiteralString = f"""
WITH {_SLOTS}, saved AS (
    INSERT INTO refusals AS r
        (device_no, at_slot, reason, received_slot, first_at, last_at, from_t, to_t, count,
         topics, quarantine_ids, identities)
    SELECT device_no, at_slot, reason, received_slot, first_at, last_at, from_t, to_t, count,
           topics[:%(topics)s], rows[:%(listed)s], identities[:%(listed)s]
    FROM slots ORDER BY 1, 2, 3, 4
    ON CONFLICT (device_no, at_slot, reason, received_slot) DO UPDATE SET
        first_at = least(r.first_at, excluded.first_at),
        last_at = greatest(r.last_at, excluded.last_at),
        from_t = least(r.from_t, excluded.from_t),
        to_t = greatest(r.to_t, excluded.to_t),
        count = r.count + excluded.count,
        topics = (r.topics || ARRAY(
            SELECT x FROM unnest(excluded.topics) x WHERE x <> ALL (r.topics)))[:%(topics)s],
        quarantine_ids = (r.quarantine_ids || excluded.quarantine_ids)[:%(listed)s],
        identities = (r.identities || ARRAY(
            SELECT x FROM unnest(excluded.identities) x
            WHERE x <> ALL (r.identities)))[:%(listed)s]
    RETURNING device_no, at_slot, reason, received_slot, from_t, to_t, count
)
SELECT v.device_no, v.from_t, v.to_t, v.count - s.count, v.count
FROM saved v JOIN slots s USING (device_no, at_slot, reason, received_slot)
"""

_FORGET: LiteralString = f"""
WITH {_SLOTS}, less AS (
    UPDATE refusals r SET
        count = r.count - s.count,
        quarantine_ids = ARRAY(
            SELECT x FROM unnest(r.quarantine_ids) x WHERE x <> ALL (s.rows))
    FROM slots s
    WHERE r.device_no = s.device_no AND r.at_slot = s.at_slot AND r.reason = s.reason
      AND r.received_slot = s.received_slot
    RETURNING r.device_no, r.from_t, r.to_t, r.count
)
SELECT device_no, from_t, to_t, count FROM less
"""


def note(conn: Connection, found: Iterable[Noted | None]) -> None:
    """Count refusals, and mark the deliveries concerned, to be looked at again without records.

    A delivery is marked for a new row and whenever its count has doubled: a flood must not keep
    evaluation busy. The rest is seen when the episode closes.
    """
    params = _params(found)
    if params is None:
        return
    rows = conn.execute(_NOTE, params | {"topics": TOPICS, "listed": LISTED}).fetchall()
    _mark(
        conn,
        [
            (no, since, until)
            for no, since, until, before, after in rows
            if int(before).bit_length() != int(after).bit_length()
        ],
    )


def forget(conn: Connection, found: Iterable[Noted | None]) -> None:
    """Count refusals out again: what was refused goes through the storing stage once more."""
    params = _params(found)
    if params is None:
        return
    rows = conn.execute(_FORGET, params).fetchall()
    conn.execute(
        "DELETE FROM refusals WHERE device_no = ANY(%s::int[]) AND count <= 0",
        (numbers([no for no, *_ in rows]),),
    )
    _mark(conn, [(no, since, until) for no, since, until, _ in rows])


def _params(found: Iterable[Noted | None]) -> dict[str, Any] | None:
    rows = [one for one in found if one is not None]
    if not rows:
        return None
    return {
        "device": [r.device for r in rows],
        "reason": [r.reason for r in rows],
        "received": [r.received_at for r in rows],
        "topic": [r.topic for r in rows],
        "row": [r.row for r in rows],
        "gen": [r.gen for r in rows],
        "seq": [r.seq for r in rows],
    }


def _mark(conn: Connection, spans: Sequence[tuple[int, datetime, datetime]]) -> None:
    if not spans:
        return
    conn.execute(
        """
        INSERT INTO dirty (delivery_id, from_t)
        SELECT DISTINCT b.delivery_id, %s::timestamptz
        FROM unnest(%s::int[], %s::timestamptz[], %s::timestamptz[]) AS w (device_no, since, until)
        JOIN bindings b USING (device_no)
        WHERE b.bound_from <= w.until AND w.since <= coalesce(b.bound_to, 'infinity')
        """,
        (FOREVER, *map(list, zip(*spans, strict=True))),
    )
    conn.execute("SELECT pg_notify(%s, '')", (DIRTY_CHANNEL,))


# ---------------------------------------------------------------- for evaluation

_OF: LiteralString = """
SELECT b.delivery_id, d.id, r.reason,
       (extract(epoch FROM r.first_at) * 1000)::bigint,
       (extract(epoch FROM r.last_at) * 1000)::bigint, r.count,
       (extract(epoch FROM r.from_t) * 1000)::bigint,
       (extract(epoch FROM r.to_t) * 1000)::bigint,
       r.topics, r.quarantine_ids, r.identities
FROM bindings b
JOIN refusals r ON r.device_no = b.device_no
    AND r.at_slot > b.bound_from - interval '1 hour'
    AND r.at_slot <= coalesce(b.bound_to, 'infinity')
    AND r.to_t >= b.bound_from AND r.from_t <= coalesce(b.bound_to, 'infinity')
JOIN devices d ON d.device_no = b.device_no
WHERE b.delivery_id = ANY(%s::uuid[])
ORDER BY b.delivery_id, r.first_at, d.id, r.reason
"""


def refusals_of(conn: Connection, ids: Collection[UUID]) -> dict[UUID, tuple[Refusal, ...]]:
    """What was refused in the names of these deliveries' devices while they were bound.

    Deliveries without any are left out.
    """
    if not ids:
        return {}
    found: dict[UUID, list[Refusal]] = defaultdict(list)
    for id_, device, reason, first, last, count, since, until, topics, rows, pairs in conn.execute(
        _OF, (uuids(ids),)
    ):
        found[id_].append(
            Refusal(
                device=device,
                reason=reason,
                first_ms=first,
                last_ms=last,
                count=count,
                from_ms=since,
                to_ms=until,
                topics=tuple(topics),
                quarantine_ids=tuple(rows),
                identities=tuple(map(_identity, pairs)),
            )
        )
    return {id_: tuple(refusals) for id_, refusals in found.items()}


def _identity(pair: str) -> tuple[int, int]:
    gen, _, seq = pair.partition("/")
    return int(gen), int(seq)


# The database's own constraint and the API's checks keep two bindings of a device from overlapping:
# this finds what came in past both, such as rows restored from another system.
_OTHERS: LiteralString = """
SELECT own.delivery_id, d.id, other.delivery_id::text,
       (extract(epoch FROM other.bound_from) * 1000)::bigint,
       (extract(epoch FROM other.bound_to) * 1000)::bigint
FROM bindings own
JOIN bindings other ON other.device_no = own.device_no AND other.delivery_id <> own.delivery_id
    AND tstzrange(other.bound_from, other.bound_to) && tstzrange(own.bound_from, own.bound_to)
JOIN devices d ON d.device_no = own.device_no
WHERE own.delivery_id = ANY(%s::uuid[])
  AND own.bound_from IS NOT NULL AND other.bound_from IS NOT NULL
ORDER BY own.delivery_id, other.bound_from, d.id
"""


def other_bindings_of(
    conn: Connection, ids: Collection[UUID]
) -> dict[UUID, tuple[OtherBinding, ...]]:
    """Bindings of these deliveries' devices to other deliveries at the same time.

    Deliveries without any are left out.
    """
    if not ids:
        return {}
    found: dict[UUID, list[OtherBinding]] = defaultdict(list)
    for id_, device, other, since, until in conn.execute(_OTHERS, (uuids(ids),)):
        found[id_].append(OtherBinding(device=device, delivery=other, from_ms=since, to_ms=until))
    return {id_: tuple(others) for id_, others in found.items()}
