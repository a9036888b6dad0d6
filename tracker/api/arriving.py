"""Confirming an arrival: corridor, measures, officer, and the contradictions with telemetry."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tracker.api.schemas.deliveries import ArrivalIn
from tracker.db import deliveries as store
from tracker.db import reading_deliveries as reading
from tracker.db.connect import WriteSession, raw
from tracker.db.reading_risk import newest_assessment
from tracker.db.tables import Delivery
from tracker.deliveries import (
    INDICATOR_OF_STATE,
    ArrivalFacts,
    Contradiction,
    contradictions,
)
from tracker.errors import FieldError
from tracker.risk import Corridor, GoodsFacts, SubjectFacts, assess, corridor_for


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What the system decided on an arrival."""

    corridor: Corridor
    officer: str | None
    found: tuple[Contradiction, ...]
    warnings: list[FieldError] = field(default_factory=list)

    def stored(self) -> dict[str, Any]:
        """As it is kept with the act and shown in the answer."""
        return {
            "corridor": self.corridor.name,
            "measures": list(self.corridor.measures),
            "profiles": list(self.corridor.profiles),
            "officer": self.officer,
            "contradictions": [{"code": c.code, "msg": c.msg} for c in self.found],
        }


def confirm(session: WriteSession, delivery: Delivery, body: ArrivalIn, at: datetime) -> Decided:
    """Decide on the control of a delivery whose arrival is being confirmed at ``at``."""
    officer = store.least_loaded_officer(session, delivery.destination_post)
    found = contradictions(_facts(session, delivery, body, at))
    return Decided(
        corridor=_corridor(session, delivery, body, found),
        officer=officer,
        found=found,
        warnings=[] if officer else [_no_officer(delivery.destination_post)],
    )


def _no_officer(post: str) -> FieldError:
    return FieldError(("officer",), f"post {post} has no officer; create one: POST /api/v1/users")


_ELSEWHERE = frozenset({"seal_state", "position_far"})
"""Contradictions by which telemetry does not bear an arrival out, as `arrival_mismatch` says."""


def _corridor(
    session: WriteSession, delivery: Delivery, body: ArrivalIn, found: Iterable[Contradiction]
) -> Corridor:
    """By the newest assessment, and by what the officer sees, and telemetry does not, now."""
    seen = {INDICATOR_OF_STATE[s.state] for s in body.seals if s.state in INDICATOR_OF_STATE}
    if any(one.code in _ELSEWHERE for one in found):
        seen.add("arrival_mismatch")
    newest = newest_assessment(raw(session), delivery.id)
    if newest is not None:
        level = newest["level"]
        known = {str(reason["indicator"]) for reason in newest["reasons"]}
    else:
        # Not judged yet: what was declared is all there is to go by.
        goods = [
            GoodsFacts(
                hs_code=line["hs_code"],
                value_kzt=line["value_kzt"],
                payments_at_stake_kzt=line["payments_at_stake_kzt"],
            )
            for line in delivery.goods
        ]
        first = assess(subject=SubjectFacts(), goods=goods, findings=())
        level, known = first.level, {reason.indicator for reason in first.reasons}
    return corridor_for(level, frozenset(known | seen))


def _facts(
    session: WriteSession, delivery: Delivery, body: ArrivalIn, at: datetime
) -> ArrivalFacts:
    seen = reading.arrival_facts(session, delivery.id, at)
    devices = store.lock_bound_devices(session, delivery.id)
    return ArrivalFacts(
        at=at,
        deadline=delivery.deadline,
        reported={seal.device_id: seal.state for seal in body.seals},
        bound_devices=frozenset(device.id for device in devices),
        bound_seals=frozenset(device.id for device in devices if device.kind == "seal"),
        broken_seals=seen["broken_seals"],
        distance_m=seen["distance_m"],
        settled=seen["settled"],
    )
