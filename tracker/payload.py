"""Bytes from the wire → records or reasons for refusal (contract mqtt.md). Pure.

Nothing here raises on what a device may send: every refusal is a value with a reason code, a
sentence that names the field, and the identity of the record as far as it could be read.
"""

from __future__ import annotations

import base64
import hmac
import json
import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256
from typing import Annotated, Any, Literal
from zlib import crc32

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from tracker.model import Record

MAX_RECORD_BYTES = 4 * 1024
MAX_ARRAY_BYTES = 64 * 1024
MAX_ARRAY_RECORDS = 100
MAX_SEQ = 2**63 - 2
"""The contract says u64; this is the last that a range of PostgreSQL's bigint can end after."""
SHARDS = 64
VERSION = 1
ROOT = "cts/v1"

_DEVICE = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TRAILER = re.compile(rb"([A-Za-z0-9_-]{1,32})\.([A-Za-z0-9_-]{22})(?:==)?")
_LAST_OF_MAC = b"AQgw"
"""The last of 22 letters carries two bits of a MAC's 128; the other four are zero."""
_ARRAY = re.compile(rb"[ \t\r\n]*\[[ \t\r\n]*")
_COMMA = re.compile(r"[ \t\r\n]*,[ \t\r\n]*")
_CHANNELS = frozenset({"tlm", "evt", "state", "rsp"})


class Reason(StrEnum):
    """Why something was refused: the codes in quarantine and in the metrics."""

    BAD_TOPIC = "bad_topic"
    WRONG_SHARD = "wrong_shard"
    WRONG_KIND = "wrong_kind"
    UNKNOWN_DEVICE = "unknown_device"
    MAC_MISSING = "mac_missing"
    MAC_UNKNOWN_KEY = "mac_unknown_key"
    MAC_EXPIRED_KEY = "mac_expired_key"
    MAC_WRONG = "mac_wrong"
    OVERSIZED = "oversized"
    TOO_MANY_RECORDS = "too_many_records"
    MALFORMED = "malformed"
    UNKNOWN_VERSION = "unknown_version"
    INVALID_FIELD = "invalid_field"
    IDENTITY_CONFLICT = "identity_conflict"
    SERVER_FAULT = "server_fault"


class Topic(Struct, frozen=True, kw_only=True, gc=False):
    """A device's topic, taken apart."""

    shard: int
    kind: Literal["seal", "gps"]
    device: str
    channel: str


class Rejected(Struct, frozen=True, kw_only=True):
    """A refusal. ``gen`` and ``seq`` are there if they could be read: an authentic record that is
    refused for its content is still acknowledged, since it is kept raw."""

    reason: Reason
    detail: str
    payload: bytes
    gen: int | None = None
    seq: int | None = None


class Decoded(Struct, frozen=True, kw_only=True, gc=False):
    """An accepted record with exactly the bytes it came in."""

    record: Record
    body: bytes


class Key(Struct, frozen=True, kw_only=True):
    """A device's signing key. ``expires_ms`` None: in force."""

    kid: str
    secret: bytes
    expires_ms: int | None = None


class Signed(Struct, frozen=True, kw_only=True, gc=False):
    """A payload split into its JSON body and, if there is one, its trailer."""

    body: bytes
    kid: str | None = None
    mac: bytes | None = None


Counter = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class Birth(Struct, frozen=True, kw_only=True):
    """What a device says of itself on ``state``: birth, clean leave, or its will.

    ``gen`` null is not the same as none at all: null asks for a generation.
    """

    on: bool
    ts: int | None = None
    conn: Counter | None = None
    boot: Counter | None = None
    gen: Annotated[int, Meta(ge=0, le=2**32 - 1)] | UnsetType | None = UNSET
    lo: Counter | None = None
    fw: str | None = None
    hw: str | None = None
    model: str | None = None


# ---------------------------------------------------------------- topics


def shard_of(device: str) -> int:
    """The shard of a device: CRC-32 of its id in ASCII, modulo 64."""
    return crc32(device.encode("ascii")) % SHARDS


def topic_of(device: str, kind: str, channel: str) -> str:
    """The topic of a device's channel."""
    return f"{ROOT}/{shard_of(device):02d}/{kind}/{device}/{channel}"


@lru_cache(maxsize=2**17)
def parse_topic(topic: str) -> Topic | Rejected:
    """Take a topic apart and check that its shard is the device's."""
    parts = topic.split("/")
    if len(parts) != 6 or "/".join(parts[:2]) != ROOT:
        return _refuse_topic(f"{topic!r} is not {ROOT}/shard/kind/device/channel")
    shard, kind, device, channel = parts[2:]
    if kind not in ("seal", "gps") or channel not in _CHANNELS or not _DEVICE.fullmatch(device):
        return _refuse_topic(f"{topic!r}: kind, device or channel is not of the contract")
    if shard != f"{shard_of(device):02d}":
        detail = f"shard {shard} is not {shard_of(device):02d}, the shard of {device}"
        return Rejected(reason=Reason.WRONG_SHARD, detail=detail, payload=b"")
    return Topic(shard=int(shard), kind=kind, device=device, channel=channel)  # type: ignore[arg-type]


