"""`identity_conflict`: refused messages, a device on two deliveries, a device in two places."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from tracker.detectors.identity import (
    Sighting,
    device_on_two,
    identity_clock_ms,
    identity_conflicts,
    two_places,
)
from tracker.detectors.limits import Limits
from tracker.model import BoundDevice, DeliveryPlan, OtherBinding, Periods, Refusal

MINUTE = 60_000
T0 = 1_772_431_200_000
ALMATY = (76.9, 43.25)
ASTANA = (71.4, 51.1)
KHORGOS = (80.4, 44.2)


def at(minute: float) -> int:
    return T0 + round(minute * MINUTE)


def bound(device: str = "S", since: float = 0, until: float | None = None) -> BoundDevice:
    return BoundDevice(
        id=device,
        kind="seal",
        periods=Periods(moving_s=300, parked_s=1800),
        from_ms=at(since),
        to_ms=None if until is None else at(until),
    )


def plan(*devices: BoundDevice) -> DeliveryPlan:
    return DeliveryPlan(
        id="D",
        deadline_ms=at(10_000),
        released_ms=at(0),
        arrived_ms=None,
        devices=devices or (bound(),),
    )


def refusal(
    minute: float, *, reason: str = "mac_wrong", device: str = "S", count: int = 1
) -> Refusal:
    when = at(minute)
    return Refusal(
        device=device,
        reason=reason,
        first_ms=when,
        last_ms=when,
        count=count,
        from_ms=when,
        to_ms=when,
        topics=("cts/v1/00/seal/S/tlm",),
        quarantine_ids=(round(minute * 10),),
    )


# ---------------------------------------------------------------- refused messages


def test_one_refusal_is_open_for_ten_minutes_and_then_over() -> None:
    only = [refusal(5)]
    (young,) = identity_conflicts(only, plan(), at(15))
    assert (young.code, young.severity, young.basis) == ("identity_conflict", "critical", "fleet")
    assert (young.start_ms, young.end_ms, young.device) == (at(5), None, "S")
    (over,) = identity_conflicts(only, plan(), at(15) + 1)
    assert (over.start_ms, over.end_ms) == (at(5), at(5))
    assert identity_clock_ms(only, plan(), at(6)) == at(15) + 1
    assert identity_clock_ms(only, plan(), at(15) + 1) is None


def test_the_evidence_says_what_how_often_when_and_where() -> None:
    second = replace(refusal(9, count=3), topics=("cts/v1/00/seal/S/evt",))
    (found,) = identity_conflicts([second, refusal(5)], plan(), at(10))
    assert found.evidence == {
        "case": "refused",
        "reason": "mac_wrong",
        "count": 4,
        "first_received_ms": at(5),
        "last_received_ms": at(9),
        "topics": ["cts/v1/00/seal/S/tlm", "cts/v1/00/seal/S/evt"],
        "quarantine_ids": [50, 90],
    }


def test_a_second_body_names_the_record_that_it_contradicts() -> None:
    conflict = replace(
        refusal(5, reason="identity_conflict"), identities=((3, 17), (3, 18)), from_ms=at(1)
    )
    (found,) = identity_conflicts([conflict], plan(), at(6))
    assert (found.evidence["gen"], found.evidence["seq"]) == (3, 17)
    assert found.evidence["identities"] == [{"gen": 3, "seq": 17}, {"gen": 3, "seq": 18}]
    assert found.found_by is not None
    assert (found.found_by.gen, found.found_by.seq) == (3, 17)


@pytest.mark.parametrize(("gap", "episodes"), [(9.9, 1), (10, 1), (10.1, 2)])
def test_ten_quiet_minutes_make_a_new_episode(gap: float, episodes: int) -> None:
    found = identity_conflicts([refusal(5), refusal(5 + gap)], plan(), at(60))
    assert len(found) == episodes


def test_how_long_it_must_be_quiet_is_a_threshold() -> None:
    refused, hour = [refusal(5), refusal(50)], Limits(identity_quiet_s=3600)
    assert len(identity_conflicts(refused, plan(), at(60))) == 2
    (one,) = identity_conflicts(refused, plan(), at(60), hour)
    assert (one.start_ms, one.end_ms, one.evidence["count"]) == (at(5), None, 2)
    assert identity_clock_ms(refused, plan(), at(60), hour) == at(110) + 1


def test_reasons_and_devices_are_told_apart() -> None:
    two = plan(bound("S"), bound("G"))
    refused = [
        refusal(5),
        refusal(5, reason="mac_missing"),
        refusal(6, device="G"),
        refusal(6, device="X"),
    ]
    found = identity_conflicts(refused, two, at(7))
    assert [(f.device, f.evidence["reason"]) for f in found] == [
        ("S", "mac_missing"),
        ("S", "mac_wrong"),
        ("G", "mac_wrong"),
    ]


@pytest.mark.parametrize(
    ("minute", "counts"), [(-1, False), (0, True), (59.9, True), (60, True), (61, False)]
)
def test_only_what_falls_into_the_binding_counts(minute: float, counts: bool) -> None:
    during = plan(bound(until=60))
    assert bool(identity_conflicts([refusal(minute)], during, at(70))) is counts
    assert bool(identity_clock_ms([refusal(minute)], during, at(minute))) is counts


def test_a_second_body_belongs_where_the_first_record_stands() -> None:
    late = replace(refusal(200, reason="identity_conflict"), from_ms=at(30), to_ms=at(30))
    assert len(identity_conflicts([late], plan(bound(until=60)), at(201))) == 1
    assert identity_conflicts([late], plan(bound(since=100)), at(201)) == ()


# ---------------------------------------------------------------- two deliveries


def other(since: float, until: float | None = None, device: str = "S") -> OtherBinding:
    return OtherBinding(
        device=device,
        delivery="E",
        from_ms=at(since),
        to_ms=None if until is None else at(until),
    )


@pytest.mark.parametrize(
    ("own", "its", "span"),
    [
        ((0, None), (30, None), (30, None)),
        ((0, 60), (30, None), (30, 60)),
        ((0, 60), (-5, 10), (0, 10)),
        ((0, 60), (60, None), None),
        ((60, None), (0, 60), None),
        ((0, 10), (20, 30), None),
    ],
)
def test_a_device_on_two_deliveries(
    own: tuple[float, float | None],
    its: tuple[float, float | None],
    span: tuple[float, float | None] | None,
) -> None:
    found = device_on_two([other(*its)], plan(bound("S", *own)))
    if span is None:
        assert found == ()
        return
    (one,) = found
    end_ms = None if span[1] is None else at(span[1])
    assert (one.start_ms, one.end_ms) == (at(span[0]), end_ms)
    assert one.evidence == {"case": "two_deliveries", "other_delivery": "E"}


def test_its_own_binding_and_other_devices_are_no_conflict() -> None:
    own = replace(other(0), delivery="D")
    assert device_on_two([own, other(0, device="X")], plan()) == ()


# ---------------------------------------------------------------- two places


def seen(minute: float, where: tuple[float, float], seq: int = 1) -> Sighting:
    return Sighting(
        device="S", gen=0, seq=seq, fix_ms=at(minute), lon=where[0], lat=where[1], acc_m=15
    )


def sightings(places: Sequence[tuple[float, float]]) -> list[Sighting]:
    return [seen(n, where, n + 1) for n, where in enumerate(places)]


def test_a_device_that_alternates_between_two_towns_is_in_two_places() -> None:
    found = two_places(sightings([ALMATY, ASTANA, ALMATY, ASTANA, ASTANA]))
    (one,) = found
    assert (one.start_ms, one.end_ms) == (at(1), None)
    assert one.evidence["case"] == "two_places"
    assert one.evidence["switches"] == 3
    assert one.evidence["apart_m"] == pytest.approx(967_000, rel=0.02)
    assert one.evidence["places"] == [list(ALMATY), list(ASTANA)]
    assert one.evidence["fastest_kmh"] > 50_000


@pytest.mark.parametrize(
    "places",
    [
        [ALMATY, ALMATY, ASTANA, ASTANA, ASTANA],
        [ALMATY, ALMATY, ASTANA, ALMATY, ALMATY],
        [ALMATY, ASTANA, KHORGOS, ALMATY, ASTANA],
        [ALMATY],
        [],
    ],
    ids=["jump", "outlier", "wanderer", "one", "none"],
)
def test_a_jump_an_outlier_or_a_wanderer_is_not(places: list[tuple[float, float]]) -> None:
    assert two_places(sightings(places)) == ()


def test_it_is_over_once_one_vehicle_could_have_done_it() -> None:
    quick = sightings([ALMATY, ASTANA, ALMATY, ASTANA])
    hours = [seen(3 + n * 60, ASTANA, 10 + n) for n in range(1, 7)]
    (one,) = two_places(quick + hours)
    # 967 km at 200 km/h are 4.8 h: from then on it may have driven from the one to the other.
    assert (one.start_ms, one.end_ms) == (at(1), at(3))


def test_a_third_place_ends_it_and_may_begin_another() -> None:
    a, b, c = ALMATY, ASTANA, KHORGOS
    found = two_places(sightings([a, b, a, b, c, b, c, b]))
    assert [(f.start_ms, f.end_ms) for f in found] == [(at(1), at(3)), (at(4), None)]


def test_the_same_moment_at_two_places_counts_as_well() -> None:
    pairs = [seen(n, where, n) for n in range(1, 4) for where in (ALMATY, ASTANA)]
    assert len(two_places(pairs)) == 1


def test_slow_movement_within_accuracy_is_one_place() -> None:
    near = (ALMATY[0] + 0.0001, ALMATY[1])
    assert two_places(sightings([ALMATY, near] * 10)) == ()


def test_the_number_of_switches_is_a_threshold() -> None:
    places = [ALMATY, ASTANA, ALMATY, ASTANA]
    assert two_places(sightings(places), Limits(two_places_switches=4)) == ()
    assert len(two_places(sightings([*places, ALMATY]), Limits(two_places_switches=4))) == 1
