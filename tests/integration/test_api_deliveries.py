"""Registering, releasing, following and confirming deliveries over HTTP."""

from __future__ import annotations

import psycopg
import pytest

from tests.integration.api_world import bare, world  # noqa: F401 - fixtures
from tests.support.api import ApiWorld, after, bad_fields, problem_of


def test_a_delivery_lives_from_declaration_to_arrival(world: ApiWorld) -> None:  # noqa: F811
    officer = world.user("officer", "officer", posts=["P1", "P2"])
    seal, gps = world.device("seal"), world.device("gps")
    made = world.delivery(devices=[seal, gps])
    path = f"/deliveries/{made['id']}"
    assert made["status"] == "declared"
    assert made["settled"] is True
    assert made["warnings"] == []
    assert [(b["device_id"], b["from"]) for b in made["bindings"]] == [(seal, None), (gps, None)]

    crossing = {"post": "P1", "at": after(hours=-3), "plate": "123abc02", "documents": ["CMR 1"]}
    crossed = world.post(f"{path}/border-crossing", crossing)
    assert crossed.status_code == 200, crossed.text
    assert crossed.json()["warnings"] == []

    released = world.post(f"{path}/release", {"at": after(hours=-2)}, who=officer)
    assert released.status_code == 200, released.text
    assert released.json()["status"] == "released"
    assert released.json()["warnings"] == []
    assert released.json()["settled"] is False
    assert {b["from"] for b in released.json()["bindings"]} == {after(hours=-2)}

    seals = [{"device_id": seal, "state": "intact"}]
    arrived = world.post(f"{path}/arrival", {"seals": seals, "at": after(hours=-1)}, who=officer)
    assert arrived.status_code == 200, arrived.text
    body = arrived.json()
    assert body["status"] == "arrived"
    assert body["corridor"] in {"green", "blue", "yellow", "red"}
    assert body["officer"] == officer
    assert {c["code"] for c in body["contradictions"]} == {"no_position", "not_settled"}
    assert {b["to"] for b in body["bindings"]} == {after(hours=-1)}
    assert [act["kind"] for act in body["acts"]] == ["border_crossing", "release", "arrival"]
    world.delivery(devices=[seal, gps])  # they are free again


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"departure_post": "NOWHERE"}, "body.departure_post", "NOWHERE"),
        ({"destination_post": "NOWHERE"}, "body.destination_post", "create it"),
        ({"destination_post": "P1"}, "body.destination_post", "another"),
        ({"carrier_id": "6f0b7c52-6a53-4a3e-9a41-0a4f8f6f7d11"}, "body.carrier_id", "register"),
        ({"route_code": "R9"}, "body.route_code", "R9"),
        ({"devices": ["SEAL-9"]}, "body.devices.0", "SEAL-9"),
        ({"deadline": after(days=-31)}, "body.deadline", "TRACKER_BACKDATING_DAYS"),
        ({"deadline": "2026-03-01T08:00:00"}, "body.deadline", "timezone"),
        ({"deadline": 1763719200}, "body.deadline", "RFC 3339"),
        (
            {"scheduled_departure": after(days=3), "deadline": after(days=2)},
            "body.deadline",
            "scheduled_departure",
        ),
        ({"goods": []}, "body.goods", "at least 1"),
        ({"registration_number": "a\x00b"}, "body.registration_number", "NUL"),
        ({"registration_number": "x" * 101}, "body.registration_number", "100"),
        ({"colour": "red"}, "body.colour", "not a field"),
    ],
)
def test_what_cannot_be_registered_names_field_and_remedy(
    world: ApiWorld,  # noqa: F811
    change: dict[str, object],
    field: str,
    words: str,
) -> None:
    errors = bad_fields(world.post("/deliveries", world.delivery_body(**change)))
    assert field in errors
    assert words in errors[field]
    assert world.get("/deliveries")["items"] == []


def _line(*points: list[float]) -> dict[str, object]:
    return {"geometry": {"type": "LineString", "coordinates": list(points)}, "corridor_m": 1000}


@pytest.mark.parametrize(
    "points",
    [[], [[76.9, 43.25]], [[76.9, 43.25], [76.9, 43.25]]],
    ids=["none", "one", "no length"],
)
def test_a_route_without_a_course_is_refused(
    world: ApiWorld,  # noqa: F811
    points: list[list[float]],
) -> None:
    body = world.delivery_body(route_code=None, route=_line(*points))
    errors = bad_fields(world.post("/deliveries", body))
    assert "2 different points" in errors["body.route.geometry.coordinates"]


