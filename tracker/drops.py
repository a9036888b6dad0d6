"""Watches the broker's own counters: what it drops, no device is told of."""

from __future__ import annotations

import structlog
from prometheus_client import Gauge

log = structlog.get_logger(__name__)

DROPPED = Gauge("tracker_broker_messages_dropped", "Messages the broker dropped since its start.")
HELD = Gauge("tracker_broker_messages_held", "Messages the broker stores, retained ones included.")


class Drops:
    """Watches the broker's own counters: it drops in silence when a queue is full."""

    DROPPED_TOPIC = "$SYS/broker/publish/messages/dropped"
    HELD_TOPIC = "$SYS/broker/store/messages/count"

    def __init__(self) -> None:
        self.dropped: int | None = None
        self.held: int | None = None

    def note(self, topic: str, payload: bytes) -> None:
        """Take in a value; an alarm in the log for every growth of the drops."""
        try:
            value = int(payload)
        except ValueError:
            log.warning("the broker's counter is no number", topic=topic)
            return
        if topic == self.HELD_TOPIC:
            HELD.set(value)
            self.held = value
            return
        before = self.dropped or 0
        # A restarted broker counts from 0 again.
        grown = value - before if value >= before else value
        if grown:
            log.error(
                "the broker drops messages: devices send them again, others lose them",
                dropped=value,
                grown=grown,
                remedy="more ingest workers or a faster database; see max_queued_messages",
            )
        DROPPED.set(value)
        self.dropped = value
