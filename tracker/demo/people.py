"""The demo's people: one log-in for each role, with passwords that are meant to be shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tracker.errors import Conflict
from tracker.reference.client import Api


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A log-in. The passwords are no secrets: the demo listens on loopback only."""

    username: str
    role: str
    posts: tuple[str, ...] = ()
    what: str

    @property
    def password(self) -> str:
        """Easy to remember and long enough for the product's rule."""
        return f"demo-{self.username}-2026"


PEOPLE = (
    Person(username="monitor", role="monitor", what="мониторинговый центр · monitoring centre"),
    Person(
        username="officer",
        role="officer",
        posts=("KZ-NURZHOLY", "KZ-DOSTYK", "KZ-ZHIBEKZHOLY", "KZ-ALMATY", "KZ-ASTANA"),
        what="инспектор постов · officer of five posts",
    ),
    Person(
        username="officer-west",
        role="officer",
        posts=("KZ-AKTAU-SEA", "KZ-AKTOBE", "KZ-KOSTANAY"),
        what="инспектор запада · officer in the west",
    ),
    Person(username="carrier", role="carrier", what="перевозчик · carrier, own deliveries only"),
    Person(username="analyst", role="analyst", what="аналитик рисков · risk analyst"),
    Person(username="auditor", role="auditor", what="аудитор · auditor, reads everything"),
)


def make_people(api: Api, carriers: Sequence[str]) -> None:
    """Create those that do not exist yet; ``carriers`` are participants' ids."""
    for person in PEOPLE:
        try:
            api.create("/users", _body(person, carriers))
        except Conflict:
            continue


def _body(person: Person, carriers: Sequence[str]) -> Mapping[str, Any]:
    body: dict[str, Any] = {
        "username": person.username,
        "password": person.password,
        "role": person.role,
    }
    if person.posts:
        body["posts"] = list(person.posts)
    if person.role == "carrier":
        body["participant_id"] = carriers[0]
    return body
