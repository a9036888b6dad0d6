"""Plays the national mix flat out on a fresh stack, waits until all is judged, scores, writes."""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.report import machine, write
from bench.scenarios.stack import running_stack
from firmware_sim.edge import Broker
from firmware_sim.fleet import RunOptions
from firmware_sim.perform import Outcome, Server, perform
from firmware_sim.scenario import Scenario, read_scenario
from firmware_sim.scenario_view import choose_scenario_view
from firmware_sim.score import Figures, score
from firmware_sim.score_source import read_findings
from firmware_sim.score_table import as_json, as_markdown, show
from firmware_sim.truthfile import read_truth

FULL, QUICK = 1_000, 60
ABREAST = 200
TOLERANCE_S = 60.0
SETTLE_S = 900.0
PAGE = Path(__file__).parents[2] / "docs" / "scores.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark, show and write its results."""
    parser = argparse.ArgumentParser(prog="python -m bench.scenarios", description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"about {QUICK} deliveries")
    parser.add_argument("--deliveries", type=int, help="so many; results go to scenarios-N.json")
    parser.add_argument("--scenario", default="national", help="a file or a name of the library")
    parser.add_argument("--truth", type=Path, help="keep the ground truth here")
    options = parser.parse_args(arguments)
    wanted = options.deliveries or (QUICK if options.quick else FULL)
    scenario = read_scenario(options.scenario).scaled(wanted)
    figures, about = measure(scenario, options.truth)
    result = as_json(figures) | about
    show(figures, Console())
    full = wanted == FULL and options.scenario == "national"
    name = "scenarios" if full else "scenarios-quick" if options.quick else f"scenarios-{wanted}"
    print(f"written: {write(name, result)}", file=sys.stderr)  # noqa: T201
    if full:
        PAGE.write_text(page(figures, about), encoding="utf-8")
    return 0


def measure(scenario: Scenario, truth: Path | None = None) -> tuple[Figures, dict[str, Any]]:
    """Play a scenario on a fresh stack; its figures, and what they were measured on."""
    about = machine()  # first: the load before the benchmark made its own
    with running_stack() as stack, tempfile.TemporaryDirectory() as folder:
        file = truth or Path(folder) / "truth.jsonl"
        server = Server(
            url=stack["http"],
            username=stack["admin"]["username"],
            password=stack["admin"]["password"],
        )
        begin = time.perf_counter()
        outcome = _play(scenario, stack, server, file)
        played = time.perf_counter()
        told = read_truth(file)
        found = read_findings(server, told, settle_timeout_s=SETTLE_S)
        judged = time.perf_counter()
    return score(told, found, tolerance_s=TOLERANCE_S), about | {
        "scenario": scenario.name,
        "tolerance_s": TOLERANCE_S,
        "devices": len(outcome.fleet.devices),
        "records": outcome.fleet.made,
        "records_kept": outcome.fleet.kept,
        "acts_recorded": outcome.acts_recorded,
        "acts_refused": dict(outcome.acts_refused),
        "setup_s": round(outcome.setup_s, 1),
        "played_s": round(played - begin, 1),
        "settled_s": round(judged - played, 1),
        "took_s": round(judged - begin, 1),
    }


def _play(scenario: Scenario, stack: dict[str, Any], server: Server, truth: Path) -> Outcome:
    view = choose_scenario_view(sys.stderr)
    try:
        outcome = perform(
            scenario,
            Broker(host=stack["mqtt"]["host"], port=stack["mqtt"]["port"]),
            RunOptions(flat_out=True, exit_when_done=True, abreast=ABREAST),
            server=server,
            truth=truth,
            view=view,
            stop=threading.Event(),
        )
    finally:
        view.stop()
    view.finish(outcome)
    return outcome


def page(figures: Figures, about: dict[str, Any]) -> str:
    """The page for the documentation, bad rows included."""
    cpu = about["machine"]
    head = f"""# Scores

How good detection is, by the scenario benchmark (`make bench-scenarios`): the national mix of
`firmware_sim/scenarios/national.yaml` played flat out on the whole stack, then held against its
ground truth. How it is counted: [the simulator's guide](guides/simulator.md). Written by the
benchmark; do not edit.

{about["measured_at"]}, commit {about["commit"]}, {cpu["cpu"]}, {cpu["cores"]} cores:
{about["records"]:,} records of {about["devices"]:,} devices, played in {about["played_s"]} s, all
judged {about["settled_s"]} s later. Matching tolerance {about["tolerance_s"]:g} s.
"""
    refused = about["acts_refused"]
    if refused:
        lines = "\n".join(f"- {count} × {text}" for text, count in sorted(refused.items()))
        head += f"\nActs that the server refused:\n\n{lines}\n"
    return head + "\n" + as_markdown(figures)
