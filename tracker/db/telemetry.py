"""Storing what devices send: registry, identity, records, quarantine, marks for evaluation.

Every function works on a whole batch and runs inside the storing transaction of the shard's owner.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import psycopg
from msgspec import Struct

from tracker.db.arrays import byteas, numbers
from tracker.db.copying import COLUMNS, HEADER, TRAILER, telemetry_row
from tracker.db.marks import DIRTY_CHANNEL
from tracker.model import to_ms
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


class NewRecord(Struct, frozen=True, kw_only=True, gc=False):
    """A record about to be stored, with its time t* and, if it has one, its position.

    ``message``: the index of the signed message that it came in with others. If it came alone,
    ``topic`` and ``trailer`` are what that message held besides the body. ``shown``: what to show
    as the device's newest record where the body is not in our own words. ``urgent``: it tells of an
    event.
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
    topic: str | None = None
    trailer: bytes | None = None
    shown: bytes | None = None
    urgent: bool = False


class Message(Struct, frozen=True, kw_only=True):
    """A signed message of several records, kept whole so that its MAC can be verified later."""

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


class Registry:
    """The registered devices that a worker has heard of, with their keys.

    They are read again when anything in the registry has changed: a new key or a device that is
    gone counts from the next batch on.
    """

    def __init__(self) -> None:
        self._known: dict[str, Registered] = {}
        self._changes: int | None = None

    def devices(self, conn: psycopg.Connection[Any], ids: Iterable[str]) -> dict[str, Registered]:
        """The registered ones among these device ids, with all their keys."""
        row = conn.execute("SELECT sum(changes)::bigint FROM registry_changes").fetchone()
        changes = row[0] if row else None
        if changes is None or changes != self._changes or len(self._known) > MOST_KNOWN:
            self._known.clear()
        self._changes = changes
        wanted = set(ids)
        if unknown := wanted - self._known.keys():
            self._known |= registered(conn, unknown)
        return {id_: self._known[id_] for id_ in wanted if id_ in self._known}


MOST_KNOWN = 200_000
"""Devices remembered, half a kilobyte each."""


# ---------------------------------------------------------------- identity


class Heard(Struct, frozen=True, kw_only=True, gc=False):
    """What has been received from a device in one generation: a row of ``device_received``.

    ``version`` counts the row's changes. ``newest_ms``: t* of the newest record; None: none has
    one.
    """

    received: Received
    version: int
    newest_ms: int | None = None


class Stale(Exception):
    """What was remembered of received numbers is not what the database holds: read it again."""


class Ears:
    """What a worker remembers of the numbers it has received, so that it need not read them.

    Never trusted by itself: the row is changed only if it is still of the version remembered.
    Bounded; what was heard longest ago is forgotten first.
    """

    def __init__(self, most: int = 200_000) -> None:
        self._most = most
        self._heard: dict[GenKey, Heard] = {}

    def of(self, keys: Iterable[GenKey]) -> dict[GenKey, Heard]:
        """What is remembered of these."""
        return {key: heard for key in keys if (heard := self._heard.get(key)) is not None}

    def keep(self, heard: Mapping[GenKey, Heard]) -> None:
        """Remember rows as they were committed."""
        for key in heard:
            self._heard.pop(key, None)
        self._heard.update(heard)
        while len(self._heard) > self._most:
            del self._heard[next(iter(self._heard))]

    def forget(self) -> None:
        """Remember nothing."""
        self._heard.clear()


# lock_received: what is received of a generation cannot change until the transaction ends.
_LOCK_RECEIVED = """
SELECT device_no, gen, received::text, lo, version,
       (date_part('epoch', newest_t_star) * 1000)::bigint
FROM device_received
WHERE (device_no, gen) IN (SELECT * FROM unnest(%(no)s::int[], %(gen)s::bigint[]))
ORDER BY device_no, gen FOR UPDATE
"""


def lock_received(conn: psycopg.Connection[Any], keys: Iterable[GenKey]) -> dict[GenKey, Heard]:
    """Lock the sequence numbers received for these generations; new ones start empty.

    In the order of the key, so that two owners of one shard (a hand-over) cannot deadlock.
    """
    wanted = set(keys)
    heard = _locked(conn, wanted)
    if missing := wanted - heard.keys():
        conn.execute(
            """
            INSERT INTO device_received (device_no, gen, received)
            SELECT no, gen, '{}'::int8multirange
            FROM unnest(%(no)s::int[], %(gen)s::bigint[]) AS w (no, gen) ORDER BY no, gen
            ON CONFLICT DO NOTHING
            """,
            _key_arrays(missing),
        )
        heard |= _locked(conn, missing)
    return heard


