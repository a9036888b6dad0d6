"""Other systems' messages → the records of our own contract (mqtt.md, "Adapters"). Pure.

Two dialects: OwnTracks, and positions that a Traccar server forwards. Their devices number nothing,
so a record's identity is (device, time, digest of the body), written into our (device, gen, seq):
``gen`` is one that no device of ours can have, ``seq`` holds the time and the digest. The body that
is stored is the message as it came; `record_of` reads it again with the same result.

Nothing here raises on what anybody may send: every refusal is a value with its reason.
"""

from __future__ import annotations

from tracker.adapters import owntracks, traccar
from tracker.adapters.common import Adapted
from tracker.model import Record, TimeFlag
from tracker.payload import Rejected

TRACCAR_TOPIC = "traccar/positions"
"""Where a Traccar server forwards its positions unless the settings say otherwise."""

OWNTRACKS_FILTERS = ("owntracks/+/+", "owntracks/+/+/event")
"""What is read of OwnTracks: positions and wills, and the events of regions, one level below."""

__all__ = [
    "OWNTRACKS_FILTERS",
    "TRACCAR_TOPIC",
    "Adapted",
    "adapt",
    "is_foreign",
    "record_of",
    "same",
]


def is_foreign(topic: str, *, traccar_topic: str = TRACCAR_TOPIC) -> bool:
    """Whether a topic belongs to one of the adapters."""
    return topic == traccar_topic or topic.startswith(owntracks.PREFIX)


def adapt(topic: str, payload: bytes, *, traccar_topic: str = TRACCAR_TOPIC) -> Adapted | Rejected:
    """A message of another system → the device it speaks of and its records, or a refusal."""
    if topic == traccar_topic:
        return traccar.adapt(payload)
    return owntracks.adapt(topic, payload)


FOREIGN = TimeFlag.OWNTRACKS | TimeFlag.TRACCAR
"""Flags of stored records whose bodies are to be read by `record_of`."""


def record_of(body: bytes, flags: int) -> Record | Rejected:
    """The record in a stored body; ``flags`` are those it was stored with."""
    if flags & TimeFlag.TRACCAR:
        return traccar.record_of(body)
    return owntracks.record_of(body)


def same(a: bytes, b: bytes, flags: int) -> bool:
    """Whether two bodies are one position, sent or forwarded twice."""
    canonical = traccar.canonical if flags & TimeFlag.TRACCAR else owntracks.canonical
    return a == b or canonical(a) == canonical(b) is not None
