"""Bytes → records or reasons (contract mqtt.md)."""

from __future__ import annotations

import json
from typing import Any
from zlib import crc32

import pytest

from tracker.payload import (
    MAX_ARRAY_BYTES,
    MAX_RECORD_BYTES,
    MAX_SEQ,
    Birth,
    Decoded,
    Key,
    Reason,
    Rejected,
    Signed,
    Topic,
    authenticate,
    decode_birth,
    decode_record,
    decode_records,
    mac_of,
    parse_topic,
    same_record,
    shard_of,
    sign,
    split_trailer,
    topic_of,
)

FULL = (
    b'{"v":1,"gen":0,"seq":1042,"ts":1763719200123,"tq":"gnss","hist":false,"why":"time",'
    b'"fix":{"t":1763719200000,"ok":true,"lat":43.2389490,"lon":76.8897090,"alt":812,"spd":62.3,'
    b'"hdg":271,"hdop":0.9,"sat":11,"acc":4,"src":"gnss","jam":0,"spoof":0},'
    b'"mot":{"ign":true,"mov":true,"odo":1234567},"pwr":{"ext":24100,"bat":87,"chg":false},'
    b'"net":{"rssi":-71,"mcc":401,"mnc":1,"lac":711,"cid":12345},'
    b'"seal":{"armed":true,"lock":"locked","rope":"in","case":"closed","temp":12.5},'
    b'"sleep_s":0,"evt":{"code":"rope_cut","at":1763719199400}}'
)


def body(**fields: Any) -> bytes:
    base: dict[str, Any] = {"v": 1, "gen": 0, "seq": 7, "ts": 1763719200123}
    return json.dumps(base | fields).encode()


def padded(size: int, **fields: Any) -> bytes:
    bare = body(pad="", **fields)
    return body(pad="x" * (size - len(bare)), **fields)


def decoded(raw: bytes) -> Decoded:
    outcome = decode_record(raw)
    assert isinstance(outcome, Decoded), outcome
    return outcome


def refused(raw: bytes) -> Rejected:
    outcome = decode_record(raw)
    assert isinstance(outcome, Rejected), outcome
    return outcome


# ---------------------------------------------------------------- topics


def test_a_topic_is_taken_apart() -> None:
    shard = crc32(b"seal-7") % 64
    assert topic_of("seal-7", "seal", "tlm") == f"cts/v1/{shard:02d}/seal/seal-7/tlm"
    assert parse_topic(topic_of("seal-7", "seal", "evt")) == Topic(
        shard=shard, kind="seal", device="seal-7", channel="evt"
    )


@pytest.mark.parametrize(
    ("topic", "reason"),
    [
        ("cts/v1/00/gps/d/tlm", Reason.WRONG_SHARD),
        (f"cts/v1/{shard_of('d')}/lorry/d/tlm", Reason.BAD_TOPIC),
        (f"cts/v1/{shard_of('d')}/gps/d/cmd", Reason.BAD_TOPIC),
        (f"cts/v1/{shard_of('d')}/gps/d", Reason.BAD_TOPIC),
        (f"cts/v1/{shard_of('d')}/gps/d/tlm/x", Reason.BAD_TOPIC),
        ("cts/v2/00/gps/d/tlm", Reason.BAD_TOPIC),
        ("cts/v1/00/gps/a b/tlm", Reason.BAD_TOPIC),
        ("cts/v1/00/gps/Ж/tlm", Reason.BAD_TOPIC),
        ("cts/v1/00/gps//tlm", Reason.BAD_TOPIC),
        (f"cts/v1/00/gps/{'d' * 65}/tlm", Reason.BAD_TOPIC),
        ("", Reason.BAD_TOPIC),
    ],
)
def test_topics_that_are_not_of_the_contract(topic: str, reason: Reason) -> None:
    outcome = parse_topic(topic)
    assert isinstance(outcome, Rejected)
    assert outcome.reason is reason


def test_a_shard_has_two_digits() -> None:
    name = next(f"d{n}" for n in range(999) if shard_of(f"d{n}") < 10)
    assert isinstance(parse_topic(topic_of(name, "gps", "tlm")), Topic)
    one_digit = f"cts/v1/{shard_of(name)}/gps/{name}/tlm"
    assert isinstance(parse_topic(one_digit), Rejected)


# ---------------------------------------------------------------- records


