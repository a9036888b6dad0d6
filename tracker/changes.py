"""What has changed between the anomalies found before and those found now. Pure.

An anomaly keeps its identity while late data moves its start, its end or its evidence: found ones
are matched to stored ones by code and device, first by the same start, then by overlap in time;
where several fit, those that speak of the same zone go together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Generic, Literal, TypeVar

from msgspec import Struct

from tracker.model import Finding, from_ms

Key = TypeVar("Key", bound=Hashable)
ChangeKind = Literal["new", "amended", "closed", "retracted", "refreshed"]


class Known(Struct, Generic[Key], frozen=True, kw_only=True):
    """A finding that is stored, by the key it is stored under."""

    key: Key
    finding: Finding


class Change(Struct, Generic[Key], frozen=True, kw_only=True):
    """One change. ``refreshed``: only evidence of an open episode grew; nobody need be told."""

    kind: ChangeKind
    key: Key | None
    before: Finding | None
    after: Finding | None


def changes(known: Sequence[Known[Key]], found: Sequence[Finding]) -> list[Change[Key]]:
    """Compare. Findings that are stored and not found any more are retracted."""
    if not known and not found:  # as of most deliveries
        return []
    pairs, new, gone = _match(known, found)
    result: list[Change[Key]] = []
    for old, finding in pairs:
        kind = _kind(old.finding, finding)
        if kind is not None:
            result.append(Change(kind=kind, key=old.key, before=old.finding, after=finding))
    result += [Change(kind="retracted", key=k.key, before=k.finding, after=None) for k in gone]
    result += [Change(kind="new", key=None, before=None, after=finding) for finding in new]
    return result


def _match(
    known: Sequence[Known[Key]], found: Sequence[Finding]
) -> tuple[list[tuple[Known[Key], Finding]], list[Finding], list[Known[Key]]]:
    pairs: list[tuple[Known[Key], Finding]] = []
    left = list(found)
    open_known = list(known)
    for same in (_same_start_and_subject, _same_start, _overlap_and_subject, _overlap):
        for old in list(open_known):
            finding = _first(left, old.finding, same)
            if finding is not None:
                pairs.append((old, finding))
                left.remove(finding)
                open_known.remove(old)
    return pairs, left, open_known


def _first(
    found: Iterable[Finding], old: Finding, same: Callable[[Finding, Finding], bool]
) -> Finding | None:
    for finding in found:
        if (finding.code, finding.device) == (old.code, old.device) and same(old, finding):
            return finding
    return None


def _same_start(a: Finding, b: Finding) -> bool:
    return a.start_ms == b.start_ms


def _same_start_and_subject(a: Finding, b: Finding) -> bool:
    return _same_start(a, b) and _subject(a) == _subject(b)


def _overlap_and_subject(a: Finding, b: Finding) -> bool:
    return _overlap(a, b) and _subject(a) == _subject(b)


def _subject(finding: Finding) -> tuple[object, ...]:
    """What an episode is about, where one device may have several of a code at a time."""
    return tuple(
        finding.evidence.get(name) for name in ("zone", "case", "reason", "other_delivery")
    )


def _overlap(a: Finding, b: Finding) -> bool:
    return _starts_within(a, b) or _starts_within(b, a)


def _starts_within(a: Finding, b: Finding) -> bool:
    return b.start_ms <= a.start_ms and (b.end_ms is None or a.start_ms <= b.end_ms)


def _kind(before: Finding, after: Finding) -> ChangeKind | None:
    if before.end_ms is None and after.end_ms is not None and before.start_ms == after.start_ms:
        return "closed"
    if _told(before) != _told(after):
        return "amended"
    return "refreshed" if before != after else None


def _told(finding: Finding) -> tuple[object, ...]:
    """What a person has been told of a finding."""
    return (finding.start_ms, finding.end_ms, finding.severity, finding.provisional, finding.basis)


def sentence(before: Finding | None, after: Finding | None, found: Iterable[Finding] = ()) -> str:
    """A change in neutral words: codes, UTC times and minutes, the same in every language.

    Args:
        before: what was told; None if nothing was.
        after: what it is now; None if it was taken back.
        found: all that is found now: what stands in place of what was taken back is named.
    """
    if before is None:
        return _words(after) if after else ""
    instead = [after] if after else [f for f in found if _stands_for(f, before)]
    return f"was: {_words(before)}; now: {', '.join(map(_words, instead)) or 'nothing'}"


def _stands_for(finding: Finding, before: Finding) -> bool:
    return finding.device == before.device and _overlap(finding, before)


def _words(finding: Finding) -> str:
    start = f"{from_ms(finding.start_ms):%Y-%m-%dT%H:%M:%SZ}"
    where = f" {finding.device}" if finding.device else ""
    if finding.end_ms is None:
        return f"{finding.code}{where} {start} …"
    minutes = (finding.end_ms - finding.start_ms) / 60_000
    end = f"{from_ms(finding.end_ms):%Y-%m-%dT%H:%M:%SZ}"
    return f"{finding.code}{where} {start}/{end} ({minutes:.0f} min)"


def by_code(items: Iterable[Change[Key]]) -> dict[str, list[Change[Key]]]:
    """Changes by the code of their findings."""
    grouped: dict[str, list[Change[Key]]] = defaultdict(list)
    for change in items:
        finding = change.after or change.before
        if finding is not None:
            grouped[finding.code].append(change)
    return dict(grouped)
