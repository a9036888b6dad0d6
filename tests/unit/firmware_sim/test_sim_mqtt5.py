"""The packets of MQTT 5: bytes known from the standard, and whatever way the bytes come in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_sim import mqtt5

CONNACK = bytes.fromhex("200b 01 00 08 21 0014 27 00010000")
PUBLISH = b"\x32\x10\x00\x03a/b\x00\x07\x03\x23\x00\x01hello"
SUBACK = b"\x90\x04\x00\x01\x00\x01"
PUBACK_PLAIN, PUBACK_REASON = b"\x40\x02\x00\x09", b"\x40\x03\x00\x0a\x10"
LEFT = b"\xe0\x02\x8e\x00"


def test_connect_resumes_its_session_and_carries_the_will() -> None:
    packet = mqtt5.connect(
        "d1",
        keepalive_s=60,
        session_expiry_s=3600,
        will=mqtt5.Will(topic="t", payload=b"w", retain=True),
        username="u",
        password="p",
    )
    # Flags: username, password, will retained with QoS 1, no clean start.
    assert packet == bytes.fromhex(
        "1021 00044d515454 05 ec 003c 05 11 00000e10 00026431 00 000174 000177 000175 000170"
    )


def test_publish_and_subscribe_have_quality_one() -> None:
    assert mqtt5.publish("a", b"x", 258, retain=True) == b"\x33\x07\x00\x01a\x01\x02\x00x"
    assert mqtt5.subscribe("a", 1) == b"\x82\x07\x00\x01\x00\x00\x01a\x01"
    assert mqtt5.publish("a", b"x" * 200, 1)[1:3] == b"\xce\x01"


def test_what_a_broker_says_is_read() -> None:
    stream = bytearray(CONNACK + PUBLISH + SUBACK + PUBACK_PLAIN + PUBACK_REASON + LEFT)
    connack, published, suback, plain, reasoned, left = mqtt5.read(stream)
    assert (connack.code, connack.receive_maximum) == (0, 20)
    assert (published.topic, published.payload, published.number) == ("a/b", b"hello", 7)
    assert (suback.kind, suback.code, suback.number) == (mqtt5.SUBACK, 1, 1)
    assert (plain.number, plain.code) == (9, 0)
    assert (reasoned.number, reasoned.code) == (10, 16)
    assert left.reason == "Session taken over"
    assert not stream


def test_without_a_word_on_it_the_receive_maximum_is_the_standards() -> None:
    (packet,) = mqtt5.read(bytearray(b"\x20\x03\x00\x00\x00"))
    assert packet.receive_maximum == 65_535


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30))
def test_packets_survive_any_cutting_of_the_stream(cuts: list[int]) -> None:
    whole = (CONNACK + PUBLISH + SUBACK + PUBACK_PLAIN + PUBACK_REASON + LEFT) * 3
    wanted = list(mqtt5.read(bytearray(whole)))
    buffer, found, at = bytearray(), [], 0
    while at < len(whole):
        size = cuts[len(found) % len(cuts)]
        buffer += whole[at : at + size]
        at += size
        found += mqtt5.read(buffer)
    assert found == wanted


@given(st.binary(max_size=200))
def test_noise_is_packets_or_a_protocol_error_and_nothing_else(noise: bytes) -> None:
    try:
        list(mqtt5.read(bytearray(noise)))
    except mqtt5.ProtocolError:
        return


@given(
    topic=st.text(min_size=1, max_size=300).filter(lambda t: len(t.encode()) < 65_536),
    payload=st.binary(max_size=20_000),
    number=st.integers(1, 65_535),
)
def test_a_published_message_is_read_back(topic: str, payload: bytes, number: int) -> None:
    (packet,) = mqtt5.read(bytearray(mqtt5.publish(topic, payload, number)))
    assert (packet.topic, packet.payload, packet.number) == (topic, payload, number)


@pytest.mark.parametrize(
    "noise",
    [
        b"\x20\xff\xff\xff\xff\x7f",
        b"\x20\xff\xff\xff\x7f",
        b"\x10\x00",
        b"\x20\x04\x00\x00\x01\xff",
    ],
)
def test_what_is_no_packet_is_told(noise: bytes) -> None:
    with pytest.raises(mqtt5.ProtocolError):
        list(mqtt5.read(bytearray(noise)))
