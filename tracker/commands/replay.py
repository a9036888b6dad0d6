"""``tracker replay``: anomalies recomputed from stored records, against those found then."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import msgspec
import typer
import yaml
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tracker.commands.common import SinceOption, aware, database
from tracker.db.evaluation import find_deliveries
from tracker.errors import FieldError, Invalid, SetupError
from tracker.model import Finding, from_ms
from tracker.replaying import Difference, Replay, replay
from tracker.terminal import told_errors


def replay_command(
    delivery: Annotated[
        list[str] | None,
        typer.Option(help="Id or registration number; give it again for more deliveries."),
    ] = None,
    released_since: SinceOption = None,
    settings: Annotated[
        Path | None,
        typer.Option(help="YAML of thresholds to use instead, by name (see docs/rules.md)."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="A line of JSON each.")] = False,
) -> None:
    """Recompute deliveries from their records and show what differs from what was found then.

    Writes nothing. Exit code 0: nothing differs; 3: something does.
    """
    with told_errors(), database() as (_, conn, _begin):
        overrides = thresholds_of(settings) if settings else {}
        ids = _wanted(conn, delivery or [], aware(released_since))
        differ = 0
        console = Console(stderr=True)
        for id_ in track(ids, "replay", console=console, disable=len(ids) < 2 or as_json):
            conn.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            try:
                shown = replay(conn, id_, now=datetime.now(UTC), overrides=overrides)
            finally:
                conn.execute("ROLLBACK")
            if shown is None:
                continue
            differ += bool(shown.differences)
            typer.echo(line_of(shown) if as_json else "", nl=as_json)
            if not as_json:
                _show(shown)
    if differ:
        raise typer.Exit(3)


def _wanted(conn: Any, names: Iterable[str], since: datetime | None) -> list[UUID]:
    names = list(names)
    if not names and since is None:
        raise SetupError("say which: --delivery with an id or number, or --released-since")
    found = find_deliveries(conn, names, since)
    missing = [name for name in names if name not in found.names]
    if missing:
        raise SetupError(f"no delivery {missing[0]!r}: give its id or registration number")
    return found.ids


def thresholds_of(path: Path) -> dict[str, Any]:
    """Thresholds by name from a YAML file.

    Raises:
        SetupError: there is no such file, or it holds no mapping.
    """
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise SetupError(f"{path} cannot be read: {exc.strerror}") from exc
    except yaml.YAMLError as exc:
        raise SetupError(f"{path} is no YAML: {exc}") from exc
    if not isinstance(loaded, Mapping) or not loaded:
        raise Invalid("the thresholds cannot be used", [FieldError((str(path),), "has no names")])
    return dict(loaded)


def line_of(shown: Replay) -> str:
    """A replay as one line of JSON."""
    return msgspec.json.encode(
        {
            "delivery_id": str(shown.delivery_id),
            "registration_number": shown.registration_number,
            "now": shown.now,
            "records": shown.records,
            "settings_version": shown.settings_version,
            "rules_version": shown.rules_version,
            "pending": shown.pending,
            "anomalies": len(shown.found),
            "differences": [difference_json(one) for one in shown.differences],
        }
    ).decode()


def difference_json(one: Difference) -> dict[str, Any]:
    """A difference in plain values."""
    return {
        "kind": one.kind,
        "code": one.code,
        "anomaly_id": None if one.anomaly_id is None else str(one.anomaly_id),
        "stored": _finding_json(one.stored),
        "replayed": _finding_json(one.replayed),
    }


def _finding_json(finding: Finding | None) -> dict[str, Any] | None:
    if finding is None:
        return None
    return {
        "device_id": finding.device,
        "severity": finding.severity.value,
        "start": from_ms(finding.start_ms),
        "end": None if finding.end_ms is None else from_ms(finding.end_ms),
        "provisional": finding.provisional,
        "evidence": finding.evidence,
    }


def _show(shown: Replay) -> None:
    head = f"{shown.registration_number}: {shown.records} records, {shown.settings_version}"
    if not shown.differences:
        typer.echo(f"{head}: no difference ({len(shown.found)} anomalies)")
        return
    table = Table("code", "kind", "found then", "replayed", title=head)
    for one in shown.differences:
        table.add_row(one.code, one.kind, _words(one.stored), _words(one.replayed))
    Console(width=None if Console().is_terminal else 160).print(table)
    if shown.pending:
        typer.echo("records that have not been judged yet are among the causes")


def _words(finding: Finding | None) -> str:
    if finding is None:
        return "–"
    end = "…" if finding.end_ms is None else f"{from_ms(finding.end_ms):%d %H:%M:%S}"
    start = f"{from_ms(finding.start_ms):%Y-%m-%d %H:%M:%S}"
    return f"{finding.device or ''} {start} – {end} {finding.severity.value}"
