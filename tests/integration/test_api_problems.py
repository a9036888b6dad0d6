"""Every error is a problem; nothing that is sent makes a fault."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.api_world import bare, world  # noqa: F401 - fixtures
from tests.support.api import ApiWorld, bad_fields, problem_of

JSON = {"Content-Type": "application/json"}


def test_unknown_addresses_and_methods_are_problems(bare: ApiWorld) -> None:  # noqa: F811
    problem_of(bare.http.get("/api/v1/nothing"), 404)
    problem_of(bare.call("DELETE", "/posts"), 405)
    problem_of(bare.call("GET", "/deliveries/not-a-uuid"), 404)
    problem_of(bare.call("GET", "/posts/%00"), 422)
    problem_of(bare.call("GET", "/deliveries?q=%00"), 422)
    problem_of(
        bare.call("GET", "/posts/\ud800".encode("utf-8", "surrogatepass").decode("latin-1")), 404
    )


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe", b"NaN", b"[" * 5000, b"1" * 5000],
)
def test_a_body_that_is_no_object_is_refused(bare: ApiWorld, content: bytes) -> None:  # noqa: F811
    answer = bare.call("POST", "/devices", content=content, headers=JSON)
    assert answer.status_code in (400, 422)
    problem_of(answer, answer.status_code)


def test_a_huge_body_is_refused(bare: ApiWorld) -> None:  # noqa: F811
    content = b'{"id":"' + b"x" * (9 * 1024 * 1024) + b'"}'
    answer = bare.call("POST", "/devices", content=content, headers=JSON)
    assert "8388608" in problem_of(answer, 413)["detail"]


def test_a_huge_body_of_unknown_length_is_refused_while_it_comes(bare: ApiWorld) -> None:  # noqa: F811
    pieces = (b" " * 1024 * 1024 for _ in range(9))
    answer = bare.call("POST", "/devices", content=pieces, headers=JSON)
    assert problem_of(answer, 413)["title"]


def test_many_bad_fields_are_told_in_part(bare: ApiWorld) -> None:  # noqa: F811
    body = {"id": "D", "kind": "gps"} | {f"x{n}": n for n in range(500)}
    assert len(bad_fields(bare.post("/devices", body))) == 50


def test_a_fault_tells_only_an_id(bare: ApiWorld, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    def broken(*_args: object, **_more: object) -> None:
        raise RuntimeError("the secret inside")

    monkeypatch.setattr("tracker.api.zones.places.list_zones", broken)
    headers = {"Authorization": f"Bearer {bare.token()}"}
    answer = bare.http.get("/api/v1/zones", headers=headers)
    body = problem_of(answer, 500)
    assert "secret" not in answer.text
    assert body["id"] in body["detail"]


def test_the_description_is_complete_and_has_examples(bare: ApiWorld) -> None:  # noqa: F811
    described = bare.http.get("/api/openapi.json").json()
    for path, item in described["paths"].items():
        for method, call in item.items():
            assert call.get("description") or call.get("summary"), f"{method} {path}"
            for content in call.get("requestBody", {}).get("content", {}).values():
                name = content["schema"].get("$ref", "").rsplit("/", 1)[-1]
                if name.endswith("In"):
                    assert described["components"]["schemas"][name].get("examples"), name
    assert "http" not in json.dumps(described["paths"]).replace("http.md", "")


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["\x00", "\ud800", "P1", "R1", 10**400, -1, "2026-03-01T08:00:00Z"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
FIELDS = [
    "registration_number",
    "direction",
    "carrier_id",
    "departure_post",
    "route_code",
    "route",
    "deadline",
    "goods",
    "vehicle",
    "devices",
    "scheduled_departure",
]


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(field=st.sampled_from(FIELDS), value=VALUES)
def test_no_value_of_a_delivery_makes_a_fault(
    world: ApiWorld,  # noqa: F811
    field: str,
    value: object,
) -> None:
    text = json.dumps(world.delivery_body(**{field: value}))
    answer = world.call("POST", "/deliveries", content=text, headers=JSON)
    assert answer.status_code in (201, 400, 409, 422)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    geometry=st.fixed_dictionaries(
        {
            "type": st.sampled_from(["Polygon", "MultiPolygon"]),
            "coordinates": st.lists(
                st.lists(
                    st.lists(st.floats(-200, 200), min_size=1, max_size=3), min_size=3, max_size=6
                ),
                max_size=2,
            )
            | VALUES,
        }
    )
)
def test_no_outline_makes_a_fault(bare: ApiWorld, geometry: dict[str, object]) -> None:  # noqa: F811
    name = {"ru": "a", "kk": "b", "en": "c"}
    body = {"code": f"Z{bare.number()}", "name": name, "kind": "rest", "geometry": geometry}
    answer = bare.call("POST", "/zones", content=json.dumps(body), headers=JSON)
    assert answer.status_code in (201, 400, 422)
