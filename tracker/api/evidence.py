"""Evidence packs, the key they are signed with, and replays."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Body, Depends, Request, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field
from starlette.background import BackgroundTask

from maps.report import delivery_report
from tracker.api.deliveries import detail_of
from tracker.api.deps import Caller, Config
from tracker.api.map_report import ANOMALIES, POINTS, report_on
from tracker.api.queries import answer, locale
from tracker.api.reader import Reader
from tracker.api.rights import require, scope_of
from tracker.api.schemas.common import Body as RequestBody
from tracker.api.state import state_of
from tracker.api.track import collection_of
from tracker.db.connect import ReadSession, raw
from tracker.db.reading import Page, rfc3339
from tracker.db.reading_findings import FindingFilter, list_of_delivery
from tracker.db.reading_risk import require_delivery, timeline
from tracker.db.reading_track import read_track
from tracker.errors import NotFound, Unavailable
from tracker.evidence.manifest import Signer
from tracker.packing import difference_json, pack
from tracker.replaying import Replay, replay
from tracker.settings import Settings

router = APIRouter(prefix="/api/v1", tags=["evidence"])

TIMELINE = 10_000


def snapshot(request: Request) -> Iterator[ReadSession]:
    """A read-only transaction that sees one moment: the parts of a pack must fit each other."""
    with state_of(request).database.snapshot() as session:
        yield session


Snapshot = Annotated[ReadSession, Depends(snapshot, scope="function")]


@router.get(
    "/deliveries/{delivery_id}/evidence",
    response_class=FileResponse,
    responses={200: {"content": {"application/zip": {}}}},
    summary="Download a delivery's evidence pack",
)
def get_evidence(
    user: Caller,
    session: Snapshot,
    config: Config,
    delivery_id: UUID,
    lang: Annotated[str, Depends(locale)],
) -> Response:
    """A zip of what was received, found and decided, with a signed manifest and its own checker.

    A carrier's pack holds neither scores nor thresholds.
    """
    require(user, "evidence.read")
    reader = Reader(user=user, scope=scope_of(user), conn=raw(session))
    row = require_delivery(reader.conn, reader.scope, delivery_id)
    signer = signer_of(config)
    made_at = datetime.now(UTC)
    replayed = replay(reader.conn, delivery_id, now=made_at)
    assert replayed is not None
    handle, name = tempfile.mkstemp(prefix="evidence-", suffix=".zip")
    try:
        with os.fdopen(handle, "w+b") as target:
            digest = pack(
                target,
                reader.conn,
                delivery_id,
                replayed=replayed,
                signer=signer,
                about={
                    "delivery_id": str(delivery_id),
                    "registration_number": row["registration_number"],
                    "made_by": user.username,
                    "software": f"tracker {version('tracker')}",
                },
                pages=_pages(reader, session, delivery_id, lang),
                made_at=made_at,
                confidential=reader.scope.carrier is None,
            )
    except BaseException:
        Path(name).unlink()
        raise
    return FileResponse(
        name,
        media_type="application/zip",
        filename=f"evidence-{row['registration_number'].replace('/', '-')}.zip",
        headers={"X-Manifest-SHA256": digest},
        background=BackgroundTask(Path(name).unlink),
    )


def _pages(reader: Reader, session: ReadSession, delivery_id: UUID, lang: str) -> dict[str, Any]:
    conn, scope = reader.conn, reader.scope
    everything = FindingFilter(delivery_id=delivery_id)

    def anomalies() -> Any:
        return list_of_delivery(conn, everything, Page(limit=ANOMALIES))[0]

    def track() -> Any:
        found = read_track(conn, delivery_id, since=None, until=None, limit=POINTS)
        return collection_of(found)

    def detail() -> Any:
        return detail_of(session, reader.user, delivery_id).model_dump(mode="json", by_alias=True)

    def page() -> bytes:
        report = report_on(reader, session, delivery_id, lang)
        return delivery_report(report, locale=lang, static_base=None).encode()

    def written(value: Any) -> bytes:
        return json.dumps(value, ensure_ascii=False, indent=1, default=str).encode() + b"\n"

    return {
        "delivery.json": lambda: written(detail()),
        "anomalies.json": lambda: written(anomalies()),
        "timeline.json": lambda: written(timeline(conn, scope, delivery_id, TIMELINE)),
        "track.geojson": lambda: written(track()),
        "map.html": page,
    }


def signer_of(config: Settings) -> Signer:
    """The key that signs.

    Raises:
        Unavailable: none is set, or its file cannot be read.
    """
    path = config.evidence_key
    if path is None:
        raise Unavailable(
            "no key signs evidence: set TRACKER_EVIDENCE_KEY to a file made by"
            " `tracker evidence new-key`"
        )
    try:
        return Signer.read(path.read_bytes())
    except OSError as exc:
        raise Unavailable("the key that signs evidence cannot be read") from exc


@router.get(
    "/evidence/key",
    response_class=Response,
    responses={200: {"content": {"application/x-pem-file": {}}}},
    summary="The public key that evidence packs are signed with",
)
def get_key(user: Caller, config: Config) -> Response:
    """PEM; publish it where those who check packs trust it."""
    return Response(signer_of(config).public_pem, media_type="application/x-pem-file")


class ReplayWanted(RequestBody):
    """Thresholds to use instead of those in force, by name; none: the same."""

    limits: dict[str, float | int] = Field(default_factory=dict)


class ReplayOut(BaseModel):
    """What a replay shows and where it differs from what was found then."""

    delivery_id: UUID
    now: str
    records: int
    settings_version: str
    rules_version: str
    records_not_judged_yet: bool
    anomalies: int
    differences: list[dict[str, Any]]


@router.post(
    "/deliveries/{delivery_id}/replay",
    response_model=ReplayOut,
    summary="Recompute a delivery's anomalies, with the same thresholds or with others",
)
def post_replay(
    user: Caller,
    session: Snapshot,
    delivery_id: UUID,
    wanted: Annotated[ReplayWanted, Body()] = ReplayWanted(),  # noqa: B008
) -> Response:
    """Changes nothing. The present assumed is when the delivery was last judged."""
    require(user, "replay.read")
    conn = raw(session)
    require_delivery(conn, scope_of(user), delivery_id)
    shown = replay(conn, delivery_id, now=datetime.now(UTC), overrides=wanted.limits)
    if shown is None:
        raise NotFound(f"no delivery {delivery_id}")
    return answer(_out(shown))


def _out(shown: Replay) -> dict[str, Any]:
    return {
        "delivery_id": str(shown.delivery_id),
        "now": rfc3339(shown.now),
        "records": shown.records,
        "settings_version": shown.settings_version,
        "rules_version": shown.rules_version,
        "records_not_judged_yet": shown.pending,
        "anomalies": len(shown.found),
        "differences": [difference_json(one) for one in shown.differences],
    }
