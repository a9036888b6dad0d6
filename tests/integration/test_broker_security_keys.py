"""Rotation of keys, logins at the broker and edits of devices, by HTTP on a real database."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.integration.api_world import bare  # noqa: F401 - fixture
from tests.support.api import ApiWorld, bad_fields, problem_of
from tracker.broker.passwords import matches


def test_a_registration_shows_the_password_once(bare: ApiWorld, database: str) -> None:  # noqa: F811
    headers = {"Idempotency-Key": "k"}
    body = {"id": "d", "kind": "gps"}
    first = bare.post("/devices", body, headers=headers)
    assert (first.status_code, first.headers["location"]) == (201, "/api/v1/devices/d")
    login = first.json()["mqtt"]
    assert login["username"] == "d"
    again = bare.post("/devices", body, headers=headers)
    assert again.json()["mqtt"] == {"username": "d", "password": None}
    assert "mqtt" not in bare.get("/devices/d")
    with psycopg.connect(database) as conn:
        row = conn.execute("SELECT password_hash FROM broker_logins").fetchone()
        kept = conn.execute("SELECT body::text FROM idempotency_keys").fetchall()
    assert row is not None
    assert matches(login["password"], row[0])
    assert not matches(login["password"] + "x", row[0])
    assert login["password"] not in json.dumps(kept)


def test_a_device_with_a_certificate_needs_no_password(bare: ApiWorld) -> None:  # noqa: F811
    made = bare.made("/devices", {"id": "d", "kind": "gps", "broker_login": False})
    assert made["mqtt"] is None
    problem_of(bare.call("DELETE", "/devices/d/broker-login"), 404)
    first = bare.made("/devices/d/broker-login", {})
    second = bare.made("/devices/d/broker-login", {})
    assert first["username"] == second["username"] == "d"
    assert first["password"] != second["password"]
    assert bare.call("DELETE", "/devices/d/broker-login").status_code == 204


def test_keys_are_rotated(bare: ApiWorld) -> None:  # noqa: F811
    bare.made("/devices", {"id": "s", "kind": "seal"})
    begun = datetime.now(UTC)
    made = bare.made("/devices/s/keys", {})
    assert made["kid"] == "2"
    until = datetime.fromisoformat(made["old_keys_until"])
    assert (
        timedelta(days=30) <= until - begun + timedelta(seconds=1) < timedelta(days=30, minutes=1)
    )

    keys = bare.get("/devices/s/keys")["items"]
    assert [(k["kid"], k["expires_at"], k["valid"]) for k in keys] == [
        ("1", made["old_keys_until"], True),
        ("2", None, True),
    ]
    assert "secret" not in json.dumps(keys)

    third = bare.made("/devices/s/keys", {})
    keys = {k["kid"]: k["expires_at"] for k in bare.get("/devices/s/keys")["items"]}
    # What was to expire earlier stays so.
    assert keys == {"1": made["old_keys_until"], "2": third["old_keys_until"], "3": None}


def test_an_ended_key_stays_listed_and_its_number_is_not_given_again(
    bare: ApiWorld,  # noqa: F811
    database: str,
) -> None:
    bare.made("/devices", {"id": "s", "kind": "seal"})
    bare.made("/devices/s/keys", {})
    for _ in range(2):
        assert bare.call("DELETE", "/devices/s/keys/2").status_code == 204
    keys = {k["kid"]: k["valid"] for k in bare.get("/devices/s/keys")["items"]}
    assert keys == {"1": True, "2": False}
    assert bare.made("/devices/s/keys", {})["kid"] == "3"
    with psycopg.connect(database) as conn:
        kept = conn.execute("SELECT count(*) FROM device_keys WHERE secret IS NOT NULL").fetchone()
    assert kept == (3,)


def test_a_repeated_rotation_makes_one_key(bare: ApiWorld) -> None:  # noqa: F811
    bare.made("/devices", {"id": "s", "kind": "seal"})
    headers = {"Idempotency-Key": "once"}
    first = bare.call("POST", "/devices/s/keys", headers=headers)
    again = bare.call("POST", "/devices/s/keys", headers=headers)
    assert first.status_code == again.status_code == 201
    assert first.json() == again.json()
    assert len(bare.get("/devices/s/keys")["items"]) == 2


def test_what_does_not_exist_is_not_found(bare: ApiWorld) -> None:  # noqa: F811
    bare.made("/devices", {"id": "s", "kind": "seal"})
    problem_of(bare.call("DELETE", "/devices/s/keys/9"), 404)
    for method, path in (
        ("GET", "/devices/none/keys"),
        ("POST", "/devices/none/keys"),
        ("DELETE", "/devices/none/keys/1"),
        ("POST", "/devices/none/broker-login"),
        ("DELETE", "/devices/none/broker-login"),
    ):
        problem_of(bare.call(method, path), 404)
    problem_of(bare.call("PATCH", "/devices/none", json={}), 404)


def test_a_device_is_edited_by_who_has_read_it(bare: ApiWorld) -> None:  # noqa: F811
    bare.made("/devices", {"id": "d", "kind": "gps"})
    tag = bare.call("GET", "/devices/d").headers["etag"]
    changed = bare.call(
        "PATCH", "/devices/d", json={"hmac_required": True}, headers={"If-Match": tag}
    )
    assert changed.status_code == 200
    assert (changed.json()["hmac_required"], changed.json()["version"]) == (True, 2)
    assert changed.headers["etag"] == bare.call("GET", "/devices/d").headers["etag"] == '"2"'
    lost = bare.call(
        "PATCH", "/devices/d", json={"hmac_required": False}, headers={"If-Match": tag}
    )
    problem_of(lost, 412)
    assert bare.get("/devices/d")["hmac_required"] is True
    periods = bare.call("PATCH", "/devices/d", json={"periods": {"moving_s": 30}})
    assert periods.json()["periods"] == {"moving_s": 30, "parked_s": 600}
    assert bad_fields(bare.call("PATCH", "/devices/d", json={"kind": "seal"}))
    assert bad_fields(bare.call("PATCH", "/devices/d", json={"periods": {"moving_s": 0}}))


@pytest.mark.parametrize("role", ["monitor", "officer", "analyst", "auditor"])
def test_only_who_manages_devices_may(bare: ApiWorld, role: str) -> None:  # noqa: F811
    bare.made("/devices", {"id": "d", "kind": "gps"})
    bare.user("who", role)
    for method, path in (
        ("POST", "/devices/d/keys"),
        ("DELETE", "/devices/d/keys/1"),
        ("POST", "/devices/d/broker-login"),
        ("DELETE", "/devices/d/broker-login"),
    ):
        problem_of(bare.call(method, path, who="who"), 403)
    problem_of(bare.call("PATCH", "/devices/d", who="who", json={"hmac_required": False}), 403)
