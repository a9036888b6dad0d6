"""Trips along a straight meridian, to the metre and the millisecond, and what is found on them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support.customs import Customs, rfc3339
from tests.support.mqtt_device import MqttDevice

Wire = dict[str, Any]
Seen = tuple[str, float | None, float | None, str]
"""Code, start and end in seconds of the trip, severity."""

BASE_MS = (int(time.time()) - 6 * 3600) * 1000
"""Second 0 of every trip: its departure."""

LON, LAT = 77.0, 43.0
LINE = [(LON, LAT), (LON, 44.0)]
_A_M, _E2 = 6_378_137.0, 0.00669437999014


def east(offset_m: float, lat: float) -> float:
    """The longitude so many metres east of the line."""
    n = _A_M / math.sqrt(1 - _E2 * math.sin(math.radians(lat)) ** 2)
    return LON + math.degrees(offset_m / (n * math.cos(math.radians(lat))))


def north(along_m: float) -> float:
    """The latitude so far along the line, to a part in a thousand."""
    return LAT + along_m / 111_100


def square(along_m: float, half_m: float = 400) -> list[tuple[float, float]]:
    """A ring around a place on the line."""
    s, n = north(along_m - half_m), north(along_m + half_m)
    w, e = east(-half_m, s), east(half_m, s)
    return [(w, s), (e, s), (e, n), (w, n), (w, s)]


def at(t_s: float) -> int:
    """ms UTC of a second of the trip."""
    return BASE_MS + round(t_s * 1000)


def when(t_s: float) -> str:
    """RFC 3339 of a second of the trip."""
    return rfc3339(datetime.fromtimestamp(at(t_s) / 1000, UTC))


def seconds(text: str | None) -> float | None:
    """An answer's instant as a second of the trip."""
    if text is None:
        return None
    return round(datetime.fromisoformat(text).timestamp() - BASE_MS / 1000, 3)


# ---------------------------------------------------------------- records


def rec(seq: int, t_s: float, along_m: float | None = None, off_m: float = 0, **more: Any) -> Wire:
    """A record; without ``along_m`` it has no fix."""
    record: Wire = {"v": 1, "gen": 0, "seq": seq, "ts": at(t_s), "tq": "gnss"}
    if along_m is not None:
        lat = north(along_m)
        place = {"lat": round(lat, 7), "lon": round(east(off_m, lat), 7)}
        record["fix"] = {"t": at(t_s), "ok": True, **place, "acc": 5, "src": "gnss"}
    return record | {"mot": {"mov": True}} | more


def joined(*parts: Iterable[Wire]) -> list[Wire]:
    """One trip of its parts, numbered through."""
    return [r | {"seq": n} for n, r in enumerate((r for part in parts for r in part), start=1)]


def drive(start_s: float, until_s: float, *, from_m: float = 0, step_s: float = 60) -> list[Wire]:
    """Along the line at 60 km/h."""
    steps = int((until_s - start_s) / step_s) + 1
    return joined(
        rec(1, start_s + n * step_s, from_m + n * step_s * 60 / 3.6) for n in range(steps)
    )


def still(start_s: float, until_s: float, *, along_m: float = 5000, off_m: float = 0) -> list[Wire]:
    """Parked, a record a minute."""
    steps = int((until_s - start_s) / 60) + 1
    return joined(
        rec(1, start_s + n * 60, along_m, off_m, mot={"mov": False}) for n in range(steps)
    )


def beside(*pairs: tuple[float, float], **fix: Any) -> list[Wire]:
    """Moving along, each time (s) so far (m) beside the line; ``fix``: None leaves a field out."""
    records = joined(rec(1, t_s, 1000 + t_s * 12, off_m) for t_s, off_m in pairs)
    for record in records:
        record["fix"] = {k: v for k, v in (record["fix"] | fix).items() if v is not None}
    return records


