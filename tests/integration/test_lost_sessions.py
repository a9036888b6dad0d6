"""Sessions of the API and of commands: a peer that vanished is noticed, one that stands still lets
go, and whoever asked is told to come again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, LiteralString
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import text

from tests.integration.api_world import bare  # noqa: F401 - fixture
from tests.support.api import ApiWorld, problem_of
from tests.support.waiting import wait_until
from tracker.api.deps import Writing
from tracker.api.hub import Hub
from tracker.commands.common import database as command
from tracker.db.connect import Database, raw
from tracker.db.outbox import Event, append
from tracker.db.workers import GONE_AFTER_S
from tracker.errors import SetupError

TOLD = Event(kind="delivery", delivery_id=uuid4(), payload={})
LOCKED: LiteralString = (
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
SHORTENED: LiteralString = "SET LOCAL idle_in_transaction_session_timeout = '200ms'"


@pytest.fixture
def onlooker(database: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database, autocommit=True) as conn:
        yield conn


def locked(onlooker: psycopg.Connection[Any]) -> bool:
    """Whether somebody holds the outbox."""
    return onlooker.execute(LOCKED).fetchone() != (0,)


def setting(conn: psycopg.Connection[Any], name: str) -> str:
    row = conn.execute("SELECT current_setting(%s)", (name,)).fetchone()
    assert row is not None
    return str(row[0])


def gone_after_s(conn: psycopg.Connection[Any]) -> list[int]:
    """When each end gives the other up that answers nothing: probes, and data not taken."""
    own = conn.info.get_parameters()
    names = ("idle", "interval", "count")
    idle, interval, count = (int(setting(conn, f"tcp_keepalives_{name}")) for name in names)
    own_idle, own_interval, own_count = (int(own[f"keepalives_{name}"]) for name in names)
    return [
        idle + interval * count,
        int(setting(conn, "tcp_user_timeout")) // 1000,
        own_idle + own_interval * own_count,
        int(own["tcp_user_timeout"]) // 1000,
    ]


def test_an_api_session_notices_a_vanished_peer_and_is_bounded(database: str) -> None:
    api = Database(database, pool_size=1)
    with api.write() as session:
        conn = raw(session)
        assert gone_after_s(conn) == [GONE_AFTER_S] * 4
        assert setting(conn, "statement_timeout") == "30s"
        assert setting(conn, "idle_in_transaction_session_timeout") == "1min"
        assert setting(conn, "timezone") == "UTC"
    with api.snapshot() as session:
        # Its own alone: the connection is the same.
        assert setting(raw(session), "idle_in_transaction_session_timeout") == "10min"
    with api.read() as session:
        assert setting(raw(session), "idle_in_transaction_session_timeout") == "1min"
    api.close()


def test_a_session_of_the_stream_notices_a_vanished_peer(database: str) -> None:
    async def its_own() -> dict[str, str]:
        async with await Hub(database)._connect() as conn:
            cursor = await conn.execute("SHOW tcp_user_timeout")
            assert await cursor.fetchone() == (str(GONE_AFTER_S * 1000),)
            return conn.info.get_parameters()

    with ThreadPoolExecutor(1) as pool:
        own = pool.submit(asyncio.run, its_own()).result()
    assert own["tcp_user_timeout"] == str(GONE_AFTER_S * 1000)


def test_a_command_that_is_suspended_in_a_transaction_lets_go(
    database: str, onlooker: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKER_DATABASE_URL", database)

    def suspended() -> None:
        with command() as (_, conn, begin):
            assert gone_after_s(conn) == [GONE_AFTER_S] * 4
            assert setting(conn, "idle_in_transaction_session_timeout") == "10min"
            with begin():
                append(conn, [TOLD])
                conn.execute(SHORTENED)
                wait_until(lambda: not locked(onlooker), 10, "the outbox to be free")
                conn.execute("SELECT 1")

    with pytest.raises(SetupError, match=r"^the database failed: .*idle-in-transaction"):
        suspended()


@pytest.mark.parametrize("noticed", ["in a statement", "in a statement of psycopg's", "at last"])
def test_who_asked_of_a_session_that_was_ended_is_told_to_come_again(
    bare: ApiWorld,  # noqa: F811
    onlooker: psycopg.Connection[Any],
    noticed: str,
) -> None:
    """As of a process that was stopped before its commit: by then others have gone on."""

    @bare.app.post("/api/v1/stands-still")
    def stands_still(session: Writing) -> None:
        append(raw(session), [TOLD])
        session.execute(text(SHORTENED))
        wait_until(lambda: not locked(onlooker), 10, "the session to be ended")
        if noticed == "in a statement":
            session.execute(text("SELECT 1"))
        elif noticed == "in a statement of psycopg's":
            raw(session).execute("SELECT 1")

    answer = bare.http.post("/api/v1/stands-still")
    assert problem_of(answer, 503)["type"] == "/problems/unavailable"
    assert answer.headers["Retry-After"]
    assert onlooker.execute("SELECT count(*) FROM outbox").fetchone() == (0,)
    assert bare.get("/posts") == {"items": [], "next": None}
