"""What the adapters share: lenient reading of foreign JSON, times, and the identity. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from hashlib import sha256
from math import isfinite
from typing import Any

import msgspec
from msgspec import Struct

from tracker.model import TimeFlag, to_ms
from tracker.payload import MAX_ARRAY_BYTES, Decoded, Reason, Rejected

DIGEST_BITS = 21
END_MS = 2**42
"""Times from 1970 to 2109 fit above the digest in 63 bits. Two different bodies of one device and
one millisecond have one number with a chance of 1 in 2 million; the second is then quarantined."""

Json = dict[str, Any]

_DEVICE = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Adapted(Struct, frozen=True, kw_only=True):
    """A message of another system. ``online``: what it says of the device's presence, if at all."""

    device: str
    source: TimeFlag
    records: tuple[Decoded, ...] = ()
    online: bool | None = None


def refuse(reason: Reason, detail: str, payload: bytes) -> Rejected:
    """A refusal; such messages have no numbers of ours."""
    return Rejected(reason=reason, detail=detail, payload=payload)


def read_object(payload: bytes) -> Json | Rejected:
    """The JSON object in a payload."""
    if len(payload) > MAX_ARRAY_BYTES:
        detail = f"{len(payload)} bytes; a message may have {MAX_ARRAY_BYTES}"
        return refuse(Reason.OVERSIZED, detail, payload)
    try:
        payload.decode()
        found = msgspec.json.decode(payload)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as exc:
        return refuse(Reason.MALFORMED, f"no JSON: {exc}", payload)
    if not isinstance(found, dict):
        return refuse(Reason.MALFORMED, "no JSON object", payload)
    return found


def device_id(name: object, field: str, payload: bytes) -> str | Rejected:
    """A device id that our own topics could carry too."""
    if isinstance(name, str) and _DEVICE.fullmatch(name):
        return name
    detail = f"{field}: {name!r:.100} is no device id: 1 to 64 letters, digits, - and _"
    return refuse(Reason.INVALID_FIELD, detail, payload)


# ---------------------------------------------------------------- values


def number(value: object, low: float = float("-inf"), high: float = float("inf")) -> float | None:
    """A finite number within bounds, also as text, as older senders write it; else None."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if isfinite(found) and low <= found <= high else None


def positive(value: object) -> float | None:
    """A number over zero; senders write 0 or -1 for what they do not know."""
    found = number(value, 0)
    return found or None


def flag(value: object) -> bool | None:
    """A JSON boolean, else None."""
    return value if isinstance(value, bool) else None


def child(found: Json, key: str) -> Json:
    """An object in an object; empty if there is none."""
    value = found.get(key)
    return value if isinstance(value, dict) else {}


def instant_ms(value: object) -> int | None:
    """An instant as Traccar's versions write it: ISO 8601 with its zone, or ms since the epoch."""
    if isinstance(value, str):
        try:
            return to_ms(datetime.fromisoformat(value))
        except (ValueError, OverflowError):
            return None
    found = number(value, -(2**53), 2**53)
    return None if found is None else int(found)


# ---------------------------------------------------------------- identity


def canonical_text(found: Json, without: Iterable[str]) -> str:
    """The JSON text by which two messages are compared, leaving out what changes on the way."""
    dropped = frozenset(without)
    kept: Mapping[str, Any] = {key: value for key, value in found.items() if key not in dropped}
    return json.dumps(kept, sort_keys=True, separators=(",", ":"))


def number_of(t_ms: int, canonical: str) -> int | None:
    """The ``seq`` of a record: time first, so that it orders as time does, then the digest."""
    if not 0 < t_ms < END_MS:
        return None
    digest = int.from_bytes(sha256(canonical.encode()).digest()[:8], "big")
    return t_ms << DIGEST_BITS | digest >> (64 - DIGEST_BITS)
