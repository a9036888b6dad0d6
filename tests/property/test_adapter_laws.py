"""Laws of the adapters for anything that anybody may publish."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tracker import adapters
from tracker.adapters import Adapted, adapt, record_of
from tracker.clocks import faults_of, time_of
from tracker.model import FORWARDED_GEN
from tracker.payload import Reason, Rejected, decode_record
from tracker.track import position_of

RECEIVED_MS = 1_763_720_000_000

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["tampering,door", "2025-11-21T10:00:00Z", "9999-12-31T23:59:59+00:00"])
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
TIMES = st.sampled_from(
    ["2025-11-21T10:00:00.000+0000", 1763719200000, "1970-01-01T00:00:00Z", "1963-11-22T18:30:00Z"]
)


def some(keys: list[str], values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(keys), values)


ATTRIBUTES = [
    *("alarm", "sat", "hdop", "power", "batteryLevel", "charge", "odometer", "obdOdometer"),
    *("ignition", "motion", "lock", "armed", "archive", "approximate", "deviceTemp"),
]
POSITION = [
    *("latitude", "longitude", "altitude", "speed", "course", "accuracy", "valid", "outdated"),
    *("deviceTime", "fixTime", "serverTime", "id", "network"),
]
positions = st.builds(
    lambda times, fields, attributes: {**times, **fields, "attributes": attributes},
    some(["deviceTime", "fixTime", "serverTime"], TIMES),
    some(POSITION, anything),
    some(ATTRIBUTES, anything),
)
forwarded = st.builds(
    lambda position: {"position": position, "device": {"uniqueId": "1"}}, positions | anything
)
PLACE = {"_type": "location", "tst": 1763719200, "lat": 43.2, "lon": 76.9}
OWNTRACKS = [
    *("_type", "tst", "lat", "lon", "acc", "alt", "vel", "cog", "batt", "bs", "t", "conn"),
    *("created_at", "event", "uext", "odometer", "ign", "motion", "trip"),
]
published = st.builds(lambda fields: {**PLACE, **fields}, some(OWNTRACKS, anything))


def bytes_of(value: Any) -> bytes:
    return json.dumps(value).encode()


bodies = st.binary(max_size=200) | (anything | forwarded | published).map(bytes_of)
topics = st.sampled_from([adapters.TRACCAR_TOPIC, "owntracks/u/d", "owntracks/u/d/event"])


@given(st.text(max_size=40) | topics, bodies)
def test_anything_is_taken_or_refused_with_a_reason(topic: str, body: bytes) -> None:
    found = adapt(topic, body)
    if isinstance(found, Rejected):
        assert found.payload == body
        assert found.detail
        assert isinstance(found.reason, Reason)
        return
    for decoded in found.records:
        assert decoded.body == body
        assert decoded.record.gen == FORWARDED_GEN
        assert 0 < decoded.record.seq < 2**63
        assert record_of(body, found.source) == decoded.record


@given(topics, bodies)
def test_a_record_holds_to_the_contract_and_goes_on_through_the_pipeline(
    topic: str, body: bytes
) -> None:
    found = adapt(topic, body)
    for decoded in found.records if isinstance(found, Adapted) else ():
        ours = {**msgspec.to_builtins(decoded.record), "gen": 0, "seq": 1}
        checked = decode_record(msgspec.json.encode(ours))
        assert not isinstance(checked, Rejected), checked.detail
        t_ms, _ = time_of(decoded.record, RECEIVED_MS)
        faults_of(decoded.record, RECEIVED_MS)
        if t_ms is not None:
            position_of(decoded.record, t_ms, RECEIVED_MS)


@given(forwarded, st.randoms(use_true_random=False))
def test_the_order_of_keys_is_no_part_of_the_identity(message: Any, rng: Any) -> None:
    """Keys come in the order of a hash map: another run of the server, another order."""

    def shuffled(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        keys = list(value)
        rng.shuffle(keys)
        return {key: shuffled(value[key]) for key in keys}

    first, second = bytes_of(message), bytes_of(shuffled(message))
    one, other = (adapt(adapters.TRACCAR_TOPIC, body) for body in (first, second))
    assert type(one) is type(other)
    if isinstance(one, Adapted) and isinstance(other, Adapted):
        assert [d.record for d in one.records] == [d.record for d in other.records]
