"""Nothing is lost: whatever is killed under load, each record made is stored exactly once.

The fleet drives as fast as acknowledgements allow, so the faults fall in the thick of it. Each is
done with three seeds, which choose the moment, its length and the trips.
"""

from __future__ import annotations

import os
import random

import pytest

from tests.fault.site import END_S, SEEDS, START_S, Fleet, Site, pause, seconds
from tests.support.waiting import wait_until
from tracker.broker import rules

VEHICLES = 10
HOURS = 60
"""Records of each device in an hour of driving, at a record a minute."""
CROWD = 1000
RECEIVE_MAXIMUM = 8000
TOWN = [[76.9115, 43.2525], [77.06, 43.2525]]
SPARSE = {"gps": {"moving_s": 300}, "seal": {"moving_s": 600}}
seeded = pytest.mark.parametrize("seed", SEEDS)


def under_load(site: Site, rng: random.Random, seed: int) -> Fleet:
    """A fleet in full drive, some hundred records into its trips."""
    fleet = site.fleet(VEHICLES, seed)
    fleet.start(site.broker)
    # Two thousand more are to come, should it take a while until the fault.
    fleet.wait_acked(rng.randint(100, 500))
    return fleet


def finished(site: Site, fleet: Fleet) -> None:
    fleet.come_home()
    assert fleet.made > 1000
    site.assert_stored_once(fleet)


@seeded
def test_one_of_two_workers_is_killed(site: Site, seed: int) -> None:
    rng = random.Random(seed)
    workers = site.ingesting(2)
    fleet = under_load(site, rng, seed)
    workers[rng.randrange(2)].kill()
    site.wait_serving(1)
    finished(site, fleet)


@seeded
def test_the_only_worker_is_killed_and_started_again(site: Site, seed: int) -> None:
    rng = random.Random(seed)
    (worker,) = site.ingesting()
    fleet = under_load(site, rng, seed)
    worker.kill()
    pause(seconds(rng, 0, 2))
    site.ingesting()
    finished(site, fleet)


@seeded
def test_the_broker_is_killed(site: Site, seed: int) -> None:
    rng = random.Random(seed)
    site.ingesting()
    fleet = under_load(site, rng, seed)
    site.broker.kill()
    pause(seconds(rng, 0, 2))
    site.broker.start()
    finished(site, fleet)


@seeded
def test_the_database_is_killed(site: Site, seed: int) -> None:
    rng = random.Random(seed)
    site.ingesting()
    fleet = under_load(site, rng, seed)
    site.kill_database()
    pause(seconds(rng, 0, 2))
    site.start_database()
    finished(site, fleet)


@seeded
def test_a_full_queue_drops_and_the_devices_send_again(
    site: Site, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(seed)
    monkeypatch.setitem(rules.LIMITS, "max_queued_messages", str(rng.randint(5, 20)))
    site.broker.stop()
    site.broker.start()
    (first,) = site.ingesting()
    fleet = under_load(site, rng, seed)
    first.kill()
    # While nobody takes what the broker queues, each device sends what its window allows.
    wait_until(lambda: outstanding(fleet) > 30 * len(fleet.devices), 20, "full windows")
    (second,) = site.ingesting()
    finished(site, fleet)
    wait_until(lambda: second.metric("tracker_broker_messages_dropped") > 0, 5, "the drops")
    wait_until(lambda: dropped(site) > 0, 5, "the drops in the database")
    assert second.said("the broker drops messages")


def outstanding(fleet: Fleet) -> int:
    return sum(device.outstanding for device in fleet.devices)


def dropped(site: Site) -> int:
    rows = site.rows("SELECT max(broker_dropped) FROM ingest_workers")
    return int(rows[0][0] or 0)


@seeded
def test_a_thousand_devices_connect_again_after_a_restart_of_the_broker(
    site: Site, seed: int
) -> None:
    """Short trips of many devices, in all shards, that come back at once."""
    rng = random.Random(seed)
    site.ingesting(2)
    fleet = site.fleet(CROWD // 2, seed, route=TOWN, start="now-3h", periods=SPARSE)
    fleet.start(site.broker, flat_out=False, speed=40)
    wait_until(lambda: online(fleet) == CROWD, 120, f"{CROWD} devices to be connected")
    pause(seconds(rng, 0, 1))
    assert fleet.driving
    site.broker.stop()
    pause(seconds(rng, 0, 1))
    site.broker.start()
    wait_until(
        lambda: not fleet.driving or min(link.connections for link in fleet.links) >= 2,
        120,
        "all devices to be back",
    )
    fleet.come_home()
    site.assert_stored_once(fleet)


def online(fleet: Fleet) -> int:
    return sum(link.connections > 0 for link in fleet.links)


@seeded
def test_a_long_stop_of_the_database(site: Site, seed: int) -> None:
    """Some seconds of ours, hours of the devices': they drive on until their windows are full.

    `make test-long-stop` has it last ten minutes of ours, too.
    """
    rng = random.Random(seed)
    stop_s = float(os.environ.get("FAULT_STOP_S") or seconds(rng, 2, 4))
    (worker,) = site.ingesting()
    fleet = site.fleet(VEHICLES, seed)
    fleet.start(site.broker, ack_timeout_s=END_S + stop_s)
    # Early in the trips: a quick machine has most of them stored soon after.
    fleet.wait_acked(rng.randint(20, 60))
    site.server.stop()
    # Whatever it stored before, it has acknowledged before it says so; and that has long arrived
    # when the windows are full.
    wait_until(lambda: worker.said("batch not stored, trying again"), START_S, "the fault's notice")
    wait_until(lambda: outstanding(fleet) > HOURS * len(fleet.devices), 60, "an hour of records")
    settled, made = fleet.acked, fleet.made
    pause(stop_s)
    assert fleet.acked == settled, "acknowledged without a database"
    assert worker.metric("tracker_messages_waiting") <= RECEIVE_MAXIMUM
    assert worker.metric("process_resident_memory_bytes") < 400 * 2**20
    assert made - settled > HOURS * len(fleet.devices)
    site.start_database()
    finished(site, fleet)


@seeded
def test_a_stopped_worker_that_wakes_up_stores_nothing_for_lost_shards(
    site: Site, seed: int
) -> None:
    """The one that hangs longer than its term believes on waking that it still owns its shards."""
    rng = random.Random(seed)
    sleeper, _ = site.ingesting(2)
    fleet = under_load(site, rng, seed)
    sleeper.pause()
    wait_until(lambda: owners(site) == 1, START_S, "the other worker to own every shard")
    pause(seconds(rng, 0, 1))
    sleeper.resume()
    site.wait_serving(2)
    finished(site, fleet)


def owners(site: Site) -> int:
    return len(site.rows("SELECT owner FROM shard_leases GROUP BY owner"))


@seeded
def test_wiped_stores_and_lost_generations_are_neither_lost_nor_merged(
    site: Site, seed: int
) -> None:
    """Each unit is wiped on its way: its numbers start again, under a generation it asks for."""
    rng = random.Random(seed)
    workers = site.ingesting(2)
    first = site.fleet(6, seed)
    first.start(site.broker)
    first.come_home()
    second = Fleet(6, seed + 100, devices={"gen": "ask"})
    site.fleets.append(second)
    second.start(site.broker)
    workers[rng.randrange(2)].kill()
    second.come_home()
    gens = {device.config.id: device.gen or 0 for device in first.devices}
    assert all((device.gen or 0) > gens[device.config.id] for device in second.devices)
    site.assert_stored_once(first, second)
