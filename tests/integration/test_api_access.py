"""Who may log in, see and do what."""

from __future__ import annotations

import pytest

from tests.integration.api_world import bare, world  # noqa: F401 - fixtures
from tests.support.api import PASSWORD, ApiWorld, after, bad_fields, problem_of
from tracker.db.users import ensure_admin


def test_a_log_in_gives_a_token_for_twelve_hours(bare: ApiWorld) -> None:  # noqa: F811
    form = {"username": "admin", "password": PASSWORD}
    answer = bare.http.post("/api/v1/auth/token", data=form)
    assert answer.status_code == 200
    body = answer.json()
    assert body["token_type"] == "bearer"
    assert body["expires_in"] == 12 * 3600
    granted = bare.http.post("/api/v1/auth/token", data=form | {"grant_type": "password"})
    assert granted.status_code == 200
    me = bare.http.get("/api/v1/me", headers={"Authorization": f"Bearer {body['access_token']}"})
    assert me.json() == {"username": "admin", "role": "admin", "posts": [], "participant_id": None}


@pytest.mark.parametrize("username", ["admin", "nobody", "a\x00b"])
def test_a_wrong_password_is_refused_without_telling_who_exists(
    bare: ApiWorld,  # noqa: F811
    username: str,
) -> None:
    form = {"username": username, "password": "wrong"}
    answer = bare.http.post("/api/v1/auth/token", data=form)
    if "\x00" in username:
        problem_of(answer, 422)
    else:
        assert problem_of(answer, 401)["detail"] == "the user name or the password is wrong"
        assert answer.headers["www-authenticate"] == "Bearer"


def test_guessing_is_braked(bare: ApiWorld) -> None:  # noqa: F811
    form = {"username": "admin", "password": "wrong"}
    codes = [bare.http.post("/api/v1/auth/token", data=form).status_code for _ in range(11)]
    assert codes == [401] * 10 + [429]
    assert int(bare.http.post("/api/v1/auth/token", data=form).headers["retry-after"]) > 0


@pytest.mark.parametrize("header", [None, "Bearer nonsense", "Basic eDp5", "Bearer "])
def test_a_call_without_a_valid_token_is_refused(bare: ApiWorld, header: str | None) -> None:  # noqa: F811
    headers = {"Authorization": header} if header else {}
    problem_of(bare.http.get("/api/v1/posts", headers=headers), 401)


def test_a_new_password_ends_older_log_ins(bare: ApiWorld, database: str) -> None:  # noqa: F811
    bare.get("/posts")
    ensure_admin(database, "admin", PASSWORD)
    bare.get("/posts")
    ensure_admin(database, "admin", "another pass phrase")
    problem_of(bare.call("GET", "/posts"), 401)


def test_the_console_logs_in_by_cookie_and_protects_it(bare: ApiWorld) -> None:  # noqa: F811
    http = bare.http
    wrong = http.post("/login", data={"username": "admin", "password": "x"}, follow_redirects=False)
    assert (wrong.status_code, wrong.headers["location"]) == (303, "/login?error=1")
    lost = {"username": "admin", "password": "x", "next": "/deliveries?status=overdue&q=7"}
    again = http.post("/login", data=lost, follow_redirects=False).headers["location"]
    assert again == "/login?error=1&next=%2Fdeliveries%3Fstatus%3Doverdue%26q%3D7"
    form = {"username": "admin", "password": PASSWORD, "next": "/deliveries"}
    right = http.post("/login", data=form, follow_redirects=False)
    assert (right.status_code, right.headers["location"]) == (303, "/deliveries")
    cookie = next(c for c in right.headers.get_list("set-cookie") if "tracker_session" in c)
    assert "HttpOnly" in cookie
    assert "samesite=lax" in cookie.lower()
    assert http.get("/api/v1/me").json()["username"] == "admin"

    body = {"id": "D1", "kind": "gps"}
    assert "X-CSRF-Token" in problem_of(http.post("/api/v1/devices", json=body), 403)["detail"]
    planted = {"X-CSRF-Token": "planted"}
    http.cookies.set("tracker_csrf", "planted")
    problem_of(http.post("/api/v1/devices", json=body, headers=planted), 403)
    csrf = next(c for c in right.headers.get_list("set-cookie") if "tracker_csrf" in c)
    token = csrf.partition("=")[2].partition(";")[0]
    made = http.post("/api/v1/devices", json=body, headers={"X-CSRF-Token": token})
    assert made.status_code == 201
    out = http.post("/logout", data={"csrf_token": token}, follow_redirects=False)
    assert (out.status_code, out.headers["location"]) == (303, "/login")
    http.cookies.clear()


