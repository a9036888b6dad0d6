"""Results: a table for people, a JSON file for comparisons."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "machine": {
            "cpu": _cpu(),
            "cores": os.cpu_count(),
            "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
            "system": platform.platform(terse=True),
            "python": platform.python_version(),
            "load_average": round(os.getloadavg()[1], 1),
        },
        "commit": _commit(),
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor()
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
    return names[0].partition(":")[2].strip() if names else platform.machine()


def _commit() -> str:
    command = ["git", "-C", str(RESULTS.parent), "rev-parse", "--short", "HEAD"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.stdout.strip()


def show(title: str, result: dict[str, Any]) -> None:
    """Print the figures and what each stage costs."""
    console = Console()
    figures = Table(title=title, show_header=False)
    for name, value in _flat(result):
        figures.add_row(name, f"{value:,}" if type(value) is int else str(value))
    console.print(figures)
    stages = Table("stage", "clock", "our CPU", "database CPU", title="µs per record")
    for name, spent in result["cpu_us_per_record"].items():
        stages.add_row(name, *(f"{spent[key]:.1f}" for key in ("wall", "python", "database")))
    console.print(stages)


def _flat(result: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in result.items():
        if name == "cpu_us_per_record":
            continue
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}, ")
        else:
            yield before + name, value


def write(name: str, result: dict[str, Any]) -> Path:
    """Write the result under ``bench/results``."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path
