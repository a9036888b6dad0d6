"""A step of the second stage: what deliveries leave for each other to be compared with.

The traces that a fold has found take the place of those that could still change; then the others
concerned are marked. A stop concerns all that stand near it at the same time; a vehicle without a
position concerns those to whom it makes, or unmakes, an area that is jammed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from tracker.db import traces as db
from tracker.db.traces import NewTrace, StoredTrace
from tracker.detectors.fleet import STOP
from tracker.detectors.identity import TWO_PLACES
from tracker.detectors.layers import JAM
from tracker.judging import Case, Connection, Judging
from tracker.model import Finding, Trace

_KINDS = {"trace_stop": STOP, "trace_jam": JAM, "trace_two_places": TWO_PLACES}
"""Codes of traces, and the kinds they are stored as."""

_COMPARED = frozenset({STOP, JAM})
"""Kinds that other deliveries are compared with."""

MS = timedelta(milliseconds=1)

JAM_WITHIN = timedelta(minutes=30)
"""Vehicles that lost their position within this time are looked at together: three times what makes
an area, so that the threshold can be raised."""

MOST_COUNTED = 16
"""Vehicles in one cell beyond which one more changes nothing: five times what makes an area. It
keeps hundreds that enter a jammed area from having each other judged again and again."""


def trace_of(delivery: str, finding: Finding) -> Trace | None:
    """A trace as others read it; None: it is of no kind that is compared."""
    kind = _KINDS.get(finding.code)
    by = finding.found_by
    if kind is None or finding.geometry is None or finding.device is None or by is None:
        return None
    lon, lat = finding.geometry["coordinates"]
    data: dict[str, Any] = {"gen": by.gen, "seq": by.seq}
    if kind == TWO_PLACES:
        data |= finding.evidence
    if kind == "stop":
        data["last_ms"] = finding.start_ms + round(finding.evidence["duration_s"] * 1000)
    return Trace(
        delivery=delivery,
        device=finding.device,
        kind=kind,
        from_ms=finding.start_ms,
        to_ms=finding.end_ms,
        lon=lon,
        lat=lat,
        cell=finding.evidence.get("cell"),
        data=data,
    )


def own_traces(case: Case) -> tuple[NewTrace, ...]:
    """What the fold has found of a delivery's traces."""
    id_ = case.file.id
    return tuple(
        NewTrace(delivery_id=id_, trace=trace, decided_ms=finding.decided_ms)
        for finding in case.traces
        if (trace := trace_of(str(id_), finding)) is not None
    )


def leave_traces(conn: Connection, batch: Judging) -> None:
    """Store what has changed of the traces of each delivery, and mark the others it concerns."""
    stored = db.traces_of(conn, list(batch.cases))
    gone: list[StoredTrace] = []
    new: list[NewTrace] = []
    for id_, case in batch.cases.items():
        if case.traces or id_ in stored:
            _compare(case, stored.get(id_, ()), gone, new)
    if not gone and not new:
        return
    changed = _changed(gone, new)
    # Before anything is read of others: see `tracker.db.traces`.
    db.lock_places(conn, [trace for _, trace in changed])
    db.exchange(conn, [one.id for one in gone], new)
    db.mark_others(conn, _concerned(conn, batch, changed))


def _compare(
    case: Case, stored: Sequence[StoredTrace], gone: list[StoredTrace], new: list[NewTrace]
) -> None:
    """Stored traces decided before the state that the fold began from are final; the rest is what
    was found now."""
    begun_ms = case.before.upto_ms
    found = list(own_traces(case))
    own: list[Trace] = [one.trace for one in found]
    for one in stored:
        if one.decided_ms is not None and begun_ms is not None and one.decided_ms <= begun_ms:
            own.append(one.trace)
            continue
        kept = (one.trace, one.decided_ms)
        same = next((f for f in found if (f.trace, f.decided_ms) == kept), None)
        if same is None:
            gone.append(one)
        else:
            found.remove(same)
    new += found
    case.own = tuple(sorted(own, key=lambda t: (t.from_ms, t.device, t.kind)))


Left = tuple[UUID, Trace]


def _changed(gone: Iterable[StoredTrace], new: Iterable[NewTrace]) -> list[Left]:
    """The traces that are not what they were to others: of those without a position it matters only
    where and when they began."""
    before = {_told(t): t for one in gone if (t := one.trace).kind in _COMPARED}
    after = {_told(t): t for one in new if (t := one.trace).kind in _COMPARED}
    changed = [t for told, t in before.items() if told not in after]
    changed += [t for told, t in after.items() if told not in before]
    return [(UUID(trace.delivery), trace) for trace in changed]


def _told(trace: Trace) -> tuple[object, ...]:
    if trace.kind == JAM:
        return trace.delivery, trace.kind, trace.cell, trace.from_ms
    place = (trace.lon, trace.lat)
    return trace.delivery, trace.kind, place, trace.from_ms, trace.to_ms, trace.data["last_ms"]


def _concerned(conn: Connection, batch: Judging, changed: Sequence[Left]) -> dict[UUID, int | None]:
    """The deliveries to be looked at again: from when, or None: without their records.

    Those of this batch read of each other's stops in a moment. Jamming that is over is judged with
    its records.
    """
    near = db.others_near(conn, changed, within=2 * JAM_WITHIN)
    concerned: dict[UUID, int | None] = {}
    for (_, trace), beside in zip(changed, near, strict=True):
        others = [one.trace for one in beside]
        for other in others:
            id_ = UUID(other.delivery)
            if trace.kind == JAM:
                if _may_matter(trace, other, others):
                    since_ms = concerned.get(id_)
                    earlier = other.from_ms if since_ms is None else min(since_ms, other.from_ms)
                    concerned[id_] = earlier
            elif id_ not in batch.cases:
                concerned.setdefault(id_, None)
    return concerned


def _may_matter(trace: Trace, other: Trace, others: Iterable[Trace]) -> bool:
    """Whether one more or less can make an area of what a vehicle is in: it began at about that
    time, and so many others are not there that one does not count."""
    within_ms = JAM_WITHIN // MS
    if abs(other.from_ms - trace.from_ms) > within_ms:
        return False
    beside = {o.delivery for o in others if abs(o.from_ms - other.from_ms) <= within_ms}
    return len(beside) <= MOST_COUNTED
