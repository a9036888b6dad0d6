"""Connections of the long-running workers: one that stands still, or is gone, holds nothing up.

A worker that is stopped in the middle of a transaction, or whose machine has lost its power, keeps
its locks for as long as the server believes in it, which by default is for ever or for two hours.
Here it is let go within seconds, and a worker whose database has vanished notices as soon.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import psycopg

CONNECT_S = 5
GONE_AFTER_S = 15
"""A peer that answers nothing for so long is gone: told by both sides, so that either recovers."""

STALLED_S = 60.0
"""A statement for whose data the server has waited so long: its client stands still."""

LOST = (
    psycopg.OperationalError,
    # Other classes of psycopg's: a session ended by a time-out, and a server that was a primary.
    psycopg.errors.IdleInTransactionSessionTimeout,
    psycopg.errors.ReadOnlySqlTransaction,
)
"""What a statement raises when the connection is of no use any more: connect again."""

_PROBE_S = 5
_PROBES = GONE_AFTER_S // _PROBE_S - 1


def keep_in_touch(**server: object) -> dict[str, Any]:
    """Arguments of a connection whose two ends notice within seconds that the other has vanished.

    ``server``: more settings of the server's for this session; names and values as in its manual.
    """
    settings = {
        "timezone": "UTC",
        # Of use over TCP only; a socket file's peer is known to be gone at once.
        "tcp_keepalives_idle": _PROBE_S,
        "tcp_keepalives_interval": _PROBE_S,
        "tcp_keepalives_count": _PROBES,
        "tcp_user_timeout": GONE_AFTER_S * 1000,
        **server,
    }
    return {
        "connect_timeout": CONNECT_S,
        "keepalives_idle": _PROBE_S,
        "keepalives_interval": _PROBE_S,
        "keepalives_count": _PROBES,
        "tcp_user_timeout": GONE_AFTER_S * 1000,
        "options": " ".join(f"-c {key}={value}" for key, value in settings.items()),
    }


def connect(
    dsn: str,
    name: str,
    *,
    idle_in_transaction_s: float = 0,
    idle_s: float = 0,
    **server: object,
) -> psycopg.Connection[Any]:
    """A connection that commits each statement, in UTC, called ``name`` in the server's lists.

    ``idle_in_transaction_s``, ``idle_s``: the server ends the session when its client has left it
    alone for so long, inside a transaction or outside; 0: never. ``server``: more of its settings.

    Raises:
        psycopg.OperationalError: the database cannot be reached, or only be read.
    """
    return psycopg.connect(
        dsn,
        autocommit=True,
        application_name=name,
        # A primary that has become a standby refuses every write: better not to begin.
        target_session_attrs="read-write",
        **keep_in_touch(
            idle_in_transaction_session_timeout=round(idle_in_transaction_s * 1000),
            idle_session_timeout=round(idle_s * 1000),
            **server,
        ),
    )


def now(conn: psycopg.Connection[Any]) -> datetime:
    """The database's time: one clock for all workers, whatever that of their machines says."""
    row = conn.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None
    told: datetime = row[0]
    return told


def end_stalled(conn: psycopg.Connection[Any], stalled_s: float = STALLED_S) -> int:
    """End sessions of ours that have left a statement half told for ``stalled_s``; how many.

    In the middle of a COPY or of a pipeline a session counts as active, so that the server's own
    time-outs for idle ones never apply to a client that was stopped there, with all its locks.
    """
    rows = conn.execute(
        """
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND usename = current_user
          AND starts_with(application_name, 'tracker-') AND pid <> pg_backend_pid()
          AND state = 'active' AND wait_event = 'ClientRead' AND xact_start IS NOT NULL
          AND state_change < clock_timestamp() - make_interval(secs => %s)
        """,
        (stalled_s,),
    ).fetchall()
    return len(rows)
