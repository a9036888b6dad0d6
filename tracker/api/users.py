"""People and systems that may log in."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import ConfigDict, Field, StringConstraints, model_validator

from tracker.api.creation import Creating
from tracker.api.deps import Caller, Cursor, Limit, Reading, may, page_after
from tracker.api.described import refusals
from tracker.api.rights import NOBODY
from tracker.api.schemas.common import Answer, Body, Code, Moment, Page, Text
from tracker.db import places
from tracker.db import users as store
from tracker.db.connect import WriteSession
from tracker.db.participants import participant_by_id
from tracker.db.reading import EVERYTHING, decode_cursor, encode_cursor
from tracker.db.tables import User
from tracker.db.users import CurrentUser
from tracker.errors import FieldError, Invalid

router = APIRouter(prefix="/api/v1", tags=["users"], responses=refusals(409))

Role = Literal["monitor", "officer", "carrier", "analyst", "auditor", "admin", "integration"]


class UserIn(Body):
    """A user to create: an officer is bound to posts, a carrier to its participant."""

    username: Annotated[str, Text(longest=100, pattern=r"^\S+$")]
    password: Annotated[
        str,
        StringConstraints(min_length=8, max_length=1000),
        Field(description="At least 8 characters; only its hash is kept."),
    ]
    role: Role
    posts: Annotated[list[Code], Field(max_length=1000)] = Field(default_factory=list)
    participant_id: UUID | None = None

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "username": "officer1",
                    "password": "a long pass phrase",
                    "role": "officer",
                    "posts": ["KZ-NURZHOLY"],
                }
            ]
        }
    )

    @model_validator(mode="after")
    def _bound(self) -> Self:
        if self.role == "carrier" and self.participant_id is None:
            text = "a carrier needs it: whose deliveries it may see"
            raise Invalid.field("body", "participant_id", msg=text)
        return self


class UserOut(Answer):
    """A user, without anything of the password."""

    id: UUID
    username: str
    role: Role
    posts: list[str]
    participant_id: UUID | None
    active: bool
    created_at: Moment


class Me(Answer):
    """Who is logged in."""

    username: str
    role: Role
    posts: list[str]
    participant_id: UUID | None


@router.post("/users", status_code=201, response_model=UserOut)
def create_user(
    user: Annotated[CurrentUser, may("users.create")],
    body: UserIn,
    creating: Creating,
) -> JSONResponse:
    """Create a user."""

    def make() -> tuple[UserOut, str]:
        _require_known(creating.session, body)
        row = store.create_user(
            creating.session,
            username=body.username,
            password=body.password,
            role=body.role,
            posts=body.posts,
            participant_id=body.participant_id,
        )
        return _out(row), f"/api/v1/users?username={row.username}"

    return creating.once(body, make)


def _require_known(session: WriteSession, body: UserIn) -> None:
    errors = [
        FieldError(("body", "posts", i), f"there is no post {code!r}; create it first")
        for i, code in enumerate(body.posts)
        if not places.post_exists(session, code)
    ]
    subject = body.participant_id
    if subject is not None and (
        subject == NOBODY or participant_by_id(session, subject, EVERYTHING) is None
    ):
        errors.append(
            FieldError(
                ("body", "participant_id"), f"there is no participant {subject}; register it first"
            )
        )
    if errors:
        raise Invalid(errors[0].msg, errors)


@router.get("/users")
def list_users(
    user: Annotated[CurrentUser, may("users.read")],
    session: Reading,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[UserOut]:
    """All users, by name."""
    rows = store.list_users(session, page_after(limit, decode_cursor(cursor, str)))
    items = [_out(row) for row in rows[:limit]]
    return Page(
        items=items, next=encode_cursor([items[-1].username]) if len(rows) > limit else None
    )


@router.get("/me")
def me(user: Caller) -> Me:
    """Who is logged in, with role, posts and participant."""
    return Me(
        username=user.username,
        role=user.role,  # type: ignore[arg-type]
        posts=sorted(user.posts),
        participant_id=user.participant_id,
    )


def _out(row: User) -> UserOut:
    return UserOut(
        id=row.id,
        username=row.username,
        role=row.role,  # type: ignore[arg-type]
        posts=row.posts,
        participant_id=row.participant_id,
        active=row.active,
        created_at=row.created_at,
    )
