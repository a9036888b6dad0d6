#!/usr/bin/env python3
"""Write docs/rules.md from the rules themselves: `.venv/bin/python scripts/write_rules.py`."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import msgspec

from tracker.anomalies import RULES
from tracker.detectors import limits
from tracker.detectors.base import Rule
from tracker.detectors.limits import Limits, rules_of
from tracker.model import Basis

TARGET = Path(__file__).parent.parent / "docs" / "rules.md"

BASES = {
    Basis.DATA: "the delivery's own records",
    Basis.FLEET: "records of other deliveries too",
    Basis.CLOCK: "the plan, the acts and the present",
}

HEAD = """\
# Rules

What detection can find. Written from the rules by `scripts/write_rules.py`; a test keeps it so.
Severity is what an anomaly has where nothing raises it. Thresholds are national settings; each
finding records which were in force.
"""


def reasons() -> dict[str, str]:
    """The reason of each threshold: the text that stands below it in the code."""
    (body,) = [
        node.body
        for node in ast.parse(inspect.getsource(limits)).body
        if isinstance(node, ast.ClassDef) and node.name == Limits.__name__
    ]
    found: dict[str, str] = {}
    for field, text in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            found[field.target.id] = _text(text)
    return found


def _text(node: ast.stmt) -> str:
    if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
        raise ValueError("a threshold has no reason below it")
    return " ".join(str(node.value.value).split())


def section(rule: Rule) -> Iterator[str]:
    """One rule."""
    yield f"\n## `{rule.code}`\n\n{rule.text}\n\n"
    yield f"- EAEU code: {rule.eaeu_code or 'none'}\n"
    yield f"- severity: {rule.severity.value}\n"
    yield f"- depends on: {BASES[rule.basis]}\n"
    why, defaults = reasons(), msgspec.to_builtins(Limits())
    own = [name for name in defaults if rule.code in rules_of(name)]
    if not own:
        return
    yield "\n| threshold | default | reason |\n|---|---|---|\n"
    for name in own:
        yield f"| `{name}` | {defaults[name]:g} | {why[name]} |\n"


def render() -> str:
    """The whole document."""
    return HEAD + "".join(part for rule in RULES.values() for part in section(rule))


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
