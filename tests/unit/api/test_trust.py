"""How far a device's word is trusted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tracker.trust import trust

counts = st.integers(0, 10**6)


@given(counts, counts, counts)
def test_trust_is_a_share_and_never_grows_with_what_is_refused(
    stored: int, refused: int, conflicts: int
) -> None:
    conflicts = min(conflicts, refused)
    now = trust(stored=stored, refused=refused, conflicts=conflicts)
    assert 0 < now <= 1
    assert trust(stored=stored, refused=refused + 1, conflicts=conflicts) < now
    assert trust(stored=stored, refused=refused + 1, conflicts=conflicts + 1) < now
    assert trust(stored=stored + 1, refused=refused, conflicts=conflicts) >= now


def test_a_new_device_is_trusted_and_a_conflict_weighs_twenty_records() -> None:
    assert trust(stored=0, refused=0, conflicts=0) == 1
    assert trust(stored=0, refused=1, conflicts=1) == 0.5
