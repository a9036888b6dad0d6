"""Alerts: the ranked list, and what people do with one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Response

from tracker import alerts
from tracker.alerts import AlertView, Handling
from tracker.api.deps import Cursor, Limit
from tracker.api.findings_schemas import (
    AckIn,
    AlertOut,
    AlertPage,
    AssigneePage,
    AssignIn,
    CommentIn,
    ResolveIn,
)
from tracker.api.queries import (
    ALERT_STATUS,
    Since,
    Word,
    Words,
    answer,
    finding_filter,
    page,
)
from tracker.api.reader import Reader, reads, writes
from tracker.api.rights import require
from tracker.db.evaluation import FOREVER
from tracker.db.marks import mark_dirty
from tracker.db.outbox import Event, append
from tracker.db.reading import Page, decode_cursor, int64
from tracker.db.reading_alerts import (
    assignees,
    get_alert,
    list_alerts,
    lock_alert,
    require_user,
    store_handling,
)

router = APIRouter(prefix="/api/v1/alerts", tags=["alerts"])
#: Every call depends on the function's scope: the transaction ends before the answer is sent.
Reads = Annotated[Reader, Depends(reads("alerts.read"), scope="function")]
Writes = Annotated[Reader, Depends(writes("alerts.read"), scope="function")]


@router.get("", response_model=AlertPage, summary="List alerts, most at stake first")
def get_alerts(
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
    """Unresolved alerts by rank (expected loss, then severity, then age), then finished ones."""
    wanted = finding_filter(
        delivery_id=delivery_id,
        code=code,
        status=status,
        severity=severity,
        post=post,
        since=since,
        statuses=ALERT_STATUS,
    )
    after = decode_cursor(cursor, int64, int64, int64, _decimal, UUID)
    return page(*list_alerts(reader.conn, reader.scope, wanted, Page(limit=limit, after=after)))


@router.get("/assignees", response_model=AssigneePage, summary="List who may handle alerts")
def get_assignees(reader: Reads) -> Response:
    """Everybody whom an alert can be assigned to, with how many unresolved ones they have."""
    require(reader.user, "alerts.handle")
    return page(assignees(reader.conn), None)


@router.get("/{alert_id}", response_model=AlertOut, summary="Read an alert")
def read_alert(reader: Reads, alert_id: UUID) -> Response:
    """One alert with its history."""
    return answer(get_alert(reader.conn, reader.scope, alert_id))


@router.post("/{alert_id}/ack", response_model=AlertOut, summary="Acknowledge an alert")
def acknowledge(reader: Writes, alert_id: UUID, body: AckIn | None = None) -> Response:
    """Take note of an alert. Doing so twice changes nothing; a finished alert answers 409."""
    text = body.text if body else ""
    return _handle(reader, alert_id, lambda a, by: alerts.acknowledge(a, text=text, **by))


@router.post("/{alert_id}/resolve", response_model=AlertOut, summary="Resolve an alert")
def resolve(reader: Writes, alert_id: UUID, body: ResolveIn) -> Response:
    """End an alert with a finding. The delivery's risk is assessed again with it."""
    return _handle(
        reader,
        alert_id,
        lambda a, by: alerts.resolve(a, finding=body.finding, text=body.text, **by),
    )


@router.post("/{alert_id}/comment", response_model=AlertOut, summary="Comment on an alert")
def comment(reader: Writes, alert_id: UUID, body: CommentIn) -> Response:
    """Add words to the history, in any state of the alert."""
    return _handle(reader, alert_id, lambda a, by: alerts.comment(a, text=body.text, **by))


@router.post("/{alert_id}/assign", response_model=AlertOut, summary="Assign an alert")
def assign(reader: Writes, alert_id: UUID, body: AssignIn) -> Response:
    """Give an alert to a user."""
    require(reader.user, "alerts.handle")
    require_user(reader.conn, body.assignee)
    return _handle(
        reader, alert_id, lambda a, by: alerts.assign(a, to=body.assignee, text=body.text, **by)
    )


Act = Callable[[AlertView, dict[str, Any]], Handling]


def _handle(reader: Reader, alert_id: UUID, act: Act) -> Response:
    """Lock, decide, store, tell the stream. Sight is checked first: 404 comes before 403."""
    delivery_id, view = lock_alert(reader.conn, reader.scope, alert_id)
    require(reader.user, "alerts.handle")
    now = datetime.now(UTC)
    handling = act(view, {"who": reader.user.username, "now": now})
    if handling.history:
        store_handling(reader.conn, alert_id, handling)
    shown = get_alert(reader.conn, reader.scope, alert_id)
    if handling.finding:
        # A finding changes what counts, not what the records say: nothing older is judged again.
        mark_dirty(reader.conn, [delivery_id], from_t=FOREVER)
    if handling.history:
        payload = {name: value for name, value in shown.items() if name != "rank"}
        append(reader.conn, [Event(kind="alert", delivery_id=delivery_id, payload=payload)])
    return answer(shown)


def _decimal(value: object) -> Decimal:
    number = Decimal(str(value))
    if not number.is_finite() or abs(number) > 10**15:
        raise ValueError("no age")
    return number
