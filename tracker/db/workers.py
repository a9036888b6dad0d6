"""Connections of the long-running workers: one that stands still, or is gone, holds nothing up.

A worker that is stopped in the middle of a transaction, or whose machine has lost its power, keeps
its locks for as long as the server believes in it, which by default is for ever or for two hours.
Here it is let go within seconds, and a worker whose database has vanished notices as soon.
"""

from __future__ import annotations

from typing import Any

import psycopg

CONNECT_S = 5
GONE_AFTER_S = 15
"""A peer that answers nothing for so long is gone: told by both sides, so that either recovers."""

LOST = (psycopg.OperationalError, psycopg.errors.IdleInTransactionSessionTimeout)
"""What a statement raises whose connection is gone; the second is another class of psycopg's."""

_PROBE_S = 5
_PROBES = GONE_AFTER_S // _PROBE_S - 1


def connect(
    dsn: str,
    name: str,
    *,
    idle_in_transaction_s: float = 0,
    idle_s: float = 0,
    options: str = "",
) -> psycopg.Connection[Any]:
    """A connection that commits each statement, in UTC, called ``name`` in the server's lists.

    ``idle_in_transaction_s``, ``idle_s``: the server ends the session when its client has left it
    alone for so long, inside a transaction or outside; 0: never. ``options``: more of the server's
    settings, as ``-c name=value``.

    Raises:
        psycopg.OperationalError: the database cannot be reached.
    """
    server = {
        "timezone": "UTC",
        "idle_in_transaction_session_timeout": _ms(idle_in_transaction_s),
        "idle_session_timeout": _ms(idle_s),
        # Of use over TCP only; a socket file's peer is known to be gone at once.
        "tcp_keepalives_idle": _PROBE_S,
        "tcp_keepalives_interval": _PROBE_S,
        "tcp_keepalives_count": _PROBES,
        "tcp_user_timeout": _ms(GONE_AFTER_S),
    }
    return psycopg.connect(
        dsn,
        autocommit=True,
        application_name=name,
        connect_timeout=CONNECT_S,
        keepalives_idle=_PROBE_S,
        keepalives_interval=_PROBE_S,
        keepalives_count=_PROBES,
        tcp_user_timeout=_ms(GONE_AFTER_S),
        options=" ".join([*(f"-c {key}={value}" for key, value in server.items()), options]),
    )


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
