"""Which devices there is anything particular to be read about: most have nothing.

A first look, cheap for a fleet, that saves the dearer ones.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, LiteralString

import psycopg
from msgspec import Struct

from tracker.db.arrays import numbers
from tracker.db.holes import WITH_HOLES

Connection = psycopg.Connection[Any]

_OF: LiteralString = f"""
SELECT n.no,
       EXISTS (
           SELECT FROM device_received r
           WHERE r.device_no = n.no AND {WITH_HOLES}
       ),
       EXISTS (SELECT FROM refusals r WHERE r.device_no = n.no),
       (SELECT count(*) FROM bindings b WHERE b.device_no = n.no) > 1
FROM unnest(%s::int[]) AS n (no)
"""


class Particulars(Struct, frozen=True, kw_only=True):
    """Numbers of devices: with holes in what was received of them, in whose names messages were
    refused, and that are or were bound more than once."""

    with_holes: frozenset[int]
    refused: frozenset[int]
    bound_again: frozenset[int]


def particulars_of(conn: Connection, device_nos: Collection[int]) -> Particulars:
    """What is particular about these devices."""
    rows = conn.execute(_OF, (numbers(device_nos),), binary=True).fetchall()
    return Particulars(
        with_holes=frozenset(no for no, holes, _, _ in rows if holes),
        refused=frozenset(no for no, _, refused, _ in rows if refused),
        bound_again=frozenset(no for no, _, _, again in rows if again),
    )
