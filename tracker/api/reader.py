"""Who reads, whose deliveries they may see, and the connection: what these calls are given.

The named SQL of the reading calls runs on psycopg itself, inside the transaction of the call's
session.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg

from tracker.api.deps import Caller, Reading, Writing
from tracker.api.rights import require, scope_of
from tracker.db.connect import raw
from tracker.db.reading import Scope
from tracker.db.users import CurrentUser


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """The caller, the deliveries in sight, and a connection in the call's transaction."""

    user: CurrentUser
    scope: Scope
    conn: psycopg.Connection[Any]


def reads(call: str) -> Callable[..., Iterator[Reader]]:
    """A dependency: a reader in a read-only transaction, if the role may make this call."""

    def reader(user: Caller, session: Reading) -> Iterator[Reader]:
        require(user, call)
        yield Reader(user=user, scope=scope_of(user), conn=raw(session))

    return reader


def writes(call: str) -> Callable[..., Iterator[Reader]]:
    """As `reads`, in a transaction that is committed when the endpoint returns.

    ``call`` is the right to *see* what is written to: whether the role may also change it is
    asked after the object was found, because 404 comes before 403.
    """

    def writer(user: Caller, session: Writing) -> Iterator[Reader]:
        require(user, call)
        yield Reader(user=user, scope=scope_of(user), conn=raw(session))

    return writer
