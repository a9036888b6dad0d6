"""The MQTT edge: one paho client a connection, all on one selector, no threads.

A thread and a select() a device would end at some hundreds (select's 1,024 descriptors); one
epoll loop carries thousands, and device code runs on one thread, so it needs no locks.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from firmware_sim.device import Device
from firmware_sim.errors import BrokerError
from firmware_sim.wire import Message

KEEPALIVE_S = 60
_CONNECT_TIMEOUT_S = 10.0
_RETRY_FIRST_S, _RETRY_MAX_S = 0.5, 30.0
# The broker keeps commands for a device that is away for an hour (contract: cmd with QoS 1).
_SESSION_EXPIRY_S = 3600
_REFUSED = {"Bad user name or password", "Not authorized", "Banned", "Bad authentication method"}

State = Literal["down", "connecting", "up", "closing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """Where the broker is and how to log in. Without a username, a device's own id is not sent."""

    host: str = "127.0.0.1"
    port: int = 1883
    username: str | None = None
    password: str | None = None
    tls_ca: Path | None = None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Wires:
    """All sockets of the run on one selector."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def pump(self, timeout_s: float) -> None:
        """Wait for traffic at most so long and let the clients read and write."""
        if not self._selector.get_map():
            time.sleep(min(timeout_s, 0.05))
            return
        for key, mask in self._selector.select(timeout_s):
            client: mqtt.Client = key.data
            if mask & selectors.EVENT_READ:
                client.loop_read()
            if mask & selectors.EVENT_WRITE and client.socket() is not None:
                client.loop_write()

    def watch(self, client: mqtt.Client) -> None:
        """Take over a client's socket events."""
        client.on_socket_open = lambda c, _, sock: self._set(c, sock, write=False)
        client.on_socket_close = lambda _c, _u, sock: self._forget(sock)
        client.on_socket_register_write = lambda c, _, sock: self._set(c, sock, write=True)
        client.on_socket_unregister_write = lambda c, _, sock: self._set(c, sock, write=False)

    def close(self) -> None:
        """Release the selector."""
        self._selector.close()

    def _set(self, client: mqtt.Client, sock: Any, *, write: bool) -> None:
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if write else 0)
        if sock.fileno() in self._selector.get_map():
            self._selector.modify(sock, events, client)
        elif not write or client.socket() is sock:
            self._selector.register(sock, events, client)

    def _forget(self, sock: Any) -> None:
        if sock.fileno() in self._selector.get_map():
            self._selector.unregister(sock)


class Link:
    """A device's connection. A new client for each one: what is unsent lives in the store."""

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
        self._client: mqtt.Client | None = None
        self._since_s = 0.0
        self._retry_s = _RETRY_FIRST_S
        self._not_before_s = 0.0

    def open(self) -> None:
        """Begin a connection, unless it is too early to try again."""
        if time.monotonic() < self._not_before_s:
            return
        self.state, self._since_s, self.unconfirmed = "connecting", time.monotonic(), 0
        self._client = self._new_client(self.device.connect())
        try:
            self._client.connect(
                self._broker.host,
                self._broker.port,
                keepalive=KEEPALIVE_S,
                clean_start=False,
                properties=_session(),
            )
        except OSError as error:
            self._failed()
            if not self.connections:
                raise BrokerError(
                    f"no broker at {self._broker} ({error}); start it or give --host and --port"
                ) from error

    def publish(self, messages: Sequence[Message]) -> None:
        """Hand messages to the client; they are in the store until the server acks them."""
        if self._client is None:
            return
        for message in messages:
            self._client.publish(
                message.topic, message.payload, qos=message.qos, retain=message.retain
            )
            self.unconfirmed += 1
            self.published += 1

    def drop(self) -> None:
        """The radio is gone: no DISCONNECT, so that the broker publishes the will."""
        client, self._client = self._client, None
        self.state = "down"
        self.device.lost()
        sock: Any = client.socket() if client else None
        if client is None or sock is None:
            return
        client.on_disconnect = None
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            self.state = "down"  # the other side was faster
        client.loop_read()

    def leave(self) -> None:
        """Say goodbye and disconnect once the broker has it; `state` is then down."""
        if self.state != "up":
            self.drop()
            return
        self.publish(self.device.leave(self._now_ms()))
        self.state = "closing"
        self._disconnect_if_quiet()

    def misc(self) -> None:
        """Keepalive and time-outs; call it about once a second."""
        if self._client is not None:
            self._client.loop_misc()
        late = time.monotonic() - self._since_s > _CONNECT_TIMEOUT_S
        if self.state == "connecting" and late:
            self.drop()
            self._failed()

    def _new_client(self, will: Message) -> mqtt.Client:
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self.device.config.id,
            protocol=MQTTProtocolVersion.MQTTv5,
        )
        username, password = self._login
        if username is not None:
            client.username_pw_set(username, password)
        if self._broker.tls_ca is not None:
            client.tls_set(ca_certs=str(self._broker.tls_ca))
        client.will_set(will.topic, will.payload, qos=will.qos, retain=will.retain)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        client.on_disconnect = self._on_disconnect
        self._wires.watch(client)
        return client

    def _on_connect(
        self, client: mqtt.Client, _data: Any, _flags: Any, reason: ReasonCode, _props: Any
    ) -> None:
        if reason.is_failure:
            self._failed()
            if str(reason) in _REFUSED:
                raise BrokerError(
                    f"the broker at {self._broker} refuses {self.device.config.id}: {reason}; "
                    "check --username and --password, or register the device"
                )
            return
        client.subscribe(self.device.topic("cmd"), qos=1)

    def _on_subscribe(
        self, _client: mqtt.Client, _data: Any, _mid: int, _codes: Any, _props: Any
    ) -> None:
        # Only now: an ack sent before the subscription stands would be lost.
        self.state = "up"
        self.connections += 1
        self._retry_s = _RETRY_FIRST_S
        self.publish(self.device.connected(self._now_ms()))

    def _on_message(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        self.publish(self.device.receive(self._now_ms(), bytes(message.payload)))

    def _on_publish(
        self, client: mqtt.Client, _data: Any, _mid: int, _reason: Any, _props: Any
    ) -> None:
        if client is self._client:
            self.unconfirmed -= 1
            self._disconnect_if_quiet()

    def _on_disconnect(
        self, client: mqtt.Client, _data: Any, _flags: Any, _reason: Any, _props: Any
    ) -> None:
        if client is not self._client:
            return
        if self.state == "closing":
            self.state, self._client = "down", None
        elif self.state != "down":
            self._failed()

    def _disconnect_if_quiet(self) -> None:
        if self.state == "closing" and self.unconfirmed <= 0 and self._client is not None:
            error = self._client.disconnect()
            if error is not MQTTErrorCode.MQTT_ERR_SUCCESS:
                self.drop()

    def _failed(self) -> None:
        self.state, self._client = "down", None
        self.device.lost()
        self._not_before_s = time.monotonic() + self._retry_s
        self._retry_s = min(self._retry_s * 2, _RETRY_MAX_S)


def _session() -> Properties:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = _SESSION_EXPIRY_S
    return properties
