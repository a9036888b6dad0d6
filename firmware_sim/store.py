"""A device's record store: what has been made and not yet been acknowledged by the server.

The broker's PUBACK proves nothing (contract, promise 1), so only a server ack frees a record.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

CAPACITY = 20_000
"""Records a device holds at least: a fortnight of a vehicle unit on the road all day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A stored record. `rest`: its JSON without the envelope; events travel before the rest."""

    seq: int
    rest: bytes
    event: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Ack:
    """A server ack: every seq ≤ `upto`, and every seq ≤ `high` outside `missing`, is stored."""

    gen: int
    upto: int
    high: int
    missing: tuple[tuple[int, int], ...] = ()

    def covers(self, seq: int) -> bool:
        """Whether the server says that it has this record durably."""
        if seq <= self.upto:
            return True
        return seq <= self.high and not any(a <= seq <= b for a, b in self.missing)


def parse_ack(fields: Mapping[str, Any]) -> Ack | None:
    """An ack from a command's JSON; None if malformed, for a doubtful ack must free nothing."""
    gen, upto = fields.get("gen"), fields.get("upto")
    high, missing = fields.get("high", upto), fields.get("missing", [])
    if not (_count(gen) and _count(upto) and _count(high) and isinstance(missing, list)):
        return None
    ranges: list[tuple[int, int]] = []
    for pair in missing:
        if not (isinstance(pair, list) and len(pair) == 2 and all(map(_count, pair))):
            return None
        ranges.append((pair[0], pair[1]))
    return Ack(gen=gen, upto=upto, high=high, missing=tuple(ranges))  # type: ignore[arg-type]


def _count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


class Store:
    """Records in order of seq. One seq counter over all channels, starting at 1.

    A ring: with `capacity` records held, a new one takes the place of the oldest that is no event,
    or of the oldest event if there are only such. Only that, an ack, and a fault of the flash
    (`lose`) take records out.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        if capacity < 1:
            raise ValueError("a store holds at least one record")
        self._kept: dict[int, Kept] = {}
        self._next_seq = 1
        self.capacity = capacity
        self.overwritten = 0

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[Kept]:
        """Oldest first."""
        return iter(self._kept.values())

    def __contains__(self, seq: object) -> bool:
        return seq in self._kept

    @property
    def made(self) -> int:
        """Records ever made in this life (gen) of the store."""
        return self._next_seq - 1

    @property
    def lo(self) -> int:
        """Lowest seq still held; with nothing held, the next one to come."""
        return next(iter(self._kept), self._next_seq)

    @property
    def full(self) -> bool:
        """Whether the next record costs the oldest one."""
        return len(self._kept) >= self.capacity

    def add(self, rest: bytes, *, event: bool) -> Kept:
        """Keep a new record under the next seq."""
        if self.full:
            routine = (seq for seq, kept in self._kept.items() if not kept.event)
            del self._kept[next(routine, self.lo)]
            self.overwritten += 1
        kept = Kept(seq=self._next_seq, rest=rest, event=event)
        self._kept[kept.seq] = kept
        self._next_seq += 1
        return kept

    def free(self, ack: Ack, *, but: Container[int] = ()) -> list[int]:
        """Delete what the ack covers and is not in `but`; returns the seqs deleted."""
        covered = [
            seq
            for seq in takewhile(lambda seq: seq <= max(ack.upto, ack.high), self._kept)
            if ack.covers(seq) and seq not in but
        ]
        for seq in covered:
            del self._kept[seq]
        return covered

    def lose(self, keep_newest: int = 0) -> list[int]:
        """A page of flash goes bad: all but the newest records are gone; returns the lost seqs."""
        lost = list(self._kept)[: len(self._kept) - keep_newest]
        for seq in lost:
            del self._kept[seq]
        return lost
