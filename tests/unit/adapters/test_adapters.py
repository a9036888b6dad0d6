"""OwnTracks' and Traccar's messages as records: golden payloads, refusals, identity."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tracker import adapters
from tracker.adapters import Adapted, adapt, record_of
from tracker.adapters.alarms import GRAVITY, MEANINGS, meanings
from tracker.clocks import time_of
from tracker.model import FORWARDED_GEN, Record, TimeFlag
from tracker.payload import MAX_ARRAY_BYTES, Reason, Rejected

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests/data/golden"
CASES = sorted((GOLDEN / "owntracks").glob("*.json")) + sorted((GOLDEN / "traccar").glob("*.json"))
CODES = {
    *("rope_cut", "case_open", "unlock_ok", "unlock_denied", "card_illegal", "pin_wrong"),
    *("sealed", "unsealed", "motor_fault", "bat_low", "bat_crit", "shock", "ext_cut", "ext_ok"),
    *("jam_on", "jam_off", "spoof_on", "fence_in", "fence_out", "selftest_fail"),
    *("store_full", "clock_set"),
}
RECEIVED_MS = 1_763_720_000_000


def adapted(topic: str, payload: Any) -> Adapted:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    found = adapt(topic, body)
    assert isinstance(found, Adapted), found
    return found


def the_record(topic: str, payload: Any) -> Record:
    (decoded,) = adapted(topic, payload).records
    return decoded.record


def refused(topic: str, payload: Any) -> Rejected:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    found = adapt(topic, body)
    assert isinstance(found, Rejected), found
    assert found.payload == body
    return found


def assert_holds(found: Any, expected: Any, at: str) -> None:
    """Every field of ``expected``, at any depth, is in ``found``; numbers within rounding."""
    if isinstance(expected, dict):
        assert isinstance(found, dict), f"{at}: {found!r}"
        for key, value in expected.items():
            assert_holds(found[key], value, f"{at}.{key}")
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, abs=1e-6), at
    else:
        assert found == expected, at


@pytest.mark.parametrize("path", CASES, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_golden_payloads_become_the_records_they_should(path: Path) -> None:
    golden = json.loads(path.read_text())
    traccar = path.parent.name == "traccar"
    topic = adapters.TRACCAR_TOPIC if traccar else golden["topic"]
    body = json.dumps(golden["payload"]).encode()
    found = adapted(topic, body)
    assert found.device == golden.get("device", "863051066812345" if traccar else "driver-phone")
    (decoded,) = found.records
    assert decoded.body == body
    assert (decoded.record.v, decoded.record.gen) == (1, FORWARDED_GEN)
    assert_holds(msgspec.to_builtins(decoded.record), golden["record"], "record")
    assert record_of(body, found.source) == decoded.record


# ---------------------------------------------------------------- OwnTracks

PHONE = "owntracks/driver/phone"
HERE = {"_type": "location", "tst": 1763719200, "lat": 43.2, "lon": 76.9}


def test_a_will_says_the_device_has_gone_and_makes_no_record() -> None:
    found = adapted(PHONE, {"_type": "lwt", "tst": 1380738247})
    assert (found.device, found.records, found.online) == ("driver-phone", (), False)


def test_a_retained_message_that_is_cleared_says_nothing() -> None:
    found = adapted(PHONE, b"")
    assert (found.records, found.online) == ((), None)


@pytest.mark.parametrize(
    ("payload", "word"),
    [
        ({"_type": "encrypted", "data": "…"}, "encrypted"),
        ({"_type": "waypoint", "tst": 1, "lat": 1, "lon": 1, "desc": "x"}, "waypoint"),
        ({"_type": "card", "name": "x"}, "card"),
        ({"lat": 43.2, "lon": 76.9, "tst": 1763719200}, "_type"),
        ({**HERE, "lat": 90.1}, "lat"),
        ({**HERE, "lon": None}, "lon"),
        ({**HERE, "lat": True}, "lat"),
        ({**HERE, "tst": "yesterday"}, "tst"),
        ({**HERE, "tst": 0}, "tst"),
        ({**HERE, "tst": 1e300}, "tst"),
        ({**HERE, "tst": 1e308}, "tst"),
    ],
)
def test_what_carries_no_position_is_refused_with_its_field(payload: Any, word: str) -> None:
    found = refused(PHONE, payload)
    assert found.reason is Reason.INVALID_FIELD
    assert word in found.detail


@pytest.mark.parametrize(
    ("topic", "reason"),
    [
        ("owntracks/driver", Reason.BAD_TOPIC),
        ("owntracks/driver/phone/waypoint", Reason.BAD_TOPIC),
        ("owntracks//phone", Reason.BAD_TOPIC),
        ("owntracks/дима/phone", Reason.INVALID_FIELD),
        (f"owntracks/{'u' * 40}/{'d' * 40}", Reason.INVALID_FIELD),
    ],
)
def test_a_topic_must_name_a_device(topic: str, reason: Reason) -> None:
    assert refused(topic, HERE).reason is reason


@pytest.mark.parametrize(("kmh", "moving"), [(0, False), (4, False), (5, True), (80, True)])
def test_motion_is_told_from_speed(kmh: int, moving: bool) -> None:
    motion = the_record(PHONE, {**HERE, "vel": kmh}).mot
    assert motion is not None
    assert motion.mov is moving


def test_the_time_of_the_fix_is_the_time_of_the_record() -> None:
    record = the_record(PHONE, {**HERE, "created_at": 1763719500})
    assert time_of(record, RECEIVED_MS) == (1763719200_000, TimeFlag.FROM_FIX)
    assert the_record(PHONE, {**HERE, "created_at": 1e308}).ts == 1763719200_000


def test_the_booklets_own_example_decodes() -> None:
    """As its guide to the first publication shows it."""
    body = (
        b'{"_type":"location","SSID":"mywifi","alt":154,"batt":53,"conn":"w",'
        b'"created_at":1706856299,"lat":48.856826,"lon":2.292713,"tid":"j1",'
        b'"tst":1706856298,"vel":0}'
    )
    found = adapted("owntracks/jane/nokia", body)
    record = found.records[0].record
    assert found.device == "jane-nokia"
    assert record.ts == 1706856299_000
    assert record.fix is not None
    assert (record.fix.t, record.fix.lat, record.fix.lon) == (1706856298_000, 48.856826, 2.292713)
    assert (record.fix.alt, record.fix.spd, record.fix.ok) == (154, 0, True)
    assert record.mot is not None
    assert record.mot.mov is False
    assert record.pwr is not None
    assert record.pwr.bat == 53


# ---------------------------------------------------------------- Traccar


def test_traccars_own_example_decodes() -> None:
    """A position as its maintainers' forum shows it, with the device around it."""
    body = (
        b'{"position":{"id":0,"attributes":{"batteryLevel":53,"distance":0,'
        b'"totalDistance":5922.96,"motion":false},"deviceId":1,"type":null,"protocol":"osmand",'
        b'"serverTime":"2020-05-07T09:48:18.770+0000","deviceTime":"2020-05-07T09:48:15.000+0000",'
        b'"fixTime":"2020-05-07T09:48:15.000+0000","outdated":false,"valid":true,'
        b'"latitude":21.1416013,"longitude":99.6410078,"altitude":0,"speed":0,"course":90,'
        b'"address":null,"accuracy":2200,"network":null},"device":{"id":1,"uniqueId":"123456"}}'
    )
    found = adapted(adapters.TRACCAR_TOPIC, body)
    record = found.records[0].record
    assert found.device == "123456"
    assert record.fix is not None
    assert (record.ts, record.fix.t) == (1588844895_000, 1588844895_000)
    assert (record.fix.lat, record.fix.lon, record.fix.hdg) == (21.1416013, 99.6410078, 90)
    assert (record.fix.acc, record.fix.spd, record.fix.ok) == (2200, 0, True)
    assert record.mot is not None
    assert (record.mot.mov, record.mot.odo) == (False, None)
    assert record.pwr is not None
    assert record.pwr.bat == 53


