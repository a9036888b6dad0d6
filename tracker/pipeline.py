"""The pipeline: two stages, each one visible ordered list of steps. Never commits.

Stage 1 stores what devices sent, stage 2 judges the deliveries it touched. Each runs in one
transaction of its caller, who commits; what a stage promises to others (acks, notifications) holds
only after that commit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg

from tracker import alerting, forwarded, judging, observing, storing, surrounding, tracing
from tracker.adapters import TRACCAR_TOPIC
from tracker.anomalies import Limits
from tracker.db.quarantine import DEFAULT_BYTES
from tracker.db.telemetry import Ears, Registry
from tracker.judging import Judging, Memory
from tracker.payload import Reason, Rejected, Topic, parse_topic
from tracker.storing import Incoming, Storing

STORE: tuple[Callable[[psycopg.Connection[Any], Storing], None], ...] = (
    forwarded.take_forwarded,
    storing.admit,
    storing.take_births,
    storing.decode,
    storing.identify,
    storing.date_records,
    storing.write,
    storing.mark,
    storing.answer_lost_generations,
)
"""Messages → records stored once, quarantine, marks for stage 2."""


def store(
    conn: psycopg.Connection[Any],
    incoming: Sequence[Incoming],
    *,
    quarantine_per_device: int,
    quarantine_bytes: int = DEFAULT_BYTES,
    traccar_topic: str = TRACCAR_TOPIC,
    ears: Ears | None = None,
    registry: Registry | None = None,
) -> Storing:
    """Stage 1 for one batch. Returns the batch with what is to be acknowledged after the commit.

    ``ears``, ``registry``: what the caller remembers of received numbers and of devices; the first
    is told of the batch's by `Storing.remember` after the commit.

    Raises:
        Stale: what is remembered does not hold; to be tried again with nothing remembered.
    """
    batch = Storing(
        incoming=incoming,
        quarantine_per_device=quarantine_per_device,
        quarantine_bytes=quarantine_bytes,
        traccar_topic=traccar_topic,
        ears=Ears() if ears is None else ears,
        registry=Registry() if registry is None else registry,
    )
    for step in STORE:
        step(conn, batch)
    return batch


JUDGE: tuple[Callable[[psycopg.Connection[Any], Judging], None], ...] = (
    judging.claim,
    judging.load_states,
    observing.load_records,
    judging.fold_records,
    judging.move_on,
    tracing.leave_traces,
    surrounding.surround,
    judging.compare,
    alerting.plan_alerts,
    judging.weigh,
    judging.save,
    judging.publish,
)
"""Marked deliveries → anomalies, alerts, risk, status, positions, events."""


def judge(
    conn: psycopg.Connection[Any],
    *,
    now: datetime,
    limit: int,
    limits: Limits | None = None,
    only: UUID | None = None,
    memory: Memory | None = None,
    urgent: bool = False,
) -> int:
    """Stage 2 for up to ``limit`` deliveries (or one, ``only``); how many it judged.

    ``now`` is the one clock of the batch. ``urgent``: only deliveries that are not to wait.
    ``memory``: what the caller remembers of earlier batches; the database is asked whether it still
    holds.

    Raises:
        TooMany: several deliveries have more records than one batch may hold; ask for fewer.
    """
    batch = Judging(
        now=now,
        limits=limits or Limits(),
        limit=limit,
        only=only,
        urgent=urgent,
        memory={} if memory is None else memory,
    )
    judging.claim(conn, batch)
    if batch.cases:
        for step in JUDGE[1:]:
            step(conn, batch)
    return len(batch.cases)


def put_aside(
    conn: psycopg.Connection[Any],
    incoming: Incoming,
    quarantine_per_device: int,
    quarantine_bytes: int = DEFAULT_BYTES,
) -> None:
    """Quarantine a message that stage 1 failed on, so that it is kept and the stream goes on."""
    batch = Storing(
        incoming=[incoming],
        quarantine_per_device=quarantine_per_device,
        quarantine_bytes=quarantine_bytes,
    )
    detail = "the server failed on this message: see its log, then re-drive it"
    rejected = Rejected(reason=Reason.SERVER_FAULT, detail=detail, payload=incoming.payload)
    topic = parse_topic(incoming.topic)
    batch.refuse(
        incoming, rejected, topic.device if isinstance(topic, Topic) else None, known=False
    )
    storing.write(conn, batch)
