"""Tables beside telemetry are kept to their policies, on a real PostgreSQL; cases stay, and what is
found of them stays the same."""

from __future__ import annotations

import json
import threading
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY
from typer.testing import CliRunner

from tests.support.logged import logged
from tests.support.seed import START, SeededDelivery, World, at, record
from tests.support.waiting import wait_until
from tracker import archiving, tidying, watch
from tracker.db import quarantine
from tracker.db import tidying as tables
from tracker.db.dead_zones import Learning, make_layer
from tracker.db.outbox import Event, append
from tracker.db.tables import Base
from tracker.model import to_ms
from tracker.payload import Key, sign, topic_of
from tracker.settings import Settings, load_settings
from tracker.storing import Incoming

NOW = datetime.now(UTC).replace(microsecond=0)

REGISTERS = {
    # What people entered, and what stands on record of each delivery: for ever, by contract.
    *("users", "zones", "zone_pieces", "posts", "participants", "routes", "route_pieces"),
    *("devices", "device_keys", "broker_logins", "limit_settings", "limit_versions"),
    *("deliveries", "delivery_acts", "delivery_routes", "bindings", "anomalies", "alerts"),
    *("alert_history", "risk_assessments", "archives", "delivery_state"),
    # The guard of identity: a row for each generation of a device's numbers.
    "device_received",
    # A row for each device, worker, shard or slot, rewritten.
    *("device_state", "device_positions", "quarantine_counts", "ingest_workers", "shard_leases"),
    "registry_changes",
    # Taken by evaluation.
    "dirty",
}
"""Tables without a policy, and why."""


def settings(world: World, days: int = 90, **more: Any) -> Settings:
    return load_settings(database_url=world.conn.info.dsn, retention_days=days, **more)


def tidy(world: World, chosen: Settings) -> dict[str, int]:
    """Weeks first, then the tables, as `watch` does; what went, by table."""
    archiving.run(world.conn, chosen, NOW)
    return {t.table: t.removed for t in tidying.run(world.conn, chosen, NOW) if t.removed}


def end(
    world: World,
    delivery: SeededDelivery,
    status: str = "completed",
    when: datetime = START + timedelta(hours=3),
) -> None:
    world.end(delivery, when, status)
    world.conn.execute(
        "UPDATE alerts SET status = 'resolved', finding = 'explained' WHERE delivery_id = %s",
        (delivery.id,),
    )


def judged_anew(world: World, delivery: SeededDelivery) -> list[dict[str, Any]]:
    """What is found of a delivery when it is judged again from its start."""
    world.conn.execute("DELETE FROM checkpoints WHERE delivery_id = %s", (delivery.id,))
    world.conn.execute("INSERT INTO dirty (delivery_id) VALUES (%s)", (delivery.id,))
    world.judge(now=NOW)
    return world.anomalies(delivery)


def rows(world: World, query: str, *params: Any) -> list[Any]:
    return [row[0] for row in world.conn.execute(query, params).fetchall()]  # type: ignore[arg-type]


def test_every_table_has_a_policy_or_a_reason_to_have_none() -> None:
    chosen = load_settings(retention_days=1, quarantine_days=1, scan_file_days=1)
    tidied = {table.name for table, _ in tidying.policies(chosen, NOW)}
    every = {table.name for table in Base.metadata.tables.values()}
    assert tidied | {"telemetry"} == every - REGISTERS
    assert tidied & REGISTERS == set()


def test_nothing_that_may_be_evidence_goes_by_default() -> None:
    by_default = {table.name for table, _ in tidying.policies(load_settings(), NOW)}
    assert by_default == {"checkpoints", "outbox", "idempotency_keys"}


def test_what_deliveries_are_judged_by_stays_while_acts_may_be_backdated() -> None:
    chosen = load_settings(retention_days=10, backdating_days=45)
    since = {table.name: before for table, before in tidying.policies(chosen, NOW)}
    assert since["traces"] == since["refusals"] == since["dead_zones"] == NOW - timedelta(days=45)
    assert since["signed_messages"] == NOW - timedelta(days=10)


# ---------------------------------------------------------------- traces


