"""What waits in a worker's memory: messages on their way from the broker to storing."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Collection, Sequence

import paho.mqtt.client as mqtt
from msgspec import Struct
from prometheus_client import Gauge

from tracker.lean_client import LeanClient, Published
from tracker.storing import Incoming

INBOX_BYTES = 64 * 2**20
"""Beside ReceiveMaximum, which counts messages: 8,000 backlog arrays would be half a gigabyte."""

WAITING = Gauge("tracker_messages_waiting", "Messages received and not yet taken for storing.")
WAITING_BYTES = Gauge("tracker_messages_waiting_bytes", "Bytes of the messages waiting.")


class Delivered:
    """A message and the connection on which it can be acknowledged to the broker."""

    __slots__ = ("client", "incoming", "mid", "qos", "shard")

    def __init__(
        self, shard: int, client: LeanClient, message: Published, received_ms: int
    ) -> None:
        self.shard = shard
        self.client = client
        self.mid = message.mid
        self.qos = message.qos
        self.incoming = Incoming(
            topic=message.topic,
            payload=message.payload,
            received_ms=received_ms,
            retained=message.retain,
        )


class Command(Struct, frozen=True, kw_only=True):
    """Something to be published on the connection of a shard; void if there is none."""

    shard: int
    topic: str
    payload: str
    qos: int


class Inbox:
    """Messages received and not yet taken. Bounded by ReceiveMaximum and by `full`."""

    def __init__(self) -> None:
        self._waiting: deque[Delivered] = deque()
        self._bytes = 0
        self._changed = threading.Condition()

    @property
    def full(self) -> bool:
        """Whether nothing more should be read for now."""
        return self._bytes >= INBOX_BYTES

    def put(self, delivered: Sequence[Delivered]) -> None:
        """Add messages in the order of their arrival."""
        with self._changed:
            self._waiting.extend(delivered)
            self._count(sum(len(d.incoming.payload) for d in delivered))
            self._changed.notify()

    def take(self, *, most: int, most_bytes: int, wait_s: float, fill_s: float) -> list[Delivered]:
        """Wait for a first message, then for more until the batch is full or ``fill_s`` over."""
        with self._changed:
            if not self._changed.wait_for(lambda: bool(self._waiting), wait_s):
                return []
            self._changed.wait_for(
                lambda: len(self._waiting) >= most or self._bytes >= most_bytes, fill_s
            )
            return self._pop(most, most_bytes)

    def _pop(self, most: int, most_bytes: int) -> list[Delivered]:
        batch: list[Delivered] = []
        size = 0
        while self._waiting and len(batch) < most and size < most_bytes:
            batch.append(self._waiting.popleft())
            size += len(batch[-1].incoming.payload)
        self._count(-size)
        return batch

    def forget(self, client: mqtt.Client) -> None:
        """Drop what came over a connection that is gone: the broker delivers it again."""
        with self._changed:
            kept = deque(d for d in self._waiting if d.client is not client)
            self._bytes = sum(len(d.incoming.payload) for d in kept)
            self._waiting = kept
            self._count(0)

    def _count(self, more_bytes: int) -> None:
        self._bytes += more_bytes
        WAITING.set(len(self._waiting))
        WAITING_BYTES.set(self._bytes)


def shards_of(delivered: Collection[Delivered]) -> set[int]:
    """The shards that messages came by."""
    return {one.shard for one in delivered}
