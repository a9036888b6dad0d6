"""Weeks leave the database for Parquet files, on a real PostgreSQL; cases stay."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tests.support.seed import SeededDelivery, World, record
from tests.support.waiting import wait_until
from tracker import archiving, watch
from tracker.db.partitions import adopt, ensure_partitions, week_start
from tracker.errors import SetupError
from tracker.model import to_ms
from tracker.payload import Key, sign, topic_of
from tracker.settings import Settings, load_settings
from tracker.storing import Incoming

NOW = datetime.now(UTC).replace(microsecond=0)
OLD = datetime(2025, 3, 5, 6, tzinfo=UTC)
PARTITION = "telemetry_20250303"


@pytest.fixture
def world(database: str) -> Iterator[World]:
    made = World(database)
    with made.conn.transaction():
        adopt(made.conn, week_start(OLD.date()))
    yield made
    made.close()


def settings(world: World, archive: Path | None, days: int = 90) -> Settings:
    return load_settings(database_url=world.conn.info.dsn, retention_days=days, archive_dir=archive)


def trip(world: World, *, status: str = "completed", n: int = 5) -> SeededDelivery:
    """A delivery of an old week, judged, with so many records of one device."""
    device = world.device()
    delivery = world.delivery([device], released=OLD)
    records = [record(i, OLD + timedelta(minutes=i), 76 + i / 100, 43.5) for i in range(1, n + 1)]
    world.store([world.message(device, r, received=OLD + timedelta(hours=1)) for r in records])
    world.end(delivery, OLD + timedelta(hours=2), status)
    world.judge(now=OLD + timedelta(hours=2))
    settle(world)
    return delivery


def settle(world: World) -> None:
    world.conn.execute("UPDATE alerts SET status = 'resolved', finding = 'explained'")


def count(world: World, what: str = "telemetry") -> int:
    row = world.conn.execute(f"SELECT count(*) FROM {what}").fetchone()  # type: ignore[arg-type]
    assert row is not None
    return int(row[0])


def exists(world: World, table: str) -> bool:
    row = world.conn.execute("SELECT to_regclass(%s)", (table,)).fetchone()
    return row is not None and row[0] is not None


def alert(world: World, delivery: SeededDelivery, status: str, finding: str | None) -> None:
    world.conn.execute(
        "INSERT INTO alerts (delivery_id, code, status, severity, due_at, finding)"
        " VALUES (%s, 'seal_cut', %s, 'critical', now(), %s)",
        (delivery.id, status, finding),
    )


def test_by_default_everything_is_kept(world: World, tmp_path: Path) -> None:
    trip(world)
    assert archiving.run(world.conn, settings(world, tmp_path, 0), NOW) == []
    assert (count(world), list(tmp_path.iterdir())) == (5, [])


def test_an_old_week_goes_to_parquet_with_a_manifest_and_is_dropped(
    world: World, tmp_path: Path
) -> None:
    delivery = trip(world)
    bodies = world.conn.execute("SELECT seq, body FROM telemetry ORDER BY seq").fetchall()
    (planned,) = archiving.plan(world.conn, settings(world, tmp_path), NOW)
    assert (planned.partition, planned.removed, planned.kept) == (PARTITION, 5, 0)
    assert count(world) == 5

    (done,) = archiving.run(world.conn, settings(world, tmp_path), NOW)
    assert (done.records, done.kept, done.retired) == (5, 0, 1)
    assert count(world) == 0
    assert not exists(world, PARTITION)
    folder = tmp_path / f"{PARTITION}.1"
    assert archiving.verify(folder) == {"records.parquet": 5, "messages.parquet": 0}
    table = pq.read_table(folder / "records.parquet").to_pylist()
    assert [(row["seq"], row["body"]) for row in table] == bodies
    assert {row["device"] for row in table} == set(delivery.devices)
    assert table[0]["lon"] == pytest.approx(76.01)
    row = world.conn.execute("SELECT records, kept, path FROM archives").fetchone()
    assert row == (5, 0, str(folder.resolve()))
    assert archiving.run(world.conn, settings(world, tmp_path), NOW) == []


def test_what_was_found_stands_though_its_records_are_gone(world: World, tmp_path: Path) -> None:
    device = world.device()
    delivery = world.delivery([device], released=OLD)
    received = OLD + timedelta(hours=3)
    records = [record(n, OLD + timedelta(minutes=m), 76.0, 43.5) for n, m in ((1, 1), (2, 60))]
    world.store([world.message(device, r, received=received) for r in records])
    world.end(delivery, OLD + timedelta(hours=2), "completed")
    world.judge(now=received)
    found = world.anomalies(delivery)
    assert {a["code"] for a in found} == {"silence"}
    settle(world)
    archiving.run(world.conn, settings(world, tmp_path), NOW)
    assert count(world) == 0
    # A record without a time marks every delivery its device ever had.
    cut = {"v": 1, "gen": 0, "seq": 9, "ts": 0, "tq": "none", "evt": {"code": "rope_cut"}}
    world.store([world.message(device, cut, received=NOW)])
    assert count(world, "dirty") == 1
    world.judge(now=NOW)
    assert world.anomalies(delivery) == found
    assert count(world, "dirty") == 0


@pytest.mark.parametrize(
    ("status", "held_by", "kept"),
    [
        ("completed", None, False),
        ("cancelled", None, False),
        ("completed", ("resolved", "false"), False),
        ("completed", ("resolved", "confirmed"), True),
        ("completed", ("acknowledged", None), True),
        ("in_transit", None, True),
        ("discrepancy", None, True),
        ("non_delivery", None, True),
    ],
)
def test_records_of_cases_stay_where_they_are_until_the_case_is_over(
    world: World,
    tmp_path: Path,
    status: str,
    held_by: tuple[str, str | None] | None,
    kept: bool,
) -> None:
    case, other = trip(world, status=status, n=3), trip(world, n=4)
    if held_by:
        alert(world, case, *held_by)
    (done,) = archiving.run(world.conn, settings(world, tmp_path), NOW)
    assert (done.records, done.kept) == ((4, 3) if kept else (7, 0))
    assert count(world) == (3 if kept else 0)
    assert exists(world, PARTITION) is kept
    assert archiving.run(world.conn, settings(world, tmp_path), NOW) == []
    left = world.conn.execute(
        "SELECT DISTINCT d.id FROM telemetry JOIN devices d USING (device_no)"
    ).fetchall()
    assert left == ([(case.devices[0],)] if kept else [])
    if kept:  # they are judged as before, and go when the case is over
        settle(world)
        world.conn.execute("UPDATE deliveries SET status = 'completed'")
        (later,) = archiving.run(world.conn, settings(world, tmp_path), NOW)
        assert (later.records, later.kept, count(world)) == (3, 0, 0)
        assert sorted(p.name for p in tmp_path.iterdir()) == [f"{PARTITION}.1", f"{PARTITION}.2"]
    assert other.id


def test_a_delivery_that_ended_lately_stays_whole(world: World, tmp_path: Path) -> None:
    delivery = trip(world)
    world.end(delivery, NOW - timedelta(days=5), "completed")
    assert archiving.run(world.conn, settings(world, tmp_path), NOW) == []
    assert count(world) == 5


def test_what_is_not_judged_yet_stays(world: World, tmp_path: Path) -> None:
    delivery = trip(world)
    world.conn.execute("INSERT INTO dirty (delivery_id) VALUES (%s)", (delivery.id,))
    assert archiving.run(world.conn, settings(world, tmp_path), NOW) == []


def test_an_event_without_a_time_stays_with_its_case(world: World, tmp_path: Path) -> None:
    case = trip(world, status="in_transit")
    cut = {"v": 1, "gen": 0, "seq": 9, "ts": 0, "tq": "none", "evt": {"code": "rope_cut"}}
    world.store([world.message(case.devices[0], cut, received=OLD + timedelta(hours=1))])
    world.judge(now=OLD + timedelta(hours=2))
    trip(world)
    (done,) = archiving.run(world.conn, settings(world, tmp_path), NOW)
    assert (done.records, done.kept) == (5, 6)


def signed_trip(world: World, status: str, secret: bytes = b"k" * 32) -> tuple[str, list[bytes]]:
    """A trip that sent two records in one signed message and a third in another."""
    device = world.device("seal")
    delivery = world.delivery([device], released=OLD)
    world.conn.execute(
        "INSERT INTO device_keys (device_no, kid, secret)"
        " SELECT device_no, '1', %s FROM devices WHERE id = %s",
        (secret, device),
    )
    topic = topic_of(device, "seal", "tlm")
    made = [record(n, OLD + timedelta(minutes=n), 76.0, 43.5) for n in (1, 2, 3)]
    bodies = [json.dumps(body).encode() for body in (made[:2], made[2])]
    payloads = [sign(body, topic, Key(kid="1", secret=secret)) for body in bodies]
    received_ms = to_ms(OLD + timedelta(hours=1))
    world.store([Incoming(topic=topic, payload=p, received_ms=received_ms) for p in payloads])
    world.end(delivery, OLD + timedelta(hours=2), status)
    world.judge(now=OLD + timedelta(hours=2))
    settle(world)
    return device, payloads


def test_signed_messages_go_and_stay_with_their_records(world: World, tmp_path: Path) -> None:
    gone, (both, alone) = signed_trip(world, "completed")
    _, kept = signed_trip(world, "in_transit")
    (done,) = archiving.run(world.conn, settings(world, tmp_path), NOW)
    assert (done.records, done.messages) == (3, 1)
    folder = tmp_path / f"{PARTITION}.1"
    messages = pq.read_table(folder / "messages.parquet").to_pylist()
    assert [(row["device"], row["payload"]) for row in messages] == [(gone, both)]
    records = pq.read_table(folder / "records.parquet").to_pylist()
    assert [row["message_id"] for row in records] == [messages[0]["id"], messages[0]["id"], None]
    assert (records[2]["topic"], records[2]["body"] + records[2]["trailer"]) == (
        messages[0]["topic"],
        alone,
    )
    rows = world.conn.execute("SELECT payload FROM signed_records ORDER BY seq").fetchall()
    assert rows == [(kept[0],), (kept[0],), (kept[1],)]


def test_without_a_directory_the_week_is_dropped_and_that_is_noted(world: World) -> None:
    trip(world)
    (done,) = archiving.run(world.conn, settings(world, None), NOW)
    assert done.path is None
    assert count(world) == 0
    assert world.conn.execute("SELECT records, path FROM archives").fetchall() == [(5, None)]


def test_nothing_is_dropped_if_the_archive_cannot_be_written(world: World, tmp_path: Path) -> None:
    trip(world)
    blocked = tmp_path / "file"
    blocked.write_text("not a directory")
    with pytest.raises(SetupError, match="TRACKER_ARCHIVE_DIR"):
        archiving.run(world.conn, settings(world, blocked), NOW)
    assert (count(world), count(world, "archives")) == (5, 0)


def test_nothing_is_dropped_if_the_archive_reads_back_otherwise(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trip(world)
    monkeypatch.setattr("tracker.archiving._read_back", lambda *_: (5, "otherwise"))
    with pytest.raises(SetupError, match="reads back otherwise"):
        archiving.run(world.conn, settings(world, tmp_path), NOW)
    assert count(world) == 5


def test_a_run_that_was_cut_short_leaves_the_week_and_is_taken_up_again(
    world: World, tmp_path: Path
) -> None:
    trip(world)
    chosen = settings(world, tmp_path)
    assert archiving.run(world.conn, chosen, NOW, stopped=lambda: True) == []
    assert (count(world), count(world, "archives")) == (5, 0)
    # Killed between the files and the commit: the folder is there, the records are too.
    leftover = tmp_path / f"{PARTITION}.1"
    leftover.mkdir(exist_ok=True)
    (leftover / "records.parquet").write_bytes(b"half")
    (done,) = archiving.run(world.conn, chosen, NOW)
    assert done.records == 5
    assert archiving.verify(leftover)["records.parquet"] == 5


def test_an_export_gives_signs_of_life_and_can_be_stopped_also_while_it_reads_back(
    world: World, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large week is read back for hours, which must not be taken for standing still."""
    trip(world, n=5)
    monkeypatch.setattr("tracker.db.retention.BATCH", 1)
    said: list[datetime] = []
    with psycopg.connect(database, autocommit=True) as server:

        def stopped() -> bool:
            row = server.execute(
                "SELECT state_change FROM pg_stat_activity WHERE pid = %s",
                (world.conn.info.backend_pid,),
            ).fetchone()
            assert row is not None
            said.append(row[0])
            return len(said) == 9  # five rows written, three read back

        assert archiving.run(world.conn, settings(world, tmp_path), NOW, stopped=stopped) == []
    assert count(world) == 5
    assert (tmp_path / f"{PARTITION}.1.part" / "records.parquet").is_file()
    assert len(said) == len(set(said)) == 9


