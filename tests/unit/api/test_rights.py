"""The rights table: it is whole, and it says what the contract says."""

from __future__ import annotations

import re
from pathlib import Path
from uuid import UUID

import pytest

import tracker.api
from tracker.api.rights import (
    RIGHTS,
    ROLES,
    grant,
    require,
    require_post,
    require_sight,
    scope_of,
    sees_risk,
)
from tracker.db.users import CurrentUser
from tracker.errors import Forbidden, NotFound

CARRIER = UUID(int=7)


def _user(role: str, **more: object) -> CurrentUser:
    return CurrentUser(username="u", role=role, **more)  # type: ignore[arg-type]


def test_every_call_has_a_grant_for_every_role() -> None:
    for call, row in RIGHTS.items():
        assert tuple(row) == ROLES, call
        assert set(row.values()) <= {"all", "own", "posts", "-"}, call


def test_every_call_that_the_code_names_is_in_the_table() -> None:
    code = "".join(p.read_text() for p in Path(tracker.api.__path__[0]).glob("*.py"))
    named = set(re.findall(r'\b(?:may|reads|writes|require)\((?:\w+, )?"([\w.]+)"', code))
    assert len(named) > 15
    assert named <= RIGHTS.keys()


def test_the_administrator_may_make_every_call() -> None:
    for call in RIGHTS:
        assert grant(_user("admin"), call) == "all"
        require_post(_user("admin"), call, "P1")


def test_an_auditor_reads_everything_and_changes_nothing() -> None:
    for call in RIGHTS:
        reads = call.endswith((".read", ".use"))
        assert (grant(_user("auditor"), call) != "-") == reads, call


def test_a_carrier_sees_its_own_and_no_scores() -> None:
    user = _user("carrier", participant_id=CARRIER)
    assert scope_of(user).carrier == CARRIER
    assert not sees_risk(user)
    require_sight(user, CARRIER, "no delivery")
    with pytest.raises(NotFound):
        require_sight(user, UUID(int=8), "no delivery")
    assert not scope_of(_user("carrier")).sees(CARRIER)
    assert all(RIGHTS[c]["carrier"] != "all" for c in RIGHTS if c.startswith(("deliv", "risk")))


def test_an_officer_acts_at_own_posts() -> None:
    user = _user("officer", posts=frozenset({"P1"}))
    require_post(user, "deliveries.release", "P1")
    with pytest.raises(Forbidden, match="P2"):
        require_post(user, "deliveries.release", "P2")


def test_a_refusal_names_who_may() -> None:
    with pytest.raises(Forbidden, match="admin, officer"):
        require(_user("carrier"), "deliveries.release")
