"""Each plot does what its doc says, seen in the true motion and in what devices send."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import jsonschema
import pytest

from firmware_sim.build import make_draft
from firmware_sim.errors import PlanError
from firmware_sim.geo import Path, distance_m
from firmware_sim.plots import PLOTS
from firmware_sim.vehicle import Vehicle
from firmware_sim.world import Truth
from tests.unit.firmware_sim.sims import (
    ROUTE,
    drive,
    records,
    trip_of,
    vehicle,
    vehicle_plan,
)

DECLARED = Path([(lon, lat) for lon, lat in ROUTE])

RECORD = {
    "type": "object",
    "required": ["v", "gen", "seq", "ts"],
    "properties": {
        "v": {"const": 1},
        "gen": {"type": "integer", "minimum": 0, "maximum": 2**32 - 1},
        "seq": {"type": "integer", "minimum": 1},
        "ts": {"type": "integer", "minimum": 0},
        "tq": {"enum": ["gnss", "net", "rtc", "none"]},
        "hist": {"type": "boolean"},
        "why": {"enum": ["time", "dist", "angle", "speed", "ign", "mot", "evt", "boot", "poll"]},
        "fix": {
            "required": ["ok"],
            "if": {"properties": {"ok": {"const": True}}},
            "then": {"required": ["t", "lat", "lon", "src"]},
            "else": {"properties": {"lat": False, "lon": False}},
            "properties": {
                "lat": {"type": "number", "minimum": -90, "maximum": 90},
                "lon": {"type": "number", "minimum": -180, "maximum": 180},
                "jam": {"enum": [0, 1, 2]},
                "spoof": {"enum": [0, 1]},
                "spd": {"type": "number", "minimum": 0, "maximum": 90},
                "hdg": {"type": "number", "minimum": 0, "exclusiveMaximum": 360},
                "hdop": {"type": "number", "exclusiveMinimum": 0},
                "acc": {"type": "number", "exclusiveMinimum": 0},
                "sat": {"type": "integer", "minimum": 4, "maximum": 40},
                "src": {"enum": ["gnss", "lbs", "wifi", "last"]},
            },
        },
        "mot": {"properties": {"odo": {"type": "integer", "minimum": 0}}},
        "pwr": {"properties": {"bat": {"type": "integer", "minimum": 0, "maximum": 100}}},
        "seal": {
            "properties": {
                "lock": {"enum": ["locked", "open", "stuck"]},
                "rope": {"enum": ["in", "out", "cut"]},
                "case": {"enum": ["closed", "open"]},
            }
        },
    },
}


def motion(subject: Vehicle) -> Iterator[Truth]:
    while not subject.ended:
        subject.tick()
        yield subject.truth


def off_route_m(truth: Truth) -> float:
    return DECLARED.nearest_m((truth.lon, truth.lat))[1]


def plotted(name: str, **params: Any) -> Vehicle:
    return vehicle(plot={"name": name, "params": params})


# What is broken on purpose, and what starts to count anew.
BROKEN = {"malformed", "oversized", "unknown_version", "forged"}
RESTARTS = {"cloned_identity", "factory_reset"}
# Records lost for good.
HOLES = {"flash_loss", "store_full"}


@pytest.mark.parametrize("name", PLOTS)
def test_every_plot_is_documented(name: str) -> None:
    first = (PLOTS[name].__doc__ or "").splitlines()[0]
    assert 10 < len(first) <= 100
    assert first.endswith(".")
    assert all(field.description for field in PLOTS[name].model_fields.values())
    assert not any(word in first for word in ("Base", "TODO"))


@pytest.mark.parametrize("name", [name for name in PLOTS if name not in BROKEN])
def test_every_plot_sends_valid_records(name: str) -> None:
    played = trip_of(name)
    validator = jsonschema.Draft202012Validator(RECORD)
    for _, message in played.sent:
        assert len(message.payload) <= (4096 if message.records == 1 else 65536)
        assert message.records <= 100
    for device_id in ("s1", "g1"):
        made = [record for _, record in played.records(device_id)]
        assert made
        for record in made:
            validator.validate(record)
        if name not in RESTARTS | HOLES:
            assert {r["seq"] for r in made} == set(range(1, max(r["seq"] for r in made) + 1))


def test_honest_stays_on_the_route_within_noise() -> None:
    subject = vehicle()
    fixes = [r["fix"] for r in records(drive(subject))]
    assert len(fixes) > 200
    assert max(DECLARED.nearest_m((f["lon"], f["lat"]))[1] for f in fixes) < 12
    assert subject.truth.arrived


def test_the_seal_and_the_unit_share_one_motion_with_noise_of_their_own() -> None:
    messages = drive(vehicle())
    seal = {r["ts"]: r for r in records(messages, "s1")}
    unit = {r["ts"]: r for r in records(messages, "g1")}
    both = sorted(set(seal) & set(unit))
    assert len(both) >= 2
    for ts in both:
        assert seal[ts]["mot"]["odo"] == unit[ts]["mot"]["odo"]
        assert seal[ts]["fix"]["lat"] != unit[ts]["fix"]["lat"]
        assert abs(seal[ts]["fix"]["lat"] - unit[ts]["fix"]["lat"]) < 0.0002


def test_same_seed_same_bytes() -> None:
    def wire(seed: int) -> list[tuple[str, bytes]]:
        plot = [{"name": "coverage_gap"}, {"name": "rope_cut"}]
        return [(m.topic, m.payload) for m in drive(vehicle(seed=seed, plot=plot))]

    assert wire(5) == wire(5)
    assert wire(5) != wire(6)


@pytest.mark.parametrize("place", [[77.45, 43.40], [77.5, 43.43]])
def test_a_planned_stop_is_made_at_its_place(place: list[float]) -> None:
    subject = vehicle(stops=[{"at": place, "minutes": 30}])
    spot = (place[0], place[1])
    there = [t for t in motion(subject) if distance_m((t.lon, t.lat), spot) < 60]
    still_s = sum((b.t_ms - a.t_ms) / 1000 for a, b in pairwise(there) if not a.moving)
    assert still_s == pytest.approx(1800, abs=30)
    assert subject.truth.arrived


@pytest.mark.parametrize("km", [3, 10, 25])
def test_a_diversion_leaves_by_its_kilometres_and_returns(km: float) -> None:
    distances = [off_route_m(t) for t in motion(plotted("diversion", km=km))]
    assert km * 1000 <= max(distances) <= km * 1000 * 1.6
    assert distances[-1] < 5
    # One excursion, not several.
    outside = [d > 1000 for d in distances]
    assert sum(b and not a for a, b in pairwise(outside)) == 1


def test_a_diversion_may_stop_out_there() -> None:
    seen = list(motion(plotted("diversion", km=5, stop_minutes=40)))
    still = [t for t in seen if not t.moving and off_route_m(t) > 4990]
    assert (still[-1].t_ms - still[0].t_ms) / 60_000 == pytest.approx(40, abs=1)


def test_a_diversion_without_return_ends_out_there() -> None:
    subject = plotted("diversion", km=5, returns=False)
    *_, last = motion(subject)
    assert last.arrived
    assert off_route_m(last) >= 5000


def test_an_unauthorised_stop_lasts_its_minutes_at_its_place() -> None:
    still = [
        t
        for t in motion(plotted("unauthorised_stop", minutes=25, at=0.4))
        if not t.moving and 1000 < t.driven_m < 100_000
    ]
    assert {round(t.driven_m) for t in still} == {round(DECLARED.length_m * 0.4)}
    assert (still[-1].t_ms - still[0].t_ms) / 60_000 == pytest.approx(25, abs=0.2)


@pytest.mark.parametrize(
    ("name", "code", "part", "state"),
    [("rope_cut", "rope_cut", "rope", "cut"), ("case_open", "case_open", "case", "open")],
)
@pytest.mark.parametrize("stop_minutes", [0, 4])
def test_a_break_is_one_event_and_stays(
    name: str, code: str, part: str, state: str, stop_minutes: float
) -> None:
    made = list(records(drive(plotted(name, at=0.5, stop_minutes=stop_minutes)), "s1"))
    (event,) = [r for r in made if "evt" in r]
    assert event["evt"]["code"] == code
    assert event["mot"]["mov"] is (stop_minutes == 0)
    assert {r["seal"][part] for r in made if r["seq"] >= event["seq"]} == {state}
    assert state not in {r["seal"][part] for r in made if r["seq"] < event["seq"]}


def test_a_battery_sags_warns_and_dies_without_a_word() -> None:
    subject = plotted("battery_death", minutes=60, at=0.2)
    made = list(records(drive(subject), "s1"))
    levels = [r["pwr"]["bat"] for r in made]
    assert levels == sorted(levels, reverse=True)
    assert [r["evt"]["code"] for r in made if "evt" in r] == ["bat_low", "bat_crit"]
    seal, unit = subject.mounts
    assert (seal.device.alive, unit.device.alive) == (False, True)
    assert not seal.wants_link
    begun_ms = next(t for t in motion(plotted("honest")) if t.driven_m > 24_000).t_ms
    assert made[-1]["ts"] <= begun_ms + 60 * 60_000


@pytest.mark.parametrize(("order", "newest_first"), [("oldest", False), ("newest", True)])
def test_a_gap_delays_records_and_loses_none(order: str, newest_first: bool) -> None:
    live = list(records(drive(plotted("honest")), "g1"))
    made = list(records(drive(plotted("coverage_gap", minutes=30, order=order)), "g1"))
    late = [r for r in made if r["hist"]]
    assert (late[-1]["ts"] - late[0]["ts"]) * (-1 if newest_first else 1) > 25 * 60_000
    seqs = [r["seq"] for r in late]
    assert seqs == sorted(seqs, reverse=newest_first)
    assert {r["ts"] for r in made} == {r["ts"] for r in live}
    assert not any("net" in r for r in late[1:-1])


def test_plots_compose() -> None:
    both = [{"name": "rope_cut", "params": {"at": 0.2}}, {"name": "diversion", "params": {"km": 4}}]
    subject = vehicle(plot=both)
    assert max(off_route_m(t) for t in motion(subject)) >= 4000
    assert [code for code, _ in subject.mounts[0].device.events] == ["rope_cut"]


def test_a_rerouting_before_an_earlier_effect_is_refused() -> None:
    both = [{"name": "rope_cut", "params": {"at": 0.8}}, {"name": "diversion"}]
    with pytest.raises(PlanError, match="rerouting ones come last"):
        make_draft(vehicle_plan(plot=both))
