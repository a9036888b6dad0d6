"""Retention at work: weeks that are old enough go to Parquet files, or just go.

A week is exported, read back and compared, and only then dropped, in one transaction: until it
commits the records are in the database, afterwards in exactly one archive. Records of cases stay.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import structlog
from msgspec import Struct
from prometheus_client import Counter

from tracker.db import retention as db
from tracker.db.partitions import let_go_soon, partition_name
from tracker.errors import SetupError
from tracker.retention import Week, cutoff, due
from tracker.settings import Settings

Connection = psycopg.Connection[Any]

log = structlog.get_logger(__name__)

IDLE_IN_TRANSACTION_S = 1800.0
"""One that is stopped in the middle of an export keeps VACUUM from its work for no longer. Between
two statements lies at most the writing through of a file, of which the system holds back no more
than a part of its memory: tens of GB at tens of MB a second. What takes hours is done in pieces."""

_PIECE: Final = 1 << 24

ARCHIVED = Counter("tracker_records_archived_total", "Records that retention took out.")

_INSTANT: Final = pa.timestamp("us", tz="UTC")

RECORDS: Final = pa.schema(
    [
        pa.field("device", pa.string(), nullable=False),
        pa.field("gen", pa.int64(), nullable=False),
        pa.field("seq", pa.int64(), nullable=False),
        pa.field("received_at", _INSTANT, nullable=False),
        pa.field("t_star", _INSTANT),
        pa.field("flags", pa.int32(), nullable=False),
        pa.field("lon", pa.float64()),
        pa.field("lat", pa.float64()),
        pa.field("body", pa.binary(), nullable=False),
        pa.field("message_id", pa.int64()),
        pa.field("topic", pa.string()),
        pa.field("trailer", pa.binary()),
    ]
)
MESSAGES: Final = pa.schema(
    [
        pa.field("device", pa.string(), nullable=False),
        pa.field("id", pa.int64(), nullable=False),
        pa.field("received_at", _INSTANT, nullable=False),
        pa.field("topic", pa.string(), nullable=False),
        pa.field("payload", pa.binary(), nullable=False),
    ]
)


class Planned(Struct, frozen=True, kw_only=True):
    """What a run would do with a week."""

    partition: str
    removed: int
    kept: int
    bytes: int


class Done(Struct, frozen=True, kw_only=True):
    """What a run did with a week. ``path`` None: dropped, or nothing went."""

    partition: str
    records: int
    messages: int
    kept: int
    retired: int
    path: str | None


class Stopped(Exception):
    """The process is to end: the week's transaction is undone."""


Between = Callable[[], None]
"""Called between the pieces of the work on files, which takes hours for a large week."""


def _nothing() -> None:
    pass


def plan(conn: Connection, settings: Settings, now: datetime) -> list[Planned]:
    """What a run at ``now`` would do; changes nothing."""
    before = cutoff(now, settings.retention_days)
    planned = []
    for week in due(db.weeks(conn), now, settings.retention_days):
        with conn.transaction(force_rollback=True):
            assert before is not None  # else no week is due
            db.hold_cases(conn, week, before)
            size = db.size_of(conn, week)
        planned.append(
            Planned(
                partition=partition_name(week.monday),
                removed=size.removed,
                kept=size.kept,
                bytes=size.bytes,
            )
        )
    return planned


def run(
    conn: Connection,
    settings: Settings,
    now: datetime,
    *,
    stopped: Callable[[], bool] = lambda: False,
) -> list[Done]:
    """Take out every week that is due, the oldest first, each in a transaction of its own.

    Args:
        conn: in autocommit.
        stopped: asked now and then; when true, what is under way is undone and nothing follows.

    Raises:
        SetupError: the archive's directory cannot be written, or what was written reads back
            otherwise; the week stays in the database.
    """
    before = cutoff(now, settings.retention_days)
    if before is None:
        return []
    with conn.transaction():
        if db.lead(conn):
            db.adopt_strays(conn)
    done = []
    try:
        for week in due(db.weeks(conn), now, settings.retention_days):
            with conn.transaction():
                took = _take_out(conn, settings, week, before, stopped)
            if took is not None:
                ARCHIVED.inc(took.records)
                log.info("week_retired", **{f: getattr(took, f) for f in took.__struct_fields__})
                done.append(took)
    except Stopped:
        log.info("retention stopped, the week it was at stays")
    except OSError as exc:
        raise SetupError(f"TRACKER_ARCHIVE_DIR: {exc}; nothing was dropped") from exc
    return done