def forwarded(**position: Any) -> dict[str, Any]:
    golden = json.loads((GOLDEN / "traccar/position.json").read_text())["payload"]
    golden["position"].update(position)
    return dict(golden)


def test_speed_is_in_knots() -> None:
    fix = the_record(adapters.TRACCAR_TOPIC, forwarded(speed=50)).fix
    assert fix is not None
    assert fix.spd == pytest.approx(92.6)


def test_the_topic_of_traccar_is_a_setting() -> None:
    body = json.dumps(forwarded()).encode()
    assert isinstance(adapt("customs/in", body, traccar_topic="customs/in"), Adapted)
    assert not adapters.is_foreign(adapters.TRACCAR_TOPIC, traccar_topic="customs/in")
    assert adapters.is_foreign("customs/in", traccar_topic="customs/in")
    assert not adapters.is_foreign("cts/v1/07/gps/x/tlm")


@pytest.mark.parametrize(
    ("payload", "word"),
    [
        ({"device": {"uniqueId": "1"}}, "position"),
        ({"position": {}, "device": {"uniqueId": "1"}}, "deviceTime"),
        ({"position": {}}, "uniqueId"),
        ({"position": {}, "device": {"uniqueId": "a b"}}, "uniqueId"),
        ({"position": {}, "device": {"uniqueId": 12}}, "uniqueId"),
        ({"position": [], "device": []}, "uniqueId"),
    ],
)
def test_what_is_no_forwarded_position_is_refused_with_its_field(payload: Any, word: str) -> None:
    found = refused(adapters.TRACCAR_TOPIC, payload)
    assert found.reason is Reason.INVALID_FIELD
    assert word in found.detail


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'"traccar/positions"', Reason.MALFORMED),  # what releases before mid-2024 sent
        (b"", Reason.MALFORMED),
        (b"[]", Reason.MALFORMED),
        (b'{"position":{"speed":NaN}}', Reason.MALFORMED),
        (b"\xff", Reason.MALFORMED),
        (b"[" * 100_000, Reason.OVERSIZED),
        (b"[" * 60_000, Reason.MALFORMED),
        (b'{"a":"' + b"x" * MAX_ARRAY_BYTES + b'"}', Reason.OVERSIZED),
    ],
)
def test_what_is_no_json_object_is_refused(body: bytes, reason: Reason) -> None:
    assert refused(adapters.TRACCAR_TOPIC, body).reason is reason


