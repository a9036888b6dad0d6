"""Ground truth: what it says, that it is JSON, and that it agrees with the wire."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_sim.plots import PLOTS, STORIES
from firmware_sim.truth import CODES, Expect, Expectation, Happening, truth_lines
from tests.unit.firmware_sim.sims import Played, play, trip_of

#: Behaviours that show as an event of a device at the very time of their happening.
EVENTS = {
    "rope_cut": "rope_cut",
    "case_open": "case_open",
    "power_cut": "ext_cut",
    "motor_stuck": "motor_fault",
    "selftest_fail": "selftest_fail",
    "illegal_card": "card_illegal",
    "wrong_pins": "pin_wrong",
    "contact_bounce": "rope_cut",
}


def lines(played: Played) -> list[dict[str, Any]]:
    return [json.loads(line) for line in truth_lines(played.vehicle)]


@pytest.mark.parametrize("name", PLOTS)
def test_the_truth_of_a_trip_is_json_lines_and_ends_with_the_delivery(name: str) -> None:
    played = trip_of(name)
    *others, delivery = lines(played)
    assert delivery["type"] == "delivery"
    assert delivery["plots"] == [name]
    assert delivery["start_ms"] == played.vehicle.start_ms
    assert delivery["end_ms"] == played.vehicle.now_ms
    assert delivery["goods_gone"] <= delivery["nondelivery"]
    assert delivery["nondelivery"] <= (not delivery["honest"])
    assert delivery["nondelivery"] <= delivery["rank_high"]
    for line in others:
        assert line["type"] in ("happening", "act")
        if line["type"] == "happening":
            assert delivery["start_ms"] <= line["start_ms"] <= line["end_ms"] <= delivery["end_ms"]
            assert {e["code"] for e in line["expects"]} <= CODES
            assert not set(line["must"]) & set(line["must_not"])
            assert set(line["device_ids"]) <= {"s1", "s2", "g1"}
            assert line["place"]


@pytest.mark.parametrize("name", PLOTS)
def test_no_truth_contradicts_another_of_the_same_trip(name: str) -> None:
    expects = [e for h in trip_of(name).vehicle.happenings for e in h.expects]

    def touch(a: Expectation, b: Expectation) -> bool:
        if "any" not in (a.device, b.device) and a.device != b.device:
            return False
        return (a.to_ms is None or b.from_ms is None or b.from_ms <= a.to_ms) and (
            b.to_ms is None or a.from_ms is None or a.from_ms <= b.to_ms
        )

    for wrong in (e for e in expects if e.kind == "must_not"):
        for right in (e for e in expects if e.kind == "must" and e.code == wrong.code):
            assert not touch(wrong, right), wrong.code


def test_a_planned_stop_is_known_wherever_a_detour_moves_it() -> None:
    stops = [{"at": [77.2, 43.33], "minutes": 30}]
    played = play(("diversion", {"at": 0.2, "km": 5}), stops=stops)
    found = played.happening("planned_stop")
    assert (found.lon, found.lat) == pytest.approx((77.2, 43.33), abs=0.001)
    assert (found.end_ms - found.start_ms) / 60_000 == pytest.approx(30, abs=0.4)
    assert found.may == ("unauthorised_stop", "overstay")


@pytest.mark.parametrize("name", STORIES)
def test_every_story_tells_what_has_to_be_found(name: str) -> None:
    played = trip_of(name)
    happenings = played.vehicle.happenings
    assert happenings
    if not played.vehicle.outcome.honest:
        assert any(h.must for h in happenings)
    else:
        assert not {"seal_cut", "seal_body_open", "separation"} & {
            code for h in happenings for code in h.must
        }


@settings(max_examples=40, deadline=None)
@given(name=st.sampled_from(sorted(EVENTS)), at=st.floats(0.05, 0.9), seed=st.integers(0, 50))
def test_a_happening_with_an_event_is_on_the_wire_at_its_time(
    name: str, at: float, seed: int
) -> None:
    played = play((name, {"at": at}), seed=seed)
    found = played.happening(name)
    told = [
        record["evt"]
        for device_id in found.device_ids
        for record in played.made(device_id)
        if record.get("evt", {}).get("code") == EVENTS[name]
    ]
    assert told[0]["at"] == found.start_ms


@settings(max_examples=25, deadline=None)
@given(
    name=st.sampled_from(["coverage_gap", "store_full", "flash_loss", "rope_cut_offline"]),
    at=st.floats(0.05, 0.6),
    minutes=st.floats(5, 40),
    seed=st.integers(0, 50),
)
def test_no_record_is_sent_while_a_gap_lasts(
    name: str, at: float, minutes: float, seed: int
) -> None:
    played = play((name, {"at": at, "minutes": minutes}), seed=seed)
    found = played.happening(name)
    begin_ms = found.start_ms - (round(minutes * 30_000) if name == "rope_cut_offline" else 0)
    end_ms = begin_ms + round(minutes * 60_000)
    for device_id in found.device_ids:
        times = [t for t, _ in played.messages(device_id, "tlm", "evt")]
        # Both ends are seen at ticks, ten seconds apart when parked.
        assert not [t for t in times if begin_ms + 1000 <= t < end_ms - 1000]


@settings(max_examples=25, deadline=None)
@given(at=st.floats(0.05, 0.9), minutes=st.floats(20, 90), seed=st.integers(0, 50))
def test_a_stop_is_stood_where_and_when_the_truth_says(
    at: float, minutes: float, seed: int
) -> None:
    played = play(("unauthorised_stop", {"at": at, "minutes": minutes}), seed=seed)
    found = played.happening("unauthorised_stop")
    assert (found.end_ms - found.start_ms) / 60_000 == pytest.approx(minutes, abs=0.4)
    # A record under way to the stop may still be made in its first seconds.
    inside = [
        r["fix"]
        for r in played.made("g1")
        if found.start_ms + 1000 <= r["ts"] < found.end_ms - 11_000
    ]
    assert inside
    assert all(f["spd"] < 3 for f in inside)
    assert all(abs(f["lon"] - found.lon) < 0.0003 for f in inside)


@settings(max_examples=30, deadline=None)
@given(
    names=st.lists(
        st.sampled_from(
            ["rope_cut", "power_cut", "reboot", "canyon", "lost_acks", "clock_drift", "wrong_pins"]
        ),
        unique=True,
        min_size=2,
        max_size=4,
    ),
    seed=st.integers(0, 20),
)
def test_behaviours_compose_in_any_order_and_the_same_seed_gives_the_same_bytes(
    names: list[str], seed: int
) -> None:
    key = {"kid": "k1", "secret": "0f" * 32}
    once, again = (play(*names, seed=seed, keys={"s1": key, "g1": key}) for _ in range(2))
    assert once.sent == again.sent
    assert list(truth_lines(once.vehicle)) == list(truth_lines(again.vehicle))
    assert {h.name for h in once.vehicle.happenings} == set(names)


def test_another_seed_gives_other_bytes() -> None:
    assert play("honest", seed=1).sent != play("honest", seed=2).sent


def test_a_happening_gives_its_codes_by_kind() -> None:
    expects = (
        Expectation(code="silence", device="any", kind="must_not"),
        Expectation(code="seal_cut", device="seal", kind="must", from_ms=1, to_ms=2),
        Expectation(code="separation", device=None, kind="may"),
        Expectation(code="seal_cut", device="seal", kind="must"),
    )
    found = Happening(
        **{"name": "x", "params": {}, "vehicle": "A", "device_ids": ("s1",), "start_ms": 1},
        **{"end_ms": 2, "lon": 1.0, "lat": 2.0, "place": "here", "expects": expects},
    )
    assert (found.must, found.may, found.must_not) == (("seal_cut",), ("separation",), ("silence",))


def test_a_window_is_widened_and_may_be_open() -> None:
    found = Expect(code="silence", before_s=1, after_s=2).resolved(10_000, 20_000)
    assert (found.from_ms, found.to_ms) == (9_000, 22_000)
    open_ended = Expect(code="silence", after_s=float("inf")).resolved(10_000, 20_000)
    assert (open_ended.from_ms, open_ended.to_ms) == (10_000, None)
    whole = Expect(code="silence", whole_trip=True).resolved(10_000, 20_000)
    assert (whole.from_ms, whole.to_ms) == (None, None)


@pytest.mark.parametrize("make", [Expect, Expectation])
def test_an_unknown_code_is_refused(make: Any) -> None:
    with pytest.raises(ValueError, match="no code of the detection contract"):
        make(code="theft", device="any", kind="must")


def test_what_the_plan_lets_people_do_is_told_with_time_and_place() -> None:
    played = play(
        "honest",
        acts=[
            {"kind": "border_crossing", "after_minutes": -30},
            {"kind": "incident", "at": 0.5, "position": "here", "fields": {"code": 1}},
            {"kind": "arrival", "at": 1, "after_minutes": 20, "position": [76.9, 43.2]},
        ],
    )
    crossing, incident, arrival = played.vehicle.acts
    assert crossing.at_ms == played.vehicle.start_ms - 1_800_000
    assert crossing.position is None
    assert incident.fields == {"code": 1}
    near = min(played.records("g1"), key=lambda r: abs(r[0] - incident.at_ms))[1]["fix"]
    assert incident.position == pytest.approx((near["lon"], near["lat"]), abs=0.01)
    assert arrival.at_ms > near["t"]
    assert arrival.position == (76.9, 43.2)


def test_acts_of_plots_have_their_times() -> None:
    detour = play(("honest_detour", {"notice_minutes": 10}))
    (report,) = detour.vehicle.acts
    assert report.at_ms == detour.happening("honest_detour").start_ms - 600_000
    gone = play("goods_gone_at_arrival")
    (arrival,) = gone.vehicle.acts
    assert arrival.fields["seals"] == [{"device_id": "s1", "state": "intact"}]
    assert arrival.at_ms > gone.records("g1")[-1][0] - 600_000
