"""Bytes and topics that no device should send, and some do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from hypothesis import strategies as st

from tracker.payload import topic_of

GOLDEN: Final = sorted(
    path.read_bytes()
    for path in (Path(__file__).parents[1] / "data" / "golden").rglob("*.json")
    if path.stat().st_size < 20_000
)

GPS, SEAL, PHONE = "fuzz-gps", "fuzz-seal", "ann-phone"
TS_MS = 1_772_440_000_000

ODD_NUMBERS: Final = (
    "NaN", "-NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1e-999", "9" * 400, "-0", "-0.0",
    "0.1e", "01", "1.", ".5", "+1", "0x10", "1_000", "9223372036854775807", "9223372036854775808",
    "18446744073709551616", "-9223372036854775809", "4294967296", "1.7976931348623157e308",
)  # fmt: skip
ODD_TEXTS: Final = (
    '"\\u0000"', '"a\\u0000b"', '"\\ud800"', '"\\udc00\\ud800"', '"\\ud83d\\ude00"', '"\\uFFFF"',
    '"\x00"', '"\x1f"', '"\\x"', '"\\u12"', '"' + "я" * 3000 + '"', '""', "'a'", '"\\u202e"',
)  # fmt: skip
ODD_VALUES: Final = (
    "null", "true", "false", "[]", "{}", "[[[]]]", '{"a":{"b":{}}}', "", "undefined", "//",
    "[" * 500 + "]" * 500, '{"a":' * 200 + "1" + "}" * 200,
)  # fmt: skip

FIELDS: Final = (
    "v", "gen", "seq", "ts", "tq", "hist", "why", "fix", "mot", "pwr", "net", "seal", "sleep_s",
    "evt", "extra", "fix.t", "fix.ok", "fix.lat", "fix.lon", "fix.alt", "fix.spd", "fix.hdg",
    "fix.hdop", "fix.sat", "fix.acc", "fix.src", "fix.jam", "fix.spoof", "mot.ign", "mot.mov",
    "mot.odo", "pwr.ext", "pwr.bat", "pwr.chg", "net.rssi", "seal.armed", "seal.lock", "seal.rope",
    "seal.case", "seal.temp", "evt.code", "evt.at", "evt.auth", "evt.card", "evt.n",
)  # fmt: skip


def good(seq: int) -> dict[str, Any]:
    """A record with every field of the contract."""
    t_ms = TS_MS + seq * 1000
    return {
        "v": 1, "gen": 0, "seq": seq, "ts": t_ms, "tq": "gnss", "hist": False, "why": "time",
        "fix": {"t": t_ms, "ok": True, "lat": 43.5, "lon": 76.1, "alt": 800, "spd": 60.5,
                "hdg": 90, "hdop": 0.9, "sat": 9, "acc": 4, "src": "gnss", "jam": 0, "spoof": 0},
        "mot": {"ign": True, "mov": True, "odo": 1000},
        "pwr": {"ext": 24000, "bat": 80, "chg": False},
        "net": {"rssi": -70},
        "seal": {"armed": True, "lock": "locked", "rope": "in", "case": "closed", "temp": 1.5},
        "sleep_s": 0,
        "evt": {"code": "sealed", "at": t_ms, "auth": "pin", "card": "c", "n": 1},
        "extra": 1,
    }  # fmt: skip


def spoilt(seq: int, field: str, raw: str) -> str:
    """A record in which one field holds raw text, JSON or not."""
    body = good(seq)
    holder, _, name = field.rpartition(".")
    (body[holder] if holder else body)[name] = "@@"
    return json.dumps(body, separators=(",", ":")).replace('"@@"', raw)


def doubled(seq: int, field: str, raw: str) -> str:
    """A record in which a field of the top level stands twice."""
    name = field.partition(".")[0]
    return json.dumps(good(seq))[:-1] + f',"{name}":{raw}}}'


raw_values = st.sampled_from(ODD_NUMBERS + ODD_TEXTS + ODD_VALUES)
spoilt_records = st.builds(
    lambda make, seq, field, raw: make(seq, field, raw),
    st.sampled_from([spoilt, doubled]),
    st.integers(1, 8),
    st.sampled_from(FIELDS),
    raw_values,
).map(lambda text: text.encode("utf-8", "surrogatepass"))


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A golden payload, cut, doubled or with bytes changed."""
    payload = bytearray(draw(st.sampled_from(GOLDEN)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(payload)))
        match draw(st.integers(0, 3)):
            case 0:
                payload[at : at + 1] = draw(st.binary(min_size=1, max_size=3))
            case 1:
                del payload[at : at + draw(st.integers(1, 40))]
            case 2:
                payload[at:at] = draw(
                    st.sampled_from([b"\0", b"\xff", b"\xed\xa0\x80", b"\n", b'"'])
                )
            case _:
                payload[at:at] = payload[: draw(st.integers(0, 60))]
    return bytes(payload)


deep = st.builds(
    lambda opening, n, closing: opening * n + b"1" + closing * n,
    st.sampled_from([b"[", b'{"a":', b'{"v":1,"x":[']),
    st.sampled_from([10, 900, 5_000, 60_000, 200_000]),
    st.sampled_from([b"]", b"}", b""]),
)

payloads = st.one_of(
    st.binary(max_size=300),
    st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass")),
    spoilt_records,
    st.lists(spoilt_records, max_size=6).map(lambda items: b"[" + b",".join(items) + b"]"),
    mutated(),
    deep,
    st.binary(min_size=1, max_size=20).map(lambda some: some * 4000),
)

odd_parts = st.one_of(
    st.text(max_size=8), st.sampled_from(["", "+", "#", "\0", "\ud800", "é", "A" * 70, "../.."])
)
topics = st.one_of(
    st.sampled_from(
        [
            *(topic_of(GPS, "gps", channel) for channel in ("tlm", "evt", "state", "rsp")),
            *(topic_of(SEAL, "seal", channel) for channel in ("tlm", "evt", "state")),
            topic_of(GPS, "seal", "tlm"),
            topic_of("nobody", "gps", "tlm"),
            "owntracks/ann/phone",
            "owntracks/ann/phone/event",
            "traccar/positions",
        ]
    ),
    st.lists(odd_parts, min_size=1, max_size=7).map("/".join),
    st.tuples(odd_parts, odd_parts).map(lambda p: f"owntracks/{p[0]}/{p[1]}"),
    st.tuples(odd_parts, odd_parts).map(lambda p: f"cts/v1/07/gps/{p[0]}/{p[1]}"),
)
