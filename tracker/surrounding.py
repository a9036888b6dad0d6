"""A step of the second stage: what is known of deliveries besides their own records.

Loaded set-wise for a batch of deliveries; what has nothing of a kind costs next to nothing.
"""

from __future__ import annotations

from tracker.db.refusals import other_bindings_of, refusals_of
from tracker.judging import Connection, Judging
from tracker.model import Around


def surround(conn: Connection, batch: Judging) -> None:
    """What surrounds each delivery of the batch: refusals in its devices' names, and the like."""
    ids = list(batch.cases)
    refusals = refusals_of(conn, ids)
    bindings = other_bindings_of(conn, ids)
    for id_, case in batch.cases.items():
        case.around = Around(refusals=refusals.get(id_, ()), bindings=bindings.get(id_, ()))
