"""One listener a process: outbox and positions from the database, fanned out to the clients.

A client that is slow gets fewer positions (the newest of each device); one that still falls
behind is let go, and comes back with ``Last-Event-ID`` to read what it missed from the outbox.
Many may come back at once: a few at a time have a connection, each for one page.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Final
from uuid import UUID

import msgspec
import psycopg
import structlog
from shapely import GEOSException, box, union_all
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from tracker.db.outbox import OUTBOX_CHANNEL
from tracker.db.reading import Row, Scope
from tracker.db.reading_positions import Box, inside, position_json
from tracker.db.reading_stream import database_now, newest_event, outbox_after, positions_since
from tracker.db.workers import keep_in_touch
from tracker.risk import Reason, render_reason

POSITIONS_CHANNEL: Final = "tracker_positions"
#: At most one flush of positions in this time: a map can't show more than four states a second.
FLUSH_S: Final = 0.25
#: A notification can't be lost, but a look now and then costs nothing and heals everything.
POLL_S: Final = 1.0
RETRY_S: Final = 1.0
BATCH: Final = 500
#: Clients that read from the outbox at one time: after a restart hundreds come back at once.
REPLAYS: Final = 8
#: Events a client may be behind: some seconds of the worst storm, some hundred kilobytes.
CLIENT_EVENTS: Final = 1000
#: Rows are stamped before they commit: look back as long as a transaction of evaluation may take.
LOOK_BACK: Final = timedelta(seconds=2)
#: What of a payload a carrier is not told: scores and ranks.
CONFIDENTIAL: Final = frozenset(
    {"rank", "level", "probability", "expected_loss_kzt", "risk", "corridor", "profiles"}
)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class StreamEvent:
    """An event of the outbox, encoded once for each kind of audience."""

    id: int
    kind: str
    carrier_id: UUID | None
    places: tuple[tuple[float, float], ...]
    payload: Row
    _frames: dict[tuple[bool, str], bytes] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, row: Row) -> StreamEvent:
        """From a row of the outbox."""
        places = tuple((lon, lat) for lon, lat in row["places"] or ())
        return cls(
            id=row["id"],
            kind=row["kind"],
            carrier_id=row["carrier_id"],
            places=places,
            payload=row["payload"],
        )

    def frame_for(self, *, plain: bool, locale: str) -> bytes:
        """The frame for a reader; ``plain``: for a carrier, with no score and no rank."""
        key = (plain, locale if self.kind == "risk" else "")
        if key not in self._frames:
            hidden = CONFIDENTIAL if plain else frozenset()
            shown = {k: v for k, v in self.payload.items() if k not in hidden}
            if self.kind == "risk" and "reasons" in shown:
                shown["reasons"] = [_in_words(r, locale) for r in shown["reasons"]]
            self._frames[key] = frame(self.kind, shown, self.id)
        return self._frames[key]

    @cached_property
    def geometry(self) -> BaseGeometry | None:
        """Its own place, where it has one that can be read."""
        try:
            return shape(self.payload["geometry"])
        except (KeyError, TypeError, ValueError, AttributeError, GEOSException):
            return None


def _in_words(reason: Row, locale: str) -> Row:
    """A stored reason as the API shows it: with its text, without what the text was made of."""
    fields = {name: reason[name] for name in Reason.__struct_fields__ if name in reason}
    words = render_reason(msgspec.convert(fields, Reason), locale)
    return {k: v for k, v in fields.items() if k != "params" and v is not None} | {"text": words}


@dataclass(frozen=True, kw_only=True)
class StreamPosition:
    """A position, encoded once for each kind of audience."""

    device_id: str
    carrier_id: UUID | None
    lon: float
    lat: float
    full: bytes
    plain: bytes

    @classmethod
    def of(cls, row: Row) -> StreamPosition:
        """From a row of the positions."""
        carrier = Scope(carrier=row["carrier_id"])
        return cls(
            device_id=row["device_id"],
            carrier_id=row["carrier_id"],
            lon=row["lon"],
            lat=row["lat"],
            full=frame("position", position_json(row, Scope())),
            plain=frame("position", position_json(row, carrier)),
        )


def frame(kind: str, data: object, event_id: int | None = None) -> bytes:
    """One Server-Sent Event. JSON has no line breaks, so one ``data`` line holds it."""
    head = f"id: {event_id}\n" if event_id is not None else ""
    return f"{head}event: {kind}\ndata: ".encode() + msgspec.json.encode(data) + b"\n\n"


@dataclass(kw_only=True, eq=False)
class Client:
    """A listener's filters and what waits for it. ``sent``: newest event id it has been given."""

    scope: Scope
    box: Box | None = None
    locale: str = "en"
    sent: int = 0
    lost: bool = False
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    _events: deque[StreamEvent] = field(default_factory=deque)
    _positions: dict[str, StreamPosition] = field(default_factory=dict)

    @cached_property
    def area(self) -> BaseGeometry:
        """The box as a shape; two where it crosses the 180th meridian."""
        west, south, east, north = self.box or (-180, -90, 180, 90)
        if west <= east:
            return box(west, south, east, north)
        return union_all([box(west, south, 180, north), box(-180, south, east, north)])

    def wants(self, event: StreamEvent) -> bool:
        """Whether the event is for this client: its rights and its box.

        An event with no place of its own is where its delivery's devices are; one that is
        nowhere yet passes every box, because nobody else would see it.
        """
        if not self.scope.sees(event.carrier_id):
            return False
        if self.scope.carrier is not None and event.kind == "risk":
            return False
        if self.box is None:
            return True
        if event.geometry is not None and not event.geometry.is_empty:
            return bool(self.area.intersects(event.geometry))
        return not event.places or any(inside(self.box, *place) for place in event.places)

    def push_events(self, events: Iterable[StreamEvent]) -> None:
        """Queue the events that it wants; past the bound, it is lost."""
        for event in events:
            if self.wants(event):
                self._events.append(event)
        if len(self._events) > CLIENT_EVENTS:
            self.lost = True
        if self._events:
            self.wake.set()

    def push_positions(self, positions: Iterable[StreamPosition]) -> None:
        """Keep the newest position of each device that it wants."""
        for position in positions:
            near = self.box is None or inside(self.box, position.lon, position.lat)
            if near and self.scope.sees(position.carrier_id):
                self._positions[position.device_id] = position
        if self._positions:
            self.wake.set()

    def frames(self, events: Iterable[StreamEvent]) -> bytes:
        """The frames of events it has not been sent yet and wants."""
        chunks: list[bytes] = []
        for event in events:
            if event.id > self.sent:
                self.sent = event.id
                if self.wants(event):
                    plain = self.scope.carrier is not None
                    chunks.append(event.frame_for(plain=plain, locale=self.locale))
        return b"".join(chunks)

    def take(self) -> bytes:
        """All that waits, as one chunk."""
        self.wake.clear()
        events, self._events = self._events, deque()
        positions, self._positions = self._positions, {}
        whole = self.scope.carrier is None
        return self.frames(events) + b"".join(
            p.full if whole else p.plain for p in positions.values()
        )


