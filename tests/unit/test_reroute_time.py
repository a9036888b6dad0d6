"""From when on another route may be in force."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tracker.deliveries import FARTHEST_AHEAD, check_reroute_time
from tracker.errors import Invalid

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
BACK = timedelta(days=30)
MS = timedelta(milliseconds=1)
RELEASED = NOW - timedelta(days=2)


@pytest.mark.parametrize("from_t", [RELEASED, NOW, NOW + FARTHEST_AHEAD])
def test_from_the_release_to_a_month_ahead(from_t: datetime) -> None:
    check_reroute_time(from_t, now=NOW, backdating=BACK, released=RELEASED)


@pytest.mark.parametrize(
    ("from_t", "released", "words"),
    [
        (RELEASED - MS, RELEASED, "before the release"),
        (NOW - BACK - MS, NOW - timedelta(days=99), "TRACKER_BACKDATING_DAYS"),
        (NOW + FARTHEST_AHEAD + MS, RELEASED, "ahead"),
    ],
)
def test_other_times_are_refused_with_the_field(
    from_t: datetime, released: datetime, words: str
) -> None:
    with pytest.raises(Invalid, match=words) as refused:
        check_reroute_time(from_t, now=NOW, backdating=BACK, released=released)
    assert [e.loc for e in refused.value.errors] == [("body", "from")]
