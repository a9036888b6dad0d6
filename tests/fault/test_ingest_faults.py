"""Nothing is lost: whatever is killed under load, each record made is stored exactly once.

The fleet drives as fast as acknowledgements allow, so the faults fall in the thick of it. Each is
done with three seeds, which choose the moment, its length and the trips.
"""

from __future__ import annotations

import random
import time

import pytest

from tests.fault.site import SEEDS, SESSIONS, Fleet, Site, pause, seconds
from tests.support.services import Broker
from tests.support.waiting import wait_until
from tracker.embedded import mosquitto

VEHICLES = 16
seeded = pytest.mark.parametrize("seed", SEEDS)


def under_load(site: Site, rng: random.Random, seed: int) -> Fleet:
    """A fleet in full drive, some hundred records into its trips."""
    fleet = site.fleet(VEHICLES, seed)
    fleet.start(site.broker)
    fleet.wait_acked(rng.randint(200, 900))
    return fleet


def finished(site: Site, fleet: Fleet) -> None:
    fleet.come_home()
    assert fleet.made > 1500
    site.assert_stored_once(fleet)


@seeded
def test_one_of_two_workers_is_killed(site: Site, seed: int) -> None:
    rng = random.Random(seed)
    workers = site.ingesting(2)
    fleet = under_load(site, rng, seed)
    killed_s = time.monotonic()
    workers[rng.randrange(2)].kill()
    site.wait_serving(1)
    assert time.monotonic() - killed_s < 10, "the other took over too late"
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
