"""A step of the second stage: what is known of deliveries besides their own records.

Loaded set-wise for a batch of deliveries; what has nothing of a kind costs next to nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Set
from uuid import UUID

from tracker.db.dead_zones import cells_known
from tracker.db.holes import holes_of
from tracker.db.lanes import lane_histories
from tracker.db.particulars import particulars_of
from tracker.db.refusals import other_bindings_of, refusals_of
from tracker.db.traces import others_near
from tracker.detectors.eta import may_be_late
from tracker.detectors.layers import silence_key
from tracker.judging import Case, Connection, Judging
from tracker.model import Around, DeadCell, Trace
from tracker.tracing import JAM_WITHIN


def surround(conn: Connection, batch: Judging) -> None:
    """What surrounds each delivery of the batch: refusals in its devices' names, and the like."""
    there = particulars_of(
        conn, [no for case in batch.cases.values() for no in case.file.device_nos.values()]
    )
    refusals = refusals_of(conn, _with_any(batch, there.refused))
    bindings = other_bindings_of(conn, _with_any(batch, there.bound_again))
    holes = holes_of(conn, _with_any(batch, there.with_holes))
    lanes = lane_histories(conn, [i for i, c in batch.cases.items() if _may_be_late(c, batch)])
    others = _others(conn, batch)
    dead = _dead(conn, batch)
    left = {id_ for id_, case in batch.cases.items() if case.own}
    for id_ in left.union(refusals, bindings, holes, lanes, others, dead):
        case = batch.cases[id_]
        case.around = Around(
            own=case.own,
            others=others.get(id_, ()),
            dead=dead.get(id_, {}),
            refusals=refusals.get(id_, ()),
            bindings=bindings.get(id_, ()),
            holes=holes.get(id_, ()),
            lane=lanes.get(id_),
        )


def _with_any(batch: Judging, device_nos: Set[int]) -> list[UUID]:
    """The deliveries that one of these devices is or was on."""
    if not device_nos:
        return []
    return [
        id_
        for id_, case in batch.cases.items()
        if not device_nos.isdisjoint(case.file.device_nos.values())
    ]


def _may_be_late(case: Case, batch: Judging) -> bool:
    limits = case.in_force.at(batch.now_ms)
    return may_be_late(case.file.plan, limits, case.after.pairs, batch.now_ms)


def _others(conn: Connection, batch: Judging) -> dict[UUID, tuple[Trace, ...]]:
    """What other deliveries have left near the traces of each."""
    own = [(id_, trace) for id_, case in batch.cases.items() for trace in case.own]
    if not own:
        return {}
    found: dict[UUID, dict[int, Trace]] = defaultdict(dict)
    for (id_, _), near in zip(own, others_near(conn, own, within=JAM_WITHIN), strict=True):
        for one in near:
            found[id_][one.id] = one.trace
    return {id_: tuple(traces.values()) for id_, traces in found.items()}


def _dead(conn: Connection, batch: Judging) -> dict[UUID, dict[str, DeadCell]]:
    """The known dead zones in which silences of each delivery began, as known on those days."""
    wanted: dict[UUID, set[tuple[str, str]]] = {}
    for id_, case in batch.cases.items():
        keys = {key for f in case.shown if (key := silence_key(f)) is not None}
        if keys:
            wanted[id_] = keys
    if not wanted:
        return {}
    known = cells_known(conn, set[tuple[str, str]]().union(*wanted.values()))
    return {
        id_: {f"{cell}@{day}": known[cell, day] for cell, day in keys if (cell, day) in known}
        for id_, keys in wanted.items()
    }
