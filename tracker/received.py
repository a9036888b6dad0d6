"""Which sequence numbers of a device have been received, and what to tell the device. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

MAX_MISSING = 64
"""Ranges in one ack (contract); ``high`` is lowered to fit."""


class Received(Struct, frozen=True, kw_only=True, gc=False):
    """Sequence numbers of one generation as sorted, disjoint, half-open ranges [from, to).

    ``lo``: the lowest number the device still holds. Holes below it are final: what is gone from
    the device can never come, so they count as covered.
    """

    ranges: tuple[tuple[int, int], ...] = ()
    lo: int = 1

    def __contains__(self, seq: int) -> bool:
        i = bisect_right(self.ranges, (seq, 2**63)) - 1
        return i >= 0 and self.ranges[i][0] <= seq < self.ranges[i][1]

    def add(self, seqs: Collection[int]) -> Received:
        """With more numbers received."""
        if self.ranges and len(seqs) == 1:
            low, end = self.ranges[-1]
            if end in seqs:  # the next in order, as nearly always
                return Received(ranges=(*self.ranges[:-1], (low, end + 1)), lo=self.lo)
        added = [(seq, seq + 1) for seq in set(seqs)]
        if not added:
            return self
        return replace(self, ranges=_merged([*self.ranges, *added]))

    def remove(self, seq: int) -> Received:
        """Without a number that was taken for received."""
        ranges = [
            part
            for low, end in self.ranges
            for part in ((low, min(end, seq)), (max(low, seq + 1), end))
            if part[0] < part[1]
        ]
        return replace(self, ranges=_merged(ranges))

    def raise_lo(self, lo: int) -> Received:
        """With the device's own word that it holds nothing below ``lo``; it never comes down."""
        return replace(self, lo=lo) if lo > self.lo else self

    def misses(self, low: int, end: int) -> bool:
        """Whether a number from ``low`` to before ``end`` is missing below one that is received."""
        reached = 1
        for start, after in self.ranges:
            if max(reached, low) < min(start, end):
                return True
            reached = after
        return False

    def covered(self) -> tuple[tuple[int, int], ...]:
        """Ranges the device need not send: received, or final holes."""
        final = [(1, self.lo)] if self.lo > 1 else []
        return _merged([*final, *self.ranges])


def _merged(ranges: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    merged: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return tuple(merged)


def ack_of(gen: int, received: Received) -> dict[str, Any]:
    """The cumulative ack of a generation (contract mqtt.md).

    ``upto``: all of 1…upto are covered, 0 if the first is missing. Every number up to ``high`` that
    is not in ``missing`` (closed ranges) may be deleted by the device.
    """
    covered = received.covered()
    upto = covered[0][1] - 1 if covered and covered[0][0] == 1 else 0
    holes: list[list[int]] = []
    high, reached = upto, upto
    for low, end in covered:
        if low > reached + 1:
            if len(holes) == MAX_MISSING:
                break
            holes.append([reached + 1, low - 1])
        reached = high = max(high, end - 1)
    return {"op": "ack", "gen": gen, "upto": upto, "high": high, "missing": holes}
