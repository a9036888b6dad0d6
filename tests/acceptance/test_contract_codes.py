"""Every code of the detection contract at its edge and just below, and honest trips on which
nothing is to be found: all on one stack at once, along one line, through MQTT and HTTP alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.acceptance.code_cases import (
    CASES,
    HONEST,
    LINE,
    LON,
    REST_M,
    WAY_M,
    Case,
    Honest,
    Path,
    Wire,
    box,
    place,
    records,
    whole,
)
from tests.support.customs import Customs, names, rfc3339
from tests.support.mqtt_device import MqttDevice
from tests.support.stack import Stack
from tests.support.waiting import wait_until

DAY_S = 86_400
NOW_S = int(time.time())
AT_ONCE = 6
"""Trips that are played side by side."""


def text(t_s: float) -> str:
    """RFC 3339 of a Unix time."""
    return rfc3339(datetime.fromtimestamp(t_s, UTC))


class Lane:
    """The posts and the parking place of a line, and what is played on it."""

    def __init__(self, customs: Customs, line: float = LON) -> None:
        self.customs = customs
        self.line = line
        self.who = customs.participant()
        self.ends = (
            customs.place(f"from{line:g}", place(0, line=line)),
            customs.place(f"to{line:g}", place(WAY_M, line=line)),
        )
        self.zone("rest", "parking", box(REST_M, 300, line=line))

    def zone(self, name: str, kind: str, ring: list[list[float]], **more: Any) -> str:
        """A zone; its code."""
        code = self.customs.code(f"{name}{self.line:g}")
        geometry = {"type": "Polygon", "coordinates": [ring]}
        body = {"code": code, "name": names(name), "kind": kind, "geometry": geometry}
        self.customs.post("/zones", body | more, status=201)
        return code

    def declare(self, devices: Sequence[str], deadline_s: float, **more: Any) -> str:
        """A delivery along the line; its id."""
        route = {
            "name": "straight",
            "geometry": {
                "type": "LineString",
                "coordinates": [[self.line, LINE[0][1]], [self.line, LINE[1][1]]],
            },
            "corridor_m": 1000,
        } | more.pop("route", {})
        goods = {"hs_code": "2208", "description": "spirits", "gross_kg": 18_000}
        body = {
            "registration_number": self.customs.code("reg-" + "-".join(devices)),
            "direction": "transit",
            "carrier_id": self.who,
            "declarant_id": self.who,
            "departure_post": self.ends[0],
            "destination_post": self.ends[1],
            "route": route,
            "deadline": text(deadline_s),
            "goods": [goods | {"value_kzt": 40_000_000, "payments_at_stake_kzt": 5_000_000}],
            "vehicle": {"plate": f"{abs(hash(devices[0])) % 1000:03d}KZ02", "country": "KZ"},
            "devices": list(devices),
        }
        return str(self.customs.post("/deliveries", body | more, status=201)["id"])

    def notify(self, id_: str, at_s: float) -> None:
        """The carrier's notification."""
        body = {"post": self.ends[0], "at": text(at_s)}
        self.customs.post(f"/deliveries/{id_}/border-crossing", body)

    def release(self, id_: str, at_s: float) -> None:
        """Departure."""
        self.customs.post(f"/deliveries/{id_}/release", {"at": text(at_s)})

    def arrive(self, id_: str, at_s: float, seals: Iterable[str] = ()) -> dict[str, Any]:
        """The officer confirms."""
        stated = [{"device_id": seal, "state": "intact"} for seal in seals]
        body = {"seals": stated, "at": text(at_s)}
        answer: dict[str, Any] = self.customs.post(f"/deliveries/{id_}/arrival", body)
        return answer

    def send(self, device: str, kind: str, messages: Sequence[Any], lo: int | None = 1) -> None:
        """Publish, and wait until all is stored."""
        sent = [r for m in messages for r in (m if isinstance(m, list) else [m])]
        high = max(r["seq"] for r in sent)
        with MqttDevice(self.customs.stack, device, kind) as connected:
            for message in messages:
                connected.send(message)
            if lo is not None:
                connected.born(lo=lo)
                connected.wait(lambda c: c["op"] == "ack" and c["high"] >= high, f"ack to {high}")
        last = len({(r["gen"], r["seq"]) for r in sent})
        assert last

        def stored() -> bool:
            newest = self.customs.get(f"/devices/{device}")["last_record"]
            return newest is not None and newest["seq"] >= high

        if lo is None:
            wait_until(stored, 30, f"{device} stored to {high}")

    def play(
        self,
        name: str,
        paths: dict[str, Path],
        *,
        base_s: float | None = None,
        arrives: bool = True,
        sends: Callable[[str, list[Wire]], list[Any]] | None = None,
        lo: int = 1,
        **more: Any,
    ) -> str:
        """A trip of devices (by kind) on their paths, released at second 0, arrived with the last
        record; its id."""
        base = NOW_S - DAY_S / 4 if base_s is None else base_s
        devices = {kind: self.customs.device(f"{name}-{kind}", kind) for kind in paths}
        last_s = base + max(path[-1].t_s for path in paths.values())
        id_ = self.declare(list(devices.values()), more.pop("deadline_s", last_s + 3600), **more)
        self.notify(id_, base - 600)
        self.release(id_, base)
        for kind, path in paths.items():
            sent = records(path, round(base * 1000), kind, line=self.line)
            self.send(devices[kind], kind, sends(kind, sent) if sends else whole(sent), lo)
        if arrives:
            self.customs.settle(id_)
            self.arrive(id_, last_s, [d for k, d in devices.items() if k == "seal"])
        return id_

    def honest(self, name: str, trip: Honest) -> str:
        """An honest trip, from the notification to the arrival; the delivery's id."""
        base = NOW_S - trip.days * DAY_S
        devices = [
            (self.customs.device(f"{name}-{kind}{n}", kind), kind)
            for n, kind in enumerate(trip.kinds)
        ]
        arrived_s = base + trip.path[-1].t_s + trip.arrive_s
        id_ = self.declare([device for device, _ in devices], arrived_s + 1800)
        if trip.notified:
            self.notify(id_, base + trip.release_s - 600)
        self.release(id_, base + trip.release_s)
        for device, kind in devices:
            sent = records(trip.path, round(base * 1000), kind)
            self.send(device, kind, (trip.seal if kind == "seal" else trip.gps)(sent), trip.lo)
        self.customs.settle(id_)
        answer = self.arrive(id_, arrived_s, [d for d, kind in devices if kind == "seal"])
        assert answer["contradictions"] == [], f"{name}: {answer['contradictions']}"
        return id_

    def found(self, id_: str) -> list[dict[str, Any]]:
        """What stands once all is judged, but for the open silence since the trip's end."""
        self.customs.settle(id_)
        return [
            a
            for a in self.customs.anomalies(id_)
            if not (a["code"] == "silence" and a["provisional"])
        ]

    def codes(self, id_: str) -> set[str]:
        """Which codes stand."""
        return {a["code"] for a in self.found(id_)}


