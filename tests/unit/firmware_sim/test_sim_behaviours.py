"""Each behaviour as it is seen on the wire, held against its ground truth."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from firmware_sim import wire
from firmware_sim.errors import PlanError
from firmware_sim.geo import Path, distance_m
from firmware_sim.wire import Key
from firmware_sim.world import Truth
from tests.unit.firmware_sim.sims import ROUTE, Played, body, play, records, vehicle

DECLARED = Path([(lon, lat) for lon, lat in ROUTE])
MINUTE_MS = 60_000
KEYS = {name: {"kid": "k1", "secret": "00ff" * 16} for name in ("s1", "g1")}


def fixes(made: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [r["fix"] for r in made if r["fix"]["ok"]]


def off_route_m(fix: dict[str, Any]) -> float:
    return DECLARED.nearest_m((fix["lon"], fix["lat"]))[1]


def codes(played: Played, device_id: str = "s1") -> list[str]:
    return [event["code"] for event in played.events(device_id)]


# -- network and store ----------------------------------------------------------------------------


def test_in_a_gap_nothing_is_sent_and_then_the_backlog_in_arrays() -> None:
    played = play(("coverage_gap", {"minutes": 40}))
    gap = played.happening("coverage_gap")
    sent_at = [t for t, _ in played.messages("g1", "tlm", "evt")]
    assert not any(gap.start_ms <= t < gap.end_ms for t in sent_at)
    back = [m for t, m in played.messages("g1") if t == gap.end_ms]
    assert body(back[0])["on"]
    hist = [r["hist"] for t, r in played.records("g1") if t == gap.end_ms]
    assert len(hist) > 60
    assert all(hist)
    assert gap.must_not == ("silence", "sequence_gap")


def test_an_interleaved_backlog_lets_live_records_through() -> None:
    interleaved = ("coverage_gap", {"minutes": 60, "order": "interleaved"})
    played = play(interleaved, periods={"gps": {"moving_s": 5}})
    gap = played.happening("coverage_gap")
    after = [m for t, m in played.messages("g1", "tlm") if t >= gap.end_ms]
    kinds = "".join("B" if m.records > 1 else "l" for m in after)
    assert kinds.startswith("B")
    assert "lB" in kinds.rstrip("l")
    late = [r["seq"] for t, r in played.records("g1") if r["hist"] and t >= gap.end_ms]
    assert late == sorted(late)
    assert {r["seq"] for r in played.made("g1")} == set(range(1, len(played.made("g1")) + 1))


def test_known_dead_stretches_are_silent_on_the_real_road() -> None:
    played = play(
        "dead_zones",
        route=[[73.7025, 46.0311], [74.9821, 46.8455]],
        slow=[],
    )
    gap = played.happening("dead_zones")
    assert gap.place == "m36_balkhash"
    sent_at = [t for t, _ in played.messages("g1", "tlm")]
    assert not any(gap.start_ms <= t < gap.end_ms for t in sent_at)
    assert any(t < gap.start_ms for t in sent_at)
    assert gap.end_ms - gap.start_ms > 30 * MINUTE_MS


def test_events_go_before_the_backlog() -> None:
    played = play(("events_before_backlog", {"minutes": 60}))
    gap = played.happening("events_before_backlog")
    back = [m for t, m in played.messages("s1") if t == gap.end_ms]
    assert [m.topic.split("/")[5] for m in back][:3] == ["state", "evt", "tlm"]
    assert codes(played) == ["shock"]


def test_a_full_store_overwrites_its_oldest_and_says_so() -> None:
    played = play(("store_full", {"capacity": 50, "minutes": 40}))
    gap = played.happening("store_full")
    assert codes(played, "g1") == ["store_full"]
    sent = [r for t, r in played.records("g1") if t == gap.end_ms]
    assert len(sent) == 50
    event = next(r["seq"] for r in sent if "evt" in r)
    routine = sorted(r["seq"] for r in sent if "evt" not in r)
    assert routine == list(range(routine[0], routine[0] + 49))
    assert event < routine[0]
    assert len(played.made("g1")) < played.vehicle.mounts[1].device.store.made


def test_without_acks_all_is_sent_again_and_nothing_differs() -> None:
    played = play(("lost_acks", {"minutes": 20}))
    spell = played.happening("lost_acks")
    twice: dict[int, list[dict[str, Any]]] = {}
    for _, record in played.records("g1"):
        twice.setdefault(record["seq"], []).append({**record, "hist": None})
    repeated = [bodies for bodies in twice.values() if len(bodies) > 1]
    assert len(repeated) > 30
    assert all(b == bodies[0] for bodies in repeated for b in bodies)
    again = {t for t, r in played.records("g1") if r["hist"]}
    assert again - {played.vehicle.start_ms} == {spell.end_ms}


def test_lost_flash_leaves_a_hole_below_lo() -> None:
    played = play(("flash_loss", {"minutes": 25}))
    seqs = [r["seq"] for r in played.made("g1")]
    (hole,) = [(a + 1, b - 1) for a, b in pairwise(seqs) if b - a > 1]
    births = [s for s in played.states("g1") if s["on"]]
    assert births[1]["lo"] > hole[1]
    assert hole[1] - hole[0] > 30
    assert "sequence_gap" in played.happening("flash_loss").must


def test_a_late_will_names_the_connection_before() -> None:
    played = play("half_open")
    states = played.states("g1")
    first = next(i for i, s in enumerate(states) if s["on"] and s["conn"] == 3)
    assert {"on": False, "conn": 2} in states[first + 1 :]
    assert [s["conn"] for s in states if s["on"]] == [2, 3]


def test_a_storm_is_many_births_with_growing_conn() -> None:
    played = play(("reconnect_storm", {"minutes": 10, "every_s": 30}))
    conns = [s["conn"] for s in played.states("g1") if s["on"]]
    assert len(conns) >= 18
    assert conns == sorted(set(conns))


def test_roaming_reports_half_as_often_from_another_country() -> None:
    played = play(("roaming", {"minutes": 40, "factor": 2, "mcc": 437}))
    abroad = played.during("g1", "roaming")
    assert {r["net"]["mcc"] for r in abroad} == {437}
    steps = [b["mot"]["odo"] - a["mot"]["odo"] for a, b in pairwise(abroad) if b["why"] == "dist"]
    assert min(steps) >= 1000
    assert {r["net"]["mcc"] for r in played.made("g1")} == {401, 437}


# -- the device's life ----------------------------------------------------------------------------


def test_a_reboot_keeps_seq_and_begins_without_a_fix() -> None:
    played = play("reboot")
    made = played.made("g1")
    boots = [i for i, r in enumerate(made) if r["why"] == "boot"]
    assert len(boots) == 2
    assert made[boots[1]]["fix"] == {"ok": False, "jam": 0, "spoof": 0}
    without_s = (made[boots[1]]["ts"], next(r["ts"] for r in made[boots[1] :] if r["fix"]["ok"]))
    assert without_s[1] - without_s[0] <= 100_000
    assert [r["seq"] for r in made] == list(range(1, len(made) + 1))
    births = [s for s in played.states("g1") if s["on"]]
    assert [b["boot"] for b in births] == [1, 2]
    assert {"on": False, "conn": 2} in played.states("g1")


def test_a_cold_start_takes_half_a_minute() -> None:
    every_second = {"gps": {"moving_s": 1}}
    played = play("reboot", periods=every_second)
    made = played.made("g1")
    boot = next(i for i, r in enumerate(made) if i and r["why"] == "boot")
    blind = [r for r in made[boot:] if not r["fix"]["ok"]]
    assert 29 <= len(blind) <= 41
    assert all(r["fix"]["ok"] for r in made[boot + len(blind) :])


def test_a_crash_loop_is_a_boot_after_boot() -> None:
    played = play(("crash_loop", {"times": 6, "every_s": 75}))
    boots = [s["boot"] for s in played.states("g1") if s["on"]]
    assert boots == list(range(1, 8))
    assert sum(r["why"] == "boot" for r in played.made("g1")) == 7


def test_a_factory_reset_counts_anew_in_the_next_gen() -> None:
    played = play("factory_reset")
    made = played.made("g1")
    assert {r["gen"] for r in made} == {0, 1}
    second = [r["seq"] for r in made if r["gen"] == 1]
    assert second == list(range(1, len(second) + 1))
    births = [s for s in played.states("g1") if s["on"]]
    assert [(b["gen"], b["lo"]) for b in births][1] == (1, 1)


def test_a_planned_sleep_is_told_kept_and_left_cleanly() -> None:
    played = play(("planned_sleep", {"minutes": 30}))
    made = played.made("s1")
    (last,) = [i for i, r in enumerate(made) if r.get("sleep_s")]
    assert made[last]["sleep_s"] == 1800
    assert made[last + 1]["ts"] - made[last]["ts"] == pytest.approx(1_800_000, abs=11_000)
    goodbye = next(s for s in played.states("s1") if not s["on"])
    assert goodbye["ts"] == made[last]["ts"]
    assert played.happening("planned_sleep").must_not[0] == "silence"


def test_a_cut_rope_wakes_a_sleeping_seal() -> None:
    cut = ("rope_cut", {"at": 0.55, "stop_minutes": 0})
    played = play(("planned_sleep", {"at": 0.5, "minutes": 60}), cut)
    (event,) = played.events("s1")
    assert event["at"] == played.happening("rope_cut").start_ms


def test_new_firmware_drops_and_adds_fields() -> None:
    played = play("firmware_update")
    births = [s for s in played.states("g1") if s["on"]]
    assert [b["fw"] for b in births] == ["1.0.0", "2.0.0"]
    before, after = played.made("g1")[0], played.made("g1")[-1]
    assert {"hdop", "sat"} <= set(before["fix"])
    assert not {"hdop", "sat"} & set(after["fix"])
    assert "net" not in after
    assert after["modem"] == {"rat": "LTE-M", "band": 20}
    assert after["seq"] == len(played.made("g1"))


def test_a_clone_speaks_with_the_same_identity_from_elsewhere() -> None:
    played = play(("cloned_identity", {"km": 60}), keys=KEYS)
    bodies: dict[int, set[str]] = {}
    for _, record in played.records("s1"):
        bodies.setdefault(record["seq"], set()).add(str({**record, "hist": 0}))
    assert sum(len(b) > 1 for b in bodies.values()) >= 3
    far = [off_route_m(r["fix"]) for _, r in played.records("s1") if r["fix"]["ok"]]
    assert max(far) > 50_000
    key = Key(kid="k1", secret=bytes.fromhex("00ff" * 16))
    sent = played.messages("s1")
    assert all(wire.verified(key, m.topic, m.payload) for _, m in sent)


# -- clocks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "years", "tq"),
    [
        ("clock_1970", {1970}, "none"),
        ("clock_1980", {1980}, "none"),
        ("clock_rollover", {2006}, "gnss"),
        ("clock_future", {2026}, "rtc"),
        ("clock_local", {2025}, "gnss"),
        ("clock_drift", {2025}, "rtc"),
    ],
)
def test_a_wrong_clock(name: str, years: set[int], tq: str) -> None:
    played = play((name, {"at": 0.3, "devices": "gps"}))
    began_ms = played.happening(name).start_ms
    made = [(t, r) for t, r in played.records("g1") if t >= began_ms]
    assert {1970 + r["ts"] // 31_557_600_000 for _, r in made} == years
    assert {r["tq"] for _, r in made} == {tq}
    late = name == "clock_rollover"
    assert all(abs(r["fix"]["t"] - t) < 2000 for t, r in made) is not late
    # The seal's clock is right, and so was the unit's before.
    assert all(abs(r["ts"] - t) < 2000 for t, r in played.records("s1"))
    assert all(abs(r["ts"] - t) < 2000 for t, r in played.records("g1") if t < began_ms)


def test_a_rollover_is_exactly_1024_weeks() -> None:
    played = play("clock_rollover")
    t_ms, record = played.records("g1")[-1]
    assert t_ms - record["ts"] == 1024 * 7 * 86_400_000 == t_ms - record["fix"]["t"]


def test_local_time_is_five_hours_ahead_and_a_drift_five_seconds_a_day() -> None:
    t_ms, record = play("clock_local").records("g1")[-1]
    assert record["ts"] - t_ms == 5 * 3_600_000
    played = play(("clock_drift", {"at": 0.0, "s_day": 5}))
    t_ms, record = played.records("g1")[-1]
    since_s = (t_ms - played.vehicle.start_ms) / 1000
    assert record["ts"] - t_ms == pytest.approx(since_s / 86_400 * 5000, abs=1)


# -- reception ------------------------------------------------------------------------------------


def test_zeros_after_a_reboot() -> None:
    played = play(("zero_fix", {"seconds": 90}), periods={"gps": {"moving_s": 5}})
    zeros = [r["ts"] for r in played.made("g1") if r["fix"].get("lat") == 0]
    assert len(zeros) > 5
    assert max(zeros) - min(zeros) <= 90_000
    assert max(map(off_route_m, [f for f in fixes(played.made("g1")) if f["lat"]])) < 12


def test_a_frozen_fix_repeats_time_and_place_while_the_odometer_grows() -> None:
    played = play(("frozen_fix", {"minutes": 15}))
    hung = played.happening("frozen_fix")
    inside = [r for t, r in played.records("g1") if hung.start_ms <= t < hung.end_ms]
    assert len({(r["fix"]["t"], r["fix"]["lat"]) for r in inside}) == 1
    assert inside[-1]["mot"]["odo"] - inside[0]["mot"]["odo"] > 10_000


def test_walls_make_errors_large_and_throw_single_fixes() -> None:
    played = play(("canyon", {"at": 0.1, "km": 90}), periods={"gps": {"moving_s": 5}})
    errors = [off_route_m(r["fix"]) for r in played.during("g1", "canyon")]
    assert max(errors) > 60
    assert 4 < sorted(errors)[len(errors) // 2] < 20
    wild = [e > 60 for e in errors]
    assert not any(a and b and c for a, b, c in zip(wild, wild[1:], wild[2:], strict=False))
    claimed = [r["fix"]["acc"] for r in played.during("g1", "canyon")]
    assert min(claimed) > 10


def test_a_jammer_goes_from_warning_to_nothing_and_back() -> None:
    played = play(("jamming", {"minutes": 10, "warning_s": 120}), periods={"gps": {"moving_s": 10}})
    spell = played.happening("jamming")
    levels = [r["fix"]["jam"] for r in played.made("g1")]
    runs = [levels[0], *(b for a, b in pairwise(levels) if a != b)]
    assert runs == [0, 1, 2, 1, 0]
    assert all((r["fix"]["jam"] == 2) is not r["fix"]["ok"] for r in played.made("g1"))
    assert codes(played, "g1") == ["jam_on", "jam_off"]
    jam_on, jam_off = played.events("g1")
    assert jam_on["at"] == pytest.approx(spell.start_ms + 120_000, abs=2000)
    assert jam_off["at"] == spell.end_ms
    assert spell.must == ("jamming",)


def test_an_area_jams_whoever_is_there() -> None:
    place = (77.45, 43.40)
    played = play(("area_jamming", {"place": place, "radius_km": 4}))
    for device_id in ("s1", "g1"):
        jammed = [t for t, r in played.records(device_id) if r["fix"]["jam"] == 2]
        spell = played.happening("area_jamming")
        assert jammed
        assert all(spell.start_ms <= t < spell.end_ms for t in jammed)
    assert distance_m((spell.lon, spell.lat), place) == pytest.approx(4000, abs=60)


def test_an_area_elsewhere_is_refused() -> None:
    with pytest.raises(PlanError, match="off the way"):
        vehicle(plot={"name": "area_jamming", "params": {"place": [70.0, 43.0]}})


def test_a_spoofed_jump_is_too_fast_to_be_true_and_lasts() -> None:
    played = play(("spoofed_jump", {"km": 60, "minutes": 20, "bearing_deg": 0, "flagged": True}))
    lied = fixes(played.during("g1", "spoofed_jump"))
    assert len(lied) > 20
    assert all(off_route_m(f) > 50_000 for f in lied)
    assert {f["spoof"] for f in lied} == {1}
    assert "spoof_on" in codes(played, "g1")
    after = fixes(
        [r for r in played.made("g1") if r["ts"] > played.happening("spoofed_jump").end_ms]
    )
    assert max(map(off_route_m, after)) < 12


def test_a_slow_drag_never_jumps() -> None:
    dragged = ("spoofed_drag", {"speed_ms": 3, "km": 4, "minutes": 40})
    played = play(dragged, periods={"gps": {"moving_s": 10}})
    found = fixes(played.during("g1", "spoofed_drag"))
    offs = [off_route_m(f) for f in found]
    assert max(offs) == pytest.approx(4000, rel=0.06)
    for a, b in pairwise(found):
        far_m = distance_m((a["lon"], a["lat"]), (b["lon"], b["lat"]))
        assert far_m / ((b["t"] - a["t"]) / 1000) * 3.6 < 120
    # The seal tells the truth.
    assert max(map(off_route_m, fixes(played.made("s1")))) < 12


def test_places_by_cells_say_what_they_are() -> None:
    played = play(("lbs_only", {"minutes": 30}))
    cells = [f for f in fixes(played.made("g1")) if f["src"] == "lbs"]
    assert len(cells) > 30
    assert all("spd" not in f and f["acc"] > 500 for f in cells)
    assert sorted(map(off_route_m, cells))[len(cells) // 2] > 100


# -- power ----------------------------------------------------------------------------------------


def test_frost_takes_the_battery_and_gives_it_back() -> None:
    played = play(("cold_battery", {"minutes": 40, "to_pct": 10, "at": 0.2}))
    levels = [r["pwr"]["bat"] for r in played.made("s1")]
    assert min(levels) < 15
    assert levels[-1] > 90
    assert codes(played) == ["bat_low"]
    coldest = min(played.made("s1"), key=lambda r: r["seal"]["temp"])
    assert coldest["seal"]["temp"] < -20


def test_a_weak_battery_stays_weak() -> None:
    played = play(("battery_low", {"to_pct": 12}))
    assert played.made("s1")[-1]["pwr"]["bat"] == 12
    assert codes(played) == ["bat_low"]


def test_a_cut_cable_is_told_by_the_unit_alone() -> None:
    played = play(("power_cut", {"minutes": 20}))
    assert codes(played, "g1") == ["ext_cut", "ext_ok"]
    assert codes(played, "s1") == []
    assert {r["pwr"]["ext"] for r in played.during("g1", "power_cut")} == {0}
    assert not any("ext" in r["pwr"] for r in played.made("s1"))


def test_a_tow_moves_with_the_ignition_off() -> None:
    towed = play(("tow", {"km": 20})).during("g1", "tow")
    moving = [r for r in towed if r["mot"]["mov"]]
    assert len(moving) > 20
    assert {r["mot"]["ign"] for r in towed[1:]} == {False}
    assert all(r["pwr"]["ext"] > 10_000 for r in towed)


def test_a_bouncing_ignition_makes_many_records() -> None:
    played = play(("ignition_bounce", {"seconds": 40, "every_s": 2}))
    flips = [r for r in played.during("g1", "ignition_bounce") if r["why"] == "ign"]
    assert len(flips) >= 18


def test_an_odometer_starts_anew() -> None:
    played = play("odometer_reset")
    odos = [r["mot"]["odo"] for r in played.made("g1")]
    falls = [(a, b) for a, b in pairwise(odos) if b < a]
    assert len(falls) == 1
    assert falls[0][1] < 1000
    assert odos[-1] > 40_000


def test_a_ferry_moves_the_place_and_not_the_wheels() -> None:
    played = play(("carried", {"km": 20}))
    carried = played.during("g1", "carried")
    assert len({r["mot"]["odo"] for r in carried}) == 1
    first, last = fixes(carried)[0], fixes(carried)[-1]
    assert distance_m((first["lon"], first["lat"]), (last["lon"], last["lat"])) > 15_000
    odos = [r["mot"]["odo"] for r in played.made("g1")]
    assert odos == sorted(odos)


# -- the seal -------------------------------------------------------------------------------------


def test_a_cut_without_a_network_is_told_with_its_true_time() -> None:
    played = play(("rope_cut_offline", {"minutes": 30}))
    cut = played.happening("rope_cut_offline")
    ((sent_ms, record),) = [(t, r) for t, r in played.records("s1") if "evt" in r]
    assert record["evt"] == {"code": "rope_cut", "at": cut.start_ms}
    assert sent_ms == pytest.approx(cut.start_ms + 15 * MINUTE_MS, abs=2000)
    assert record["hist"]


@pytest.mark.parametrize(
    ("name", "auth"), [("card_unlock", "rfid"), ("ble_unlock", "ble"), ("remote_unlock", "remote")]
)
def test_an_unlocking_on_arrival_is_right(name: str, auth: str) -> None:
    played = play(name)
    told = played.events("s1")
    assert [e["code"] for e in told] == ["unlock_ok", "unsealed", "sealed"]
    assert {e["auth"] for e in told} == {auth}
    assert ("card" in told[0]) is (name == "card_unlock")
    locks = [r["seal"]["lock"] for r in played.made("s1") if "evt" in r]
    assert locks == ["locked", "open", "locked"]
    assert played.happening(name).must_not == ("unauthorised_unlock",)
    assert play((name, {"at": 0.5})).happening(name).must == ("unauthorised_unlock",)


def test_an_unknown_card_is_denied() -> None:
    played = play(("illegal_card", {"tries": 2}))
    assert codes(played) == ["card_illegal", "unlock_denied"] * 2
    assert {e["card"] for e in played.events("s1")} == {played.events("s1")[0]["card"]}
    assert {r["seal"]["lock"] for r in played.made("s1")} == {"locked"}


@pytest.mark.parametrize(("tries", "must"), [(6, ("unauthorised_unlock",)), (3, ())])
def test_six_wrong_pins_are_no_mistake(tries: int, must: tuple[str, ...]) -> None:
    played = play(("wrong_pins", {"tries": tries}))
    assert [(e["code"], e["n"]) for e in played.events("s1")] == [
        ("pin_wrong", n) for n in range(1, tries + 1)
    ]
    assert played.happening("wrong_pins").must == must


def test_a_stuck_motor_shows_until_it_is_mended() -> None:
    played = play(("motor_stuck", {"minutes": 40}))
    assert codes(played) == ["motor_fault"]
    assert {r["seal"]["lock"] for r in played.during("s1", "motor_stuck")} == {"stuck"}
    assert played.made("s1")[-1]["seal"]["lock"] == "locked"


def test_a_failed_self_test_is_one_event() -> None:
    assert codes(play("selftest_fail")) == ["selftest_fail"]


def test_a_contact_bounces_within_a_tenth_of_a_second() -> None:
    played = play(("contact_bounce", {"cuts": 3}))
    at = [e["at"] for e in played.events("s1")]
    assert codes(played) == ["rope_cut"] * 3
    assert [b - a for a, b in pairwise(at)] == [40, 40]
    assert at[0] == played.happening("contact_bounce").start_ms
    assert played.made("s1")[-1]["seal"]["rope"] == "in"


# -- what should not be on the wire ---------------------------------------------------------------


def refused(played: Played, device_id: str) -> list[tuple[int, bytes]]:
    key = Key(kid="k1", secret=bytes.fromhex("00ff" * 16))
    return [
        (t, m.payload)
        for t, m in played.messages(device_id)
        if not wire.verified(key, m.topic, m.payload)
    ]


def test_spoilt_macs_are_sent_again_whole() -> None:
    played = play(("bad_mac", {"minutes": 15}), keys=KEYS)
    spell = played.happening("bad_mac")
    bad = refused(played, "s1")
    assert len(bad) >= 2
    assert all(spell.start_ms <= t < spell.end_ms for t, _ in bad)
    assert all(b"\nk1." in payload for _, payload in bad)
    lost = {body_of(payload)["seq"] for _, payload in bad}
    key = Key(kid="k1", secret=bytes.fromhex("00ff" * 16))
    whole = {
        r["seq"]
        for _, m in played.messages("s1", "tlm", "evt")
        if wire.verified(key, m.topic, m.payload)
        for r in (body(m) if isinstance(body(m), list) else [body(m)])
    }
    assert lost <= whole


def body_of(payload: bytes) -> Any:
    return body(wire.Message(topic="", payload=payload))


def test_an_old_key_signs_for_a_while() -> None:
    old = ("old_kid", {"kid": "k0", "secret": "aa" * 16, "minutes": 15})
    played = play(old, keys=KEYS)
    key = Key(kid="k0", secret=b"\xaa" * 16)
    by_old = [m for _, m in played.messages("s1") if wire.verified(key, m.topic, m.payload)]
    assert len(by_old) >= 3
    assert len(refused(played, "s1")) == len(by_old)


def test_a_replay_is_the_same_bytes_once_more() -> None:
    played = play(("replayed", {"times": 3, "count": 3}), keys=KEYS)
    payloads = [m.payload for _, m in played.messages("g1", "tlm", "evt")]
    repeated = {p for p in payloads if payloads.count(p) > 1}
    assert len(repeated) >= 3
    assert refused(played, "g1") == []


@pytest.mark.parametrize("name", ["malformed", "oversized", "unknown_version", "forged"])
def test_broken_messages_come_as_often_as_told_and_cost_no_record(name: str) -> None:
    device_id = "s1" if name == "forged" else "g1"
    played = play((name, {"times": 4}), keys=KEYS)
    odd = [m for _, m in played.messages(device_id, "tlm") if m.records == 0]
    assert len(odd) == 4
    raw = wire.split_trailer(odd[0].payload)[0]
    if name == "malformed":
        with pytest.raises(ValueError, match=r"Expecting|Unterminated|delimiter"):
            body(odd[0])
    else:
        assert body(odd[0])["v"] == (99 if name == "unknown_version" else 1)
    assert (len(raw) > 4096) is (name == "oversized")
    assert len(refused(played, device_id)) == (4 if name == "forged" else 0)
    proper = [m for _, m in played.messages(device_id, "tlm", "evt") if m.records]
    seqs = [r["seq"] for r in records(proper)]
    assert seqs == list(range(1, len(seqs) + 1))


# -- the road -------------------------------------------------------------------------------------


def motion(played_plots: list[Any], **changes: Any) -> list[Truth]:
    named = [p if isinstance(p, str) else {"name": p[0], "params": p[1]} for p in played_plots]
    subject = vehicle(plot=named, **changes)
    seen = []
    while not subject.ended:
        subject.tick()
        seen.append(subject.truth)
    return seen


def test_a_queue_creeps_for_its_hours() -> None:
    seen = motion([("queue", {"hours": 3, "km": 2, "at": 0.5})])
    at = DECLARED.length_m * 0.5
    inside = [t for t in seen if at - 1 <= t.driven_m <= at + 2000]
    assert (inside[-1].t_ms - inside[0].t_ms) / 3_600_000 == pytest.approx(3.1, abs=0.25)
    starts = sum(b.moving and not a.moving for a, b in pairwise(inside))
    assert starts > 20


def test_night_snow_and_bad_roads_are_slow() -> None:
    def hours(*plots: Any) -> float:
        seen = motion(list(plots), start="2025-11-20T17:00:00Z")
        return (seen[-1].t_ms - seen[0].t_ms) / 3_600_000

    plain = hours("honest")
    assert hours(("night_driving", {"factor": 0.5})) > plain * 1.5
    assert hours(("bad_weather", {"from_h": 0, "hours": 9, "factor": 0.5})) > plain * 1.5
    assert hours(("slow_road", {"at": 0.2, "km": 30, "limit_kmh": 30})) > plain + 0.5


def test_a_left_trailer_keeps_its_seal() -> None:
    played = play(("trailer_swap", {"stop_minutes": 20}))
    left = played.happening("trailer_swap")
    still = fixes([r for r in played.made("s1") if r["ts"] > left.start_ms])
    assert {round(f["lon"], 2) for f in still} == {round(left.lon, 2)}
    assert max(distance_m((f["lon"], f["lat"]), (left.lon, left.lat)) for f in still) < 15
    last = fixes(played.made("g1"))[-1]
    assert distance_m((last["lon"], last["lat"]), (left.lon, left.lat)) > 50_000
    assert "separation" in left.must
