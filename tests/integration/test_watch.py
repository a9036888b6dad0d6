"""The watch beside others: those who keep what it needs, those who stand still, clocks that lie."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from prometheus_client import REGISTRY
from psycopg import sql

from tests.support.logged import logged
from tests.support.running import running
from tests.support.seed import SeededDelivery, World, record
from tests.support.waiting import wait_until
from tracker import watch
from tracker.db import workers
from tracker.db.outbox import Event, append
from tracker.db.partitions import adopt, partition_name, week_start
from tracker.settings import load_settings
from tracker.watch import LEADER_LOCK, Watch

WAIT_S = 60.0
NOW = datetime.now(UTC).replace(microsecond=0)
YEAR = timedelta(days=365)


def watching(database: str, **settings: Any) -> AbstractContextManager[None]:
    """A watch in a thread of this process."""
    chosen = load_settings(database_url=database, watch_tick_s=0.1, **settings)
    return running(watch.run, chosen)


def metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def put_off(work: str) -> float:
    return metric("tracker_watch_put_off_total", work=work)


def rows(world: World, query: str, *params: Any) -> list[Any]:
    return world.conn.execute(query, params).fetchall()  # type: ignore[arg-type]


def has_week(world: World, of: datetime) -> bool:
    name = partition_name(week_start(of.date()))
    return rows(world, "SELECT to_regclass(%s) IS NOT NULL", name) == [(True,)]


def tell(world: World, at: datetime, n: int = 5) -> None:
    """Events of that time, and a newest one, which always stays."""
    with world.conn.transaction():
        append(world.conn, [Event(kind="risk", delivery_id=None, payload={}) for _ in range(n + 1)])
    world.conn.execute("UPDATE outbox SET at = %s WHERE id < (SELECT max(id) FROM outbox)", (at,))


def told(world: World) -> int:
    ((count,),) = rows(world, "SELECT count(*) FROM outbox")
    return int(count)


# ---------------------------------------------------------------- others keep what it needs


def test_a_reader_that_is_busy_for_long_puts_partitions_off_and_nothing_else(
    world: World, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracker.watch.PARTITIONS_AGAIN_S", 0.0)
    later, before = NOW + timedelta(weeks=9), put_off("partitions")
    clocks = Watch(load_settings(database_url=database), threading.Event())
    # The time-out of statements: a tick that waits must fail, not hang.
    with psycopg.connect(
        database, autocommit=True, options="-c timezone=UTC -c statement_timeout=30s"
    ) as conn:
        with psycopg.connect(database) as reader, monkeypatch.context() as impatient:
            impatient.setattr("tracker.db.partitions.LOCK_TIMEOUT_MS", 50)
            reader.execute("SELECT count(*) FROM telemetry")
            with logged(watch) as logs:
                clocks.tick(conn, later)
            assert not has_week(world, later)
        assert put_off("partitions") == before + 1
        assert [entry["work"] for entry in logs if entry["log_level"] == "warning"] == [
            "partitions"
        ]
        assert rows(world, "SELECT layer_date FROM dead_zones") == [(later.date(),)]
        clocks.tick(conn, later)
    assert has_week(world, later)
    assert put_off("partitions") == before + 1


def test_a_tick_goes_on_without_what_somebody_keeps(
    world: World, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracker.watch.LOCK_TIMEOUT_S", 0.2)
    before = put_off("clocks")
    with psycopg.connect(database) as keeper:
        keeper.execute("LOCK TABLE dirty IN ACCESS EXCLUSIVE MODE")
        with watching(database):
            wait_until(lambda: put_off("clocks") > before, WAIT_S, "the clocks to be put off")
            layers = "SELECT count(*) FROM dead_zones"
            wait_until(lambda: rows(world, layers) == [(1,)], WAIT_S, "the rest of the tick")


def test_of_two_that_adopt_a_week_the_second_finds_it_made(
    world: World, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracker.db.partitions.LOCK_TIMEOUT_MS", 60_000)
    monday = week_start((NOW + timedelta(weeks=9)).date())
    made: list[int] = []
    with psycopg.connect(database, application_name="second") as second:
        with world.conn.transaction():
            assert adopt(world.conn, monday) == 1
            thread = threading.Thread(target=lambda: made.append(adopt(second, monday)))
            thread.start()
            waiting = (
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE application_name = 'second' AND wait_event_type = 'Lock'"
            )
            wait_until(lambda: rows(world, waiting) == [(1,)], WAIT_S, "the second to wait")
        thread.join(WAIT_S)
    assert made == [0]


# ---------------------------------------------------------------- others stand still


@pytest.mark.parametrize("leads", [True, False], ids=["leading", "not leading"])
def test_a_session_that_stands_still_in_a_statement_is_ended(
    world: World, database: str, monkeypatch: pytest.MonkeyPatch, leads: bool
) -> None:
    monkeypatch.setattr("tracker.watch.LOCK_TIMEOUT_S", 0.2)
    sooner = partial(workers.end_stalled, stalled_s=0.5)
    monkeypatch.setattr("tracker.db.workers.end_stalled", sooner)
    before = metric("tracker_watch_sessions_ended_total")
    if not leads:
        world.conn.execute("SELECT pg_advisory_lock(%s)", (LEADER_LOCK,))
    with ExitStack() as ended, logged(watch) as logs:
        stalled = workers.connect(database, "tracker-test")
        pid = stalled.info.backend_pid
        ended.enter_context(pytest.raises(workers.LOST))
        ended.enter_context(stalled)
        ended.enter_context(stalled.transaction())
        # What the tick itself needs: it must not wait before it has looked.
        stalled.execute("LOCK TABLE dirty IN ACCESS EXCLUSIVE MODE")
        copy = ended.enter_context(stalled.cursor().copy("COPY shard_leases (shard) FROM STDIN"))
        copy.write("70\n")
        with watching(database):
            there = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s"
            wait_until(lambda: rows(world, there, pid) == [(0,)], WAIT_S, "it to be ended")
    assert metric("tracker_watch_sessions_ended_total") == before + 1
    (line,) = [entry for entry in logs if "stood still" in entry["event"]]
    assert (line["log_level"], line["ended"]) == ("warning", 1)


def test_a_watch_whose_clocks_have_died_ends_though_retention_is_at_work(
    world: World, database: str
) -> None:
    """Whoever started it starts it again, and another leads meanwhile."""
    with psycopg.connect(database) as keeper:
        keeper.execute("LOCK TABLE idempotency_keys IN ACCESS EXCLUSIVE MODE")
        process = subprocess.Popen(
            [sys.executable, "-m", "tracker.cli", "watch"],
            env=os.environ | {"TRACKER_DATABASE_URL": database},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            waiting = (
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND application_name = 'tracker-watch' AND wait_event_type = 'Lock'"
            )
            wait_until(lambda: rows(world, waiting) == [(1,)], WAIT_S, "retention to be at work")
            # A fault of the product that no lost database explains.
            world.conn.execute("ALTER TABLE delivery_state RENAME TO elsewhere")
            assert process.wait(WAIT_S) != 0
        finally:
            process.kill()
            process.wait()


# ---------------------------------------------------------------- it stands still itself


def test_retention_that_stands_still_is_let_go_sooner_the_more_it_keeps(
    world: World, database: str, tmp_path: Path
) -> None:
    """What the server is told of the sessions, overheard where they change something."""
    world.conn.execute(
        """
        CREATE TABLE overheard (what text, alone text, lock text);
        CREATE FUNCTION overhear() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO overheard VALUES (TG_TABLE_NAME,
                current_setting('idle_in_transaction_session_timeout'),
                current_setting('lock_timeout'));
            RETURN NULL;
        END $$;
        CREATE FUNCTION overhear_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO overheard VALUES (TG_TAG,
                current_setting('idle_in_transaction_session_timeout'),
                current_setting('lock_timeout'));
        END $$;
        """
    )
    ended_trip(world, NOW - YEAR)
    tell(world, NOW - YEAR)
    world.conn.execute(
        """
        CREATE TRIGGER overhear AFTER INSERT ON archives EXECUTE FUNCTION overhear();
        CREATE TRIGGER overhear AFTER DELETE ON outbox EXECUTE FUNCTION overhear();
        CREATE EVENT TRIGGER overhear ON ddl_command_end EXECUTE FUNCTION overhear_ddl();
        """
    )
    with watching(database, retention_days=90, archive_dir=tmp_path):
        wait_until(lambda: told(world) == 1, WAIT_S, "both parts of retention")
    world.conn.execute("DROP EVENT TRIGGER overhear")
    heard: dict[str, set[tuple[str, str]]] = {}
    for what, alone, lock in rows(world, "SELECT * FROM overheard"):
        heard.setdefault(what, set()).add((alone, lock))
    assert heard["CREATE TABLE AS"] == {("30min", "0")}  # what stays is listed; the export follows
    assert heard["archives"] == {("15s", "0")}  # after it
    assert heard["ALTER TABLE"] == {("15s", "2s")}  # the swap
    assert heard["outbox"] == {("1min", "0")}  # tidying


# ---------------------------------------------------------------- clocks


def ended_trip(world: World, ended: datetime) -> SeededDelivery:
    """A delivery that is no case, with five records of the hours before its end."""
    begun = ended - timedelta(hours=2)
    with world.conn.transaction():
        adopt(world.conn, week_start(begun.date()))
    device = world.device()
    delivery = world.delivery([device], released=begun)
    bodies = [record(n, begun + timedelta(minutes=n), 76 + n / 100, 43.5) for n in range(1, 6)]
    world.store([world.message(device, body, received=begun) for body in bodies])
    world.end(delivery, ended, "completed")
    world.judge(now=ended)
    world.conn.execute("UPDATE alerts SET status = 'resolved', finding = 'explained'")
    return delivery


@pytest.fixture
def behind(world: World) -> None:
    """The database's clock is a year behind this host's; `set_behind` changes by how much.

    Its function is shadowed through the search path, for connections made from now on.
    """
    world.conn.execute(
        """
        CREATE SCHEMA pretence;
        CREATE TABLE pretence.behind AS SELECT interval '365 days' AS behind;
        CREATE FUNCTION pretence.clock_timestamp() RETURNS timestamptz LANGUAGE sql
        AS 'SELECT pg_catalog.clock_timestamp() - behind FROM pretence.behind';
        """
    )
    name = sql.Identifier(world.conn.info.dbname)
    world.conn.execute(
        sql.SQL("ALTER DATABASE {} SET search_path = public, pretence, pg_catalog").format(name)
    )


def set_behind(world: World, by: timedelta) -> None:
    world.conn.execute("UPDATE pretence.behind SET behind = %s", (by,))


@pytest.mark.usefixtures("behind")
def test_a_host_whose_clock_is_a_year_ahead_drops_nothing(world: World, database: str) -> None:
    ended_trip(world, NOW - YEAR - timedelta(days=30))
    tell(world, NOW - YEAR - timedelta(days=100))
    with watching(database, retention_days=90, events_days=90):
        wait_until(lambda: told(world) == 1, WAIT_S, "retention to have come to events")
    assert rows(world, "SELECT count(*) FROM telemetry") == [(5,)]


@pytest.mark.usefixtures("behind")
def test_a_clock_that_is_set_back_does_not_stop_the_hourly_work(
    world: World, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracker.watch.PARTITIONS_EVERY_S", 0.0)
    monkeypatch.setattr("tracker.watch.RETENTION_EVERY_S", 0.0)
    tell(world, NOW - YEAR - timedelta(days=100))
    with watching(database, events_days=90):
        wait_until(lambda: told(world) == 1, WAIT_S, "retention")
        assert has_week(world, NOW - YEAR)
        set_behind(world, 2 * YEAR)
        wait_until(lambda: has_week(world, NOW - 2 * YEAR), WAIT_S, "partitions, a year earlier")
        for _ in range(2):  # the first may go with a run that began before
            tell(world, NOW - 2 * YEAR - timedelta(days=100))
            wait_until(lambda: told(world) == 1, WAIT_S, "retention, a year earlier")