def test_exactly_one_route_is_given(world: ApiWorld) -> None:  # noqa: F811
    both = world.delivery_body(route=_line([76.9, 43.25], [77.9, 43.25]))
    neither = world.delivery_body(route_code=None)
    for body in (both, neither):
        assert "exactly one" in bad_fields(world.post("/deliveries", body))["body.route"]


def test_a_route_may_be_declared_within_the_delivery(world: ApiWorld) -> None:  # noqa: F811
    line = _line([76.9, 43.25], [77.9, 43.25])
    made = world.delivery(route_code=None, route=line)
    assert made["route_code"] is None
    shown = world.get(f"/deliveries/{made['id']}/route", corridor=True)
    assert shown["geometry"] == line["geometry"] | {"coordinates": [[76.9, 43.25], [77.9, 43.25]]}  # type: ignore[operator]
    assert shown["corridor"]["type"] == "Polygon"
    assert [r["code"] for r in world.get("/routes")["items"]] == ["R1"]


def test_a_device_on_an_unfinished_delivery_is_refused(world: ApiWorld) -> None:  # noqa: F811
    seal = world.device("seal")
    first = world.delivery(devices=[seal])
    answer = world.post("/deliveries", world.delivery_body(devices=[seal]))
    message = bad_fields(answer, 409)["body.devices"]
    assert seal in message
    assert first["registration_number"] in message


def test_a_registration_number_is_taken_once(world: ApiWorld) -> None:  # noqa: F811
    made = world.delivery()
    answer = world.post(
        "/deliveries", world.delivery_body(registration_number=made["registration_number"])
    )
    assert "body.registration_number" in bad_fields(answer, 409)


def test_a_journey_may_be_registered_after_it_began(world: ApiWorld) -> None:  # noqa: F811
    made = world.delivery(scheduled_departure=after(days=-10))
    assert [w["loc"] for w in made["warnings"]] == [["body", "devices"]]
    released = world.post(f"/deliveries/{made['id']}/release", {"at": after(days=-10)})
    assert released.status_code == 200
    assert released.json()["released_at"] == after(days=-10)
    old = world.delivery(scheduled_departure=after(days=-31))
    assert "TRACKER_BACKDATING_DAYS" in old["warnings"][0]["msg"]
    assert old["warnings"][0]["loc"] == ["body", "scheduled_departure"]
    over = world.delivery(scheduled_departure=after(days=-3), deadline=after(days=-2))
    assert [w["loc"] for w in over["warnings"]] == [["body", "deadline"], ["body", "devices"]]


def test_oddities_are_warnings(world: ApiWorld) -> None:  # noqa: F811
    made = world.delivery(departure_post="P3")
    assert {"departure_post", "devices"} == {w["loc"][1] for w in made["warnings"]}
    path = f"/deliveries/{made['id']}"
    crossed = world.post(
        f"{path}/border-crossing", {"post": "P3", "at": after(hours=-1), "plate": "999 ZZZ 01"}
    )
    assert [w["loc"] for w in crossed.json()["warnings"]] == [["body", "plate"]]
    other = world.delivery()
    released = world.post(f"/deliveries/{other['id']}/release", None)
    assert [w["loc"] for w in released.json()["warnings"]] == [["border-crossing"]]


def test_steps_out_of_order_are_refused_with_a_reason(world: ApiWorld) -> None:  # noqa: F811
    path = f"/deliveries/{world.delivery()['id']}"
    early = world.post(f"{path}/arrival", {"seals": []})
    assert "declared" in problem_of(early, 409)["detail"]
    assert world.post(f"{path}/release", {}).status_code == 200
    again = world.post(f"{path}/release", {})
    assert "already" in problem_of(again, 409)["detail"]
    assert world.post(f"{path}/arrival", {"seals": []}).status_code == 200
    twice = world.post(f"{path}/arrival", {"seals": []})
    assert "already" in problem_of(twice, 409)["detail"]
    late = world.post(f"{path}/border-crossing", {"post": "P1", "at": after(hours=-1)})
    assert "arrived" in problem_of(late, 409)["detail"]


@pytest.mark.parametrize(
    ("at", "words"),
    [(after(hours=5), "future"), (after(days=-31), "TRACKER_BACKDATING_DAYS")],
)
def test_an_act_at_an_impossible_time_is_refused(
    world: ApiWorld,  # noqa: F811
    at: str,
    words: str,
) -> None:
    path = f"/deliveries/{world.delivery()['id']}"
    assert words in bad_fields(world.post(f"{path}/release", {"at": at}))["body.at"]
    crossing = {"post": "P1", "at": at}
    assert words in bad_fields(world.post(f"{path}/border-crossing", crossing))["body.at"]