def covering(records: Iterable[Wire]) -> Callable[[Wire], bool]:
    """Whether an ack says that all of these are stored: the highest alone may come first."""
    seqs = {record["seq"] for record in records}

    def covers(command: Wire) -> bool:
        if command["op"] != "ack" or max(seqs) > command["high"]:
            return False
        return not any(a <= seq <= b for a, b in command["missing"] for seq in seqs)

    return covers


# ---------------------------------------------------------------- on the stack


class Trips:
    """Declares deliveries over the line, plays records to them, and says what was found."""

    def __init__(self, customs: Customs, posts: tuple[str, str] | None = None) -> None:
        self.customs = customs
        self.who = customs.participant()
        self.posts = posts or (
            customs.place("from", (LON - 2, LAT - 2)),
            customs.place("to", (LON + 2, LAT + 3)),
        )

    def declare(
        self, name: str, devices: Sequence[str], *, release_s: float | None = 0, **more: Any
    ) -> str:
        """A delivery, released at a second of its trip (None: not yet); its id."""
        goods = {"hs_code": "2208", "description": "spirits", "gross_kg": 1}
        body = {
            "registration_number": self.customs.code(name),
            "direction": "transit",
            "carrier_id": self.who,
            "declarant_id": self.who,
            "departure_post": self.posts[0],
            "destination_post": self.posts[1],
            "route": self.route(),
            "deadline": rfc3339(datetime.now(UTC) + timedelta(hours=9)),
            "goods": [goods | {"value_kzt": 40_000_000, "payments_at_stake_kzt": 5_000_000}],
            "vehicle": {"plate": "123ABC02", "country": "KZ"},
            "devices": list(devices),
        }
        id_ = str(self.customs.post("/deliveries", body | more, status=201)["id"])
        if release_s is not None:
            self.release(id_, release_s)
        return id_

    def route(self, line: Sequence[tuple[float, float]] = LINE, **more: Any) -> Wire:
        """A declared route with a corridor of 1,000 m."""
        geometry = {"type": "LineString", "coordinates": [list(p) for p in line]}
        return {"name": "declared", "geometry": geometry, "corridor_m": 1000} | more

    def release(self, delivery: str, t_s: float) -> None:
        """Release at a second of the trip."""
        self.customs.post(f"/deliveries/{delivery}/release", {"at": when(t_s)})

    def arrive(self, delivery: str, t_s: float) -> Any:
        """Confirm the arrival at a second of the trip."""
        body = {"seals": [], "at": when(t_s)}
        return self.customs.post(f"/deliveries/{delivery}/arrival", body)

    def publish(self, device: str, kind: str, messages: Sequence[Any]) -> None:
        """Send messages (a record or an array each) and wait until all are acked."""
        records = [r for m in messages for r in (m if isinstance(m, list) else [m])]
        with MqttDevice(self.customs.stack, device, kind) as connected:
            for message in messages:
                connected.send(message)
            connected.born()
            connected.wait(covering(records), f"an ack of all that {device} has sent")

    def played(self, name: str, records: Sequence[Wire], kind: str = "gps", **more: Any) -> str:
        """A delivery whose device has sent these records, in arrays; its id."""
        device = self.customs.device(name, kind)
        delivery = self.declare(name, [device], **more)
        self.publish(
            device, kind, [list(records[i : i + 100]) for i in range(0, len(records), 100)]
        )
        return delivery

    def found(self, delivery: str, ignored: Collection[str] = ()) -> list[Seen]:
        """What stands once all is judged, but for the open silence since the trip's end."""
        self.customs.settle(delivery)
        return sorted(
            (a["code"], seconds(a["start"]), seconds(a["end"]), a["severity"])
            for a in self.customs.anomalies(delivery)
            if a["code"] not in ignored and not (a["code"] == "silence" and a["provisional"])
        )

    def spans(self, delivery: str) -> list[tuple[str, float | None, float | None]]:
        """As ``found``, without severities."""
        return [seen[:3] for seen in self.found(delivery)]
