"""What changed between the anomalies found before and those found now."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from tracker.changes import Known, by_code, changes, sentence
from tracker.model import Basis, Finding, Severity

MINUTE_MS = 60_000


def finding(start: int, end: int | None = None, **more: Any) -> Finding:
    fields: dict[str, Any] = {
        "code": "silence",
        "device": "d",
        "severity": Severity.MEDIUM,
        "basis": Basis.DATA,
    }
    end_ms = None if end is None else end * MINUTE_MS
    return Finding(start_ms=start * MINUTE_MS, end_ms=end_ms, **(fields | more))


def told(before: list[Finding], after: list[Finding]) -> list[tuple[str, int | None]]:
    known = [Known(key=n, finding=f) for n, f in enumerate(before)]
    return [(change.kind, change.key) for change in changes(known, after)]


def test_the_same_again_is_no_change() -> None:
    assert told([finding(1, 2), finding(5)], [finding(5), finding(1, 2)]) == []


def test_new_and_gone() -> None:
    assert told([], [finding(1)]) == [("new", None)]
    assert told([finding(1)], []) == [("retracted", 0)]
    assert told([finding(1, 2)], [finding(5, 9)]) == [("retracted", 0), ("new", None)]


def test_an_open_one_is_closed() -> None:
    open_one = finding(1, provisional=True, basis=Basis.CLOCK)
    assert told([open_one], [finding(1, 9)]) == [("closed", 0)]


def test_moved_by_late_data_it_keeps_its_identity() -> None:
    assert told([finding(1, 47)], [finding(20, 42)]) == [("amended", 0)]
    assert told([finding(20)], [finding(1)]) == [("amended", 0)]
    assert told([finding(20)], [finding(1, 30)]) == [("amended", 0)]
    assert told([finding(1, 10)], [finding(1)]) == [("amended", 0)]
    assert told([finding(1)], [finding(1, severity=Severity.HIGH)]) == [("amended", 0)]


def test_only_its_evidence_has_grown() -> None:
    before = finding(1, evidence={"fixes": 2})
    assert told([before], [replace(before, evidence={"fixes": 3})]) == [("refreshed", 0)]


def test_the_same_start_is_matched_before_any_overlap() -> None:
    before = [finding(1, 10), finding(5, 20)]
    assert told(before, [finding(5, 20), finding(1, 4)]) == [("amended", 0)]


def test_one_split_in_two_keeps_one_identity() -> None:
    assert told([finding(1, 50)], [finding(1, 20), finding(30, 50)]) == [
        ("amended", 0),
        ("new", None),
    ]


def test_two_joined_keep_one_identity() -> None:
    before = [finding(1, 20), finding(30, 50)]
    assert told(before, [finding(1, 50)]) == [("amended", 0), ("retracted", 1)]


def test_codes_and_devices_are_never_mixed() -> None:
    other_code = finding(1, 9, code="seal_cut")
    other_device = finding(1, 9, device="e")
    assert told([finding(1, 9)], [other_code]) == [("retracted", 0), ("new", None)]
    assert told([finding(1, 9)], [other_device]) == [("retracted", 0), ("new", None)]


def test_the_sentence_says_what_was_and_what_is() -> None:
    was, now = finding(0, 47), finding(10, 32, code="unauthorised_stop")
    assert sentence(None, was) == "silence d 1970-01-01T00:00:00Z/1970-01-01T00:47:00Z (47 min)"
    told = sentence(was, now)
    assert told.startswith("was: silence d ")
    assert told.endswith(
        "; now: unauthorised_stop d 1970-01-01T00:10:00Z/1970-01-01T00:32:00Z (22 min)"
    )
    assert sentence(was, None, [now, finding(50), finding(0, 47, device="e")]) == told
    assert sentence(was, None).endswith("; now: nothing")
    assert sentence(finding(0), None) == "was: silence d 1970-01-01T00:00:00Z …; now: nothing"


def test_changes_by_code() -> None:
    known = [Known(key=1, finding=finding(1))]
    grouped = by_code(changes(known, [finding(2, code="seal_cut")]))
    assert {code: [c.kind for c in items] for code, items in grouped.items()} == {
        "silence": ["retracted"],
        "seal_cut": ["new"],
    }