def test_an_arrival_follows_its_release(world: ApiWorld) -> None:  # noqa: F811
    path = f"/deliveries/{world.delivery()['id']}"
    world.post(f"{path}/release", {"at": after(hours=-1)})
    answer = world.post(f"{path}/arrival", {"seals": [], "at": after(hours=-2)})
    assert "release" in bad_fields(answer)["body.at"]


def test_a_device_cannot_be_on_two_deliveries_at_a_time(world: ApiWorld) -> None:  # noqa: F811
    seal = world.device("seal")
    first = world.delivery(devices=[seal])
    world.post(f"/deliveries/{first['id']}/release", {"at": after(hours=-5)})
    world.post(f"/deliveries/{first['id']}/arrival", {"seals": [], "at": after(hours=-1)})
    second = world.delivery(devices=[seal])
    answer = world.post(f"/deliveries/{second['id']}/release", {"at": after(hours=-2)})
    assert seal in bad_fields(answer, 409)["body.at"]
    assert world.post(f"/deliveries/{second['id']}/release", {"at": after(hours=-1)}).is_success


def test_a_lost_update_is_refused(world: ApiWorld) -> None:  # noqa: F811
    path = f"/deliveries/{world.delivery()['id']}"
    seen = world.call("GET", path).headers["etag"]
    crossing = {"post": "P1", "at": after(hours=-1)}
    first = world.post(f"{path}/border-crossing", crossing, headers={"If-Match": seen})
    assert first.status_code == 200
    lost = world.post(f"{path}/release", {}, headers={"If-Match": seen})
    assert first.headers["etag"] in problem_of(lost, 412)["detail"]
    fresh = {"If-Match": first.headers["etag"]}
    assert world.post(f"{path}/release", {}, headers=fresh).status_code == 200


def test_an_act_with_a_key_is_taken_once(world: ApiWorld) -> None:  # noqa: F811
    path = f"/deliveries/{world.delivery()['id']}"
    for n, (act, body) in enumerate(
        [
            ("border-crossing", {"post": "P1", "at": after(hours=-1)}),
            ("release", {}),
            ("arrival", {}),
        ]
    ):
        key = {"Idempotency-Key": f"act-{n}"}
        first = world.post(f"{path}/{act}", body, headers=key)
        again = world.post(f"{path}/{act}", body, headers=key)
        assert (first.status_code, again.status_code) == (200, 200), again.text
        assert again.json() == first.json()
        assert again.headers["etag"] == first.headers["etag"]
    assert len(world.get(path)["acts"]) == 3


def test_an_arrival_names_every_contradiction(world: ApiWorld, database: str) -> None:  # noqa: F811
    seal, second, gps = world.device("seal"), world.device("seal"), world.device("gps")
    made = world.delivery(devices=[seal, second, gps], scheduled_departure=after(hours=-3))
    path = f"/deliveries/{made['id']}"
    world.post(f"{path}/release", {"at": after(hours=-2)})
    with psycopg.connect(database) as conn:
        conn.execute("DELETE FROM dirty")
        conn.execute("UPDATE deliveries SET deadline = now() - interval '10 minutes'")
        conn.execute(
            "INSERT INTO device_positions (device_no, delivery_id, t, geom)"
            " SELECT device_no, %s, now(), ST_SetSRID(ST_MakePoint(77.0, 43.25), 4326)"
            " FROM devices WHERE id = %s",
            (made["id"], gps),
        )
        conn.execute(
            "INSERT INTO anomalies (delivery_id, device_id, code, severity, basis, status,"
            " provisional, start_at, evidence, settings_version)"
            " VALUES (%s, %s, 'seal_cut', 'critical', 'data', 'open', false, now(), '{}', '1')",
            (made["id"], seal),
        )
    seals = [{"device_id": seal, "state": "intact"}, {"device_id": "OTHER", "state": "cut"}]
    answer = world.post(f"{path}/arrival", {"seals": seals})
    body = answer.json()
    codes = [c["code"] for c in body["contradictions"]]
    assert codes == [
        "seal_state",
        "seal_unknown",
        "seal_not_listed",
        "position_far",
        "deadline_passed",
    ]
    assert body["corridor"] == "red"  # a seal is reported cut
    assert body["officer"] is None
    assert ["officer"] in [w["loc"] for w in body["warnings"]]
    assert body["last_position"]["device_id"] == gps


