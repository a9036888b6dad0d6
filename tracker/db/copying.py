"""Rows of telemetry in PostgreSQL's binary COPY format.

The row is of fixed layout but for two fields that may be NULL and the body, so it is packed in one
go. Going through psycopg's adapters, value by value and as text, costs several times as much, and
this is the one place where every record passes.
"""

from __future__ import annotations

import struct

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"

_EPOCH_US = 946_684_800_000_000
"""2000-01-01, from which PostgreSQL counts microseconds, since 1970."""

_NULL = b"\xff\xff\xff\xff"
_POINT_4326 = 0x2000_0001
_FIELDS = 11

_keys = struct.Struct(">hiiiqiqiq").pack
_flags = struct.Struct(">ii").pack
_time = struct.Struct(">iq").pack
_length = struct.Struct(">i").pack
_point = struct.Struct("<BIIdd").pack
_POINT_BYTES = struct.calcsize("<BIIdd")
_message = struct.Struct(">iq").pack

COLUMNS = "device_no, gen, seq, received_at, t_star, flags, geom, body, message_id, topic, trailer"


def telemetry_row(
    device_no: int,
    gen: int,
    seq: int,
    received_ms: int,
    t_ms: int | None,
    flags: int,
    lon: float | None,
    lat: float | None,
    body: bytes,
    message_id: int | None,
    topic: str | None,
    trailer: bytes | None,
) -> bytes:
    """One row, in the order of `COLUMNS`."""
    parts = [
        _keys(_FIELDS, 4, device_no, 8, gen, 8, seq, 8, received_ms * 1000 - _EPOCH_US),
        _NULL if t_ms is None else _time(8, t_ms * 1000 - _EPOCH_US),
        _flags(4, flags),
        _NULL if lon is None or lat is None else _length(_POINT_BYTES) + _geometry(lon, lat),
        _length(len(body)),
        body,
        _NULL if message_id is None else _message(8, message_id),
    ]
    if topic is None or trailer is None:
        parts.append(_NULL + _NULL)
    else:
        name = topic.encode()
        parts += [_length(len(name)), name, _length(len(trailer)), trailer]
    return b"".join(parts)


def _geometry(lon: float, lat: float) -> bytes:
    """A point as EWKB, little-endian."""
    return _point(1, _POINT_4326, 4326, lon, lat)
