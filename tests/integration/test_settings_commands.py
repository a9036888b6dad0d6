"""``tracker settings``: the environment's, and the dated ones of the thresholds."""

from __future__ import annotations

import json
import re

import pytest
from typer.testing import CliRunner, Result

from tracker.cli import app


@pytest.fixture
def run(database: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TRACKER_DATABASE_URL", database)

    def _run(*words: str) -> Result:
        return CliRunner().invoke(app, ["settings", *words])

    return _run


def test_with_no_further_word_it_lists_the_environment(run) -> None:
    told = run()
    assert told.exit_code == 0
    assert "TRACKER_ESCALATE_TO" in told.output


def test_a_threshold_is_set_listed_shown_and_taken_back(run) -> None:
    made = run("set", "stop_s=1800", "deviation_fixes=3", "--reason", "road works")
    assert made.exit_code == 0, made.output
    row = json.loads(made.output)
    assert row["values"] == {"stop_s": 1800.0, "deviation_fixes": 3}
    assert row["created_by"].startswith("cli:")
    assert "road works" in run("list").output
    assert in_force(run("show")) == "1800"
    assert in_force(run("show", "--at", "2020-01-01")) != "1800"
    assert run("set", "stop_s=", "--reason", "over").exit_code == 0
    assert in_force(run("show")) != "1800"


def in_force(shown: Result) -> str:
    """The value of ``stop_s`` in the table: the version below it may hold any four digits."""
    found = re.search(r"stop_s\W+(\S+)", shown.output)
    assert found, shown.output
    return found[1]


def test_thresholds_of_identity_are_set_and_shown(run) -> None:
    shown = run("show").output
    assert "identity_quiet_s" in shown
    assert "two_places_switches" in shown
    made = run("set", "identity_quiet_s=777", "two_places_switches=4", "--reason", "a weak spot")
    assert json.loads(made.output)["values"] == {"identity_quiet_s": 777, "two_places_switches": 4}
    assert "777" in run("show").output


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("set", "stop_s", "--reason", "x"), "NAME=NUMBER"),
        (("set", "stop_s=much", "--reason", "x"), "no number"),
        (("set", "stop_radius_m=60000", "--reason", "x"), "50000 m"),
        (("set", "two_places_switches=0", "--reason", "x"), "from 1 to 1000"),
        (("set", "stop_s=5", "--reason", "x", "--scope", "post"), "key"),
        (("set", "stop_s=5", "--reason", "x", "--scope", "galaxy"), "scope"),
        (("show", "--delivery", "x"), "no delivery's id"),
        (("show", "--version", "limits-0"), "limits-0"),
    ],
)
def test_what_is_wrong_is_one_clear_line(run, words: tuple[str, ...], told: str) -> None:
    answer = run(*words)
    assert answer.exit_code == 1
    assert told in answer.output
    assert len(answer.output.strip().splitlines()) == 1
