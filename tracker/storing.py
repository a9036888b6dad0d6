"""The first stage, step by step: messages → stored records, quarantine, acks.

A `Storing` is one batch on its way through the steps of `tracker.pipeline.STORE`. Each step reads
what earlier ones found and adds its own; none commits. Whoever runs it commits and acknowledges.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from msgspec import Struct, UnsetType
from msgspec.structs import replace

from tracker.adapters import TRACCAR_TOPIC
from tracker.clocks import faults_of, time_of
from tracker.db import quarantine, refusals
from tracker.db import telemetry as db
from tracker.db.holes import mark_given_up
from tracker.db.quarantine import Refused
from tracker.db.telemetry import (
    Ears,
    GenKey,
    Heard,
    Identity,
    Message,
    NewRecord,
    Registered,
    Registry,
)
from tracker.model import Record, from_ms
from tracker.payload import (
    Decoded,
    Reason,
    Rejected,
    Signed,
    Topic,
    authenticate,
    decode_birth,
    decode_records,
    parse_topic,
    same_record,
    split_trailer,
)
from tracker.received import Received
from tracker.track import position_of

Connection = psycopg.Connection[Any]


class Incoming(Struct, frozen=True, kw_only=True, gc=False):
    """A message as the broker delivered it. ``retained``: an old one, read at subscription.

    ``authenticated``: its sender was proved when it came; only a re-drive may say so.
    """

    topic: str
    payload: bytes
    received_ms: int
    retained: bool = False
    authenticated: bool = False


class Authentic(Struct, frozen=True, kw_only=True, gc=False):
    """A message from a registered device whose signature, if any, is right."""

    incoming: Incoming
    topic: Topic
    device: Registered
    signed: Signed


class Arrived(Struct, frozen=True, kw_only=True, gc=False):
    """A record of a device, decoded or refused for its content, with its identity."""

    source: Authentic
    gen: int
    seq: int
    body: bytes
    outcome: Decoded | Rejected
    gen_key: GenKey
    identity: Identity


@dataclass(kw_only=True)
class DeviceNews:
    """What a batch held of one generation of a device: how much, and whether it is owed an ack
    at once."""

    device: Registered
    gen: int
    records: int = 0
    urgent: bool = False


@dataclass(kw_only=True)
class Storing:
    """One batch. Filled step by step, thrown away after the commit."""

    incoming: Sequence[Incoming]
    quarantine_per_device: int
    quarantine_bytes: int = quarantine.DEFAULT_BYTES
    traccar_topic: str = TRACCAR_TOPIC
    ears: Ears = field(default_factory=Ears)
    registry: Registry = field(default_factory=Registry)
    authentic: list[Authentic] = field(default_factory=list)
    arrived: list[Arrived] = field(default_factory=list)
    fresh: list[Arrived] = field(default_factory=list)
    records: list[NewRecord] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    message_index: dict[int, int] = field(default_factory=dict)
    refused: list[Refused] = field(default_factory=list)
    parts: dict[int, Authentic] = field(default_factory=dict)
    contents: dict[int, Arrived] = field(default_factory=dict)
    heard: dict[GenKey, Heard] = field(default_factory=dict)
    received: dict[GenKey, Received] = field(default_factory=dict)
    saved: dict[GenKey, Heard] = field(default_factory=dict)
    los: dict[GenKey, int] = field(default_factory=dict)
    given_up: set[int] = field(default_factory=set)
    news: dict[GenKey, DeviceNews] = field(default_factory=dict)
    lost_gen: list[Registered] = field(default_factory=list)
    next_gens: list[tuple[Registered, int]] = field(default_factory=list)
    reasons: Counter[Reason] = field(default_factory=Counter)

    def refuse_part(self, message: Authentic, rejected: Rejected) -> None:
        """Put content of an authentic message aside: all of it with its signature, or a part that
        will refer to the message."""
        if message.signed.kid is not None:
            if rejected.payload == message.signed.body:
                rejected = replace(rejected, payload=message.incoming.payload)
            else:
                self.parts[len(self.refused)] = message
        self.refuse(message.incoming, rejected, message.device.id, known=True)

    def refuse(
        self, incoming: Incoming, rejected: Rejected, device: str | None, *, known: bool
    ) -> None:
        """Put something aside for quarantine, with its raw bytes."""
        self.refused.append(
            Refused(
                received_at=from_ms(incoming.received_ms),
                topic=incoming.topic,
                device=device,
                known=known,
                reason=rejected.reason,
                detail=rejected.detail,
                payload=rejected.payload or incoming.payload,
                gen=rejected.gen,
                seq=rejected.seq,
                retained=incoming.retained,
            )
        )

    def remember(self) -> None:
        """The batch is committed: let the numbers it received be known to the next."""
        self.ears.keep(self.saved)

    def news_of(self, device: Registered, gen: int) -> DeviceNews:
        """What this batch holds of a generation of a device."""
        return self.news.setdefault((device.device_no, gen), DeviceNews(device=device, gen=gen))


# ---------------------------------------------------------------- the steps


def admit(conn: Connection, batch: Storing) -> None:
    """Take topics apart, look the senders up, check their signatures."""
    parsed = [(incoming, parse_topic(incoming.topic)) for incoming in batch.incoming]
    names = {topic.device for _, topic in parsed if isinstance(topic, Topic)}
    known = batch.registry.devices(conn, names) if names else {}
    for incoming, topic in parsed:
        if isinstance(topic, Rejected):
            batch.refuse(incoming, topic, None, known=False)
        else:
            _admit_one(batch, incoming, topic, known.get(topic.device))


def _admit_one(batch: Storing, incoming: Incoming, topic: Topic, device: Registered | None) -> None:
    if device is None:
        detail = f"no device {topic.device!r} is registered: register it, then re-drive"
        rejected = Rejected(reason=Reason.UNKNOWN_DEVICE, detail=detail, payload=b"")
        batch.refuse(incoming, rejected, topic.device, known=False)
        return
    if device.kind != topic.kind:
        detail = f"{topic.device} is registered as {device.kind}, not as {topic.kind}"
        rejected = Rejected(reason=Reason.WRONG_KIND, detail=detail, payload=b"")
        batch.refuse(incoming, rejected, device.id, known=True)
        return
    if incoming.authenticated:
        signed: Signed | Rejected = split_trailer(incoming.payload)
    else:
        signed = _authenticated(incoming, device)
    if isinstance(signed, Rejected):
        batch.refuse(incoming, signed, device.id, known=True)
    else:
        batch.authentic.append(
            Authentic(incoming=incoming, topic=topic, device=device, signed=signed)
        )


def _authenticated(incoming: Incoming, device: Registered) -> Signed | Rejected:
    return authenticate(
        incoming.payload,
        incoming.topic,
        keys=device.keys,
        required=device.hmac_required,
        now_ms=incoming.received_ms,
    )


def take_births(conn: Connection, batch: Storing) -> None:
    """Births, leaves and wills: presence, generation, and the lowest number still held."""
    for message in batch.authentic:
        if message.topic.channel != "state" or not message.signed.body:
            continue  # an empty retained message is a device's birth being cleared
        birth = decode_birth(message.signed.body)
        if isinstance(birth, Rejected):
            batch.refuse_part(message, birth)
            continue
        at = from_ms(message.incoming.received_ms)
        # jsonb has no NUL; nothing that is said of a device needs one
        body = message.signed.body.decode().replace("\\u0000", "")
        current = db.save_birth(conn, message.device.device_no, birth, body, at)
        if current and birth.on:
            _welcome(batch, message, birth.gen, birth.lo)


def _welcome(
    batch: Storing, message: Authentic, gen: int | UnsetType | None, lo: int | None
) -> None:
    # A retained birth read again at a worker's start is not news: it asks for nothing.
    live = not message.incoming.retained
    if gen is None and live:
        batch.lost_gen.append(message.device)
    if not isinstance(gen, int):
        return
    if live:
        batch.news_of(message.device, gen).urgent = True
    if lo is not None:
        key = message.device.device_no, gen
        batch.los[key] = max(1, lo, batch.los.get(key, 1))


def decode(_conn: Connection, batch: Storing) -> None:
    """Bodies → records. One that cannot even be identified goes to quarantine here."""
    for message in batch.authentic:
        if message.topic.channel not in ("tlm", "evt"):
            continue
        for outcome in decode_records(message.signed.body):
            arrived = _identified(message, outcome)
            if arrived is None:
                assert isinstance(outcome, Rejected)
                batch.refuse_part(message, outcome)
            else:
                batch.arrived.append(arrived)
                _note(batch, arrived)


def _identified(message: Authentic, outcome: Decoded | Rejected) -> Arrived | None:
    if isinstance(outcome, Decoded):
        gen, seq, body = outcome.record.gen, outcome.record.seq, outcome.body
    elif outcome.gen is not None and outcome.seq is not None:
        gen, seq, body = outcome.gen, outcome.seq, outcome.payload
    else:
        return None
    no = message.device.device_no
    return Arrived(
        source=message,
        gen=gen,
        seq=seq,
        body=body,
        outcome=outcome,
        gen_key=(no, gen),
        identity=(no, gen, seq),
    )


def _note(batch: Storing, arrived: Arrived) -> None:
    """Count towards the device's ack; an event and a poll's answer are acknowledged at once."""
    news = batch.news_of(arrived.source.device, arrived.gen)
    news.records += 1
    if isinstance(arrived.outcome, Decoded):
        record = arrived.outcome.record
        news.urgent = news.urgent or record.evt is not None or record.why == "poll"


def identify(conn: Connection, batch: Storing) -> None:
    """Keep what is new; merge what is the same; refuse what is forged.

    Numbers received are locked to the commit, or remembered and then changed only if nobody else
    has changed them: a (device, gen, seq) is stored once whoever else is writing.
    """
    keys = set(batch.news) | set(batch.los)
    if not keys:
        return
    batch.heard = batch.ears.of(keys)
    if unheard := keys - batch.heard.keys():
        batch.heard |= db.lock_received(conn, unheard)
    batch.received = {key: heard.received for key, heard in batch.heard.items()}
    first: dict[Identity, Arrived] = {}
    again: list[tuple[Arrived, Arrived | None]] = []
    for arrived in batch.arrived:
        if arrived.seq in batch.received[arrived.gen_key]:
            again.append((arrived, None))
        elif arrived.identity in first:
            again.append((arrived, first[arrived.identity]))
        else:
            first[arrived.identity] = arrived
    batch.fresh = list(first.values())
    for arrived in _conflicts(conn, again):
        _refuse_conflict(batch, arrived)
    _count_in(batch)


def _conflicts(
    conn: Connection, again: Sequence[tuple[Arrived, Arrived | None]]
) -> Iterator[Arrived]:
    """Of the records that came again, those that say something else than the first time."""
    bodies = db.stored_bodies(conn, (a.identity for a, first in again if first is None))
    for arrived, first in again:
        before = bodies.get(arrived.identity) if first is None else first.body
        if before is not None and not same_record(before, arrived.body):
            yield arrived


def _refuse_conflict(batch: Storing, arrived: Arrived) -> None:
    rejected = Rejected(
        reason=Reason.IDENTITY_CONFLICT,
        detail=f"gen {arrived.gen} seq {arrived.seq} was received before with another body",
        payload=arrived.body,
        gen=arrived.gen,
        seq=arrived.seq,
    )
    batch.refuse_part(arrived.source, rejected)


def _count_in(batch: Storing) -> None:
    added: dict[GenKey, list[int]] = defaultdict(list)
    for arrived in batch.fresh:
        added[arrived.gen_key].append(arrived.seq)
    for key, received in batch.received.items():
        grown = received.add(added.get(key, ()))
        lo = batch.los.get(key, 1)
        if grown.misses(grown.lo, lo):
            batch.given_up.add(key[0])
        batch.received[key] = grown.raise_lo(lo)


def date_records(_conn: Connection, batch: Storing) -> None:
    """Give each new record its time t* and its position; put the refused ones aside."""
    for arrived in batch.fresh:
        if isinstance(arrived.outcome, Rejected):
            batch.contents[len(batch.refused)] = arrived
            batch.refuse_part(arrived.source, arrived.outcome)
        else:
            batch.records.append(_new_record(batch, arrived, arrived.outcome.record))


def message_of(batch: Storing, source: Authentic) -> int | None:
    """The index in the batch of a signed message that is to be kept apart; None: not signed."""
    if source.signed.kid is None:
        return None
    index = batch.message_index
    if id(source) not in index:
        index[id(source)] = len(batch.messages)
        batch.messages.append(
            Message(
                device_no=source.device.device_no,
                received_at=from_ms(source.incoming.received_ms),
                topic=source.incoming.topic,
                payload=source.incoming.payload,
            )
        )
    return index[id(source)]


def _new_record(batch: Storing, arrived: Arrived, record: Record) -> NewRecord:
    source = arrived.source
    received_ms = source.incoming.received_ms
    # A signed message of one record is kept with it: its body is the record's.
    alone = source.signed.kid is not None and arrived.body == source.signed.body
    t_ms, flags = time_of(record, received_ms)
    position = None if t_ms is None else position_of(record, t_ms, received_ms)
    return NewRecord(
        device_no=source.device.device_no,
        gen=arrived.gen,
        seq=arrived.seq,
        received_ms=received_ms,
        t_ms=t_ms,
        flags=int(flags) | int(faults_of(record, received_ms)),
        lon=position.lon if position else None,
        lat=position.lat if position else None,
        body=arrived.body,
        message=None if alone else message_of(batch, source),
        topic=source.incoming.topic if alone else None,
        trailer=source.incoming.payload[len(arrived.body) :] if alone else None,
        urgent=record.evt is not None,
    )


def write(conn: Connection, batch: Storing) -> None:
    """Numbers received with each device's newest, messages, records, quarantine.

    The numbers first: what another has stored meanwhile must not be written at all.

    Raises:
        Stale: what was remembered of received numbers does not hold; nothing may be committed.
    """
    kept = _count_refused(conn, batch)
    _let_go(batch, kept)
    latest = db.latest_of(batch.records, batch.heard)
    batch.saved = db.save_received(conn, batch.heard, batch.received, latest)
    message_ids = db.store_messages(conn, batch.messages)
    db.store_records(conn, batch.records, message_ids)
    db.update_shown(conn, batch.records)
    rows = quarantine.keep(conn, (_with_message(batch, i, message_ids) for i in kept))
    _note_refused(conn, batch, dict(zip(kept, rows, strict=True)))
    batch.reasons = Counter(r.reason for r in batch.refused)


def _count_refused(conn: Connection, batch: Storing) -> list[int]:
    """Which of the refused are to be kept; the signed messages that they are parts of are too."""
    bounds = quarantine.Bounds(records=batch.quarantine_per_device, bytes=batch.quarantine_bytes)
    kept = [i for i, keep in enumerate(quarantine.count_in(conn, batch.refused, bounds)) if keep]
    for i in kept:
        if i in batch.parts:
            message_of(batch, batch.parts[i])
    return kept


def _let_go(batch: Storing, kept: Sequence[int]) -> None:
    """What the bound keeps out of quarantine is held nowhere here: it is not received, so that it
    is not acknowledged and stays with its device (mqtt.md 3)."""
    for i in batch.contents.keys() - set(kept):
        arrived = batch.contents[i]
        batch.received[arrived.gen_key] = batch.received[arrived.gen_key].remove(arrived.seq)


def _note_refused(conn: Connection, batch: Storing, rows: Mapping[int, int]) -> None:
    """Count what puts a device's identity in doubt; old messages read again are not news."""
    refusals.note(
        conn,
        [refusals.noted(r, rows.get(i)) for i, r in enumerate(batch.refused) if not r.retained],
    )


def _with_message(batch: Storing, i: int, message_ids: Sequence[int]) -> Refused:
    if i not in batch.parts:
        return batch.refused[i]
    index = batch.message_index[id(batch.parts[i])]
    return replace(batch.refused[i], message=message_ids[index])


def mark(conn: Connection, batch: Storing) -> None:
    """Mark the deliveries touched as not judged, in the transaction that stores their records."""
    db.mark_touched(conn, batch.records)
    mark_given_up(conn, batch.given_up)


def answer_lost_generations(conn: Connection, batch: Storing) -> None:
    """A generation for each device whose birth says that it has lost its own."""
    for device in batch.lost_gen:
        batch.next_gens.append((device, db.next_gen(conn, device.device_no)))
