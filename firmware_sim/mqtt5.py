"""The few packets of MQTT 5.0 that a device needs, as bytes: pure, no socket.

A general client costs tens of kilobytes and several objects a connection; a simulator of fifty
thousand devices cannot pay that. Sections are those of the OASIS standard, version 5.0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

CONNACK, PUBLISH, PUBACK, SUBACK, PINGRESP, DISCONNECT = 0x20, 0x30, 0x40, 0x90, 0xD0, 0xE0
_CONNECT, _SUBSCRIBE = 0x10, 0x82
PINGREQ = b"\xc0\x00"
GOODBYE = b"\xe0\x00"
"""DISCONNECT with reason 0: the broker drops the will (section 3.14)."""

_SESSION_EXPIRY, _RECEIVE_MAXIMUM = 0x11, 0x21
_MAX_LENGTH_BYTES = 4
_MAX_PACKET = 1 << 20

# Type of each property's value (section 2.2.2.2): bytes of an integer, or a form with a length.
_PROPERTIES: dict[int, int | Literal["varint", "text", "pair"]] = {
    **dict.fromkeys((0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2A), 1),
    **dict.fromkeys((0x13, 0x21, 0x22, 0x23), 2),
    **dict.fromkeys((0x02, 0x11, 0x18, 0x27), 4),
    0x0B: "varint",
    **dict.fromkeys((0x03, 0x08, 0x09, 0x12, 0x15, 0x16, 0x1A, 0x1C, 0x1F), "text"),
    0x26: "pair",
}

REASONS = {
    0x81: "Malformed Packet",
    0x82: "Protocol Error",
    0x84: "Unsupported Protocol Version",
    0x85: "Client Identifier not valid",
    0x86: "Bad user name or password",
    0x87: "Not authorized",
    0x88: "Server unavailable",
    0x89: "Server busy",
    0x8A: "Banned",
    0x8B: "Server shutting down",
    0x8C: "Bad authentication method",
    0x8D: "Keep Alive timeout",
    0x8E: "Session taken over",
    0x95: "Packet too large",
    0x97: "Quota exceeded",
    0x9F: "Connection rate exceeded",
}
"""What the reason codes that a device meets mean."""


class ProtocolError(Exception):
    """The other side does not speak MQTT 5."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Will:
    """What the broker publishes when the connection breaks."""

    topic: str
    payload: bytes
    retain: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """What came in. `code`: reason, the worst if there are several; `number`: packet id."""

    kind: int
    code: int = 0
    number: int = 0
    topic: str = ""
    payload: bytes = b""
    properties: dict[int, int] = field(default_factory=dict)

    @property
    def reason(self) -> str:
        """The reason code in words."""
        return REASONS.get(self.code, f"reason 0x{self.code:02X}")

    @property
    def receive_maximum(self) -> int:
        """Of a CONNACK: how many of our QoS 1 messages may be on their way (section 3.2.2.3.3)."""
        return self.properties.get(_RECEIVE_MAXIMUM, 65_535)


def connect(
    client_id: str,
    *,
    keepalive_s: int,
    session_expiry_s: int,
    will: Will | None = None,
    username: str | None = None,
    password: str | None = None,
) -> bytes:
    """CONNECT that resumes the session (clean start 0)."""
    flags = 0
    parts = [_text(client_id)]
    if will is not None:
        flags |= 0x04 | 1 << 3 | (0x20 if will.retain else 0)
        parts += [b"\x00", _text(will.topic), _binary(will.payload)]
    if username is not None:
        flags |= 0x80
        parts.append(_text(username))
    if password is not None:
        flags |= 0x40
        parts.append(_text(password))
    properties = bytes([_SESSION_EXPIRY]) + session_expiry_s.to_bytes(4, "big")
    head = b"\x00\x04MQTT\x05" + bytes([flags]) + keepalive_s.to_bytes(2, "big")
    return _packet(_CONNECT, b"".join([head, _varint(len(properties)), properties, *parts]))


def subscribe(topic: str, number: int) -> bytes:
    """SUBSCRIBE to one topic with QoS 1."""
    return _packet(_SUBSCRIBE, number.to_bytes(2, "big") + b"\x00" + _text(topic) + b"\x01")


