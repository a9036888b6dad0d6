"""Judging that is killed in the middle leaves nothing behind: judged later, and told once."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fault.site import SEEDS, Site
from tests.support.seed import SeededDelivery, World, at, record
from tests.support.waiting import wait_until

DELIVERIES = 25


@pytest.fixture
def world(site: Site) -> Iterator[World]:
    made = World(site.dsn)
    yield made
    made.close()


def crooked(rng: random.Random) -> list[dict[str, Any]]:
    """Off the route and back, and a cut rope."""
    off, cut = rng.randint(10, 30), rng.randint(50, 80)
    records = []
    for n in range(1, 100):
        lat = 43.56 if off <= n < off + 12 else 43.5
        more: dict[str, Any] = {"seal": {"rope": "cut"}} if n == cut else {}
        records.append(record(n, at(n), 76.0 + n * 0.008, lat, **more))
    return records


def told(site: Site, delivery: SeededDelivery) -> tuple[Any, ...]:
    """What stands of a delivery: anomalies, alerts with their counts, events on the stream."""
    anomalies = site.rows(
        "SELECT code, start_at, end_at, status FROM anomalies WHERE delivery_id = %s ORDER BY 1, 2",
        delivery.id,
    )
    alerts = site.rows(
        "SELECT code, status, count FROM alerts WHERE delivery_id = %s ORDER BY 1", delivery.id
    )
    return anomalies, alerts


def unsettled(site: Site) -> int:
    (row,) = site.rows("SELECT count(*) FROM dirty")
    return int(row[0])


@pytest.mark.parametrize("seed", SEEDS)
def test_the_evaluator_is_killed_in_the_middle_of_a_batch(
    site: Site, world: World, seed: int
) -> None:
    rng = random.Random(seed)
    route = world.route()
    trips = []
    for _ in range(DELIVERIES):
        device = world.device()
        trips.append((world.delivery([device], route_id=route), device, crooked(rng)))
    for _, device, records in trips:
        world.store([world.message(device, r) for r in records])
    for _ in range(3):
        evaluator = site.worker("evaluate", EVALUATE_BATCH=str(rng.choice((5, 10, 40))))
        before = unsettled(site)
        wait_until(lambda: in_the_middle(site), 30, "a judging transaction")
        evaluator.kill()
        assert before > 0
        if not unsettled(site):
            break
    evaluator = site.worker("evaluate")
    wait_until(lambda: unsettled(site) == 0, 60, "everything to be settled")
    killed = [told(site, delivery) for delivery, _, _ in trips]
    evaluator.end()

    twins = []
    for _, _, records in trips:
        device = world.device()
        twin = world.delivery([device], route_id=route)
        world.store([world.message(device, r) for r in records])
        twins.append(twin)
    undisturbed = site.worker("evaluate")
    wait_until(lambda: unsettled(site) == 0, 60, "the twins to be settled")
    undisturbed.end()
    assert all(anomalies and alerts for anomalies, alerts in killed)
    assert killed == [told(site, twin) for twin in twins]
    twice = site.rows(
        "SELECT delivery_id, payload->>'id', kind, count(*) FROM outbox"
        " WHERE kind = 'alert' GROUP BY 1, 2, 3 HAVING count(*) > 1"
    )
    assert twice == []


def in_the_middle(site: Site) -> bool:
    """Whether a judging transaction has written something and is not committed."""
    rows = site.rows(
        "SELECT 1 FROM pg_stat_activity WHERE application_name = 'tracker-evaluate'"
        " AND datname = current_database() AND backend_xid IS NOT NULL"
    )
    return bool(rows)
