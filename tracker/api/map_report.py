"""The map report on a delivery: one HTML page that needs no network."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import HTMLResponse

from maps.report import delivery_report
from maps.report_values import DeliveryReport
from tracker.api.deliveries import detail_of
from tracker.api.deps import Reading
from tracker.api.queries import locale
from tracker.api.reader import Reader, reads
from tracker.api.risk import risk_of
from tracker.api.schemas.routes import route_out
from tracker.api.track import collection_of
from tracker.console.reporting import report_of
from tracker.db.reading import Page
from tracker.db.reading_findings import FindingFilter, list_of_delivery
from tracker.db.reading_map import posts_near, zones_near
from tracker.db.reading_risk import require_delivery
from tracker.db.reading_track import read_track
from tracker.db.route_store import corridors, routes_of_delivery

router = APIRouter(tags=["track"])

#: Enough for the shape of a thousand kilometres; the page carries every point.
POINTS = 5_000
ANOMALIES = 1_000


@router.get(
    "/deliveries/{delivery_id}/map",
    response_class=HTMLResponse,
    responses={200: {"content": {"text/html": {}}}},
    summary="Read a delivery's map report",
)
def get_map(
    reader: Annotated[Reader, Depends(reads("track.read"), scope="function")],
    session: Reading,
    delivery_id: UUID,
    lang: Annotated[str, Depends(locale)],
    whole: Annotated[
        bool, Query(description="One file that carries its scripts, to keep or to send.")
    ] = False,
) -> Response:
    """Track, declared route with its corridor, anomalies, zones and posts, and the reasons."""
    report = report_on(reader, session, delivery_id, lang)
    page = delivery_report(report, locale=lang, static_base=None if whole else "/static/vendor")
    return HTMLResponse(page)


def report_on(reader: Reader, session: Reading, delivery_id: UUID, lang: str) -> DeliveryReport:
    """What the report on a delivery shows."""
    conn = reader.conn
    row = require_delivery(conn, reader.scope, delivery_id)
    declared = [one.route for one in routes_of_delivery(session, delivery_id)]
    outlines = corridors(session, [route.id for route in declared])
    routes = [route_out(route, outlines.get(route.id)) for route in declared]
    detail = detail_of(session, reader.user, delivery_id).model_dump(mode="json", by_alias=True)
    tracks = read_track(conn, delivery_id, since=None, until=None, limit=POINTS)
    wanted = FindingFilter(delivery_id=delivery_id)
    anomalies, _ = list_of_delivery(conn, wanted, Page(limit=ANOMALIES))
    return report_of(
        delivery=detail,
        locale=lang,
        generated_at=datetime.now(UTC),
        route=_together("LineString", [route.geometry for route in routes]),
        corridor=_together("Polygon", [route.corridor for route in routes]),
        track=collection_of(tracks),
        anomalies=anomalies,
        zones=zones_near(conn, delivery_id),
        posts=posts_near(conn, delivery_id),
        risk=risk_of(reader, row, lang),
        names={str(row["carrier_id"]): row["carrier"], detail["declarant_id"]: row["declarant"]},
    )


def _together(
    kind: Literal["LineString", "Polygon"], shapes: Sequence[dict[str, Any] | None]
) -> dict[str, Any] | None:
    """Lines or polygons as one shape: of one as it is, of several as the Multi… of its kind."""
    known = [shape for shape in shapes if shape]
    if len(known) < 2:
        return known[0] if known else None
    parts = [
        part
        for shape in known
        for part in ([shape["coordinates"]] if shape["type"] == kind else shape["coordinates"])
    ]
    return {"type": f"Multi{kind}", "coordinates": parts}
