"""What endpoints are given: sessions, settings, the user with the right to call, a page.

``Reading`` and ``Writing`` end before the answer is sent: a 201 means committed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any

from fastapi import Depends, Query, Request

from tracker.api.auth import current_user
from tracker.api.rights import require
from tracker.api.state import state_of
from tracker.db.connect import ReadSession, WriteSession
from tracker.db.reading import Page
from tracker.db.users import CurrentUser
from tracker.settings import Settings

MAX_LIMIT = 1000


def read_session(request: Request) -> Iterator[ReadSession]:
    """A read-only transaction for one call."""
    with state_of(request).database.read() as session:
        yield session


def write_session(request: Request) -> Iterator[WriteSession]:
    """A transaction for one call: committed when the endpoint returns, undone when it raises."""
    with state_of(request).database.write() as session:
        yield session


def settings(request: Request) -> Settings:
    """The settings of this process."""
    return state_of(request).settings


Reading = Annotated[ReadSession, Depends(read_session, scope="function")]
Writing = Annotated[WriteSession, Depends(write_session, scope="function")]
Config = Annotated[Settings, Depends(settings)]
Caller = Annotated[CurrentUser, Depends(current_user)]


def may(call: str) -> Any:
    """A dependency: the user who calls, if the rights table lets the role make this call.

    Use: ``user: CurrentUser = may("posts.read")``.
    """
    return Depends(_checked(call))


def _checked(call: str) -> Callable[[CurrentUser], CurrentUser]:
    def checked(user: Caller) -> CurrentUser:
        require(user, call)
        return user

    return checked


Limit = Annotated[
    int, Query(ge=1, le=MAX_LIMIT, description=f"Items on a page, at most {MAX_LIMIT}.")
]
Cursor = Annotated[
    str | None, Query(max_length=1000, description="`next` of the page before, unchanged.")
]


def page_after(limit: int, after: tuple[Any, ...] | None) -> Page:
    """A page of a list after a decoded cursor."""
    return Page(limit=limit, after=after)
