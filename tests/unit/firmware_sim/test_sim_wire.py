"""Topics, envelopes, arrays and the MAC, against the contract's own figures."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_sim import wire

KEY = wire.Key(kid="k1", secret=b"secret")


@pytest.mark.parametrize(("device", "shard"), [("123456789", "38"), ("a", "03"), ("", "00")])
def test_shard_is_crc32_modulo_64(device: str, shard: str) -> None:
    # crc32("123456789") = cbf43926 is the published check value; 0x26 = 38. crc32("a") = e8b7be43.
    assert wire.shard(device) == shard


def test_topic() -> None:
    assert wire.topic("seal", "123456789", "tlm") == "cts/v1/38/seal/123456789/tlm"


def test_envelope_is_the_whole_record() -> None:
    rest = wire.tail({"ts": 5})
    made = wire.envelope(gen=3, seq=9, hist=True, rest=rest)
    assert json.loads(made) == {"v": 1, "gen": 3, "seq": 9, "hist": True, "ts": 5}
    bare = wire.envelope(gen=0, seq=1, hist=False, rest=wire.tail({}))
    assert json.loads(bare) == {"v": 1, "gen": 0, "seq": 1, "hist": False}


@given(st.lists(st.integers(2, 4096), max_size=400))
def test_arrays_keep_within_the_limits_and_lose_nothing(sizes: list[int]) -> None:
    texts = [b'"' + b"x" * (size - 2) + b'"' for size in sizes]
    packed = list(wire.arrays(texts))
    assert [x for body, _ in packed for x in json.loads(body)] == [
        text[1:-1].decode() for text in texts
    ]
    for body, count in packed:
        assert len(json.loads(body)) == count <= 100
        assert len(wire.sign(KEY, "t" * 100, body)) <= 64 * 1024


def test_the_mac_is_of_topic_zero_body() -> None:
    signed = wire.sign(KEY, "a/b", b'{"x":1}')
    expected = hmac.digest(b"secret", b'a/b\0{"x":1}', hashlib.sha256)[:16]
    body, _, trailer = signed.rpartition(b"\n")
    kid, _, mac = trailer.partition(b".")
    assert (body, kid) == (b'{"x":1}', b"k1")
    assert base64.urlsafe_b64decode(mac + b"==") == expected
    assert wire.verified(KEY, "a/b", signed)


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("a/c", wire.sign(KEY, "a/b", b"{}")),
        ("a/b", b"{}"),
        ("a/b", wire.sign(wire.Key(kid="k2", secret=b"secret"), "a/b", b"{}")),
        ("a/b", wire.sign(KEY, "a/b", b"{}").replace(b"{}", b"[]")),
    ],
)
def test_a_wrong_mac_is_refused(topic: str, payload: bytes) -> None:
    assert not wire.verified(KEY, topic, payload)


def test_unsigned_json_with_line_feeds_has_no_trailer() -> None:
    assert wire.split_trailer(b'{\n"a":1\n}\n') == (b'{\n"a":1\n}\n', None)
