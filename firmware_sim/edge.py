"""The MQTT edge: a few hundred bytes a connection, all on one selector, no threads.

One epoll loop carries tens of thousands of devices, and device code runs on one thread, so it
needs no locks. The packets are in `mqtt5`; what is unsent lives in the device's store.
"""

from __future__ import annotations

import errno
import selectors
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal

from firmware_sim import mqtt5
from firmware_sim.device import Device
from firmware_sim.errors import BrokerError
from firmware_sim.limits import sources_for
from firmware_sim.wire import Message

KEEPALIVE_S = 60
_CONNECT_TIMEOUT_S = 10.0
# A listening broker's queue holds about a hundred; more at once are dropped and tried again late.
_CONNECTING_AT_ONCE = 90
_RETRY_FIRST_S, _RETRY_MAX_S = 0.5, 30.0
# The broker keeps commands for a device that is away for an hour (contract: cmd with QoS 1).
_SESSION_EXPIRY_S = 3600
# Bad user name or password, not authorised, banned, bad authentication method: asking again is
# no use.
_REFUSED = frozenset({0x86, 0x87, 0x8A, 0x8C})
_RECEIVE_BYTES = 65_536
# A broker closes its side as soon as it has read ours to the end.
_LINGER_S = 5.0
# Linux: the port is chosen when the other end is known, so that ports are shared by destinations.
_BIND_ADDRESS_NO_PORT = 24
_LAST_NUMBER = 65_535

State = Literal["down", "connecting", "up", "closing"]
Stage = Literal["tcp", "tls", "connack", "suback", "done"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """Where the broker is and how to log in. Without a username, a device's own id is not sent.

    `cert_dir`: holds `ID.crt` and `ID.key` of every device; needs `tls_ca`.
    """

    host: str = "127.0.0.1"
    port: int = 1883
    username: str | None = None
    password: str | None = None
    tls_ca: Path | None = None
    cert_dir: Path | None = None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    def check(self, device_ids: Iterable[str]) -> None:
        """BrokerError unless there is a certificate for every device, where they need one."""
        if self.cert_dir is None:
            return
        for name in device_ids:
            for file in (self.cert_dir / f"{name}.crt", self.cert_dir / f"{name}.key"):
                if not file.is_file():
                    raise BrokerError(
                        f"no {file}; give every device a certificate (tracker ca issue {name}; "
                        "firmware_sim check --list-devices names them all) and keep --prefix"
                    )

    def context(self, device_id: str) -> ssl.SSLContext | None:
        """TLS for a device; None without TLS. BrokerError if a file is missing or bad."""
        if self.tls_ca is None:
            return None
        try:
            context = ssl.create_default_context(cafile=str(self.tls_ca))
            if self.cert_dir is not None:
                own = self.cert_dir / device_id
                context.load_cert_chain(f"{own}.crt", f"{own}.key")
        except OSError as error:  # an SSLError is one too
            where = self.cert_dir / f"{device_id}.crt" if self.cert_dir else self.tls_ca
            raise BrokerError(
                f"certificate {where}: {error.strerror or error}; give --ca, and in --cert-dir "
                "ID.crt and ID.key of every device (tracker ca issue makes them)"
            ) from error
        return context


class Wires:
    """All sockets of the run on one selector."""

    def __init__(self) -> None:
        self.ever_up = False
        # Until then a refused log-in is tried again: the broker may not know it yet.
        self.patient_until_s = 0.0
        self.connecting = 0
        self.dirty: set[Link] = set()
        self._selector = selectors.DefaultSelector()
        self._addresses: dict[tuple[str, int], tuple[int, Any]] = {}
        self._sources: list[str] = []
        self._ending: dict[socket.socket, float] = {}
        self._turn = 0

    def prepare(self, broker: Broker, connections: int) -> None:
        """Find out addresses for so many connections; BrokerError if there cannot be so many."""
        _, address = self.address(broker)
        self._sources = sources_for(connections, str(address[0]))

    def address(self, broker: Broker) -> tuple[int, Any]:
        """(family, address) of the broker, looked up once."""
        key = broker.host, broker.port
        if key not in self._addresses:
            try:
                found = socket.getaddrinfo(*key, type=socket.SOCK_STREAM)
            except OSError as error:
                raise BrokerError(_nobody(broker, error)) from error
            self._addresses[key] = found[0][0], found[0][4]
        return self._addresses[key]

    def begin(self, broker: Broker) -> socket.socket:
        """A socket whose connection to the broker has begun."""
        family, address = self.address(broker)
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._sources and ip_address(address[0]).version != 6:
                sock.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
                sock.bind((self._sources[self._turn % len(self._sources)], 0))
                self._turn += 1
            code = sock.connect_ex(address)
            if code not in (0, errno.EINPROGRESS):
                raise OSError(code, "connect")
        except OSError:
            sock.close()
            raise
        return sock

    @property
    def room(self) -> bool:
        """Whether one more connection may begin now."""
        return self.connecting < _CONNECTING_AT_ONCE

    def pump(self, timeout_s: float) -> None:
        """Send what waits, then wait for traffic at most so long and let the links work."""
        self.flush()
        if self._ending:
            self.tidy()
        if not self._selector.get_map():
            time.sleep(min(timeout_s, 0.05))
            return
        for key, mask in self._selector.select(timeout_s):
            link: Link | _Ending = key.data
            link.ready(readable=bool(mask & selectors.EVENT_READ))
        self.flush()

    def end(self, sock: socket.socket) -> None:
        """Close our side; the socket stays until the broker has read all and closed its own.

        To close it at once would throw away what the broker has not read yet: with an answer
        unread, or still to come, the system resets the connection.
        """
        try:
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            sock.close()  # the broker was faster
            return
        self._ending[sock] = time.monotonic() + _LINGER_S
        self._selector.register(sock, selectors.EVENT_READ, _Ending(sock, self.ended))

    def ends(self, sock: socket.socket | None) -> bool:
        """Whether the broker has yet to close its side."""
        return sock in self._ending

    def ended(self, sock: socket.socket) -> None:
        """The broker has closed its side too."""
        self.forget(sock)
        self._ending.pop(sock, None)
        sock.close()

    def tidy(self) -> None:
        """Give up sockets whose other side does not close."""
        now_s = time.monotonic()
        for sock in [sock for sock, until_s in self._ending.items() if until_s < now_s]:
            self.ended(sock)

    def flush(self) -> None:
        """Send what links have gathered since: one call a link, however many messages."""
        while self.dirty:
            self.dirty.pop().flush()

    def watch(self, sock: socket.socket, link: Link, *, write: bool) -> None:
        """Wake a link when there is something to read, or also when it can write."""
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if write else 0)
        if sock.fileno() in self._selector.get_map():
            self._selector.modify(sock, events, link)
        else:
            self._selector.register(sock, events, link)

    def forget(self, sock: socket.socket) -> None:
        """The socket is about to be closed."""
        if sock.fileno() in self._selector.get_map():
            self._selector.unregister(sock)

    def close(self) -> None:
        """Let last words arrive, then release the selector."""
        while self._ending:
            self.pump(_LINGER_S)
        self._selector.close()


