"""What is refused before any endpoint sees it, and the headers that every answer carries.

A plain ASGI layer, because it must not buffer the event stream.
"""

from __future__ import annotations

from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tracker.api.problems import problem

_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "same-origin",
}


class Guard:
    """Refuses NUL in addresses, which no database text can hold, and bodies that say that they are
    too long, unread; sets headers."""

    def __init__(self, app: ASGIApp, max_body_bytes: int) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif "\0" in scope["path"] or b"%00" in scope["query_string"]:
            detail = "the address holds a NUL character; remove it"
            await problem(422, detail, kind="invalid")(scope, receive, send)
        elif (length := _length(scope)) > self._max_body_bytes:
            detail = f"the body holds {length} bytes, at most {self._max_body_bytes} fit"
            await problem(413, detail, kind="too-large")(scope, receive, send)
        else:
            await self._app(scope, receive, _with_headers(send))


def _length(scope: Scope) -> int:
    """What the request says of its body's length; 0: nothing, then it is counted as it comes."""
    text = Headers(scope=scope).get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() else 0


def _with_headers(send: Send) -> Send:
    async def marked(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return marked
