"""The dry run and the file of truth: repeatable to the byte, and true to what is sent."""

from __future__ import annotations

import base64
import io
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from firmware_sim.cli import app
from firmware_sim.dryrun import message_line
from firmware_sim.errors import ScoreError
from firmware_sim.perform import rehearse
from firmware_sim.truthfile import TruthFile, parse_truth, read_truth
from firmware_sim.wire import Message, split_trailer
from tests.unit.firmware_sim.scenes import NOW, raw, scene


def rehearsed(tmp_path: Path, name: str, **changes: Any) -> tuple[str, TruthFile, str]:
    """(messages, truth, the truth's text) of a dry run."""
    out, file = io.StringIO(), tmp_path / name
    rehearse(scene(**changes), out, now=NOW, truth=file)
    return out.getvalue(), read_truth(file), file.read_text()


def test_the_same_seed_gives_the_same_bytes_and_the_same_truth(tmp_path: Path) -> None:
    first, _, truth = rehearsed(tmp_path, "a")
    again, _, same = rehearsed(tmp_path, "b")
    assert (first, truth) == (again, same)
    other, _, _ = rehearsed(tmp_path, "c", seed=6)
    assert first != other


def test_messages_come_in_order_with_all_that_is_needed_to_send_them(tmp_path: Path) -> None:
    text, truth, _ = rehearsed(tmp_path, "a")
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["t"] for line in lines] == sorted(line["t"] for line in lines)
    made: dict[str, set[int]] = defaultdict(set)
    for line in lines:
        _, _, _, kind, device, channel = line["topic"].split("/")
        body, trailer = split_trailer(line["payload"].encode())
        assert (trailer is not None) == (kind == "seal"), "seals sign by default"
        if channel in ("tlm", "evt"):
            records = json.loads(body)
            made[device] |= {
                r["seq"] for r in (records if isinstance(records, list) else [records])
            }
    for story in truth.stories:
        for device, reports in story.reports.items():
            assert made[device] == set(range(1, len(reports.made_ms) + 1))


def test_the_truth_tells_what_befell_whom(tmp_path: Path) -> None:
    text, truth, _ = rehearsed(tmp_path, "a")
    assert truth.run["scenario"] == "scene"
    assert [story.registration for story in truth.stories] == [f"scene-{n:05d}" for n in (1, 2, 3)]
    *honest, crooked = truth.stories
    assert all(story.truth.honest and not story.off_road_ms for story in honest)
    assert crooked.truth.plots == ("diversion",)
    assert len(crooked.off_road_ms) == 1
    (deed,) = [h for h in crooked.happenings if h.name == "diversion"]
    assert "route_deviation" in deed.must
    assert deed.start_ms < crooked.off_road_ms[0] < deed.end_ms
    assert crooked.km > honest[0].km > 30
    # The records' own times are those of the truth.
    stamps = {
        (line["topic"].split("/")[4], record["seq"]): record["ts"]
        for line in map(json.loads, text.splitlines())
        if line["topic"].endswith(("tlm", "evt"))
        for record in _records(line)
    }
    for story in truth.stories:
        for device, reports in story.reports.items():
            for seq, at_ms in enumerate(reports.made_ms, start=1):
                assert stamps[device, seq] == at_ms


def _records(line: dict[str, Any]) -> list[dict[str, Any]]:
    body = json.loads(split_trailer(line["payload"].encode())[0])
    return body if isinstance(body, list) else [body]


def test_a_trip_that_is_not_over_breaks_off_at_the_present(tmp_path: Path) -> None:
    text, truth, _ = rehearsed(tmp_path, "a", begin="now-10m")
    last = max(json.loads(line)["t"] for line in text.splitlines())
    assert last <= NOW.timestamp() * 1000
    assert not any(story.stood_ms for story in truth.stories)


def test_a_deadline_that_passes_has_to_be_found_unless_the_arrival_was_recorded(
    tmp_path: Path,
) -> None:
    late = {"road": "a2", "deadline": {"minutes_ahead": 1}}
    groups = [
        {"group": "gone", **late, "acts": {"arrival_minutes_after": None}},
        {"group": "came", **late},
    ]
    _, truth, _ = rehearsed(tmp_path, "a", deliveries=groups)
    gone, came = ({code for h in s.happenings for code in h.must} for s in truth.stories)
    assert "overdue" in gone
    assert "overdue" not in came


@pytest.mark.parametrize(("plot", "contradicted"), [("rope_cut", True), ("honest", False)])
def test_an_arrival_with_a_broken_seal_may_contradict_telemetry(
    tmp_path: Path, plot: str, contradicted: bool
) -> None:
    group = {"group": "g", "road": "a2", "plot": plot}
    _, truth, text = rehearsed(tmp_path, "a", deliveries=[group])
    may = {code for h in truth.stories[0].happenings for code in h.may}
    assert ("arrival_mismatch" in may) is contradicted
    assert '"kind":"arrival"' not in text, "the usual acts are no part of the truth"


