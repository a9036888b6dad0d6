"""Storing what devices send: registry, identity, records, quarantine, marks for evaluation.

Every function works on a whole batch and runs inside the storing transaction of the shard's owner.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import psycopg
from msgspec import Struct
from psycopg.types.range import Range

from tracker.db.arrays import byteas, numbers
from tracker.db.copying import COLUMNS, HEADER, TRAILER, telemetry_row
from tracker.db.marks import DIRTY_CHANNEL
from tracker.model import FORWARDED_GEN, to_ms
from tracker.payload import Birth, Key, split_trailer
from tracker.received import Received

GenKey = tuple[int, int]
"""(device_no, gen)."""

Identity = tuple[int, int, int]
"""(device_no, gen, seq)."""


class Registered(Struct, frozen=True, kw_only=True):
    """A device as ingest needs it."""

    device_no: int
    id: str
    kind: Literal["seal", "gps"]
    hmac_required: bool
    keys: Mapping[str, Key] = {}


class NewRecord(Struct, frozen=True, kw_only=True):
    """A record about to be stored, with its time t* and, if it has one, its position.

    ``shown``: what to show as the device's newest record where the body is not in our own words.
    """

    device_no: int
    gen: int
    seq: int
    received_ms: int
    t_ms: int | None
    flags: int
    lon: float | None
    lat: float | None
    body: bytes
    message: int | None
    matters_without_time: bool
    shown: bytes | None = None


class Message(Struct, frozen=True, kw_only=True):
    """A signed message, to be kept whole so that its MAC can be verified later."""

    device_no: int
    received_at: datetime
    topic: str
    payload: bytes


# ---------------------------------------------------------------- registry


def registered(conn: psycopg.Connection[Any], ids: Iterable[str]) -> dict[str, Registered]:
    """The registered ones among these device ids, with all their keys."""
    rows = conn.execute(
        """
        SELECT d.id, d.device_no, d.kind, d.hmac_required, k.kid, k.secret, k.expires_at
        FROM devices d LEFT JOIN device_keys k USING (device_no)
        WHERE d.id = ANY(%s)
        """,
        (list(ids),),
    ).fetchall()
    keys: dict[str, dict[str, Key]] = {row[0]: {} for row in rows}
    for id_, *_, kid, secret, expires_at in rows:
        if kid is not None:
            expires_ms = None if expires_at is None else to_ms(expires_at)
            keys[id_][kid] = Key(kid=kid, secret=secret, expires_ms=expires_ms)
    return {
        id_: Registered(device_no=no, id=id_, kind=kind, hmac_required=required, keys=keys[id_])
        for id_, no, kind, required, *_ in rows
    }


# ---------------------------------------------------------------- identity


def lock_received(conn: psycopg.Connection[Any], keys: Iterable[GenKey]) -> dict[GenKey, Received]:
    """Lock the sequence numbers received for these generations; new ones start empty.

    In the order of the key, so that two owners of one shard (a hand-over) cannot deadlock.
    """
    ordered = sorted(set(keys))
    params = {"no": numbers([k[0] for k in ordered]), "gen": numbers([k[1] for k in ordered])}
    conn.execute(
        """
        INSERT INTO device_received (device_no, gen, received)
        SELECT *, '{}'::int8multirange FROM unnest(%(no)s::int[], %(gen)s::bigint[])
        ON CONFLICT DO NOTHING
        """,
        params,
    )
    rows = conn.execute(
        """
        SELECT device_no, gen, received, lo FROM device_received
        WHERE (device_no, gen) IN (SELECT * FROM unnest(%(no)s::int[], %(gen)s::bigint[]))
        ORDER BY device_no, gen FOR UPDATE
        """,
        params,
    ).fetchall()
    return {(no, gen): _received(ranges, lo) for no, gen, ranges, lo in rows}


def read_received(conn: psycopg.Connection[Any], keys: Iterable[GenKey]) -> dict[GenKey, Received]:
    """The sequence numbers received for these generations, without locking them."""
    wanted = sorted(set(keys))
    rows = conn.execute(
        """
        SELECT device_no, gen, received, lo FROM device_received
        WHERE (device_no, gen) IN (SELECT * FROM unnest(%s::int[], %s::bigint[]))
        """,
        ([k[0] for k in wanted], [k[1] for k in wanted]),
    ).fetchall()
    return {(no, gen): _received(ranges, lo) for no, gen, ranges, lo in rows}


def _received(ranges: Iterable[Range[int]], lo: int) -> Received:
    return Received(ranges=tuple((r.lower or 0, r.upper or 0) for r in ranges), lo=lo)


def save_received(conn: psycopg.Connection[Any], received: Mapping[GenKey, Received]) -> None:
    """Write back the sequence numbers received."""
    if not received:
        return
    conn.execute(
        """
        UPDATE device_received d
        SET received = w.received::int8multirange, lo = w.lo, updated_at = now()
        FROM unnest(%s::int[], %s::bigint[], %s::text[], %s::bigint[])
            AS w (device_no, gen, received, lo)
        WHERE d.device_no = w.device_no AND d.gen = w.gen
        """,
        (
            numbers([no for no, _ in received]),
            numbers([gen for _, gen in received]),
            "{" + ",".join([f'"{_multirange(r)}"' for r in received.values()]) + "}",
            numbers([r.lo for r in received.values()]),
        ),
    )


def _multirange(received: Received) -> str:
    """As PostgreSQL writes it: psycopg's own objects cost ten times as much to make and send."""
    return "{" + ",".join(f"[{low},{end})" for low, end in received.ranges) + "}"


