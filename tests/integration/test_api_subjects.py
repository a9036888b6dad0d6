"""Devices and participants over HTTP."""

from __future__ import annotations

import base64
import json
from typing import Any

import psycopg
import pytest

from tests.integration.api_world import bare, world  # noqa: F401 - fixtures
from tests.support.api import ApiWorld, bad_fields, problem_of


@pytest.mark.parametrize(
    ("kind", "periods", "hmac"),
    [
        ("seal", {"moving_s": 300, "parked_s": 1800}, True),
        ("gps", {"moving_s": 60, "parked_s": 600}, False),
    ],
)
def test_a_device_gets_the_defaults_of_its_kind_and_a_key(
    bare: ApiWorld,  # noqa: F811
    kind: str,
    periods: dict[str, int],
    hmac: bool,
) -> None:
    made = bare.made("/devices", {"id": "D-1_a", "kind": kind})
    assert made["periods"] == periods
    assert made["hmac_required"] is hmac
    assert made["key"]["kid"] == "1"
    assert len(base64.b64decode(made["key"]["secret_b64"])) == 32
    shown = bare.get("/devices/D-1_a")
    assert "key" not in shown
    assert (shown["last_record"], shown["gen"], shown["acked_upto"], shown["missing"]) == (
        None,
        None,
        0,
        [],
    )
    assert shown["trust"] == 1
    assert "key" not in bare.get("/devices")["items"][0]
    assert "body.id" in bad_fields(bare.post("/devices", {"id": "D-1_a", "kind": kind}), 409)


def test_a_device_may_have_its_own_settings(bare: ApiWorld) -> None:  # noqa: F811
    body = {"id": "D", "kind": "seal", "hmac_required": False, "periods": {"moving_s": 30}}
    made = bare.made("/devices", body)
    assert made["hmac_required"] is False
    assert made["periods"] == {"moving_s": 30, "parked_s": 1800}


@pytest.mark.parametrize(
    "body",
    [
        {"id": "with space", "kind": "gps"},
        {"id": "ключ", "kind": "gps"},
        {"id": "", "kind": "gps"},
        {"id": "x" * 65, "kind": "gps"},
        {"id": "D\n", "kind": "bell"},
        {"id": "D", "kind": "gps", "periods": {"moving_s": 0}},
        {"id": "D", "kind": "gps", "secret": "mine"},
    ],
)
def test_a_device_with_a_bad_field_is_refused(bare: ApiWorld, body: dict[str, Any]) -> None:  # noqa: F811
    assert bad_fields(bare.post("/devices", body))


def test_a_device_shows_what_was_received_from_it(world: ApiWorld, database: str) -> None:  # noqa: F811
    device = world.device("seal")
    world.delivery(devices=[device])
    record = {"v": 1, "gen": 1, "seq": 9, "ts": 1763719200123, "pwr": {"bat": 87}}
    with psycopg.connect(database) as conn:
        conn.execute(
            "INSERT INTO device_state (device_no, online, gen)"
            " SELECT device_no, true, 1 FROM devices WHERE id = %s",
            (device,),
        )
        conn.execute(
            "INSERT INTO telemetry (device_no, gen, seq, received_at, t_star, body)"
            " SELECT device_no, 1, 9, now(), now(), %s FROM devices WHERE id = %s",
            (json.dumps(record).encode(), device),
        )
        # 1 and 2 are gone from the device for good, 5 and 7 are still to come.
        conn.execute(
            "INSERT INTO device_received (device_no, gen, received, lo, last_received_at,"
            " newest_seq, newest_received_at, newest_t_star)"
            " SELECT device_no, 1, '{[3,5),[6,7),[8,10)}', 3, now(), 9, now(), now()"
            " FROM devices WHERE id = %s",
            (device,),
        )
        conn.execute(
            "INSERT INTO quarantine_counts (device_id, kept, over_limit) VALUES (%s, 4, 1)",
            (device,),
        )
    shown = world.get(f"/devices/{device}")
    assert shown["last_record"] | record == shown["last_record"]
    assert shown["last_record"]["t"].endswith("Z")
    assert shown["last_received_at"] == shown["health"]["last_received_at"] is not None
    (listed,) = world.get("/devices")["items"]
    assert listed["last_received_at"] == shown["last_received_at"]
    assert shown["gen"] == 1
    assert shown["acked_upto"] == 4
    assert shown["missing"] == [[5, 5], [7, 7]]
    assert shown["health"]["online"] is True
    assert shown["health"]["battery_pct"] == 87
    assert shown["health"]["quarantined"] == 5
    assert shown["trust"] == pytest.approx(25 / 30, abs=1e-3)
    assert shown["delivery"]["since"] is None


def _participant(**more: Any) -> dict[str, Any]:
    return {"name": "ТОО", "kind": "both", "tax_id": "100140999011", "country": "KZ"} | more


def test_a_participant_has_a_category_with_its_reasons(bare: ApiWorld) -> None:  # noqa: F811
    made = bare.made("/participants", _participant(facts={"tax_debt_kzt": 5}))
    assert made["category"]["level"] == "high"
    assert made["category"]["reasons"][0]["fact"] == "tax_debt_kzt"
    assert bare.get(f"/participants/{made['id']}")["category"] == made["category"]
    again = bare.made("/participants", _participant())
    assert made["id"] in next(w["msg"] for w in again["warnings"] if "tax_id" in w["loc"])
    listed = bare.get("/participants", tax_id="100140999011")["items"]
    assert {p["id"] for p in listed} == {made["id"], again["id"]}


def test_odd_tax_numbers_and_facts_are_warnings(bare: ApiWorld) -> None:  # noqa: F811
    made = bare.made("/participants", _participant(tax_id="100140999012", facts={"mood": "good"}))
    assert {tuple(w["loc"]) for w in made["warnings"]} == {("tax_id",), ("facts", "mood")}


def test_a_carrier_sees_itself_without_its_category(bare: ApiWorld) -> None:  # noqa: F811
    own, other = bare.participant("carrier"), bare.participant("carrier")
    who = bare.user("driver", "carrier", participant_id=own)
    items = bare.get("/participants", who=who)["items"]
    assert [p["id"] for p in items] == [own]
    assert items[0]["category"] is None
    assert items[0]["facts"] is None
    problem_of(bare.call("GET", f"/participants/{other}", who=who), 404)


@pytest.mark.parametrize(
    "change",
    [
        {"tax_id": ""},
        {"country": "Kazakhstan"},
        {"facts": {"a": {"nested": 1}}},
        {"facts": {"a\x00": 1}},
        {"facts": {"years_in_fea": 1e999}},
        {"name": "\ud800"},
        {"name": "x" * 301},
    ],
)
def test_a_participant_with_a_bad_field_is_refused(
    bare: ApiWorld,  # noqa: F811
    change: dict[str, Any],
) -> None:
    text = json.dumps(_participant(**change))
    headers = {"Content-Type": "application/json"}
    assert bad_fields(bare.call("POST", "/participants", content=text, headers=headers))
