"""How deliveries between the same two posts have gone: for evaluation."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, LiteralString
from uuid import UUID

import psycopg

from tracker.db.arrays import uuids
from tracker.model import LaneHistory

LOOKED_AT = 200
"""The newest arrivals of a lane: a season, where a post receives a few lorries a day."""

# lane_history: the median speed of the newest deliveries of each lane that had arrived when the
# delivery was released, so that what is known of a lane does not change during a journey.
_LANES: LiteralString = """
SELECT d.id, count(gone.kmh), percentile_cont(0.5) WITHIN GROUP (ORDER BY gone.kmh)
FROM deliveries d
CROSS JOIN LATERAL (
    SELECT r.length_m / 1000 / (extract(epoch FROM o.arrived_at - o.released_at) / 3600)::float8
        AS kmh
    FROM deliveries o JOIN routes r ON r.id = o.route_id
    WHERE o.destination_post = d.destination_post AND o.departure_post = d.departure_post
      AND o.arrived_at <= d.released_at AND o.arrived_at > o.released_at
    ORDER BY o.arrived_at DESC LIMIT %(looked_at)s
) AS gone
WHERE d.id = ANY(%(ids)s::uuid[])
GROUP BY d.id
"""


def lane_histories(conn: psycopg.Connection[Any], ids: Collection[UUID]) -> dict[UUID, LaneHistory]:
    """The history of each delivery's lane; those whose lane has none are left out."""
    if not ids:
        return {}
    rows = conn.execute(_LANES, {"ids": uuids(ids), "looked_at": LOOKED_AT})
    return {id_: LaneHistory(deliveries=n, median_kmh=kmh) for id_, n, kmh in rows if n}