def test_zones_decide_whether_a_happening_may_be_a_stop(tmp_path: Path) -> None:
    queue = {"name": "border_queue", "params": {"hours": 1.0, "km": 1.0}}
    zone = {"code": "z", "kind": "border", "at": "Zharkent", "radius_m": 4000}
    group = {"group": "g", "road": "a2", "plot": queue}
    for zones, zoned in (([zone], True), ([], False), ([{**zone, "kind": "restricted"}], False)):
        _, truth, _ = rehearsed(tmp_path, "a", deliveries=[group], zones=zones)
        (story,) = truth.stories
        found = dict(zip([h.name for h in story.happenings], story.zoned, strict=True))
        assert found["border_queue"] is zoned


def test_a_stop_in_a_zone_where_one_may_stop_need_not_be_found(tmp_path: Path) -> None:
    group = {
        "group": "g",
        "road": "a2",
        "plot": {"name": "unauthorised_stop", "params": {"at": 0.5}},
    }
    for kind, must in (("parking", False), ("restricted", True)):
        zone = {"code": "z", "kind": kind, "at": {"road": "a2", "part": 0.5}, "radius_m": 3000}
        _, truth, _ = rehearsed(tmp_path, "a", deliveries=[group], zones=[zone])
        (stop,) = [h for h in truth.stories[0].happenings if h.name == "unauthorised_stop"]
        assert ("unauthorised_stop" in stop.must) is must
        assert ("unauthorised_stop" in stop.may) is not must


def test_what_is_no_text_travels_as_base64() -> None:
    line = json.loads(message_line(1, Message(topic="t", payload=b"\xff\x00")))
    assert base64.b64decode(line["payload_b64"]) == b"\xff\x00"
    assert "payload" not in line


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], "no run line of format 1"),
        (['{"type":"run","format":9}'], "no run line of format 1"),
        (["nonsense"], "line 1 is no line of truth"),
        (['{"type":"run","format":1}', '{"type":"delivery"}'], "line 2 is no line of truth"),
        (
            ['{"type":"run","format":1}', '{"type":"happening","registration":"r"}'],
            "line 2 is no line of truth (KeyError",
        ),
    ],
)
def test_what_is_no_truth_is_told_with_its_line(lines: list[str], words: str) -> None:
    with pytest.raises(ScoreError) as caught:
        parse_truth(lines)
    assert words in str(caught.value)


def invoke(*words: str) -> Any:
    return CliRunner().invoke(app, list(words))


def test_the_command_line_rehearses(tmp_path: Path) -> None:
    file = tmp_path / "s.json"
    file.write_text(json.dumps(raw()))
    out = [tmp_path / name for name in ("a", "b")]
    for target in out:
        words = ("--dry-run", str(target), "--now", "2026-03-02T20:00:00Z", "--deliveries", "2")
        done = invoke("run", str(file), *words)
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout)["deliveries"] == 2
    assert out[0].read_bytes() == out[1].read_bytes()
    assert "3 deliveries in 2 groups on 1 roads, 6 devices" in invoke("check", str(file)).stdout


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (("run", "absent"), "give a scenario file or one of national"),
        (("run", "training-late", "--mqtt", "broker"), "give HOST:PORT"),
        (("run", "training-late", "--http", "http://127.0.0.1:1"), "needs --password"),
        (
            ("run", "training-late", "--http", "http://127.0.0.1:1", "--password", "x"),
            "start the server or give --http",
        ),
        (("run", "training-late", "--mqtt", "127.0.0.1:1"), "no broker at 127.0.0.1:1"),
        (("run", "training-late", "--prefix", "a b"), "give letters, digits"),
        (("run", "training-late", "--dry-run", "/nowhere/x"), "give a file to write"),
        (("run", "training-late", "--dry-run", "/dev/null", "--now", "soon"), "--now: start"),
        (("run", "training-late", "--cert-dir", "/"), "--cert-dir needs --ca"),
        (("check", "/dev/null"), "a scenario is a mapping"),
        (
            ("score", "--truth", "/dev/null", "--http", "http://127.0.0.1:1", "--password", "x"),
            "no run line",
        ),
    ],
)
def test_bad_input_is_one_line_and_code_2(words: tuple[str, ...], remedy: str) -> None:
    done = invoke(*words)
    assert done.exit_code == 2, done.output
    assert done.stderr.startswith("error: ")
    assert remedy in done.stderr
    assert done.stderr.count("\n") == 1
