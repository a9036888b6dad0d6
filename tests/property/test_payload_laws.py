"""Laws of decoding: nothing raises on what may arrive, and no forged message passes."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tracker.clocks import EARLIEST_MS, FUTURE_MS, time_of
from tracker.model import Record, TimeFlag, WireFix
from tracker.payload import (
    Birth,
    Decoded,
    Key,
    Rejected,
    Signed,
    Topic,
    authenticate,
    decode_birth,
    decode_records,
    parse_topic,
    same_record,
    sign,
    topic_of,
)

KEY = Key(kid="k1", secret=b"k" * 32)
TOPIC = topic_of("seal-1", "seal", "tlm")

texts = st.text(max_size=8)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, width=32) | texts
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)
near_records = st.fixed_dictionaries(
    {
        "v": st.just(1) | scalars,
        "gen": st.integers(-1, 3),
        "seq": st.integers(-1, 9),
        "ts": scalars,
    },
    optional=dict.fromkeys(
        ("fix", "mot", "pwr", "seal", "evt", "sleep_s", "tq", "hist", "why", "other"), values
    ),
)
bodies = st.one_of(
    st.binary(max_size=200),
    values.map(lambda value: json.dumps(value).encode()),
    near_records.map(lambda record: json.dumps(record).encode()),
    st.lists(near_records, max_size=4).map(lambda records: json.dumps(records).encode()),
)


@given(bodies)
@example(b"[")
@example(b"[,]")
@example(b"[]]")
@example(b"[{}] x")
@example(b'[{"v":1},')
@example(b"[" * 5000)
@example(b"[" + b"{" * 3000)
def test_any_bytes_are_records_or_reasons(body: bytes) -> None:
    outcomes = list(decode_records(body))
    assert outcomes
    for outcome in outcomes:
        assert isinstance(outcome, Decoded | Rejected)
        if isinstance(outcome, Rejected):
            assert outcome.detail
            assert (outcome.gen is None) == (outcome.seq is None)


@given(bodies, st.data())
def test_any_bytes_cut_or_changed_are_records_or_reasons(body: bytes, data: Any) -> None:
    at = data.draw(st.integers(0, len(body)))
    for changed in (body[:at], body[at:], body[:at] + b"\xff" + body[at:]):
        assert list(decode_records(changed))


@given(bodies)
def test_any_bytes_are_a_birth_or_a_reason(body: bytes) -> None:
    assert isinstance(decode_birth(body), Birth | Rejected)


@given(st.text(max_size=80) | st.binary(max_size=40).map(repr))
def test_any_text_is_a_topic_or_a_reason(text: str) -> None:
    for topic in (text, f"cts/v1/{text}", f"cts/v1/00/gps/{text}/tlm"):
        parsed = parse_topic(topic)
        assert isinstance(parsed, Topic | Rejected)
        if isinstance(parsed, Topic):
            assert topic_of(parsed.device, parsed.kind, parsed.channel) == topic


@given(bodies, bodies)
def test_comparing_never_raises_and_takes_no_side(a: bytes, b: bytes) -> None:
    assert same_record(a, a)
    assert same_record(a, b) == same_record(b, a)


@given(near_records, st.booleans())
def test_a_record_is_the_same_whatever_its_hist_order_and_spacing(
    record: dict[str, Any], hist: bool
) -> None:
    again = dict(reversed((record | {"hist": hist}).items()))
    assert same_record(json.dumps(record).encode(), json.dumps(again, indent=1).encode())


# ---------------------------------------------------------------- authentication


def check(payload: bytes) -> Signed | Rejected:
    return authenticate(payload, TOPIC, keys={KEY.kid: KEY}, required=True, now_ms=0)


@given(bodies)
def test_what_is_signed_is_authentic(body: bytes) -> None:
    signed = check(sign(body, TOPIC, KEY))
    assert isinstance(signed, Signed)
    assert signed.body == body


@given(bodies, st.data())
def test_one_flipped_bit_is_refused(body: bytes, data: Any) -> None:
    payload = bytearray(sign(body, TOPIC, KEY))
    bit = data.draw(st.integers(0, 8 * len(payload) - 1))
    payload[bit // 8] ^= 1 << bit % 8
    assert isinstance(check(bytes(payload)), Rejected)


@given(bodies)
def test_what_is_not_signed_is_refused(payload: bytes) -> None:
    assert isinstance(check(payload), Rejected)


# ---------------------------------------------------------------- the time of a record

RECEIVED_MS = 1_772_000_000_000
near_edges = st.sampled_from(
    [base + d for base in (EARLIEST_MS, RECEIVED_MS, RECEIVED_MS + FUTURE_MS) for d in (-1, 0, 1)]
)
times = near_edges | st.integers(-(2**63), 2**63 - 1) | st.integers(0, 2 * RECEIVED_MS)


@given(
    ts=times,
    fix_t=st.none() | times,
    ok=st.sampled_from([None, True, False]),
    src=st.sampled_from([None, "gnss", "lbs", "last"]),
    tq=st.sampled_from([None, "none", "gnss", "rtc"]),
)
@settings(max_examples=300)
def test_a_time_is_plausible_or_none(
    ts: int, fix_t: int | None, ok: bool | None, src: str | None, tq: str | None
) -> None:
    record = Record(v=1, gen=0, seq=1, ts=ts, tq=tq, fix=WireFix(t=fix_t, ok=ok, src=src))
    t_ms, flags = time_of(record, RECEIVED_MS)
    by_fix, by_ts = TimeFlag.FROM_FIX in flags, TimeFlag.FROM_TS in flags
    if t_ms is None:
        assert flags == TimeFlag.IMPLAUSIBLE
        return
    assert EARLIEST_MS <= t_ms <= RECEIVED_MS + FUTURE_MS
    assert by_fix != by_ts
    source = fix_t if by_fix else ts
    assert source is not None
    assert (t_ms == source) != (TimeFlag.ROLLOVER_CORRECTED in flags)
    if by_fix:
        assert ok is not False
        assert src in (None, "gnss")
    else:
        assert tq != "none"
