"""Creations that may be repeated: the ``Idempotency-Key``, and the ``If-Match`` of edits."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Header, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from tracker.api.deps import Caller, Writing
from tracker.api.problems import LostUpdate
from tracker.db import idempotency
from tracker.db.connect import WriteSession
from tracker.errors import Invalid

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        description="The same key with the same body answers as the first time.",
    ),
]
IfMatch = Annotated[
    str | None,
    Header(alias="If-Match", max_length=500, description="The `ETag` that was read; 412 if lost."),
]


@dataclass(frozen=True, slots=True)
class Creation:
    """A creation, or an act on a resource, done once for each idempotency key of a user."""

    session: WriteSession
    username: str
    path: str
    key: str | None

    def once(
        self, body: BaseModel, make: Callable[[], tuple[BaseModel, str]], status: int = 201
    ) -> JSONResponse:
        """Answer with what ``make`` creates or changes: the resource and its address.

        With a key that was used before, answer what was answered then.

        Raises:
            Invalid: the key was used before with another body.
        """
        if self.key is None:
            return _answered(status, *_dumped(make()))
        digest = _digest(self.path, body)
        known = idempotency.find_locked(self.session, self.username, self.key)
        if known is None:
            content, location = _dumped(make())
            stored = {"content": content, "location": location}
            idempotency.keep(self.session, self.username, self.key, digest, status, stored)
            return _answered(status, content, location)
        if known.request_hash != digest:
            raise Invalid.field(
                "header", "Idempotency-Key", msg="was used with another request; take a new key"
            )
        answer = known.body
        return _answered(known.status, answer["content"], answer["location"], replayed=True)


def _dumped(made: tuple[BaseModel, str]) -> tuple[dict[str, Any], str]:
    return made[0].model_dump(mode="json", by_alias=True), made[1]


def _answered(
    status: int, content: dict[str, Any], location: str, *, replayed: bool = False
) -> JSONResponse:
    headers = {"ETag": etag_of(content)}
    if status == 201:
        headers["Location"] = location
    if replayed:
        headers["Idempotency-Replayed"] = "true"
    return JSONResponse(content, status, headers=headers)


def _digest(path: str, body: BaseModel) -> str:
    text = f"{path}\n{body.model_dump_json()}"
    return hashlib.sha256(text.encode()).hexdigest()


def etag_of(content: dict[str, Any]) -> str:
    """The tag of a resource by its version; those without one never change."""
    return f'"{content.get("version", 1)}"'


def creation(
    request: Request, session: Writing, user: Caller, key: IdempotencyKey = None
) -> Creation:
    """The creation that this request asks for."""
    return Creation(session, user.username, request.url.path, key)


Creating = Annotated[Creation, Depends(creation, scope="function")]


def require_match(if_match: str | None, version: int) -> None:
    """Refuse an edit of a version that the caller has not seen.

    Raises:
        LostUpdate: naming the present tag.
    """
    if if_match is None or if_match.strip() == "*":
        return
    tags = {tag.strip().removeprefix("W/") for tag in if_match.split(",")}
    if f'"{version}"' not in tags:
        raise LostUpdate(
            f'the resource has changed: its ETag is "{version}" now; read it again, then retry'
        )