def lock_devices(conn: psycopg.Connection[Any], device_nos: Iterable[int]) -> None:
    """Let nobody else store other systems' records of these devices before the commit."""
    conn.execute(
        "SELECT 1 FROM devices WHERE device_no = ANY(%s::int[]) ORDER BY device_no"
        " FOR NO KEY UPDATE",
        (numbers(sorted(set(device_nos))),),
    )


def stored_bodies(
    conn: psycopg.Connection[Any], identities: Iterable[Identity]
) -> dict[Identity, bytes]:
    """The bodies under which these identities were first received, stored or in quarantine."""
    wanted = sorted(set(identities))
    if not wanted:
        return {}
    rows = conn.execute(
        """
        WITH w AS (
            SELECT * FROM unnest(%s::int[], %s::bigint[], %s::bigint[]) AS w (device_no, gen, seq)
        )
        SELECT w.*, t.body, 0 AS n FROM w JOIN telemetry t USING (device_no, gen, seq)
        UNION ALL
        SELECT w.*, q.payload, 1 FROM w JOIN devices d USING (device_no)
        JOIN quarantine q ON q.device_id = d.id AND q.gen = w.gen AND q.seq = w.seq
             AND q.reason <> 'identity_conflict'
        ORDER BY n DESC
        """,
        tuple(list(column) for column in zip(*wanted, strict=True)),
    ).fetchall()
    return {
        (no, gen, seq): split_trailer(body).body if refused else body
        for no, gen, seq, body, refused in rows
    }


# ---------------------------------------------------------------- records


def store_messages(conn: psycopg.Connection[Any], messages: Sequence[Message]) -> list[int]:
    """Store signed messages whole; their ids, in order."""
    if not messages:
        return []
    sequence = "pg_get_serial_sequence('signed_messages', 'id')"
    rows = conn.execute(
        f"SELECT nextval({sequence}) FROM generate_series(1, %s)",
        (len(messages),),
    ).fetchall()
    ids = [int(row[0]) for row in rows]
    copy = "COPY signed_messages (id, device_no, received_at, topic, payload) FROM STDIN"
    with conn.cursor() as cursor, cursor.copy(copy) as out:
        for id_, m in zip(ids, messages, strict=True):
            out.write_row((id_, m.device_no, m.received_at, m.topic, m.payload))
    return ids


def store_records(
    conn: psycopg.Connection[Any], records: Sequence[NewRecord], message_ids: Sequence[int]
) -> None:
    """COPY records into telemetry. ``record.message`` is an index into ``message_ids``."""
    if not records:
        return
    rows = [HEADER]
    for r in records:
        message_id = None if r.message is None else message_ids[r.message]
        row = (r.device_no, r.gen, r.seq, r.received_ms, r.t_ms, r.flags, r.lon, r.lat)
        rows.append(telemetry_row(*row, r.body, message_id))
    rows.append(TRAILER)
    with (
        conn.cursor() as cursor,
        cursor.copy(f"COPY telemetry ({COLUMNS}) FROM STDIN (FORMAT BINARY)") as out,
    ):
        out.write(b"".join(rows))


def mark_touched(conn: psycopg.Connection[Any], records: Sequence[NewRecord]) -> None:
    """Mark the deliveries that these records belong to as not judged from their earliest t* on.

    A record without t* takes its time from its neighbours: it may matter anywhere in the delivery.
    """
    timed: dict[int, tuple[int, int]] = {}
    timeless: set[int] = set()
    for r in records:
        if r.t_ms is not None:
            low, high = timed.get(r.device_no, (r.t_ms, r.t_ms))
            timed[r.device_no] = (min(low, r.t_ms), max(high, r.t_ms))
        elif r.matters_without_time:
            timeless.add(r.device_no)
    if not timed and not timeless:
        return
    _mark(conn, timed, timeless)
    conn.execute("SELECT pg_notify(%s, '')", (DIRTY_CHANNEL,))