def _refuse_topic(detail: str) -> Rejected:
    return Rejected(reason=Reason.BAD_TOPIC, detail=detail, payload=b"")


# ---------------------------------------------------------------- authentication


def split_trailer(payload: bytes) -> Signed:
    """Split off the trailer ``<kid>.<base64url MAC>`` that may stand after the last LF."""
    body, lf, last = payload.rpartition(b"\n")
    match = _TRAILER.fullmatch(last.strip()) if lf else None
    if match is None:
        return Signed(body=payload)
    text = match[2]
    # Bits set that encode nothing are not what a signer writes.
    mac = base64.urlsafe_b64decode(text + b"==") if text[-1] in _LAST_OF_MAC else b""
    return Signed(body=body, kid=match[1].decode("ascii"), mac=mac)


def _text_of(mac: bytes) -> bytes:
    return base64.urlsafe_b64encode(mac).rstrip(b"=")


def mac_of(secret: bytes, topic: str, body: bytes) -> bytes:
    """HMAC-SHA-256 over topic, a zero byte and the body, cut to 16 bytes."""
    return hmac.digest(secret, topic.encode() + b"\0" + body, sha256)[:16]


def sign(payload: bytes, topic: str, key: Key) -> bytes:
    """The payload with its trailer."""
    mac = mac_of(key.secret, topic, payload)
    return payload + b"\n" + key.kid.encode("ascii") + b"." + _text_of(mac)


def authenticate(
    payload: bytes,
    topic: str,
    *,
    keys: Mapping[str, Key],
    required: bool,
    now_ms: int,
) -> Signed | Rejected:
    """Check a message's MAC.

    A trailer is always checked; a missing one is refused only where the device must sign.
    """
    signed = split_trailer(payload)
    if signed.kid is None or signed.mac is None:
        if required:
            detail = "the device must sign its messages and this one has no trailer"
            return Rejected(reason=Reason.MAC_MISSING, detail=detail, payload=payload)
        return signed
    key = keys.get(signed.kid)
    if key is None:
        detail = f"the device has no key {signed.kid!r}"
        return Rejected(reason=Reason.MAC_UNKNOWN_KEY, detail=detail, payload=payload)
    if not hmac.compare_digest(mac_of(key.secret, topic, signed.body), signed.mac):
        detail = f"the MAC does not match topic and body under key {signed.kid!r}"
        return Rejected(reason=Reason.MAC_WRONG, detail=detail, payload=payload)
    if key.expires_ms is not None and now_ms >= key.expires_ms:
        detail = f"key {signed.kid!r} has expired"
        return Rejected(reason=Reason.MAC_EXPIRED_KEY, detail=detail, payload=payload)
    return signed


# ---------------------------------------------------------------- records


class _Identity(Struct):
    """As much of a record as is needed to acknowledge it."""

    v: int | None = None
    gen: int | None = None
    seq: int | None = None


_decode_record = msgspec.json.Decoder(Record).decode
_decode_identity = msgspec.json.Decoder(_Identity).decode
_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_birth = msgspec.json.Decoder(Birth).decode

_UNREADABLE = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)


def decode_records(body: bytes) -> Iterator[Decoded | Rejected]:
    """Decode one record or an array of 1–100. One bad record does not take the others with it."""
    if not _ARRAY.match(body):
        yield _decode_single(body)
    elif len(body) > MAX_ARRAY_BYTES:
        yield _oversized(body, "an array", MAX_ARRAY_BYTES)
    else:
        yield from _decode_items(body)


def _decode_single(body: bytes) -> Decoded | Rejected:
    if len(body) > MAX_RECORD_BYTES:
        # It is kept raw, so it is acknowledged: else the device would send it for ever.
        gen, seq, _ = read_identity(body) if len(body) <= MAX_ARRAY_BYTES else (None, None, None)
        return msgspec.structs.replace(
            _oversized(body, "a record", MAX_RECORD_BYTES), gen=gen, seq=seq
        )
    return decode_record(body)


def _oversized(body: bytes, what: str, most: int) -> Rejected:
    return Rejected(
        reason=Reason.OVERSIZED,
        detail=f"{len(body)} bytes; {what} may have {most}",
        payload=body,
    )


def _decode_items(body: bytes) -> Iterator[Decoded | Rejected]:
    try:
        items = [bytes(item) for item in _decode_array(body)]
    except _UNREADABLE as exc:
        items, rest = _split_items(body)
        if rest:
            detail = f"the array cannot be read to its end: {exc}"
            yield Rejected(reason=Reason.MALFORMED, detail=detail, payload=rest)
            if not items:
                return
    if not 1 <= len(items) <= MAX_ARRAY_RECORDS:
        detail = f"{len(items)} records; an array has 1 to {MAX_ARRAY_RECORDS}"
        yield Rejected(reason=Reason.TOO_MANY_RECORDS, detail=detail, payload=body)
        return
    for item in items:
        yield _decode_single(item)


