"""Replay: the same thresholds show no difference, others show theirs, and nothing is written."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from typer.testing import CliRunner

from tests.integration.test_pipeline import crooked_trip
from tests.support.seed import World, at
from tracker.cli import app
from tracker.errors import Invalid
from tracker.replaying import Replay, replay


@pytest.fixture
def judged(world: World) -> UUID:
    """A crooked trip, judged as it came in: in parts and in disorder."""
    device = world.device()
    delivery = world.delivery([device])
    late = crooked_trip()
    random.Random(5).shuffle(late)
    for start in range(0, len(late), 17):
        world.store([world.message(device, r) for r in late[start : start + 17]])
        world.judge(now=at(121))
    return delivery.id


def replayed(world: World, id_: UUID, **overrides: Any) -> Replay:
    shown = replay(world.conn, id_, now=at(121), overrides=overrides)
    assert shown is not None
    return shown


def test_the_same_thresholds_show_no_difference(world: World, judged: UUID) -> None:
    shown = replayed(world, judged)
    assert shown.differences == ()
    assert {f.code for f in shown.found} >= {"route_deviation", "unauthorised_stop", "seal_cut"}
    assert len(shown.found) == len(shown.stored)


def test_other_thresholds_show_what_they_change(world: World, judged: UUID) -> None:
    shown = replayed(world, judged, stop_s=3600)
    (gone,) = shown.differences
    assert (gone.kind, gone.code, gone.replayed) == ("only_stored", "unauthorised_stop", None)
    assert shown.settings_version != replayed(world, judged).settings_version


def test_a_finding_that_was_tampered_with_shows(world: World, judged: UUID) -> None:
    world.conn.execute(
        "UPDATE anomalies SET evidence = evidence || '{\"max_offset_m\": 12}'"
        " WHERE delivery_id = %s AND code = 'route_deviation'",
        (judged,),
    )
    (changed,) = replayed(world, judged).differences
    assert (changed.kind, changed.code) == ("differs", "route_deviation")


def test_nothing_is_written(world: World, judged: UUID) -> None:
    def everything() -> list[Any]:
        tables = ("anomalies", "alerts", "dirty", "checkpoints", "delivery_state", "traces")
        return [
            world.conn.execute(f"SELECT * FROM {t} ORDER BY 1, 2").fetchall()  # type: ignore[call-overload]
            for t in tables
        ]

    before = everything()
    replayed(world, judged, stop_s=60, battery_low_pct=50)
    assert everything() == before


def test_an_unknown_threshold_is_named(world: World, judged: UUID) -> None:
    with pytest.raises(Invalid, match="thresholds") as told:
        replayed(world, judged, stop_seconds=5)
    assert told.value.errors[0].loc == ("stop_seconds",)


def test_the_command(
    world: World, judged: UUID, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKER_DATABASE_URL", database)
    run = CliRunner().invoke(app, ["replay", "--delivery", str(judged), "--json"])
    assert run.exit_code == 0, run.output
    assert json.loads(run.stdout)["differences"] == []
    other = tmp_path / "other.yaml"
    other.write_text("stop_s: 3600\n")
    run = CliRunner().invoke(app, ["replay", "--delivery", str(judged), "--settings", str(other)])
    assert run.exit_code == 3
    assert "unauthorised_stop" in run.output
    run = CliRunner().invoke(app, ["replay", "--delivery", "no-such"])
    assert run.exit_code == 1
    assert "no delivery 'no-such'" in run.output