@pytest.fixture(scope="module")
def lane(stack: Stack) -> Lane:
    """The line that every trip goes along."""
    return Lane(Customs(stack, "codes"))


def at_once(work: dict[str, Callable[[], str]]) -> dict[str, str]:
    """Ids of deliveries that are played side by side."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        begun = {name: pool.submit(play) for name, play in work.items()}
        return {name: one.result() for name, one in begun.items()}


# ---------------------------------------------------------------- honest trips


@pytest.fixture(scope="module")
def honest(lane: Lane) -> dict[str, str]:
    """All honest trips."""
    return at_once({n: (lambda n=n, t=t: lane.honest(n, t)) for n, t in HONEST.items()})  # type: ignore[misc]


@pytest.mark.parametrize("name", HONEST)
def test_nothing_is_found_on_an_honest_trip(lane: Lane, honest: dict[str, str], name: str) -> None:
    found = lane.found(honest[name])
    assert [(a["code"], a["device_id"], a["start"], a["end"], a["evidence"]) for a in found] == []
    alerts = lane.customs.get("/alerts", delivery_id=honest[name])["items"]
    assert [a for a in alerts if a["status"] != "retracted"] == []


# ---------------------------------------------------------------- one code each


def _play(lane: Lane, name: str, case: Case, side: str) -> str:
    path = case.edge if side == "edge" else case.under
    other = case.other if side == "edge" or case.other_under is None else case.other_under
    paths = {kind: path if kind in case.on else other for kind in ("seal", "gps")}

    def sends(kind: str, sent: list[Wire]) -> list[Any]:
        kept = [r for r in sent if kind not in case.on or r["seq"] - 1 not in case.drop]
        return whole(kept)

    return lane.play(f"{name}-{side}", paths, sends=sends, lo=case.lo[0 if side == "edge" else 1])


@pytest.fixture(scope="module")
def played(lane: Lane) -> dict[str, str]:
    """All cases, at the edge and below it."""
    return at_once(
        {
            f"{name}-{side}": (lambda n=name, c=case, s=side: _play(lane, n, c, s))  # type: ignore[misc]
            for name, case in CASES.items()
            for side in ("edge", "under")
        }
    )


@pytest.mark.parametrize("name", CASES)
def test_at_its_edge_a_code_is_found(lane: Lane, played: dict[str, str], name: str) -> None:
    case = CASES[name]
    found = lane.found(played[f"{name}-edge"])
    assert {a["code"] for a in found} == case.codes, [(a["code"], a["evidence"]) for a in found]
    code = next(c for c in sorted(case.codes, key=len, reverse=True) if name.startswith(c))
    for one in (a for a in found if a["code"] == code):
        assert (one["severity"], one["eaeu_code"]) == (case.severity, case.eaeu)
        assert one["delivery_id"] == played[f"{name}-edge"]
        assert one["status"] in ("open", "closed")
        assert (one["end"] is None) == (one["status"] == "open")
        assert one["found_at"]
        assert one["settings_version"]
    alerts = lane.customs.get("/alerts", delivery_id=played[f"{name}-edge"])["items"]
    assert {a["code"] for a in alerts if a["status"] == "open"} == case.codes


@pytest.mark.parametrize("name", CASES)
def test_just_below_it_is_not(lane: Lane, played: dict[str, str], name: str) -> None:
    found = lane.found(played[f"{name}-under"])
    below = CASES[name].below
    assert {a["code"] for a in found} == below, [(a["code"], a["evidence"]) for a in found]
