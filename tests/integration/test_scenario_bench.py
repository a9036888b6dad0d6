"""The scenario benchmark itself, small: a stack of its own, played, judged, scored, written."""

from __future__ import annotations

import json
from pathlib import Path

from bench.scenarios.suite import measure, page
from firmware_sim.scenario import read_scenario
from firmware_sim.score_table import as_json


def test_the_benchmark_plays_scores_and_shows_what_it_measured(tmp_path: Path) -> None:
    scenario = read_scenario("national").scaled(12)
    figures, about = measure(scenario, tmp_path / "truth.jsonl")
    assert len(figures.judgements) == scenario.count
    assert figures.missing == about["records_kept"] == 0
    assert about["records"] > 1_000
    assert about["acts_recorded"] >= 2 * scenario.count
    result = json.loads(json.dumps(as_json(figures) | about))
    for name in ("machine", "commit", "goals", "codes", "plots", "nondelivery_top10_recall"):
        assert name in result
    shown = page(figures, about)
    assert "| false route_deviation per 10,000 km of clean noisy tracks |" in shown
    for plot in figures.plots:
        assert f"| {plot} |" in shown
