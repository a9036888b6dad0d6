"""Ingest workers side by side: leases in the database, sessions at the broker, order kept."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import paho.mqtt.client as mqtt
import psycopg
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.support.running import running
from tests.support.seed import World, at, record
from tests.support.services import Broker
from tests.support.waiting import wait_until
from tracker.db import leases, workers
from tracker.db.leases import Health
from tracker.ingest_mqtt import run
from tracker.payload import shard_of, topic_of
from tracker.settings import Settings, load_settings

WAIT_S = 60.0
SESSIONS = 65


# ---------------------------------------------------------------- leases


@pytest.fixture
def conns(database: str) -> Iterator[list[psycopg.Connection[Any]]]:
    """Two workers' connections and an onlooker's."""
    with ExitStack() as stack:
        yield [stack.enter_context(psycopg.connect(database, autocommit=True)) for _ in range(3)]


def beat(
    conn: psycopg.Connection[Any], worker: str, wanted: range = range(4), term_s: float = 60
) -> leases.View:
    return leases.beat(conn, worker, wanted, term_s=term_s, health=Health())


def test_a_shard_has_one_owner(conns: list[psycopg.Connection[Any]]) -> None:
    one, two, _ = conns
    beat(one, "one")
    assert leases.take(one, "one", range(4)) == {0, 1, 2, 3}
    view = beat(two, "two")
    assert view.owners == dict.fromkeys(range(4), "one")
    assert view.workers.keys() == {"one", "two"}
    assert leases.take(two, "two", range(4)) == set()
    leases.release(one, "one", {0, 1})
    leases.release(two, "two", {2, 3})  # not two's to give
    assert leases.take(two, "two", range(4)) == {0, 1}


def test_a_worker_whose_connection_is_gone_owns_nothing(
    conns: list[psycopg.Connection[Any]],
) -> None:
    one, two, _ = conns
    beat(one, "one")
    leases.take(one, "one", range(4))
    one.close()
    wait_until(lambda: "one" not in beat(two, "two").workers, WAIT_S, "one to be noticed as gone")
    assert leases.take(two, "two", range(4)) == {0, 1, 2, 3}


def test_a_worker_that_says_nothing_for_its_term_owns_nothing(
    conns: list[psycopg.Connection[Any]],
) -> None:
    one, two, _ = conns
    beat(one, "one", term_s=0.2)
    leases.take(one, "one", range(4))
    wait_until(lambda: "one" not in beat(two, "two").workers, WAIT_S, "the term to end")
    assert leases.take(two, "two", range(4)) == {0, 1, 2, 3}
    # Back again, it sees that it owns nothing, and stores nothing.
    assert "one" not in beat(one, "one").owners.values()
    with one.transaction():
        assert leases.hold_owned(one, "one", range(4)) == set()


def test_after_a_restart_of_the_server_the_term_counts(
    conns: list[psycopg.Connection[Any]],
) -> None:
    one, two, _ = conns
    beat(one, "one")
    leases.take(one, "one", range(4))
    one.close()
    # As a server that was started later would see it: that connection cannot be judged.
    two.execute(
        "UPDATE ingest_workers SET backend_start = pg_postmaster_start_time() - interval '1 s'"
    )
    assert "one" in beat(two, "two").workers
    assert leases.take(two, "two", range(4)) == set()


def test_what_is_being_stored_is_neither_taken_nor_given_up_before_the_commit(
    conns: list[psycopg.Connection[Any]],
) -> None:
    one, two, keeper = conns
    beat(one, "one", term_s=0.1)
    leases.take(one, "one", range(4))
    with one.transaction():
        assert leases.hold_owned(one, "one", {1, 2}) == {1, 2}
        wait_until(lambda: "one" not in beat(two, "two").workers, WAIT_S, "the term to end")
        assert leases.take(two, "two", range(4)) == {0, 3}
        # Not waited for either: its keeper has to say meanwhile that the worker lives.
        leases.release(keeper, "one", {2})
        assert beat(keeper, "one").owners == {0: "two", 1: "one", 2: "one", 3: "two"}
    leases.release(keeper, "one", {2})
    assert leases.take(two, "two", range(4)) == {2}


def test_one_that_stands_still_in_the_middle_of_a_copy_loses_its_shards(
    database: str, conns: list[psycopg.Connection[Any]]
) -> None:
    beating, two, _ = conns
    beat(beating, "one", term_s=0.2)
    leases.take(beating, "one", range(4))
    with ExitStack() as ended:
        storing = workers.connect(database, leases.storing_name("one"))
        ended.enter_context(pytest.raises(workers.LOST))
        ended.enter_context(storing)
        ended.enter_context(storing.transaction())
        assert leases.hold_owned(storing, "one", {1, 2}) == {1, 2}
        copy = ended.enter_context(storing.cursor().copy("COPY shard_leases (shard) FROM STDIN"))
        copy.write("70\n")
        wait_until(lambda: "one" not in beat(two, "two").workers, WAIT_S, "the term to end")
        wait_until(lambda: leases.end_storing_of_expired(two, "two") == 1, WAIT_S, "its end")
        taken: set[int] = set()

        def all_taken() -> bool:
            # One by one, should a look fall between the two locks of the session that ends.
            taken.update(leases.take(two, "two", {1, 2}))
            return taken == {1, 2}

        wait_until(all_taken, WAIT_S, "both to be taken")
    assert two.execute("SELECT FROM shard_leases WHERE shard = 70").fetchall() == []


def test_one_that_is_only_slow_to_store_is_let_finish(
    database: str, conns: list[psycopg.Connection[Any]]
) -> None:
    beating, two, _ = conns
    beat(beating, "one")
    leases.take(beating, "one", range(4))
    beat(two, "two")
    with workers.connect(database, leases.storing_name("one")) as storing, storing.transaction():
        leases.hold_owned(storing, "one", {1})
        assert leases.end_storing_of_expired(two, "two") == 0
        assert leases.take(two, "two", {1}) == set()
        assert leases.hold_owned(storing, "one", {1}) == {1}


@pytest.mark.parametrize("within", [True, False], ids=["in a transaction", "between two"])
def test_a_session_left_alone_for_too_long_lets_go(
    database: str, conns: list[psycopg.Connection[Any]], within: bool
) -> None:
    """A stopped evaluator's deliveries, and a stopped watch's lead, go to others."""
    onlooker = conns[0]
    alone = {"idle_in_transaction_s": 3600.0} if within else {"idle_s": 3600.0}
    setting = f"idle_{'in_transaction_' if within else ''}session_timeout"
    with workers.connect(database, "tracker-test", **alone) as stopped:
        assert stopped.execute(f"SHOW {setting}").fetchone() == ("1h",)
        # Shortened together with the lock: before it, this test itself might be too slow.
        begin = "BEGIN;" if within else ""
        stopped.execute(f"{begin} SELECT pg_advisory_lock(4711); SET {setting} = '200ms'")
        free = "SELECT pg_try_advisory_lock(4711)"
        wait_until(lambda: onlooker.execute(free).fetchone() == (True,), WAIT_S, "the lock")
        with pytest.raises(workers.LOST):
            stopped.execute("SELECT 1")


# ---------------------------------------------------------------- workers


class Site:
    """A broker, a database and workers in threads of this process."""

    def __init__(self, broker: Broker, world: World, settings: Settings) -> None:
        self.broker, self.world, self.settings = broker, world, settings

    def worker(self, **more: Any) -> AbstractContextManager[None]:
        return running(run, self.settings.model_copy(update=more))

    def shares(self) -> list[int]:
        """How many shards each owner has."""
        rows = self.world.conn.execute(
            "SELECT count(*) FROM shard_leases WHERE owner IS NOT NULL GROUP BY owner ORDER BY 1"
        ).fetchall()
        return [row[0] for row in rows]

    def wait_shares(self, *counts: int) -> None:
        wait_until(lambda: self.shares() == list(counts), WAIT_S, f"shares {counts}")
        total = sum(counts)
        wait_until(
            lambda: leases.sessions_up(self.world.conn) == total, WAIT_S, f"{total} sessions"
        )

    def sender(self) -> mqtt.Client:
        client = mqtt.Client(CallbackAPIVersion.VERSION2)
        client.connect(self.broker.host, self.broker.port)
        client.loop_start()
        return client

    def stored(self) -> int:
        row = self.world.conn.execute("SELECT count(*) FROM telemetry").fetchone()
        return int(row[0]) if row else 0


@pytest.fixture
def site(broker: Broker, database: str) -> Iterator[Site]:
    world = World(database)
    settings = load_settings(
        database_url=database,
        mqtt_host=broker.host,
        mqtt_port=broker.port,
        batch_ms=20,
        shard_lease_s=1.5,
    )
    yield Site(broker, world, settings)
    world.close()


def test_workers_share_fairly_as_they_come_and_go(site: Site) -> None:
    with site.worker():
        site.wait_shares(65)
        with site.worker():
            site.wait_shares(32, 33)
            with site.worker():
                site.wait_shares(21, 22, 22)
            site.wait_shares(32, 33)
    with site.worker(shards="0-31"):
        site.wait_shares(33)
        with site.worker(shards="32-63"):
            site.wait_shares(32, 33)


def test_each_devices_order_is_kept_while_shards_change_hands(site: Site) -> None:
    names = [site.world.device(id_=f"device-{n}") for n in range(24)]
    assert len({shard_of(name) for name in names}) > 15
    client = site.sender()
    seqs = itertools.count(1)

    def send_until(shares: list[int]) -> None:
        """At least some rounds, and on until the workers have these shares."""
        deadline = time.monotonic() + WAIT_S
        for n in itertools.count():
            seq = next(seqs)
            for name in names:
                body = json.dumps(record(seq, at(seq), 76.0, 43.5))
                sent = client.publish(topic_of(name, "gps", "tlm"), body, qos=1)
            sent.wait_for_publish(WAIT_S)
            if n >= 20 and site.shares() == shares:
                return
            assert time.monotonic() < deadline, f"the workers' shares are not {shares}"

    with site.worker():
        site.wait_shares(65)
        send_until([65])
        with site.worker():
            send_until([32, 33])
            with site.worker():
                send_until([21, 22, 22])
        send_until([65])
        total = (next(seqs) - 1) * len(names)
        wait_until(lambda: site.stored() == total, 2 * WAIT_S, "every record")
    client.disconnect()
    client.loop_stop()
    out_of_order = site.world.conn.execute(
        "SELECT device_no, seq FROM (SELECT *, lag(received_at) OVER ("
        " PARTITION BY device_no ORDER BY seq) AS before FROM telemetry) t"
        " WHERE received_at < before"
    ).fetchall()
    assert out_of_order == []


def test_a_message_left_by_the_dead_goes_to_the_next_owner(site: Site) -> None:
    """A session belongs to its shard: what the broker queued for it is not tied to a worker."""
    name = site.world.device()
    with site.worker():
        site.wait_shares(65)
    client = site.sender()
    for seq in range(1, 11):
        body = json.dumps(record(seq, at(seq), 76.0, 43.5))
        client.publish(topic_of(name, "gps", "tlm"), body, qos=1).wait_for_publish(WAIT_S)
    client.disconnect()
    client.loop_stop()
    assert site.stored() == 0
    with site.worker(), site.worker():
        wait_until(lambda: site.stored() == 10, WAIT_S, "what was queued")
