"""Records that were refused, raw, with the reason."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from tracker.api.deps import Cursor, Limit
from tracker.api.findings_schemas import QuarantinePage
from tracker.api.queries import Since, Word, Words, page, split
from tracker.api.reader import Reader, reads
from tracker.db.reading import Page, decode_cursor, int64
from tracker.db.reading_quarantine import list_quarantine

router = APIRouter(prefix="/api/v1", tags=["quarantine"])


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
