"""Which ingest worker owns which shard: the rows, and the check inside the storing transaction.

A lease lives as long as its worker. A worker lives while it renews its one row and, where that can
be told, while the connection with which it does so exists: a killed process loses it at once, a
stopped or cut-off one is waited for until its term ends. The database's clock is the only one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Set
from typing import Any

import psycopg
from msgspec import Struct


class View(Struct, frozen=True, kw_only=True):
    """Live workers with the shards they would take, and the shards that live workers own."""

    workers: Mapping[str, Set[int]]
    owners: Mapping[int, str]


class Health(Struct, frozen=True, kw_only=True):
    """How a worker stands with the broker.

    ``sessions_up``: its shards that are connected and subscribed. The rest are the broker's own
    counters as last read; None: nothing yet.
    """

    sessions_up: int = 0
    dropped: int | None = None
    held: int | None = None


_LIVE = """
    w.expires_at > clock_timestamp() AND (
        -- A restarted server says nothing of who was connected before: then only the term counts.
        w.backend_start < pg_postmaster_start_time()
        OR EXISTS (
            SELECT FROM pg_stat_activity a
            WHERE a.pid = w.backend_pid AND a.backend_start = w.backend_start))
"""

_FORGET_AFTER = "1 hour"

STANDS_STILL_S = 2.0
"""A batch is written in a tenth of it: a client the server waits for longer is stopped."""

_STORING = "tracker-ingest "
_TOKEN = 8
"""The last characters of a worker's name, its own: a session's name is cut at 63 bytes."""


def storing_name(worker: str) -> str:
    """The name, in the server's lists, of the session in which the worker stores."""
    return _STORING + worker[-_TOKEN:]


def beat(
    conn: psycopg.Connection[Any],
    worker: str,
    wanted: Collection[int],
    *,
    term_s: float,
    health: Health,
) -> View:
    """Say that the worker lives for another ``term_s`` seconds; how things stand."""
    conn.execute(
        """
        INSERT INTO ingest_workers AS w
            (id, wanted, expires_at, backend_pid, backend_start, sessions_up, broker_dropped,
             broker_held)
        SELECT %(id)s, %(wanted)s, clock_timestamp() + make_interval(secs => %(term)s),
               pid, backend_start, %(up)s, %(dropped)s, %(held)s
        FROM pg_stat_activity WHERE pid = pg_backend_pid()
        ON CONFLICT (id) DO UPDATE SET
            wanted = excluded.wanted, expires_at = excluded.expires_at,
            backend_pid = excluded.backend_pid, backend_start = excluded.backend_start,
            sessions_up = excluded.sessions_up,
            broker_dropped = excluded.broker_dropped, broker_held = excluded.broker_held
        """,
        {
            "id": worker,
            "wanted": sorted(wanted),
            "term": term_s,
            "up": health.sessions_up,
            "dropped": health.dropped,
            "held": health.held,
        },
    )
    return view(conn)


def view(conn: psycopg.Connection[Any]) -> View:
    """Live workers and what they own."""
    workers = conn.execute(f"SELECT w.id, w.wanted FROM ingest_workers w WHERE {_LIVE}").fetchall()
    live = {id_: frozenset(wanted) for id_, wanted in workers}
    owned = conn.execute(
        "SELECT shard, owner FROM shard_leases WHERE owner = ANY(%s)", (list(live),)
    ).fetchall()
    return View(workers=live, owners=dict(owned))


class Fleet(Struct, frozen=True, kw_only=True):
    """All live workers together; ``dropped`` and ``held`` are the broker's own counters."""

    workers: int
    sessions_up: int
    dropped: int
    held: int


def fleet(conn: psycopg.Connection[Any]) -> Fleet:
    """How many workers live, and how they stand with the broker."""
    row = conn.execute(
        f"""
        SELECT count(*), coalesce(sum(w.sessions_up), 0), coalesce(max(w.broker_dropped), 0),
               coalesce(max(w.broker_held), 0)
        FROM ingest_workers w WHERE {_LIVE}
        """
    ).fetchone()
    assert row is not None  # aggregates always give one
    return Fleet(workers=row[0], sessions_up=int(row[1]), dropped=row[2], held=row[3])


def sessions_up(conn: psycopg.Connection[Any]) -> int:
    """Sessions of live workers that are connected and subscribed."""
    return fleet(conn).sessions_up