class Hub:
    """Listens while somebody listens to it; reconnects by itself and misses nothing."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._clients: set[Client] = set()
        self._task: asyncio.Task[None] | None = None
        self._checking: asyncio.Task[None] | None = None
        self._replaying = asyncio.Semaphore(REPLAYS)
        self._ready = asyncio.Event()
        self._last: int | None = None
        self._since: datetime | None = None
        self._seen: dict[int, datetime] = {}

    async def check(self) -> None:
        """Find out whether the database answers, if nobody is listening yet; all ask as one.

        Raises:
            psycopg.OperationalError: it does not, or can only be read.
        """
        if self._clients:
            return
        if self._checking is None or self._checking.done():
            self._checking = asyncio.create_task(self._check(), name="stream-check")
        # One that leaves meanwhile takes the answer from nobody else.
        await asyncio.shield(self._checking)

    async def _check(self) -> None:
        async with await self._connect():
            pass

    async def replay(self, client: Client) -> AsyncIterator[bytes]:
        """What the client missed since ``client.sent``, from the outbox, until it is up to date.

        An id beyond the newest event is of another life of the database: nothing is replayed.
        """
        rows: list[Row] | None = None
        while rows is None or len(rows) == BATCH:
            async with self._replaying, await self._connect() as conn:
                client.sent = min(client.sent, await newest_event(conn))
                rows = await outbox_after(conn, client.sent, BATCH)
            # However slowly it is taken, no connection waits for that.
            if chunk := client.frames([StreamEvent.of(row) for row in rows]):
                yield chunk

    @asynccontextmanager
    async def subscribed(self, client: Client) -> AsyncIterator[None]:
        """Have the client fed while the context lasts."""
        self._clients.add(client)
        if self._task is None or self._task.done():
            self._ready.clear()
            self._last = self._since = None
            self._task = asyncio.create_task(self._run(), name="stream-hub")
        try:
            await self._ready.wait()
            yield
        finally:
            self._clients.discard(client)
            if not self._clients:
                await self.close()

    async def close(self) -> None:
        """Stop listening and let all clients go."""
        self._let_go()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def _let_go(self) -> None:
        for client in self._clients:
            client.lost = True
            client.wake.set()

    # ---------------------------------------------------------------- listening

    async def _connect(self) -> psycopg.AsyncConnection[Any]:
        return await psycopg.AsyncConnection.connect(
            self._dsn,
            autocommit=True,
            application_name="tracker-stream",
            # A standby lets nobody listen: better no stream than one that says nothing.
            target_session_attrs="read-write",
            **keep_in_touch(),
        )

    async def _run(self) -> None:
        while True:
            try:
                await self._listen()
            except (psycopg.Error, OSError) as exc:
                # Nothing is lost: it goes on after the last event that all clients were given.
                log.warning("stream_database_lost", error=str(exc))
            except Exception:
                # Some clients may have been given what others were not, and to go on may fail at
                # the same event for ever: all come back and read what they miss from the outbox.
                log.exception("stream_fault")
                self._let_go()
                # Those who come meanwhile wait: what is newest must be older than their replay.
                self._ready.clear()
                self._last = self._since = None
            await asyncio.sleep(RETRY_S)

    async def _listen(self) -> None:
        async with await self._connect() as conn:
            await conn.execute(f"LISTEN {OUTBOX_CHANNEL}")
            await conn.execute(f"LISTEN {POSITIONS_CHANNEL}")
            if self._last is None or self._since is None:
                self._last = await newest_event(conn)
                self._since = await database_now(conn)
                self._seen = {}
            self._ready.set()
            await self._follow(conn)

    async def _follow(self, conn: psycopg.AsyncConnection[Any]) -> None:
        moved, flush_at = True, 0.0
        while True:
            await self._forward_events(conn)
            if moved and time.monotonic() >= flush_at:
                await self._forward_positions(conn)
                moved, flush_at = False, time.monotonic() + FLUSH_S
            wait_s = max(0.0, flush_at - time.monotonic()) if moved else POLL_S
            moved = await self._moved(conn, wait_s) or moved

    async def _moved(self, conn: psycopg.AsyncConnection[Any], wait_s: float) -> bool:
        """Wait for a notification; whether positions may have changed (also when none came)."""
        channels = [n.channel async for n in conn.notifies(timeout=wait_s, stop_after=1)]
        return not channels or POSITIONS_CHANNEL in channels

    async def _forward_events(self, conn: psycopg.AsyncConnection[Any]) -> None:
        assert self._last is not None, "set when the listening began"
        while rows := await outbox_after(conn, self._last, BATCH):
            events = [StreamEvent.of(row) for row in rows]
            self._last = events[-1].id
            for client in self._clients:
                client.push_events(events)

    async def _forward_positions(self, conn: psycopg.AsyncConnection[Any]) -> None:
        assert self._since is not None, "set when the listening began"
        rows = await positions_since(conn, self._since - LOOK_BACK)
        new = [row for row in rows if self._seen.get(row["device_no"]) != row["updated_at"]]
        if rows:
            self._since = max(self._since, rows[-1]["updated_at"])
        self._seen = {row["device_no"]: row["updated_at"] for row in rows}
        positions = [StreamPosition.of(row) for row in new]
        for client in self._clients:
            client.push_positions(positions)
