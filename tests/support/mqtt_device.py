"""A device that speaks plain MQTT: publishes what it is told and collects what it is answered."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import zlib
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from tests.support.stack import Stack

WAIT_S = 60.0
"""For what comes at once, on a machine that has other work."""


def topic_of(device: str, kind: str, channel: str) -> str:
    """The contract's topic of a device's channel."""
    shard = zlib.crc32(device.encode("ascii")) % 64
    return f"cts/v1/{shard:02d}/{kind}/{device}/{channel}"


def signed(topic: str, body: bytes, *, kid: str, secret_b64: str) -> bytes:
    """The body with the trailer of the contract."""
    mac = hmac.new(base64.b64decode(secret_b64), topic.encode() + b"\0" + body, hashlib.sha256)
    trailer = base64.urlsafe_b64encode(mac.digest()[:16]).rstrip(b"=")
    return body + b"\n" + kid.encode() + b"." + trailer


class MqttDevice:
    """A device's connection; ``with`` it, publish, and wait for its acks."""

    def __init__(self, stack: Stack, device: str, kind: str) -> None:
        self.id, self.kind = device, kind
        self.heard: list[dict[str, Any]] = []
        self._news = threading.Condition()
        self._ready = threading.Event()
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"test-{device}",
            protocol=mqtt.MQTTv5,
        )
        self._client.on_connect = lambda c, *_: c.subscribe(topic_of(device, kind, "cmd"), 1)
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = self._hear
        self._client.connect(*stack.mqtt)
        self._client.loop_start()
        assert self._ready.wait(WAIT_S), "no subscription"

    def _hear(self, client: mqtt.Client, userdata: Any, message: mqtt.MQTTMessage) -> None:
        with self._news:
            self.heard.append(json.loads(message.payload))
            self._news.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def raw(self, payload: bytes, channel: str = "tlm", *, retain: bool = False) -> None:
        """Publish bytes and wait for the broker's answer."""
        topic = topic_of(self.id, self.kind, channel)
        self._client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(WAIT_S)

    def send(self, body: Any, channel: str = "tlm", *, retain: bool = False) -> None:
        """Publish JSON."""
        self.raw(json.dumps(body).encode(), channel, retain=retain)

    def send_to(self, topic: str, body: Any) -> None:
        """Publish JSON to any topic."""
        self._client.publish(topic, json.dumps(body), qos=1).wait_for_publish(WAIT_S)

    def send_signed(self, body: Any, key: dict[str, str], channel: str = "tlm") -> None:
        """Publish signed JSON; ``key`` is that of the answer to POST /devices."""
        data = json.dumps(body).encode()
        topic = topic_of(self.id, self.kind, channel)
        self.raw(signed(topic, data, kid=key["kid"], secret_b64=key["secret_b64"]), channel)

    def born(self, gen: int | None = 0, lo: int = 1, conn: int = 1, **more: Any) -> None:
        """Publish a birth, which has the state of the store acknowledged at once."""
        body = {"on": True, "ts": 1, "conn": conn, "boot": 1, "gen": gen, "lo": lo, "fw": "1"}
        self.send(body | more, "state", retain=True)

    def wait(
        self, what: Callable[[dict[str, Any]], bool], text: str, timeout_s: float = WAIT_S
    ) -> dict[str, Any]:
        """The first command heard that fits.

        Raises:
            AssertionError: none came in time; the text shows what did.
        """
        with self._news:
            came = self._news.wait_for(lambda: any(what(c) for c in self.heard), timeout_s)
            assert came, f"waited for {text}; heard {self.heard}"
            return next(c for c in self.heard if what(c))

    def ack(self, **wanted: Any) -> dict[str, Any]:
        """The first ack with these values."""
        return self.wait(
            lambda c: c["op"] == "ack" and all(c.get(k) == v for k, v in wanted.items()),
            f"an ack with {wanted}",
        )


def batches(records: Sequence[Any], size: int = 100) -> list[list[Any]]:
    """Arrays of at most ``size`` records."""
    return [list(records[i : i + size]) for i in range(0, len(records), size)]
