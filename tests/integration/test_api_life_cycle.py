"""The life of a delivery over HTTP: every act, in and out of its state."""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.integration.api_world import bare, world  # noqa: F401 - fixtures
from tests.support.api import ApiWorld, after, bad_fields, problem_of, stamp


def released(world: ApiWorld, **more: Any) -> tuple[dict[str, Any], str]:  # noqa: F811
    made = world.delivery(**more)
    path = f"/deliveries/{made['id']}"
    answer = world.post(f"{path}/release", {"at": after(hours=-6)})
    assert answer.status_code == 200, answer.text
    return made, path


def overdue(world: ApiWorld, database: str, path: str) -> None:  # noqa: F811
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(
            "UPDATE deliveries SET status = 'overdue', deadline = now() - interval '2 h'"
            " WHERE id = %s",
            (path.rpartition("/")[2],),
        )


def arrived(world: ApiWorld, **more: Any) -> str:  # noqa: F811
    _, path = released(world, **more)
    answer = world.post(f"{path}/arrival", {"seals": [], "at": after(hours=-1)})
    assert answer.status_code == 200, answer.text
    return path


# ---------------------------------------------------------------- the end


def test_a_control_begins_and_its_result_ends_the_delivery(world: ApiWorld) -> None:  # noqa: F811
    path = arrived(world)
    body = {"kind": "full_inspection", "result": "violation", "code": "A1", "amount_kzt": 5}
    made = world.post(f"{path}/controls", body)
    assert made.status_code == 201, made.text
    assert made.json()["status"] == "under_control"
    assert (made.json()["result"], made.json()["amount_kzt"]) == ("violation", 5)
    assert world.get(f"{path}/controls")["items"][0]["id"] == made.json()["id"]

    told = problem_of(world.post(f"{path}/close", {"result": "completed"}), 409)
    assert "violation" in told["detail"]
    closed = world.post(f"{path}/close", {})
    assert closed.json()["status"] == "discrepancy"
    assert "discrepancy" in problem_of(world.post(f"{path}/close", {}), 409)["detail"]
    assert "arrived" in problem_of(world.post(f"{path}/controls", body), 409)["detail"]


def test_a_clean_scan_completes_it_and_keeps_its_file(world: ApiWorld) -> None:  # noqa: F811
    path = arrived(world)
    picture = b"\x89PNG picture"
    file = {"name": "x.png", "media_type": "image/png", "data_base64": b64encode(picture).decode()}
    made = world.post(f"{path}/scans", {"verdict": "clean", "file": file})
    assert made.status_code == 201, made.text
    scan = made.json()
    assert scan["file"]["size_bytes"] == len(picture)
    got = world.call("GET", f"{path}/scans/{scan['id']}/file")
    assert got.content == picture
    assert "attachment" in got.headers["content-disposition"]
    assert world.post(f"{path}/close", {}).json()["status"] == "completed"
    wrong = world.post(f"{path}/scans", {"verdict": "clean", "file": file | {"data_base64": "?"}})
    assert "base64" in bad_fields(wrong)["body.file.data_base64"]


def test_what_was_ordered_at_arrival_must_be_recorded(world: ApiWorld) -> None:  # noqa: F811
    seal = world.device("seal")
    _, path = released(world, devices=[seal])
    seals = [{"device_id": seal, "state": "cut"}]
    decided = world.post(f"{path}/arrival", {"seals": seals, "at": after(hours=-1)}).json()
    assert decided["measures"]
    assert "ordered" in problem_of(world.post(f"{path}/close", {}), 409)["detail"]
    world.post(f"{path}/controls", {"kind": decided["measures"][0]})
    assert "no result" in problem_of(world.post(f"{path}/close", {}), 409)["detail"]
    world.post(f"{path}/controls", {"kind": decided["measures"][0], "result": "clean"})
    assert world.post(f"{path}/close", {}).json()["status"] == "completed"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"kind": "x", "result": "clean", "amount_kzt": 5}, "body.amount_kzt"),
        ({"kind": "x", "result": "unclear"}, "body.result"),
        ({"result": "clean"}, "body.kind"),
    ],
)
def test_a_control_that_makes_no_sense_names_its_field(
    world: ApiWorld,  # noqa: F811
    body: dict[str, Any],
    field: str,
) -> None:
    assert field in bad_fields(world.post(f"{arrived(world)}/controls", body))