@pytest.mark.parametrize("way", ["https://evil.example/", "//evil.example", "/\\evil", "x"])
def test_a_log_in_leads_nowhere_else(bare: ApiWorld, way: str) -> None:  # noqa: F811
    form = {"username": "admin", "password": PASSWORD, "next": way}
    answer = bare.http.post("/login", data=form, follow_redirects=False)
    assert answer.headers["location"] == "/"
    bare.http.cookies.clear()


def test_a_carrier_knows_of_its_own_deliveries_only(world: ApiWorld) -> None:  # noqa: F811
    other = world.participant("carrier")
    mine, theirs = world.delivery(), world.delivery(carrier_id=other)
    who = world.user("driver", "carrier", participant_id=world.carrier)
    assert [d["id"] for d in world.get("/deliveries", who=who)["items"]] == [mine["id"]]
    assert world.get(f"/deliveries/{mine['id']}", who=who)["risk"] is None
    crossing = {"post": "P1", "at": after(hours=-1)}
    own = world.post(f"/deliveries/{mine['id']}/border-crossing", crossing, who=who)
    assert own.status_code == 200
    nothing = f"no delivery {theirs['id']}"
    for act, body in (("border-crossing", crossing), ("release", {}), ("arrival", {"seals": []})):
        foreign = world.post(f"/deliveries/{theirs['id']}/{act}", body, who=who)
        assert problem_of(foreign, 404)["detail"] == nothing
        if act != "border-crossing":
            problem_of(world.post(f"/deliveries/{mine['id']}/{act}", body, who=who), 403)
    problem_of(world.call("GET", f"/deliveries/{theirs['id']}", who=who), 404)
    problem_of(world.call("GET", f"/deliveries/{theirs['id']}/route", who=who), 404)
    problem_of(world.post("/deliveries", world.delivery_body(), who=who), 403)


def test_a_carrier_does_not_learn_what_the_system_decided(world: ApiWorld) -> None:  # noqa: F811
    made = world.delivery()
    world.post(f"/deliveries/{made['id']}/release", {})
    world.post(f"/deliveries/{made['id']}/arrival", {"seals": [], "remarks": "all well"})
    who = world.user("driver", "carrier", participant_id=world.carrier)
    shown = world.get(f"/deliveries/{made['id']}", who=who)
    arrival = shown["acts"][-1]["data"]
    assert arrival == {"seals": [], "remarks": "all well"}
    assert shown["risk"] is None


def test_officers_act_at_their_own_posts(world: ApiWorld) -> None:  # noqa: F811
    start = world.user("start", "officer", posts=["P1"])
    end = world.user("end", "officer", posts=["P2"])
    path = f"/deliveries/{world.delivery()['id']}"
    assert "P1" in problem_of(world.post(f"{path}/release", {}, who=end), 403)["detail"]
    assert world.post(f"{path}/release", {}, who=start).status_code == 200
    problem_of(world.post(f"{path}/arrival", {"seals": []}, who=start), 403)
    assert world.post(f"{path}/arrival", {"seals": []}, who=end).status_code == 200


@pytest.mark.parametrize("role", ["monitor", "auditor", "analyst", "integration"])
def test_who_only_reads_may_not_write(world: ApiWorld, role: str) -> None:  # noqa: F811
    who = world.user(role, role)
    path = f"/deliveries/{world.delivery()['id']}"
    assert world.get(path, who=who)["status"] == "declared"
    problem_of(world.post(f"{path}/release", {}, who=who), 403)
    problem_of(world.post("/users", {}, who=who), 403)


def test_a_user_names_what_exists(world: ApiWorld) -> None:  # noqa: F811
    body = {"username": "u", "password": PASSWORD, "role": "officer", "posts": ["P1", "P9"]}
    assert "P9" in bad_fields(world.post("/users", body))["body.posts.1"]
    lost = {"username": "u", "password": PASSWORD, "role": "carrier"}
    assert bad_fields(world.post("/users", lost))["body.participant_id"]
    world.user("u", "monitor")
    again = {"username": "u", "password": PASSWORD, "role": "monitor"}
    assert "body.username" in bad_fields(world.post("/users", again), 409)
    users = world.get("/users")["items"]
    assert [u["username"] for u in users] == ["admin", "u"]
    assert all("password" not in field for user in users for field in user)