def test_a_changed_archive_is_noticed(world: World, tmp_path: Path) -> None:
    trip(world)
    archiving.run(world.conn, settings(world, tmp_path), NOW)
    file = tmp_path / f"{PARTITION}.1" / "records.parquet"
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    file.write_bytes(content)
    with pytest.raises(SetupError, match="has changed"):
        archiving.verify(file.parent)
    with pytest.raises(SetupError, match="no readable archive"):
        archiving.verify(tmp_path)


def test_a_reader_that_is_busy_for_long_stops_the_drop_not_the_storing(
    world: World, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trip(world)
    with psycopg.connect(database) as reader, monkeypatch.context() as impatient:
        impatient.setattr("tracker.db.partitions.LOCK_TIMEOUT_MS", 50)
        reader.execute("SELECT count(*) FROM telemetry")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            archiving.run(world.conn, settings(world, tmp_path), NOW)
    assert count(world) == 5
    (done,) = archiving.run(world.conn, settings(world, tmp_path), NOW)
    assert done.records == 5


def test_a_reader_that_is_busy_for_long_stops_the_adopting_of_strays(
    world: World, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracker.db.partitions.LOCK_TIMEOUT_MS", 50)
    stray = OLD - timedelta(weeks=30)
    world.store([world.message(world.device(), record(1, stray), received=stray)])
    # Waiting, it must fail here, not hang.
    world.conn.execute("SET statement_timeout = '30s'")
    with psycopg.connect(database) as reader:
        reader.execute("SELECT count(*) FROM telemetry")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            archiving.run(world.conn, settings(world, tmp_path), NOW)
    assert count(world, "telemetry_default") == 1


def test_rows_that_the_default_partition_took_get_their_week(world: World, tmp_path: Path) -> None:
    """Weeks without `watch`, or records of a week that is gone: both were refused by PostgreSQL."""
    later = datetime.combine(week_start(NOW.date()), datetime.min.time(), UTC) + timedelta(weeks=9)
    device = world.device()
    for n, at in ((1, later), (2, OLD - timedelta(weeks=30))):
        world.store([world.message(device, record(n, OLD - timedelta(weeks=40)), received=at)])
    assert count(world, "telemetry_default") == 2
    with world.conn.transaction():
        assert ensure_partitions(world.conn, later) > 0
    assert count(world, f"telemetry_{later:%Y%m%d}") == 1
    done = archiving.run(world.conn, settings(world, tmp_path), NOW)
    assert [d.records for d in done] == [1, 0]
    assert count(world, "telemetry_default") == 0
    assert count(world) == 1


def test_commands(
    world: World, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tracker.commands.retention import app

    trip(world)
    monkeypatch.setenv("TRACKER_DATABASE_URL", database)
    run = CliRunner().invoke
    refused = run(app, ["plan"])
    assert refused.exit_code == 1
    monkeypatch.setenv("TRACKER_RETENTION_DAYS", "90")
    monkeypatch.setenv("TRACKER_ARCHIVE_DIR", str(tmp_path))
    assert '"removed":5' in run(app, ["plan"]).output
    assert '"records":5' in run(app, ["run"]).output
    told = run(app, ["verify", str(tmp_path / f"{PARTITION}.1")])
    assert json.loads(told.output) == {"records.parquet": 5, "messages.parquet": 0}


def test_weeks_begin_on_monday_utc() -> None:
    assert week_start(OLD.date()) == date(2025, 3, 3)


def test_watch_runs_it_every_hour(world: World, database: str, tmp_path: Path) -> None:
    trip(world)
    stop = threading.Event()
    chosen = load_settings(database_url=database, retention_days=90, archive_dir=tmp_path)
    watching = threading.Thread(target=watch.run, args=(chosen, stop))
    watching.start()
    try:
        wait_until(lambda: count(world) == 0, 30, "the old week to be archived")
    finally:
        stop.set()
        watching.join()
    assert archiving.verify(tmp_path / f"{PARTITION}.1")["records.parquet"] == 5