def visit(world: World, device: str, lat: float, lon: float = 76.3) -> list[Incoming]:
    """A drive to a place, a stop there of half an hour, and on."""
    messages = []
    for n in range(70):
        off = min(0, n - 10) + max(0, n - 40)
        body = record(n + 1, at(n), lon + 0.0075 * off, lat, moving=bool(off))
        messages.append(world.message(device, body))
    return messages


def test_a_meeting_is_still_found_on_the_case_whose_other_side_has_gone(world: World) -> None:
    case, other, alone = (world.delivery([world.device()]) for _ in range(3))
    for delivery, lat in ((case, 43.5), (other, 43.5005), (alone, 43.9)):
        world.store(visit(world, delivery.devices[0], lat))
    world.judge(now=at(71))
    end(world, case, "discrepancy")
    before = judged_anew(world, case)
    assert "rendezvous" in {a["code"] for a in before}
    end(world, other)
    end(world, alone)
    chosen = settings(world)
    (told,) = [t for t in _planned_after_weeks(world, chosen) if t.table == "traces"]
    assert told.removed == 1
    assert tidy(world, chosen)["traces"] == 1
    left = set(rows(world, "SELECT delivery_id FROM traces"))
    assert left == {case.id, other.id}
    assert judged_anew(world, case) == before
    assert "traces" not in tidy(world, chosen)
    # When the case is over, its records go, and with them the traces of both.
    end(world, case)
    assert tidy(world, chosen)["traces"] == 2


def _planned_after_weeks(world: World, chosen: Settings) -> list[tidying.Tidied]:
    archiving.run(world.conn, chosen, NOW)
    return tidying.plan(world.conn, chosen, NOW)


def jammed(world: World, device: str, from_min: int, lon: float = 76.2) -> list[Incoming]:
    messages = []
    for n in range(40):
        body = record(n + 1, at(n), lon, 43.5, moving=False)
        body["fix"]["jam"] = 2 if from_min <= n < from_min + 10 else 0
        messages.append(world.message(device, body))
    return messages


def test_jamming_of_an_area_stays_that_when_the_others_have_gone(world: World) -> None:
    area = [world.delivery([world.device()]) for _ in range(3)]
    elsewhere = world.delivery([world.device()])
    for n, delivery in enumerate(area):
        world.store(jammed(world, delivery.devices[0], 10 + 5 * n))
    world.store(jammed(world, elsewhere.devices[0], 10, lon=77.5))
    world.judge(now=at(41))
    case = area[0]
    end(world, case, "non_delivery")
    before = judged_anew(world, case)
    assert [a["severity"] for a in before if a["code"] == "jamming"] == ["low"]
    for delivery in (*area[1:], elsewhere):
        end(world, delivery)
    gone = rows(world, "SELECT id FROM traces WHERE delivery_id = %s", elsewhere.id)
    assert gone
    tidy(world, settings(world))
    left = rows(world, "SELECT delivery_id FROM traces WHERE kind = 'jam'")
    assert set(left) == {d.id for d in area}
    assert judged_anew(world, case) == before


def test_traces_of_deliveries_that_may_be_judged_again_stay_however_old(world: World) -> None:
    delivery = world.delivery([world.device()])
    world.store(visit(world, delivery.devices[0], 43.5))
    world.judge(now=at(71))
    end(world, delivery)
    assert "traces" not in tidy(world, settings(world, days=0))
    assert rows(world, "SELECT delivery_id FROM traces") == [delivery.id]


