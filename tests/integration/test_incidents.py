"""Incidents against stored telemetry: what agrees, which alerts end, which are left to a person."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.api import ApiWorld
from tests.support.seed import SeededDelivery, World, record

LON, LAT = 76.5, 43.5
DAYS = timedelta(days=1)


class Road:
    """A delivery that was released some hours ago, seen through the API."""

    def __init__(self, database: str) -> None:
        self.seed = World(database)
        self.api = ApiWorld(database)
        now = datetime.now(UTC)
        self.start = now.replace(microsecond=0) - timedelta(hours=5)
        self.gps = self.seed.device()
        self.seal = self.seed.device("seal")
        self.delivery: SeededDelivery = self.seed.delivery(
            [self.gps, self.seal], released=self.start, deadline=now + 2 * DAYS
        )
        self.path = f"/deliveries/{self.delivery.id}"
        self._seq = 0

    def close(self) -> None:
        self.api.close()
        self.seed.close()

    def at(self, minutes: float) -> datetime:
        return self.start + timedelta(minutes=minutes)

    def fix(self, minutes: float, lon: float, lat: float = LAT, **more: Any) -> None:
        self._seq += 1
        device = self.seal if "seal" in more else self.gps
        body = record(self._seq, self.at(minutes), lon, lat, **more)
        self.seed.store([self.seed.message(device, body, received=datetime.now(UTC))])

    def judge(self) -> None:
        self.seed.judge(now=datetime.now(UTC))

    def report(self, minutes: float, **body: Any) -> dict[str, Any]:
        at = self.at(minutes).isoformat()
        answer = self.api.post(f"{self.path}/incidents", {"text": "tyre", "at": at} | body)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def alert(self, code: str) -> dict[str, Any]:
        wanted = {"delivery_id": str(self.delivery.id), "code": code}
        items = self.api.get("/alerts", **wanted)["items"]
        assert len(items) == 1, items
        return dict(items[0])


@pytest.fixture
def road(database: str) -> Iterator[Road]:
    made = Road(database)
    yield made
    made.close()


def test_a_breakdown_that_telemetry_shows_ends_its_alert(road: Road) -> None:
    for minutes in range(0, 61, 5):
        road.fix(minutes, LON, moving=False)
    road.judge()
    assert road.alert("unauthorised_stop")["status"] == "open"

    place = {"type": "Point", "coordinates": [LON, LAT]}
    told = road.report(20, code=5, position=place)
    assert told["agrees"] is True
    assert told["contradictions"] == []
    alert = road.alert("unauthorised_stop")
    assert alert["id"] in told["explained_alerts"]
    assert (alert["status"], alert["finding"]) == ("resolved", "explained")
    assert [line["what"] for line in alert["history"]] == ["raised", "explained"]
    standing = road.api.get(f"{road.path}/anomalies", code="unauthorised_stop")["items"]
    assert [a["status"] for a in standing] == ["open"], "the anomaly itself is never erased"


def test_an_incident_that_telemetry_contradicts_ends_nothing(road: Road) -> None:
    for minutes in range(0, 61, 5):
        road.fix(minutes, LON, moving=False)
    road.judge()
    place = {"type": "Point", "coordinates": [LON + 0.1, LAT]}
    told = road.report(20, code=5, position=place)
    assert told["agrees"] is False
    assert [c["code"] for c in told["contradictions"]] == ["place"]
    assert told["explained_alerts"] == []
    assert road.alert("unauthorised_stop")["status"] == "open"


def test_a_critical_alert_is_left_to_a_person(road: Road) -> None:
    road.fix(10, LON, moving=False, seal={"rope": "cut"})
    road.judge()
    told = road.report(10, code=2)
    assert told["agrees"] is True
    alert = road.alert("seal_cut")
    assert told["noted_alerts"] == [alert["id"]]
    assert (alert["status"], alert["finding"]) == ("open", None)
    assert alert["history"][-1]["what"] == "incident"


def test_what_is_found_later_says_that_it_was_announced(road: Road) -> None:
    road.fix(0, LON)
    road.judge()
    until = road.at(240).isoformat()
    told = road.report(5, code=1, planned={"kind": "detour", "until": until})
    assert told["agrees"] is None
    for minutes in (20, 21, 22):
        road.fix(minutes, LON, LAT + 0.05)
    road.judge()
    alert = road.alert("route_deviation")
    assert alert["status"] == "open"
    assert [line["what"] for line in alert["history"]] == ["raised", "incident"]
    assert "tyre" in alert["history"][-1]["text"]


def test_an_incident_within_the_corridor_is_no_deviation(road: Road) -> None:
    road.fix(0, LON)
    road.fix(5, LON + 0.05)
    road.judge()
    told = road.report(5, code=1)
    assert [c["code"] for c in told["contradictions"]] == ["route"]
    outside = road.report(5, code="5")
    assert [c["code"] for c in outside["contradictions"]] == ["motion"]


def test_alerts_that_it_cannot_explain_are_named(road: Road) -> None:
    stranger = "6f0b7c52-6a53-4a3e-9a41-0a4f8f6f7d11"
    told = road.report(5, code=5, alert_ids=[stranger])
    assert [w["loc"] for w in told["warnings"]] == [["body", "alert_ids", 0]]
