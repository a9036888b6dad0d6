"""Files sent as forms: the calls that take JSON or a form, and what may be in a file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import PureWindowsPath
from typing import Any, Final

from fastapi import UploadFile
from fastapi.routing import APIRoute
from msgspec import Struct
from pydantic import TypeAdapter, ValidationError
from starlette.datastructures import Headers
from starlette.routing import Match
from starlette.types import Scope

from tracker.api.schemas.common import Name
from tracker.errors import Invalid

MAX_FILE_BYTES: Final = 5 * 1024 * 1024
"""A radiogram of a container as a picture; with the rest of a request it fits in a body."""

MAX_FIELD_BYTES: Final = 64 * 1024
"""Of a form's text: the longest remarks, whatever their script, several times over."""

_CHUNK: Final = 256 * 1024

OCTETS: Final = "application/octet-stream"

#: What may be sent, and how such a file begins: (where, what) of which one must hold.
KINDS: Final[Mapping[str, tuple[tuple[int, bytes], ...]]] = {
    "image/png": ((0, b"\x89PNG\r\n\x1a\n"),),
    "image/jpeg": ((0, b"\xff\xd8\xff"),),
    "image/tiff": tuple((0, begin) for begin in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    "image/gif": ((0, b"GIF87a"), (0, b"GIF89a")),
    "image/bmp": ((0, b"BM"),),
    "image/webp": ((8, b"WEBP"),),
    "image/heic": ((4, b"ftyp"),),
    "application/pdf": ((0, b"%PDF-"),),
    "application/dicom": ((128, b"DICM"),),
    OCTETS: (),  # a scanner's own format
}

_HEAD_BYTES: Final = 132


class FormRoute(APIRoute):
    """A call that takes a form where another of the same path takes JSON. Stands before it."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As every route, but only for forms of several parts."""
        if scope["type"] == "http" and _is_form(Headers(scope=scope).get("content-type", "")):
            return super().matches(scope)
        return Match.NONE, {}


def _is_form(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() == "multipart/form-data"


class Picture(Struct, frozen=True, kw_only=True):
    """A file that came with a request."""

    name: str
    media_type: str
    sha256: str
    content: bytes

    @property
    def told(self) -> dict[str, Any]:
        """What is recorded of it besides itself."""
        return {
            "name": self.name,
            "media_type": self.media_type,
            "size_bytes": len(self.content),
            "sha256": self.sha256,
        }


def picture(name: str, media_type: str, content: bytes) -> Picture:
    """A file whose content is at hand."""
    digest = hashlib.sha256(content).hexdigest()
    return Picture(name=name, media_type=media_type, sha256=digest, content=content)


def received(file: UploadFile, field: str) -> Picture:
    """The file of a form's field; read piece by piece, and no farther than it may be long.

    Raises:
        Invalid: naming the field: the file is empty, too long, or of a kind that is not taken.
    """
    name = _name(file.filename, field)
    kind = (file.content_type or OCTETS).partition(";")[0].strip().lower()
    if kind not in KINDS:
        text = f"is {kind!r}; send one of {', '.join(KINDS)}"
        raise Invalid.field("body", field, msg=text)
    content = bytearray()
    while piece := file.file.read(_CHUNK):
        content += piece
        if len(content) > MAX_FILE_BYTES:
            size = f"{file.size} bytes" if file.size else "more"
            text = f"holds {size}, at most {MAX_FILE_BYTES} fit; make it smaller"
            raise Invalid.field("body", field, msg=text)
    if not content:
        raise Invalid.field("body", field, msg="is empty; choose another file or send none")
    if not _begins_as(kind, bytes(content[:_HEAD_BYTES])):
        text = f"does not begin as {kind} does; send it as what it is, or as {OCTETS}"
        raise Invalid.field("body", field, msg=text)
    return picture(name, kind, bytes(content))


def _name(name: str | None, field: str) -> str:
    try:
        # Some senders give the whole path, with strokes of either kind.
        return TypeAdapter(Name).validate_python(PureWindowsPath(name or "").name)
    except ValidationError as exc:
        text = f"has no usable name: {exc.errors()[0]['msg']}"
        raise Invalid.field("body", field, msg=text) from exc


def _begins_as(kind: str, head: bytes) -> bool:
    begins = KINDS[kind]
    return not begins or any(head[at : at + len(what)] == what for at, what in begins)


def form_of(required: tuple[str, ...], example: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """How a call's form is described in the OpenAPI document, beside its JSON."""
    schema = {
        "type": "object",
        "required": list(required),
        "properties": fields,
        "additionalProperties": False,
    }
    content = {"multipart/form-data": {"schema": schema, "example": example}}
    return {"requestBody": {"content": content}}
