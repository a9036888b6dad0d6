"""Judging that is killed in the middle leaves nothing behind: judged later, and told once."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import partial
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.fault.site import SEEDS, Site
from tests.support.seed import SeededDelivery, World, at, record
from tests.support.waiting import wait_until

DELIVERIES = 25
WAIT_S = 60.0
STEPS = ("dirty", "anomalies", "alerts", "risk_assessments", "outbox")
"""What a judging transaction writes, in its order: where it can be killed."""


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
    for first in (True, False, False):
        batch, step = rng.choice((5, 10, 40)), rng.choice(STEPS)
        with psycopg.connect(site.dsn) as held_up:
            if first:
                hold_up(held_up, step)
            before = events(site)
            evaluator = site.worker("evaluate", EVALUATE_BATCH=str(batch))
            if not first:
                wait_until(partial(goes_on, site, before), WAIT_S, "a batch to be committed")
                hold_up(held_up, step)
            wait_until(lambda: in_the_middle(site) or not unsettled(site), WAIT_S, "a transaction")
            assert not first or in_the_middle(site)
            evaluator.kill()
        wait_until(lambda: not sessions(site), WAIT_S, "the dead one's sessions to end")
        if not unsettled(site):
            break
    evaluator = site.worker("evaluate")
    wait_until(lambda: unsettled(site) == 0, WAIT_S, "everything to be settled")
    killed = [told(site, delivery) for delivery, _, _ in trips]
    evaluator.end()

    twins = []
    for _, _, records in trips:
        device = world.device()
        twin = world.delivery([device], route_id=route)
        world.store([world.message(device, r) for r in records])
        twins.append(twin)
    undisturbed = site.worker("evaluate")
    wait_until(lambda: unsettled(site) == 0, WAIT_S, "the twins to be settled")
    undisturbed.end()
    assert all(anomalies and alerts for anomalies, alerts in killed)
    assert killed == [told(site, twin) for twin in twins]
    twice = site.rows(
        "SELECT delivery_id, payload->>'id', kind, count(*) FROM outbox"
        " WHERE kind = 'alert' GROUP BY 1, 2, 3 HAVING count(*) > 1"
    )
    assert twice == []


def events(site: Site) -> int:
    """How much has been told on the stream."""
    (row,) = site.rows("SELECT count(*) FROM outbox")
    return int(row[0])


def goes_on(site: Site, before: int) -> bool:
    """Whether more has been told by now, or all there is."""
    return events(site) > before or not unsettled(site)


def hold_up(conn: psycopg.Connection[Any], table: str) -> None:
    """Let nobody write to a table while this transaction lasts: who would stands still there."""
    conn.execute(sql.SQL("LOCK TABLE {} IN EXCLUSIVE MODE").format(sql.Identifier(table)))


def sessions(site: Site) -> list[tuple[Any, ...]]:
    """The evaluators' sessions: whether each is held up in a transaction that has written."""
    return site.rows(
        "SELECT backend_xid IS NOT NULL AND wait_event_type = 'Lock' FROM pg_stat_activity"
        " WHERE application_name = 'tracker-evaluate' AND datname = current_database()"
    )


def in_the_middle(site: Site) -> bool:
    """Whether a judging transaction is held up when it has written something."""
    return (True,) in sessions(site)
