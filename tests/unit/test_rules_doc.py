"""Each rule has its document, written from the rule itself."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from tracker.anomalies import DETECTORS, RULES, TRACE
from tracker.detectors.limits import Limits

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def writer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("write_rules", ROOT / "scripts/write_rules.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_document_is_what_the_rules_say(writer: ModuleType) -> None:
    written = (ROOT / "docs/rules.md").read_text(encoding="utf-8")
    assert written == writer.render(), "run .venv/bin/python scripts/write_rules.py"


@pytest.mark.parametrize("code", RULES)
def test_each_rule_has_a_section_and_a_sentence(code: str, writer: ModuleType) -> None:
    rule = RULES[code]
    assert rule.code == code
    assert rule.text.endswith(".")
    assert f"## `{code}`\n\n{rule.text}" in writer.render()


def test_each_threshold_stands_under_a_rule_with_its_reason(writer: ModuleType) -> None:
    document = writer.render()
    for name in Limits.__struct_fields__:
        assert document.count(f"| `{name}` |") >= 1
        assert len(writer.reasons()[name]) > 20


def test_codes_are_found_by_one_detector_each() -> None:
    codes = [detector.rule.code for detector in DETECTORS]
    assert len(set(codes)) == len(codes)
    assert {code for code in codes if not code.startswith(TRACE)} <= set(RULES)