def publish(topic: str, payload: bytes, number: int, *, retain: bool = False) -> bytes:
    """PUBLISH with QoS 1; `number` is its packet id (1–65535)."""
    body = _text(topic) + number.to_bytes(2, "big") + b"\x00" + payload
    return _packet(PUBLISH | 0x02 | int(retain), body)


def puback(number: int) -> bytes:
    """PUBACK, success."""
    return _packet(PUBACK, number.to_bytes(2, "big"))


def read(buffer: bytearray) -> Iterator[Packet]:
    """The whole packets at the head of a buffer, which are removed from it.

    Raises ProtocolError for what is no packet of MQTT 5.
    """
    while (bounds := _bounds(buffer)) is not None:
        begin, end = bounds
        first, body = buffer[0], bytes(buffer[begin:end])
        del buffer[:end]
        try:
            yield _decode(first, body)
        except (IndexError, ValueError) as error:
            raise ProtocolError(f"a packet of type 0x{first:02X} is cut short") from error


def _bounds(buffer: bytearray) -> tuple[int, int] | None:
    """Where the first packet's body begins and ends; None if it is not all there."""
    length = 0
    for i in range(1, _MAX_LENGTH_BYTES + 1):
        if i >= len(buffer):
            return None
        length |= (buffer[i] & 0x7F) << 7 * (i - 1)
        if buffer[i] < 0x80:
            if length > _MAX_PACKET:
                raise ProtocolError(f"a packet of {length} bytes")
            end = i + 1 + length
            return (i + 1, end) if len(buffer) >= end else None
    raise ProtocolError("a packet's length has no end")


def _decode(first: int, body: bytes) -> Packet:
    kind = first & 0xF0
    if kind == CONNACK:
        return Packet(kind=kind, code=body[1], properties=_properties(body, 2)[0])
    if kind == PUBLISH:
        return _published(first, body)
    if kind == PUBACK:
        return Packet(kind=kind, number=_u16(body, 0), code=body[2] if len(body) > 2 else 0)
    if kind == SUBACK:
        _, at = _properties(body, 2)
        return Packet(kind=kind, number=_u16(body, 0), code=max(body[at:]))
    if kind == DISCONNECT:
        return Packet(kind=kind, code=body[0] if body else 0)
    if kind == PINGRESP:
        return Packet(kind=kind)
    raise ProtocolError(f"a packet of type 0x{first:02X}, which no broker sends to a device")


def _published(first: int, body: bytes) -> Packet:
    size = _u16(body, 0)
    topic = body[2 : 2 + size].decode()
    at, number = 2 + size, 0
    if first & 0x06:
        number, at = _u16(body, at), at + 2
    _, at = _properties(body, at)
    return Packet(kind=PUBLISH, number=number, topic=topic, payload=body[at:])


def _properties(body: bytes, at: int) -> tuple[dict[int, int], int]:
    """(whole-number properties, index after all of them)."""
    size, at = _read_varint(body, at)
    end, found = at + size, dict[int, int]()
    while at < end:
        name = body[at]
        form = _PROPERTIES.get(name)
        if form is None:
            raise ProtocolError(f"a property 0x{name:02X}")
        at += 1
        if form == "varint":
            found[name], at = _read_varint(body, at)
        elif isinstance(form, int):
            found[name] = int.from_bytes(body[at : at + form], "big")
            at += form
        else:
            for _ in range(2 if form == "pair" else 1):
                at += 2 + _u16(body, at)
    return found, end


def _packet(first: int, body: bytes) -> bytes:
    return bytes([first]) + _varint(len(body)) + body


def _text(value: str) -> bytes:
    return _binary(value.encode())


def _binary(value: bytes) -> bytes:
    return len(value).to_bytes(2, "big") + value


def _u16(body: bytes, at: int) -> int:
    return body[at] << 8 | body[at + 1]


def _varint(n: int) -> bytes:
    out = bytearray()
    while True:
        n, low = divmod(n, 128)
        out.append(low | (128 if n else 0))
        if not n:
            return bytes(out)


def _read_varint(body: bytes, at: int) -> tuple[int, int]:
    value = 0
    for i in range(_MAX_LENGTH_BYTES):
        value |= (body[at + i] & 0x7F) << 7 * i
        if body[at + i] < 0x80:
            return value, at + i + 1
    raise ProtocolError("a length has no end")
