"""How far a device's word is trusted. Pure."""

from __future__ import annotations

from typing import Final

PRIOR_RECORDS: Final = 20
"""A new device starts as if it had sent so many good records: one slip at first is no verdict."""

CONFLICT_WEIGHT: Final = 20
"""A record that contradicts another of the same identity weighs as much as twenty that are merely
unreadable: the one is a bad line or firmware, the other a copied or tampered device."""


def trust(*, stored: int, refused: int, conflicts: int) -> float:
    """Trust from 0 to 1: the share of good records, conflicts weighed heavier.

    Args:
        stored: records received and stored.
        refused: records in quarantine, conflicts among them.
        conflicts: records of an identity already stored with another body.
    """
    good = PRIOR_RECORDS + stored
    bad = (refused - conflicts) + CONFLICT_WEIGHT * conflicts
    return good / (good + bad)
