"""Re-drive: what was refused goes through the storing stage again, after a fix.

A fix is a device registered at last, a key put right, a decoder that learnt a word. Rows keep their
topic and their time of reception; the stage decides as it would have then. One batch of rows is one
transaction of the caller, in which

- the rows leave quarantine; what is refused again is put back (the same row, if it is the same
  refusal as a whole), so nothing is in quarantine twice and nothing is lost between;
- a record that was authentic is not asked for its signature again: its trailer was checked when it
  came, and part of an array has none;
- the number of such a record counts as received, since it was acknowledged; it is taken back for
  the length of the transaction, unless telemetry holds the identity, and the stage counts it in
  again. So it is stored once;
- a second body of an identity (``identity_conflict``) can only be found to be the same as the
  first, never take its place.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from msgspec import Struct
from msgspec.structs import replace

from tracker import forwarded, storing
from tracker.db import quarantine, refusals, telemetry
from tracker.db import redrive as db
from tracker.db.redrive import Filter, Held
from tracker.model import to_ms
from tracker.payload import Decoded, Reason, Rejected
from tracker.storing import Incoming, Storing

Connection = psycopg.Connection[Any]
Identity = tuple[str, int, int]

CONTENT = frozenset(
    {
        Reason.OVERSIZED,
        Reason.TOO_MANY_RECORDS,
        Reason.MALFORMED,
        Reason.UNKNOWN_VERSION,
        Reason.INVALID_FIELD,
        Reason.IDENTITY_CONFLICT,
    }
)
"""Reasons that are found after the sender has been proved."""


class Outcome(Struct, frozen=True, kw_only=True):
    """What a re-drive did. ``looked_at``: rows; ``stored``: records that are in telemetry now;
    ``removed``: rows that left quarantine; ``kept``: what is refused still, by reason.

    ``last_id``: the last row looked at; ``more``: it ended before the end.
    ``senders``: whose counts in quarantine are to be taken anew.
    """

    looked_at: int = 0
    stored: int = 0
    removed: int = 0
    kept: dict[str, int] = {}
    last_id: int = 0
    more: bool = False
    senders: frozenset[str] = frozenset()

    def __add__(self, other: Outcome) -> Outcome:
        return Outcome(
            looked_at=self.looked_at + other.looked_at,
            stored=self.stored + other.stored,
            removed=self.removed + other.removed,
            kept=dict(Counter(self.kept) + Counter(other.kept)),
            last_id=max(self.last_id, other.last_id),
            senders=self.senders | other.senders,
        )


def redrive(
    begin: Callable[[], AbstractContextManager[Connection]],
    wanted: Filter,
    *,
    traccar_topic: str,
    after: int = 0,
    most_rows: int | None = None,
) -> Outcome:
    """Re-drive what matches, batch by batch, in the order of arrival; each batch is committed.

    ``begin()`` is a context that gives a connection in a transaction of its own and commits it.
    It starts after the row ``after``, ends before what arrives meanwhile, and ends early after
    ``most_rows`` rows or a few more: the outcome then says where to go on.
    """
    with begin() as conn:
        last = db.last_id(conn)
    total, more = Outcome(last_id=after), True
    while more and (most_rows is None or total.looked_at < most_rows):
        with begin() as conn:
            outcome = redrive_batch(
                conn, wanted, after=total.last_id, last=last, traccar_topic=traccar_topic
            )
        more = outcome.looked_at > 0
        total += outcome
    if total.senders:
        with begin() as conn:
            quarantine.recount(conn, total.senders)
    return replace(total, more=more)


@dataclass(kw_only=True)
class _Redriving(Storing):
    """A storing batch that knows which row each message was made of, and each refusal came from."""

    rows: dict[int, Held] = field(default_factory=dict)
    sources: list[Held] = field(default_factory=list)
    senders: set[str] = field(default_factory=set)

    def refuse(
        self, incoming: Incoming, rejected: Rejected, device: str | None, *, known: bool
    ) -> None:
        super().refuse(incoming, rejected, device, known=known)
        self.sources.append(self.rows[id(incoming)])


STEPS: tuple[Callable[[Connection, Storing], None], ...] = (
    forwarded.take_forwarded,
    storing.admit,
    storing.take_births,
    storing.decode,
    storing.identify,
    storing.date_records,
)
"""The storing stage as for any message, up to the writing, which here puts rows back."""


def redrive_batch(
    conn: Connection, wanted: Filter, *, after: int, last: int, traccar_topic: str
) -> Outcome:
    """Re-drive the next rows after an id, in the caller's transaction."""
    rows = db.next_batch(conn, wanted, after=after, last=last)
    if not rows:
        return Outcome()
    driven = _with_a_first(conn, rows)
    reopened = _reopen(conn, driven)
    db.delete(conn, [row.id for row in driven])
    refusals.forget(conn, [_suspect(row) for row in driven])
    batch = _batch_of(driven, traccar_topic)
    for step in STEPS:
        step(conn, batch)
    _write(conn, batch)
    db.close_again(conn, reopened)
    storing.mark(conn, batch)
    same, other = _put_back(conn, batch)
    idle = len(rows) - len(driven)
    kept = Counter(str(refused.reason) for refused in batch.refused)
    return Outcome(
        looked_at=len(rows),
        stored=len(batch.records),
        removed=len(driven) - same,
        kept=dict(kept + Counter({str(Reason.IDENTITY_CONFLICT): idle})),
        last_id=rows[-1].id,
        senders=frozenset(batch.senders | {r.sender for r in other} | _senders(driven)),
    )


