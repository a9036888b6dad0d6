"""The live stream: Server-Sent Events of positions, anomalies, alerts, risk and deliveries."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from typing import Annotated, Final, cast

import psycopg
from fastapi import APIRouter, Depends, FastAPI, Header, Query, Request
from sqlalchemy.exc import OperationalError
from sse_starlette import EventSourceResponse, ServerSentEvent

from tracker.api.deps import may
from tracker.api.hub import Client, Hub
from tracker.api.queries import locale, parse_box
from tracker.api.rights import scope_of
from tracker.api.state import AppState
from tracker.db.users import CurrentUser
from tracker.errors import Invalid

router = APIRouter(prefix="/api/v1", tags=["stream"])

HEARTBEAT_S: Final = 15
#: A client is let go after this and comes back by itself: a right that was taken away ends here.
LIFE_S: Final = 3600.0
#: A client that takes no byte for so long is gone, whatever TCP believes.
SEND_TIMEOUT_S: Final = 30.0
#: How soon a stream notices that the process is to end.
STOP_POLL_S: Final = 0.5


def install(app: FastAPI) -> None:
    """Give the application its one hub."""
    state: AppState = app.state.tracker
    app.state.stream_hub = Hub(state.settings.database_url)


EXAMPLE: Final = (
    'id: 1207\nevent: alert\ndata: {"id":"b8d5…","code":"seal_cut","severity":"critical"}\n\n'
    'event: position\ndata: {"device_id":"GPS-0001","lon":76.8897,"lat":43.2389}\n\n'
)


@router.get(
    "/stream",
    response_class=EventSourceResponse,
    responses={
        200: {
            "description": "Events until the client leaves.",
            "content": {"text/event-stream": {"example": EXAMPLE}},
        }
    },
    summary="Follow positions, anomalies, alerts, risk and deliveries",
)
async def stream(
    request: Request,
    user: Annotated[CurrentUser, may("stream.read")],
    lang: Annotated[str, Depends(locale)],
    bbox: Annotated[
        str | None, Query(max_length=200, description="minlon,minlat,maxlon,maxlat in degrees.")
    ] = None,
    last_event_id: Annotated[
        str | None, Query(max_length=30, description="As the header, for the first connection.")
    ] = None,
    last_event_id_header: Annotated[
        str | None, Header(alias="Last-Event-ID", max_length=30)
    ] = None,
) -> EventSourceResponse:
    """Events as they are committed. All but positions carry an id to resume from.

    `Last-Event-ID` (or `last_event_id`) first gives what was missed. Positions are the newest of
    each device, at most every 250 ms. A client that falls far behind is disconnected, and
    resumes.
    """
    after = parse_event_id(last_event_id_header or last_event_id)
    client = Client(scope=scope_of(user), box=parse_box(bbox), locale=lang, sent=after or 0)
    hub = cast("Hub", request.app.state.stream_hub)
    await _require_database(hub)
    return EventSourceResponse(
        follow(hub, client, resume=after is not None, stop=_stop_of(request)),
        ping=HEARTBEAT_S,
        ping_message_factory=lambda: ServerSentEvent(comment="heartbeat"),
        send_timeout=SEND_TIMEOUT_S,
        sep="\n",
    )


def parse_event_id(text: str | None) -> int | None:
    """An event id as a number; None if there is none.

    Raises:
        Invalid: it is no id that this stream gave.
    """
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Invalid.field("header", "Last-Event-ID", msg="give the id of an event, or leave it")
    return int(text)


async def follow(
    hub: Hub, client: Client, *, resume: bool, stop: threading.Event | None = None
) -> AsyncIterator[bytes]:
    """The frames for one client: what it missed, then what comes."""
    if resume:
        async for chunk in hub.replay(client):
            yield chunk
    async with hub.subscribed(client):
        # What was committed between the replay and the subscription; what is then sent twice by
        # the hub, the client's `sent` filters out.
        if resume:
            async for chunk in hub.replay(client):
                yield chunk
        yield b": ready\nretry: 1000\n\n"
        end = time.monotonic() + LIFE_S
        while not client.lost and time.monotonic() < end and not (stop and stop.is_set()):
            if await _woken(client):
                yield client.take()


async def _woken(client: Client) -> bool:
    try:
        await asyncio.wait_for(client.wake.wait(), STOP_POLL_S)
    except TimeoutError:
        return False
    return True


async def _require_database(hub: Hub) -> None:
    """Answer 503 rather than open a stream that says nothing."""
    try:
        await hub.check()
    except (psycopg.OperationalError, OSError) as exc:
        raise OperationalError(None, None, exc) from exc


def _stop_of(request: Request) -> threading.Event | None:
    """The process's stop event, where the server was started with one."""
    return cast("threading.Event | None", getattr(request.app.state, "stop", None))
