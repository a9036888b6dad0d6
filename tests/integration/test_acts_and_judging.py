"""A person acts on a delivery while it is judged: neither waits for what the other holds."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest

from tests.support.api import ApiWorld
from tests.support.seed import World, record
from tests.support.waiting import PATIENCE_S, wait_until
from tracker.db import findings
from tracker.db.findings import AlertKey, StoredAlert
from tracker.pipeline import judge

LON, LAT = 76.5, 43.5


@pytest.mark.parametrize("late", [False, True], ids=["under way", "becoming overdue"])
def test_an_incident_reported_while_an_alert_is_raised_is_no_deadlock(
    database: str, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    seed, api = World(database), ApiWorld(database)
    api.token()
    now = datetime.now(UTC)
    start = now.replace(microsecond=0) - timedelta(hours=5)
    gps, seal = seed.device(), seed.device("seal")
    delivery = seed.delivery([gps, seal], released=start, deadline=now + timedelta(days=2))

    def store(device: str, minutes: int, lat: float = LAT, **more: Any) -> None:
        body = record(minutes, start + timedelta(minutes=minutes), LON, lat, **more)
        seed.store([seed.message(device, body, received=now)])

    store(gps, 5)
    store(seal, 10, moving=False, seal={"rope": "cut"})
    seed.judge(now=now)
    answers: list[httpx.Response] = []

    def report() -> None:
        body = {"code": 2, "text": "tyre", "at": (start + timedelta(minutes=10)).isoformat()}
        answers.append(api.post(f"/deliveries/{delivery.id}/incidents", body))

    acting = threading.Thread(target=report)
    look = psycopg.connect(database, autocommit=True)

    def act_waits() -> bool:
        waiting = "application_name = 'tracker-api' AND wait_event_type = 'Lock'"
        query = f"SELECT FROM pg_stat_activity WHERE datname = current_database() AND {waiting}"
        return look.execute(query).fetchone() is not None

    alerts_held = findings.unresolved_alerts

    def held_while_a_person_acts(
        conn: psycopg.Connection[Any], ids: Sequence[UUID]
    ) -> dict[AlertKey, StoredAlert]:
        found = alerts_held(conn, ids)
        assert (delivery.id, "seal_cut") in found
        acting.start()
        wait_until(act_waits, 10, "the act to wait for what is held")
        return found

    for minutes in (20, 21, 22):
        store(gps, minutes, LAT + 0.05)
    with monkeypatch.context() as patched:
        patched.setattr(findings, "unresolved_alerts", held_while_a_person_acts)
        with seed.conn.transaction():
            then = now + timedelta(days=3) if late else now
            assert judge(seed.conn, now=then, limit=100) == 1
    acting.join(PATIENCE_S)
    assert [answer.status_code for answer in answers] == [201]
    assert answers[0].json()["noted_alerts"]
    raised = {row["code"] for row in api.get("/alerts", delivery_id=str(delivery.id))["items"]}
    assert "route_deviation" in raised
    look.close()
    api.close()
    seed.close()