def test_the_least_loaded_officer_gets_the_control(world: ApiWorld) -> None:  # noqa: F811
    world.user("anna", "officer", posts=["P2"])
    world.user("berik", "officer", posts=["P2", "P1"])
    world.user("elsewhere", "officer", posts=["P1"])
    chosen = []
    for _ in range(4):
        path = f"/deliveries/{world.delivery()['id']}"
        world.post(f"{path}/release", {})
        chosen.append(world.post(f"{path}/arrival", {"seals": []}).json()["officer"])
    assert chosen == ["anna", "berik", "anna", "berik"]


def test_the_list_filters_sorts_and_pages(world: ApiWorld, database: str) -> None:  # noqa: F811
    made = [world.delivery() for _ in range(5)]
    world.post(f"/deliveries/{made[0]['id']}/release", {})
    world.post(f"/deliveries/{made[1]['id']}/release", {})
    with psycopg.connect(database) as conn:
        conn.execute(
            "UPDATE delivery_state SET probability = 0.5, expected_loss_kzt = 1000, level = 'high'"
            " WHERE delivery_id = %s",
            (made[1]["id"],),
        )
    ids = [d["id"] for d in made]

    def listed(**params: object) -> list[str]:
        return [d["id"] for d in world.get("/deliveries", **params)["items"]]

    assert listed() == ids[::-1]
    assert set(listed(status="released")) == set(ids[:2])
    assert listed(order="rank")[0] == ids[1]
    assert listed(level="high") == [ids[1]]
    assert listed(registration_number=made[3]["registration_number"]) == [ids[3]]
    assert listed(q=made[3]["registration_number"][-4:]) == [ids[3]]
    assert listed(q="%") == []
    with psycopg.connect(database) as conn:
        conn.execute(
            "UPDATE deliveries SET vehicle = jsonb_set(vehicle, '{plate}', '\"118 DMO-02\"')"
            " WHERE id = %s",
            (made[2]["id"],),
        )
    for plate in ("118DMO02", "118 dmo 02", "118ДМО02", "дмо-02", "8 D"):
        assert listed(q=plate) == [ids[2]], plate
    assert listed(q="118_MO02") == []
    assert listed(post="P3") == []
    for order in ("declared_at", "rank"):
        paged, cursor = [], None
        while True:
            more = {"cursor": cursor} if cursor else {}
            page = world.get("/deliveries", limit=2, order=order, **more)
            paged += [d["id"] for d in page["items"]]
            cursor = page["next"]
            if cursor is None:
                break
        assert paged == listed(order=order)


def test_creating_twice_with_one_key_creates_once(world: ApiWorld) -> None:  # noqa: F811
    body, key = world.delivery_body(), {"Idempotency-Key": "once"}
    first = world.post("/deliveries", body, headers=key)
    second = world.post("/deliveries", body, headers=key)
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert second.headers["idempotency-replayed"] == "true"
    assert len(world.get("/deliveries")["items"]) == 1
    other = world.post("/deliveries", world.delivery_body(), headers=key)
    assert "header.Idempotency-Key" in bad_fields(other)


def test_acts_and_creations_are_announced_and_judged(world: ApiWorld, database: str) -> None:  # noqa: F811
    made = world.delivery()
    world.post(f"/deliveries/{made['id']}/release", {})
    with psycopg.connect(database) as conn:
        events = conn.execute("SELECT kind, payload FROM outbox ORDER BY id").fetchall()
        dirty = conn.execute("SELECT delivery_id::text FROM dirty").fetchall()
    assert [(kind, p["status"]) for kind, p in events] == [
        ("delivery", "declared"),
        ("delivery", "released"),
    ]
    assert events[0][1]["registration_number"] == made["registration_number"]
    assert (made["id"],) in dirty


def test_cards_that_may_open_the_seals_are_named_at_the_release(world: ApiWorld) -> None:  # noqa: F811
    made = world.delivery(devices=[world.device("seal")])
    path = f"/deliveries/{made['id']}"
    refused = world.post(f"{path}/release", {"at": after(hours=-2), "cards": []})
    assert "body.cards" in bad_fields(refused)
    released = world.post(f"{path}/release", {"at": after(hours=-2), "cards": ["c1", "c2"]})
    assert released.status_code == 200, released.text
    (release,) = released.json()["acts"]
    assert release["data"]["cards"] == ["c1", "c2"]
    resealed = world.post(f"{path}/reseal", {"at": after(hours=-1), "cards": ["c3"]})
    assert resealed.status_code == 200, resealed.text

    carrier = world.user("driver", "carrier", participant_id=world.carrier)
    acts = world.get(path, who=carrier)["acts"]
    assert [act["kind"] for act in acts] == ["release", "reseal"]
    assert not any("cards" in act["data"] for act in acts)
