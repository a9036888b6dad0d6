"""Dated settings of thresholds over HTTP, and what they do to deliveries."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace

from tests.integration.api_world import bare, world  # noqa: F401 - fixtures
from tests.support.api import ApiWorld, after, bad_fields, problem_of
from tests.support.seed import World, record
from tracker.detectors.limits import Limits, version_of
from tracker.model import to_ms


def setting(**more: Any) -> dict[str, Any]:
    return {
        "scope": "national",
        "from": after(hours=-1),
        "values": {"stop_s": 1800},
        "reason": "road works",
    } | more


def test_settings_are_kept_and_listed(world: ApiWorld) -> None:  # noqa: F811
    made = world.made("/settings/limits", setting())
    assert (made["scope"], made["key"], made["values"]) == ("national", None, {"stop_s": 1800.0})
    assert (made["created_by"], made["reason"]) == ("admin", "road works")
    lane = world.made("/settings/limits", setting(scope="lane", key="P1>P2"))
    later = {"from": after(days=1), "values": {"deviation_s": 60}}
    post = world.made("/settings/limits", setting(scope="post", key="P1") | later)
    listed = world.get("/settings/limits")["items"]
    assert [i["id"] for i in listed] == [post["id"], lane["id"], made["id"]]
    assert listed[-1] == {k: v for k, v in made.items() if k != "deliveries_judged_again"}
    ids = [i["id"] for i in world.get("/settings/limits", scope="post")["items"]]
    assert ids == [post["id"]]
    assert [i["id"] for i in world.get("/settings/limits", name="deviation_s")["items"]] == ids
    assert len(world.get("/settings/limits", at=after(hours=0))["items"]) == 2
    page = world.get("/settings/limits", limit=2)
    rest = world.get("/settings/limits", limit=2, cursor=page["next"])
    assert [i["id"] for i in rest["items"]] == [made["id"]]


@pytest.mark.parametrize(
    ("more", "field", "words"),
    [
        ({"values": {"stop": 1}}, "body.values.stop", "stop_s"),
        ({"values": {"stop_radius_m": 60_000}}, "body.values.stop_radius_m", "50000 m"),
        ({"values": {"identity_quiet_s": -1}}, "body.values.identity_quiet_s", "from 0 to"),
        ({"values": {"two_places_switches": 0}}, "body.values.two_places_switches", "from 1 to"),
        ({"values": {"two_places_switches": 2.5}}, "body.values.two_places_switches", "whole"),
        ({"values": {}}, "body.values", "at least one"),
        ({"scope": "post"}, "body.key", "missing"),
        ({"scope": "post", "key": "P9"}, "body.key", "no post"),
        ({"scope": "lane", "key": "P1"}, "body.key", "FROM>TO"),
        ({"scope": "lane", "key": "P1>P9"}, "body.key", "no pair"),
        ({"scope": "delivery", "key": "x"}, "body.key", "no delivery"),
        ({"key": "P1"}, "body.key", "leave it out"),
        ({"scope": "galaxy"}, "body.scope", "national"),
        ({"from": after(days=-31)}, "body.from", "TRACKER_BACKDATING_DAYS"),
        ({"from": "yesterday"}, "body.from", ""),
        ({"reason": ""}, "body.reason", "1 character"),
    ],
)
def test_what_cannot_be_set_names_field_and_remedy(
    world: ApiWorld,  # noqa: F811
    more: dict[str, Any],
    field: str,
    words: str,
) -> None:
    fields = bad_fields(world.post("/settings/limits", setting(**more)))
    assert field in fields
    assert words in fields[field]


def test_only_an_administrator_sets_and_no_carrier_reads(world: ApiWorld) -> None:  # noqa: F811
    monitor = world.user("monitor", "monitor")
    carrier = world.user("driver", "carrier", participant_id=world.carrier)
    problem_of(world.post("/settings/limits", setting(), who=monitor), 403)
    assert world.get("/settings/limits", who=monitor)["items"] == []
    problem_of(world.call("GET", "/settings/limits", who=carrier), 403)


def test_the_names_say_what_may_be_set(world: ApiWorld) -> None:  # noqa: F811
    names = {i["name"]: i for i in world.get("/settings/limits/names")["items"]}
    assert set(names) == set(Limits.__struct_fields__)
    assert (names["stop_radius_m"]["default"], names["stop_radius_m"]["most"]) == (150, 50_000)
    assert names["stop_radius_m"]["codes"] == ["unauthorised_stop"]
    assert names["legal_speed_kmh"]["codes"] == ["arrival_mismatch", "silence"]


def test_the_narrowest_scope_is_in_force_for_a_delivery(world: ApiWorld) -> None:  # noqa: F811
    made = world.delivery()
    path = f"/deliveries/{made['id']}"
    plain = world.get(f"{path}/limits")
    assert plain["values"]["stop_s"] == 900
    assert plain["version"] == version_of(Limits())
    world.made("/settings/limits", setting(scope="delivery", key=made["id"], values={"stop_s": 60}))
    world.made("/settings/limits", setting(values={"stop_s": 1200, "deviation_s": 45}))
    world.made("/settings/limits", setting(scope="post", key="P3", values={"deviation_s": 99}))
    now = world.get(f"{path}/limits")
    assert (now["values"]["stop_s"], now["values"]["deviation_s"]) == (60, 45)
    assert [s["scope"] for s in now["settings"]] == ["delivery", "national"]
    before = world.get(f"{path}/limits", at=after(hours=-2))
    assert (before["values"]["stop_s"], before["settings"]) == (900, [])


def test_deliveries_concerned_are_judged_again_with_the_new_thresholds(database: str) -> None:
    api, seed = ApiWorld(database), World(database)
    try:
        now = datetime.now(UTC).replace(microsecond=0)
        start = now - timedelta(hours=3)
        gps = seed.device()
        stood = seed.delivery([gps], released=start, deadline=now + timedelta(days=9))
        gone = seed.delivery([], released=start, deadline=now + timedelta(days=9))
        seed.conn.execute(
            "UPDATE deliveries SET status = 'arrived', arrived_at = %s WHERE id = %s",
            (start + timedelta(seconds=30), gone.id),
        )
        for n in range(6):
            seen = record(n + 1, start + timedelta(minutes=4 * n), 76.5, 43.5, moving=False)
            seed.store([seed.message(gps, seen, received=now)])
        seed.judge(now=now)

        def stops() -> list[dict[str, Any]]:
            items = api.get(f"/deliveries/{stood.id}/anomalies", code="unauthorised_stop")["items"]
            return [i for i in items if i["status"] != "retracted"]

        (found,) = stops()
        version = api.get(f"/settings/limits/versions/{found['settings_version']}")
        assert version["values"]["stop_s"] == 900
        assert version["first_used_at"] is not None

        change = setting(values={"stop_s": 1300}) | {
            "from": (now - timedelta(hours=2, minutes=59)).isoformat()
        }
        made = api.made("/settings/limits", change)
        assert made["deliveries_judged_again"] == 1
        assert api.get(f"/deliveries/{stood.id}")["settled"] is False
        seed.judge(now=now)
        assert stops() == []

        shorter = api.made("/settings/limits", change | {"values": {"stop_s": 1200}})
        assert shorter["deliveries_judged_again"] == 1
        seed.judge(now=now)
        (again,) = stops()
        assert again["settings_version"] != found["settings_version"]
        used = api.get(f"/settings/limits/versions/{again['settings_version']}")
        assert [later["values"]["stop_s"] for later in used["later"]] == [1200]
    finally:
        api.close()
        seed.close()


def test_identity_has_thresholds_like_all_others(database: str) -> None:
    """Tries to speak in a device's name half an hour apart, and a device in two places."""
    api, seed = ApiWorld(database), World(database)
    try:
        now = datetime.now(UTC).replace(microsecond=0)
        start = now - timedelta(hours=3)
        gps = seed.device()
        made = seed.delivery([gps], released=start, deadline=now + timedelta(days=9))
        for n in range(6):  # there, back, there, back and there again: five switches
            seen = record(n + 1, start + timedelta(minutes=n), 76.0 + n % 2, 43.5)
            seed.store([seed.message(gps, seen, received=start + timedelta(minutes=n))])
        for minutes in (60, 90):
            forged = seed.message(gps, record(1, start, 60.0, 50.0))
            received_ms = to_ms(start + timedelta(minutes=minutes))
            seed.store([replace(forged, received_ms=received_ms)])

        def conflicts() -> list[tuple[str, str]]:
            seed.judge(now=now)
            items = api.get(f"/deliveries/{made.id}/anomalies", code="identity_conflict")["items"]
            found = [i for i in items if i["status"] != "retracted"]
            return sorted((i["evidence"]["case"], i["settings_version"]) for i in found)

        def set_for(scope: str, key: str, **values: Any) -> None:
            change = {"from": (start - timedelta(days=1)).isoformat(), "values": values}
            api.made("/settings/limits", setting(scope=scope, key=key) | change)

        published = version_of(Limits())
        by_default = [("refused", published), ("refused", published), ("two_places", published)]
        assert conflicts() == by_default
        set_for("delivery", str(made.id), identity_quiet_s=3600)
        cases = conflicts()
        assert [case for case, _ in cases] == ["refused", "two_places"]
        (named,) = {version for case, version in cases if case == "refused"}
        assert named != published
        used = api.get(f"/settings/limits/versions/{named}")
        assert [one["values"]["identity_quiet_s"] for one in used["later"]] == [3600]
        posts = api.get(f"/deliveries/{made.id}")
        set_for("post", posts["departure_post"], two_places_switches=6)
        assert [case for case, _ in conflicts()] == ["refused"]
        lane = f"{posts['departure_post']}>{posts['destination_post']}"
        set_for("lane", lane, two_places_switches=5, identity_quiet_s=1)
        assert [case for case, _ in conflicts()] == ["refused", "two_places"]
    finally:
        api.close()
        seed.close()


def test_a_version_that_nobody_used_is_not_found(world: ApiWorld) -> None:  # noqa: F811
    problem_of(world.call("GET", "/settings/limits/versions/limits-0"), 404)
    published = world.get(f"/settings/limits/versions/{version_of(Limits())}")
    assert (published["values"]["stop_s"], published["first_used_at"]) == (900, None)


def test_a_setting_is_entered_once_for_a_key(world: ApiWorld, database: str) -> None:  # noqa: F811
    key = {"Idempotency-Key": "k"}
    for _ in range(2):
        assert world.post("/settings/limits", setting(), headers=key).status_code == 201
    with psycopg.connect(database) as conn:
        assert conn.execute("SELECT count(*) FROM limit_settings").fetchone() == (1,)