def test_a_dead_clock_is_replaced_by_the_servers_and_flagged() -> None:
    start = "1970-01-01T00:10:00.000+00:00"
    record = the_record(adapters.TRACCAR_TOPIC, forwarded(fixTime=start, deviceTime=start))
    t_ms, flags = time_of(record, RECEIVED_MS)
    assert t_ms == 1763719202_000
    assert flags & TimeFlag.IMPLAUSIBLE
    assert flags & TimeFlag.FROM_TS


def test_a_repeated_fix_does_not_date_the_record() -> None:
    """Without a fix Traccar repeats the last: the alarm is of now, and not of the last fix."""
    record = the_record(
        adapters.TRACCAR_TOPIC,
        forwarded(outdated=True, fixTime="2025-11-21T08:00:00.000+00:00"),
    )
    assert time_of(record, RECEIVED_MS)[0] == 1763719200_000
    assert record.seq >> 21 == 1763719200_000


def test_every_alarm_has_an_event_of_the_contract_and_a_reason() -> None:
    assert {m.event for m in MEANINGS.values()} == set(GRAVITY)
    assert set(GRAVITY) <= CODES
    assert all(m.reason for m in MEANINGS.values())


def test_the_guide_tells_what_each_alarm_becomes() -> None:
    """By the rows of its table: | `alarm`, … | `event`, … | …"""
    told: dict[str, str] = {}
    for row in (ROOT / "docs/guides/adapters.md").read_text(encoding="utf-8").splitlines():
        cells = [re.findall(r"`(\w+)`", cell) for cell in row.split("|")[1:3]]
        if len(cells) == 2 and set(cells[1]) & set(GRAVITY):
            events = cells[1] if len(cells[1]) == len(cells[0]) else cells[1] * len(cells[0])
            told |= dict(zip(cells[0], events, strict=True))
    assert told == {alarm: meaning.event for alarm, meaning in MEANINGS.items()}


def test_alarms_are_told_gravest_first_and_unknown_words_left() -> None:
    assert [m.event for m in meanings("lock, sos,lowBattery,removing")] == [
        "rope_cut",
        "bat_low",
        "sealed",
    ]
    assert meanings(None) == meanings(7) == meanings("") == []


# ---------------------------------------------------------------- identity


def seq_of(payload: Any, topic: str = adapters.TRACCAR_TOPIC) -> int:
    return the_record(topic, payload).seq


@pytest.mark.parametrize(
    "again",
    [
        {"serverTime": "2025-11-21T11:00:00.000+00:00"},
        {"id": 4711},
        {"address": "Алматы"},
        {"geofenceIds": [3]},
    ],
)
def test_what_the_server_adds_makes_no_other_record(again: dict[str, Any]) -> None:
    first, second = json.dumps(forwarded()).encode(), json.dumps(forwarded(**again)).encode()
    assert seq_of(first) == seq_of(second)
    assert adapters.same(first, second, TimeFlag.TRACCAR)


@pytest.mark.parametrize("key", ["archive", "distance", "totalDistance", "hours", "ip"])
def test_what_a_resent_position_differs_in_makes_no_other_record(key: str) -> None:
    again = forwarded()
    again["position"]["attributes"] = {**again["position"]["attributes"], key: 1}
    assert seq_of(forwarded()) == seq_of(again)


@pytest.mark.parametrize(
    "other",
    [{"latitude": 43.2389491}, {"attributes": {"alarm": "tampering"}}, {"valid": False}],
)
def test_another_position_of_the_same_second_is_another_record(other: dict[str, Any]) -> None:
    first, second = json.dumps(forwarded()).encode(), json.dumps(forwarded(**other)).encode()
    assert seq_of(first) != seq_of(second)
    assert not adapters.same(first, second, TimeFlag.TRACCAR)


def test_a_fix_published_twice_is_one_record() -> None:
    again = {**HERE, "_id": "8d3f", "created_at": 1763719300, "conn": "w"}
    assert seq_of(HERE, PHONE) == seq_of(again, PHONE)
    assert seq_of(HERE, PHONE) != seq_of({**HERE, "tst": 1763719201}, PHONE)


def test_numbers_order_as_times_do_and_fit_the_table() -> None:
    times = [1, 946_684_800, 1_763_719_200, 4_398_046_511]
    seqs = [seq_of({**HERE, "tst": tst}, PHONE) for tst in times]
    assert seqs == sorted(seqs)
    assert seqs[0] > 0
    assert seqs[-1] < 2**63
