"""Data and places that come late, devices that change deliveries, deadlines (detection.md)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.customs import Customs, names, rfc3339
from tests.support.drives import (
    LAT,
    LON,
    Trips,
    Wire,
    beside,
    drive,
    east,
    joined,
    north,
    rec,
    square,
    still,
    when,
)
from tests.support.mqtt_device import MqttDevice
from tests.support.stack import Stack
from tests.support.waiting import wait_until

D, S, Q = "route_deviation", "unauthorised_stop", "silence"
AWAY = beside((0, 0), (60, 1200), (120, 1200), (180, 0), (240, 0))


@pytest.fixture(scope="module")
def trips(stack: Stack) -> Trips:
    """What the tests share; places are apart from those of other files' trips."""
    return Trips(Customs(stack, "late"))


def zone(trips: Trips, name: str, along_m: float, **more: Any) -> None:
    """A parking place on the line."""
    body = {
        "code": trips.customs.code(name),
        "name": names(name),
        "kind": "parking",
        "geometry": {"type": "Polygon", "coordinates": [square(along_m)]},
    }
    trips.customs.post("/zones", body | more)


def stopping(along_m: float) -> list[Wire]:
    """18 minutes parked at a place on the line."""
    arriving = [rec(1, 0, along_m - 3000), rec(1, 60, along_m - 2000)]
    leaving = drive(1260, 1400, from_m=along_m + 1000)
    return joined(arriving, still(120, 1200, along_m=along_m), leaving)


@pytest.mark.parametrize("kind", ["post", "border", "parking", "rest", "fuel", "terminal"])
def test_a_stop_in_a_zone_for_it_is_none(trips: Trips, kind: str) -> None:
    along_m = 20_000 + 1000 * ["post", "border", "parking", "rest", "fuel", "terminal"].index(kind)
    zone(trips, kind, along_m, kind=kind, max_dwell_s=600)
    assert trips.found(trips.played(f"in-{kind}", stopping(along_m)), {"overstay"}) == []


@pytest.mark.parametrize(("kind", "along_m"), [("restricted", 30_000), ("territory", 32_000)])
def test_a_stop_in_another_zone_is_one(trips: Trips, kind: str, along_m: float) -> None:
    zone(trips, kind, along_m, kind=kind)
    assert (S, 120, 1200, "medium") in trips.found(trips.played(f"in-{kind}", stopping(along_m)))


def test_a_zone_counts_while_it_is_valid(trips: Trips) -> None:
    zone(trips, "expired", 44_000, valid_to=when(-100))
    assert trips.spans(trips.played("expired", stopping(44_000))) == [(S, 120, 1200)]
    zone(trips, "valid", 46_000, valid_from=when(-100), valid_to=when(9000))
    assert trips.found(trips.played("valid", stopping(46_000))) == []
    zone(trips, "to-come", 48_000, valid_from=when(1100))
    assert trips.spans(trips.played("to-come", stopping(48_000))) == [(S, 120, 1200)]


def test_half_of_the_fixes_in_a_zone_are_enough(trips: Trips) -> None:
    s, n = north(59_500), north(60_500)
    west, line = east(-500, s), LON
    ring = [(west, s), (line, s), (line, n), (west, n), (west, s)]
    zone(trips, "half", 0, geometry={"type": "Polygon", "coordinates": [ring]})

    def parked(inside: int, outside: int) -> list[Wire]:
        places = [-50] * inside + [50] * outside
        stop = [
            rec(1, 120 + i * 120, 60_000, off, mot={"mov": False}) for i, off in enumerate(places)
        ]
        arriving = [rec(1, 0, 57_000), rec(1, 60, 58_000)]
        return joined(arriving, stop, drive(1320, 1380, from_m=62_000))

    assert trips.found(trips.played("half", parked(5, 5))) == []
    assert [f[0] for f in trips.found(trips.played("less", parked(4, 6)))] == [S]