def end_storing_of_expired(conn: psycopg.Connection[Any], own: str) -> int:
    """End the sessions in which other workers stand still whose term has ended; how many.

    Whoever is stopped in the middle of storing holds its shards by the locks of `hold_owned`, and
    in the middle of a COPY no time-out of the server's ends that. What it had not committed was
    acknowledged to nobody; should it wake, it connects again and finds that it owns nothing. One
    that is only slow, so that the server works for it or hears from it, is let finish.
    """
    rows = conn.execute(
        """
        SELECT pg_terminate_backend(a.pid)
        FROM ingest_workers w
        JOIN pg_stat_activity a ON a.application_name = %s || right(w.id, %s)
        WHERE a.datname = current_database() AND w.expires_at <= clock_timestamp() AND w.id <> %s
          AND a.wait_event_type = 'Client' AND a.xact_start IS NOT NULL
          AND a.state_change < clock_timestamp() - make_interval(secs => %s)
        """,
        (_STORING, _TOKEN, own, STANDS_STILL_S),
    ).fetchall()
    return len(rows)


def take(conn: psycopg.Connection[Any], worker: str, shards: Collection[int]) -> set[int]:
    """Become the owner of those shards that no live worker owns; which ones.

    A shard whose owner is just now storing for it is passed over, not waited for; see
    `end_storing_of_expired` for one that never ends.
    """
    wanted = sorted(shards)
    with conn.transaction():
        conn.execute(
            "INSERT INTO shard_leases (shard) SELECT unnest(%s::int[]) ON CONFLICT DO NOTHING",
            (wanted,),
        )
        rows = conn.execute(
            f"""
            WITH free AS MATERIALIZED (
                SELECT l.shard FROM shard_leases l
                WHERE l.shard = ANY(%(shards)s) AND NOT EXISTS (
                    SELECT FROM ingest_workers w WHERE w.id = l.owner AND {_LIVE})
                ORDER BY l.shard FOR UPDATE SKIP LOCKED)
            UPDATE shard_leases l SET owner = %(worker)s, taken_at = clock_timestamp()
            FROM free WHERE l.shard = free.shard RETURNING l.shard
            """,
            {"shards": wanted, "worker": worker},
        ).fetchall()
        conn.execute(
            f"DELETE FROM ingest_workers WHERE expires_at < now() - interval '{_FORGET_AFTER}'"
        )
    return {row[0] for row in rows}


def release(conn: psycopg.Connection[Any], worker: str, shards: Collection[int]) -> None:
    """Give shards up, but for those that are being stored for: these at a later call.

    Waiting for one's own storing here would cost the beats that say that one lives.
    """
    conn.execute(
        """
        WITH idle AS MATERIALIZED (
            SELECT shard FROM shard_leases WHERE owner = %(worker)s AND shard = ANY(%(shards)s)
            ORDER BY shard FOR UPDATE SKIP LOCKED)
        UPDATE shard_leases l SET owner = NULL FROM idle WHERE l.shard = idle.shard
        """,
        {"worker": worker, "shards": sorted(shards)},
    )


def leave(conn: psycopg.Connection[Any], worker: str) -> None:
    """Give everything up and be gone: others take over at their next beat."""
    with conn.transaction():
        conn.execute("UPDATE shard_leases SET owner = NULL WHERE owner = %s", (worker,))
        conn.execute("DELETE FROM ingest_workers WHERE id = %s", (worker,))


def forget_workers(conn: psycopg.Connection[Any]) -> None:
    """Declare all workers dead. For one who knows that none runs: a stack before it starts any."""
    conn.execute("DELETE FROM ingest_workers")


def hold_owned(conn: psycopg.Connection[Any], worker: str, shards: Collection[int]) -> set[int]:
    """Those of the shards that the worker owns, kept so until the transaction ends.

    Inside the storing transaction: nobody can take a shard between this look and the commit, and
    who has lost one, however long ago and without noticing, stores nothing for it.
    """
    rows = conn.execute(
        "SELECT shard FROM shard_leases WHERE owner = %s AND shard = ANY(%s)"
        " ORDER BY shard FOR SHARE",
        (worker, sorted(shards)),
    ).fetchall()
    return {row[0] for row in rows}