def test_the_contracts_own_record() -> None:
    record = decoded(FULL).record
    assert decoded(FULL).body == FULL
    assert (record.gen, record.seq, record.ts, record.tq) == (0, 1042, 1763719200123, "gnss")
    assert record.fix is not None
    assert (record.fix.lat, record.fix.jam, record.fix.src) == (43.238949, 0, "gnss")
    assert record.mot is not None
    assert record.mot.odo == 1234567
    assert record.pwr is not None
    assert (record.pwr.ext, record.pwr.bat) == (24100, 87)
    assert record.seal is not None
    assert (record.seal.lock, record.seal.rope, record.seal.case) == ("locked", "in", "closed")
    assert record.evt is not None
    assert record.evt.code == "rope_cut"


def test_four_fields_are_enough_and_unknown_ones_are_kept() -> None:
    assert decoded(body()).record.fix is None
    later = body(new={"x": [1, None]}, fix={"new": 1})
    assert decoded(later).body == later


@pytest.mark.parametrize("field", ["v", "gen", "seq", "ts"])
def test_each_of_the_four_is_required(field: str) -> None:
    record = json.loads(body())
    del record[field]
    outcome = refused(json.dumps(record).encode())
    assert outcome.reason is Reason.INVALID_FIELD
    assert field in outcome.detail


@pytest.mark.parametrize(
    "fields",
    [
        {"gen": -1},
        {"gen": 2**32},
        {"seq": 0},
        {"seq": -5},
        {"seq": "7"},
        {"seq": 7.5},
        {"seq": MAX_SEQ + 1},
        {"seq": 2**64 - 1},
        {"ts": None},
        {"ts": "now"},
        {"fix": {"lat": 90.1}},
        {"fix": {"lon": -180.1}},
        {"fix": {"jam": 3}},
        {"fix": {"spd": -1}},
        {"fix": []},
        {"pwr": {"bat": 101}},
        {"evt": {}},
        {"evt": {"code": 5}},
        {"sleep_s": -1},
    ],
)
def test_values_out_of_range_are_refused_by_name(fields: dict[str, Any]) -> None:
    outcome = refused(body(**fields))
    assert outcome.reason is Reason.INVALID_FIELD
    assert next(iter(fields)) in outcome.detail


@pytest.mark.parametrize("fields", [{"gen": 2**32 - 1}, {"seq": MAX_SEQ}, {"ts": -1}, {"seq": 1}])
def test_the_ends_of_the_ranges_are_accepted(fields: dict[str, Any]) -> None:
    decoded(body(**fields))


def test_real_habits_are_tolerated() -> None:
    for fix in ({"lat": None, "lon": None}, {"lat": 0, "lon": 0}, {"ok": False}, None):
        decoded(body(fix=fix))


def test_a_refused_record_has_its_identity_where_it_can_be_read() -> None:
    outcome = refused(body(fix={"lat": 95}))
    assert (outcome.gen, outcome.seq, outcome.payload) == (0, 7, body(fix={"lat": 95}))
    assert refused(body(seq=0)).seq is None
    assert refused(b"{").seq is None


@pytest.mark.parametrize("version", [0, 2, 99])
def test_another_version_explains_more_than_its_first_bad_field(version: int) -> None:
    for raw in (body(v=version), body(v=version, fix="elsewhere")):
        outcome = refused(raw)
        assert outcome.reason is Reason.UNKNOWN_VERSION
        assert (outcome.gen, outcome.seq) == (0, 7)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"x",
        b"{",
        body()[:-1],
        body() + b"}",
        body().replace(b"7", b"NaN"),
        b'{"v":1,"gen":0,"seq":7,"ts":1,"x":"\xff"}',
        b"\xff\xfe{}",
        body(x=0).replace(b"0}", b"[" * 2000 + b"]" * 2000 + b"}"),
    ],
)
def test_what_is_no_json_text_is_malformed(raw: bytes) -> None:
    assert refused(raw).reason is Reason.MALFORMED


# ---------------------------------------------------------------- sizes and arrays


def test_a_record_has_at_most_four_kibibytes() -> None:
    assert MAX_RECORD_BYTES == 4096
    (accepted,) = decode_records(padded(4096))
    assert isinstance(accepted, Decoded)
    (outcome,) = decode_records(padded(4097))
    assert isinstance(outcome, Rejected)
    assert outcome.reason is Reason.OVERSIZED
    # It is kept raw, hence acknowledged.
    assert (outcome.gen, outcome.seq) == (0, 7)