# ---------------------------------------------------------------- before and on the way


def test_only_what_was_declared_can_be_cancelled(world: ApiWorld) -> None:  # noqa: F811
    gps = world.device()
    made = world.delivery(devices=[gps])
    path = f"/deliveries/{made['id']}"
    assert world.post(f"{path}/cancel", {"reason": "withdrawn"}).json()["status"] == "cancelled"
    world.delivery(devices=[gps])  # free again
    _, other = released(world)
    assert "declared" in problem_of(world.post(f"{other}/cancel", {}), 409)["detail"]


def test_an_enquiry_begins_when_overdue_and_has_a_result(
    world: ApiWorld,  # noqa: F811
    database: str,
) -> None:
    _, path = released(world)
    assert "overdue" in problem_of(world.post(f"{path}/enquiry", {}), 409)["detail"]
    overdue(world, database, path)
    told = problem_of(world.post(f"{path}/enquiry", {"result": "non_delivery"}), 409)
    assert "enquiry" in told["detail"]
    assert world.post(f"{path}/enquiry", {"text": "asked"}).json()["status"] == "enquiry"
    assert world.post(f"{path}/enquiry", {"result": "found"}).json()["status"] == "enquiry"
    ended = world.post(f"{path}/enquiry", {"result": "non_delivery"}).json()
    assert ended["status"] == "non_delivery"
    steps = {step["step"]: step for step in ended["steps"]}
    assert steps["begin_enquiry"]["kept"] is True
    assert steps["enquiry_result"]["done_at"] is not None
    assert steps["journey"]["kept"] is False


def test_an_enquiry_that_finds_it_arrived_confirms_the_arrival(
    world: ApiWorld,  # noqa: F811
    database: str,
) -> None:
    _, path = released(world)
    overdue(world, database, path)
    world.post(f"{path}/enquiry", {})
    found = world.post(f"{path}/enquiry", {"result": "arrived"})
    assert found.status_code == 200, found.text
    assert found.json()["status"] == "arrived"
    assert found.json()["arrived_at"] is not None


def test_resealing_changes_the_seals_and_keeps_the_unit(world: ApiWorld) -> None:  # noqa: F811
    seal, other, gps = world.device("seal"), world.device("seal"), world.device()
    _, path = released(world, devices=[seal, gps])
    body = {"seals": [{"device_id": other}], "at": after(hours=-2), "reason": "cut"}
    changed = world.post(f"{path}/reseal", body)
    assert changed.status_code == 200, changed.text
    assert (changed.json()["added"], changed.json()["removed"]) == ([other], [seal])
    times = {b["device_id"]: (b["from"], b["to"]) for b in changed.json()["bindings"]}
    assert times[seal] == (after(hours=-6), after(hours=-2))
    assert times[other] == (after(hours=-2), None)
    assert times[gps] == (after(hours=-6), None)
    world.delivery(devices=[seal])  # free again

    same = world.post(f"{path}/reseal", {})
    assert (same.json()["added"], same.json()["removed"]) == ([], [])
    back = world.post(f"{path}/reseal", {"add": [seal]})
    assert "another" in problem_of(back, 409)["detail"]


def test_devices_that_cannot_be_put_on_are_named(world: ApiWorld) -> None:  # noqa: F811
    gps, busy = world.device(), world.device()
    _, path = released(world, devices=[gps])
    world.delivery(devices=[busy])
    answer = world.post(f"{path}/reseal", {"add": ["SEAL-9"], "remove": ["SEAL-8"]})
    fields = bad_fields(answer)
    assert "register" in fields["body.add"]
    assert "not on this delivery" in fields["body.remove"]
    assert busy in problem_of(world.post(f"{path}/reseal", {"add": [busy]}), 409)["detail"]
    early = world.post(f"{path}/reseal", {"remove": [gps], "at": after(hours=-6)})
    assert "later" in bad_fields(early)["body.at"]


