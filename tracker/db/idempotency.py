"""Answers already given to creations, by user and key."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select

from tracker.db.connect import WriteSession
from tracker.db.tables import IdempotencyKey


def find_locked(session: WriteSession, username: str, key: str) -> IdempotencyKey | None:
    """The answer given for this key, if any. A second request with it waits for the first."""
    lock = func.pg_advisory_xact_lock(func.hashtextextended(f"{username}\n{key}", 0))
    session.execute(select(lock))
    return session.get(IdempotencyKey, (username, key))


def keep(
    session: WriteSession,
    username: str,
    key: str,
    request_hash: str,
    status: int,
    body: dict[str, Any],
) -> None:
    """Remember an answer, in the transaction that made it true."""
    session.add(
        IdempotencyKey(
            username=username, key=key, request_hash=request_hash, status=status, body=body
        )
    )
