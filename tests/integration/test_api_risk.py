# ruff: noqa: F401, F811 - fixtures are imported, and named again where they are used
"""The risk of a delivery, and its timeline."""

from __future__ import annotations

import json
from uuid import UUID, uuid4

import msgspec
import pytest
from fastapi import FastAPI

from tests.integration.reading_app import app, world
from tests.support.world import World
from tracker.model import Severity
from tracker.risk import FindingFacts, GoodsFacts, JourneyFacts, SubjectFacts, assess


def assessed(world: World, delivery: UUID, anomaly: UUID) -> None:
    """Store an assessment as evaluation does."""
    found = assess(
        subject=SubjectFacts(carrier="high"),
        goods=[GoodsFacts(hs_code="940360", payments_at_stake_kzt=6_000_000)],
        findings=[
            FindingFacts(code="seal_cut", severity=Severity.CRITICAL, anomaly_id=str(anomaly))
        ],
        journey=JourneyFacts(arrived=True),
    )
    world.conn.execute(
        "INSERT INTO risk_assessments (delivery_id, probability, consequence_kzt,"
        " expected_loss_kzt, level, corridor, reasons, weights_version)"
        " VALUES (%s,%s,%s,%s,%s,%s,%s,%s)",
        (
            delivery, found.probability, found.consequence_kzt, found.expected_loss_kzt,
            found.level, found.corridor, json.dumps(msgspec.to_builtins(found.reasons)),
            found.weights_version,
        ),
    )  # fmt: skip
    world.state(delivery, found.expected_loss_kzt, found.level)


def test_the_newest_assessment_in_the_contracts_shape(app: FastAPI, world: World) -> None:
    delivery = world.delivery()
    anomaly = world.anomaly(delivery, "seal_cut")
    assessed(world, delivery, anomaly)
    risk = world.client(app, "analyst").get(f"/api/v1/deliveries/{delivery}/risk").json()
    assert {
        "delivery_id", "at", "probability", "expected_loss_kzt", "level", "rank", "corridor",
        "profiles", "reasons",
    } <= set(risk)  # fmt: skip
    assert (risk["level"], risk["corridor"], risk["rank"]) == ("high", "red", 1)
    assert "KZ-ND-01" in risk["profiles"]
    by_code = {r["indicator"]: r for r in risk["reasons"]}
    assert by_code["seal_cut"]["anomaly_id"] == str(anomaly)
    assert by_code["seal_cut"]["text"] == "seal rope cut"
    assert "anomaly_id" not in by_code["carrier_high"]
    assert by_code["arrived_directly"]["contribution"] < 0


@pytest.mark.parametrize(
    ("params", "header", "text"),
    [
        ({"lang": "ru"}, "en", "трос пломбы перерезан"),
        ({"lang": "kk"}, "", "пломба тросы кесілген"),
        ({}, "kk-KZ,ru;q=0.8", "пломба тросы кесілген"),
        ({}, "de;q=0.9, ru-RU;q=0.5", "трос пломбы перерезан"),
        ({}, ";;q=x,,", "seal rope cut"),
    ],
)
def test_reasons_in_the_readers_language(
    app: FastAPI, world: World, params, header: str, text: str
) -> None:
    delivery = world.delivery()
    assessed(world, delivery, world.anomaly(delivery, "seal_cut"))
    answer = world.client(app, "monitor").get(
        f"/api/v1/deliveries/{delivery}/risk", params=params, headers={"Accept-Language": header}
    )
    assert text in [r["text"] for r in answer.json()["reasons"]]


def test_a_carrier_gets_plain_words_and_no_figure(app: FastAPI, world: World) -> None:
    delivery = world.delivery()
    assessed(world, delivery, world.anomaly(delivery, "seal_cut"))
    path = f"/api/v1/deliveries/{delivery}/risk"
    own = world.client(app, "carrier").get(path)
    assert own.status_code == 200
    assert own.json().keys() == {"delivery_id", "at", "reasons"}
    assert own.json()["reasons"] == [{"text": "seal rope cut"}]
    assert world.client(app, "stranger").get(path).status_code == 404
    assert world.client(app, "monitor").get(f"/api/v1/deliveries/{uuid4()}/risk").status_code == 404


def test_before_the_first_evaluation_there_is_the_prior(app: FastAPI, world: World) -> None:
    delivery = world.delivery(status="declared")
    risk = world.client(app, "auditor").get(f"/api/v1/deliveries/{delivery}/risk").json()
    assert risk["expected_loss_kzt"] == round(risk["probability"] * 6_000_000)
    assert (risk["level"], risk["rank"]) == ("low", None)


def test_rank_counts_active_deliveries_alone(app: FastAPI, world: World) -> None:
    low, high, over = world.delivery(), world.delivery(), world.delivery(status="completed")
    for delivery, loss in ((low, 10), (high, 20), (over, 99)):
        world.state(delivery, loss)
    client = world.client(app, "monitor")
    ranks = [client.get(f"/api/v1/deliveries/{d}/risk").json()["rank"] for d in (low, high, over)]
    assert ranks == [2, 1, None]


def test_the_timeline_is_in_order(app: FastAPI, world: World) -> None:
    delivery = world.delivery()
    world.conn.execute(
        "INSERT INTO delivery_acts (delivery_id, kind, at, recorded_by)"
        " VALUES (%s, 'release', %s, 'officer')",
        (delivery, world.conn.execute("SELECT now() - interval '5 h'").fetchone()[0]),
    )
    world.anomaly(delivery, "silence", 30)
    alert = world.alert(delivery, "silence")
    client = world.client(app, "monitor")
    client.post(f"/api/v1/alerts/{alert}/comment", json={"text": "inside"})
    items = client.get(f"/api/v1/deliveries/{delivery}/timeline").json()["items"]
    assert [(i["kind"], i["what"]) for i in items] == [
        ("anomaly", "open"),
        ("alert", "raised"),
        ("act", "release"),
        ("act", "declared"),
        ("alert", "commented"),
    ]
    plain = world.client(app, "carrier").get(f"/api/v1/deliveries/{delivery}/timeline")
    assert "inside" not in plain.text
    refused = world.client(app, "stranger").get(f"/api/v1/deliveries/{delivery}/timeline")
    assert refused.status_code == 404
