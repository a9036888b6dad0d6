"""The most telling behaviours through a real broker, heard by a plain MQTT client."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from firmware_sim import wire
from firmware_sim.build import build_fleet
from firmware_sim.edge import Broker as Address
from firmware_sim.flat import flat
from firmware_sim.fleet import RunOptions, run_fleet
from firmware_sim.plan import Plan, parse_plan
from firmware_sim.report import FleetReport
from firmware_sim.wire import Key
from tests.support.services import Broker
from tests.support.sim_server import Server
from tests.support.waiting import wait_until

ROUTE = [[78.2575, 43.5962], [77.9, 43.52], [77.45, 43.40], [77.2, 43.33], [76.9115, 43.2525]]
SECRET = "0f" * 32
KEY = Key(kid="k1", secret=bytes.fromhex(SECRET))


@pytest.fixture
def server(broker: Broker) -> Iterator[Server]:
    standing = Server(broker.host, broker.port)
    yield standing
    standing.close()


def plan(*plots: str | tuple[str, dict[str, Any]], **changes: Any) -> Plan:
    key = {"kid": "k1", "secret": SECRET}
    one = {
        "vehicle": "V0",
        "devices": [
            {"id": "s0", "kind": "seal", "gen": 0, "key": key},
            {"id": "g0", "kind": "gps", "gen": 0, "key": key},
        ],
        "route": ROUTE,
        "start": "2025-11-20T08:00:00Z",
        "plot": [p if isinstance(p, str) else {"name": p[0], "params": p[1]} for p in plots],
        "seed": 4,
    }
    return parse_plan({"vehicles": [{**one, **changes}]})


def run(broker: Broker, played: Plan) -> FleetReport:
    report = run_fleet(
        played,
        Address(host=broker.host, port=broker.port),
        options=RunOptions(flat_out=True, exit_when_done=True),
    )
    assert not report.timed_out
    assert report.kept == 0
    return report


def ended(server: Server, *devices: str) -> None:
    """Wait until the goodbyes are in: nothing follows them."""
    wait_until(
        lambda: (
            all(server.states[d] and "ts" in server.states[d][-1] for d in devices)
            and not any(server.states[d][-1]["on"] for d in devices)
        ),
        60,
        "a clean leave",
    )


# At its end a run connects anew where acks are long in coming: births and clean leaves may follow.


def bodies(messages: list[tuple[str, bytes]]) -> set[str]:
    """Records without the envelope's hist, as the contract compares them."""
    found: set[str] = set()
    for topic, payload in messages:
        if topic.endswith(("/tlm", "/evt")):
            body = json.loads(wire.split_trailer(payload)[0])
            for record in body if isinstance(body, list) else [body]:
                found.add(json.dumps({**record, "hist": None}, sort_keys=True))
    return found


@pytest.mark.parametrize(
    "plots",
    [
        ("honest",),
        ("rope_cut", "wrong_pins", ("jamming", {"at": 0.6})),
        ("coverage_gap", "reboot"),
    ],
    ids=lambda plots: "-".join(p if isinstance(p, str) else p[0] for p in plots),
)
def test_a_plain_client_hears_what_the_flat_stream_says(
    broker: Broker, server: Server, plots: tuple[Any, ...]
) -> None:
    played = plan(*plots)
    run(broker, played)
    ended(server, "s0", "g0")
    (vehicle,) = build_fleet(played, now=datetime.now(UTC), life=1)
    said = [(message.topic, message.payload) for _, message in flat(vehicle)]
    assert bodies(server.heard) == bodies(said)
    assert all(wire.verified(KEY, topic, payload) for topic, payload in server.heard)
    # Live ones bear the same bytes, signature and all.
    live = {payload for topic, payload in said if topic.endswith("/evt")}
    assert live <= {payload for _, payload in server.heard} or "coverage_gap" in plots


def test_a_reboot_is_the_brokers_will_and_a_birth_with_the_next_boot(
    broker: Broker, server: Server
) -> None:
    run(broker, plan("reboot"))
    ended(server, "g0")
    births = [s for s in server.states["g0"] if s["on"]]
    (will,) = (s for s in server.states["g0"] if "ts" not in s)
    # The will may come after the birth: the broker sees the line break when it sees it.
    assert not will["on"]
    assert will["conn"] == births[0]["conn"] == births[1]["conn"] - 1
    assert (births[0]["boot"], births[1]["boot"]) == (1, 2)


