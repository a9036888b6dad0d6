"""OwnTracks (booklet, "JSON"): phones, Greenwich and Queclink units → records. Pure.

Topic ``owntracks/{user}/{device}``, events of regions one level below it; our device id is
``{user}-{device}``. ``tst`` is the time of the fix in s, ``created_at`` that of the message.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from tracker.adapters.common import (
    END_MS,
    Adapted,
    Json,
    canonical_text,
    device_id,
    flag,
    number,
    number_of,
    positive,
    read_object,
    refuse,
)
from tracker.model import (
    FORWARDED_GEN,
    Record,
    TimeFlag,
    WireEvent,
    WireFix,
    WireMotion,
    WirePower,
)
from tracker.payload import VERSION, Decoded, Reason, Rejected

PREFIX = "owntracks/"

NETWORK_ACC_M = 200.0
"""A fix from satellites is never this bad outdoors: past it a phone speaks of cells and Wi-Fi. Such
a position must not count as a valid fix, whose errors the detectors take for metres."""

MOVING_KMH = 5.0
"""Noise of a standing receiver stays below 5 km/h. Apps state no motion, only speed."""

VOLATILE = frozenset({"_id", "conn", "created_at", "disptst", "isotst", "topic"})
"""What differs when the same fix is published again."""

EVENTS: Mapping[str, str] = {"enter": "fence_in", "leave": "fence_out"}

TRIGGERS: Mapping[str, str] = {"e": "ext_cut", "E": "ext_ok", "9": "bat_low"}
"""Triggers of vehicle units that are events of ours; phones use none of these letters."""

REASONS: Mapping[str, str] = {
    **dict.fromkeys("ptT", "time"),
    **dict.fromkeys("rum", "poll"),
    **dict.fromkeys("iI", "ign"),
    **dict.fromkeys("f1", "boot"),
    **{"k": "mot", "a": "mot", "o": "angle", "M": "dist"},
}
"""Trigger ``t`` → ``why``. Not ``v``: a phone and a Greenwich mean different things by it."""

LAST_KNOWN = frozenset("lL")
"""Greenwich: the last position from before the fix was lost, or from before it was switched off."""

_TOPIC = re.compile(r"owntracks/([^/]+)/([^/]+)(?:/event)?")


def adapt(topic: str, payload: bytes) -> Adapted | Rejected:
    """One message → its device and record; a will has no record, but says that it is gone."""
    match = _TOPIC.fullmatch(topic)
    if match is None:
        detail = f"topic {topic!r:.200} is not owntracks/<user>/<device>"
        return refuse(Reason.BAD_TOPIC, detail, payload)
    device = device_id(f"{match[1]}-{match[2]}", "topic", payload)
    if isinstance(device, Rejected):
        return device
    if not payload:  # a retained message being cleared
        return Adapted(device=device, source=TimeFlag.OWNTRACKS)
    found = read_object(payload)
    if isinstance(found, Rejected):
        return found
    if found.get("_type") == "lwt":
        return Adapted(device=device, source=TimeFlag.OWNTRACKS, online=False)
    record = _record(found, payload)
    if isinstance(record, Rejected):
        return record
    decoded = Decoded(record=record, body=payload)
    return Adapted(device=device, source=TimeFlag.OWNTRACKS, records=(decoded,), online=True)


def record_of(body: bytes) -> Record | Rejected:
    """The record in a body."""
    found = read_object(body)
    return found if isinstance(found, Rejected) else _record(found, body)


def canonical(body: bytes) -> str | None:
    """The text by which two bodies are compared; None if it is no JSON object."""
    found = read_object(body)
    return None if isinstance(found, Rejected) else canonical_text(found, VOLATILE)


def _record(found: Json, payload: bytes) -> Record | Rejected:
    refused = _refusal(found, payload)
    if refused is not None:
        return refused
    fix_ms = _instant_ms(found, "tst")
    seq = number_of(fix_ms or 0, canonical_text(found, VOLATILE))
    if fix_ms is None or seq is None:
        detail = "tst: not a time in s since 1970 before 2109"
        return refuse(Reason.INVALID_FIELD, detail, payload)
    event = _event(found, fix_ms)
    return Record(
        v=VERSION,
        gen=FORWARDED_GEN,
        seq=seq,
        ts=_instant_ms(found, "created_at") or fix_ms,
        tq="net",
        hist=True if found.get("conn") == "o" else None,
        why="evt" if event else REASONS.get(_trigger(found)),
        fix=_fix(found, fix_ms),
        mot=_motion(found),
        pwr=_power(found),
        evt=event,
    )


def _refusal(found: Json, payload: bytes) -> Rejected | None:
    kind = found.get("_type")
    if kind == "encrypted":
        detail = "_type: encrypted; turn the app's own encryption off, TLS protects the way"
    elif kind not in ("location", "transition"):
        detail = f"_type: {kind!r:.100} carries no position of the device"
    elif _coordinate(found, "lat", 90) is None or _coordinate(found, "lon", 180) is None:
        detail = "lat, lon: no place in degrees"
    else:
        return None
    return refuse(Reason.INVALID_FIELD, detail, payload)


def _coordinate(found: Json, key: str, most: float) -> float | None:
    return number(found.get(key), -most, most)


def _instant_ms(found: Json, key: str) -> int | None:
    seconds = number(found.get(key), 0, END_MS // 1000)
    return None if seconds is None else round(seconds * 1000)


def _trigger(found: Json) -> str:
    trigger = found.get("t")
    return trigger if isinstance(trigger, str) else ""


def _fix(found: Json, fix_ms: int) -> WireFix:
    acc_m = positive(found.get("acc"))
    last = _trigger(found) in LAST_KNOWN and found.get("_type") == "location"
    coarse = acc_m is not None and acc_m > NETWORK_ACC_M
    return WireFix(
        t=fix_ms,
        ok=not last,
        lat=_coordinate(found, "lat", 90),
        lon=_coordinate(found, "lon", 180),
        alt=number(found.get("alt")),
        spd=number(found.get("vel"), 0),
        hdg=number(found.get("cog"), 0, 360),
        acc=acc_m,
        src="last" if last else "lbs" if coarse else "gnss",
    )


def _motion(found: Json) -> WireMotion | None:
    speed_kmh = number(found.get("vel"), 0)
    moving = flag(found.get("motion"))
    if moving is None and speed_kmh is not None:
        moving = speed_kmh >= MOVING_KMH
    odometer_km = number(found.get("odometer"), 0)
    ignition = flag(found.get("ign"))
    if moving is None and ignition is None and odometer_km is None:
        return None
    odometer_m = None if odometer_km is None else odometer_km * 1000
    return WireMotion(ign=ignition, mov=moving, odo=odometer_m)


def _power(found: Json) -> WirePower | None:
    battery, external_v = found.get("batt"), number(found.get("uext"), 0)
    if isinstance(battery, str) and ("trip" in found or "dist" in found):
        # Greenwich firmware that writes numbers as text means the volts of the vehicle by it.
        battery, external_v = None, number(battery, 0)
    percent = number(battery, 0, 100)  # iOS: -1 for unknown
    charging = {1: False, 2: True, 3: True}.get(int(number(found.get("bs"), 0, 9) or 0))
    if percent is None and external_v is None and charging is None:
        return None
    external_mv = None if external_v is None else external_v * 1000
    return WirePower(ext=external_mv, bat=percent, chg=charging)


def _event(found: Json, fix_ms: int) -> WireEvent | None:
    if found.get("_type") == "transition":
        event = found.get("event")
        code = EVENTS.get(event) if isinstance(event, str) else None
    else:
        code = TRIGGERS.get(_trigger(found))
    return WireEvent(code=code, at=fix_ms) if code else None
