"""The simulator over a real broker, with a stand-in for the server that only acknowledges."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from firmware_sim.device import Device, DeviceConfig
from firmware_sim.edge import Broker as Address
from firmware_sim.edge import Link, Wires
from firmware_sim.errors import BrokerError
from firmware_sim.fleet import Run, RunOptions, run_fleet
from firmware_sim.plan import Plan, parse_plan
from firmware_sim.report import FleetReport
from tests.support.services import Broker
from tests.support.sim_server import Server
from tests.support.waiting import wait_until

ROUTE = [[78.2575, 43.5962], [77.9, 43.52], [77.45, 43.40], [77.2, 43.33], [76.9115, 43.2525]]
WAIT_S = 60.0
"""Far above what anything awaited takes when both cores are busy."""
BUS = Path(__file__).parents[3] / "shared" / "data" / "bus_304.gpx"


@pytest.fixture
def server(broker: Broker) -> Iterator[Server]:
    standing = Server(broker.host, broker.port)
    yield standing
    standing.close()


def plan(*plots: Any, start: str = "now-12h", **changes: Any) -> Plan:
    vehicles = [
        {
            "vehicle": f"V{i}",
            "devices": [
                {"id": f"s{i}", "kind": "seal", "key": {"kid": "k1", "secret": "00ff"}},
                {"id": f"g{i}", "kind": "gps"},
            ],
            "route": ROUTE,
            "start": start,
            "plot": plot,
            **changes,
        }
        for i, plot in enumerate(plots)
    ]
    return parse_plan({"vehicles": vehicles})


def play(broker: Broker, played: Plan, **options: Any) -> FleetReport:
    chosen = RunOptions(flat_out=True, exit_when_done=True, **options)
    return run_fleet(played, Address(host=broker.host, port=broker.port), options=chosen)


class Running:
    """A run in a thread of its own, ended with the block or by the test."""

    def __init__(self, broker: Broker, played: Plan, **options: Any) -> None:
        self.stop = threading.Event()
        self.online = threading.Event()
        self.report: FleetReport | None = None
        self._thread = threading.Thread(target=self._play, args=(broker, played, options))
        self._thread.start()

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self._thread.join(WAIT_S)

    def _play(self, broker: Broker, played: Plan, options: dict[str, Any]) -> None:
        address = Address(host=broker.host, port=broker.port)
        self.report = run_fleet(
            played, address, options=RunOptions(**options), stop=self.stop, observe=self._observe
        )

    def _observe(self, run: Run) -> None:
        if run.online == len(run.links):
            self.online.set()

    def end(self) -> FleetReport:
        self.stop.set()
        self._thread.join(WAIT_S)
        assert self.report is not None
        return self.report


def unique(records: list[dict[str, Any]]) -> list[int]:
    return sorted({record["seq"] for record in records})


def _left(states: list[dict[str, Any]]) -> bool:
    return not states[-1]["on"]


def test_a_fleet_is_played_to_the_last_ack(broker: Broker, server: Server) -> None:
    report = play(broker, plan("honest", "rope_cut", "diversion"))
    assert not report.timed_out
    assert report.made == report.acked > 600
    for device in report.devices:
        assert unique(server.records[device.device_id]) == list(range(1, device.made + 1))
        assert len(device.store) == 0
        states = server.states[device.device_id]
        wait_until(partial(_left, states), WAIT_S, "a clean leave")
        assert "ts" in server.states[device.device_id][-1]
    cut = next(device for device in report.devices if device.device_id == "s1")
    assert [code for code, _ in cut.events] == ["rope_cut"]
    assert server.signed > 3


def test_a_coverage_gap_drops_the_link_and_the_backlog_follows_the_events(
    broker: Broker, server: Server
) -> None:
    cut_in_gap = [
        {"name": "coverage_gap", "params": {"at": 0.3, "minutes": 60, "order": "newest"}},
        {"name": "rope_cut", "params": {"at": 0.5, "stop_minutes": 0}},
    ]
    report = play(broker, plan(cut_in_gap))
    assert report.kept == 0
    births = [s for s in server.states["s0"] if s["on"]]
    wills = [s for s in server.states["s0"] if not s["on"] and "ts" not in s]
    assert len(births) >= 2
    assert wills[0]["conn"] == births[0]["conn"]
    assert [s["conn"] for s in births] == sorted({s["conn"] for s in births})
    mine = [channel for device, channel in server.order if device == "s0"]
    second = [i for i, channel in enumerate(mine) if channel == "state"][2]
    assert mine[second + 1 : second + 3] == ["evt", "tlm"]
    late = [r["ts"] for r in server.records["g0"] if r["hist"]][:50]
    assert late == sorted(late, reverse=True)


def test_a_dying_battery_ends_in_a_will(broker: Broker, server: Server) -> None:
    report = play(broker, plan("battery_death"))
    dead = next(device for device in report.devices if device.dead)
    assert dead.device_id == "s0"
    assert [code for code, _ in dead.events] == ["bat_low", "bat_crit"]
    states = server.states["s0"]
    wait_until(lambda: _left(states) and "ts" not in states[-1], WAIT_S, "a will")
    assert report.kept == 0


def test_without_acks_a_run_gives_up_and_keeps_everything(broker: Broker, server: Server) -> None:
    server.acking = False
    report = play(broker, plan("honest"), ack_timeout_s=6)
    assert report.timed_out
    assert report.acked == 0
    assert all(len(device.store) == device.made > 0 for device in report.devices)


def test_a_device_obeys_in_real_time_and_leaves_cleanly(broker: Broker, server: Server) -> None:
    with Running(broker, plan("honest", start="now")) as running:
        assert running.online.wait(WAIT_S)
        server.command("gps", "g0", op="poll", id="p1", exp=4_000_000_000_000)
        server.command("gps", "g0", op="config", id="c1", moving_s=1, parked_s=1)
        wait_until(lambda: len(server.answers) == 2, WAIT_S, "two answers")
        assert {(a["id"], a["ok"]) for a in server.answers} == {("p1", True), ("c1", True)}
        wait_until(
            lambda: [r for r in server.records["g0"] if r["why"] == "time"], WAIT_S, "new period"
        )
        report = running.end()
        assert "poll" in {record["why"] for record in server.records["g0"]}
        wait_until(partial(_left, server.states["g0"]), WAIT_S, "a clean leave")
        assert "ts" in server.states["g0"][-1]
        assert report.devices[1].connections == 1


def test_a_broker_that_goes_away_costs_no_record(broker: Broker, server: Server) -> None:
    every_second = {"gps": {"moving_s": 1, "parked_s": 1}, "seal": {"moving_s": 1, "parked_s": 1}}
    with Running(broker, plan("honest", start="now", periods=every_second)) as running:
        assert running.online.wait(WAIT_S)
        broker.stop()
        broker.start()
        wait_until(
            lambda: [s["on"] for s in server.states["g0"]].count(True) >= 2, 120, "a new birth"
        )
        wait_until(lambda: [r for r in server.records["g0"] if r["hist"]], WAIT_S, "the backlog")
        report = running.end()
        for device in report.devices:
            held = {kept.seq for kept in device.store}
            seen = set(unique(server.records[device.device_id]))
            assert held | seen == set(range(1, device.made + 1))


def test_a_link_begins_anew_only_when_the_broker_has_seen_the_end_of_the_last(
    broker: Broker, server: Server
) -> None:
    address, wires = Address(host=broker.host, port=broker.port), Wires()
    wires.prepare(address, 1)
    unit = Device(DeviceConfig(id="d", kind="gps"), random.Random(1))
    link = Link(unit, broker=address, wires=wires, now_ms=lambda: 1_763_720_000_000)

    def up() -> bool:
        if link.state == "down":
            link.open()
        wires.pump(0.05)
        return link.state == "up"

    wait_until(up, WAIT_S, "a link", every_s=0)
    link.drop()
    link.open()
    assert link.state == "down"
    wait_until(up, WAIT_S, "the next link", every_s=0)
    wires.pump(0.05)
    wait_until(lambda: len(server.states["d"]) == 3, WAIT_S, "birth, will and birth")
    assert [state["on"] for state in server.states["d"]] == [True, False, True]
    link.drop()
    wires.close()


def test_no_broker_is_one_line() -> None:
    with pytest.raises(BrokerError, match=r"no broker at 127\.0\.0\.1:1 .*--port"):
        run_fleet(plan("honest"), Address(port=1))


def command_line(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "firmware_sim", *words],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_the_trip_command(broker: Broker, server: Server) -> None:
    points = [word for lon, lat in ROUTE for word in ("--point", f"{lon},{lat}")]
    done = command_line(
        *("trip", *points, "--seal", "s0", "--gps", "g0", "--start", "now-12h"),
        *("--plot", "unauthorised_stop", "--param", "minutes=30", "--stop", "77.45,43.40,10"),
        *("--port", str(broker.port), "--flat-out", "--exit-when-acked"),
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["type"] for line in lines[-3:]] == ["device", "device", "summary"]
    assert lines[-1]["made"] == lines[-1]["acked"] > 100


def test_the_fleet_and_plots_commands(broker: Broker, server: Server, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    one = {"vehicle": "A", "devices": [{"id": "g0", "kind": "gps"}], "route": ROUTE[-2:]}
    file.write_text(json.dumps({"vehicles": [{**one, "start": "now-3h"}]}))
    words = ("--port", str(broker.port), "--speed", "5000", "--exit-when-acked")
    done = command_line("fleet", str(file), *words)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["kept"] == 0
    listed = command_line("plots").stdout
    assert "diversion: Leaves the route" in listed
    assert "km=10.0" in listed


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (("fleet", "absent.yaml"), "give the name of a plan file"),
        (("trip", "--gps", "g", "--point", "1"), "give 2 numbers"),
        (("trip", "--gps", "g", "--point", "1,2", "--point", "1,3", "--plot", "x"), "known are"),
        (("replay", "absent.csv", "--device", "d"), "give the name of a track file"),
        (("replay", "absent.csv", "--device", "d", "--key", "x"), ""),
        (("fleet",), ""),
    ],
)
def test_bad_input_is_one_line_and_code_2(words: tuple[str, ...], remedy: str) -> None:
    done = command_line(*words)
    assert done.returncode == 2
    assert remedy in done.stderr
    assert "Traceback" not in done.stderr
    if remedy:
        assert done.stderr.count("\n") == 1


def test_an_unreachable_broker_ends_the_command_with_one_line() -> None:
    point = ("--point", "1,2", "--point", "1,3")
    done = command_line("trip", "--gps", "g", *point, "--port", "1")
    assert done.returncode == 2
    assert done.stderr.startswith("error: no broker at 127.0.0.1:1")


@pytest.mark.skipif(not BUS.exists(), reason="shared/data/bus_304.gpx lies beside no clone")
@pytest.mark.parametrize("extra", [(), ("--shift-to-now", "--key", "k1:00ff")])
def test_a_recorded_ride_is_replayed(
    broker: Broker, server: Server, extra: tuple[str, ...]
) -> None:
    words = ("--device", "bus", "--port", str(broker.port), "--flat-out", *extra)
    done = command_line("replay", str(BUS), *words)
    assert done.returncode == 0, done.stderr
    made = server.records["bus"]
    assert len(unique(made)) >= 2144
    own_times = made[0]["ts"] == 1_550_475_950_000
    assert own_times is (not extra)


def test_replay_need_not_wait_for_acks(broker: Broker, server: Server, tmp_path: Path) -> None:
    server.acking = False
    file = tmp_path / "t.csv"
    rows = (f"2025-11-20T08:{i:02d}:00Z,43.{i:02d},76.0" for i in range(40))
    file.write_text("time,lat,lon\n" + "\n".join(rows))
    words = ("--device", "d", "--port", str(broker.port), "--flat-out", "--no-wait")
    assert command_line("replay", str(file), *words).returncode == 0
    wait_until(lambda: len(unique(server.records["d"])) >= 40, WAIT_S, "all records")
