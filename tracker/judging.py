"""The second stage, step by step: marked deliveries → anomalies, alerts, risk, events.

A `Judging` is one batch of deliveries on its way through the steps of `tracker.pipeline.JUDGE`.
The decisions are pure functions of the layers below; the steps here load, call and save.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from hashlib import sha256
from typing import Any
from uuid import UUID

import msgspec
import psycopg
from msgspec import Struct
from msgspec.structs import replace

from tracker.anomalies import (
    VERSION,
    WHOLE_CODES,
    Fold,
    Judged,
    Limits,
    LimitsInForce,
    Present,
    Scenery,
    dump,
    fold,
    in_force,
    load,
    present,
    shown_in,
    tempered,
    traces_in,
    whole,
)
from tracker.changes import Change, Known, changes
from tracker.db import evaluation as db
from tracker.db import findings as out
from tracker.db.evaluation import CaseFile, SavedState, StoredRecord
from tracker.db.findings import StoredAnomaly
from tracker.db.outbox import Event, append
from tracker.db.reading import EVERYTHING, rfc3339
from tracker.db.reading_alerts import alerts_by_id
from tracker.model import ActKind, Around, Finding, Observation, Trace, to_ms
from tracker.participants import category
from tracker.risk import (
    DARK_S,
    Assessment,
    FindingFacts,
    GoodsFacts,
    JourneyFacts,
    SubjectFacts,
    assess,
)

Connection = psycopg.Connection[Any]


Placed = tuple[int, int, int, bytes]
"""A record without a time of its own, where it stands: device, t*, received at, body."""


class Kept(Struct, frozen=True):
    """A fold, how many observations were folded since the state last stored, and which records
    without a time of their own are in it, and where."""

    fold: Fold
    since: int = 0
    placed: frozenset[Placed] = frozenset()


PASSED = 3
"""Folds remembered of a delivery, the newest and two before it: a record of one device is often
judged a moment after a later one of the other."""


class Remembered(Struct, frozen=True, kw_only=True):
    """What an evaluator still knows of a delivery: its plan, and the folds it last passed.

    Never trusted by itself: the plan holds only for the delivery's version and the plan's number,
    the folds only if nobody has judged the delivery since (``at`` is when we did), so a rolled back
    batch or another evaluator's work makes them void. ``passed``: the oldest first.
    """

    file: CaseFile
    plan_no: int
    passed: tuple[Kept, ...] = ()
    at: datetime | None = None


Memory = MutableMapping[UUID, Remembered]

NONE_PLACED: frozenset[Placed] = frozenset()

START = Kept(Fold())


NOTHING_AROUND = Around()
NOTHING_JUDGED = Judged()


@dataclass(kw_only=True, slots=True)
class Case:
    """One delivery being judged."""

    file: CaseFile
    plan_no: int = 0
    from_ms: int | None
    status: str
    former: str | None
    passed: tuple[Kept, ...] = ()
    begun: Kept = START
    at_newest: bool = False
    in_force: LimitsInForce
    placed: frozenset[Placed] = frozenset()
    observations: list[Observation] = field(default_factory=list)
    after: Fold = START.fold
    over: tuple[Finding, ...] = ()
    now: Present | None = None
    traces: tuple[Finding, ...] = ()
    own: tuple[Trace, ...] = ()
    around: Around = NOTHING_AROUND
    judged: Judged = NOTHING_JUDGED
    anomalies: dict[UUID, StoredAnomaly] = field(default_factory=dict)
    changed: list[Change[UUID]] = field(default_factory=list)
    told: list[UUID] = field(default_factory=list)
    alert_ids: set[UUID] = field(default_factory=set)
    assessed: Assessment | None = None
    digest: str | None = None
    events: list[Event] = field(default_factory=list)

    @property
    def before(self) -> Fold:
        """The state that the fold begins from."""
        return self.begun.fold

    @property
    def present(self) -> Present:
        """What is the case at the end of the data; there once the fold has run."""
        assert self.now is not None
        return self.now

    @property
    def shown(self) -> list[Finding]:
        """What the records show from where the fold began; there once it has run."""
        return [*self.over, *self.present.findings]

    @property
    def found(self) -> list[Finding]:
        """All that is found: also by the rules over the whole delivery, once they were asked."""
        return [*self.shown, *self.judged.findings]

    @property
    def state_version(self) -> str:
        """A stored state is read only by the code and thresholds that wrote it."""
        return f"{VERSION}/{self.in_force.version}"


@dataclass(kw_only=True)
class Judging:
    """One batch of deliveries."""

    now: datetime
    limits: Limits
    limit: int
    only: UUID | None = None
    urgent: bool = False
    memory: Memory = field(default_factory=dict)
    cases: dict[UUID, Case] = field(default_factory=dict)
    records: list[StoredRecord] = field(default_factory=list)

    @cached_property
    def now_ms(self) -> int:
        """The one clock of the batch."""
        return to_ms(self.now)

    def scenery(self, case: Case) -> Scenery:
        """What the fold may look at besides the observations."""
        return Scenery(
            plan=case.file.plan,
            limits=case.in_force.first,
            now_ms=self.now_ms,
            in_force=case.in_force if case.in_force.later else None,
        )


# ---------------------------------------------------------------- load


def claim(conn: Connection, batch: Judging) -> None:
    """Take marked deliveries, with their plans: known ones if no act has changed them since."""
    claims = db.claim(conn, batch.limit, batch.only, urgent=batch.urgent)
    known = {c.delivery_id: _known(batch, c) for c in claims}
    missing = [id_ for id_, remembered in known.items() if remembered is None]
    read = db.case_files(conn, missing) if missing else {}
    for c in claims:
        remembered = known[c.delivery_id]
        file = remembered.file if remembered else read.get(c.delivery_id)
        if file is not None:
            case = Case(
                file=file,
                plan_no=c.plan_no,
                from_ms=c.from_ms,
                status=c.status,
                former=c.assessed,
                in_force=in_force(batch.limits, file.settings),
            )
            batch.cases[c.delivery_id] = case
            if remembered is not None and remembered.at == c.evaluated_at:
                _resume(case, remembered.passed)


def _known(batch: Judging, claimed: db.Claim) -> Remembered | None:
    remembered = batch.memory.get(claimed.delivery_id)
    if remembered is None or claimed.from_ms is None:
        return None
    read, now = (remembered.file.version, remembered.plan_no), (claimed.version, claimed.plan_no)
    return remembered if read == now else None


def _resume(case: Case, passed: Sequence[Kept]) -> None:
    """Go on from the newest of these folds that all news lies after."""
    for n in range(len(passed), 0, -1):
        upto_ms = passed[n - 1].fold.upto_ms
        if upto_ms is not None and case.from_ms is not None and upto_ms < case.from_ms:
            case.begun, case.passed = passed[n - 1], tuple(passed[:n])
            case.at_newest = n == len(passed)
            return


def _from_start(case: Case) -> None:
    case.begun, case.passed, case.at_newest = START, (), False


def load_states(conn: Connection, batch: Judging) -> None:
    """The newest state from before the earliest news of each delivery.

    A late record may move records that have no time of their own. So a fold that is remembered
    holds only if it has them where they are now; stored states, which do not say, are neither kept
    nor read for a delivery with such records.
    """
    timeless = db.timeless_records(conn, list(batch.cases))
    placed: dict[UUID, list[Placed]] = defaultdict(list)
    for r in timeless:
        placed[r.delivery_id].append((r.device_no, r.t_ms, r.received_ms, r.body))
    for id_, case in batch.cases.items():
        case.placed = frozenset(placed[id_]) if id_ in placed else NONE_PLACED
        _recall(case)
    before = {
        id_: case.from_ms
        for id_, case in batch.cases.items()
        if case.from_ms is not None and not case.passed and not case.placed
    }
    if before:
        versions = {id_: batch.cases[id_].state_version for id_ in before}
        for id_, saved in db.states_before(conn, before, versions).items():
            _resume(batch.cases[id_], [Kept(load(saved.state))])
            batch.cases[id_].at_newest = False
    batch.records = [r for r in timeless if _is_ahead(r, batch.cases[r.delivery_id])]


def _recall(case: Case) -> None:
    """Go on from the newest fold passed that has every record without a time where it is now."""
    passed = tuple(kept for kept in case.passed if kept.placed == _upto(case.placed, kept.fold))
    if len(passed) == len(case.passed):
        return
    _from_start(case)
    if passed:
        case.begun, case.passed = passed[-1], passed


def _upto(placed: frozenset[Placed], fold: Fold) -> frozenset[Placed]:
    if not placed:
        return placed
    upto_ms = fold.upto_ms
    return frozenset(p for p in placed if upto_ms is not None and p[1] <= upto_ms)


def _is_ahead(record: StoredRecord, case: Case) -> bool:
    return case.before.upto_ms is None or record.t_ms > case.before.upto_ms


# ---------------------------------------------------------------- judge


def fold_records(conn: Connection, batch: Judging) -> None:
    """Fold the observations; store the state of those that have folded many since the last one.

    States are stored seldom, since each is thousands of times larger than what a record changes in
    it. An evaluator that does not remember a delivery folds again from the last, to the same end.
    """
    late: dict[UUID, int | None] = {}
    stored: list[SavedState] = []
    for id_, case in batch.cases.items():
        scenery = batch.scenery(case)
        case.after, over = fold(case.before, case.observations, scenery)
        now = present(case.after, scenery)
        case.traces = traces_in((*over, *now.findings))
        case.over = shown_in(over)
        case.now = replace(now, findings=shown_in(now.findings))
        news = case.from_ms is None or case.from_ms < db.FOREVER_MS
        if news and not case.at_newest:
            late[id_] = case.before.upto_ms
        since = case.begun.since + len(case.observations)
        if since >= db.REPLAYED and case.after.upto_ms is not None and not case.placed:
            state, since = dump(case.after), 0
            stored.append(
                SavedState(
                    delivery_id=id_,
                    upto_ms=case.after.upto_ms,
                    state=state,
                    version=case.state_version,
                )
            )
        case.passed = (*case.passed, Kept(case.after, since, case.placed))[-PASSED:]
    db.forget_states_after(conn, late)
    db.keep_states(conn, stored)


def move_on(conn: Connection, batch: Judging) -> None:
    """What telemetry and the clock do to the deliveries' status.

    Before their alerts are touched and in one order, as people's acts lock them: whoever took them
    the other way round would wait for each other.
    """
    for _, case in sorted(batch.cases.items()):
        file = case.file
        after = status_after(
            case.status,
            moved=case.after.moved,
            late=batch.now_ms >= file.plan.deadline_ms,
        )
        if after != case.status and out.write_status(conn, file.id, case.status, after):
            told = {
                "id": str(file.id),
                "registration_number": file.registration_number,
                "status": after,
                "carrier_id": str(file.carrier_id),
                "at": rfc3339(batch.now),
            }
            case.events.append(Event(kind="delivery", delivery_id=file.id, payload=told))


def compare(conn: Connection, batch: Judging) -> None:
    """What is found now against what was found before.

    Stored episodes that were decided before the state that the fold began from are final. The rules
    over the whole delivery then look at these and at what was found now.
    """
    for id_, stored in out.standing_anomalies(conn, list(batch.cases)).items():
        batch.cases[id_].anomalies = {anomaly.id: anomaly for anomaly in stored}
    for case in batch.cases.values():
        _compare(case, batch.scenery(case))


def _compare(case: Case, scenery: Scenery) -> None:
    begun_ms = case.before.upto_ms
    final: list[Finding] = []
    known: list[Known[UUID]] = []
    known_whole: list[Known[UUID]] = []
    for anomaly in case.anomalies.values():
        one = Known(key=anomaly.id, finding=anomaly.finding)
        if anomaly.finding.code in WHOLE_CODES:
            known_whole.append(one)
        elif _is_final(anomaly.finding, begun_ms):
            final.append(anomaly.finding)
        else:
            known.append(one)
    around = case.around
    case.over = tempered(case.over, around, scenery)
    case.now = replace(case.present, findings=tempered(case.present.findings, around, scenery))
    case.judged = whole(scenery, case.present, (*final, *case.shown), case.around)
    case.changed = [*changes(known, case.shown), *changes(known_whole, case.judged.findings)]


def _is_final(finding: Finding, begun_ms: int | None) -> bool:
    decided_ms = finding.decided_ms
    return decided_ms is not None and begun_ms is not None and decided_ms <= begun_ms


# ---------------------------------------------------------------- weigh


def weigh(conn: Connection, batch: Judging) -> None:
    """Assess the risk of each delivery of which anything has changed; keep what is new."""
    cases = {id_: case for id_, case in batch.cases.items() if _may_weigh_otherwise(case)}
    resolved = out.findings_of_alerts(conn, list(cases)) if cases else {}
    new: dict[UUID, Assessment] = {}
    for id_, case in cases.items():
        assessed = _assess(case, resolved, batch.now_ms)
        digest = sha256(msgspec.json.encode(assessed)).hexdigest()[:16]
        if digest != case.former:
            case.assessed, case.digest = assessed, digest
            new[id_] = assessed
    for id_, told in out.write_assessments(conn, new, batch.now).items():
        batch.cases[id_].events.append(Event(kind="risk", delivery_id=id_, payload=told))


def _may_weigh_otherwise(case: Case) -> bool:
    """Risk depends on the anomalies, on people's findings, on the goods: not on every record.

    With a silence or a stop it also depends on what was heard since, and for how long nothing was;
    after the arrival on whether telemetry was there.
    """
    acted = case.from_ms is None or case.from_ms >= db.FOREVER_MS
    if case.changed or acted or case.former is None or case.file.plan.arrived_ms is not None:
        return True
    return any(a.finding.code in _HEARD for a in case.anomalies.values())


_HEARD = frozenset({"silence", "unauthorised_stop"})


def _assess(case: Case, resolved: dict[UUID, str], now_ms: int) -> Assessment:
    standing = [a for a in case.anomalies.values() if a.status != "retracted"]
    return assess(
        subject=SubjectFacts(
            carrier=category(case.file.carrier_facts).level,
            declarant=category(case.file.declarant_facts).level,
        ),
        goods=[_goods(line) for line in case.file.goods],
        findings=[_finding_facts(a, resolved, now_ms) for a in standing],
        journey=_journey(case),
    )


def _journey(case: Case) -> JourneyFacts:
    plan, visits = case.file.plan, case.present.visits
    arrivals = [act for act in plan.acts if act.kind is ActKind.ARRIVAL]
    stated = [seal["state"] for seal in arrivals[-1].data.get("seals") or ()] if arrivals else []
    post = plan.destination
    return JourneyFacts(
        devices=plan.devices,
        heard_ms={device: newest.t_ms for device, newest in case.present.newest.items()},
        arrived=bool(arrivals)
        and post is not None
        and any(post.zone in zones for zones in visits.values()),
        seals_intact=bool(stated) and all(state == "intact" for state in stated),
    )


def _goods(line: dict[str, Any]) -> GoodsFacts:
    return GoodsFacts(
        hs_code=line["hs_code"],
        value_kzt=line.get("value_kzt") or 0,
        payments_at_stake_kzt=line.get("payments_at_stake_kzt") or 0,
    )


def _finding_facts(anomaly: StoredAnomaly, resolved: dict[UUID, str], now_ms: int) -> FindingFacts:
    finding = anomaly.finding
    end_ms = finding.end_ms
    return FindingFacts(
        code=finding.code,
        severity=finding.severity,
        status="open" if end_ms is None else "closed",
        evidence=finding.evidence,
        # While an episode lasts only its data counts, so that an assessment is not new each second;
        # how long a silence has lasted counts in one step, at `DARK_S`.
        duration_s=None if end_ms is None else (end_ms - finding.start_ms) / 1000,
        finding_of_alert=resolved.get(anomaly.alert_id) if anomaly.alert_id else None,
        anomaly_id=str(anomaly.id),
        device=finding.device,
        from_ms=finding.start_ms,
        to_ms=end_ms,
        lasted_s=max(0.0, (now_ms - finding.start_ms) / 1000) if end_ms is None else 0.0,
    )


# ---------------------------------------------------------------- save


def save(conn: Connection, batch: Judging) -> None:
    """Where evaluation stands, and where each device is."""
    out.write_standings(
        conn,
        [_standing(id_, case, batch.now_ms) for id_, case in batch.cases.items()],
        now=batch.now,
    )
    for id_, case in batch.cases.items():
        batch.memory.pop(id_, None)  # the one judged longest ago comes first
        batch.memory[id_] = Remembered(
            file=case.file, plan_no=case.plan_no, passed=case.passed, at=batch.now
        )
    newest = [
        (id_, case.file.device_nos[device], newest)
        for id_, case in batch.cases.items()
        for device in {seen.device for seen in case.observations}
        if (newest := case.present.newest.get(device)) is not None
    ]
    # In one order, so that two batches cannot wait for each other's rows.
    out.write_positions(conn, sorted(newest, key=lambda one: one[1]))


def _standing(delivery_id: UUID, case: Case, now_ms: int) -> out.Standing:
    clocks = case.judged.clocks
    if case.anomalies:
        clocks = (*clocks, *(t for t in _dark_ms(case) if t > now_ms))
    return out.Standing(
        delivery_id=delivery_id,
        next_clock_ms=min(clocks, default=None),
        progress_m=_progress_m(case.present),
        assessment=case.assessed,
        digest=case.digest,
    )


def _dark_ms(case: Case) -> list[int]:
    """When silences that last will have lasted so long that their devices count as gone."""
    open_ = [a.finding for a in case.anomalies.values() if a.status == "open"]
    return [f.start_ms + round(DARK_S * 1000) for f in open_ if f.code == "silence"]


def _progress_m(now: Present) -> float | None:
    places = [n.place.progress_m for n in now.newest.values() if n.place is not None]
    return max(places, default=None)


def status_after(status: str, *, moved: bool, late: bool) -> str:
    """What telemetry and the clock do to a delivery's status: released → in transit → overdue."""
    if status in ("released", "in_transit") and late:
        return "overdue"
    if status == "released" and moved:
        return "in_transit"
    return status


def publish(conn: Connection, batch: Judging) -> None:
    """The events of all that was told, in one go and last: it makes other writers wait."""
    events: list[Event] = []
    for id_, case in batch.cases.items():
        events += [
            Event(
                kind="anomaly",
                delivery_id=id_,
                payload=out.anomaly_payload(id_, case.anomalies[key]),
            )
            for key in case.told
        ]
    ids = [id_ for case in batch.cases.values() for id_ in case.alert_ids]
    shown = alerts_by_id(conn, EVERYTHING, ids) if ids else []
    events += [
        Event(kind="alert", delivery_id=row["delivery_id"], payload=_without_rank(row))
        for row in shown
    ]
    for case in batch.cases.values():
        events += case.events
    append(conn, events)


def _without_rank(alert: dict[str, Any]) -> dict[str, Any]:
    """A rank is true only when read: the stream adds it."""
    return {name: value for name, value in alert.items() if name != "rank"}
