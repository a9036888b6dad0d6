"""Scenarios on the real stack: registered, driven, acted, judged, scored; and what goes wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.stack import Stack

SCENE: dict[str, Any] = {
    "name": "scene",
    "seed": 3,
    "begin": "now-8h",
    "roads": {"a2": {"via": ["Khorgos", "Zharkent"]}},
    "zones": [
        {
            "code": "scene-yard",
            "kind": "parking",
            "at": {"road": "a2", "part": 0.6},
            "radius_m": 900,
        }
    ],
    "deliveries": [
        {"group": "honest", "count": 2, "road": "a2", "departures": {"over_hours": 2}},
        {
            "group": "resting",
            "road": "a2",
            "stops": [{"part": 0.6, "minutes": 40}],
            "departures": {"over_hours": 2},
        },
        {
            "group": "crooked",
            "road": "a2",
            "departures": {"over_hours": 2},
            "plot": {"name": "diversion", "params": {"km": 5, "stop_minutes": 30}},
        },
        {
            "group": "cut",
            "road": "a2",
            "departures": {"over_hours": 2},
            "plot": "rope_cut",
        },
    ],
}


class Desk:
    """The simulator's command line against a stack."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack, self.folder = stack, folder
        self.truth = folder / "truth.jsonl"

    def file(self, scene: dict[str, Any]) -> str:
        file = self.folder / "scene.yaml"
        file.write_text(yaml.safe_dump(scene))
        return str(file)

    @property
    def office(self) -> list[str]:
        """Options that name the server and its administrator."""
        admin = self.stack.info["admin"]
        words = ["--http", self.stack.http, "--user", admin["username"]]
        return [*words, "--password", admin["password"]]

    @property
    def broker(self) -> list[str]:
        host, port = self.stack.mqtt
        return ["--mqtt", f"{host}:{port}"]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "firmware_sim", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)

    def played(self, scene: dict[str, Any], *words: str) -> dict[str, Any]:
        """Play a scenario; the summary."""
        given = ["run", self.file(scene), *self.office, *self.broker, "--truth", str(self.truth)]
        done = self.run(*given, *words)
        assert done.returncode == 0, done.stderr + done.stdout
        assert done.stderr == ""
        return dict(json.loads(done.stdout.splitlines()[-1]))

    def scored(self) -> dict[str, Any]:
        file = self.folder / "score.json"
        words = ["--truth", str(self.truth), "--json", str(file), "--settle-timeout", "120"]
        done = self.run("score", *self.office, *words)
        assert done.returncode == 0, done.stderr
        assert "recall of injected diversions" in done.stdout
        return dict(json.loads(file.read_text()))

    def deliveries(self, prefix: str) -> dict[str, Any]:
        with self.stack.http_client() as http:
            items = http.get("/api/v1/deliveries", params={"limit": 1000}).json()["items"]
        mine = [i for i in items if i["registration_number"].startswith(prefix)]
        return {item["registration_number"]: item for item in mine}


@pytest.fixture
def desk(stack: Stack, tmp_path: Path) -> Desk:
    return Desk(stack, tmp_path)


def test_a_scenario_is_registered_driven_and_scored(desk: Desk) -> None:
    summary = desk.played(SCENE, "--flat-out")
    assert summary["made"] == summary["acked"] > 300
    assert summary["acts"] == 15, "a crossing, a release and an arrival each"
    figures = desk.scored()
    assert figures["deliveries"] == 5
    assert figures["deliveries_missing"] == 0
    for code in ("route_deviation", "seal_cut", "unauthorised_stop"):
        row = figures["codes"][code]
        assert (row["recall"], row["precision"]) == (1.0, 1.0), code
    assert figures["codes"]["route_deviation"]["delay_reports_p50"] <= 2
    arrived = desk.deliveries(summary["prefix"])
    assert {item["status"] for item in arrived.values()} == {"arrived"}
    acts = [json.loads(line) for line in desk.truth.read_text().splitlines()]
    ends = {line["registration"]: line["end_ms"] for line in acts if line["type"] == "delivery"}
    for name, item in arrived.items():
        at = datetime.fromisoformat(item["arrived_at"])
        assert at.timestamp() * 1000 == pytest.approx(ends[name] + 20 * 60_000, abs=1)


def test_a_run_that_is_speeded_up_keeps_the_devices_clocks(desk: Desk) -> None:
    short = {**SCENE, "roads": {"a2": {"line": [[80.0, 44.2], [79.9, 44.2]]}}, "zones": []}
    short["deliveries"] = [
        {
            "group": "one",
            "road": "a2",
            "departures": {"every_minutes": 1},
            "acts": {
                "arrival_minutes_after": 5,
                "others": [{"kind": "arrival_notice", "after_minutes": 4}],
            },
        }
    ]
    file = desk.file(short)
    words = [*desk.office, *desk.broker, "--truth", str(desk.truth), "--speed", "300"]
    done = desk.run("run", file, *words)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])
    assert summary["kept"] == 0
    (item,) = desk.deliveries(summary["prefix"]).values()
    assert item["status"] == "arrived"
    left, came = (datetime.fromisoformat(item[k]) for k in ("released_at", "arrived_at"))
    # Eight kilometres and the ten minutes of its tail, in the devices' time.
    assert 15 * 60 < (came - left).total_seconds() < 40 * 60
    # What the server does not take is told and counted, and stops nothing.
    told = [line for line in done.stderr.splitlines() if "not recorded" in line]
    assert len(told) == summary["acts_refused"]
    assert summary["acts"] + summary["acts_refused"] == 4


def test_a_prefix_that_was_used_needs_another(desk: Desk) -> None:
    one = {**SCENE, "deliveries": SCENE["deliveries"][:1]}
    prefix = desk.played(one, "--flat-out")["prefix"]
    file = desk.file(one)
    done = desk.run("run", file, *desk.office, *desk.broker, "--prefix", prefix, "--flat-out")
    assert done.returncode == 2
    assert "give another --prefix" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        (["--password", "wrong"], "check --user and --password"),
        (["--http", "http://127.0.0.1:1"], "start the server or give --http"),
        (["--mqtt", "127.0.0.1:1"], "start it or give --host and --port (run: --mqtt)"),
    ],
)
def test_what_people_can_mend_is_one_line_and_code_2(
    desk: Desk, changes: list[str], remedy: str
) -> None:
    one = {**SCENE, "deliveries": SCENE["deliveries"][:1]}
    done = desk.run("run", desk.file(one), *desk.office, *desk.broker, *changes)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ")
    assert remedy in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_truth_of_another_server_is_told(desk: Desk) -> None:
    done = desk.run("run", desk.file(SCENE), "--dry-run", "/dev/null", "--truth", str(desk.truth))
    assert done.returncode == 0, done.stderr
    done = desk.run("score", "--truth", str(desk.truth), *desk.office)
    assert done.returncode == 2
    assert "has none of the 5 deliveries" in done.stderr
