"""A step of the second stage: stored records → observations with their facts, in the order law."""

from __future__ import annotations

from tracker import adapters
from tracker.anomalies import order_of
from tracker.db import evaluation as db
from tracker.db.evaluation import StoredRecord
from tracker.db.facts import Wanted, facts_of_fixes
from tracker.judging import Connection, Judging
from tracker.model import BoundDevice, FixFacts, Observation, Record
from tracker.payload import Decoded, decode_record
from tracker.track import FixPosition, position_of


def load_records(conn: Connection, batch: Judging) -> None:
    """The records after each state, as observations with their facts, in the order law."""
    after = {id_: case.before.upto_ms for id_, case in batch.cases.items()}
    batch.records += db.records_after(conn, after)
    decoded = [(stored, _record(stored)) for stored in batch.records]
    positions = [_position(stored, record) for stored, record in decoded]
    wanted = [
        Wanted(
            route_id=batch.cases[stored.delivery_id].file.route_id,
            t_ms=stored.t_ms,
            position=position,
        )
        for (stored, _), position in zip(decoded, positions, strict=True)
        if position is not None
    ]
    facts = iter(facts_of_fixes(conn, wanted))
    for (stored, record), position in zip(decoded, positions, strict=True):
        case = batch.cases[stored.delivery_id]
        device = case.file.devices[stored.device_no]
        fix = next(facts) if position is not None else None
        case.observations.append(_observation(stored, device, record, fix))
    for case in batch.cases.values():
        case.observations.sort(key=order_of)


def _record(stored: StoredRecord) -> Record:
    if stored.flags & adapters.FOREIGN:
        return _foreign(stored)
    outcome = decode_record(stored.body)
    if not isinstance(outcome, Decoded):
        raise ValueError(f"a stored record cannot be read: {outcome.detail}")
    return outcome.record


def _foreign(stored: StoredRecord) -> Record:
    record = adapters.record_of(stored.body, stored.flags)
    if isinstance(record, Record):
        return record
    raise ValueError(f"a stored record of another system cannot be read: {record.detail}")


def _position(stored: StoredRecord, record: Record) -> FixPosition | None:
    return position_of(record, stored.t_ms, stored.received_ms) if stored.timed else None


def _observation(
    stored: StoredRecord, device: BoundDevice, record: Record, fix: FixFacts | None
) -> Observation:
    seal, event = record.seal, record.evt
    untimed = Observation(
        device=device.id,
        kind=device.kind,
        gen=record.gen,
        seq=record.seq,
        t_ms=stored.t_ms,
        timed=False,
        rope=seal.rope if seal else None,
        case=seal.case if seal else None,
        lock=seal.lock if seal else None,
        event=event.code if event else None,
    )
    return _with_measures(untimed, record, fix) if stored.timed else untimed


def _with_measures(seen: Observation, record: Record, fix: FixFacts | None) -> Observation:
    motion, power = record.mot, record.pwr
    return Observation(
        device=seen.device,
        kind=seen.kind,
        gen=seen.gen,
        seq=seen.seq,
        t_ms=seen.t_ms,
        rope=seen.rope,
        case=seen.case,
        lock=seen.lock,
        event=seen.event,
        moving=motion.mov if motion else None,
        odometer_m=motion.odo if motion else None,
        sleep_s=record.sleep_s or 0.0,
        battery_pct=power.bat if power else None,
        external_mv=power.ext if power else None,
        jam=record.fix.jam if record.fix else None,
        fix=fix,
    )