def _senders(rows: Iterable[Held]) -> frozenset[str]:
    return frozenset({quarantine.UNKNOWN_SENDERS, *(r.device_id for r in rows if r.device_id)})


def _identity(row: Held) -> Identity | None:
    """The identity of a row that is one authentic record."""
    if row.reason not in CONTENT or row.device_id is None or row.gen is None or row.seq is None:
        return None
    return row.device_id, row.gen, row.seq


def _with_a_first(conn: Connection, rows: Sequence[Held]) -> list[Held]:
    """All but second bodies whose first is held nowhere any more: nothing can be said of them."""
    seconds = {
        row.id: identity
        for row in rows
        if row.reason == Reason.IDENTITY_CONFLICT and (identity := _identity(row))
    }
    wanted = list(seconds.values())
    first = db.in_telemetry(conn, wanted) | db.in_quarantine(conn, wanted)
    return [row for row in rows if row.id not in seconds or seconds[row.id] in first]


def _reopen(conn: Connection, rows: Sequence[Held]) -> list[Identity]:
    """Take back the numbers of first bodies that never entered telemetry."""
    db.lock_devices(conn, {row.device_id for row in rows if row.device_id})
    firsts = [
        identity
        for row in rows
        if row.reason != Reason.IDENTITY_CONFLICT and (identity := _identity(row))
    ]
    stored = db.in_telemetry(conn, firsts)
    reopened = [identity for identity in firsts if identity not in stored]
    db.reopen(conn, reopened)
    return reopened


def _batch_of(rows: Sequence[Held], traccar_topic: str) -> _Redriving:
    incoming = [
        Incoming(
            topic=row.topic,
            payload=row.payload,
            received_ms=to_ms(row.received_at),
            retained=True,  # a birth of then asks for nothing now
            authenticated=row.reason in CONTENT,
        )
        for row in rows
    ]
    return _Redriving(
        incoming=incoming,
        quarantine_per_device=len(rows),
        traccar_topic=traccar_topic,
        rows={id(message): row for message, row in zip(incoming, rows, strict=True)},
    )


def _write(conn: Connection, batch: _Redriving) -> None:
    """Messages, records with the message they came in, numbers received, newest records."""
    for i, message in batch.parts.items():
        if batch.sources[i].message_id is None:
            storing.message_of(batch, message)
    message_ids = telemetry.store_messages(conn, batch.messages)
    records = list(batch.records)
    accepted = [a for a in batch.fresh if isinstance(a.outcome, Decoded)]
    # Those of other systems stand before them; they are in no signed message.
    for n, arrived in enumerate(accepted, start=len(records) - len(accepted)):
        known = batch.rows[id(arrived.source.incoming)].message_id
        if known is not None:
            records[n] = replace(records[n], message=len(message_ids))
            message_ids.append(known)
    telemetry.store_records(conn, records, message_ids)
    latest = telemetry.latest_of(records, batch.heard)
    telemetry.save_received(conn, batch.heard, batch.received, latest)
    telemetry.update_shown(conn, records)
    for i, message in batch.parts.items():
        index = batch.message_index.get(id(message))
        if index is not None:
            batch.refused[i] = replace(batch.refused[i], message=message_ids[index])


def _put_back(conn: Connection, batch: _Redriving) -> tuple[int, list[quarantine.Refused]]:
    """Put back what is refused still: a row as it was, or the parts of it that are."""
    again: dict[int, list[quarantine.Refused]] = defaultdict(list)
    held: dict[int, Held] = {}
    for row, refused in zip(batch.sources, batch.refused, strict=True):
        again[row.id].append(refused)
        held[row.id] = row
    same: list[tuple[Held, quarantine.Refused]] = []
    other: list[quarantine.Refused] = []
    for id_, found in again.items():
        if len(found) == 1 and found[0].payload == held[id_].payload:
            same.append((held[id_], found[0]))
        else:
            other += found
    db.put_back(conn, same)
    ids = [*(row.id for row, _ in same), *quarantine.keep(conn, other)]
    back = [*(refused for _, refused in same), *other]
    still = zip(back, ids, strict=True)
    refusals.note(conn, [refusals.noted(one, id_) for one, id_ in still if _is_live(one.topic)])
    return len(same), other


def _suspect(row: Held) -> refusals.Noted | None:
    """A row as it was noted when it was refused."""
    if not _is_live(row.topic):
        return None
    return refusals.noted(
        quarantine.Refused(
            received_at=row.received_at,
            topic=row.topic,
            device=row.device_id,
            known=True,
            reason=Reason(row.reason),
            detail=row.detail,
            payload=row.payload,
            gen=row.gen,
            seq=row.seq,
        ),
        row.id,
    )


def _is_live(topic: str) -> bool:
    """Births are retained and may have been read again: it is not known which were noted."""
    return not topic.endswith("/state")
