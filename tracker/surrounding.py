"""A step of the second stage: what is known of deliveries besides their own records.

Loaded set-wise for a batch of deliveries; what has nothing of a kind costs next to nothing.
"""

from __future__ import annotations

from tracker.db.lanes import lane_histories
from tracker.db.refusals import other_bindings_of, refusals_of
from tracker.detectors.eta import may_be_late
from tracker.judging import Case, Connection, Judging
from tracker.model import Around


def surround(conn: Connection, batch: Judging) -> None:
    """What surrounds each delivery of the batch: refusals in its devices' names, and the like."""
    ids = list(batch.cases)
    refusals = refusals_of(conn, ids)
    bindings = other_bindings_of(conn, ids)
    lanes = lane_histories(conn, [i for i, c in batch.cases.items() if _may_be_late(c, batch)])
    for id_, case in batch.cases.items():
        case.around = Around(
            refusals=refusals.get(id_, ()),
            bindings=bindings.get(id_, ()),
            lane=lanes.get(id_),
        )


def _may_be_late(case: Case, batch: Judging) -> bool:
    limits = case.in_force.at(batch.now_ms)
    return may_be_late(case.file.plan, limits, case.after.pairs, batch.now_ms)
