"""The broker's side of ingest: a durable session for each shard held, all on one thread.

A session belongs to its shard, not to a worker: what the broker queues for it goes to whoever
holds the shard next. Each connection gets a new client, so that what an older one had in flight is
void (the broker delivers it again) and an acknowledgement cannot hit another message that was
given the same number. Only the loop's thread touches the clients.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections import Counter as Tally
from collections import deque
from collections.abc import Callable, Iterable, Sequence, Set
from typing import Any

import paho.mqtt.client as mqtt
import structlog
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions
from prometheus_client import Counter, Gauge

from tracker.db.leases import Health
from tracker.drops import Drops
from tracker.inbox import Command, Delivered, Inbox
from tracker.lean_client import LeanClient, Published
from tracker.sessions import FOREIGN, Session, filters_of, session_name
from tracker.settings import Settings

log = structlog.get_logger(__name__)

CONNECT_S = 10.0
RETRY_S = 0.5
MISC_S = 1.0
READS_A_TURN = 4
STUCK_S = 60.0
"""A turn of the loop takes milliseconds, a connection attempt at most seconds."""

AWAY_S = 30.0
"""Longer than a broker takes to restart: who reaches none leaves its shards to others."""

LINKS_UP = Gauge("tracker_broker_sessions_up", "Shards' sessions connected and subscribed.")
LINKS_LOST = Counter("tracker_broker_connections_lost_total", "Connections to the broker lost.")
LOOP_ENDED = Counter("tracker_broker_loop_restarts_total", "Times the broker's loop had ended.")

Client = LeanClient


class Links:
    """The sessions of one worker and their thread."""

    def __init__(self, settings: Settings, worker: str, *, term_s: float) -> None:
        self.inbox = Inbox()
        self.changed = threading.Event()
        self._settings = settings
        self._term_s = term_s
        self._receive_maximum = max(1, settings.mqtt_receive_maximum // (FOREIGN + 1))
        self._monitor = Session(
            name=f"{settings.mqtt_client_id}-monitor-{worker}",
            filters=[Drops.DROPPED_TOPIC, Drops.HELD_TOPIC],
            shard=None,
        )
        self._drops = Drops()
        self._sessions: dict[int, Session] = {}
        self._held: Set[int] = frozenset()
        self._confirmed_s = 0.0
        self._up = 0
        self._reached_s = self._tended_s = self._awake_s = time.monotonic()
        self._orders: deque[tuple[Sequence[Command], Sequence[Delivered]]] = deque()
        self._turned = threading.Condition()
        self._stop = threading.Event()
        self._start_loop()

    # ------------------------------------------------------------ for other threads

    @property
    def health(self) -> Health:
        """How we stand with the broker."""
        return Health(sessions_up=self._up, dropped=self._drops.dropped, held=self._drops.held)

    @property
    def in_reach(self) -> bool:
        """Whether the broker has been reached lately."""
        return time.monotonic() - max(self._reached_s, self._awake_s) < AWAY_S

    def hold(self, shards: Set[int], confirmed_s: float) -> None:
        """Keep just these shards' sessions up: they were surely ours at ``confirmed_s``.

        (monotonic). None is connected on an older word than its last loss, so that of two workers
        that both think they own a shard, only the right one comes back.
        """
        self._held = frozenset(shards)
        self._confirmed_s = confirmed_s
        self._wake()

    def let_go(self, shards: Set[int], timeout_s: float) -> None:
        """Leave these shards' sessions to the next owner; returns when they are left."""
        self._held = frozenset(self._held - shards)
        self._wake()
        with self._turned:
            self._turned.wait_for(lambda: not self._connected(shards), timeout_s)

    def _connected(self, shards: Iterable[int]) -> bool:
        found = (self._sessions.get(shard) for shard in shards)
        return any(session is not None and session.client is not None for session in found)

    def settle(self, commands: Sequence[Command], delivered: Sequence[Delivered]) -> None:
        """Publish to devices, then acknowledge messages to the broker.

        In this order: should the connection break between, the messages come again and with
        them whatever they ask for.
        """
        self._orders.append((commands, delivered))
        self._wake()

    def tend(self) -> None:
        """Start the loop again if its thread has ended. To be called every few seconds.

        Raises:
            RuntimeError: it does not end and does not go on; only a new process can help.
        """
        now_s = time.monotonic()
        if now_s - self._tended_s > AWAY_S / 2:
            self._awake_s = now_s  # stopped as a whole: the loop, too, has yet to go on
        self._tended_s = now_s
        if now_s - max(self._turn_s, self._awake_s) > STUCK_S:
            raise RuntimeError(f"the broker's loop has not turned for {STUCK_S:g} s")
        if not self._thread.is_alive() and not self._stop.is_set():
            log.error("the broker's loop had ended, starting it again")
            LOOP_ENDED.inc()
            for session in self._all():
                if session.client is not None:
                    self._forget(session, session.client)
            self._start_loop()

    def close(self) -> None:
        """End the loop and every connection; sessions stay with the broker."""
        self._stop.set()
        self._wake()
        self._thread.join(10)

    # ------------------------------------------------------------ the loop

    def _start_loop(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._waker, wakened = socket.socketpair()
        for end in (self._waker, wakened):
            end.setblocking(False)
        self._selector.register(wakened, selectors.EVENT_READ, None)
        self._wakened = wakened
        self._unsent: set[Session] = set()
        self._unread: set[Session] = set()
        self._came: list[Delivered] = []
        self._lost: Tally[str] = Tally()
        self._retry_at_s = 0.0
        self._misc_s = 0.0
        self._turn_s = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="broker", daemon=True)
        self._thread.start()

    def _wake(self) -> None:
        try:
            self._waker.send(b"\0")
        except OSError:
            return  # full: it will wake anyway; closed: it is ending

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._turn()
            for session in self._all():
                self._leave(session)
        finally:
            self._waker.close()
            self._wakened.close()
            self._selector.close()

    def _turn(self) -> None:
        self._follow_orders()
        self._open_and_leave()
        self._send()
        if self.inbox.full:
            self._stop.wait(0.05)  # what is not read, the broker keeps
        else:
            self._read(0.0 if self._unread else 0.5)
            self._send()
        if self._came:
            came, self._came = self._came, []
            self.inbox.put(came)
        now_s = time.monotonic()
        if now_s - self._misc_s >= MISC_S:
            self._misc_s = now_s
            self._misc(now_s)
        if self._lost:
            # A broker that ends takes all sessions with it: one line, not one for each.
            log.warning("disconnected from the broker", sessions=dict(self._lost))
            self._lost.clear()
        self._turn_s = now_s
        if self._monitor.up:
            self._reached_s = now_s
        with self._turned:
            self._turned.notify_all()

    def _all(self) -> list[Session]:
        return [self._monitor, *self._sessions.values()]

    def _follow_orders(self) -> None:
        while self._orders:
            commands, delivered = self._orders.popleft()
            for command in commands:
                session = self._sessions.get(command.shard)
                if session is not None and session.client is not None and session.up:
                    session.client.publish(command.topic, command.payload, qos=command.qos)
            mids: dict[Client, list[int]] = {}
            for one in delivered:
                if one.qos:
                    mids.setdefault(one.client, []).append(one.mid)
            for client, numbers in mids.items():
                client.acknowledge(numbers)

    def _read(self, timeout_s: float) -> None:
        again, self._unread = self._unread, set()
        for key, mask in self._selector.select(timeout_s):
            if key.data is None:
                self._drain_waker()
                continue
            if mask & selectors.EVENT_WRITE:
                self._unsent.add(key.data)
            if mask & selectors.EVENT_READ:
                again.add(key.data)
        for session in again:
            self._guarded(session, self._read_one)

    def _drain_waker(self) -> None:
        try:
            self._wakened.recv(4096)
        except BlockingIOError:
            return

    def _read_one(self, session: Session, client: Client) -> None:
        for _ in range(READS_A_TURN):
            arrived = client.arrived()
            if session.client is not client:
                return
            self._take(session, client, arrived)
            if not arrived and not _decrypted(client):
                return
        self._unread.add(session)

    def _take(self, session: Session, client: Client, arrived: Sequence[Published]) -> None:
        if session.shard is None:
            for message in arrived:
                self._drops.note(message.topic, message.payload)
            return
        now_ms = time.time_ns() // 1_000_000
        self._came += [Delivered(session.shard, client, message, now_ms) for message in arrived]

    def _send(self) -> None:
        unsent, self._unsent = self._unsent, set()
        for session in unsent:
            self._guarded(session, self._send_one)

    def _send_one(self, session: Session, client: Client) -> None:
        client.loop_write()
        sock: Any = client.socket()
        if session.client is not client or sock is None:
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if client.want_write() else 0)
        self._selector.modify(sock, events, session)

    def _misc(self, now_s: float) -> None:
        for session in self._all():
            if self.inbox.full:
                continue  # unread answers to pings must not look like a dead broker
            self._guarded(session, lambda _session, client: client.loop_misc())
            if session.client and not session.up and now_s - session.since_s > CONNECT_S:
                log.error("the broker does not answer", session=session.name)
                self._failed(session, session.client)

    def _guarded(self, session: Session, act: Callable[[Session, Client], object]) -> None:
        """Let a fault of one connection cost that connection only."""
        client = session.client
        if client is None:
            return
        try:
            act(session, client)
        except Exception:
            log.exception("connection dropped after a fault", session=session.name)
            self._failed(session, client)

    # ------------------------------------------------------------ connections

    def _open_and_leave(self) -> None:
        held, now_s = self._held, time.monotonic()
        for shard, session in self._sessions.items():
            if shard not in held and session.client is not None:
                self._leave(session)
        if now_s < self._retry_at_s:
            return
        if self._monitor.client is None:
            self._open(self._monitor)
        sure = now_s - self._confirmed_s < self._term_s
        for shard in sorted(held) if sure else ():
            session = self._sessions.get(shard) or self._add(shard)
            if session.client is None and self._confirmed_s > session.lost_s:
                self._open(session)
            if now_s < self._retry_at_s:
                return

    def _add(self, shard: int) -> Session:
        session = Session(
            name=session_name(self._settings.mqtt_client_id, shard),
            filters=filters_of(shard, self._settings.traccar_topic),
            shard=shard,
        )
        self._sessions[shard] = session
        return session

    def _open(self, session: Session) -> None:
        session.since_s = time.monotonic()
        client = session.client = session.new_client(self._settings)
        self._listen_to(client)
        try:
            session.connect(client, self._settings, self._receive_maximum)
        except OSError as exc:
            log.error("no connection to the broker", error=str(exc))
            self._failed(session, client)

    def _listen_to(self, client: Client) -> None:
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        client.on_socket_open = self._on_socket_open
        client.on_socket_close = self._on_socket_close
        client.on_socket_register_write = self._on_want_write

    def _leave(self, session: Session) -> None:
        client = session.client
        if client is None:
            return
        client.on_disconnect = None
        client.disconnect()
        self._guarded(session, lambda _session, client: client.loop_write())
        self._forget(session, client)
        session.known = False

    def _failed(self, session: Session, client: mqtt.Client) -> None:
        """A connection is lost or did not come about: try again, but not at once."""
        self._forget(session, client)
        self._retry_at_s = time.monotonic() + RETRY_S
        self.changed.set()

    def _forget(self, session: Session, client: mqtt.Client) -> None:
        """Be rid of a client, whatever state it is in."""
        if session.client is not client:
            return
        session.client = None
        session.up = False
        session.lost_s = time.monotonic()
        client.on_disconnect = None
        self._unread.discard(session)
        self._came = [one for one in self._came if one.client is not client]
        self.inbox.forget(client)
        sock: Any = client.socket()
        if sock is not None:
            self._on_socket_close(client, session, sock)
            client.on_socket_close = None
            sock.close()
        self._count_up()

    def _count_up(self) -> None:
        self._up = sum(session.up for session in self._sessions.values())
        LINKS_UP.set(self._up)
        if self._up and self._up == len(self._held):
            log.info("connected", sessions=self._up)
            self.changed.set()

    # ------------------------------------------------------------ paho's callbacks

    def _on_connect(
        self,
        client: mqtt.Client,
        session: Session,
        flags: mqtt.ConnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            log.error("the broker refused the connection", reason=str(reason))
            return
        # At every connection: a broker that lost its sessions would otherwise hand us nothing.
        # The retained births are read by each new owner, and again if the session is new.
        handling = SubscribeOptions.RETAIN_SEND_IF_NEW_SUB
        if not (session.known and flags.session_present):
            handling = SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE
        options = SubscribeOptions(qos=1, retainHandling=handling)
        client.subscribe([(name, options) for name in session.filters])

    def _on_subscribe(
        self,
        _client: mqtt.Client,
        session: Session,
        _mid: int,
        reasons: list[ReasonCode],
        _properties: Properties | None,
    ) -> None:
        refused = [str(reason) for reason in reasons if reason.is_failure]
        if refused:
            log.error("the broker refused a subscription", session=session.name, reasons=refused)
        session.up = session.known = True
        self._count_up()

    def _on_disconnect(
        self,
        client: mqtt.Client,
        session: Session,
        _flags: mqtt.DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        self._lost[str(reason)] += 1
        LINKS_LOST.inc()
        self._failed(session, client)

    def _on_socket_open(self, _client: mqtt.Client, session: Session, sock: Any) -> None:
        self._selector.register(sock, selectors.EVENT_READ, session)

    def _on_socket_close(self, _client: mqtt.Client, _session: Session, sock: Any) -> None:
        try:
            self._selector.unregister(sock)
        except (KeyError, ValueError):
            return  # paho closes twice on some ways

    def _on_want_write(self, _client: mqtt.Client, session: Session, _sock: Any) -> None:
        self._unsent.add(session)


def _decrypted(client: Client) -> bool:
    """Whether TLS has bytes that the selector does not see."""
    pending = getattr(client.socket(), "pending", None)
    return bool(pending and pending())
