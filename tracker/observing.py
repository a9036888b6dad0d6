"""A step of the second stage: stored records → observations with their facts, in the order law."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple
from uuid import UUID

from msgspec.structs import replace

from tracker import adapters
from tracker.anomalies import order_of
from tracker.db import evaluation as db
from tracker.db.evaluation import StoredRecord
from tracker.db.facts import Wanted, facts_of_fixes
from tracker.judging import Case, Connection, Judging
from tracker.model import BoundDevice, FixFacts, Observation, Record
from tracker.payload import Decoded, decode_record
from tracker.track import FixPosition, Track, advance, position_of, previous_of

START = Track()
"""Of a device that has not been heard."""


_FOREIGN = int(adapters.FOREIGN)  # asked of every record: a flag would make an object each time


class Seen(NamedTuple):
    """An observation on its way to its facts: its position is all that is known of its fix."""

    observation: Observation
    position: FixPosition | None


def load_records(conn: Connection, batch: Judging) -> None:
    """The records after each state, as observations with their facts, in the order law.

    Which fix each one follows on its track is settled before the database is asked: it looks at the
    way between the two for the zones that were crossed on it.
    """
    after = {id_: case.before.upto_ms for id_, case in batch.cases.items()}
    batch.records += db.records_after(conn, after)
    seen: dict[UUID, list[Seen]] = defaultdict(list)
    for stored in batch.records:
        seen[stored.delivery_id].append(_seen(stored, batch.cases[stored.delivery_id]))
    wanted: list[Wanted] = []
    for id_, ones in seen.items():
        ones.sort(key=lambda one: order_of(one.observation))
        wanted += _wanted(batch.cases[id_], ones)
    facts = iter(facts_of_fixes(conn, wanted))
    for id_, ones in seen.items():
        batch.cases[id_].observations = [
            one.observation if one.position is None else replace(one.observation, fix=next(facts))
            for one in ones
        ]


def _seen(stored: StoredRecord, case: Case) -> Seen:
    record = _record(stored)
    timed = stored.timed
    position = position_of(record, stored.t_ms, stored.received_ms) if timed else None
    device = case.file.devices[stored.device_no]
    return Seen(_observation(stored, device, record, _bare(position)), position)


def _bare(position: FixPosition | None) -> FixFacts | None:
    """A fix of which only the position is known."""
    if position is None:
        return None
    return FixFacts(
        fix_ms=position.fix_ms,
        lon=position.lon,
        lat=position.lat,
        acc_m=position.acc_m,
        distance_m=0.0,
    )


def _wanted(case: Case, ones: Iterable[Seen]) -> Iterator[Wanted]:
    """What is asked of each position of a delivery, in the order law.

    A track is led on only as far as a further fix of its device asks for it.
    """
    plan = case.file.plan
    before = case.before.devices
    tracks: dict[str, Track] = {}
    left: dict[str, Observation] = {}
    for observation, position in ones:
        fix = observation.fix
        if fix is None or position is None:
            continue
        name = observation.device
        if name in left:
            track, _ = advance(tracks[name], left[name])
        else:
            track = before[name].track if name in before else START
        tracks[name], left[name] = track, observation
        previous = previous_of(track, fix)
        route = plan.route_at(observation.t_ms)
        yield Wanted(
            route_id=plan.routes[route].route_id,
            route=route,
            t_ms=observation.t_ms,
            position=position,
            came_from=None if previous is None else (previous.lon, previous.lat),
        )


def _record(stored: StoredRecord) -> Record:
    if stored.flags & _FOREIGN:
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


def _observation(
    stored: StoredRecord, device: BoundDevice, record: Record, fix: FixFacts | None
) -> Observation:
    """What a record says. Without a time of its own it speaks of its seal and its event alone."""
    timed = stored.timed
    seal, event = record.seal, record.evt
    sent = record.fix if timed else None
    motion = record.mot if timed else None
    power = record.pwr if timed else None
    return Observation(
        device=device.id,
        kind=device.kind,
        gen=record.gen,
        seq=record.seq,
        t_ms=stored.t_ms,
        timed=timed,
        ts_ms=record.ts,
        flags=stored.flags,
        rope=seal.rope if seal else None,
        case=seal.case if seal else None,
        lock=seal.lock if seal else None,
        armed=seal.armed if seal else None,
        event=event.code if event else None,
        auth=event.auth if event else None,
        card=event.card if event else None,
        count=event.n if event else None,
        moving=motion.mov if motion else None,
        ignition=motion.ign if motion else None,
        odometer_m=motion.odo if motion else None,
        sleep_s=record.sleep_s or 0.0 if timed else 0.0,
        battery_pct=power.bat if power else None,
        external_mv=power.ext if power else None,
        jam=sent.jam if sent else None,
        spoof=None if sent is None or sent.spoof is None else bool(sent.spoof),
        no_fix=sent is not None and sent.ok is False,
        fix=fix if timed else None,
    )
