"""Each detector at its exact edges, from the outside: MQTT in, anomalies out (detection.md)."""

from __future__ import annotations

import pytest

from tests.acceptance.edge_cases import CASES, B, Case, D, Q, S
from tests.support.customs import Customs
from tests.support.drives import Trips
from tests.support.stack import Stack


@pytest.fixture(scope="module")
def trips(stack: Stack) -> Trips:
    """Everything that the cases share."""
    return Trips(Customs(stack, "edge"))


@pytest.fixture(scope="module")
def played(trips: Trips) -> dict[str, str]:
    """All cases, each on a delivery of its own, judged."""
    deliveries = {}
    for c in CASES:
        device = trips.customs.device(c.name, c.kind)
        deliveries[c.name] = id_ = trips.declare(c.name, [device], route=trips.route(**c.route))
        trips.publish(device, c.kind, c.order(c.records))
        if c.arrive_s is not None:
            trips.customs.settle(id_)
            trips.arrive(id_, c.arrive_s)
    for id_ in deliveries.values():
        trips.customs.settle(id_)
    return deliveries


@pytest.mark.parametrize("c", CASES, ids=lambda c: c.name)
def test_exactly_this_is_found(trips: Trips, played: dict[str, str], c: Case) -> None:
    found = trips.found(played[c.name], c.ignore)
    wanted = sorted(c.expected)
    assert len(found) == len(wanted), found
    assert [f[: len(w)] for f, w in zip(found, wanted, strict=True)] == wanted


def test_any_order_gives_the_same(trips: Trips, played: dict[str, str]) -> None:
    def everything(name: str) -> list[tuple[str, ...]]:
        trips.customs.settle(played[name])
        return sorted(
            (
                a["code"],
                a["start"],
                str(a["end"]),
                a["severity"],
                a["status"],
                str(sorted(a["evidence"].items())),
            )
            for a in trips.customs.anomalies(played[name])
        )

    first = everything("order_in")
    assert len(first) == 6
    for name in ("order_single", "order_reversed", "order_shuffled", "order_shuffled2"):
        assert everything(name) == first, name


def test_a_device_that_falls_silent_is_silent_now(trips: Trips, played: dict[str, str]) -> None:
    (silence,) = [a for a in trips.customs.anomalies(played["sil_edge"]) if a["code"] == Q]
    assert (silence["status"], silence["provisional"], silence["basis"]) == ("open", True, "clock")
    assert silence["end"] is None
    after = trips.customs.anomalies(played["after_arrival"])
    assert [a["code"] for a in after] == ["arrival_mismatch"], "it never came near the post"


@pytest.mark.parametrize(
    ("name", "code", "eaeu", "severity"),
    [
        ("dev_30s", D, "03", "high"),
        ("stop_15min", S, "07", "medium"),
        ("cut_evt", "seal_cut", "01", "critical"),
        ("body_evt", "seal_body_open", "02", "critical"),
        ("bat_14", B, "05", "low"),
        ("sil_over", Q, "06", "medium"),
    ],
)
def test_an_anomaly_says_all(
    trips: Trips, played: dict[str, str], name: str, code: str, eaeu: str, severity: str
) -> None:
    found = trips.customs.anomalies(played[name])
    a = next(a for a in found if a["code"] == code and not a["provisional"])
    assert (a["eaeu_code"], a["severity"], a["basis"]) == (eaeu, severity, "data")
    assert a["delivery_id"] == played[name]
    assert set(a["found_by"]) == {"device", "gen", "seq"}
    assert a["found_by"]["device"] == a["device_id"]
    assert {"geometry", "evidence", "found_at", "settings_version", "end"} <= set(a)


def test_one_fix_far_out_is_provisional(trips: Trips, played: dict[str, str]) -> None:
    found = trips.customs.anomalies(played["dev_3x_last"])
    assert [a["provisional"] for a in found if a["code"] == D] == [True]