def _mark(
    conn: psycopg.Connection[Any], timed: Mapping[int, tuple[int, int]], timeless: set[int]
) -> None:
    conn.execute(
        """
        INSERT INTO dirty (delivery_id, from_t)
        SELECT b.delivery_id, to_timestamp(min(t.low) / 1000.0)
        FROM unnest(%(no)s::int[], %(low)s::bigint[], %(high)s::bigint[])
             AS t (device_no, low, high)
        JOIN bindings b USING (device_no)
        WHERE b.bound_from IS NOT NULL AND b.bound_from <= to_timestamp(t.high / 1000.0)
          AND (b.bound_to IS NULL OR b.bound_to > to_timestamp(t.low / 1000.0))
        GROUP BY b.delivery_id
        UNION ALL
        SELECT DISTINCT b.delivery_id, NULL::timestamptz
        FROM bindings b
        WHERE b.device_no = ANY(%(timeless)s::int[]) AND b.bound_from IS NOT NULL
        """,
        {
            "no": numbers(timed),
            "low": numbers([low for low, _ in timed.values()]),
            "high": numbers([high for _, high in timed.values()]),
            "timeless": numbers(sorted(timeless)),
        },
    )


# ---------------------------------------------------------------- what devices say of themselves


def update_last_records(conn: psycopg.Connection[Any], records: Sequence[NewRecord]) -> None:
    """Keep each device's newest record (by t*, else by arrival) at hand."""
    newest: dict[int, NewRecord] = {}
    for r in records:
        held = newest.get(r.device_no)
        if held is None or (r.t_ms or 0) >= (held.t_ms or 0):
            newest[r.device_no] = r
    rows = list(newest.values())
    if not rows:
        return
    conn.execute(
        """
        INSERT INTO device_state AS s (device_no, gen, last_received_at, last_t_star, last_body)
        SELECT no, gen, to_timestamp(received / 1000.0), to_timestamp(t / 1000.0), body
        FROM unnest(%s::int[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bytea[])
            AS w (no, gen, received, t, body)
        ON CONFLICT (device_no) DO UPDATE SET
            gen = greatest(s.gen, excluded.gen),
            last_received_at = excluded.last_received_at,
            last_t_star = greatest(s.last_t_star, excluded.last_t_star),
            last_body = CASE
                WHEN s.last_t_star IS NULL OR excluded.last_t_star >= s.last_t_star
                THEN excluded.last_body ELSE s.last_body END
        """,
        (
            numbers([r.device_no for r in rows]),
            numbers([None if r.gen == FORWARDED_GEN else r.gen for r in rows]),
            numbers([r.received_ms for r in rows]),
            numbers([r.t_ms for r in rows]),
            byteas([r.shown or r.body for r in rows]),
        ),
    )


def save_birth(
    conn: psycopg.Connection[Any], device_no: int, birth: Birth, body: str, at: datetime
) -> bool:
    """Take note of a birth, a leave or a will; False for a will that a newer birth has made void.

    A birth always counts: a device that was wiped may count its connections from 1 again.
    """
    row = conn.execute(
        """
        INSERT INTO device_state AS s (device_no, online, conn, boot, gen, birth, state_at)
        VALUES (%(no)s, %(on)s, %(conn)s, %(boot)s, %(gen)s, %(birth)s::jsonb, %(at)s)
        ON CONFLICT (device_no) DO UPDATE SET
            online = excluded.online,
            conn = coalesce(excluded.conn, s.conn),
            boot = coalesce(excluded.boot, s.boot),
            gen = coalesce(excluded.gen, s.gen),
            birth = coalesce(excluded.birth, s.birth),
            state_at = excluded.state_at
        WHERE excluded.online OR s.conn IS NULL OR excluded.conn IS NULL OR excluded.conn >= s.conn
        RETURNING 1
        """,
        {
            "no": device_no,
            "on": birth.on,
            "conn": birth.conn,
            "boot": birth.boot,
            "gen": birth.gen if isinstance(birth.gen, int) else None,
            "birth": body if birth.on else None,
            "at": at,
        },
    ).fetchone()
    return row is not None


def save_presence(
    conn: psycopg.Connection[Any], device_no: int, *, online: bool, at: datetime
) -> None:
    """Whether a device is there, as another system tells it."""
    conn.execute(
        """
        INSERT INTO device_state AS s (device_no, online, state_at) VALUES (%s, %s, %s)
        ON CONFLICT (device_no) DO UPDATE
            SET online = excluded.online, state_at = excluded.state_at
        """,
        (device_no, online, at),
    )


def next_gen(conn: psycopg.Connection[Any], device_no: int) -> int:
    """The generation for a device that has lost its own: one above all that were seen."""
    row = conn.execute(
        "SELECT coalesce(max(gen) + 1, 0) FROM device_received WHERE device_no = %s", (device_no,)
    ).fetchone()
    return int(row[0]) if row else 0
