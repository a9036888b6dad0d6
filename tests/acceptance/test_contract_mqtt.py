"""The MQTT contract: acks, quarantine, signatures, whatever devices are used to doing."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest

from tests.support.customs import Customs
from tests.support.mqtt_device import MqttDevice, topic_of
from tests.support.stack import Stack
from tests.support.waiting import wait_until

NOW_MS = int(time.time() * 1000)


@pytest.fixture(scope="module")
def customs(stack: Stack) -> Customs:
    return Customs(stack, "mqtt")


def rec(seq: int, *, gen: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "v": 1,
        "gen": gen,
        "seq": seq,
        "ts": NOW_MS - 600_000 + seq * 1000,
        "tq": "gnss",
    } | more


def gps(customs: Customs, name: str) -> MqttDevice:
    return MqttDevice(customs.stack, customs.device(name, "gps"), "gps")


def refused(customs: Customs, device: str, count: int = 1) -> list[dict[str, Any]]:
    def items() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = customs.get("/quarantine", device=device, limit=1000)["items"]
        return found if len(found) >= count else []

    found = wait_until(items, 60, f"{count} quarantined of {device}")
    assert len(found) == count, found
    return found


def test_an_event_is_acked_at_once(customs: Customs) -> None:
    with gps(customs, "evt") as d:
        d.send(rec(1, evt={"code": "shock", "at": NOW_MS}), "evt")
        assert d.ack(gen=0, upto=1) == {"op": "ack", "gen": 0, "upto": 1, "high": 1, "missing": []}


def test_an_event_record_on_tlm_is_acked_at_once(customs: Customs) -> None:
    with gps(customs, "evt2") as d:
        d.send(rec(1, evt={"code": "shock", "at": NOW_MS}), "tlm")
        d.ack(gen=0, upto=1)


def test_32_records_are_acked_without_asking(customs: Customs) -> None:
    with gps(customs, "many") as d:
        for n in range(1, 33):
            d.send(rec(n))
        assert d.ack(upto=32)["missing"] == []


def test_newest_first_uploads_free_their_store(customs: Customs) -> None:
    with gps(customs, "newest") as d:
        d.send([rec(n, hist=True) for n in range(40, 70)])
        d.send(rec(100, evt={"code": "shock", "at": NOW_MS}), "evt")
        ack = d.ack(high=100)
        assert ack["upto"] == 0
        assert ack["missing"] == [[1, 39], [70, 99]]
        d.send([rec(n, hist=True) for n in range(1, 40)])
        ack = d.ack(upto=69)
        assert ack["missing"] == [[70, 99]]
        assert ack["high"] == 100


def test_holes_below_lo_are_final(customs: Customs) -> None:
    with gps(customs, "lo") as d:
        d.send([rec(n) for n in (5, 6, 7, 20)])
        d.born(lo=10)
        ack = d.ack(upto=9)
        assert ack["missing"] == [[10, 19]]
        assert ack["high"] == 20


def test_lo_before_any_record(customs: Customs) -> None:
    with gps(customs, "lo2") as d:
        d.born(lo=50)
        ack = d.wait(lambda c: c["op"] == "ack", "ack of the birth")
        assert ack["upto"] == 49
        assert ack["missing"] == []
        d.send(rec(50, evt={"code": "shock", "at": NOW_MS}))
        d.ack(upto=50)


def test_a_new_generation_starts_again(customs: Customs) -> None:
    with gps(customs, "gen") as d:
        d.send([rec(n) for n in range(1, 6)])
        d.born(gen=0)
        d.ack(gen=0, upto=5)
        d.born(gen=1, conn=2)
        d.ack(gen=1, upto=0)
        d.send([rec(n, gen=1) for n in range(1, 4)])
        d.born(gen=1, conn=3)
        d.ack(gen=1, upto=3)
        shown = customs.get(f"/devices/{d.id}")
        assert shown["gen"] == 1
        assert shown["acked_upto"] == 3


def test_a_device_that_lost_its_gen_is_given_one(customs: Customs) -> None:
    with gps(customs, "null") as d:
        d.send([rec(n, gen=4) for n in (1, 2)])
        d.born(gen=4)
        d.ack(gen=4, upto=2)
        d.born(gen=None, conn=2)
        got = d.wait(lambda c: c["op"] == "gen", "a generation")
        assert got["gen"] > 4
    with gps(customs, "null2") as d:
        d.born(gen=None)
        assert d.wait(lambda c: c["op"] == "gen", "a generation")["gen"] >= 0


def test_duplicates_are_merged_in_silence(customs: Customs) -> None:
    with gps(customs, "dup") as d:
        one = rec(1, mot={"odo": 5}, foo={"b": 1, "a": 2})
        d.send(one)
        d.send(one | {"hist": True})
        d.raw(json.dumps(one, sort_keys=True, indent=1).encode())
        d.raw(json.dumps(one).replace('"odo": 5', '"odo": 5.0').encode())
        d.send([one, one])
        d.send(rec(2, evt={"code": "shock", "at": 1}))
        d.ack(upto=2)
        assert customs.get("/quarantine", device=d.id)["items"] == []


def test_another_body_is_a_conflict_and_acked(customs: Customs) -> None:
    with gps(customs, "conf") as d:
        d.send(rec(1, mot={"odo": 5}))
        d.born()
        d.ack(upto=1)
        d.send(rec(1, mot={"odo": 6}))
        (item,) = refused(customs, d.id)
        assert item["reason"] == "identity_conflict"
        assert json.loads(raw_of(item))["mot"]["odo"] == 6


def raw_of(item: dict[str, Any]) -> bytes:
    """The bytes as they came."""
    return base64.b64decode(item["payload_base64"])


def test_one_bad_record_does_not_take_the_others(customs: Customs) -> None:
    with gps(customs, "array") as d:
        d.send([rec(1), {"v": 1, "gen": 0, "seq": "x", "ts": 1}, rec(3), 17, None, rec(2)])
        d.born()
        d.ack(upto=3)
        items = refused(customs, d.id, 3)
        assert all(i["reason"] and i["topic"] and i["received_at"] for i in items)


@pytest.mark.parametrize(
    ("name", "payload"),
    [
        ("nojson", b"{nope"),
        ("empty", b""),
        ("bin", b"\xff\xfe\x00\x01"),
        ("bigone", json.dumps(rec(9, pad="x" * 5000)).encode()),
        ("number", b"17"),
        ("noseq", b'{"v":1,"gen":0,"ts":1}'),
        ("seq0", b'{"v":1,"gen":0,"seq":0,"ts":1}'),
        ("negseq", b'{"v":1,"gen":0,"seq":-1,"ts":1}'),
        ("hugeseq", b'{"v":1,"gen":0,"seq":18446744073709551616,"ts":1}'),
        ("version", b'{"v":2,"gen":0,"seq":1,"ts":1}'),
        ("hugegen", b'{"v":1,"gen":4294967296,"seq":1,"ts":1}'),
        ("emptyarray", b"[]"),
        ("deep", b'{"v":1,"gen":0,"seq":1,"ts":1,"x":' + b"[" * 1800 + b"]" * 1800 + b"}"),
        ("lat", json.dumps(rec(9, fix={"ok": True, "lat": 95, "lon": 76})).encode()),
    ],
)
def test_what_cannot_be_read_is_kept_and_the_stream_goes_on(
    customs: Customs, name: str, payload: bytes
) -> None:
    with gps(customs, name) as d:
        d.raw(payload)
        d.send(rec(2, evt={"code": "shock", "at": 1}))
        d.wait(lambda c: c["op"] == "ack" and c["gen"] == 0 and c["high"] >= 1, "an ack")
        (item,) = refused(customs, d.id)
        assert item["reason"]
        assert raw_of(item) == payload


def test_too_large_an_array(customs: Customs) -> None:
    with gps(customs, "large") as d:
        d.send([rec(n) for n in range(1, 102)])
        d.send([rec(n, pad="x" * 900) for n in range(201, 301)])
        d.send(rec(1000, evt={"code": "shock", "at": 1}))
        d.ack(high=1000)
        reasons = {i["reason"] for i in refused(customs, d.id, 2)}
        assert reasons == {"too_many_records", "oversized"}


def test_null_and_unknown_fields_are_tolerated(customs: Customs) -> None:
    with gps(customs, "null3") as d:
        d.send(
            [
                rec(1, fix=None, mot=None, pwr=None, net=None, seal=None, evt=None, why=None),
                rec(2, fix={"ok": False}),
                rec(3, fix={"ok": True, "lat": None, "lon": None}),
                rec(4, fix={"t": NOW_MS, "ok": True, "lat": 0, "lon": 0, "spd": None}),
                rec(5, zzz={"a": [1, {"b": None}]}, why="somethingnew"),
                rec(6, evt={"code": "brand_new_code"}),
                rec(7, fix={"t": NOW_MS, "ok": True, "lat": 43, "lon": 77, "src": "beidou"}),
                rec(8, tq="weird"),
            ]
        )
        d.born()
        ack = d.wait(lambda c: c["op"] == "ack" and c["high"] == 8, "an ack")
        assert ack["upto"] == 8
        assert customs.get("/quarantine", device=d.id)["items"] == []


def test_an_unknown_device(customs: Customs) -> None:
    id_ = customs.code("stranger")
    with MqttDevice(customs.stack, id_, "gps") as d:
        d.send(rec(1, evt={"code": "shock", "at": 1}))
        (item,) = refused(customs, id_)
        assert "unknown" in item["reason"]
        assert d.heard == []


def test_a_wrong_shard_or_kind_in_the_topic(customs: Customs) -> None:
    device = customs.device("shard", "gps")
    with MqttDevice(customs.stack, device, "gps") as d:
        right = int(topic_of(device, "gps", "tlm").split("/")[2])
        d.send_to(f"cts/v1/{(right + 1) % 64:02d}/gps/{device}/tlm", rec(1))
        d.send_to(topic_of(device, "seal", "tlm"), rec(1))

        def reasons() -> set[str]:
            items = customs.get("/quarantine", limit=1000)["items"]
            return {i["reason"] for i in items if device in i["topic"]}

        wait_until(lambda: reasons() == {"wrong_shard", "wrong_kind"}, 60, "both refused")


def test_seals_must_sign(customs: Customs) -> None:
    made = customs.post("/devices", {"id": customs.code("sig"), "kind": "seal"})
    key = made["key"]
    with MqttDevice(customs.stack, made["id"], "seal") as d:
        d.send(rec(1, evt={"code": "shock", "at": 1}))
        refused(customs, d.id, 1)
        assert not [c for c in d.heard if c["op"] == "ack" and c["high"]]
        d.send_signed(rec(1, evt={"code": "shock", "at": 1}), key)
        d.ack(upto=1)
        d.send_signed([rec(n) for n in range(2, 40)], key)
        d.ack(upto=39)
        bad = dict(key, secret_b64="A" * 43 + "=")
        d.send_signed(rec(40, evt={"code": "shock", "at": 1}), bad)
        items = refused(customs, d.id, 2)
        assert {i["reason"] for i in items} == {"mac_missing", "mac_wrong"}
        d.send_signed(rec(41, evt={"code": "shock", "at": 1}), dict(key, kid="nokid"))
        refused(customs, d.id, 3)
        assert not [c for c in d.heard if c["op"] == "ack" and c["high"] > 39]


def test_a_signature_where_none_is_needed_is_checked(customs: Customs) -> None:
    made = customs.post("/devices", {"id": customs.code("optsig"), "kind": "gps"})
    with MqttDevice(customs.stack, made["id"], "gps") as d:
        d.send_signed(rec(1, evt={"code": "shock", "at": 1}), made["key"])
        d.ack(upto=1)
        d.send_signed(rec(2), dict(made["key"], secret_b64="A" * 43 + "="))
        refused(customs, d.id, 1)
        # a line feed within the JSON is no trailer
        d.raw(b'{"v":1,"gen":0,\n"seq":2,"ts":5,\n"evt":{"code":"shock"}}\n')
        d.ack(upto=2)


def test_births_shown(customs: Customs) -> None:
    with gps(customs, "birth") as d:
        d.born(conn=5, model="X1", hw="2")
        d.wait(lambda c: c["op"] == "ack", "ack")
        d.send({"on": False, "conn": 4}, "state", retain=True)
        d.raw(b"{bad", "state")
        refused(customs, d.id)
        assert customs.get(f"/devices/{d.id}")["online"] is True  # that will was of an older conn


def test_poll_gets_ack(customs: Customs) -> None:
    with gps(customs, "poll") as d:
        d.send(rec(1, why="poll"))
        d.ack(upto=1)


def test_missing_is_bounded(customs: Customs) -> None:
    with gps(customs, "bound") as d:
        odd = [rec(n) for n in range(1, 400, 2)]
        for i in range(0, len(odd), 100):
            d.send(odd[i : i + 100])
        d.born()
        ack = d.wait(lambda c: c["op"] == "ack" and len(c["missing"]) == 64, "an ack of 64 ranges")
        assert ack["upto"] == 1
        assert ack["missing"][0] == [2, 2]
        assert ack["missing"][-1] == [128, 128]
        assert ack["high"] == 129
