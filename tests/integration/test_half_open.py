"""Half-open connections at a real broker: a will that comes late says nothing of the newer one."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import paho.mqtt.client as mqtt
import psycopg
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.support.customs import Customs
from tests.support.mqtt_device import MqttDevice, topic_of
from tests.support.stack import Stack
from tests.support.waiting import wait_until

WAIT_S = 60.0
GIVEN_UP_S = 5
"""Keepalive of the connection that dies: long enough for its birth on a busy machine."""
KEPT_S = 60
"""Keepalive of the connection that lives, whatever the machine does meanwhile."""


@pytest.fixture(scope="module")
def customs(stack: Stack) -> Customs:
    return Customs(stack, "half")


class Wire:
    """A connection of a device that can fall silent without closing: nobody pings, nobody reads."""

    def __init__(
        self, stack: Stack, device: str, *, conn: int, client_id: str, keepalive_s: int
    ) -> None:
        will = {"on": False, "conn": conn}
        self.topic = topic_of(device, "gps", "state")
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, protocol=mqtt.MQTTv311
        )
        self._client.will_set(self.topic, json.dumps(will), qos=1, retain=True)
        self._up = threading.Event()
        self._client.on_connect = lambda *_: self._up.set()
        self._client.connect(*stack.mqtt, keepalive=keepalive_s)
        wait_until(self._connected, WAIT_S, "a connection")
        birth = {"on": True, "ts": 1, "conn": conn, "boot": 1, "gen": 0, "lo": 1}
        sent = self._client.publish(self.topic, json.dumps(birth), qos=1, retain=True)
        wait_until(lambda: self._step() and sent.is_published(), WAIT_S, "the birth")

    def _connected(self) -> bool:
        return self._step() and self._up.is_set()

    def _step(self) -> bool:
        self._client.loop(0.05)
        return True

    def live(self) -> None:
        """Answer and ping from now on."""
        self._client.loop_start()

    def close(self) -> None:
        """Close the socket without a word of MQTT, as the system does in the end."""
        self._client.loop_stop()
        held = self._client.socket()
        if held is not None:
            held.close()


@contextmanager
def listening(stack: Stack, topic: str) -> Iterator[list[dict[str, Any]]]:
    """What is said on a topic from now on, retained messages left out."""
    heard: list[dict[str, Any]] = []
    ready = threading.Event()
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.on_connect = lambda c, *_: c.subscribe(topic, 1)
    client.on_subscribe = lambda *_: ready.set()
    client.on_message = lambda _c, _u, m: m.retain or heard.append(json.loads(m.payload))
    client.connect(*stack.mqtt)
    client.loop_start()
    try:
        assert ready.wait(WAIT_S)
        yield heard
    finally:
        client.disconnect()
        client.loop_stop()


def online(customs: Customs, device: str) -> Any:
    return customs.get(f"/devices/{device}").get("online")


def newest_conn(stack: Stack, device: str) -> int | None:
    """The connection of the newest birth that was stored; a will of it changes nothing here."""
    with psycopg.connect(stack.dsn) as db:
        row = db.execute(
            "SELECT conn FROM device_state JOIN devices USING (device_no) WHERE id = %s", (device,)
        ).fetchone()
    return row[0] if row else None


@pytest.mark.parametrize("same_id", [False, True], ids=["another-session", "taken-over"])
def test_the_late_will_of_a_half_open_connection_is_ignored(
    customs: Customs, same_id: bool
) -> None:
    device = customs.device(f"late{int(same_id)}", "gps")
    stack = customs.stack
    with listening(stack, topic_of(device, "gps", "state")) as heard:
        dead = Wire(stack, device, conn=1, client_id=f"{device}-1", keepalive_s=GIVEN_UP_S)
        wait_until(lambda: newest_conn(stack, device) == 1, WAIT_S, "the first birth")
        client_id = f"{device}-1" if same_id else f"{device}-2"
        alive = Wire(stack, device, conn=2, client_id=client_id, keepalive_s=KEPT_S)
        alive.live()
        wait_until(
            lambda: {"on": False, "conn": 1} in heard, WAIT_S, "the broker to send the old will"
        )
        dead.close()
        # What comes after the will, in the device's order, has been stored: so has the will.
        with MqttDevice(stack, device, "gps") as other:
            other.send({"v": 1, "gen": 0, "seq": 1, "ts": 1763719200123, "why": "poll"})
            other.ack(upto=1)
        assert newest_conn(stack, device) == 2
        assert online(customs, device) is True
        alive.close()
        wait_until(lambda: {"on": False, "conn": 2} in heard, WAIT_S, "the will of the second")
        wait_until(lambda: online(customs, device) is False, WAIT_S, "it to be offline")