def test_a_place_made_later_explains_a_stop(trips: Trips) -> None:
    by_zone = trips.played("by-zone", stopping(36_000))
    by_post = trips.played("by-post", stopping(40_000))
    for delivery in (by_zone, by_post):
        assert trips.spans(delivery) == [(S, 120, 1200)]
    zone(trips, "made-later", 36_000)
    trips.customs.place("made-later", (LON, north(40_000)))
    for delivery in (by_zone, by_post):
        wait_until(lambda d=delivery: trips.found(d) == [], 60, "the stop is taken back")  # type: ignore[misc]
        (alert,) = [
            a for a in trips.customs.get("/alerts", delivery_id=delivery)["items"] if a["code"] == S
        ]
        assert alert["status"] == "retracted"
        assert "was: " in alert["history"][-1]["text"]


def test_a_backlog_tells_what_a_silence_was(trips: Trips) -> None:
    leaving = drive(2040, 2400, from_m=12_000)
    whole = joined(drive(0, 600), still(660, 1980, along_m=11_000), leaving)
    device = trips.customs.device("backlog", "gps")
    delivery = trips.declare("backlog", [device])
    trips.publish(device, "gps", [whole[:8] + whole[36:]])
    assert trips.spans(delivery) == [(Q, 420, 2160)]
    trips.publish(device, "gps", [[r | {"hist": True} for r in reversed(whole[8:36])]])
    assert trips.spans(delivery) == [(S, 660, 1980)]
    alerts = trips.customs.get("/alerts", delivery_id=delivery, code=Q)["items"]
    told = " ".join(line["text"] for alert in alerts for line in alert["history"])
    assert "was: silence" in told
    assert "now: unauthorised_stop" in told


def test_records_that_came_before_the_paper_are_judged(trips: Trips) -> None:
    device = trips.customs.device("early", "gps")
    trips.publish(device, "gps", [AWAY])
    delivery = trips.declare("early", [device], release_s=None)
    assert trips.found(delivery) == []
    trips.release(delivery, 0)
    assert trips.spans(delivery) == [(D, 60, 180)]
    shown = trips.customs.get(f"/deliveries/{delivery}")
    assert (shown["status"], shown["last_position"]["device_id"]) == ("in_transit", device)


def test_an_arrival_told_late_takes_back_what_came_after(trips: Trips) -> None:
    steady = beside((0, 0), (60, 0), (150, 0), (240, 0))
    later = beside((300, 3000), (360, 3000), (420, 0), (480, 0))
    delivery = trips.played("arrived", joined(steady, later))
    assert trips.spans(delivery) == [(D, 300, 420)]
    trips.arrive(delivery, 250)
    # On paper it has arrived; telemetry never saw it near the post.
    assert trips.spans(delivery) == [("arrival_mismatch", 250, None)]
    assert len(trips.customs.anomalies(delivery)) == 1


def test_a_device_goes_from_one_delivery_to_the_next(trips: Trips) -> None:
    device = trips.customs.device("twice", "gps")
    first = trips.declare("first", [device])
    back = [(180, 0), (240, 0), (300, 0), (360, 0), (420, 1300), (480, 1300), (540, 0), (600, 0)]
    trips.publish(device, "gps", [beside((0, 0), (60, 1200), (120, 1200), *back)])
    trips.arrive(first, 270)
    second = trips.declare("second", [device], release_s=None)
    early = trips.customs.http.post(f"/api/v1/deliveries/{second}/release", json={"at": when(200)})
    assert early.status_code == 409
    trips.release(second, 330)
    assert trips.spans(first) == [("arrival_mismatch", 270, None), (D, 60, 180)]
    assert trips.spans(second) == [(D, 420, 540)]


def test_a_seal_and_a_vehicle_are_judged_each_for_itself(trips: Trips) -> None:
    seal, gps = (trips.customs.device(f"pair-{kind}", kind) for kind in ("seal", "gps"))
    delivery = trips.declare("pair", [seal, gps])
    path = [(0, 0), (300, 1200), (600, 1200), (900, 0), (1000, 0)]
    trips.publish(seal, "seal", [beside(*path)])
    trips.publish(gps, "gps", [drive(0, 900)])
    assert trips.spans(delivery) == [(D, 300, 900), ("separation", 0, None)]
    found = trips.customs.anomalies(delivery)
    assert [a["device_id"] for a in found if a["code"] == D] == [seal]
    assert sorted(a["device_id"] for a in found if a["code"] == Q) == sorted([seal, gps])
    (alert,) = trips.customs.get("/alerts", delivery_id=delivery, code=Q)["items"]
    assert alert["count"] == 2


