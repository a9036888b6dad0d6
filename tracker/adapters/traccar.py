"""Positions that a Traccar server forwards (``forward.type=mqtt``) → records. Pure.

Body ``{"position":{…},"device":{…}}``, one position each; our device id is ``device.uniqueId``.
Speed comes in knots, distances in m, voltages in V, times as ISO 8601 or as ms.
"""

from __future__ import annotations

from tracker.adapters.alarms import Meaning, meanings
from tracker.adapters.common import (
    Adapted,
    Json,
    canonical_text,
    child,
    device_id,
    flag,
    instant_ms,
    number,
    number_of,
    positive,
    read_object,
    refuse,
)
from tracker.clocks import plausible
from tracker.model import (
    FORWARDED_GEN,
    Record,
    TimeFlag,
    WireEvent,
    WireFix,
    WireMotion,
    WirePower,
    WireSeal,
)
from tracker.payload import VERSION, Decoded, Reason, Rejected

KNOT_KMH = 1.852

MAX_SUPPLY_V = 60.0
"""Traccar's own source says that units of ``power`` vary; no vehicle has more than 60 V."""

VOLATILE = frozenset({"id", "deviceId", "serverTime", "address", "geofenceIds", "attributes"})
VOLATILE_ATTRIBUTES = frozenset({"archive", "distance", "totalDistance", "hours", "ip"})
"""What the server adds of its own, and what differs when a device sends a position again."""


def adapt(payload: bytes) -> Adapted | Rejected:
    """One forwarded position → its device and record."""
    found = read_object(payload)
    if isinstance(found, Rejected):
        return found
    device = device_id(child(found, "device").get("uniqueId"), "device.uniqueId", payload)
    if isinstance(device, Rejected):
        return device
    record = _record(found, payload)
    if isinstance(record, Rejected):
        return record
    decoded = Decoded(record=record, body=payload)
    return Adapted(device=device, source=TimeFlag.TRACCAR, records=(decoded,))


def record_of(body: bytes) -> Record | Rejected:
    """The record in a body."""
    found = read_object(body)
    return found if isinstance(found, Rejected) else _record(found, body)


def canonical(body: bytes) -> str | None:
    """The text by which two bodies are compared; None if it is no JSON object."""
    found = read_object(body)
    return None if isinstance(found, Rejected) else _canonical(child(found, "position"))


def _canonical(position: Json) -> str:
    attributes = canonical_text(child(position, "attributes"), VOLATILE_ATTRIBUTES)
    return canonical_text(position, VOLATILE) + attributes


def _record(found: Json, payload: bytes) -> Record | Rejected:
    position = found.get("position")
    if not isinstance(position, dict):
        return refuse(Reason.INVALID_FIELD, "position: not there", payload)
    attributes = child(position, "attributes")
    said = meanings(attributes.get("alarm"))
    fix = _fix(position, attributes, said)
    clock = _clock(position)
    if clock is None:
        detail = "deviceTime, fixTime, serverTime: none is a time"
        return refuse(Reason.INVALID_FIELD, detail, payload)
    ts_ms, quality = clock
    timed = fix.ok and fix.src == "gnss" and fix.t is not None and fix.t > 0
    seq = number_of(fix.t if timed and fix.t is not None else ts_ms, _canonical(position))
    if seq is None:
        detail = "fixTime, deviceTime: not after 1970 and before 2109"
        return refuse(Reason.INVALID_FIELD, detail, payload)
    return Record(
        v=VERSION,
        gen=FORWARDED_GEN,
        seq=seq,
        ts=ts_ms,
        tq=quality,
        hist=flag(attributes.get("archive")),
        why="evt" if said else None,
        fix=fix,
        mot=_motion(attributes),
        pwr=_power(attributes),
        seal=_seal(attributes, said),
        evt=WireEvent(code=said[0].event, at=ts_ms) if said else None,
    )


def _clock(position: Json) -> tuple[int, str] | None:
    """``ts`` and its quality: the device's clock, or the server's where no time of the device's can
    be right.

    The server is the better witness of a device that lives in 1970 or in tomorrow; the fix keeps
    the device's word, so the record is flagged all the same.
    """
    fix_ms = instant_ms(position.get("fixTime"))
    device_ms = instant_ms(position.get("deviceTime"))
    server_ms = instant_ms(position.get("serverTime"))
    told = [t for t in (device_ms, fix_ms) if t is not None]
    if told and (server_ms is None or any(plausible(t, server_ms)[0] is not None for t in told)):
        return told[0], "gnss" if told[0] == fix_ms else "rtc"
    return None if server_ms is None else (server_ms, "net")


def _fix(position: Json, attributes: Json, said: list[Meaning]) -> WireFix:
    outdated = flag(position.get("outdated")) is True
    near = flag(attributes.get("approximate")) is True
    lat = number(position.get("latitude"), -90, 90)
    lon = number(position.get("longitude"), -180, 180)
    placed = lat is not None and lon is not None
    speed_kn = number(position.get("speed"), 0)
    satellites = number(attributes.get("sat"), 0, 1000)
    return WireFix(
        t=instant_ms(position.get("fixTime")),
        ok=placed and not outdated and flag(position.get("valid")) is not False,
        lat=lat if placed else None,
        lon=lon if placed else None,
        alt=number(position.get("altitude")),
        spd=None if speed_kn is None else round(speed_kn * KNOT_KMH, 3),
        hdg=number(position.get("course"), 0, 360),
        hdop=positive(attributes.get("hdop")),
        sat=None if satellites is None else int(satellites),
        acc=positive(position.get("accuracy")),
        src="last" if outdated else "lbs" if near else "gnss",
        jam=next((m.jam for m in said if m.jam is not None), None),
    )


def _motion(attributes: Json) -> WireMotion | None:
    """Not ``totalDistance``: the server adds it up from the fixes that an odometer is to check."""
    odometer_m = number(attributes.get("odometer"), 0)
    if odometer_m is None:
        odometer_m = number(attributes.get("obdOdometer"), 0)
    ignition, moving = flag(attributes.get("ignition")), flag(attributes.get("motion"))
    if ignition is None and moving is None and odometer_m is None:
        return None
    return WireMotion(ign=ignition, mov=moving, odo=odometer_m)


def _power(attributes: Json) -> WirePower | None:
    supply_v = number(attributes.get("power"), 0, MAX_SUPPLY_V)
    percent = number(attributes.get("batteryLevel"), 0, 100)
    charging = flag(attributes.get("charge"))
    if supply_v is None and percent is None and charging is None:
        return None
    supply_mv = None if supply_v is None else round(supply_v * 1000)
    return WirePower(ext=supply_mv, bat=percent, chg=charging)


def _seal(attributes: Json, said: list[Meaning]) -> WireSeal | None:
    locked, armed = flag(attributes.get("lock")), flag(attributes.get("armed"))
    lock = None if locked is None else "locked" if locked else "open"
    seal = WireSeal(
        armed=armed if armed is not None else next((m.armed for m in said if m.armed), None),
        lock=lock or next((m.lock for m in said if m.lock), None),
        rope=next((m.rope for m in said if m.rope), None),
        case=next((m.case for m in said if m.case), None),
        temp=number(attributes.get("deviceTemp")),
    )
    return seal if seal != WireSeal() else None
