"""Who may make which call: the one table, and the two questions asked of it.

``all``: any object · ``own``: the carrier's own deliveries, others are not known to exist ·
``posts``: where the delivery's post concerned is one of the officer's · ``-``: not at all.
``admin`` may make every call.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, Literal
from uuid import UUID

from tracker.db.reading import EVERYTHING, Scope
from tracker.db.users import CurrentUser
from tracker.errors import Forbidden, NotFound

Grant = Literal["all", "own", "posts", "-"]
ROLES: Final = ("monitor", "officer", "carrier", "analyst", "auditor", "integration")

_TABLE: Final = """
call                      monitor  officer  carrier  analyst  auditor  integration
users.read                -        -        -        -        all      -
users.create              -        -        -        -        -        -
posts.read                all      all      all      all      all      all
posts.create              -        -        -        -        -        all
zones.read                all      all      all      all      all      all
zones.create              all      -        -        -        -        all
zones.change              -        -        -        -        -        -
routes.read               all      all      all      all      all      all
routes.create             all      all      -        -        -        all
devices.read              all      all      -        all      all      all
devices.create            -        all      -        -        -        all
devices.manage            -        -        -        -        -        all
participants.read         all      all      own      all      all      all
participants.create       -        all      -        -        -        all
deliveries.read           all      all      own      all      all      all
deliveries.create         -        posts    -        -        -        all
deliveries.release        -        posts    -        -        -        -
deliveries.crossing       all      all      own      -        -        all
deliveries.arrival        -        posts    -        -        -        -
deliveries.notice         all      all      own      -        -        all
deliveries.incident       all      all      own      -        -        all
deliveries.control        -        posts    -        -        -        -
deliveries.scan           -        posts    -        -        -        all
deliveries.close          -        posts    -        -        -        -
deliveries.cancel         -        posts    -        -        -        all
deliveries.enquiry        all      posts    -        -        -        -
deliveries.reseal         -        all      -        -        -        -
deliveries.transship      -        all      -        -        -        -
deliveries.reroute        all      all      -        -        -        -
track.read                all      all      own      all      all      all
timeline.read             all      all      own      all      all      all
anomalies.read            all      all      own      all      all      all
alerts.read               all      all      own      all      all      all
alerts.handle             all      all      -        -        -        -
risk.read                 all      all      -        all      all      all
evidence.read             all      all      own      -        all      -
replay.read               all      -        -        all      all      -
positions.read            all      all      own      all      all      all
stream.read               all      all      own      all      all      all
settings.read             all      all      -        all      all      -
settings.change           -        -        -        -        -        -
quarantine.read           all      -        -        -        all      all
quarantine.redrive        -        -        -        -        -        -
console.use               all      all      all      all      all      -
"""


def _parse(table: str) -> dict[str, dict[str, str]]:
    header, *rows = (line.split() for line in table.strip().splitlines())
    return {row[0]: dict(zip(header[1:], row[1:], strict=True)) for row in rows}


RIGHTS: Final = _parse(_TABLE)


def grant(user: CurrentUser, call: str) -> str:
    """What the table grants this user for a call.

    Raises:
        KeyError: the table has no such call; that is a fault of the program.
    """
    row = RIGHTS[call]
    return "all" if user.role == "admin" else row.get(user.role, "-")


def require(user: CurrentUser, call: str) -> None:
    """Refuse a call that the user's role may not make at all.

    Raises:
        Forbidden: naming the roles that may.
    """
    if grant(user, call) == "-":
        allowed = ["admin", *(role for role in ROLES if RIGHTS[call][role] != "-")]
        raise Forbidden(
            f"the role {user.role} may not call {call}; it takes one of: {', '.join(allowed)}"
        )


def require_post(user: CurrentUser, call: str, post: str) -> None:
    """Refuse an officer's call that concerns a post that is not one of theirs.

    Raises:
        Forbidden: naming the post.
    """
    require(user, call)
    if grant(user, call) == "posts" and post not in user.posts:
        own = ", ".join(sorted(user.posts)) or "none"
        raise Forbidden(f"{call} is for the officers of post {post}; your posts: {own}")


def require_either_post(user: CurrentUser, call: str, posts: Collection[str]) -> None:
    """As `require_post`, where any of these posts will do.

    Raises:
        Forbidden: naming the posts.
    """
    require(user, call)
    if grant(user, call) == "posts" and not user.posts & frozenset(posts):
        own = ", ".join(sorted(user.posts)) or "none"
        raise Forbidden(f"{call} is for the officers of {' or '.join(posts)}; your posts: {own}")


NOBODY: Final = UUID(int=0)


def scope_of(user: CurrentUser) -> Scope:
    """Whose deliveries the user may know of. A carrier without a participant sees none."""
    if user.role == "carrier":
        return Scope(carrier=user.participant_id or NOBODY)
    return EVERYTHING


def require_sight(user: CurrentUser, carrier_id: UUID, what: str) -> None:
    """Behave as if the delivery did not exist to who may not know of it.

    Raises:
        NotFound: with the same words as for a delivery that does not exist.
    """
    if not scope_of(user).sees(carrier_id):
        raise NotFound(what)


def sees_risk(user: CurrentUser) -> bool:
    """Scores, levels, categories and rules are confidential: a carrier never sees them."""
    return grant(user, "risk.read") == "all"
