"""Every code of the detection contract at its edge and just below, and honest trips on which
nothing is to be found: all on one stack at once, along one line, through MQTT and HTTP alone."""

from __future__ import annotations

import itertools
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
    STRAIGHT,
    WAY_M,
    Case,
    Honest,
    Path,
    Wire,
    bare,
    barest,
    box,
    drive,
    moved,
    place,
    records,
    stopping,
    whole,
    with_,
)
from tests.support.customs import Customs, names, rfc3339
from tests.support.drives import covering
from tests.support.mqtt_device import MqttDevice
from tests.support.stack import Stack
from tests.support.waiting import wait_until

DAY_S = 86_400
BEGUN_S = int(time.time())
"""When these tests were read, for trips that are long over: those of which minutes matter take
the time at which they run."""
AT_ONCE = 6
"""Trips that are played side by side."""
_PLATES = itertools.count(1)


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
            # Two deliveries with one plate are one vehicle, which does not meet itself.
            "vehicle": {"plate": f"{next(_PLATES):04d}KZ02", "country": "KZ"},
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
                connected.wait(covering(sent), f"an ack of all that {device} has sent")

        def stored() -> bool:
            newest = self.customs.get(f"/devices/{device}")["last_record"]
            return newest is not None and newest["seq"] >= high

        if lo is None:
            wait_until(stored, 60, f"{device} stored to {high}")

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
        base = BEGUN_S - DAY_S / 4 if base_s is None else base_s
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
        base = BEGUN_S - trip.days * DAY_S
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
        status = self.customs.settle(id_)["status"]
        assert status == ("overdue" if arrived_s + 1800 < time.time() else "in_transit"), name
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


# ---------------------------------------------------------------- codes of places


@pytest.fixture(scope="module")
def placed(stack: Stack) -> Lane:
    """A line with places along it that are of no concern to the others."""
    lane = Lane(Customs(stack, "places"), LON + 1)
    lane.zone("forbidden", "restricted", box(5_500, 200, 700, lane.line))
    lane.zone("gate", "terminal", box(8_500, 200, 700, lane.line))
    lane.zone("brief", "fuel", box(15_000, 300, line=lane.line), max_dwell_s=600)
    # Of all that is south and north of the line, and 700 m east of it.
    west, east = place(0, -50_000, lane.line)[0], place(0, 700, lane.line)[0]
    ring = [[west, 44.5], [east, 44.5], [east, 45.9], [west, 45.9], [west, 44.5]]
    lane.zone("home", "territory", ring)
    return lane


THROUGH = (8, 9)
"""The records between which the way goes through the mandatory checkpoint beside the line."""

PLACES: dict[str, tuple[Path, set[str]]] = {
    "by_the_book": (moved(STRAIGHT, THROUGH, 690), set()),
    "restricted_zone": (moved(STRAIGHT, (5, 6, *THROUGH), 690), {"restricted_zone"}),
    "checkpoint_missed": (moved(STRAIGHT, THROUGH, 450), {"checkpoint_missed"}),
    "border_exit": (
        moved(moved(STRAIGHT, THROUGH, 690), (20,), 730),
        {"border_exit"},
    ),
    "overstay": (moved(stopping(15_000, 660), THROUGH, 690), {"overstay"}),
    "no_overstay": (moved(stopping(15_000, 600), THROUGH, 690), set()),
}
SEVERITIES = {
    "restricted_zone": ("high", "03"),
    "checkpoint_missed": ("medium", "03"),
    "border_exit": ("critical", "03"),
    "overstay": ("low", None),
    "rendezvous": ("high", "07"),
}


def _spans(found: list[dict[str, Any]], base_s: float) -> set[tuple[str, float, float | None]]:
    """Code, start and end in seconds of the trip."""

    def second(at: str | None) -> float | None:
        return None if at is None else round(datetime.fromisoformat(at).timestamp() - base_s, 3)

    return {(a["code"], second(a["start"]) or 0.0, second(a["end"])) for a in found}


