"""The risk of a delivery with its reasons, and everything that happened to it in order."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from fastapi import APIRouter, Depends, Query, Response

from tracker.api.findings_schemas import RiskOut, Timeline
from tracker.api.queries import answer, locale, page
from tracker.api.reader import Reader, reads
from tracker.api.rights import sees_risk
from tracker.db.reading import Row, rfc3339
from tracker.db.reading_risk import (
    delivery_rank,
    newest_assessment,
    require_delivery,
    timeline,
)
from tracker.participants import category
from tracker.risk import (
    GoodsFacts,
    Reason,
    SubjectFacts,
    assess,
    corridor_for,
    render_reason,
)

router = APIRouter(prefix="/api/v1/deliveries/{delivery_id}", tags=["risk"])
#: What is shown is decided field by field: any role that may read deliveries may ask.
Reads = Annotated[Reader, Depends(reads("deliveries.read"), scope="function")]
Locale = Annotated[str, Depends(locale)]

#: Reasons that say who is watched and why are confidential even in words.
_PLAIN_FAMILIES = frozenset({"route", "stop", "seal", "communication", "time"})


@router.get(
    "/risk",
    response_model=RiskOut,
    response_model_exclude_unset=True,
    summary="Read the risk of a delivery",
)
def get_risk(reader: Reads, delivery_id: UUID, lang: Locale) -> Response:
    """The newest assessment. A carrier gets the reasons in plain words, never scores or rules."""
    return answer(risk_of(reader, require_delivery(reader.conn, reader.scope, delivery_id), lang))


def risk_of(reader: Reader, delivery: Row, lang: str) -> Row:
    """The risk of a delivery (of `require_delivery`) as this reader may see it."""
    delivery_id: UUID = delivery["id"]
    stored = newest_assessment(reader.conn, delivery_id) or first_assessment(delivery)
    reasons = [msgspec.convert(_bare(r), Reason) for r in stored["reasons"]]
    head = {"delivery_id": str(delivery_id), "at": rfc3339(stored["at"])}
    if not sees_risk(reader.user):
        shown = [r for r in reasons if _is_plain(r)]
        return head | {"reasons": [{"text": render_reason(r, lang)} for r in shown]}
    return head | _scores(stored, reasons, delivery_rank(reader.conn, delivery_id), lang)


def _scores(stored: Row, reasons: list[Reason], rank: int | None, lang: str) -> Row:
    corridor = corridor_for(stored["level"], frozenset(r.indicator for r in reasons))
    return {
        "probability": stored["probability"],
        "expected_loss_kzt": stored["expected_loss_kzt"],
        "level": stored["level"],
        "rank": rank,
        "corridor": stored["corridor"],
        "profiles": corridor.profiles,
        "measures": corridor.measures,
        "consequence_kzt": stored["consequence_kzt"],
        "weights_version": stored["weights_version"],
        "reasons": [_reason(r, lang) for r in reasons],
    }


def _is_plain(reason: Reason) -> bool:
    """Whether a carrier may read it: what no single anomaly shows tells how it is watched."""
    return reason.family in _PLAIN_FAMILIES and reason.anomaly_id is not None


def _reason(reason: Reason, lang: str) -> Row:
    shown: dict[str, Any] = {
        "indicator": reason.indicator,
        "family": reason.family,
        "weight": reason.weight,
        "contribution": reason.contribution,
        "text": render_reason(reason, lang),
    }
    return shown | ({"anomaly_id": reason.anomaly_id} if reason.anomaly_id else {})


def _bare(stored: dict[str, Any]) -> dict[str, Any]:
    return {name: stored[name] for name in Reason.__struct_fields__ if name in stored}


def first_assessment(delivery: Row) -> Row:
    """The assessment of a delivery that evaluation has not reached yet: what is known before."""
    found = assess(
        subject=SubjectFacts(
            carrier=category(delivery["carrier_facts"]).level,
            declarant=category(delivery["declarant_facts"]).level,
        ),
        goods=[goods_facts(line) for line in delivery["goods"]],
        findings=[],
    )
    fields: Row = msgspec.to_builtins(found)
    return {"at": datetime.now(UTC)} | fields


def goods_facts(line: dict[str, Any]) -> GoodsFacts:
    """A stored line of goods as the risk block reads it."""
    return GoodsFacts(
        hs_code=str(line.get("hs_code") or ""),
        value_kzt=int(line.get("value_kzt") or 0),
        payments_at_stake_kzt=int(line.get("payments_at_stake_kzt") or 0),
    )


@router.get("/timeline", response_model=Timeline, summary="Read all that happened, in order")
def get_timeline(
    reader: Annotated[Reader, Depends(reads("timeline.read"), scope="function")],
    delivery_id: UUID,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
) -> Response:
    """Acts of people, anomalies by their start, and the alerts' histories."""
    require_delivery(reader.conn, reader.scope, delivery_id)
    return page(timeline(reader.conn, reader.scope, delivery_id, limit), None)
