"""Cutting the broker's stream into packets, whatever pieces it comes in."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import paho.mqtt.client as mqtt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.enums import CallbackAPIVersion

from tracker.lean_client import LeanClient, Published, packet_at


def length(n: int) -> bytes:
    out = b""
    while True:
        n, low = divmod(n, 128)
        out += bytes([low | (128 if n else 0)])
        if not n:
            return out


def publish(message: Published, properties: bytes = b"") -> bytes:
    name = message.topic.encode()
    body = len(name).to_bytes(2, "big") + name
    if message.qos:
        body += message.mid.to_bytes(2, "big")
    body += length(len(properties)) + properties + message.payload
    return bytes([0x30 | message.qos << 1 | message.retain]) + length(len(body)) + body


class Wire:
    """A client and the broker's end of its connection."""

    def __init__(self) -> None:
        self.client = LeanClient(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5, manual_ack=True)
        ours, self.broker = socket.socketpair()
        ours.setblocking(False)
        self.client._sock = ours
        self.lost: list[object] = []
        self.client.on_disconnect = lambda *_: self.lost.append(True)
        self.client.on_socket_register_write = lambda *_: None

    def close(self) -> None:
        self.broker.close()
        self.client._sock_close()


@pytest.fixture
def wire() -> Iterator[Wire]:
    made = Wire()
    yield made
    made.close()


messages = st.builds(
    Published,
    st.text(min_size=1, max_size=30),
    st.binary(max_size=400),
    st.integers(1, 65535),
    st.just(1),
    st.booleans(),
)


@given(st.lists(messages, max_size=8), st.binary(max_size=200), st.data())
def test_messages_come_whole_and_in_order(
    sent: list[Published], properties: bytes, data: st.DataObject
) -> None:
    wire = Wire()
    try:
        stream = b"".join(publish(message, properties) for message in sent)
        cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))
        came: list[Published] = []
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            wire.broker.sendall(stream[start:end])
            came += wire.client.arrived()
        assert came == sent
    finally:
        wire.close()


def test_other_packets_go_to_paho_in_their_place(wire: Wire) -> None:
    first, second = (Published("t", b"x", mid, 1, False) for mid in (1, 2))
    subscribed: list[int] = []
    wire.client.on_subscribe = lambda _c, _u, mid, _r, _p: subscribed.append(mid)
    suback = b"\x90\x04\x00\x07\x00\x01"
    wire.broker.sendall(publish(first) + suback + publish(second))
    assert wire.client.arrived() == [first, second]
    assert subscribed == [7]
    assert not wire.lost


def test_qos_0_has_no_number(wire: Wire) -> None:
    message = Published("$SYS/broker", b"12", 0, 0, True)
    wire.broker.sendall(publish(message))
    assert wire.client.arrived() == [message]


def test_the_end_of_the_connection_is_told(wire: Wire) -> None:
    message = Published("t", b"last", 9, 1, False)
    wire.broker.sendall(publish(message))
    wire.broker.close()
    assert wire.client.arrived() == [message]
    assert wire.client.arrived() == []
    assert wire.lost == [True]
    assert wire.client.arrived() == []


def test_a_broken_length_is_refused() -> None:
    with pytest.raises(ValueError, match="four bytes"):
        packet_at(b"\x30\xff\xff\xff\xff\x01", 0)


def test_acknowledgements_leave_in_one_piece(wire: Wire) -> None:
    wire.client.acknowledge([1, 258])
    wire.client.loop_write()
    assert wire.broker.recv(100) == b"\x40\x02\x00\x01\x40\x02\x01\x02"
    wire.client.acknowledge([])
    assert not wire.client.want_write()
