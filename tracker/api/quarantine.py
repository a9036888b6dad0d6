"""Records that were refused: looking at them, taking them out, trying them again after a fix."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import psycopg
import structlog
from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.responses import StreamingResponse

from tracker.api.deps import Cursor, Limit, may
from tracker.api.described import refusals
from tracker.api.findings_schemas import (
    QuarantineCountPage,
    QuarantineDetail,
    QuarantinePage,
    RedriveIn,
    RedriveOut,
)
from tracker.api.queries import Since, Word, Words, answer, page, split
from tracker.api.reader import Reader, reads
from tracker.api.state import state_of
from tracker.db.connect import Database, raw
from tracker.db.reading import Page, decode_cursor, int64
from tracker.db.reading_quarantine import (
    export_lines,
    list_quarantine,
    one_refused,
    refused_counts,
)
from tracker.db.redrive import Filter
from tracker.db.users import CurrentUser
from tracker.errors import NotFound
from tracker.redrive import redrive

router = APIRouter(prefix="/api/v1", tags=["quarantine"])

log = structlog.get_logger(__name__)

NDJSON = "application/x-ndjson"


@router.get("/quarantine", response_model=QuarantinePage, summary="List refused records")
def get_quarantine(
    reader: Annotated[Reader, Depends(reads("quarantine.read"), scope="function")],
    device: Word | None = None,
    device_id: Word | None = None,
    reason: Words = [],  # noqa: B006 - FastAPI copies defaults
    since: Since = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """Refused records, newest first, with their bytes (`payload_base64`) as they came."""
    after = decode_cursor(cursor, int64)
    found = list_quarantine(
        reader.conn,
        device=device or device_id,
        reason=split(reason),
        since=since,
        page=Page(limit=limit, after=after),
    )
    return page(*found)


@router.get(
    "/quarantine/counts",
    response_model=QuarantineCountPage,
    summary="How much of each sender is in quarantine",
)
def get_counts(
    reader: Annotated[Reader, Depends(reads("quarantine.read"), scope="function")],
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """Records and bytes kept for each sender, and those that its bounds kept out."""
    after = decode_cursor(cursor, str)
    return page(*refused_counts(reader.conn, Page(limit=limit, after=after)))


@router.get(
    "/quarantine/export",
    response_class=StreamingResponse,
    responses={200: {"content": {NDJSON: {}}}},
    summary="Export refused records",
)
def export_quarantine(
    request: Request,
    user: Annotated[CurrentUser, may("quarantine.read")],
    device: Word | None = None,
    device_id: Word | None = None,
    reason: Words = [],  # noqa: B006 - FastAPI copies defaults
    since: Since = None,
) -> StreamingResponse:
    """Everything that matches as NDJSON, newest first: a line is an item of the list."""
    database = state_of(request).database

    @contextmanager
    def begin() -> Iterator[psycopg.Connection[Any]]:
        with database.read() as session:
            yield raw(session)

    lines = export_lines(begin, device=device or device_id, reason=split(reason), since=since)
    headers = {"Content-Disposition": 'attachment; filename="quarantine.ndjson"'}
    return StreamingResponse(lines, media_type=NDJSON, headers=headers)


@router.get(
    "/quarantine/{row_id}",
    response_model=QuarantineDetail,
    responses=refusals(404),
    summary="One refused record",
)
def get_refused(
    reader: Annotated[Reader, Depends(reads("quarantine.read"), scope="function")],
    row_id: Annotated[int, Path(ge=1, lt=2**63)],
) -> Response:
    """A refused record, and the signed message it came in."""
    row = one_refused(reader.conn, row_id)
    if row is None:
        raise NotFound(f"no refused record {row_id}; a re-drive may have stored it")
    return answer(row)


@router.post("/quarantine/redrive", response_model=RedriveOut, summary="Try refused records again")
def post_redrive(
    request: Request,
    user: Annotated[CurrentUser, may("quarantine.redrive")],
    body: RedriveIn,
) -> Response:
    """Put refused records through the storing stage again, as of the time they came.

    What is accepted is stored, once, and leaves quarantine; what is refused still stays.
    """
    wanted = Filter(ids=body.ids, device=body.device, reason=body.reason, since=body.since)
    state = state_of(request)
    done = redrive(
        lambda: _writing(state.database),
        wanted,
        traccar_topic=state.settings.traccar_topic,
        after=body.after,
        most_rows=body.limit,
    )
    told = {
        "looked_at": done.looked_at,
        "stored": done.stored,
        "removed": done.removed,
        "kept": done.kept,
        "next": done.last_id if done.more else None,
    }
    asked = body.model_dump(mode="json", exclude_none=True)
    log.info("quarantine_redriven", who=user.username, wanted=asked, **told)
    return answer(told)


@contextmanager
def _writing(database: Database) -> Iterator[psycopg.Connection[Any]]:
    """A transaction of its own for each batch."""
    with database.write() as session:
        yield raw(session)
