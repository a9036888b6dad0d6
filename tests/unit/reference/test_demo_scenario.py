"""The demo's fleet: the same at every start, and with its news on time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from firmware_sim.build import build_fleet
from firmware_sim.plan import parse_plan
from firmware_sim.vehicle import Mount, Vehicle
from tracker.demo.driving import driving_s
from tracker.demo.fleet import Trip, fleet_plan
from tracker.demo.scenario import Slot, delivery_body, fleet, parse_registration, stamp
from tracker.reference import read_bodies

NOW = datetime(2026, 3, 1, 12, 0, 30, 250_000, tzinfo=UTC)
SLOTS = fleet()
SUBJECTS = {"carriers": ["c0", "c1", "c2"], "declarants": ["d0", "d1"]}
Seen = Callable[[Vehicle, Mount], bool]


def trip(slot: Slot, turn: int = 1) -> Trip:
    return Trip(slot=slot, turn=turn, departed=slot.departure(NOW), delivery_id="x")


def vehicle(slot: Slot) -> Vehicle:
    plan = parse_plan(fleet_plan([trip(slot)]))
    return build_fleet(plan, now=NOW, life=1)[0]


def drive(slot: Slot, until: datetime) -> Iterator[Vehicle]:
    """The lorry at each instant from its departure on, all of its devices stepped."""
    lorry = vehicle(slot)
    while lorry.now_ms < until.timestamp() * 1000:
        lorry.tick()
        yield lorry


def seal(lorry: Vehicle) -> Mount:
    return next(m for m in lorry.mounts if m.device.config.kind == "seal")


def gps(lorry: Vehicle) -> Mount:
    return next(m for m in lorry.mounts if m.device.config.kind == "gps")


#: When each plot's cause is there to be seen, and how long before the wished news.
CAUSES: dict[str, tuple[Callable[[Vehicle, Slot], bool], float]] = {
    "rope_cut": (lambda v, s: seal(v).body.rope == "cut", 0),
    "case_opened": (lambda v, s: seal(v).body.case == "open", 0),
    "battery_death": (lambda v, s: seal(v).body.bat_pct < 15, 0),
    "coverage_gap": (lambda v, s: not gps(v).body.radio, 185),
    "unauthorised_stop": (lambda v, s: not v.truth.moving and v.truth.driven_m > 2000, 1200),
}


def test_the_fleet_is_the_same_at_every_start() -> None:
    assert fleet() == SLOTS
    assert 38 <= len(SLOTS) <= 45
    assert [slot.number for slot in SLOTS] == list(range(1, len(SLOTS) + 1))
    assert sum(slot.plot == "honest" for slot in SLOTS) > len(SLOTS) / 2
    assert {slot.plot for slot in SLOTS} >= {*CAUSES, "diversion", "late", "honest"}
    assert {slot.lane.code for slot in SLOTS} == {route["code"] for route in read_bodies("routes")}


def test_lorries_and_devices_are_unique_and_alternate() -> None:
    lorries = [slot.lorry(turn) for slot in SLOTS for turn in (1, 2)]
    for field in ("plate", "gps", "seal"):
        assert len({getattr(lorry, field) for lorry in lorries}) == len(lorries)
    assert SLOTS[0].lorry(1) == SLOTS[0].lorry(3) != SLOTS[0].lorry(2)


def test_news_comes_within_a_minute_and_then_every_two() -> None:
    times = sorted(slot.plot_after_s for slot in SLOTS if slot.plot != "honest")
    assert times[0] <= 60
    assert all(b - a <= 150 for a, b in itertools.pairwise(times))


@pytest.mark.parametrize("slot", SLOTS, ids=lambda s: str(s.number))
def test_a_body_fits_the_contract(slot: Slot) -> None:
    departed = slot.departure(NOW)
    assert departed < NOW
    assert NOW - departed < timedelta(hours=12)
    body = delivery_body(slot, 3, departed=departed, now=NOW, **SUBJECTS)
    posts = {post["code"] for post in read_bodies("posts")}
    assert {body["departure_post"], body["destination_post"]} <= posts
    assert parse_registration(body["registration_number"]) == (slot.number, 3)
    assert datetime.fromisoformat(body["deadline"]) > NOW
    assert datetime.fromisoformat(body["scheduled_departure"]) == departed
    for item in body["goods"]:
        assert item["gross_kg"] > 0
        assert isinstance(item["payments_at_stake_kzt"], int)
        assert item["payments_at_stake_kzt"] > 0
    assert 100 < sum(item["gross_kg"] for item in body["goods"]) < 40_000


@pytest.mark.parametrize("number", ["KZ-DEMO-", "KZ-DEMO-01", "KZ-DEMO-x-1", "55302/1", "", "01-1"])
def test_other_registration_numbers_are_left_alone(number: str) -> None:
    assert parse_registration(number) is None


def test_time_stamps_are_utc_with_milliseconds() -> None:
    assert stamp(NOW) == "2026-03-01T12:00:30.250Z"


@pytest.mark.parametrize(
    "slot", [slot for slot in SLOTS if slot.plot in CAUSES], ids=lambda s: f"{s.number}-{s.plot}"
)
def test_the_simulator_plays_a_plot_on_time(slot: Slot) -> None:
    seen, lead_s = CAUSES[slot.plot]
    wished = NOW + timedelta(seconds=slot.plot_after_s - lead_s)
    for lorry in drive(slot, wished + timedelta(minutes=5)):
        if seen(lorry, slot):
            break
    off_s = lorry.now_ms / 1000 - wished.timestamp()
    assert abs(off_s) < 120, f"{off_s:.0f} s off"


@pytest.mark.parametrize(
    "slot", [slot for slot in SLOTS if slot.plot == "honest"][::6], ids=lambda s: s.lane.code
)
def test_the_present_finds_the_honest_where_they_were_wanted(slot: Slot) -> None:
    for lorry in drive(slot, NOW):
        at_m = lorry.truth.driven_m
    assert at_m == pytest.approx(slot.place_m, rel=0.02, abs=3000)


def test_the_plan_of_all_is_accepted_and_the_same_twice() -> None:
    def first_records(plan: dict[str, Any]) -> list[bytes]:
        lorry = build_fleet(parse_plan(plan), now=NOW, life=1)[3]
        for mount in lorry.mounts:
            mount.device.connected(lorry.now_ms)
        sent = (m.payload for _ in range(900) for _, ms in lorry.tick() for m in ms)
        return list(sent)

    trips = [trip(slot) for slot in SLOTS]
    once, again = fleet_plan(trips), fleet_plan(trips)
    assert once == again
    assert first_records(once) == first_records(again) != []


def test_driving_takes_longer_the_farther() -> None:
    points = SLOTS[0].lane.points
    times = [driving_s(points, at_m) for at_m in range(1000, 300_000, 1000)]
    assert times == sorted(times)
    assert times[0] > 1000 / (80 / 3.6)