def test_transshipment_changes_vehicle_and_devices(world: ApiWorld) -> None:  # noqa: F811
    seal, gps, other = world.device("seal"), world.device(), world.device()
    _, path = released(world, devices=[seal, gps])
    body = {
        "vehicle": {"plate": "777 KZ 02", "country": "KZ"},
        "devices": [seal, other],
        "place": "Shelek",
        "at": after(hours=-2),
    }
    changed = world.post(f"{path}/transshipment", body).json()
    assert changed["vehicle"]["plate"] == "777 KZ 02"
    assert (changed["added"], changed["removed"]) == ([other], [gps])
    act = changed["acts"][-1]
    assert (act["kind"], act["data"]["former_vehicle"]["plate"]) == ("transshipment", "123 ABC 02")
    made = world.delivery()
    told = problem_of(world.post(f"/deliveries/{made['id']}/transshipment", body), 409)
    assert "declared" in told["detail"]


def test_the_carrier_notifies_its_arrival(world: ApiWorld) -> None:  # noqa: F811
    who = world.user("driver", "carrier", participant_id=world.carrier)
    _, path = released(world)
    noted = world.post(f"{path}/arrival-notice", {"post": "P1"}, who=who)
    assert noted.status_code == 200, noted.text
    assert noted.json()["status"] == "released"
    assert [w["loc"] for w in noted.json()["warnings"]] == [["body", "post"]]
    assert noted.json()["acts"][-1]["kind"] == "arrival_notice"
    step = next(s for s in noted.json()["steps"] if s["step"] == "confirm_arrival")
    assert (step["kept"], step["norm_s"]) == (None, 3600)
    made = world.delivery()
    problem_of(world.post(f"/deliveries/{made['id']}/arrival-notice", {}, who=who), 409)


def test_roles(world: ApiWorld) -> None:  # noqa: F811
    who = world.user("driver", "carrier", participant_id=world.carrier)
    officer = world.user("officer", "officer", posts=["P3"])
    _, path = released(world)
    for act, body in (
        ("controls", {"kind": "x"}),
        ("scans", {"verdict": "clean"}),
        ("enquiry", {}),
        ("close", {}),
        ("cancel", {}),
        ("reseal", {}),
        ("transshipment", {"devices": []}),
    ):
        problem_of(world.post(f"{path}/{act}", body, who=who), 403)
        if act not in ("reseal", "transshipment"):
            problem_of(world.post(f"{path}/{act}", body, who=officer), 403)
    foreign = world.delivery(carrier_id=world.participant("carrier"))
    for act, body in (("incidents", {"code": 5, "text": "x"}), ("arrival-notice", {})):
        problem_of(world.post(f"/deliveries/{foreign['id']}/{act}", body, who=who), 404)


def test_an_act_is_taken_once_for_a_key(world: ApiWorld) -> None:  # noqa: F811
    _, path = released(world)
    key = {"Idempotency-Key": "k1"}
    body = {"code": 5, "text": "tyre"}
    first = world.post(f"{path}/incidents", body, headers=key)
    again = world.post(f"{path}/incidents", body, headers=key)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert len(world.get(f"{path}/incidents")["items"]) == 1
    lost = world.post(f"{path}/reseal", {}, headers={"If-Match": '"1"'})
    problem_of(lost, 412)


# ---------------------------------------------------------------- time norms


def test_each_step_is_measured_against_its_norm(world: ApiWorld) -> None:  # noqa: F811
    path = f"/deliveries/{world.delivery()['id']}"
    # By the present: some hours after an arrival a control that has not begun is late.
    now = datetime.now(UTC).replace(microsecond=0)
    for act, hours in (("release", 6), ("arrival", 1)):
        at = stamp(now - timedelta(hours=hours))
        assert world.post(f"{path}/{act}", {"at": at}).status_code == 200
    steps = {step["step"]: step for step in world.get(path)["steps"]}
    assert list(steps) == ["release", "journey", "begin_control", "close"]
    assert steps["journey"]["kept"] is True
    assert steps["journey"]["taken_s"] == 5 * 3600
    assert (steps["begin_control"]["kept"], steps["close"]["kept"]) == (None, None)
    assert all(step["reason"] for step in steps.values())
