"""Alerts whose time passes: the watch passes them on, says so in the history and on the stream."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta

import psycopg
import pytest

from tests.integration.reading_app import app  # noqa: F401 - a fixture
from tests.support.world import World, at, settings_for
from tracker.db.reading import EVERYTHING
from tracker.db.reading_alerts import get_alert
from tracker.watch import Watch


@pytest.fixture
def world(database: str) -> Iterator[World]:
    made = World(database)
    yield made
    made.conn.close()


def tick(world: World, now: datetime, to: str = "monitor,admin") -> None:
    watch = Watch(settings_for(world.dsn, escalate_to=to), threading.Event())
    with psycopg.connect(world.dsn, autocommit=True) as conn:
        watch.tick(conn, now)


def test_an_alert_is_passed_on_when_its_time_passes_and_again_later(world: World) -> None:
    alert = world.alert(world.delivery(), "seal_cut", "critical")
    due_at = world.conn.execute("SELECT due_at FROM alerts WHERE id = %s", (alert,)).fetchone()
    assert due_at is not None
    due = due_at[0]
    norm = timedelta(minutes=5)

    tick(world, due - timedelta(seconds=1))
    assert get_alert(world.conn, EVERYTHING, alert)["escalation"] == 0
    tick(world, due)
    shown = get_alert(world.conn, EVERYTHING, alert)
    assert (shown["escalation"], shown["escalated_to"]) == (1, "monitor")
    assert shown["history"][-1]["what"] == "escalated"
    tick(world, due + timedelta(seconds=1))
    assert len(get_alert(world.conn, EVERYTHING, alert)["history"]) == len(shown["history"])
    tick(world, due + norm)
    assert get_alert(world.conn, EVERYTHING, alert)["escalated_to"] == "admin"
    tick(world, due + 9 * norm)
    assert get_alert(world.conn, EVERYTHING, alert)["escalation"] == 2

    told = world.conn.execute(
        "SELECT payload ->> 'escalation', payload ? 'rank' FROM outbox"
        " WHERE kind = 'alert' ORDER BY id"
    ).fetchall()
    assert told == [("1", False), ("2", False)]


def test_what_somebody_is_at_or_has_an_end_waits(world: World) -> None:
    taken = world.alert(world.delivery(), "seal_cut", "critical", status="acknowledged")
    done = world.alert(world.delivery(), "seal_cut", "critical", status="resolved")
    world.conn.execute("UPDATE alerts SET due_at = %s", (at(0),))
    tick(world, at(299))
    assert get_alert(world.conn, EVERYTHING, taken)["escalation"] == 0
    tick(world, at(300))
    assert get_alert(world.conn, EVERYTHING, taken)["escalation"] == 1
    assert get_alert(world.conn, EVERYTHING, done)["escalation"] == 0


def test_with_nobody_above_nothing_is_passed_on(world: World) -> None:
    alert = world.alert(world.delivery(), "silence")
    tick(world, at(10**7), to="")
    assert get_alert(world.conn, EVERYTHING, alert)["escalation"] == 0