def test_traces_go_in_batches_until_none_is_left(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracker.db.tidying.BATCH", 2)
    for n in range(5):
        delivery = world.delivery([world.device()])
        world.store(visit(world, delivery.devices[0], 43.5 + n))
        world.judge(now=at(71))
        end(world, delivery)
    assert tidy(world, settings(world))["traces"] == 5


# ---------------------------------------------------------------- refusals


def forged(world: World, device: str, minute: int) -> Incoming:
    """A second body under a number that is stored already."""
    return world.message(device, record(1, at(0), 60.0, 50.0), received=at(minute))


def test_refusals_of_a_case_stay_and_its_conflict_is_found_again(world: World) -> None:
    case, gone = (world.delivery([world.device()]) for _ in range(2))
    idle = world.device()
    for device in (case.devices[0], gone.devices[0], idle):
        first = record(1, at(0), 76.0, 43.5)
        world.store([world.message(device, first, received=at(1))])
        world.store([forged(world, device, 5)])
    world.judge(now=at(60))
    end(world, case, "discrepancy")
    before = judged_anew(world, case)
    assert "identity_conflict" in {a["code"] for a in before}
    assert len(rows(world, "SELECT 1 FROM refusals")) == 3
    end(world, gone)
    assert tidy(world, settings(world))["refusals"] == 2
    left = rows(world, "SELECT d.id FROM refusals JOIN devices d USING (device_no)")
    assert left == [case.devices[0]]
    assert judged_anew(world, case) == before


# ---------------------------------------------------------------- dead zones

LEARNING = Learning(devices=3, gaps=3, days=30)


def silent(world: World, day: int) -> SeededDelivery:
    """A delivery that falls silent for an hour at one place, so many days after the start."""
    since = START + timedelta(days=day)
    delivery = world.delivery([world.device()], released=since)
    made = [
        record(n, since + timedelta(minutes=m), 76.0 + lon, 43.5)
        for n, m, lon in ((1, 1, 0.0), (2, 60, 0.3))
    ]
    device, received = delivery.devices[0], since + timedelta(hours=2)
    world.store([world.message(device, body, received=received) for body in made])
    return delivery


def test_the_layers_of_dead_zones_that_a_case_was_judged_by_stay(world: World) -> None:
    learnt_from = [silent(world, 0) for _ in range(3)]
    world.judge(now=START + timedelta(hours=3))
    days = [date(2026, 3, 3) + timedelta(days=n) for n in range(10)]
    for day in days:
        make_layer(world.conn, day, LEARNING)
    case = silent(world, 5)
    world.judge(now=START + timedelta(days=5, hours=3))
    end(world, case, "discrepancy", START + timedelta(days=5, hours=3))
    before = judged_anew(world, case)
    silence = next(a for a in before if a["code"] == "silence")
    assert "2026-03-06" in json.dumps(silence["evidence"])  # known the day before
    for delivery in learnt_from:
        end(world, delivery)
    assert tidy(world, settings(world))["dead_zones"] > 0
    left = rows(world, "SELECT DISTINCT layer_date FROM dead_zones ORDER BY 1")
    # 7 March, the day of the case, is served by the layer before; the newest serves what comes.
    assert left == [date(2026, 3, 6), date(2026, 3, 7), date(2026, 3, 12)]
    assert judged_anew(world, case) == before


# ---------------------------------------------------------------- quarantine and what it holds


def refuse(world: World, device: str, received: datetime) -> None:
    world.store([world.message(device, b"no json", received=received)])


def counted(world: World) -> dict[str, int]:
    found = world.conn.execute("SELECT device_id, kept FROM quarantine_counts").fetchall()
    return dict(found)


def test_old_rows_leave_quarantine_but_those_of_cases_and_there_is_room_again(
    world: World,
) -> None:
    case, gone = (world.delivery([world.device()]) for _ in range(2))
    idle = world.device()
    for device in (case.devices[0], gone.devices[0], idle, "nobody"):
        refuse(world, device, at(10))
    refuse(world, case.devices[0], at(-600))  # before it was on the case
    refuse(world, idle, NOW)
    world.judge(now=at(60))
    end(world, case, "discrepancy")
    end(world, gone)
    assert counted(world) == {
        case.devices[0]: 2,
        gone.devices[0]: 1,
        idle: 2,
        quarantine.UNKNOWN_SENDERS: 1,
    }
    chosen = settings(world, days=0, quarantine_days=30)
    (told,) = [t for t in tidying.plan(world.conn, chosen, NOW) if t.table == "quarantine"]
    assert told.removed == 4
    assert tidy(world, chosen)["quarantine"] == 4
    left = world.conn.execute("SELECT device_id, received_at FROM quarantine ORDER BY 2").fetchall()
    assert left == [(case.devices[0], at(10)), (idle, NOW)]
    assert counted(world) == {case.devices[0]: 1, idle: 1}


def test_a_signed_message_goes_when_nothing_refers_to_it_any_more(world: World) -> None:
    device = world.device("seal")
    delivery = world.delivery([device])
    world.conn.execute(
        "INSERT INTO device_keys (device_no, kid, secret)"
        " SELECT device_no, '1', %s FROM devices WHERE id = %s",
        (b"k" * 32, device),
    )
    topic = topic_of(device, "seal", "tlm")
    good, bad = record(1, at(1), 76.0, 43.5), {"v": 1, "gen": 0, "seq": 2, "ts": "soon"}
    payload = sign(json.dumps([good, bad]).encode(), topic, Key(kid="1", secret=b"k" * 32))
    world.store([Incoming(topic=topic, payload=payload, received_ms=to_ms(at(2)))])
    world.judge(now=at(60))
    end(world, delivery)
    assert len(rows(world, "SELECT message_id FROM quarantine WHERE message_id IS NOT NULL")) == 1
    assert "signed_messages" not in tidy(world, settings(world))
    assert rows(world, "SELECT count(*) FROM telemetry") == [0]
    assert rows(world, "SELECT payload FROM signed_messages") == [payload]
    gone = tidy(world, settings(world, quarantine_days=30))
    assert (gone["quarantine"], gone["signed_messages"]) == (1, 1)


def scan(world: World, delivery: SeededDelivery) -> None:
    world.conn.execute(
        """
        WITH act AS (
            INSERT INTO delivery_acts (delivery_id, kind, at, recorded_at, recorded_by)
            VALUES (%s, 'scan', %s, %s, 'officer') RETURNING delivery_id, id
        )
        INSERT INTO scan_files SELECT delivery_id, id, 'a.png', 'image/png', 'x', 'pixels' FROM act
        """,
        (delivery.id, at(100), at(100)),
    )


def test_pictures_of_scans_go_with_deliveries_that_are_no_cases(world: World) -> None:
    case, gone, late = (world.delivery([world.device()]) for _ in range(3))
    for delivery in (case, gone, late):
        scan(world, delivery)
    end(world, case, "discrepancy")
    end(world, gone)
    end(world, late, when=NOW - timedelta(days=10))
    assert tidy(world, settings(world, days=0)).get("scan_files") is None
    longer = (NOW - START).days + 1
    assert tidy(world, settings(world, days=0, scan_file_days=longer)) == {}
    assert tidy(world, settings(world, days=0, scan_file_days=30)) == {"scan_files": 1}
    assert set(rows(world, "SELECT delivery_id FROM scan_files")) == {case.id, late.id}
    assert len(rows(world, "SELECT id FROM delivery_acts WHERE kind = 'scan'")) == 3


# ---------------------------------------------------------------- saved states


def drive(world: World, delivery: SeededDelivery, minutes: range) -> None:
    device = delivery.devices[0]
    world.store([world.message(device, record(n + 1, at(n), 76 + n / 500, 43.5)) for n in minutes])


def test_saved_states_go_some_days_after_the_end_and_late_records_are_judged_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracker.db.evaluation.REPLAYED", 10)
    over, alike, under_way = (world.delivery([world.device()]) for _ in range(3))
    for delivery in (over, alike, under_way):
        drive(world, delivery, range(100))
        drive(world, delivery, range(130, 200))
    world.judge(now=at(210))
    end(world, over)
    saved = "SELECT DISTINCT delivery_id FROM checkpoints"
    assert set(rows(world, saved)) == {over.id, alike.id, under_way.id}
    assert set(tidy(world, settings(world, days=0))) == {"checkpoints"}
    assert set(rows(world, saved)) == {alike.id, under_way.id}
    end(world, alike)
    for delivery in (over, alike):  # the records of the gap, at last
        drive(world, delivery, range(100, 130))
    world.judge(now=at(240))
    without, with_states = world.anomalies(over), world.anomalies(alike)
    assert [_shape(a) for a in without] == [_shape(a) for a in with_states]


def _shape(anomaly: dict[str, Any]) -> tuple[Any, ...]:
    return anomaly["code"], anomaly["start_at"], anomaly["end_at"], anomaly["severity"]


# ---------------------------------------------------------------- events and answers


def tell(world: World, n: int, age: timedelta) -> list[int]:
    with world.conn.transaction():
        append(world.conn, [Event(kind="risk", delivery_id=None, payload={}) for _ in range(n)])
    ids = rows(world, "SELECT id FROM outbox ORDER BY id DESC LIMIT %s", n)
    world.conn.execute("UPDATE outbox SET at = %s WHERE id = ANY(%s)", (NOW - age, ids))
    return sorted(ids)


def test_events_go_from_the_oldest_on_and_the_newest_always_stays(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracker.db.tidying.BATCH", 3)
    old = tell(world, 8, timedelta(days=100))
    recent = tell(world, 2, timedelta(days=80))
    assert tidy(world, settings(world, days=0)) == {"outbox": 8}
    assert rows(world, "SELECT id FROM outbox ORDER BY id") == recent
    assert tidy(world, settings(world, days=0, events_days=1)) == {"outbox": 1}
    assert rows(world, "SELECT id FROM outbox") == recent[-1:]
    assert max(old) < recent[0]
    assert tidy(world, settings(world, days=0, events_days=0)) == {}


def test_answers_are_forgotten_after_a_month(world: World) -> None:
    for key, age in (("old", 31), ("new", 29)):
        world.conn.execute(
            "INSERT INTO idempotency_keys VALUES ('u', %s, 'h', 201, '{}', %s)",
            (key, NOW - timedelta(days=age)),
        )
    assert tidy(world, settings(world, days=0)) == {"idempotency_keys": 1}
    assert rows(world, "SELECT key FROM idempotency_keys") == ["new"]


# ---------------------------------------------------------------- told, by whom, how


def test_what_goes_is_counted_in_the_log_and_in_a_metric(world: World) -> None:
    def total() -> float:
        return REGISTRY.get_sample_value("tracker_tidied_rows_total", {"table": "outbox"}) or 0.0

    tell(world, 5, timedelta(days=100))
    before = total()
    with logged(tidying) as logs:
        tidy(world, settings(world, days=0))
    assert total() - before == 4
    (line,) = [entry for entry in logs if entry["event"] == "tidied"]
    assert (line["table"], line["removed"]) == ("outbox", 4)


def test_a_run_that_is_stopped_leaves_the_rest(world: World) -> None:
    tell(world, 5, timedelta(days=100))
    tidying.run(world.conn, settings(world, days=0), NOW, stopped=lambda: True)
    assert rows(world, "SELECT count(*) FROM outbox") == [5]


def test_one_process_tidies_at_a_time(world: World, database: str) -> None:
    other = World(database)
    tell(world, 5, timedelta(days=100))
    try:
        with other.conn.transaction():
            assert tables.lead(other.conn)
            assert tidy(world, settings(world, days=0)) == {}
    finally:
        other.close()
    assert tidy(world, settings(world, days=0)) == {"outbox": 4}


def test_watch_does_it(world: World, database: str) -> None:
    tell(world, 5, timedelta(days=100))
    stop = threading.Event()
    watching = threading.Thread(target=watch.run, args=(load_settings(database_url=database), stop))
    watching.start()
    try:
        wait_until(lambda: rows(world, "SELECT count(*) FROM outbox") == [1], 30, "old events gone")
    finally:
        stop.set()
        watching.join()


def test_the_command_says_and_does(
    world: World, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tracker.commands.retention import app

    tell(world, 5, timedelta(days=100))
    monkeypatch.setenv("TRACKER_DATABASE_URL", database)

    def told(*args: str) -> dict[str, int]:
        answer = CliRunner().invoke(app, ["tidy", *args])
        assert answer.exit_code == 0, answer.output
        lines = [json.loads(line) for line in answer.output.splitlines() if '"table"' in line]
        return {line["table"]: line["removed"] for line in lines if "removed" in line}

    assert told("--plan")["outbox"] == 4
    assert rows(world, "SELECT count(*) FROM outbox") == [5]
    assert told()["outbox"] == 4
    assert told("--plan")["outbox"] == 0