def _take_out(
    conn: Connection,
    settings: Settings,
    week: Week,
    before: datetime,
    stopped: Callable[[], bool],
) -> Done | None:
    """One week, in the caller's transaction; None: nothing goes, or another process is at it."""
    if not db.lead(conn):
        return None
    db.lock_week(conn, week)
    db.hold_cases(conn, week, before)
    size = db.size_of(conn, week)
    if not size.removed and size.kept:
        return None
    number, folder, sha256 = db.next_run(conn, week), None, None
    if settings.archive_dir is not None and size.removed:
        folder = settings.archive_dir / f"{partition_name(week.monday)}.{number}"
        sha256 = _export(conn, week, folder, stopped)
    let_go_soon(conn)  # what follows is in the way of judging and storing
    retired = db.retire(conn, week)
    messages = db.delete_messages(conn, week)
    kept = db.prepare_kept(conn, week)
    if kept != size.kept:
        raise RuntimeError(f"{week}: {kept} records stay, {size.kept} were counted")
    path = None if folder is None else str(folder.resolve())
    if size.removed:
        db.register(
            conn,
            week,
            run=number,
            records=size.removed,
            messages=messages,
            kept=kept,
            path=path,
            sha256=sha256,
        )
    db.swap(conn, week, kept=kept)
    return Done(
        partition=partition_name(week.monday),
        records=size.removed,
        messages=messages,
        kept=kept,
        retired=len(retired),
        path=path,
    )


# ---------------------------------------------------------------- files


def _export(conn: Connection, week: Week, folder: Path, stopped: Callable[[], bool]) -> str:
    """Write, check and publish the archive of a week; the SHA-256 of its manifest.

    A folder of that name is what a run left that did not commit: its records are still in the
    database.
    """

    def between() -> None:
        if stopped():
            raise Stopped
        # A sign of life: by it the server tells a long export from a process that stands still.
        conn.execute("SELECT 1")

    part = folder.with_name(folder.name + ".part")
    for leftover in (part, folder):
        shutil.rmtree(leftover, ignore_errors=True)
    part.mkdir(parents=True)
    files = {
        "records.parquet": _write(
            part / "records.parquet", RECORDS, db.removed_records(conn, week), between
        ),
        "messages.parquet": _write(
            part / "messages.parquet", MESSAGES, db.removed_messages(conn, week), between
        ),
    }
    manifest = {
        "partition": partition_name(week.monday),
        "received_from": week.start.isoformat(),
        "received_to": week.end.isoformat(),
        "files": files,
    }
    text = json.dumps(manifest, indent=2).encode() + b"\n"
    _write_through(part / "manifest.json", text)
    part.rename(folder)
    _sync(folder.parent)
    return hashlib.sha256(text).hexdigest()


def _write(
    path: Path,
    schema: pa.Schema,
    batches: Iterable[Sequence[tuple[Any, ...]]],
    between: Between,
) -> dict[str, Any]:
    """Write rows as Parquet, read the file back, compare; its entry in the manifest."""
    rows, digest = 0, hashlib.sha256()
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in batches:
            between()
            columns = [
                pa.array(column, field.type)
                for column, field in zip(zip(*batch, strict=True), schema, strict=True)
            ]
            table = pa.RecordBatch.from_arrays(columns, schema=schema)
            writer.write_batch(table)
            rows += len(batch)
            for row in batch:
                _count(digest, row)
    _sync(path)
    found, read_back = _read_back(path, between)
    if (found, read_back) != (rows, digest.hexdigest()):
        raise SetupError(f"{path} reads back otherwise than it was written: check the disk")
    return {"rows": rows, "sha256": _sha256(path, between), "bytes": path.stat().st_size}


def _read_back(path: Path, between: Between = _nothing) -> tuple[int, str]:
    rows, digest = 0, hashlib.sha256()
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=db.BATCH):
            between()
            for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                rows += 1
                _count(digest, row)
    return rows, digest.hexdigest()


def _count(digest: Any, row: tuple[Any, ...]) -> None:
    for value in row:
        told = value.timestamp() if isinstance(value, datetime) else value
        digest.update(told if isinstance(told, bytes) else repr(told).encode())
        digest.update(b"\0")


def verify(folder: Path) -> dict[str, int]:
    """Check an archive against its manifest; rows by file.

    Raises:
        SetupError: a file is missing or is not what the manifest says.
    """
    try:
        manifest = json.loads((folder / "manifest.json").read_bytes())
        for name, entry in manifest["files"].items():
            if _sha256(folder / name) != entry["sha256"]:
                raise SetupError(f"{folder / name} has changed since it was written")
            if _read_back(folder / name)[0] != entry["rows"]:
                raise SetupError(f"{folder / name} holds another number of rows than were written")
    except (OSError, ValueError, KeyError) as exc:
        raise SetupError(f"{folder} is no readable archive: {exc}") from exc
    return {name: entry["rows"] for name, entry in manifest["files"].items()}


def _sha256(path: Path, between: Between = _nothing) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            between()
            digest.update(piece)
    return digest.hexdigest()


def _write_through(path: Path, text: bytes) -> None:
    path.write_bytes(text)
    _sync(path)


def _sync(path: Path) -> None:
    """Have a file or a directory's entries on disk before what they replace is dropped."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
