"""Bytes and topics of the MQTT contract, version 1: shards, record envelopes, arrays, MAC."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["seal", "gps"]
Channel = Literal["tlm", "evt", "state", "cmd", "rsp"]

VERSION = 1
SHARDS = 64
MAX_RECORD_BYTES = 4 * 1024
MAX_ARRAY_BYTES = 64 * 1024
MAX_ARRAY_RECORDS = 100
MAC_BYTES = 16
# "\n" + kid + "." + 22 characters of base64url; arrays leave room for it.
_TRAILER_ROOM = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One PUBLISH a device wants sent. `records`: how many records travel in it."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False
    records: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A device's signing key: `kid` names it on the wire, `secret` never leaves the device."""

    kid: str
    secret: bytes


def shard(device: str) -> str:
    """Shard of a device id: crc32 of its ASCII form modulo 64, as two digits."""
    return f"{zlib.crc32(device.encode('ascii')) % SHARDS:02d}"


def topic(kind: Kind, device: str, channel: Channel) -> str:
    """Topic of a device's channel."""
    return f"cts/v1/{shard(device)}/{kind}/{device}/{channel}"


def encode(value: Any) -> bytes:
    """Compact UTF-8 JSON; refuses NaN and infinities, which are not JSON."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def tail(fields: Mapping[str, Any]) -> bytes:
    """A record's fields without its envelope, ready to be closed by `envelope`."""
    return encode(fields)[1:]


def envelope(*, gen: int, seq: int, hist: bool, rest: bytes) -> bytes:
    """The whole record. Built late, because gen and hist are known only when it is sent."""
    flag = "true" if hist else "false"
    head = f'{{"v":{VERSION},"gen":{gen},"seq":{seq},"hist":{flag}'
    return head.encode() + (b"}" if rest == b"}" else b"," + rest)


def arrays(records: Iterable[bytes]) -> Iterator[tuple[bytes, int]]:
    """Pack records into JSON arrays within the contract's limits: (bytes, number of records)."""
    batch: list[bytes] = []
    size = 2
    for record in records:
        grown = size + len(record) + 1
        if batch and (len(batch) == MAX_ARRAY_RECORDS or grown > MAX_ARRAY_BYTES - _TRAILER_ROOM):
            yield b"[" + b",".join(batch) + b"]", len(batch)
            batch, grown = [], 2 + len(record) + 1
        batch.append(record)
        size = grown
    if batch:
        yield b"[" + b",".join(batch) + b"]", len(batch)


def mac(key: Key, topic_name: str, body: bytes) -> bytes:
    """The trailer's MAC as unpadded base64url."""
    digest = hmac.new(key.secret, topic_name.encode() + b"\0" + body, hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest[:MAC_BYTES]).rstrip(b"=")


def sign(key: Key | None, topic_name: str, body: bytes) -> bytes:
    """Add the trailer; without a key the body goes out as it is."""
    if key is None:
        return body
    return body + b"\n" + key.kid.encode() + b"." + mac(key, topic_name, body)


def spoilt(payload: bytes) -> bytes:
    """The payload with a MAC that is well formed and wrong; an unsigned one gets such a one."""
    body, trailer = split_trailer(payload)
    kid = b"k0" if trailer is None else trailer.partition(b".")[0]
    wrong = hashlib.sha256(b"wrong" + payload).digest()[:MAC_BYTES]
    return body + b"\n" + kid + b"." + base64.urlsafe_b64encode(wrong).rstrip(b"=")


def split_trailer(payload: bytes) -> tuple[bytes, bytes | None]:
    """(JSON body, trailer or None): the trailer stands after the last LF."""
    body, line_feed, trailer = payload.rpartition(b"\n")
    if not line_feed or trailer.strip() == b"" or trailer.lstrip()[:1] in (b"{", b"["):
        return payload, None
    return body, trailer


def verified(key: Key, topic_name: str, payload: bytes) -> bool:
    """Whether the payload carries a valid MAC of this key."""
    body, trailer = split_trailer(payload)
    if trailer is None:
        return False
    kid, _, given = trailer.partition(b".")
    return kid == key.kid.encode() and hmac.compare_digest(given, mac(key, topic_name, body))