def test_a_wiped_store_goes_on_in_the_next_generation(trips: Trips) -> None:
    device = trips.customs.device("wiped", "gps")
    delivery = trips.declare("wiped", [device])
    trips.publish(device, "gps", [AWAY])
    again = beside((300, 1200), (360, 1200), (420, 0), (480, 0))
    with MqttDevice(trips.customs.stack, device, "gps") as connected:
        connected.send([r | {"gen": 1} for r in again])
        connected.born(gen=1, conn=2)
        connected.ack(gen=1, upto=4)
    assert trips.spans(delivery) == [(D, 60, 180), (D, 300, 420)]


def test_a_route_that_retraces_itself_keeps_its_progress(trips: Trips) -> None:
    line = [(LON, LAT), (LON, LAT + 0.1), (LON, LAT)]
    legs = [
        {"from_m": 0, "to_m": 11_110, "corridor_m": 2000},
        {"from_m": 11_110, "to_m": 22_220, "corridor_m": 200},
    ]
    out = [rec(1, i * 60, i * 1000, 300) for i in range(11)]
    home = [rec(1, i * 60, 22_220 - i * 1000, 300 * (15 <= i <= 17)) for i in range(12, 22)]
    route = trips.route(line, legs=legs)
    delivery = trips.played("retrace", joined(out, home), route=route)
    assert trips.spans(delivery) == [(D, 900, 1080)]


def test_a_new_episode_after_a_resolved_alert_is_a_new_alert(trips: Trips) -> None:
    device = trips.customs.device("again", "gps")
    delivery = trips.declare("again", [device])
    trips.publish(device, "gps", [AWAY])
    trips.customs.settle(delivery)
    (first,) = trips.customs.get("/alerts", delivery_id=delivery, code=D)["items"]
    trips.customs.post(f"/alerts/{first['id']}/resolve", {"finding": "confirmed", "text": "seen"})
    more = beside((300, 1200), (360, 1200), (420, 0), (480, 0))
    trips.publish(device, "gps", [[r | {"seq": r["seq"] + 5} for r in more]])
    assert len(trips.found(delivery)) == 2
    alerts = trips.customs.get("/alerts", delivery_id=delivery, code=D)["items"]
    assert sorted((a["status"], a["count"]) for a in alerts) == [("open", 1), ("resolved", 1)]
    assert len({tuple(a["anomaly_ids"]) for a in alerts}) == 2


def test_overdue_runs_from_the_deadline_to_the_arrival(trips: Trips) -> None:
    deadline = (datetime.now(UTC) + timedelta(seconds=3)).replace(microsecond=0)
    ids = [trips.declare(f"due{n}", [], deadline=rfc3339(deadline), release_s=0) for n in range(2)]

    def overdue(id_: str) -> list[tuple[str, str | None, str]]:
        return [
            (a["start"], a["end"], a["status"])
            for a in trips.customs.anomalies(id_)
            if a["code"] == "overdue"
        ]

    for id_ in ids:
        wait_until(lambda i=id_: overdue(i), 60, "it is overdue")  # type: ignore[misc]
        assert overdue(id_) == [(rfc3339(deadline), None, "open")]
        assert trips.customs.get(f"/deliveries/{id_}")["status"] == "overdue"
    in_time, late = deadline - timedelta(seconds=1), deadline + timedelta(milliseconds=500)
    for id_, arrived in zip(ids, (in_time, late), strict=True):
        body = {"seals": [], "at": rfc3339(arrived)}
        trips.customs.post(f"/deliveries/{id_}/arrival", body)
        trips.customs.settle(id_)
    assert overdue(ids[0]) == []
    assert overdue(ids[1]) == [(rfc3339(deadline), rfc3339(late), "closed")]