def test_places(placed: Lane) -> None:
    route = {
        "checkpoints": [
            {"zone_code": placed.customs.code(f"gate{placed.line:g}"), "mandatory": True}
        ]
    }
    base = BEGUN_S - DAY_S / 4
    ids = at_once(
        {
            n: (lambda n=n, p=path: placed.play(n, {"seal": p, "gps": p}, base_s=base, route=route))  # type: ignore[misc]
            for n, (path, _) in PLACES.items()
        }
    )
    spans = {
        "restricted_zone": {("restricted_zone", 360, 360)},
        "checkpoint_missed": {("checkpoint_missed", 840, None)},
        "border_exit": {("border_exit", 1200, 1260)},
        "overstay": {("overstay", 900 + 600, 900 + 660)},
    }
    for name, (_, wanted) in PLACES.items():
        found = placed.found(ids[name])
        assert {a["code"] for a in found} == wanted, (
            name,
            [(a["code"], a["evidence"]) for a in found],
        )
        assert _spans(found, base) == spans.get(name, set()), name
        assert {(a["severity"], a["eaeu_code"]) for a in found} == {SEVERITIES[c] for c in wanted}


def test_rendezvous(placed: Lane) -> None:
    base = BEGUN_S - DAY_S / 4
    route = {"corridor_m": 1000}
    works = {}
    for n, (along_m, after_s) in enumerate(
        [(24_000, 0), (24_000, 360), (26_000, 0), (26_000, 420)]
    ):
        path = stopping(along_m, 960)
        works[str(n)] = lambda n=n, p=path, s=base + after_s: placed.play(  # type: ignore[misc]
            f"meets{n}", {"seal": p, "gps": p}, base_s=s, route=route
        )
    ids = at_once(works)
    for n in "01":
        found = placed.found(ids[n])
        assert {a["code"] for a in found} == {"unauthorised_stop", "rendezvous"}, found
        (met,) = [a for a in found if a["code"] == "rendezvous"]
        assert (met["basis"], met["severity"], met["eaeu_code"]) == (
            "fleet",
            *SEVERITIES["rendezvous"],
        )
        assert ids["1" if n == "0" else "0"] in str(met["evidence"])
    for n in "23":
        assert placed.codes(ids[n]) == {"unauthorised_stop"}


# ---------------------------------------------------------------- codes of identity and people


def test_another_body_of_a_record_is_a_conflict(lane: Lane) -> None:
    base = BEGUN_S - DAY_S / 4
    for name, codes in (("other-body", {"identity_conflict"}), ("same-body", set())):
        device = lane.customs.device(name, "gps")
        id_ = lane.declare([device], time.time() + DAY_S)
        lane.release(id_, base)
        sent = records(STRAIGHT, round(base * 1000), "gps")
        lane.send(device, "gps", whole(sent))
        again = sent[9] | ({"hist": True} if not codes else {"pwr": {"bat": 55}})
        lane.send(device, "gps", [[*sent[10:20], again]])
        assert lane.codes(id_) == codes, name
        lane.arrive(id_, base + STRAIGHT[-1].t_s)
        assert lane.codes(id_) == codes, name


def test_an_officer_reseals(lane: Lane) -> None:
    base = BEGUN_S - DAY_S / 4
    path = with_(with_(STRAIGHT, 15, evt={"code": "rope_cut"}), 15, seal={"rope": "cut"})
    path = with_(path, 16, seal={"rope": "cut"})
    seal, gps = lane.customs.device("resealed-s", "seal"), lane.customs.device("resealed-g", "gps")
    id_ = lane.declare([seal, gps], time.time() + DAY_S)
    lane.release(id_, base)
    lane.send(seal, "seal", whole(records(path, round(base * 1000), "seal")))
    lane.send(gps, "gps", whole(records(STRAIGHT, round(base * 1000), "gps")))
    assert lane.codes(id_) == {"seal_cut", "seal_state_conflict"}
    lane.customs.post(f"/deliveries/{id_}/reseal", {"at": text(base + 990)})
    lane.customs.settle(id_)
    answer = lane.arrive(id_, base + STRAIGHT[-1].t_s, [seal])
    assert answer["contradictions"] == []
    assert _spans(lane.found(id_), base) == {("seal_cut", 900, 990)}


