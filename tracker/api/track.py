"""The track of a delivery, as GeoJSON, CSV or GPX."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal
from uuid import UUID

import gpxpy.gpx
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict

from tracker.api.queries import answer
from tracker.api.reader import Reader, reads
from tracker.db.reading import rfc3339
from tracker.db.reading_risk import require_delivery
from tracker.db.reading_track import DeviceTrack, TrackPoint, read_track
from tracker.errors import Invalid

router = APIRouter(prefix="/api/v1", tags=["track"])

EXAMPLE: dict[str, Any] = {
    "type": "FeatureCollection",
    "simplified": False,
    "features": [
        {
            "type": "Feature",
            "id": "GPS-0001",
            "geometry": {
                "type": "LineString",
                "coordinates": [[76.8897, 43.2389], [76.8921, 43.2391]],
            },
            "properties": {
                "device_id": "GPS-0001",
                "kind": "gps",
                "times": ["2026-03-01T09:12:44.000Z", "2026-03-01T09:12:54.000Z"],
                "speeds_kmh": [62.3, 61.8],
                "points": 2,
                "points_total": 2,
                "simplified": False,
            },
        }
    ],
}


class TrackOut(BaseModel):
    """A GeoJSON FeatureCollection with one Feature a device."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    type: Literal["FeatureCollection"]
    simplified: bool
    features: list[dict[str, Any]]


@router.get(
    "/deliveries/{delivery_id}/track",
    response_model=TrackOut,
    responses={200: {"content": {"text/csv": {}, "application/gpx+xml": {}}}},
    summary="Read a delivery's track",
)
def get_track(
    reader: Annotated[Reader, Depends(reads("track.read"), scope="function")],
    delivery_id: UUID,
    request: Request,
    form: Annotated[Literal["geojson", "csv", "gpx"] | None, Query(alias="format")] = None,
    since: Annotated[AwareDatetime | None, Query(alias="from")] = None,
    until: Annotated[AwareDatetime | None, Query(alias="to")] = None,
    limit: Annotated[int, Query(ge=2, le=50_000, description="Points a device.")] = 10_000,
) -> Response:
    """Positions of the devices while they were bound, in the order of their own times.

    A device with more points than ``limit`` is thinned evenly; ``simplified`` then says so.
    Without ``format`` the ``Accept`` header decides.
    """
    delivery = require_delivery(reader.conn, reader.scope, delivery_id)
    if since and until and since > until:
        raise Invalid.field("query", "from", msg="lies after `to`; swap them")
    tracks = read_track(reader.conn, delivery_id, since=since, until=until, limit=limit)
    return _WRITERS[form or _accepted(request)](tracks, delivery["registration_number"])


def _accepted(request: Request) -> str:
    """The form that the ``Accept`` header names first, by default GeoJSON."""
    for part in request.headers.get("accept", "").split(","):
        form = {"text/csv": "csv", "application/gpx+xml": "gpx"}.get(part.split(";")[0].strip())
        if form:
            return form
    return "geojson"


def as_geojson(tracks: Sequence[DeviceTrack], name: str) -> Response:
    """One Feature a device; devices without a single position are left out."""
    return answer(collection_of(tracks), media_type="application/geo+json")


def collection_of(tracks: Sequence[DeviceTrack]) -> dict[str, Any]:
    """The tracks as a GeoJSON FeatureCollection."""
    features = [_feature(track) for track in tracks if track.points]
    thinned = any(f["properties"]["simplified"] for f in features)
    return {"type": "FeatureCollection", "simplified": thinned, "features": features}


def _feature(track: DeviceTrack) -> dict[str, Any]:
    places = [[p.lon, p.lat] for p in track.points]
    geometry = (
        {"type": "LineString", "coordinates": places}
        if len(places) > 1
        else {"type": "Point", "coordinates": places[0]}
    )
    return {
        "type": "Feature",
        "id": track.device_id,
        "geometry": geometry,
        "properties": {
            "device_id": track.device_id,
            "kind": track.kind,
            "times": [rfc3339(p.t) for p in track.points],
            "speeds_kmh": [p.speed_kmh for p in track.points],
            "points": len(places),
            "points_total": track.total,
            "simplified": track.thinned,
        },
    }


def as_csv(tracks: Sequence[DeviceTrack], name: str) -> Response:
    """One line a position."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["device_id", "kind", "t", "lat", "lon", "speed_kmh", "heading_deg"])
    for track in tracks:
        writer.writerows(_cells(track, point) for point in track.points)
    return Response(text.getvalue(), media_type="text/csv", headers=_download("track.csv"))


def _cells(track: DeviceTrack, p: TrackPoint) -> list[Any]:
    return [track.device_id, track.kind, rfc3339(p.t), p.lat, p.lon, p.speed_kmh, p.heading_deg]


def as_gpx(tracks: Sequence[DeviceTrack], name: str) -> Response:
    """One GPX track a device."""
    gpx = gpxpy.gpx.GPX()
    gpx.name = name
    for track in tracks:
        segment = gpxpy.gpx.GPXTrackSegment(
            [gpxpy.gpx.GPXTrackPoint(p.lat, p.lon, time=p.t) for p in track.points]
        )
        line = gpxpy.gpx.GPXTrack(name=track.device_id)
        line.segments.append(segment)
        gpx.tracks.append(line)
    return Response(gpx.to_xml(), media_type="application/gpx+xml", headers=_download("track.gpx"))


def _download(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"'}


_WRITERS: dict[str, Callable[[Sequence[DeviceTrack], str], Response]] = {
    "geojson": as_geojson,
    "csv": as_csv,
    "gpx": as_gpx,
}
