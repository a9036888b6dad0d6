"""An honest trip, six crooked ones and a dead zone, played by MQTT on the whole stack."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.customs import Customs, hours
from tests.support.stack import Stack

PLOTS: dict[str, Any] = {
    "honest": "honest",
    "diversion": {"name": "diversion", "params": {"at": 0.4, "km": 8}},
    "lost": {"name": "diversion", "params": {"at": 0.6, "km": 15, "returns": False}},
    "stop": {"name": "unauthorised_stop", "params": {"at": 0.5, "minutes": 30}},
    "cut": {"name": "rope_cut", "params": {"at": 0.5}},
    "opened": {"name": "case_open", "params": {"at": 0.5}},
    "battery": {"name": "battery_death", "params": {"at": 0.2, "minutes": 40}},
    "gap": {"name": "coverage_gap", "params": {"at": 0.4, "minutes": 45}},
}

EXPECTED: dict[str, set[str]] = {
    "honest": set(),
    "diversion": {"route_deviation"},
    "lost": {"route_deviation"},
    "stop": {"unauthorised_stop"},
    "cut": {"seal_cut"},
    "opened": {"seal_body_open"},
    "battery": {"battery_low", "silence"},
    # The records of the gap come later and fill it: what was silent is not silent any more.
    "gap": set(),
}

LINE = [(76.0, 43.6), (76.4, 43.62), (76.8, 43.6), (77.2, 43.63)]


@pytest.fixture(scope="module")
def played(
    stack: Stack, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Customs, dict[str, str]]:
    """The deliveries, released three hours ago, driven to their ends and judged."""
    customs = Customs(stack, "fleet")
    now = datetime.now(UTC)
    departure = now - hours(3)
    posts = (customs.place("departure", LINE[0]), customs.place("destination", LINE[-1]))
    deliveries: dict[str, str] = {}
    vehicles = []
    for name, plot in PLOTS.items():
        devices = [customs.device(f"{name}-{kind}", kind) for kind in ("seal", "gps")]
        deliveries[name] = customs.delivery(
            LINE,
            devices,
            departure=departure - timedelta(minutes=1),
            deadline=now + hours(5),
            posts=posts,
        )
        vehicles.append(
            {
                "vehicle": name,
                "devices": [
                    {"id": id_, "kind": kind}
                    for id_, kind in zip(devices, ("seal", "gps"), strict=True)
                ],
                "route": [list(point) for point in LINE],
                "start": departure.isoformat(),
                "plot": plot,
                "seed": 11,
                "tail_s": 0,
            }
        )
    plan = tmp_path_factory.mktemp("plan") / "plan.yaml"
    plan.write_text(yaml.safe_dump({"vehicles": vehicles}))
    customs.firmware_sim("fleet", str(plan), "--flat-out", "--exit-when-acked")
    for id_ in deliveries.values():
        customs.settle(id_)
    return customs, deliveries


def _codes(customs: Customs, delivery_id: str) -> set[str]:
    """Codes found of the trip itself: the silence since its end is true, but of the clock."""
    return {a["code"] for a in customs.anomalies(delivery_id) if not a["provisional"]}


@pytest.mark.parametrize("name", [n for n in PLOTS if n != "battery"])
def test_exactly_the_expected_anomalies(played: tuple[Customs, dict[str, str]], name: str) -> None:
    customs, deliveries = played
    assert _codes(customs, deliveries[name]) == EXPECTED[name]


def test_a_dying_battery_is_low_and_then_silent(played: tuple[Customs, dict[str, str]]) -> None:
    customs, deliveries = played
    found = {
        a["code"]: a
        for a in customs.anomalies(deliveries["battery"])
        if a["device_id"].endswith("seal")
    }
    assert set(found) == EXPECTED["battery"]
    assert found["battery_low"]["severity"] == "high"
    assert found["silence"]["status"] == "open"


def test_the_crooked_outrank_the_honest(played: tuple[Customs, dict[str, str]]) -> None:
    customs, deliveries = played
    risks = {name: customs.get(f"/deliveries/{id_}/risk") for name, id_ in deliveries.items()}
    crooked = [n for n in PLOTS if EXPECTED[n]]
    for name in crooked:
        assert risks[name]["rank"] < risks["honest"]["rank"], name
        assert risks[name]["expected_loss_kzt"] > risks["honest"]["expected_loss_kzt"], name
    assert risks["cut"]["level"] == "high"


def test_alerts_are_ranked_by_what_is_at_stake(played: tuple[Customs, dict[str, str]]) -> None:
    customs, deliveries = played
    alerts = [
        alert
        for id_ in deliveries.values()
        for alert in customs.get("/alerts", delivery_id=id_, status="open")["items"]
    ]
    cut = next(a for a in alerts if a["code"] == "seal_cut")
    battery = next(a for a in alerts if a["code"] == "battery_low")
    assert cut["rank"] < battery["rank"]
    due = [datetime.fromisoformat(cut[k]) for k in ("raised_at", "due_at")]
    assert due[1] - due[0] == timedelta(minutes=5)


def test_nothing_was_refused(played: tuple[Customs, dict[str, str]], tmp_path: Path) -> None:
    customs, deliveries = played
    for id_ in deliveries.values():
        for device in customs.get(f"/deliveries/{id_}")["devices"]:
            assert customs.get("/quarantine", device=device)["items"] == []
