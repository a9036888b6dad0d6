"""Carriers and declarants: storing, finding, listing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from tracker.db.connect import WriteSession
from tracker.db.reading import Page, Scope
from tracker.db.tables import Participant


def create_participant(session: WriteSession, **values: Any) -> Participant:
    """Store a participant. A tax number that another one has is odd, but may be true."""
    row = Participant(**values)
    session.add(row)
    session.flush()
    return row


def namesakes(session: Session, row: Participant) -> Sequence[UUID]:
    """Ids of up to three earlier participants with the same tax number in the same country."""
    query = select(Participant.id).where(
        Participant.country == row.country,
        Participant.tax_id == row.tax_id,
        Participant.id != row.id,
    )
    return session.scalars(query.order_by(Participant.created_at).limit(3)).all()


def participant_by_id(session: Session, participant_id: UUID, scope: Scope) -> Participant | None:
    """The participant of this id, if the caller may know of it."""
    return session.get(Participant, participant_id) if scope.sees(participant_id) else None


def list_participants(
    session: Session, page: Page, scope: Scope, *, tax_id: str | None
) -> Sequence[Participant]:
    """One participant more than the page holds, in the order of registration."""
    key = tuple_(Participant.created_at, Participant.id)
    query = select(Participant).order_by(Participant.created_at, Participant.id)
    if page.after:
        query = query.where(key > page.after)
    if scope.carrier is not None:
        query = query.where(Participant.id == scope.carrier)
    if tax_id:
        query = query.where(Participant.tax_id == tax_id)
    return session.scalars(query.limit(page.limit + 1)).all()
