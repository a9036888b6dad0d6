"""``late_risk`` and ``non_arrival`` through the real database."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.support.seed import START, World, at, record
from tracker.db.lanes import lane_histories

LENGTH_H = 2.0
"""The seeded route is some 162 km: just under two hours at legal speed."""


def found(world: World, delivery: object, code: str) -> list[dict[str, object]]:
    return [a for a in world.anomalies(delivery) if a["code"] == code]  # type: ignore[arg-type]


def test_a_delivery_without_a_word_is_at_risk_then_missing(world: World) -> None:
    gps = world.device()
    late = world.delivery([gps], deadline=START + timedelta(hours=4))
    world.store([world.message(gps, record(1, at(-60), 76.0, 43.5))])
    world.conn.execute("INSERT INTO dirty (delivery_id) VALUES (%s)", (late.id,))

    world.judge(now=START + timedelta(hours=1))
    assert found(world, late, "late_risk") == []
    (clock,) = world.conn.execute(
        "SELECT next_clock_at FROM delivery_state WHERE delivery_id = %s", (late.id,)
    ).fetchone() or (None,)
    assert clock is not None
    assert START + timedelta(hours=2) < clock < START + timedelta(hours=2.5)

    world.conn.execute("INSERT INTO dirty (delivery_id) VALUES (%s)", (late.id,))
    world.judge(now=clock)
    (risk,) = found(world, late, "late_risk")
    assert (risk["start_at"], risk["end_at"], risk["provisional"]) == (clock, None, True)

    world.conn.execute("INSERT INTO dirty (delivery_id) VALUES (%s)", (late.id,))
    world.judge(now=START + timedelta(hours=28))
    (missing,) = found(world, late, "non_arrival")
    assert missing["start_at"] == START + timedelta(hours=28)
    assert missing["severity"] == "critical"


def test_a_record_from_near_the_post_takes_the_risk_back(world: World) -> None:
    gps = world.device()
    late = world.delivery([gps], deadline=START + timedelta(hours=4))
    world.conn.execute("INSERT INTO dirty (delivery_id) VALUES (%s)", (late.id,))
    world.judge(now=START + timedelta(hours=3))
    assert found(world, late, "late_risk") != []
    seen = record(1, at(175), 77.9, 43.68)
    world.store([world.message(gps, seen, received=START + timedelta(hours=3))])
    world.judge(now=START + timedelta(hours=3))
    assert found(world, late, "late_risk") == []


def test_the_history_of_a_lane_is_that_of_the_same_posts_before_the_release(world: World) -> None:
    first = world.delivery([])
    posts = world.conn.execute(
        "SELECT departure_post, destination_post, length_m FROM deliveries d"
        " JOIN routes r ON r.id = d.route_id WHERE d.id = %s",
        (first.id,),
    ).fetchone()
    assert posts is not None
    for hours in (2, 4, 5):
        other = world.delivery([], released=START - timedelta(days=1))
        world.conn.execute(
            "UPDATE deliveries SET departure_post = %s, destination_post = %s,"
            " arrived_at = released_at + make_interval(hours => %s) WHERE id = %s",
            (posts[0], posts[1], hours, other.id),
        )
    after = world.delivery([])
    world.conn.execute(
        "UPDATE deliveries SET departure_post = %s, destination_post = %s,"
        " arrived_at = released_at + interval '1 minute' WHERE id = %s",
        (posts[0], posts[1], after.id),
    )
    histories = lane_histories(world.conn, [first.id])
    assert histories[first.id].deliveries == 3
    assert histories[first.id].median_kmh == pytest.approx(posts[2] / 1000 / 4)
    assert lane_histories(world.conn, []) == {}