class _Ending:
    """A socket whose last words are under way: read until the broker has closed it."""

    __slots__ = ("_ended", "_sock")

    def __init__(self, sock: socket.socket, ended: Callable[[socket.socket], None]) -> None:
        self._sock, self._ended = sock, ended

    def ready(self, *, readable: bool) -> None:
        """What still comes is of no use to a device that is away."""
        try:
            while self._sock.recv(_RECEIVE_BYTES):
                continue
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
            return
        except OSError:
            self._ended(self._sock)  # reset: just as closed
            return
        self._ended(self._sock)


class Link:
    """A device's connection. Opened as often as it is lost."""

    __slots__ = (
        "__weakref__",
        *("device", "state", "unconfirmed", "published", "connections"),
        *("_broker", "_wires", "_now_ms", "_login", "_sock", "_stage", "_in", "_out"),
        *("_waiting", "_quota", "_number", "_since_s", "_heard_s", "_spoke_s"),
        *("_retry_s", "_not_before_s", "_writing", "_ends", "_last"),
    )

    def __init__(
        self,
        device: Device,
        *,
        broker: Broker,
        wires: Wires,
        now_ms: Callable[[], int],
        username: str | None = None,
        password: str | None = None,
    ) -> None:
        """`now_ms`: true time of the device's vehicle, for what the device does on its own."""
        self.device = device
        self.state: State = "down"
        self.unconfirmed = 0
        self.published = 0
        self.connections = 0
        self._broker, self._wires, self._now_ms = broker, wires, now_ms
        self._login = (username or broker.username, password or broker.password)
        self._sock: socket.socket | None = None
        self._stage: Stage = "done"
        self._in, self._out = bytearray(), bytearray()
        self._waiting: deque[Message] = deque()
        self._quota = self._number = 0
        self._since_s = self._heard_s = self._spoke_s = 0.0
        self._retry_s, self._not_before_s = _RETRY_FIRST_S, 0.0
        self._writing = self._ends = False
        self._last: socket.socket | None = None

    # -- what the run asks for ---------------------------------------------------------------

    def open(self) -> None:
        """Begin a connection, unless it is too early to try again or too many are beginning.

        Too early is also as long as the broker has not seen the end of the last: it would hand the
        session over, drop unread what was sent before, and publish no will. Flat out, the minutes
        that a device is away for may be less than the broker takes to look.
        """
        now_s = time.monotonic()
        if now_s < self._not_before_s or not self._wires.room or self._wires.ends(self._last):
            return
        context = self._broker.context(self.device.config.id)
        try:
            sock = self._wires.begin(self._broker)
        except OSError as error:
            self._failed(error)
            return
        if context is not None:
            sock = context.wrap_socket(
                sock, server_hostname=self._broker.host, do_handshake_on_connect=False
            )
        self._sock, self._stage = sock, "tcp"
        self._turn("connecting")
        self.unconfirmed, self._ends = 0, False
        self._since_s = self._heard_s = self._spoke_s = now_s
        self._watch(write=True)

    def publish(self, messages: Sequence[Message]) -> None:
        """Hand messages over; they are in the store until the server acks them."""
        if self._sock is None:
            return
        for message in messages:
            self.unconfirmed += 1
            self.published += 1
            if self._quota > 0 and not self._waiting:
                self._put(message)
            else:
                self._waiting.append(message)

    def drop(self) -> None:
        """The radio is gone: no DISCONNECT, so that the broker publishes the will.

        What was handed over before is let out first: by the device's clock it went minutes ago.
        """
        if self._stage == "done":
            self.flush()
        self._close(linger=self._stage == "done")
        self._turn("down")
        self.device.lost()

    def leave(self) -> None:
        """Say goodbye and disconnect once the broker has it; `state` is then down."""
        if self.state != "up":
            self.drop()
            return
        self.publish(self.device.leave(self._now_ms()))
        self._turn("closing")
        self._end_if_quiet()

    def misc(self) -> None:
        """Keepalive and time-outs; call it about once a second."""
        now_s = time.monotonic()
        if self.state == "connecting" and now_s - self._since_s > _CONNECT_TIMEOUT_S:
            self._failed(TimeoutError("no answer"))
        elif self._sock is None:
            return
        elif now_s - self._heard_s > 1.5 * KEEPALIVE_S:
            self._failed(TimeoutError("the broker fell silent"))
        elif self._stage == "done" and now_s - self._spoke_s > 0.75 * KEEPALIVE_S:
            self._send(mqtt5.PINGREQ)

    # -- the socket --------------------------------------------------------------------------

    def ready(self, *, readable: bool) -> None:
        """The selector says that the socket can be read or written."""
        try:
            if self._stage == "tcp" and not self._connected():
                return
            if self._stage == "tls" and not self._shaken():
                return
            self.flush()
            if readable:
                self._receive()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
            return
        except (OSError, mqtt5.ProtocolError) as error:
            self._failed(error)

    def flush(self) -> None:
        """Send as much as the socket takes."""
        if self._sock is None or self._stage in ("tcp", "tls"):
            return
        try:
            while self._out:
                sent = self._sock.send(self._out)
                del self._out[:sent]
                self._spoke_s = time.monotonic()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
            self._watch(write=True)
            return
        except OSError as error:
            self._failed(error)
            return
        if self._ends:
            # An ack that is still to come must not reset what the broker has yet to read.
            self._close(linger=True)
            self._turn("down")
        elif self._writing:
            self._watch(write=False)

    def _connected(self) -> bool:
        assert self._sock is not None
        code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, errno.errorcode.get(code, "connect"))
        if isinstance(self._sock, ssl.SSLSocket):
            self._stage = "tls"
            return True
        return self._greet()

    def _shaken(self) -> bool:
        assert isinstance(self._sock, ssl.SSLSocket)
        try:
            self._sock.do_handshake()
        except ssl.SSLWantReadError:
            self._watch(write=False)
            return False
        except ssl.SSLWantWriteError:
            self._watch(write=True)
            return False
        return self._greet()

    def _greet(self) -> bool:
        self._stage = "connack"
        will = self.device.connect()
        username, password = self._login
        self._send(
            mqtt5.connect(
                self.device.config.client_id or self.device.config.id,
                keepalive_s=KEEPALIVE_S,
                session_expiry_s=_SESSION_EXPIRY_S,
                will=mqtt5.Will(topic=will.topic, payload=will.payload, retain=will.retain),
                username=username,
                password=password,
            )
        )
        return True

    def _receive(self) -> None:
        """Read all that is there: TLS may hold more than the selector knows of."""
        while self._sock is not None:
            data = self._sock.recv(_RECEIVE_BYTES)
            if not data:
                raise ConnectionResetError(errno.ECONNRESET, "closed by the broker")
            self._heard_s = time.monotonic()
            self._in += data
            for packet in mqtt5.read(self._in):
                self._take(packet)
                if self._sock is None:
                    return
            if len(data) < _RECEIVE_BYTES and not isinstance(self._sock, ssl.SSLSocket):
                return

    def _take(self, packet: mqtt5.Packet) -> None:
        if packet.kind == mqtt5.PUBLISH:
            if packet.number:
                self._send(mqtt5.puback(packet.number))
            self.publish(self.device.receive(self._now_ms(), packet.payload))
        elif packet.kind == mqtt5.PUBACK:
            self._confirmed()
        elif packet.kind == mqtt5.CONNACK:
            self._accepted(packet)
        elif packet.kind == mqtt5.SUBACK:
            self._subscribed(packet)
        elif packet.kind == mqtt5.DISCONNECT:
            raise ConnectionResetError(errno.ECONNRESET, f"the broker says: {packet.reason}")

    def _accepted(self, packet: mqtt5.Packet) -> None:
        if packet.code in _REFUSED:
            if time.monotonic() < self._wires.patient_until_s:
                self._again()
                return
            raise BrokerError(
                f"the broker at {self._broker} refuses {self.device.config.id}: {packet.reason}; "
                "check --username and --password (run: --mqtt-user, --mqtt-password), or register "
                "the device"
            )
        if packet.code:
            raise ConnectionRefusedError(errno.ECONNREFUSED, packet.reason)
        self._quota = packet.receive_maximum
        self._stage = "suback"
        self._send(mqtt5.subscribe(self.device.topic("cmd"), self._next_number()))

    def _subscribed(self, packet: mqtt5.Packet) -> None:
        if packet.code >= 0x80:
            raise BrokerError(
                f"the broker at {self._broker} lets {self.device.config.id} not read its "
                f"commands: {packet.reason}; log in as this device, or mend the access list"
            )
        # Only now: an ack sent before the subscription stands would be lost.
        self._stage = "done"
        self._turn("up")
        self._wires.ever_up = True
        self.connections += 1
        self._retry_s = _RETRY_FIRST_S
        self.publish(self.device.connected(self._now_ms()))

    def _confirmed(self) -> None:
        self.unconfirmed -= 1
        self._quota += 1
        if self._waiting:
            self._put(self._waiting.popleft())
        self._end_if_quiet()

    # -- small steps -------------------------------------------------------------------------

    def _put(self, message: Message) -> None:
        self._quota -= 1
        number = self._next_number()
        self._send(mqtt5.publish(message.topic, message.payload, number, retain=message.retain))

    def _next_number(self) -> int:
        self._number = self._number % _LAST_NUMBER + 1
        return self._number

    def _send(self, data: bytes) -> None:
        self._out += data
        self._wires.dirty.add(self)

    def _watch(self, *, write: bool) -> None:
        if self._sock is not None:
            self._writing = write
            self._wires.watch(self._sock, self, write=write)

    def _turn(self, state: State) -> None:
        before, self.state = self.state, state
        self._wires.connecting += (state == "connecting") - (before == "connecting")

    def _end_if_quiet(self) -> None:
        if self.state == "closing" and self.unconfirmed <= 0:
            self._ends = True
            self._send(mqtt5.GOODBYE)

    def _close(self, *, linger: bool = False) -> None:
        sock, self._sock = self._sock, None
        self._stage = "done"
        self._in, self._out = bytearray(), bytearray()
        self._waiting.clear()
        self._wires.dirty.discard(self)
        if sock is not None:
            self._last = sock
            self._wires.forget(sock)
            if linger:
                self._wires.end(sock)
            else:
                sock.close()

    def _again(self) -> None:
        """Down; the next attempt comes later each time."""
        self._close()
        self._turn("down")
        self.device.lost()
        self._not_before_s = time.monotonic() + self._retry_s
        self._retry_s = min(self._retry_s * 2, _RETRY_MAX_S)

    def _failed(self, error: Exception) -> None:
        """The connection is lost, or did not come about: try again, later each time."""
        left = self.state == "closing"
        self._again()
        if not left and not self._wires.ever_up:
            raise BrokerError(_nobody(self._broker, error)) from error


def _nobody(broker: Broker, error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        why = getattr(error, "verify_message", "") or error.reason or str(error)
        return (
            f"the broker at {broker} and we do not trust each other ({why}); give --ca with the "
            "broker's authority and --cert-dir with certificates that it knows"
        )
    return f"no broker at {broker} ({error}); start it or give --host and --port (run: --mqtt)"