def test_what_is_far_too_large_is_not_even_read() -> None:
    (outcome,) = decode_records(padded(MAX_ARRAY_BYTES + 1))
    assert isinstance(outcome, Rejected)
    assert (outcome.reason, outcome.seq) == (Reason.OVERSIZED, None)


def array(*items: bytes) -> bytes:
    return b"[" + b",".join(items) + b"]"


def summary(raw: bytes) -> list[int | Reason]:
    return [
        outcome.record.seq if isinstance(outcome, Decoded) else outcome.reason
        for outcome in decode_records(raw)
    ]


def test_an_array_of_one_to_a_hundred() -> None:
    items = [body(seq=n) for n in range(1, 102)]
    assert summary(array(*items[:1])) == [1]
    assert summary(b" \n" * 50 + array(*items[:100])) == list(range(1, 101))
    assert summary(array(*items)) == [Reason.TOO_MANY_RECORDS]
    assert summary(b"[]") == [Reason.TOO_MANY_RECORDS]


def test_an_array_has_at_most_64_kibibytes() -> None:
    items = [padded(4000, seq=n) for n in range(1, 17)]
    exact = array(*items)
    exact = exact[:-1] + b" " * (65536 - len(exact)) + b"]"
    assert summary(exact) == list(range(1, 17))
    assert summary(exact[:-1] + b" ]") == [Reason.OVERSIZED]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (body(seq=0), Reason.INVALID_FIELD),
        (body(v=2), Reason.UNKNOWN_VERSION),
        (padded(5000), Reason.OVERSIZED),
        (b"null", Reason.INVALID_FIELD),
        (b"[1]", Reason.INVALID_FIELD),
        (b'"text"', Reason.INVALID_FIELD),
        (body(x=0).replace(b"0}", b'"\xff"}'), Reason.MALFORMED),
        (body(x=0).replace(b"0}", b'"\\ud800"}'), Reason.MALFORMED),
        (body(x=0).replace(b"0}", b"NaN}"), Reason.MALFORMED),
    ],
)
def test_one_bad_record_does_not_take_the_others_with_it(bad: bytes, reason: Reason) -> None:
    assert set(summary(array(body(seq=1), bad, body(seq=3)))) == {1, reason, 3}


def test_of_a_broken_array_what_stands_before_the_break_is_kept() -> None:
    whole = array(body(seq=1), body(seq=2), body(seq=3))
    cut = whole[:-20]
    outcomes = list(decode_records(cut))
    assert summary(cut) == [Reason.MALFORMED, 1, 2]
    assert isinstance(outcomes[0], Rejected)
    assert outcomes[0].payload == body(seq=3)[:-19]


def test_a_broken_array_of_too_many_is_refused_once_and_read_no_further() -> None:
    assert summary(b"[" + b"1," * 30_000 + b"x]") == [Reason.TOO_MANY_RECORDS]


# ---------------------------------------------------------------- births


def test_a_birth() -> None:
    birth = decode_birth(b'{"on":true,"ts":1,"conn":3,"boot":2,"gen":4,"lo":17,"fw":"1.2"}')
    assert birth == Birth(on=True, ts=1, conn=3, boot=2, gen=4, lo=17, fw="1.2")


def test_a_generation_of_null_is_not_no_generation() -> None:
    asked, silent = decode_birth(b'{"on":true,"gen":null}'), decode_birth(b'{"on":true}')
    assert isinstance(asked, Birth)
    assert isinstance(silent, Birth)
    assert asked.gen is None
    assert silent.gen is not None
    assert not isinstance(silent.gen, int)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"{}", Reason.INVALID_FIELD),
        (b'{"on":1}', Reason.INVALID_FIELD),
        (b'{"on":true,"gen":-1}', Reason.INVALID_FIELD),
        (b'{"on":true,"conn":-1}', Reason.INVALID_FIELD),
        (b"on", Reason.MALFORMED),
        (b'{"on":true,"x":"\xff"}', Reason.MALFORMED),
        (b'{"on":true,"x":"' + b"x" * 4096 + b'"}', Reason.OVERSIZED),
    ],
)
def test_states_that_are_none(raw: bytes, reason: Reason) -> None:
    outcome = decode_birth(raw)
    assert isinstance(outcome, Rejected)
    assert outcome.reason is reason


