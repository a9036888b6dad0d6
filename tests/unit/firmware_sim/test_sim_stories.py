"""The stories: what each lorry really does, and what its devices tell of it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from firmware_sim.errors import PlanError
from firmware_sim.flat import flat
from firmware_sim.geo import Path, distance_m
from firmware_sim.trip import is_night
from firmware_sim.vehicle import Vehicle
from firmware_sim.world import Truth
from tests.unit.firmware_sim.sims import ROUTE, Played, play, trip_of, vehicle

DECLARED = Path([(lon, lat) for lon, lat in ROUTE])
END = DECLARED.corners[-1]
MINUTE_MS = 60_000


def motion(subject: Vehicle) -> list[Truth]:
    seen = []
    while not subject.ended:
        subject.tick()
        seen.append(subject.truth)
    return seen


def off_m(place: Truth | dict[str, Any]) -> float:
    lon, lat = (place.lon, place.lat) if isinstance(place, Truth) else (place["lon"], place["lat"])
    return DECLARED.nearest_m((lon, lat))[1]


def fixes(played: Played, device_id: str) -> list[dict[str, Any]]:
    return [r["fix"] for r in played.made(device_id) if r["fix"]["ok"]]


def apart_m(played: Played) -> list[float]:
    """Distances of seal and unit at the seal's fixes, by the unit's fix nearest in time."""
    unit = fixes(played, "g1")
    found = []
    for fix in fixes(played, "s1"):
        near = min(unit, key=lambda other: abs(other["t"] - fix["t"]))
        if abs(near["t"] - fix["t"]) < 45_000:
            found.append(distance_m((fix["lon"], fix["lat"]), (near["lon"], near["lat"])))
    return found


def ends_at_m(played: Played, device_id: str) -> float:
    last = fixes(played, device_id)[-1]
    return distance_m((last["lon"], last["lat"]), END)


def codes(played: Played, device_id: str = "s1") -> list[str]:
    return [event["code"] for event in played.events(device_id)]


def stopped_minutes(played: Played, name: str) -> float:
    found = [h for h in played.vehicle.happenings if h.name == name][-1]
    return (found.end_ms - found.start_ms) / MINUTE_MS


@pytest.mark.parametrize(("entry", "code"), [("rope", "rope_cut"), ("case", "case_open")])
def test_a_warehouse_is_off_the_route_and_the_seal_breaks_there(entry: str, code: str) -> None:
    played = play(("warehouse_diversion", {"entry": entry, "km": 8, "minutes": 75}))
    around, standing = played.vehicle.happenings
    (event,) = played.events("s1")
    assert (event["code"], event["at"]) == (code, standing.start_ms + 5 * MINUTE_MS)
    where = next(r["fix"] for r in played.made("s1") if "evt" in r)
    assert off_m(where) >= 7_900
    assert around.must == ("route_deviation",)
    assert set(standing.must) >= {"unauthorised_stop", "unloading_signature"}
    assert ends_at_m(played, "g1") < 30


def test_doors_off_their_hinges_leave_the_seal_whole() -> None:
    played = play(("warehouse_diversion", {"entry": "none"}))
    assert codes(played) == []
    assert "unloading_signature" not in played.vehicle.happenings[-1].must
    assert played.vehicle.outcome.goods_gone


def test_an_unloading_in_a_dead_zone_is_told_afterwards() -> None:
    played = trip_of("dead_zone_unloading")
    found = played.happening("dead_zone_unloading")
    ((sent_ms, event),) = [(t, r["evt"]) for t, r in played.records("s1") if "evt" in r]
    assert event["at"] == found.start_ms + 5 * MINUTE_MS
    assert sent_ms > found.end_ms
    assert found.must_not == ("silence",)


def test_a_moved_seal_arrives_without_the_goods() -> None:
    played = trip_of("seal_moved")
    assert ends_at_m(played, "s1") < 30
    assert ends_at_m(played, "g1") > 20_000
    assert max(off_m(f) for f in fixes(played, "s1")) < 12
    assert max(off_m(f) for f in fixes(played, "g1")) >= 25_000
    assert codes(played) == []
    far = apart_m(played)
    assert max(far) > 10_000


def test_two_lorries_meet_side_by_side() -> None:
    meet = {"place": [77.45, 43.40], "minutes": 30, "until_minutes": 120, "partner": True}
    stood: list[list[int]] = []
    for name, start in (("A", "2025-11-20T03:00:00Z"), ("B", "2025-11-20T03:20:00Z")):
        until = 120 if name == "A" else 100
        params = {**meet, "until_minutes": until, "opens": name == "A"}
        plot = {"name": "transloading", "params": params}
        subject = vehicle(vehicle=name, start=start, plot=plot, seed=3)
        here = [
            t.t_ms
            for t in motion(subject)
            if not t.moving and distance_m((t.lon, t.lat), (77.45, 43.40)) < 20
        ]
        stood.append([min(here), max(here)])
        assert "rendezvous" in subject.happenings[0].must
    together_ms = min(stood[0][1], stood[1][1]) - max(stood[0][0], stood[1][0])
    assert together_ms >= 20 * MINUTE_MS
    assert abs(stood[0][1] - stood[1][1]) < 30_000


def test_who_vanishes_says_no_goodbye_and_keeps_the_rest_to_himself() -> None:
    played = trip_of("vanishes")
    assert not any(mount.device.alive for mount in played.vehicle.mounts)
    silent = played.vehicle.happenings[-1]
    for device_id in ("s1", "g1"):
        assert max(t for t, _ in played.records(device_id)) <= silent.start_ms
        will = played.states(device_id)[-1]
        assert (will["on"], "ts" in will) == (False, False)
    (silence,) = [e for e in silent.expects if e.code == "silence"]
    assert silence.to_ms is None


def test_the_goods_are_gone_and_the_paper_says_they_are_not() -> None:
    played = trip_of("goods_gone_at_arrival")
    assert codes(played) == ["case_open"]
    assert played.made("s1")[-1]["seal"]["case"] == "closed"
    assert [act.kind for act in played.vehicle.acts] == ["arrival"]
    assert played.vehicle.outcome.goods_gone


def test_a_copied_card_opens_and_closes_at_night() -> None:
    played = trip_of("night_reseal")
    assert codes(played) == ["unlock_ok", "unsealed", "case_open", "sealed"]
    assert [r["seal"]["lock"] for r in played.made("s1") if "evt" in r] == [
        *("locked", "open", "open", "locked")
    ]
    assert stopped_minutes(played, "night_reseal") == pytest.approx(120, abs=0.3)


def test_a_feigned_track_follows_the_route_while_the_lorry_does_not() -> None:
    played = trip_of("spoofed_track")
    told = fixes(played, "g1")
    assert max(off_m(f) for f in told) < 12
    truly = motion(vehicle(plot="spoofed_track"))
    assert max(off_m(t) for t in truly) > 14_000
    lie = played.happening("spoofed_track")
    made = [r for r in played.made("g1") if r["ts"] >= lie.start_ms]
    fixed_m = sum(
        distance_m((a["fix"]["lon"], a["fix"]["lat"]), (b["fix"]["lon"], b["fix"]["lat"]))
        for a, b in pairwise(made)
        if not b["mot"]["mov"]
    )
    assert fixed_m > 30_000


def test_a_battery_dies_just_before_the_stop() -> None:
    played = trip_of("battery_ruse")
    dying, standing = played.vehicle.happenings
    assert played.records("s1")[-1][0] <= dying.end_ms < standing.start_ms
    assert standing.start_ms - dying.end_ms < 25 * MINUTE_MS
    assert codes(played) == ["bat_low", "bat_crit"]


def test_a_bag_takes_network_and_satellites_and_gives_them_back() -> None:
    played = trip_of("faraday_bag")
    found = played.happening("faraday_bag")
    inside = [r for r in played.made("s1") if found.start_ms <= r["ts"] < found.end_ms]
    assert inside
    assert not any(r["fix"]["ok"] for r in inside)
    sent = [t for t, _ in played.messages("s1", "tlm")]
    assert not any(found.start_ms <= t < found.end_ms for t in sent)
    assert played.made("s1")[-1]["fix"]["ok"]


def test_after_a_convoy_swap_both_arrive_apart() -> None:
    played = trip_of("convoy_swap")
    assert ends_at_m(played, "s1") < 30
    assert ends_at_m(played, "g1") < 30
    assert max(apart_m(played)) > 10_000
    assert max(off_m(f) for f in [*fixes(played, "s1"), *fixes(played, "g1")]) < 12


def test_another_post_is_not_the_destination() -> None:
    played = trip_of("wrong_post")
    assert ends_at_m(played, "g1") > 10_000
    (arrival,) = played.vehicle.acts
    assert distance_m(arrival.position or (0, 0), END) > 10_000
    outcome = played.vehicle.outcome
    assert (outcome.nondelivery, outcome.goods_gone) == (True, False)


def test_who_sells_across_the_border_drives_back_beyond_the_start() -> None:
    played = trip_of("sold_across_border")
    last = fixes(played, "g1")[-1]
    start = DECLARED.corners[0]
    assert distance_m((last["lon"], last["lat"]), start) == pytest.approx(8_000, abs=500)
    assert last["lon"] > start[0]
    assert {"wrong_direction", "route_deviation"} <= set(played.vehicle.happenings[0].must)


# -- the honest -----------------------------------------------------------------------------------


def test_a_reported_detour_comes_back_and_the_seal_is_whole() -> None:
    played = trip_of("honest_detour")
    assert max(off_m(f) for f in fixes(played, "g1")) > 5_500
    assert ends_at_m(played, "g1") < 30
    assert codes(played) == []
    (report,) = played.vehicle.acts
    assert report.fields["code"] == 1


def test_a_breakdown_stands_for_hours_and_is_reported() -> None:
    played = trip_of("honest_breakdown")
    assert stopped_minutes(played, "honest_breakdown") == pytest.approx(240, abs=0.5)
    (report,) = played.vehicle.acts
    found = played.happening("honest_breakdown")
    assert found.start_ms < report.at_ms < found.end_ms


def test_a_border_queue_of_thirty_hours_ends_at_the_border() -> None:
    played = trip_of("border_queue")
    assert stopped_minutes(played, "border_queue") / 60 == pytest.approx(30.3, abs=0.5)
    assert ends_at_m(played, "g1") < 30
    steps = [b["ts"] - a["ts"] for a, b in pairwise(played.made("g1"))]
    assert max(steps) <= 611_000


def test_a_jammed_park_blinds_who_rests_there() -> None:
    played = trip_of("jammed_park")
    found = played.happening("jammed_park")
    resting = [r for r in played.made("g1") if found.start_ms <= r["ts"] < found.end_ms]
    assert {r["fix"]["jam"] for r in resting} == {2}
    assert played.made("g1")[-1]["fix"]["jam"] == 0


def test_who_is_late_is_late_by_the_snow_and_the_queue() -> None:
    late, plain = trip_of("late_honest").vehicle, trip_of("honest").vehicle
    assert late.now_ms - plain.now_ms > 5 * 3_600_000
    assert {h.name for h in late.happenings} == {"late_honest", "bad_weather", "queue"}
    assert late.outcome.honest


def test_a_shuttle_carries_the_lorry_with_its_engine_off() -> None:
    played = trip_of("shuttle")
    carried = played.happening("carried")
    aboard = [r for r in played.made("g1") if carried.start_ms <= r["ts"] < carried.end_ms]
    assert {r["mot"]["ign"] for r in aboard[1:]} == {False}
    assert max(r["fix"]["spd"] for r in aboard) < 50
    assert ends_at_m(played, "g1") < 30


def test_a_changed_seal_hands_over_to_the_new_one() -> None:
    played = trip_of("device_swap")
    swap = played.vehicle.acts[0]
    assert swap.fields == {"seals": [{"device_id": "s2"}], "reason": "battery"}
    assert max(t for t, _ in played.records("s1")) <= swap.at_ms
    assert min(t for t, _ in played.records("s2")) >= swap.at_ms - 1000
    assert codes(played, "s1") == ["unsealed"]
    assert codes(played, "s2") == ["sealed"]
    with pytest.raises(PlanError, match="needs two seals"):
        vehicle(plot="device_swap")


def test_a_sleepy_seal_is_never_silent_longer_than_it_said() -> None:
    played = trip_of("sleepy_seal")
    made = played.made("s1")
    assert sum(bool(r.get("sleep_s")) for r in made) == 5
    for a, b in pairwise(made):
        allowed_s = a.get("sleep_s", 0) + 2 * 300 + 60
        assert (b["ts"] - a["ts"]) / 1000 <= allowed_s


def test_a_night_at_home() -> None:
    seen = motion(vehicle(plot="home_stop"))
    still = [t for t in seen if not t.moving and off_m(t) > 1_900]
    assert (still[-1].t_ms - still[0].t_ms) / 3_600_000 == pytest.approx(7, abs=0.1)
    assert off_m(seen[-1]) < 5


# -- long roads -----------------------------------------------------------------------------------

LONG = [[80.3852, 44.2234], [78.2575, 43.5962], [76.9115, 43.2525], [71.3733, 42.8980]]


def test_a_driver_keeps_his_hours() -> None:
    subject = vehicle(route=LONG, plot="tachograph", start="2025-11-20T00:00:00Z")
    driven_s, today_s, last = 0.0, 0.0, subject.start_ms
    stood_s = 0.0
    while not subject.ended:
        subject.tick()
        step_s, last = (subject.now_ms - last) / 1000, subject.now_ms
        if subject.truth.moving:
            if stood_s >= 45 * 60 - 30:
                driven_s = 0.0
            if stood_s >= 9 * 3600:
                today_s = 0.0
            stood_s = 0.0
            driven_s, today_s = driven_s + step_s, today_s + step_s
        else:
            stood_s += step_s
        assert driven_s <= 4.5 * 3600 + 120
        assert today_s <= 9 * 3600 + 120
    names = [h.name for h in subject.happenings]
    assert names.count("tachograph_rest") >= 1
    assert names.count("night_rest") >= 1
    assert {e.kind for h in subject.happenings for e in h.expects} == {"may"}


def test_a_driver_prefers_a_parking() -> None:
    plain = vehicle(route=LONG, plot="tachograph")
    motion(plain)
    first = plain.happenings[0]
    spot = Path([(lon, lat) for lon, lat in LONG])
    along_m, _ = spot.nearest_m((first.lon, first.lat))
    before = spot.at(along_m - 6_000)
    parking = {"places": [[before.lon, before.lat]]}
    parked = vehicle(route=LONG, plot={"name": "tachograph", "params": parking})
    motion(parked)
    rest = parked.happenings[0]
    assert rest.params == {"parked": True}
    assert distance_m((rest.lon, rest.lat), (before.lon, before.lat)) < 10
    with pytest.raises(PlanError, match="within 2 km"):
        vehicle(plot={"name": "tachograph", "params": {"places": [[70.0, 50.0]]}})


def test_night_is_kazakhstans() -> None:
    hour_ms = 3_600_000
    nights = [h for h in range(24) if is_night(h * hour_ms)]
    assert nights == [0, *range(17, 24)]


def test_a_flat_trip_is_in_order_of_time_and_leaves_nothing_but_the_last_minutes() -> None:
    subject = vehicle(plot="coverage_gap")
    times = [t for t, _ in flat(subject)]
    assert times == sorted(times)
    assert all(len(mount.device.store) < 32 for mount in subject.mounts)
    assert not any(mount.device.online for mount in subject.mounts)


def test_a_device_that_lost_its_gen_is_given_one() -> None:
    played = play("honest", devices=[{"id": "g1", "kind": "gps", "gen": "ask"}])
    births = [s["gen"] for s in played.states("g1") if s["on"]]
    assert births == [None, 2]
    assert {r["gen"] for r in played.made("g1")} == {2}
