"""The step of the first stage that takes in other systems' messages (`tracker.adapters`).

They come unsigned and unnumbered. So a device that must sign is refused here, and a record is known
again by looking its identity up in telemetry: the device's row is locked until the commit, so that
two workers (a hand-over) cannot both find it new. Such devices know no acks and get none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import psycopg
from msgspec import Struct

from tracker import adapters
from tracker.adapters import Adapted
from tracker.clocks import faults_of, time_of
from tracker.db import telemetry as db
from tracker.db.telemetry import Identity, NewRecord, Registered
from tracker.model import Record, from_ms
from tracker.payload import Reason, Rejected
from tracker.storing import Incoming, Storing
from tracker.track import position_of


class _Admitted(Struct, frozen=True, kw_only=True):
    """A message of another system that speaks of a registered device."""

    incoming: Incoming
    device: Registered
    adapted: Adapted


class _Sent(Struct, frozen=True, kw_only=True):
    """A record in it."""

    source: _Admitted
    record: Record
    body: bytes

    @property
    def identity(self) -> Identity:
        return self.source.device.device_no, self.record.gen, self.record.seq


def take_forwarded(conn: psycopg.Connection[Any], batch: Storing) -> None:
    """Take other systems' messages out of the batch: records, presence, refusals."""
    topic = batch.traccar_topic
    foreign = [i for i in batch.incoming if adapters.is_foreign(i.topic, traccar_topic=topic)]
    if not foreign:
        return
    batch.incoming = [
        i for i in batch.incoming if not adapters.is_foreign(i.topic, traccar_topic=topic)
    ]
    admitted = list(_admit(conn, batch, foreign))
    db.lock_devices(conn, (a.device.device_no for a in admitted))
    _note_presence(conn, admitted)
    sent = [
        _Sent(source=a, record=decoded.record, body=decoded.body)
        for a in admitted
        for decoded in a.adapted.records
    ]
    batch.records += [_new_record(s) for s in _unknown(conn, batch, sent)]


def _admit(
    conn: psycopg.Connection[Any], batch: Storing, foreign: list[Incoming]
) -> Iterator[_Admitted]:
    read = [
        (i, adapters.adapt(i.topic, i.payload, traccar_topic=batch.traccar_topic)) for i in foreign
    ]
    known = batch.registry.devices(conn, {a.device for _, a in read if isinstance(a, Adapted)})
    for incoming, adapted in read:
        if isinstance(adapted, Rejected):
            batch.refuse(incoming, adapted, None, known=False)
            continue
        device = known.get(adapted.device)
        refused = _refusal(adapted.device, device)
        if refused is not None:
            batch.refuse(incoming, refused, adapted.device, known=device is not None)
        elif device is not None:
            yield _Admitted(incoming=incoming, device=device, adapted=adapted)


def _refusal(name: str, device: Registered | None) -> Rejected | None:
    if device is None:
        detail = f"no device {name!r} is registered: register it, then re-drive"
        return Rejected(reason=Reason.UNKNOWN_DEVICE, detail=detail, payload=b"")
    if device.hmac_required:
        detail = "the device must sign its messages; what another system forwards is not signed"
        return Rejected(reason=Reason.MAC_MISSING, detail=detail, payload=b"")
    return None


def _note_presence(conn: psycopg.Connection[Any], admitted: list[_Admitted]) -> None:
    """What a retained message says of presence is old: it is read again at each subscription."""
    newest = {
        a.device.device_no: a
        for a in admitted
        if a.adapted.online is not None and not a.incoming.retained
    }
    for number in sorted(newest):
        said = newest[number]
        at = from_ms(said.incoming.received_ms)
        db.save_presence(conn, number, online=said.adapted.online is True, at=at)


def _unknown(conn: psycopg.Connection[Any], batch: Storing, sent: list[_Sent]) -> Iterator[_Sent]:
    """Those that were not stored before; of two that differ under one number, the second is
    refused."""
    bodies = db.stored_bodies(conn, (s.identity for s in sent))
    for one in sent:
        before = bodies.get(one.identity)
        if before is None:
            bodies[one.identity] = one.body
            yield one
        elif not adapters.same(before, one.body, one.source.adapted.source):
            batch.refuse(one.source.incoming, _conflict(one), one.source.device.id, known=True)


def _conflict(one: _Sent) -> Rejected:
    return Rejected(
        reason=Reason.IDENTITY_CONFLICT,
        detail="another record of the same millisecond has the same digest",
        payload=one.body,
        gen=one.record.gen,
        seq=one.record.seq,
    )


def _new_record(one: _Sent) -> NewRecord:
    record, received_ms = one.record, one.source.incoming.received_ms
    t_ms, flags = time_of(record, received_ms)
    position = None if t_ms is None else position_of(record, t_ms, received_ms)
    return NewRecord(
        device_no=one.source.device.device_no,
        gen=record.gen,
        seq=record.seq,
        received_ms=received_ms,
        t_ms=t_ms,
        flags=int(flags | faults_of(record, received_ms) | one.source.adapted.source),
        lon=position.lon if position else None,
        lat=position.lat if position else None,
        body=one.body,
        message=None,
        shown=_in_our_words(record),
        urgent=record.evt is not None,
    )


def _in_our_words(record: Record) -> bytes:
    """The record as one of our devices would have sent it, for those who show the newest one."""
    stated = msgspec.to_builtins(record)
    return msgspec.json.encode({key: _stated(value) for key, value in stated.items() if value})


def _stated(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: part for key, part in value.items() if part is not None}
