"""A durable session at the broker: its name, what it subscribes to, and how it connects."""

from __future__ import annotations

from collections.abc import Sequence

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tracker.adapters import OWNTRACKS_FILTERS
from tracker.lean_client import LeanClient
from tracker.payload import ROOT
from tracker.settings import Settings

CHANNELS = ("tlm", "evt", "state")
FOREIGN = 64
"""Taken like a shard: the messages of other systems, which know no shards."""

SESSION_EXPIRY_S = 7 * 86400
"""The broker keeps an absent worker's session for a week: longer than any repair."""

KEEPALIVE_S = 30


def session_name(prefix: str, shard: int) -> str:
    """The client id of a shard's durable session."""
    return f"{prefix}-foreign" if shard == FOREIGN else f"{prefix}-shard-{shard:02d}"


def filters_of(shard: int, traccar_topic: str) -> list[str]:
    """What a shard's session subscribes to."""
    if shard == FOREIGN:
        return [*OWNTRACKS_FILTERS, traccar_topic]
    return [f"{ROOT}/{shard:02d}/+/+/{channel}" for channel in CHANNELS]


class Session:
    """A connection to be kept up, and its present client. Without a shard: not durable.

    ``up``: connected and subscribed; ``known``: it was so before, in this process. ``since_s`` and
    ``lost_s``: when the last connection was begun and when it was lost (monotonic).
    """

    def __init__(self, *, name: str, filters: Sequence[str], shard: int | None) -> None:
        self.name = name
        self.filters = filters
        self.shard = shard
        self.client: LeanClient | None = None
        self.up = False
        self.known = False
        self.since_s = 0.0
        self.lost_s = 0.0

    def new_client(self, settings: Settings) -> LeanClient:
        """A client for one connection."""
        client = LeanClient(
            CallbackAPIVersion.VERSION2,
            client_id=self.name,
            protocol=mqtt.MQTTv5,
            manual_ack=self.shard is not None,
            userdata=self,
        )
        if settings.mqtt_username is not None:
            client.username_pw_set(settings.mqtt_username, settings.mqtt_password)
        return client

    def connect(self, client: mqtt.Client, settings: Settings, receive_maximum: int) -> None:
        """Begin the connection.

        Raises:
            OSError: no way to the broker, or its certificate is not what we trust.
        """
        if settings.mqtt_tls_ca is not None:
            client.tls_set(ca_certs=str(settings.mqtt_tls_ca))
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        if self.shard is not None:
            properties.SessionExpiryInterval = SESSION_EXPIRY_S
            properties.ReceiveMaximum = receive_maximum
        client.connect(
            settings.mqtt_host,
            settings.mqtt_port,
            keepalive=KEEPALIVE_S,
            clean_start=self.shard is None,
            properties=properties,
        )