def test_a_planned_sleep_leaves_without_a_will(broker: Broker, server: Server) -> None:
    run(broker, plan(("planned_sleep", {"minutes": 20, "at": 0.4})))
    ended(server, "s0")
    states = server.states["s0"]
    assert [s["on"] for s in states[:3]] == [True, False, True]
    assert all("ts" in s for s in states)
    asleep = {(r["sleep_s"], r["ts"]) for r in server.records["s0"] if r.get("sleep_s")}
    assert asleep == {(1200, states[1]["ts"])}


def test_the_will_of_a_half_open_connection_comes_after_the_next_birth(
    broker: Broker, server: Server
) -> None:
    run(broker, plan("half_open"))
    ended(server, "g0")
    states = server.states["g0"]
    births = [i for i, s in enumerate(states) if s["on"]]
    late = [s for s in states[births[1] :] if not s["on"] and "ts" not in s]
    assert [s["conn"] for s in late] == [states[births[0]]["conn"]]
    assert late[0]["conn"] < states[births[1]]["conn"]


def test_a_storm_is_births_and_wills_in_turn(broker: Broker, server: Server) -> None:
    run(broker, plan(("reconnect_storm", {"minutes": 6, "every_s": 60})))
    ended(server, "g0")
    births = [s["conn"] for s in server.states["g0"] if s["on"]]
    wills = [s["conn"] for s in server.states["g0"] if not s["on"] and "ts" not in s]
    assert len(wills) >= 4
    assert births == list(range(births[0], births[0] + len(births)))
    # A device waits for the broker to see its line break, but not for ever: where the broker stands
    # still it takes its session over, and of a session that goes on Mosquitto publishes no will. So
    # one may be missing, none is made up.
    assert wills == [conn for conn in births if conn in wills]
    assert wills[-1] < births[-1]


def test_a_clone_is_connected_beside_the_original(broker: Broker, server: Server) -> None:
    run(broker, plan(("cloned_identity", {"at": 0.2, "minutes": 60})))
    ended(server, "s0")
    by_seq: dict[int, set[str]] = {}
    for record in server.records["s0"]:
        same = json.dumps({**record, "hist": None}, sort_keys=True)
        by_seq.setdefault(record["seq"], set()).add(same)
    assert sum(len(found) == 2 for found in by_seq.values()) >= 3
    # Neither ousts the other: one birth each, and no will but the clone's, which ends suddenly.
    states = server.states["s0"]
    assert [s["conn"] for s in states if s["on"]][:2] == [states[0]["conn"]] * 2
    assert sum("ts" not in s for s in states) <= 1
    assert all(wire.verified(KEY, topic, payload) for topic, payload in server.heard)


def test_lost_acks_bring_everything_twice_and_the_same(broker: Broker, server: Server) -> None:
    run(broker, plan("lost_acks"))
    ended(server, "g0")
    seqs = Counter(record["seq"] for record in server.records["g0"])
    # Of a broker that is slow to confirm, only what it had room for had come the first time.
    assert sum(count > 1 for count in seqs.values()) > 10
    assert len(bodies(server.heard)) == sum(
        len({record["seq"] for record in server.records[d]}) for d in ("s0", "g0")
    )


@pytest.mark.parametrize("name", ["malformed", "oversized", "unknown_version", "forged"])
def test_what_is_broken_arrives_as_it_is(broker: Broker, server: Server, name: str) -> None:
    device = "s0" if name == "forged" else "g0"
    played = plan((name, {"times": 2}))
    run(broker, played)
    ended(server, device)
    (vehicle,) = build_fleet(played, now=datetime.now(UTC), life=1)
    odd = [
        message.payload
        for _, message in flat(vehicle)
        if message.records == 0 and message.topic.endswith(f"/{device}/tlm")
    ]
    assert len(odd) == 2
    heard = [payload for _, payload in server.heard]
    assert [payload for payload in heard if payload in odd] == odd


def test_the_last_word_of_a_dying_battery_is_heard(broker: Broker, server: Server) -> None:
    run(broker, plan(("battery_death", {"at": 0.2, "minutes": 40})))
    wait_until(lambda: not server.states["s0"][-1]["on"], 60, "the will")
    told = [r["evt"]["code"] for r in server.records["s0"] if "evt" in r]
    assert list(dict.fromkeys(told)) == ["bat_low", "bat_crit"]
