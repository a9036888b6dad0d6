"""A device without world or network around it: records, links, acks and commands."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_sim import wire
from firmware_sim.device import Device
from firmware_sim.triggers import Periods
from firmware_sim.wire import Key, Message
from tests.unit.firmware_sim.sims import T0, body, device, records, world


def command(unit: Device, at_s: float = 0, **fields: Any) -> list[Message]:
    return unit.receive(T0 + int(at_s * 1000), json.dumps(fields).encode())


def online(unit: Device) -> Device:
    unit.connect()
    unit.connected(T0)
    return unit


def step(unit: Device, at_s: float, **changes: Any) -> list[Message]:
    return unit.step(T0 + int(at_s * 1000), world(at_s, **changes))


def whys(messages: list[Message]) -> list[str]:
    return [record["why"] for record in records(messages)]


def test_the_first_record_is_the_boot() -> None:
    (record,) = records(step(online(device()), 0))
    assert (record["why"], record["seq"], record["gen"], record["hist"]) == ("boot", 1, 0, False)
    assert record["ts"] == T0


@pytest.mark.parametrize(
    ("kind", "speed_kmh", "period_s"),
    [("gps", 0, 600), ("gps", 50, 60), ("seal", 0, 1800), ("seal", 50, 300)],
)
def test_reports_by_period(kind: str, speed_kmh: float, period_s: int) -> None:
    unit = online(device(kind))
    made = [s for s in range(2 * period_s + 1) if step(unit, s, speed_kmh=speed_kmh)]
    assert made == [0, period_s, 2 * period_s]


def test_reports_by_distance_and_angle() -> None:
    unit = online(device())
    step(unit, 0, speed_kmh=50, odo_m=0, heading_deg=350)
    assert whys(step(unit, 5, speed_kmh=50, odo_m=499, heading_deg=4)) == []
    assert whys(step(unit, 6, speed_kmh=50, odo_m=500, heading_deg=4)) == ["dist"]
    assert whys(step(unit, 12, speed_kmh=50, odo_m=510, heading_deg=19)) == ["angle"]


def test_a_change_of_motion_is_a_record_once_it_lasts() -> None:
    unit = online(device())
    step(unit, 0)
    (start,) = records(step(unit, 1, speed_kmh=20))
    assert (start["why"], start["mot"]["mov"]) == ("mot", True)
    assert [s for s in range(2, 60) if step(unit, s)] == [21]
    assert unit.triggers.mov is False


def test_events_come_at_once_on_their_own_channel() -> None:
    unit = online(device("seal"))
    step(unit, 0)
    messages = step(unit, 7, rope="cut", case="open", bat_pct=4.9)
    assert {m.topic.split("/")[-1] for m in messages} == {"evt"}
    events = [record["evt"] for record in records(messages)]
    assert [e["code"] for e in events] == ["rope_cut", "case_open", "bat_low", "bat_crit"]
    assert {e["at"] for e in events} == {T0 + 7000}
    assert whys(step(unit, 8, rope="cut", case="open", bat_pct=4.9)) == []


def test_external_power_cut_and_back() -> None:
    unit = online(device())
    step(unit, 0)
    cut, back = step(unit, 1, ext_mv=6_900), step(unit, 2, ext_mv=10_000)
    assert [r["evt"]["code"] for r in records([*cut, *back])] == ["ext_cut", "ext_ok"]


def test_birth_events_then_backlog() -> None:
    unit = device("seal")
    for s in range(0, 3000, 300):
        step(unit, s, speed_kmh=50, rope="cut" if s > 1000 else "in")
    unit.connect()
    birth, events, backlog = unit.connected(T0 + 3_000_000)
    assert birth.retain
    assert body(birth) == {
        "on": True,
        "ts": T0 + 3_000_000,
        "conn": 1,
        "boot": 1,
        "gen": 0,
        "lo": 1,
        "fw": "1.0.0",
        "hw": "sim",
        "model": "firmware_sim",
    }
    assert events.topic.endswith("/evt")
    assert backlog.topic.endswith("/tlm")
    sent = list(records([events, backlog]))
    assert all(record["hist"] for record in sent)
    assert sorted(record["seq"] for record in sent) == list(range(1, unit.store.made + 1))


@pytest.mark.parametrize(("order", "first"), [("oldest", 1), ("newest", 250)])
def test_a_long_backlog_goes_in_arrays_in_the_set_order(order: str, first: int) -> None:
    unit = device(backlog=order)
    for i in range(250):
        step(unit, i * 60, speed_kmh=50)
    unit.connect()
    _, *arrays = unit.connected(T0)
    assert [m.records for m in arrays] == [100, 100, 50]
    seqs = [record["seq"] for record in records(arrays)]
    assert seqs[0] == first
    assert seqs == sorted(seqs, reverse=order == "newest")


def test_the_body_of_a_record_never_changes_but_for_hist() -> None:
    unit = online(device())
    (live,) = records(step(unit, 0))
    unit.lost()
    unit.connect()
    (again,) = records(unit.connected(T0 + 9000))
    assert again.pop("hist") is True
    assert live.pop("hist") is False
    assert live == again


def test_conn_grows_and_the_will_names_it() -> None:
    unit = device(conn_before=41)
    will = unit.connect()
    assert (body(will), will.retain) == ({"on": False, "conn": 42}, True)
    assert body(unit.connected(T0)[0])["conn"] == 42
    (leave,) = unit.leave(T0)
    assert body(leave) == {"on": False, "ts": T0, "conn": 42}
    assert body(unit.connect())["conn"] == 43


def test_an_ack_frees_what_was_sent_and_only_of_this_gen() -> None:
    unit = online(device(gen=2))
    for i in range(5):
        step(unit, i * 60, speed_kmh=50)
    command(unit, op="ack", gen=1, upto=5, high=5, missing=[])
    assert len(unit.store) == 5
    unit.lost()
    step(unit, 400, speed_kmh=50)
    command(unit, op="ack", gen=2, upto=99, high=99, missing=[[2, 3]])
    assert [kept.seq for kept in unit.store] == [6]
    assert unit.acked == 5


@pytest.mark.parametrize("payload", [b"", b"x", b"[]", b'{"op":"ack"}', b'{"op":"poll"}', b"\xff"])
def test_a_malformed_command_is_ignored(payload: bytes) -> None:
    unit = online(device())
    step(unit, 0)
    assert unit.receive(T0, payload) == []
    assert len(unit.store) == 1


def test_without_gen_a_device_waits_for_one() -> None:
    unit = device(gen=None)
    unit.connect()
    (birth,) = unit.connected(T0)
    assert body(birth)["gen"] is None
    assert step(unit, 0) == []
    again, record = command(unit, op="gen", gen=7)
    assert body(again)["gen"] == 7
    assert [(r["gen"], r["seq"]) for r in records([record])] == [(7, 1)]
    assert command(unit, op="gen", gen=8) == []
    assert unit.gen == 7


def test_config_changes_the_periods() -> None:
    unit = online(device())
    (rsp,) = command(unit, op="config", id="c1", exp=T0 + 1, moving_s=10, parked_s=20)
    assert rsp.topic.endswith("/rsp")
    assert body(rsp) == {"id": "c1", "ok": True}
    assert unit.triggers.periods == Periods(moving_s=10, parked_s=20, distance_m=500, angle_deg=15)


def test_config_turns_parameters_on_and_off() -> None:
    unit = online(device())
    command(unit, op="config", id="c1", distance_m=None, angle_deg=None, speed_kmh=15)
    step(unit, 1, speed_kmh=40)
    assert whys(step(unit, 10, speed_kmh=50, odo_m=9_000, heading_deg=200)) == []
    assert whys(step(unit, 20, speed_kmh=56, odo_m=9_000, heading_deg=200)) == ["speed"]


def test_a_parked_device_sleeps_between_its_records_if_told_to() -> None:
    unit = online(device("seal"))
    step(unit, 0)
    command(unit, op="config", id="c1", parked_s=600, sleep_s=3600)
    (record,) = records(step(unit, 600))
    assert record["sleep_s"] == 3600
    assert unit.asleep
    assert unit.resting
    assert [s for s in range(601, 4300, 10) if step(unit, s)] == []
    assert unit.online is False
    unit.connect()
    _, backlog = unit.connected(T0 + 4_300_000)
    (woken,) = [r for r in records([backlog]) if r["seq"] == unit.store.made]
    assert (woken["ts"], "sleep_s" in woken) == (T0 + 4_201_000, False)
    assert [r["sleep_s"] for r in records(step(unit, 4801))] == [3600]


def test_an_alarm_wakes_a_sleeper_and_driving_does_not() -> None:
    unit = online(device("seal"))
    step(unit, 0)
    unit.sleep(T0, world(0), 3600)
    step(unit, 10, speed_kmh=50)
    assert unit.resting
    step(unit, 20, speed_kmh=50, rope="cut")
    assert not unit.resting
    assert [e for e, _ in unit.events] == ["rope_cut"]


def test_a_reboot_raises_boot_and_keeps_seq() -> None:
    unit = online(device())
    step(unit, 0)
    unit.reboot(T0 + 1000, off_s=8)
    assert step(unit, 5) == []
    assert not unit.online
    step(unit, 9)
    unit.connect()
    birth, backlog = unit.connected(T0 + 9000)
    assert body(birth)["boot"] == 2
    last = list(records([backlog]))[-1]
    assert (last["seq"], last["why"], last["fix"]["ok"]) == (2, "boot", False)
    assert [r["fix"]["ok"] for r in records(step(unit, 120, speed_kmh=50))] == [True]


def test_what_comes_down_to_a_deaf_device_changes_nothing() -> None:
    unit = online(device())
    step(unit, 0, hears=False)
    assert command(unit, op="ack", gen=0, upto=1, high=1, missing=[]) == []
    assert len(unit.store) == 1


@pytest.mark.parametrize(
    ("fields", "err"),
    [
        ({"op": "config", "moving_s": 0}, "bad_value"),
        ({"op": "config", "moving_s": "9"}, "bad_value"),
        ({"op": "config"}, "bad_value"),
        ({"op": "config", "parked_s": None}, "bad_value"),
        ({"op": "config", "sleep_s": 0}, "bad_value"),
        ({"op": "time", "ts": None}, "bad_value"),
        ({"op": "poll", "exp": T0 - 1}, "expired"),
        ({"op": "dance"}, "unknown_op"),
        ({"op": "unseal"}, "not_a_seal"),
    ],
)
def test_what_is_refused_changes_nothing(fields: dict[str, Any], err: str) -> None:
    unit = online(device())
    step(unit, 0)
    (rsp,) = command(unit, id="c1", **fields)
    assert body(rsp) == {"id": "c1", "ok": False, "err": err}
    assert unit.store.made == 1


def test_poll_makes_a_record_once_however_often_it_arrives() -> None:
    unit = online(device())
    step(unit, 0)
    record, rsp = command(unit, 1, op="poll", id=5)
    assert [r["why"] for r in records([record])] == ["poll"]
    assert [body(m) for m in command(unit, 2, op="poll", id=5)] == [body(rsp)]
    assert unit.store.made == 2


def test_unseal_and_seal() -> None:
    unit = online(device("seal"))
    step(unit, 0)
    opened, _ = command(unit, 1, op="unseal", id="a")
    closed, _ = command(unit, 2, op="seal", id="b")
    first, second = records([opened, closed])
    assert first["evt"] == {"code": "unsealed", "at": T0 + 1000, "auth": "remote"}
    assert (first["seal"]["lock"], first["seal"]["armed"]) == ("open", False)
    assert second["evt"]["code"] == "sealed"
    assert (second["seal"]["lock"], second["seal"]["armed"]) == ("locked", True)


def test_the_clock_can_be_wrong_and_be_set() -> None:
    unit = online(device(clock_offset_ms=-5000))
    (record,) = records(step(unit, 0))
    assert (record["ts"], record["fix"]["t"]) == (T0 - 5000, T0)
    changed, _ = command(unit, 1, op="time", id="t", ts=T0 + 1000)
    (event,) = records([changed])
    assert (event["evt"]["code"], event["ts"]) == ("clock_set", T0 + 1000)


def test_a_key_signs_everything_and_guards_commands() -> None:
    key = Key(kid="k1", secret=b"s")
    unit = device(key=key)
    will = unit.connect()
    messages = [will, *unit.connected(T0), *step(unit, 0), *unit.leave(T0)]
    assert len(messages) == 4
    assert all(wire.verified(key, m.topic, m.payload) for m in messages)
    poll = b'{"op":"poll","id":"p"}'
    (refused,) = unit.receive(T0, poll)
    assert body(refused)["err"] == "mac"
    signed = wire.sign(key, unit.topic("cmd"), poll.replace(b'"p"', b'"q"'))
    assert body(unit.receive(T0, signed)[-1]) == {"id": "q", "ok": True}


def test_the_dead_are_silent() -> None:
    unit = online(device("seal"))
    step(unit, 0)
    assert step(unit, 1, alive=False, rope="cut") == []
    assert not unit.alive


LINKS = st.sampled_from(["on", "off", "ack", "step", "event"])


@given(doings=st.lists(LINKS, max_size=60))
def test_no_record_is_lost_and_seq_grows_by_one(doings: list[str]) -> None:
    """Whatever the link does: the server's set and the store together hold every record."""
    unit, seen, cut = device("seal"), set[int](), False
    for at, doing in enumerate(doings):
        messages: list[Message] = []
        if doing == "on" and not unit.online:
            unit.connect()
            messages = unit.connected(T0 + at)
        elif doing == "off":
            unit.lost()
        elif doing == "ack" and seen:
            upto = next(i for i in range(len(seen) + 1) if i + 1 not in seen)
            holes = [[q, q] for q in range(upto + 1, max(seen)) if q not in seen]
            command(unit, op="ack", gen=0, upto=upto, high=max(seen), missing=holes)
        elif doing in ("step", "event"):
            cut = not cut if doing == "event" else cut
            messages = step(unit, at * 400, speed_kmh=50, rope="cut" if cut else "in")
        seen |= {record["seq"] for record in records(messages)}
        held = {kept.seq for kept in unit.store}
        assert seen | held == set(range(1, unit.store.made + 1))
        assert unit.acked == unit.store.made - len(held)
