"""A stand-in for the server at a real broker: hears everything and only acknowledges."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from firmware_sim import wire


class Server:
    """Acknowledges as the contract says: every 32 records, and at once after birth and event."""

    def __init__(self, host: str, port: int) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self.records: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.states: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.answers: list[dict[str, Any]] = []
        self.signed = 0
        self.order: list[tuple[str, str]] = []
        self.acking = True
        self._seqs: dict[tuple[str, int], set[int]] = defaultdict(set)
        self._ready = threading.Event()
        self.client = mqtt.Client(
            CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5, client_id="server"
        )
        self.client.on_message = self._on_message
        self.client.on_subscribe = lambda *_: self._ready.set()
        self.client.on_connect = lambda client, *_: client.subscribe("cts/v1/+/+/+/+", qos=1)
        # A durable session, as ingest has: the broker keeps for it what comes while it is away.
        session = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        session.SessionExpiryInterval = 600
        self.client.connect(host, port, clean_start=False, properties=session)
        self.client.loop_start()
        assert self._ready.wait(60)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def command(self, kind: wire.Kind, device: str, **fields: Any) -> None:
        self.client.publish(wire.topic(kind, device, "cmd"), json.dumps(fields), qos=1)

    def _on_message(self, _client: Any, _data: Any, message: mqtt.MQTTMessage) -> None:
        _, _, _, kind, device, channel = message.topic.split("/")
        if channel == "cmd" or message.retain:
            return
        self.heard.append((message.topic, bytes(message.payload)))
        raw, trailer = wire.split_trailer(bytes(message.payload))
        self.signed += trailer is not None
        try:
            body = json.loads(raw)
        except ValueError:
            return
        self.order.append((device, channel))
        if channel == "state":
            self.states[device].append(body)
            if body["on"]:
                self._ack(kind, device, body["gen"])
        elif channel == "rsp":
            self.answers.append(body)
        else:
            self._take(kind, device, body if isinstance(body, list) else [body], channel)

    def _take(self, kind: str, device: str, records: list[dict[str, Any]], channel: str) -> None:
        before = len(self.records[device])
        self.records[device] += records
        gen = records[0]["gen"]
        self._seqs[device, gen] |= {record["seq"] for record in records}
        if channel == "evt" or before // 32 != len(self.records[device]) // 32:
            self._ack(kind, device, gen)

    def _ack(self, kind: str, device: str, gen: int) -> None:
        have = self._seqs[device, gen]
        upto = next(i for i in range(len(have) + 1) if i + 1 not in have)
        high = max(have, default=0)
        holes = [[seq, seq] for seq in range(upto + 1, high) if seq not in have][:64]
        ack = {"op": "ack", "gen": gen, "upto": upto, "high": high, "missing": holes}
        if self.acking:
            topic = wire.topic(kind, device, "cmd")  # type: ignore[arg-type]
            self.client.publish(topic, json.dumps(ack), qos=0)