def test_an_arrival_elsewhere(lane: Lane) -> None:
    path = drive(0, 0, 24_000)
    id_ = lane.play("elsewhere", {"seal": path, "gps": path}, deadline_s=time.time() + DAY_S)
    (found,) = lane.found(id_)
    assert (found["code"], found["severity"], found["eaeu_code"]) == (
        "arrival_mismatch",
        "high",
        "07",
    )
    alerts = lane.customs.get("/alerts", delivery_id=id_)["items"]
    assert [a["code"] for a in alerts if a["status"] != "retracted"] == ["arrival_mismatch"]


# ---------------------------------------------------------------- codes of the clock


def _under_way(lane: Lane, name: str, deadline_s: float, base_s: float) -> str:
    path = drive(0, 0, 10_000)
    return lane.play(
        name, {"seal": path, "gps": path}, base_s=base_s, arrives=False, deadline_s=deadline_s
    )


def test_late_risk(lane: Lane) -> None:
    now_s = int(time.time())
    # Seen five minutes ago 20 km before the post, which takes 13 minutes at 90 km/h.
    late = _under_way(lane, "late", now_s + 300, now_s - 900)
    in_time = _under_way(lane, "in-time", now_s + 7200, now_s - 900)
    (found,) = lane.found(late)
    assert (found["code"], found["severity"], found["basis"]) == ("late_risk", "medium", "clock")
    assert (found["status"], found["provisional"], found["eaeu_code"]) == ("open", True, None)
    assert lane.found(in_time) == []


@pytest.mark.parametrize("sends", [whole, bare, barest])
def test_a_trip_under_way_shows_nothing(lane: Lane, sends: Callable[[list[Wire]], Any]) -> None:
    """Whatever little its devices say; and it is seen to be on its way."""
    path, now_s = drive(0, 0, 20_000), int(time.time())
    id_ = lane.play(
        f"live-{sends.__name__}",
        {"seal": path, "gps": path},
        base_s=now_s - path[-1].t_s,
        arrives=False,
        deadline_s=now_s + 7200,
        sends=lambda kind, sent: sends(sent),
    )
    assert lane.found(id_) == []
    shown = lane.customs.get(f"/deliveries/{id_}")
    assert shown["status"] == "in_transit"
    assert shown["last_position"]["lat"] == pytest.approx(place(20_000)[1])


def test_overdue_and_non_arrival(lane: Lane) -> None:
    now_s = int(time.time())
    long_ago = now_s - 2 * DAY_S
    deadlines = {"overdue": now_s - 60, "not-yet": now_s - DAY_S + 600, "never": now_s - DAY_S - 60}
    ids = {n: _under_way(lane, n, deadline_s, long_ago) for n, deadline_s in deadlines.items()}
    for name, id_ in ids.items():
        wanted = {"overdue", "late_risk"} | ({"non_arrival"} if name == "never" else set())
        found = {a["code"]: a for a in lane.found(id_)}
        assert set(found) == wanted, name
        assert found["overdue"]["start"] == text(deadlines[name])
        assert (found["overdue"]["severity"], found["overdue"]["basis"]) == ("high", "clock")
        assert lane.customs.get(f"/deliveries/{id_}")["status"] == "overdue"
    never = {a["code"]: a for a in lane.found(ids["never"])}["non_arrival"]
    assert (never["severity"], never["start"]) == ("critical", text(deadlines["never"] + DAY_S))
    begun = lane.customs.post(f"/deliveries/{ids['never']}/enquiry", {"text": "called"})
    assert begun["status"] == "enquiry"
    answered = lane.customs.post(f"/deliveries/{ids['never']}/enquiry", {"result": "non_delivery"})
    assert answered["status"] == "non_delivery"
    ended = {a["code"]: a for a in lane.found(ids["never"])}["non_arrival"]
    assert (ended["status"], ended["provisional"]) == ("closed", False)
    # An arrival within the deadline, entered after it, takes all of it back.
    lane.arrive(ids["not-yet"], long_ago + 600)
    assert lane.codes(ids["not-yet"]) == {"arrival_mismatch"}
