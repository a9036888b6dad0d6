"""How refusals are described in the OpenAPI document."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from tracker.api.problems import MEDIA_TYPE

_SCHEMA: Final = {
    "type": "object",
    "description": "RFC 9457 problem.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What is wrong and what to do about it."},
        "errors": {
            "type": "array",
            "description": "The bad fields: where each stands in the request, and the remedy.",
            "items": {
                "type": "object",
                "required": ["loc", "msg"],
                "properties": {
                    "loc": {"type": "array", "items": {"type": ["string", "integer"]}},
                    "msg": {"type": "string"},
                },
            },
        },
    },
}

#: status: (kind, when it is given, an example of the detail, the field of the example)
_REFUSALS: Final[dict[int, tuple[str, str, str, tuple[str, ...]]]] = {
    401: ("unauthenticated", "No valid log-in.", "the log-in has expired; log in again", ()),
    403: (
        "forbidden",
        "The role or post may not make this call.",
        "deliveries.release is for the officers of post KZ-NURZHOLY; your posts: none",
        (),
    ),
    404: ("not-found", "There is none, or none that the caller may know of.", "no delivery …", ()),
    409: (
        "conflict",
        "It contradicts what is there: a code taken, a step that does not fit the state.",
        "device SEAL-0001 is on delivery 55301/010326/0000147, which is not finished",
        ("body", "devices"),
    ),
    412: ("lost-update", "It has changed since `If-Match` was read.", 'its ETag is "3" now', ()),
    422: (
        "invalid",
        "A field cannot be accepted as it stands.",
        "must lie after scheduled_departure; give a later one",
        ("body", "deadline"),
    ),
    429: ("too-many-attempts", "Too many failed log-ins.", "try again in 280 s", ()),
}


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The description of these refusals for a router or a call."""
    return {status: _refusal(status) for status in statuses}


def _refusal(status: int) -> dict[str, Any]:
    kind, when, detail, loc = _REFUSALS[status]
    example: dict[str, Any] = {
        "type": f"/problems/{kind}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if loc:
        example["errors"] = [{"loc": list(loc), "msg": detail}]
    return {"description": when, "content": {MEDIA_TYPE: {"schema": _SCHEMA, "example": example}}}
