"""``arrival_mismatch``, word by word (contract detection.md)."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace

from tests.unit.detectors.trips import act, at, episodes, findings, place, record, reseal, zone
from tracker.model import Act, ActKind, Observation, PlanPost, Severity

LON, LAT = place(50_000)
POST = PlanPost(code="B", kind="inland", zone="Z-B", lon=LON, lat=LAT)
HERE = [zone("post", "Z-B")]
mismatches = partial(episodes, code="arrival_mismatch", destination=POST)


def arrival(at_s: float, **seals: str) -> Act:
    stated = [{"device_id": name.replace("_", "-"), "state": s} for name, s in seals.items()]
    return act(ActKind.ARRIVAL, at_s, seals=stated)


def kinds(trip: list[Observation], *acts: Act, **more: Any) -> list[str]:
    found = findings(trip, code="arrival_mismatch", destination=POST, acts=acts, **more)
    return [c["kind"] for f in found for c in f.evidence["contradictions"]]


def there(at_s: float = 100) -> Observation:
    return at(at_s, 50_000, zones=HERE)


# ---------------------------------------------------------------- the place


def test_at_the_post_all_is_well() -> None:
    assert mismatches([at(0), there()], acts=[arrival(160)]) == []


def test_before_the_zone_was_entered() -> None:
    trip = [at(0), at(60, 49_000)]
    assert mismatches(trip, acts=[arrival(100)]) == [(100, None)]
    (found,) = findings(trip, code="arrival_mismatch", destination=POST, acts=[arrival(100)])
    assert found.severity is Severity.HIGH
    (contradiction,) = found.evidence["contradictions"]
    assert contradiction["kind"] == "zone_not_entered"
    assert contradiction["distance_m"] == 1000


def test_a_zone_that_was_crossed_between_two_fixes_was_entered() -> None:
    past = at(120, 51_000)
    assert past.fix is not None
    past = replace(past, fix=replace(past.fix, crossed=tuple(HERE)))
    assert kinds([at(0), at(60, 49_000), past], arrival(130)) == []


def test_without_an_arrival_there_is_nothing_to_contradict() -> None:
    assert mismatches([at(0)], acts=[act(ActKind.ARRIVAL_NOTICE, 50)]) == []
    assert mismatches([at(0)], acts=[arrival(100)], cancelled=True) == []


def test_telemetry_without_a_fix_says_nothing_of_the_place() -> None:
    assert mismatches([record(0), record(60)], acts=[arrival(100)]) == []
    assert mismatches([], acts=[arrival(100)], now_s=200) == []


@pytest.mark.parametrize(("gone_m", "elsewhere"), [(5_000, False), (5_100, True)])
def test_gone_again(gone_m: float, elsewhere: bool) -> None:
    trip = [there(0), at(300, 50_000 + gone_m)]
    assert kinds(trip, arrival(310)) == ["elsewhere"] * elsewhere


def test_a_device_that_fell_silent_on_the_road_may_have_come_since() -> None:
    trip = [there(7000), at(3000, 20_000, device="seal-1")]
    devices = ("gps-1", "seal-1")
    # 30 km take 20 minutes at 90 km/h.
    assert kinds(trip, arrival(3000 + 1199), devices=devices) == ["elsewhere"]
    assert kinds(trip, arrival(3000 + 1201), devices=devices) == []


# ---------------------------------------------------------------- the seals


@pytest.mark.parametrize("state", ["intact", "cut"])
@pytest.mark.parametrize("broken", [{"rope": "cut"}, {"case": "open"}])
def test_a_seal_that_is_not_intact(state: str, broken: dict[str, Any]) -> None:
    trip = [there(0), record(60, **broken)]
    assert kinds(trip, arrival(100, gps_1=state)) == ["seal_not_intact"]
    assert kinds(trip, arrival(50, gps_1="intact")) == []
    assert kinds(trip, reseal(80), arrival(100, gps_1="intact"), now_s=99) == []


def test_a_seal_opened_on_the_road() -> None:
    trip = [at(0), record(30, event="unlock_ok"), there(60)]
    assert kinds(trip, arrival(100)) == ["seal_not_intact"]


@pytest.mark.parametrize("state", ["damaged", "broken", "cut", "open", "missing"])
def test_what_the_officer_found_and_the_seal_did_not_say(state: str) -> None:
    assert kinds([there(0)], arrival(100, gps_1=state)) == ["seal_state"]
    assert kinds([there(0)], arrival(100, gps_1="intact")) == []


def test_a_seal_that_is_not_on_the_delivery() -> None:
    assert kinds([there(0)], arrival(100, seal_9="intact")) == ["seal_unknown"]


# ---------------------------------------------------------------- its end


@pytest.mark.parametrize("kind", [ActKind.CONTROL, ActKind.RESEAL, ActKind.CLOSE])
def test_an_officer_who_deals_with_it_ends_it(kind: ActKind) -> None:
    acts = [act(kind, 50), arrival(100), act(kind, 400), act(kind, 500)]
    assert mismatches([at(0)], acts=acts, now_s=600) == [(100, 400)]


def test_other_acts_do_not() -> None:
    ends = {ActKind.CONTROL, ActKind.RESEAL, ActKind.CLOSE}
    others = [act(kind, 400) for kind in ActKind if kind not in ends | {ActKind.ARRIVAL}]
    assert mismatches([at(0)], acts=[arrival(100), *others], now_s=600) == [(100, None)]


def test_every_contradiction_is_named() -> None:
    trip = [at(0), record(60, rope="cut")]
    found = kinds(trip, arrival(100, gps_1="intact", seal_9="missing"))
    assert found == ["zone_not_entered", "seal_not_intact", "seal_unknown"]