def _locked(conn: psycopg.Connection[Any], keys: Iterable[GenKey]) -> dict[GenKey, Heard]:
    rows = conn.execute(_LOCK_RECEIVED, _key_arrays(keys), binary=True).fetchall()
    return {
        (no, gen): Heard(received=_received(received, lo), version=version, newest_ms=newest_ms)
        for no, gen, received, lo, version, newest_ms in rows
    }


def _key_arrays(keys: Iterable[GenKey]) -> dict[str, str]:
    ordered = sorted(keys)
    return {"no": numbers([k[0] for k in ordered]), "gen": numbers([k[1] for k in ordered])}


def read_received(conn: psycopg.Connection[Any], keys: Iterable[GenKey]) -> dict[GenKey, Received]:
    """The sequence numbers received for these generations, without locking them."""
    rows = conn.execute(
        """
        SELECT device_no, gen, received::text, lo FROM device_received
        WHERE (device_no, gen) IN (SELECT * FROM unnest(%(no)s::int[], %(gen)s::bigint[]))
        """,
        _key_arrays(set(keys)),
        binary=True,
    ).fetchall()
    return {(no, gen): _received(received, lo) for no, gen, received, lo in rows}


def _received(ranges: str, lo: int) -> Received:
    """From PostgreSQL's text ``{[1,5),[7,9)}``: psycopg's own objects cost ten times as much."""
    pairs = (pair.split(",") for pair in ranges[2:-2].split("),[")) if len(ranges) > 2 else ()
    return Received(ranges=tuple((int(low), int(end)) for low, end in pairs), lo=lo)


class Latest(Struct, frozen=True, kw_only=True, gc=False):
    """Of a generation's new records: when the last came, and which is the newest by t*.

    ``seq`` None: all are older than one stored before.
    """

    received_ms: int
    seq: int | None = None
    seq_received_ms: int | None = None
    t_ms: int | None = None


def latest_of(records: Iterable[NewRecord], heard: Mapping[GenKey, Heard]) -> dict[GenKey, Latest]:
    """What these records change of what is known of their devices' newest ones."""
    newest: dict[GenKey, NewRecord] = {}
    last_ms: dict[GenKey, int] = {}
    for r in records:
        key = (r.device_no, r.gen)
        before = heard.get(key)
        if before is None:
            continue  # of another system: see `update_shown`
        last_ms[key] = r.received_ms
        held = newest.get(key)
        newest_ms = before.newest_ms if held is None else held.t_ms
        if (r.t_ms or 0) >= (newest_ms or 0):
            newest[key] = r
    return {key: _latest(received_ms, newest.get(key)) for key, received_ms in last_ms.items()}


def _latest(received_ms: int, newest: NewRecord | None) -> Latest:
    if newest is None:
        return Latest(received_ms=received_ms)
    return Latest(
        received_ms=received_ms,
        seq=newest.seq,
        seq_received_ms=newest.received_ms,
        t_ms=newest.t_ms,
    )


# save_received: of the rows as they were heard, none if another has changed it meanwhile.
_SAVE_RECEIVED = """
UPDATE device_received d SET
    received = w.received::int8multirange, lo = w.lo, version = d.version + 1,
    last_received_at = coalesce(to_timestamp(w.last / 1000.0::float8), d.last_received_at),
    newest_seq = coalesce(w.seq, d.newest_seq),
    newest_received_at = CASE WHEN w.seq IS NULL THEN d.newest_received_at
        ELSE to_timestamp(w.seq_received / 1000.0::float8) END,
    newest_t_star = CASE WHEN w.seq IS NULL THEN d.newest_t_star
        ELSE to_timestamp(w.t / 1000.0::float8) END
FROM unnest(%s::int[], %s::bigint[], %s::bigint[], %s::text[], %s::bigint[], %s::bigint[],
    %s::bigint[], %s::bigint[], %s::bigint[])
    AS w (device_no, gen, version, received, lo, last, seq, seq_received, t)
WHERE d.device_no = w.device_no AND d.gen = w.gen AND d.version = w.version
"""


def save_received(
    conn: psycopg.Connection[Any],
    heard: Mapping[GenKey, Heard],
    received: Mapping[GenKey, Received],
    latest: Mapping[GenKey, Latest],
) -> dict[GenKey, Heard]:
    """Write back the sequence numbers received; the rows as they are after the commit.

    Raises:
        Stale: a row is not of the version heard; nothing of the transaction may be kept.
    """
    changed = [key for key in heard if key in latest or received[key] is not heard[key].received]
    if not changed:
        return {}
    grown = [received[key] for key in changed]
    last = [latest.get(key) for key in changed]
    done = conn.execute(
        _SAVE_RECEIVED,
        (
            numbers([no for no, _ in changed]),
            numbers([gen for _, gen in changed]),
            numbers([heard[key].version for key in changed]),
            "{" + ",".join([f'"{_multirange(r)}"' for r in grown]) + "}",
            numbers([r.lo for r in grown]),
            numbers([x.received_ms if x else None for x in last]),
            numbers([x.seq if x else None for x in last]),
            numbers([x.seq_received_ms if x else None for x in last]),
            numbers([x.t_ms if x else None for x in last]),
        ),
    )
    if done.rowcount != len(changed):
        raise Stale
    return {
        key: Heard(
            received=numbers_,
            version=heard[key].version + 1,
            newest_ms=heard[key].newest_ms if x is None or x.seq is None else x.t_ms,
        )
        for key, numbers_, x in zip(changed, grown, last, strict=True)
    }


