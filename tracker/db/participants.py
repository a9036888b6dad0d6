"""Carriers and declarants: storing, finding, listing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from tracker.db.connect import WriteSession
from tracker.db.reading import Page, Scope
from tracker.db.tables import Participant
from tracker.errors import Conflict


def create_participant(session: WriteSession, **values: Any) -> Participant:
    """Store a participant.

    Raises:
        Conflict: the country's tax number is known; the text names who has it.
    """
    statement = insert(Participant).values(**values)
    row: Participant | None = session.scalar(
        statement.on_conflict_do_nothing(index_elements=["country", "tax_id"]).returning(
            Participant
        )
    )
    if row is None:
        known = session.scalar(
            select(Participant).where(
                Participant.country == values["country"], Participant.tax_id == values["tax_id"]
            )
        )
        owner = f" ({known.id})" if known else ""
        raise Conflict.field(
            "body",
            "tax_id",
            msg=f"is that of a participant already registered{owner}; use that one",
        )
    return row


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