# ---------------------------------------------------------------- the same record


@pytest.mark.parametrize(
    "again",
    [
        b'{"v":1,"a":[1,{"b":2}]}',
        b'{"v":1,"a":[1,{"b":2}],"hist":true}',
        b'{ "a": [1, {"b": 2}],\n"v": 1 , "hist": false}',
        b'{"v":1.0,"a":[1,{"b":2}]}',
    ],
)
def test_the_same_record_again(again: bytes) -> None:
    assert same_record(b'{"v":1,"a":[1,{"b":2}],"hist":false}', again)


@pytest.mark.parametrize(
    "other",
    [
        b'{"v":1,"a":[1,{"b":3}]}',
        b'{"v":1,"a":[1]}',
        b'{"v":1,"a":[1,{"b":2,"hist":true}]}',
        b'{"v":true,"a":[1,{"b":2}]}',
        b'{"v":1,"a":[1,{"b":2}],"c":null}',
        b"[]",
        b"\xff",
        b"{",
    ],
)
def test_another_record(other: bytes) -> None:
    assert not same_record(b'{"v":1,"a":[1,{"b":2}]}', other)


@pytest.mark.parametrize("odd", [b"1e999", b"9" * 300, b'"\\ud800"'])
def test_values_that_few_decoders_can_hold_are_compared_all_the_same(odd: bytes) -> None:
    first = b'{"v":1,"x":' + odd + b"}"
    assert same_record(first, b'{"v":1,"hist":true,"x":' + odd + b"}")


# ---------------------------------------------------------------- authentication

KEY = Key(kid="k1", secret=b"s" * 32)
TOPIC = "cts/v1/07/seal/x/tlm"


def check(payload: bytes, *, topic: str = TOPIC, key: Key = KEY, required: bool = True) -> Any:
    return authenticate(payload, topic, keys={key.kid: key}, required=required, now_ms=1000)


def reason_of(payload: bytes, **more: Any) -> Reason:
    outcome = check(payload, **more)
    assert isinstance(outcome, Rejected)
    assert outcome.payload == payload
    return outcome.reason


def test_the_trailer_is_as_the_contract_writes_it() -> None:
    import base64
    import hmac

    mac = hmac.new(KEY.secret, TOPIC.encode() + b"\x00" + FULL, "sha256").digest()[:16]
    assert mac_of(KEY.secret, TOPIC, FULL) == mac
    trailer = b"k1." + base64.urlsafe_b64encode(mac).rstrip(b"=")
    assert sign(FULL, TOPIC, KEY) == FULL + b"\n" + trailer
    assert check(FULL + b"\n" + trailer + b"==").body == FULL


def test_a_body_of_many_lines_ends_at_the_last() -> None:
    lines = json.dumps(json.loads(FULL), indent=1).encode()
    assert check(sign(lines, TOPIC, KEY)).body == lines
    assert split_trailer(lines) == Signed(body=lines)


def test_a_signature_holds_for_its_topic_only() -> None:
    assert reason_of(sign(FULL, TOPIC, KEY), topic="cts/v1/07/seal/x/evt") is Reason.MAC_WRONG


def test_a_missing_trailer_is_refused_where_it_is_required() -> None:
    assert reason_of(FULL) is Reason.MAC_MISSING
    assert check(FULL, required=False) == Signed(body=FULL)


def test_a_trailer_is_checked_even_where_it_is_not_required() -> None:
    forged = sign(FULL, TOPIC, Key(kid="k1", secret=b"other"))
    assert reason_of(forged, required=False) is Reason.MAC_WRONG
    unknown = sign(FULL, TOPIC, Key(kid="k9", secret=KEY.secret))
    assert reason_of(unknown, required=False) is Reason.MAC_UNKNOWN_KEY


@pytest.mark.parametrize(("expires_ms", "good"), [(None, True), (1001, True), (1000, False)])
def test_a_key_is_valid_until_it_expires(expires_ms: int | None, good: bool) -> None:
    key = Key(kid="k1", secret=KEY.secret, expires_ms=expires_ms)
    outcome = check(sign(FULL, TOPIC, key), key=key)
    assert isinstance(outcome, Signed) is good
    if not good:
        assert outcome.reason is Reason.MAC_EXPIRED_KEY
