"""What a carrier reports from the road: incidents, checked against telemetry at once, and the
arrival."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from msgspec import to_builtins

from tracker import alerts
from tracker.api.acting import Acting, given, once, opened
from tracker.api.creation import Creating, IfMatch
from tracker.api.deliveries import require_delivery
from tracker.api.deps import Config, Reading, may
from tracker.api.described import refusals
from tracker.api.rights import require
from tracker.api.schemas.acts import ArrivalNoticeIn, IncidentIn, IncidentOut, PlannedIn
from tracker.api.schemas.common import Page, warning_of
from tracker.api.schemas.deliveries import DeliveryDetail, where
from tracker.db import deliveries as store
from tracker.db import places
from tracker.db import reading_deliveries as reading
from tracker.db.connect import raw
from tracker.db.evaluation import FOREVER
from tracker.db.incidents import OpenAlert, incident_facts, open_alerts
from tracker.db.marks import mark_dirty
from tracker.db.outbox import Event, append
from tracker.db.reading import EVERYTHING, rfc3339
from tracker.db.reading_alerts import alerts_by_id, lock_alert, store_handling
from tracker.db.users import CurrentUser
from tracker.deliveries import Status, require_on_the_way
from tracker.errors import FieldError, Invalid
from tracker.incidents import Check, checks, confirmed, contradicted, explains, may_end, sentence
from tracker.model import Act, ActKind, to_ms

router = APIRouter(prefix="/api/v1", tags=["deliveries"], responses=refusals(404, 409, 412))


@router.post("/deliveries/{delivery_id}/arrival-notice", response_model=DeliveryDetail)
def arrival_notice(
    user: Annotated[CurrentUser, may("deliveries.read")],
    delivery_id: UUID,
    creating: Creating,
    config: Config,
    body: ArrivalNoticeIn | None = None,
    if_match: IfMatch = None,
) -> JSONResponse:
    """The carrier tells customs that the vehicle has come; an officer then confirms the arrival."""
    asked = body or ArrivalNoticeIn()

    def act() -> DeliveryDetail:
        acting = opened(creating, user, delivery_id, config, if_match)
        delivery, session = acting.delivery, acting.session
        require(user, "deliveries.notice")
        require_on_the_way("an arrival notice", Status(delivery.status))
        at = acting.when(asked.at)
        if asked.post is not None and not places.post_exists(session, asked.post):
            text = f"there is no post {asked.post!r}; see GET /api/v1/posts"
            raise Invalid.field("body", "post", msg=text)
        data = given(
            post=asked.post,
            expected_at=None if asked.expected_at is None else rfc3339(asked.expected_at),
            position=where(asked.position),
            text=asked.text,
        )
        acting.record(ActKind.ARRIVAL_NOTICE, at, data)
        store.move(session, delivery)
        return acting.done(at, _notice_warnings(acting, asked))

    return once(creating, delivery_id, asked, act)


def _notice_warnings(acting: Acting, body: ArrivalNoticeIn) -> list[FieldError]:
    delivery, found = acting.delivery, []
    if body.post is not None and body.post != delivery.destination_post:
        text = f"is not the destination post {delivery.destination_post}; check the documents"
        found.append(FieldError(("body", "post"), text))
    distance_m = reading.arrival_facts(acting.session, delivery.id)["distance_m"]
    if body.expected_at is None and distance_m is not None and distance_m > NEAR_POST_M:
        km = distance_m / 1000
        text = f"the last known position is {km:.1f} km from the post"
        found.append(FieldError(("body", "position"), text))
    return found


NEAR_POST_M = 5_000.0
"""As for an arrival that is confirmed: under a roof the last fix may be some kilometres old."""


@router.post("/deliveries/{delivery_id}/incidents", status_code=201, response_model=IncidentOut)
def report_incident(
    user: Annotated[CurrentUser, may("deliveries.read")],
    delivery_id: UUID,
    body: IncidentIn,
    creating: Creating,
    config: Config,
    if_match: IfMatch = None,
) -> JSONResponse:
    """Report an incident. Telemetry is asked at once; open alerts of what it speaks of are ended as
    explained where telemetry says the same, and left to a person, with a line, where not."""

    def act() -> IncidentOut:
        acting = opened(creating, user, delivery_id, config, if_match)
        require(user, "deliveries.incident")
        require_on_the_way("an incident", Status(acting.delivery.status))
        return _reported(acting, body)

    return once(creating, delivery_id, body, act, status=201)


def _reported(acting: Acting, body: IncidentIn) -> IncidentOut:
    delivery, session = acting.delivery, acting.session
    at = acting.when(body.at)
    place = where(body.position)
    facts = incident_facts(raw(session), delivery.id, at, place)
    found = checks(body.code, facts, planned=_is_ahead(body))
    data = given(
        code=body.code,
        text=body.text,
        place=body.place,
        position=place,
        planned=None if body.planned is None else _planned(body.planned),
    )
    data["checks"] = to_builtins(found)
    incident = Act(kind=ActKind.INCIDENT, t_ms=to_ms(at), data=data)
    ended, noted, warnings = _explain(acting, body, incident, found)
    data |= {"explained": [str(i) for i in ended], "noted": [str(i) for i in noted]}
    act_id = acting.record(ActKind.INCIDENT, at, data)
    if ended:
        # What an alert was found to be changes what counts, not what the records say.
        mark_dirty(raw(session), [delivery.id], from_t=FOREVER)
    store.move(session, delivery)
    acting.done(at)
    _tell(acting, [*ended, *noted])
    row = next(a for a in reading.acts_of(session, delivery.id) if a["id"] == act_id)
    out = _out(delivery.id, dict(row))
    return out.model_copy(update={"warnings": [warning_of(w) for w in warnings]})


def _is_ahead(body: IncidentIn) -> bool:
    return body.planned is not None


def _planned(planned: PlannedIn) -> dict[str, Any]:
    return given(
        kind=planned.kind,
        **{"from": None if planned.from_ is None else rfc3339(planned.from_)},
        until=None if planned.until is None else rfc3339(planned.until),
        position=where(planned.position),
        text=planned.text,
    )


def _explain(
    acting: Acting, body: IncidentIn, incident: Act, found: tuple[Check, ...]
) -> tuple[list[UUID], list[UUID], list[FieldError]]:
    """End or mark the open alerts that the incident speaks of: (ended, noted, warnings)."""
    ended: list[UUID] = []
    noted: list[UUID] = []
    conn = raw(acting.session)
    standing = open_alerts(conn, acting.delivery.id)
    spoken_of = [a for a in standing if _speaks_of(incident, a)]
    if body.alert_ids is not None:
        spoken_of = [a for a in spoken_of if a.id in body.alert_ids]
    for alert in spoken_of:
        _, view = lock_alert(conn, EVERYTHING, alert.id)
        handling = alerts.explain(
            view,
            ends=may_end(alert.severity, found),
            who=acting.user.username,
            text=sentence(incident),
            now=acting.when(None),
        )
        store_handling(conn, alert.id, handling)
        (ended if handling.finding else noted).append(alert.id)
    return ended, noted, _unexplained(body, ended + noted)


def _speaks_of(incident: Act, alert: OpenAlert) -> bool:
    return any(explains(incident, anomaly.finding) for anomaly in alert.anomalies)


def _unexplained(body: IncidentIn, touched: list[UUID]) -> list[FieldError]:
    text = "is no open alert of this delivery that such an incident can explain"
    return [
        FieldError(("body", "alert_ids", n), text)
        for n, id_ in enumerate(body.alert_ids or ())
        if id_ not in touched
    ]


def _tell(acting: Acting, ids: list[UUID]) -> None:
    if not ids:
        return
    conn = raw(acting.session)
    shown = alerts_by_id(conn, EVERYTHING, ids)
    append(
        conn,
        [
            Event(
                kind="alert",
                delivery_id=acting.delivery.id,
                payload={name: value for name, value in one.items() if name != "rank"},
            )
            for one in shown
        ],
    )


def _out(delivery_id: UUID, act: dict[str, Any]) -> IncidentOut:
    data = dict(act["data"])
    found = tuple(Check(**check) for check in data.get("checks", ()))
    agrees = False if contradicted(found) else True if confirmed(found) else None
    return IncidentOut.model_validate(
        {
            "id": act["id"],
            "delivery_id": delivery_id,
            "at": act["at"],
            "recorded_at": act["recorded_at"],
            "recorded_by": act["recorded_by"],
            "agrees": agrees,
            "checks": to_builtins(found),
            "contradictions": [to_builtins(c) for c in found if c.verdict == "contradicts"],
            "explained_alerts": data.get("explained", []),
            "noted_alerts": data.get("noted", []),
            **{k: data.get(k) for k in ("code", "text", "place", "position", "planned")},
        }
    )


@router.get("/deliveries/{delivery_id}/incidents")
def list_incidents(
    user: Annotated[CurrentUser, may("deliveries.read")], delivery_id: UUID, session: Reading
) -> Page[IncidentOut]:
    """Incidents of a delivery, in order, as they were checked when they were reported."""
    require_delivery(session, user, delivery_id)
    acts = [a for a in reading.acts_of(session, delivery_id) if a["kind"] == ActKind.INCIDENT]
    return Page(items=[_out(delivery_id, dict(act)) for act in acts])
