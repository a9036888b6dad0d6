"""``tracker quarantine`` and ``tracker reference`` at the terminal."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.support.seed import World, at, record
from tracker.commands.quarantine import app
from tracker.commands.reference import app as reference

run = CliRunner().invoke


@pytest.fixture
def world(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("TRACKER_DATABASE_URL", database)
    made = World(database)
    made.store([made.message("late", record(n, at(n)), received=at(n)) for n in (1, 2)])
    made.store([made.message("late", b"\xff\x00", received=at(9))])
    yield made
    made.close()


def test_list_and_counts_show_what_was_refused(world: World) -> None:
    shown = run(app, ["list"])
    assert shown.exit_code == 0, shown.output
    assert shown.output.count("unknown_device") == 3
    assert run(app, ["list", "--since", "2026-03-02T06:08:00"]).output.count("late") == 2
    assert "(unknown)" in run(app, ["counts"]).output


def test_export_to_a_file_and_to_the_output(world: World, tmp_path: Path) -> None:
    out = tmp_path / "q.ndjson"
    assert run(app, ["export", str(out), "--device", "late"]).exit_code == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [base64.b64decode(line["payload_base64"])[:1] for line in lines] == [b"\xff", b"{", b"{"]
    assert run(app, ["export"]).output.count("\n") == 3
    assert run(app, ["export", str(tmp_path / "no" / "q")]).exit_code == 1


def test_redrive_asks_what_and_tells_what_it_did(world: World) -> None:
    assert run(app, ["redrive"]).exit_code == 1
    world.device(id_="late")
    told = run(app, ["redrive", "--reason", "unknown_device"])
    assert told.exit_code == 0, told.output
    assert json.loads(told.output.splitlines()[-1]) == {
        "looked_at": 3,
        "stored": 2,
        "removed": 2,
        "kept": {"malformed": 1},
    }


def test_reference_tells_in_one_line_that_there_is_no_server() -> None:
    told = run(reference, ["load", "--url", "http://127.0.0.1:1", "--password", "x"])
    assert told.exit_code == 1
    assert told.output.startswith("tracker: ")
    assert len(told.output.splitlines()) == 1
