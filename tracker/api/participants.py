"""Carriers and declarants, with the category that their facts decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse

from tracker.api.creation import Creating
from tracker.api.deps import Cursor, Limit, Reading, may, page_after
from tracker.api.described import refusals
from tracker.api.rights import scope_of, sees_risk
from tracker.api.schemas.common import Page, warning_of
from tracker.api.schemas.participants import (
    CategoryOut,
    CategoryReason,
    ParticipantIn,
    ParticipantOut,
)
from tracker.db import participants as store
from tracker.db.reading import decode_cursor, encode_cursor
from tracker.db.tables import Participant
from tracker.db.users import CurrentUser
from tracker.errors import FieldError, NotFound
from tracker.participants import Category, category, tax_id_warning

router = APIRouter(prefix="/api/v1", tags=["participants"], responses=refusals(404, 409))


@router.post("/participants", status_code=201, response_model=ParticipantOut)
def create_participant(
    user: Annotated[CurrentUser, may("participants.create")],
    body: ParticipantIn,
    creating: Creating,
) -> JSONResponse:
    """Register a participant. A tax number whose check digit fails, or that another participant
    has, is a warning."""

    def make() -> tuple[ParticipantOut, str]:
        row = store.create_participant(
            creating.session,
            name=body.name,
            kind=body.kind,
            tax_id=body.tax_id,
            country=body.country.upper(),
            facts=dict(body.facts),
        )
        out = _out(row, user)
        same = [warning_of(w) for w in _same_tax_id(store.namesakes(creating.session, row))]
        out = out.model_copy(update={"warnings": [*out.warnings, *same]})
        return out, f"/api/v1/participants/{row.id}"

    return creating.once(body, make)


@router.get("/participants")
def list_participants(
    user: Annotated[CurrentUser, may("participants.read")],
    session: Reading,
    limit: Limit = 100,
    cursor: Cursor = None,
    tax_id: Annotated[str | None, Query(max_length=32)] = None,
) -> Page[ParticipantOut]:
    """Participants, in the order of registration. A carrier sees itself only."""
    page = page_after(limit, decode_cursor(cursor, datetime.fromisoformat, UUID))
    rows = store.list_participants(session, page, scope_of(user), tax_id=tax_id)
    items = [_out(row, user) for row in rows[:limit]]
    last = rows[limit - 1] if len(rows) > limit else None
    return Page(items=items, next=encode_cursor([last.created_at, last.id]) if last else None)


@router.get("/participants/{participant_id}")
def get_participant(
    user: Annotated[CurrentUser, may("participants.read")],
    participant_id: UUID,
    session: Reading,
) -> ParticipantOut:
    """One participant, with its category and the reasons for it."""
    row = store.participant_by_id(session, participant_id, scope_of(user))
    if row is None:
        raise NotFound(f"no participant {participant_id}")
    return _out(row, user)


def _out(row: Participant, user: CurrentUser) -> ParticipantOut:
    confidential = not sees_risk(user)
    found = category(row.facts)
    return ParticipantOut(
        id=row.id,
        name=row.name,
        kind=row.kind,  # type: ignore[arg-type]
        tax_id=row.tax_id,
        country=row.country,
        facts=None if confidential else row.facts,
        category=None if confidential else _category(found),
        created_at=row.created_at,
        warnings=[warning_of(e) for e in _warnings(row, () if confidential else found.warnings)],
    )


def _same_tax_id(ids: Sequence[UUID]) -> list[FieldError]:
    if not ids:
        return []
    known = ", ".join(map(str, ids))
    text = f"is that of a participant already registered too ({known}); check that both exist"
    return [FieldError(("body", "tax_id"), text)]


def _warnings(row: Participant, of_facts: tuple[FieldError, ...]) -> list[FieldError]:
    tax = tax_id_warning(row.tax_id, row.country)
    return [*([tax] if tax else []), *of_facts]


def _category(found: Category) -> CategoryOut:
    reasons = [CategoryReason(**{**asdict(r), "text": dict(r.text)}) for r in found.reasons]
    return CategoryOut(level=found.level, reasons=reasons)