def _multirange(received: Received) -> str:
    """As PostgreSQL writes it: psycopg's own objects cost ten times as much to make and send."""
    return "{" + ",".join([f"[{low},{end})" for low, end in received.ranges]) + "}"


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
    """Store signed messages of several records whole; their ids, in order."""
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
        rows.append(telemetry_row(*row, r.body, message_id, r.topic, r.trailer))
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
    urgent = {r.device_no for r in records if r.urgent}
    for r in records:
        if r.t_ms is not None:
            low, high = timed.get(r.device_no, (r.t_ms, r.t_ms))
            timed[r.device_no] = (min(low, r.t_ms), max(high, r.t_ms))
        else:
            timeless.add(r.device_no)
    if not timed and not timeless:
        return
    _mark(conn, timed, timeless, urgent)
    conn.execute("SELECT pg_notify(%s, '')", (DIRTY_CHANNEL,))


def _mark(
    conn: psycopg.Connection[Any],
    timed: Mapping[int, tuple[int, int]],
    timeless: set[int],
    urgent: set[int],
) -> None:
    conn.execute(
        """
        INSERT INTO dirty (delivery_id, from_t, urgent)
        SELECT b.delivery_id, to_timestamp(min(t.low) / 1000.0::float8),
               bool_or(b.device_no = ANY(%(urgent)s::int[]))
        FROM unnest(%(no)s::int[], %(low)s::bigint[], %(high)s::bigint[])
             AS t (device_no, low, high)
        JOIN bindings b USING (device_no)
        WHERE b.device_no = ANY(%(no)s::int[])  -- says it again, for the quicker index
          AND b.bound_from IS NOT NULL AND b.bound_from <= to_timestamp(t.high / 1000.0::float8)
          AND (b.bound_to IS NULL OR b.bound_to >= to_timestamp(t.low / 1000.0::float8))
        GROUP BY b.delivery_id
        UNION ALL
        SELECT b.delivery_id, NULL::timestamptz, bool_or(b.device_no = ANY(%(urgent)s::int[]))
        FROM bindings b
        WHERE b.device_no = ANY(%(timeless)s::int[]) AND b.bound_from IS NOT NULL
        GROUP BY b.delivery_id
        """,
        {
            "no": numbers(timed),
            "low": numbers([low for low, _ in timed.values()]),
            "high": numbers([high for _, high in timed.values()]),
            "timeless": numbers(sorted(timeless)),
            "urgent": numbers(sorted(urgent)),
        },
    )


# ---------------------------------------------------------------- what devices say of themselves


def update_shown(conn: psycopg.Connection[Any], records: Sequence[NewRecord]) -> None:
    """Keep at hand the newest record (by t*, else by arrival) of devices of other systems.

    That of our own is found in telemetry by its number (``device_received``).
    """
    newest: dict[int, NewRecord] = {}
    for r in records:
        held = newest.get(r.device_no)
        if r.shown is not None and (held is None or (r.t_ms or 0) >= (held.t_ms or 0)):
            newest[r.device_no] = r
    rows = list(newest.values())
    if not rows:
        return
    conn.execute(
        """
        INSERT INTO device_state AS s (device_no, last_received_at, last_t_star, last_body)
        SELECT no, to_timestamp(received / 1000.0::float8), to_timestamp(t / 1000.0::float8), body
        FROM unnest(%s::int[], %s::bigint[], %s::bigint[], %s::bytea[])
            AS w (no, received, t, body)
        ON CONFLICT (device_no) DO UPDATE SET
            last_received_at = excluded.last_received_at,
            last_t_star = greatest(s.last_t_star, excluded.last_t_star),
            last_body = CASE
                WHEN s.last_t_star IS NULL OR excluded.last_t_star >= s.last_t_star
                THEN excluded.last_body ELSE s.last_body END
        """,
        (
            numbers([r.device_no for r in rows]),
            numbers([r.received_ms for r in rows]),
            numbers([r.t_ms for r in rows]),
            byteas([r.shown or b"" for r in rows]),
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
