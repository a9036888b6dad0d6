"""What people do on the way and at the end: who may, what is refused and how, what is done once."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.acceptance.asking import refused
from tests.acceptance.people_world import act, ago, delivery, populate
from tests.support.customs import Customs
from tests.support.stack import Stack

NOBODY = "00000000-0000-0000-0000-000000000000"
ROUTE = {
    "name": "detour",
    "geometry": {"type": "LineString", "coordinates": [[71.0, 50.0], [71.1, 50.2], [71.0, 50.5]]},
    "corridor_m": 1500,
}
HERE = {"type": "Point", "coordinates": [71.0, 50.1]}

ACTS: dict[str, dict[str, Any]] = {
    "incidents": {"code": 1, "text": "road closed", "position": HERE},
    "arrival-notice": {"text": "at the gate"},
    "controls": {"kind": "inspection", "result": "clean"},
    "scans": {"verdict": "clean"},
    "enquiry": {},
    "close": {},
    "cancel": {"reason": "withdrawn"},
    "reseal": {"reason": "worn"},
    "transshipment": {"vehicle": {"plate": "777KZ02", "country": "KZ"}},
    "reroute": {"route": ROUTE, "reason": "road works"},
}
STATES = {"declared", "released", "arrived"}
FIT = {
    "incidents": {"released"},
    "arrival-notice": {"released"},
    "controls": {"arrived"},
    "scans": {"arrived"},
    "enquiry": set(),
    "cancel": {"declared"},
    "reseal": {"released"},
    "transshipment": {"released"},
    "reroute": {"released"},
}
"""In which states an act fits; closing depends on what was ordered at the arrival."""

BAD: list[tuple[str, dict[str, Any], str]] = [
    ("incidents", {"code": 7, "text": "x"}, "code"),
    ("incidents", {"code": 0, "text": "x"}, "code"),
    ("incidents", {"text": "x"}, "code"),
    ("incidents", {"code": 1}, "text"),
    ("incidents", {"code": 1, "text": "x", "position": {"type": "Point"}}, "position"),
    ("incidents", {"code": 1, "text": "x", "at": "noon"}, "at"),
    ("incidents", {"code": 1, "text": "x", "planned": {"kind": "nap"}}, "planned"),
    ("arrival-notice", {"at": "noon"}, "at"),
    ("arrival-notice", {"post": "nowhere"}, "post"),
    ("controls", {}, "kind"),
    ("controls", {"kind": "inspection", "result": "fine"}, "result"),
    ("controls", {"kind": "inspection", "result": "violation", "amount_kzt": -1}, "amount_kzt"),
    ("controls", {"kind": "inspection", "result": "violation", "amount_kzt": 1.5}, "amount_kzt"),
    ("scans", {}, "verdict"),
    ("scans", {"verdict": "clean", "file": {"name": "a", "data_base64": "%%"}}, "data_base64"),
    ("enquiry", {"result": "perhaps"}, "result"),
    ("close", {"result": "fine"}, "result"),
    ("cancel", {"at": "noon"}, "at"),
    ("cancel", {"why": "x"}, "why"),
    ("reseal", {"seals": "all"}, "seals"),
    ("reseal", {"seals": [{"state": "intact"}]}, "device_id"),
    ("reseal", {"add": ["nothing-like-it"]}, "add"),
    ("reseal", {"at": ago(hours=-1)}, "at"),
    ("transshipment", {"vehicle": {"country": "KZ"}}, "plate"),
    ("transshipment", {"devices": ["nothing-like-it"]}, ""),
    ("reroute", {"reason": "x"}, "route"),
    ("reroute", {"route_code": "nowhere", "reason": "x"}, "route_code"),
    ("replay", {"limits": {"no_such_limit": 1}}, "no_such_limit"),
    ("replay", {"limits": {"stop_s": "long"}}, "stop_s"),
    ("replay", {"limit": {"stop_s": 60}}, "limit"),
]


@pytest.fixture(scope="module")
def customs(stack: Stack) -> Customs:
    """A client of these tests."""
    return Customs(stack, "acts")


@pytest.fixture(scope="module")
def world(customs: Customs) -> dict[str, Any]:
    """Everybody."""
    return populate(customs)


def at_state(customs: Customs, world: dict[str, Any], state: str) -> str:
    """A delivery with a seal in that state; its id."""
    seal = customs.device(f"s{state}{len(world)}", "seal")
    world[seal] = state
    id_ = delivery(customs, world, [seal])
    if state in ("released", "arrived"):
        customs.post(f"/deliveries/{id_}/release", {"at": ago(hours=2)})
    if state == "arrived":
        customs.post(f"/deliveries/{id_}/arrival", {"seals": []})
    return id_


@pytest.fixture(scope="module")
def under_way(customs: Customs, world: dict[str, Any]) -> str:
    """A delivery on its way, which refusals leave as it is."""
    return at_state(customs, world, "released")


# ------------------------------------------------------------------ refusals


@pytest.mark.parametrize("name", [*ACTS, "replay"])
def test_no_such_delivery(customs: Customs, name: str) -> None:
    refused(act(customs.http, f"/deliveries/{NOBODY}/{name}", ACTS.get(name, {})), 404)
    assert act(customs.http, f"/deliveries/x/{name}", ACTS.get(name, {})).status_code in (404, 422)


@pytest.mark.parametrize(("name", "body", "field"), BAD)
def test_a_bad_field_is_named(
    customs: Customs, under_way: str, name: str, body: dict[str, Any], field: str
) -> None:
    before = customs.get(f"/deliveries/{under_way}")["version"]
    refused(act(customs.http, f"/deliveries/{under_way}/{name}", body), 422, field)
    assert customs.get(f"/deliveries/{under_way}")["version"] == before


@pytest.mark.parametrize("name", ACTS)
def test_an_unknown_field_is_named(customs: Customs, under_way: str, name: str) -> None:
    body = ACTS[name] | {"colour": "red"}
    refused(act(customs.http, f"/deliveries/{under_way}/{name}", body), 422, "colour")


@pytest.mark.parametrize("name", FIT)
def test_an_act_that_does_not_fit_the_state(
    customs: Customs, world: dict[str, Any], name: str
) -> None:
    for state in sorted(STATES):
        id_ = at_state(customs, world, state)
        answer = act(customs.http, f"/deliveries/{id_}/{name}", ACTS[name])
        if state in FIT[name]:
            assert answer.is_success, (state, answer.text)
        else:
            why = refused(answer, 409)
            assert why["detail"], state
            assert customs.get(f"/deliveries/{id_}")["status"] == state


def test_settings_are_refused_with_the_field(customs: Customs, world: dict[str, Any]) -> None:
    good = {"scope": "national", "from": ago(), "values": {"stop_s": 900}, "reason": "as published"}
    for change, field in (
        ({"scope": "planet"}, "scope"),
        ({"from": "noon"}, "from"),
        ({"values": {"no_such": 1}}, "no_such"),
        ({"values": {"stop_s": -1}}, "stop_s"),
        ({"values": {}}, "values"),
        ({"scope": "delivery", "key": NOBODY}, "key"),
    ):
        refused(act(customs.http, "/settings/limits", good | change), 422, field)
    for role in ("monitor", "officer", "carrier", "analyst", "auditor", "integration"):
        refused(act(world[f"c_{role}"], "/settings/limits", good), 403)


# ------------------------------------------------------------------ who


MAY = {
    "incidents": {"carrier", "monitor", "officer", "integration", "admin"},
    "arrival-notice": {"carrier", "monitor", "officer", "integration", "admin"},
    "controls": {"officer", "admin"},
    "scans": {"officer", "integration", "admin"},
    "enquiry": {"officer", "monitor", "admin"},
    "close": {"officer", "admin"},
    "cancel": {"officer", "integration", "admin"},
    "reseal": {"officer", "admin"},
    "transshipment": {"officer", "admin"},
    "reroute": {"officer", "monitor", "admin"},
    "replay": {"monitor", "analyst", "auditor", "admin"},
}
ALL = ("monitor", "officer", "carrier", "analyst", "auditor", "integration", "admin")


@pytest.mark.parametrize("name", MAY)
def test_who_may(customs: Customs, world: dict[str, Any], under_way: str, name: str) -> None:
    """With a body that is refused in any case where the act itself would change something."""
    body = {} if name == "replay" else ACTS[name] | {"at": ago(days=90)}
    if name == "reroute":
        body = ACTS[name] | {"from": ago(days=90)}
    for role in ALL:
        answer = act(world[f"c_{role}"], f"/deliveries/{under_way}/{name}", body)
        if role in MAY[name]:
            assert answer.status_code in ((200,) if name == "replay" else (409, 422)), (
                role,
                answer.text,
            )
        else:
            assert answer.status_code == 403, (role, answer.text)
    # Another's carrier does not learn that there is one.
    rival = act(world["c_rival"], f"/deliveries/{under_way}/{name}", body)
    assert rival.status_code in ((403, 404) if name == "replay" else (404,)), rival.text
    nobody = httpx.post(f"{customs.stack.http}/api/v1/deliveries/{under_way}/{name}", json=body)
    refused(nobody, 401)


@pytest.mark.parametrize("part", ["track", "anomalies", "risk", "timeline", "map", "evidence"])
def test_who_may_read(customs: Customs, world: dict[str, Any], under_way: str, part: str) -> None:
    path = f"/api/v1/deliveries/{under_way}/{part}"
    refused(customs.http.get(f"/api/v1/deliveries/{NOBODY}/{part}"), 404)
    refused(world["c_rival"].get(path), 404)
    refused(httpx.get(f"{customs.stack.http}{path}"), 401)
    for role in ("auditor", "admin", "carrier"):
        assert world[f"c_{role}"].get(path).status_code == 200, role


# ------------------------------------------------------------------ once for each key


ONCE = {
    "incidents": "released",
    "arrival-notice": "released",
    "controls": "arrived",
    "scans": "arrived",
    "cancel": "declared",
    "reseal": "released",
    "transshipment": "released",
    "reroute": "released",
}


@pytest.mark.parametrize("name", ONCE)
def test_once_for_a_key(customs: Customs, world: dict[str, Any], name: str) -> None:
    id_ = at_state(customs, world, ONCE[name])
    path, key = f"/deliveries/{id_}/{name}", {"Idempotency-Key": customs.code(f"k-{name}")}
    acts = len(customs.get(f"/deliveries/{id_}")["acts"])
    first = act(customs.http, path, ACTS[name], headers=key)
    again = act(customs.http, path, ACTS[name], headers=key)
    assert first.is_success, first.text
    assert (again.status_code, again.json()) == (first.status_code, first.json())
    assert len(customs.get(f"/deliveries/{id_}")["acts"]) == acts + 1
    other = act(customs.http, path, ACTS[name] | {"at": ago()}, headers=key)
    assert other.status_code in (409, 422)
    stale = act(customs.http, path, ACTS[name], headers={"If-Match": '"999"'})
    refused(stale, 412)
    made = {"incidents", "controls", "scans"}
    assert first.status_code == (201 if name in made else 200)
    customs.settle(id_)
