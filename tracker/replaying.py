"""Replay: recompute a delivery's anomalies from its stored records, and compare. Reads only.

With the same code and thresholds a replay shows nothing new; that is what makes a finding evidence.
With other thresholds it answers "what if". The present of a replay is when the delivery was last
judged, so that what only the clock does is no difference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from tracker import observing, surrounding, tracing
from tracker.anomalies import (
    VERSION,
    Fold,
    Limits,
    LimitsInForce,
    fold,
    in_force,
    present,
    shown_in,
    tempered,
    traces_in,
    whole,
)
from tracker.changes import Known, changes
from tracker.db import evaluation as db
from tracker.db import findings as out
from tracker.db.findings import StoredAnomaly
from tracker.detectors.limits import overridden
from tracker.judging import Case, Connection, Judging
from tracker.model import Finding, Observation

Kind = Literal["only_replayed", "only_stored", "differs"]

_KINDS: Mapping[str, Kind] = {"new": "only_replayed", "retracted": "only_stored"}


class Difference(Struct, frozen=True, kw_only=True):
    """One anomaly that is not the same in the replay. ``anomaly_id``: of the stored one."""

    kind: Kind
    anomaly_id: UUID | None
    stored: Finding | None
    replayed: Finding | None

    @property
    def code(self) -> str:
        """The code concerned."""
        finding = self.stored or self.replayed
        assert finding is not None
        return finding.code


class Replay(Struct, frozen=True, kw_only=True):
    """What a replay shows. ``now``: the present it assumed; ``pending``: records not judged yet, so
    that a difference may be theirs."""

    delivery_id: UUID
    registration_number: str
    now: datetime
    settings_version: str
    rules_version: str
    in_force: LimitsInForce
    records: int
    pending: bool
    observations: tuple[Observation, ...]
    found: tuple[Finding, ...]
    stored: tuple[StoredAnomaly, ...]
    differences: tuple[Difference, ...]


def replay(
    conn: Connection,
    delivery_id: UUID,
    *,
    now: datetime,
    limits: Limits | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Replay | None:
    """Recompute a delivery from its start; None: there is none with this id.

    Args:
        now: the present where the delivery has never been judged.
        limits: the defaults in force; what dated settings change is applied to them.
        overrides: thresholds by name that count at all times, whatever the settings say.

    Raises:
        Invalid: an override names no threshold, or has a value that it cannot have.
    """
    files = db.case_files(conn, [delivery_id])
    if delivery_id not in files:
        return None
    standing = db.standing_of(conn, delivery_id)
    batch = Judging(now=standing.evaluated_at or now, limits=limits or Limits(), limit=1)
    file = files[delivery_id]
    rules = in_force(batch.limits, file.settings)
    if overrides:
        rules = overridden(rules, overrides)
    case = Case(file=file, from_ms=None, status=file.status, former=None, in_force=rules)
    batch.cases[delivery_id] = case
    batch.records = db.timeless_records(conn, [delivery_id])
    observing.load_records(conn, batch)
    _fold(case, batch)
    surrounding.surround(conn, batch)
    _judge(case, batch)
    stored = tuple(out.standing_anomalies(conn, [delivery_id])[delivery_id])
    return Replay(
        delivery_id=delivery_id,
        registration_number=file.registration_number,
        now=batch.now,
        settings_version=rules.version,
        rules_version=VERSION,
        in_force=rules,
        records=len(case.observations),
        pending=standing.pending,
        observations=tuple(case.observations),
        found=tuple(case.found),
        stored=stored,
        differences=differences(stored, case.found),
    )


def _fold(case: Case, batch: Judging) -> None:
    scenery = batch.scenery(case)
    case.after, over = fold(Fold(), case.observations, scenery)
    now = present(case.after, scenery)
    case.traces = traces_in((*over, *now.findings))
    case.own = tuple(one.trace for one in tracing.own_traces(case))
    case.over = shown_in(over)
    case.now = replace(now, findings=shown_in(now.findings))


def _judge(case: Case, batch: Judging) -> None:
    scenery, around = batch.scenery(case), case.around
    case.over = tempered(case.over, around, scenery)
    case.now = replace(case.present, findings=tempered(case.present.findings, around, scenery))
    case.judged = whole(scenery, case.present, case.shown, case.around)


def differences(
    stored: Sequence[StoredAnomaly], found: Sequence[Finding]
) -> tuple[Difference, ...]:
    """What is not the same in a replay, evidence included; when it was decided does not count."""
    known = [Known(key=one.id, finding=_plain(one.finding)) for one in stored]
    bare = [_plain(finding) for finding in found]
    return tuple(
        Difference(
            kind=_KINDS.get(change.kind, "differs"),
            anomaly_id=change.key,
            stored=change.before,
            replayed=change.after,
        )
        for change in changes(known, bare)
    )


def _plain(finding: Finding) -> Finding:
    """A finding as the database gives it back: JSON's own types, coordinates to its digits."""
    evidence, geometry = msgspec.json.decode(
        msgspec.json.encode((finding.evidence, finding.geometry))
    )
    return replace(finding, decided_ms=None, evidence=evidence, geometry=_rounded(geometry, DIGITS))


DIGITS = 7
"""Of coordinates: a centimetre, as they are on the wire."""


def _rounded(value: Any, digits: int) -> Any:
    if isinstance(value, float):
        return round(value, digits)
    if isinstance(value, list):
        return [_rounded(one, digits) for one in value]
    if isinstance(value, dict):
        return {name: _rounded(one, digits) for name, one in value.items()}
    return value
