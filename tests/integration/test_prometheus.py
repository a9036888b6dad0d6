"""docs/prometheus/alerts.yml names metrics that the processes really serve, with their labels."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.support.stack import Stack
from tracker.payload import Reason

RULES = Path(__file__).parents[2] / "docs/prometheus/alerts.yml"


@pytest.fixture(scope="module")
def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def test_every_metric_is_served_by_some_process(stack: Stack, rules: list[dict[str, Any]]) -> None:
    listed = json.loads((stack.home / "metrics.json").read_text())
    served: dict[str, set[str]] = {}
    for one in listed:
        text = httpx.get(f"http://{one['targets'][0]}/metrics", timeout=30).text
        served[one["labels"]["process"]] = set(re.findall(r"^# TYPE (\w+) ", text, re.MULTILINE))
    for rule in rules:
        names = set(re.findall(r"\btracker_\w+", rule["expr"]))
        assert names, rule["alert"]
        process = re.search(r'process="(\w+)"', rule["expr"])
        among = served[process[1]] if process else set.union(*served.values())
        assert names <= among, f"{rule['alert']}: {names - among}"


def test_every_reason_exists_and_every_alarm_says_what_to_do(rules: list[dict[str, Any]]) -> None:
    reasons = {str(reason) for reason in Reason}
    for rule in rules:
        for named in re.findall(r'reason=~"([\w|]+)"', rule["expr"]):
            assert set(named.split("|")) <= reasons
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"].keys() == {"summary", "remedy"}
