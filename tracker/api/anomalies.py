"""Anomalies: what the data shows, of one delivery or of all that the caller may see."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response

from tracker.api.deps import Cursor, Limit
from tracker.api.findings_schemas import AnomalyPage
from tracker.api.queries import (
    ANOMALY_STATUS,
    Since,
    Word,
    Words,
    finding_filter,
    page,
)
from tracker.api.reader import Reader, reads
from tracker.db.reading import Page, decode_cursor
from tracker.db.reading_findings import list_anomalies, list_of_delivery
from tracker.db.reading_risk import require_delivery

router = APIRouter(prefix="/api/v1", tags=["anomalies"])
Reads = Annotated[Reader, Depends(reads("anomalies.read"), scope="function")]


@router.get("/anomalies", response_model=AnomalyPage, summary="List anomalies, newest first")
def get_anomalies(
    reader: Reads,
    delivery_id: UUID | None = None,
    code: Words = [],  # noqa: B006 - FastAPI copies defaults
    status: Words = [],  # noqa: B006
    severity: Words = [],  # noqa: B006
    post: Word | None = None,
    since: Since = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """Anomalies of all deliveries that the caller may see, the newest finding first."""
    wanted = finding_filter(
        delivery_id=delivery_id,
        code=code,
        status=status,
        severity=severity,
        post=post,
        since=since,
        statuses=ANOMALY_STATUS,
    )
    return page(*list_anomalies(reader.conn, reader.scope, wanted, _page(limit, cursor)))


@router.get(
    "/deliveries/{delivery_id}/anomalies",
    response_model=AnomalyPage,
    summary="List a delivery's anomalies in order",
)
def get_delivery_anomalies(
    reader: Reads,
    delivery_id: UUID,
    code: Words = [],  # noqa: B006
    status: Words = [],  # noqa: B006
    severity: Words = [],  # noqa: B006
    since: Since = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 1000,
    cursor: Cursor = None,
) -> Response:
    """Anomalies of one delivery, by their start; retracted ones among them, as such."""
    require_delivery(reader.conn, reader.scope, delivery_id)
    wanted = finding_filter(
        delivery_id=delivery_id,
        code=code,
        status=status,
        severity=severity,
        since=since,
        statuses=ANOMALY_STATUS,
    )
    return page(*list_of_delivery(reader.conn, wanted, _page(limit, cursor)))


def _page(limit: int, cursor: str | None) -> Page:
    return Page(limit=limit, after=decode_cursor(cursor, datetime.fromisoformat, UUID))