def _split_items(body: bytes) -> tuple[list[bytes], bytes]:
    """The items of a broken array that stand before the break, and what is left from there on.

    Nothing is left of an array whose strings only msgspec refuses (half of a surrogate pair).

    The standard library's decoder can say where an item ends; it is slow, and seldom needed.
    """
    text = body.decode("utf-8", "surrogateescape")
    items: list[bytes] = []
    at = _ARRAY.match(body).end()  # type: ignore[union-attr]
    decode = json.JSONDecoder().raw_decode
    try:
        while len(items) <= MAX_ARRAY_RECORDS:
            _, end = decode(text, at)
            items.append(text[at:end].encode("utf-8", "surrogateescape"))
            comma = _COMMA.match(text, end)
            if comma is None:
                break
            at = comma.end()
    except (ValueError, RecursionError):
        return items, text[at:].encode("utf-8", "surrogateescape")
    rest = text[end:].encode("utf-8", "surrogateescape").strip()
    # Of too many items none is kept, so there is no rest to speak of.
    return items, b"" if rest == b"]" or len(items) > MAX_ARRAY_RECORDS else rest


def decode_record(body: bytes) -> Decoded | Rejected:
    """Decode one record; refuse what the contract's types, ranges or version do not allow."""
    try:
        body.decode()  # fields that nobody knows are skipped unread, and must be UTF-8 all the same
        record = _decode_record(body)
    except _UNREADABLE as exc:
        return _refuse_record(body, exc)
    if record.v != VERSION:
        return Rejected(
            reason=Reason.UNKNOWN_VERSION,
            detail=f"v: {record.v}; this server reads version {VERSION}",
            payload=body,
            gen=record.gen,
            seq=record.seq,
        )
    if record.seq > MAX_SEQ:
        detail = f"seq {record.seq} is over {MAX_SEQ}"
        return Rejected(reason=Reason.INVALID_FIELD, detail=detail, payload=body)
    return Decoded(record=record, body=body)


def _refuse_record(body: bytes, exc: Exception) -> Rejected:
    gen, seq, version = read_identity(body)
    if version is not None and version != VERSION:
        # A later version may have other types: its number explains more than the first bad field.
        reason, detail = Reason.UNKNOWN_VERSION, f"v: {version}; this server reads {VERSION}"
    elif isinstance(exc, msgspec.ValidationError):
        reason, detail = Reason.INVALID_FIELD, str(exc)
    else:
        reason, detail = Reason.MALFORMED, f"no JSON record: {exc}"
    return Rejected(reason=reason, detail=detail, payload=body, gen=gen, seq=seq)


def read_identity(body: bytes) -> tuple[int | None, int | None, int | None]:
    """(gen, seq, v) of a record that could not be accepted, as far as they are readable."""
    try:
        found = _decode_identity(body)
    except _UNREADABLE:
        return None, None, None
    if found.gen is None or found.seq is None:
        return None, None, found.v
    if not (0 <= found.gen < 2**32 and 1 <= found.seq <= MAX_SEQ):
        return None, None, found.v
    return found.gen, found.seq, found.v


def decode_birth(body: bytes) -> Birth | Rejected:
    """Decode a ``state`` message."""
    if len(body) > MAX_RECORD_BYTES:
        return _oversized(body, "a state", MAX_RECORD_BYTES)
    try:
        body.decode()
        return _decode_birth(body)
    except msgspec.ValidationError as exc:
        return Rejected(reason=Reason.INVALID_FIELD, detail=str(exc), payload=body)
    except _UNREADABLE as exc:
        return Rejected(reason=Reason.MALFORMED, detail=f"no JSON state: {exc}", payload=body)


def same_record(a: bytes, b: bytes) -> bool:
    """Whether two bodies are one record: equal as JSON, leaving out ``hist``.

    A record sent again from the backlog differs in ``hist`` only, and perhaps in spacing. The
    standard library's decoder, since unknown fields may hold what msgspec cannot represent; bodies
    that even it cannot read are one only if they are the same bytes.
    """
    if a == b:
        return True
    try:
        left, right = json.loads(a), json.loads(b)
    except (ValueError, RecursionError):
        return False
    if isinstance(left, dict) and isinstance(right, dict):
        left.pop("hist", None)
        right.pop("hist", None)
    return _equal(left, right)


def _equal(a: Any, b: Any) -> bool:
    """Equality of JSON values: Python's, but for ``true``, which is not 1."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_equal(a[name], b[name]) for name in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_equal, a, b))
    return isinstance(a, bool) == isinstance(b, bool) and bool(a == b)
