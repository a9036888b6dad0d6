"""Whoever stands still, or stands cut off, holds nobody up: sessions, shards, servers."""

from __future__ import annotations

import json
import threading
from contextlib import ExitStack

import paho.mqtt.publish as publish
import psycopg
import pytest
from psycopg import sql

from tests.support.running import running
from tests.support.seed import World, at, record
from tests.support.services import Broker
from tests.support.waiting import wait_until
from tracker import links
from tracker.db import leases, outbox, workers
from tracker.embedded.children import free_port
from tracker.ingest_mqtt import run
from tracker.payload import topic_of
from tracker.settings import Settings, load_settings

WAIT_S = 60.0


# ---------------------------------------------------------------- sessions


def test_a_session_that_leaves_a_statement_half_told_is_ended(database: str) -> None:
    """No time-out for idle sessions applies there: the server takes it for a busy one."""
    with ExitStack() as ended, psycopg.connect(database, autocommit=True) as onlooker:
        stopped = workers.connect(database, "tracker-stopped", idle_in_transaction_s=0.2)
        ended.enter_context(pytest.raises(workers.LOST))
        ended.enter_context(stopped)
        ended.enter_context(stopped.transaction())
        stopped.execute("SELECT pg_advisory_xact_lock(4712)")
        pipeline = ended.enter_context(stopped.pipeline())
        stopped.execute("SELECT 1")
        pipeline.sync()
        stopped.execute("SELECT 2")
        wait_until(lambda: workers.end_stalled(onlooker, 1.0) == 1, WAIT_S, "it to be ended")
        free = "SELECT pg_try_advisory_lock(4712)"
        wait_until(lambda: onlooker.execute(free).fetchone() == (True,), WAIT_S, "its lock")


def test_sessions_that_wait_work_or_are_not_ours_are_left_alone(database: str) -> None:
    with (
        psycopg.connect(database, autocommit=True) as onlooker,
        workers.connect(database, "tracker-listening") as listening,
        workers.connect(database, "tracker-thinking") as thinking,
        psycopg.connect(database, application_name="psql") as foreign,
        foreign.cursor().copy("COPY shard_leases (shard) FROM STDIN"),
        workers.connect(database, "tracker-working") as working,
    ):
        listening.execute("LISTEN anything")
        thinking.execute("BEGIN")
        thread = threading.Thread(target=working.execute, args=("SELECT pg_sleep(2)",))
        thread.start()
        busy = "SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = %s"
        name = onlooker.info.dbname
        wait_until(lambda: onlooker.execute(busy, (name,)).fetchall(), WAIT_S, "work")
        assert workers.end_stalled(onlooker, 0.0) == 0
        thread.join()
        assert thinking.execute("SELECT 1").fetchone() == (1,)


def test_a_server_that_can_only_be_read_is_no_server(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as admin:
        own = sql.Identifier(admin.info.dbname)
        with workers.connect(database, "tracker-demoted") as demoted:
            demoted.execute("SET default_transaction_read_only = on")
            with pytest.raises(workers.LOST):
                demoted.execute("CREATE TABLE t (n int)")
        admin.execute(
            sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(own)
        )
        with pytest.raises(workers.LOST, match="read-only"):
            workers.connect(database, "tracker-hopeful")


def test_events_keep_the_order_in_which_they_are_told(database: str) -> None:
    told = [outbox.Event(kind="risk", delivery_id=None, payload={"n": n}) for n in range(500)]
    with psycopg.connect(database) as conn:
        outbox.append(conn, told)
        rows = conn.execute("SELECT payload FROM outbox ORDER BY id").fetchall()
    assert [payload["n"] for (payload,) in rows] == list(range(500))


# ---------------------------------------------------------------- ingest


@pytest.fixture
def settings(broker: Broker, database: str) -> Settings:
    return load_settings(
        database_url=database,
        mqtt_host=broker.host,
        mqtt_port=broker.port,
        batch_ms=20,
        ack_s=0.5,
        shard_lease_s=1.5,
    )


def owners(world: World) -> set[str]:
    rows = world.conn.execute("SELECT owner FROM shard_leases WHERE owner IS NOT NULL").fetchall()
    return {owner for (owner,) in rows}


def test_a_worker_that_reaches_no_broker_leaves_its_shards_to_one_that_does(
    world: World, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "AWAY_S", 3.0)
    with running(run, settings.model_copy(update={"mqtt_port": free_port()})):
        wait_until(lambda: len(owners(world)) == 1, WAIT_S, "the one cut off to own all")
        (cut_off,) = owners(world)
        with running(run, settings):
            wait_until(
                lambda: len(owners(world)) == 1 and cut_off not in owners(world),
                WAIT_S,
                "the other to own all",
            )
            wait_until(lambda: leases.sessions_up(world.conn) == 65, WAIT_S, "all sessions")


def test_ingest_outlives_a_database_that_can_only_be_read(
    world: World, settings: Settings, broker: Broker
) -> None:
    """As after a failover: nothing is acknowledged or put aside, and it goes on by itself."""
    own = sql.Identifier(world.conn.info.dbname)
    set_ = sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = {}")
    device = world.device()
    body = json.dumps(record(1, at(1), 76.0, 43.5)).encode()
    reach = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = %s AND starts_with(application_name, 'tracker-')"
    )
    with running(run, settings):
        wait_until(lambda: leases.sessions_up(world.conn) == 65, WAIT_S, "all sessions")
        world.conn.execute(set_.format(own, sql.SQL("on")))
        assert world.conn.execute(reach, (world.conn.info.dbname,)).fetchall()
        topic = topic_of(device, "gps", "tlm")
        publish.single(topic, body, qos=1, hostname=broker.host, port=broker.port)
        wait_until(lambda: leases.sessions_up(world.conn) == 0, WAIT_S, "its lease to end")
        world.conn.execute(set_.format(own, sql.SQL("off")))
        stored = "SELECT count(*) FROM telemetry"
        wait_until(lambda: world.conn.execute(stored).fetchone() == (1,), WAIT_S, "the record")
    assert world.conn.execute("SELECT reason FROM quarantine").fetchall() == []
