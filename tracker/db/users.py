"""Users: the only place where password hashes are made and compared."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final
from uuid import UUID

from pwdlib import PasswordHash
from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from tracker.db.connect import Database, WriteSession
from tracker.db.reading import Page
from tracker.db.tables import User
from tracker.errors import Conflict

_HASHER: Final = PasswordHash.recommended()


@cache
def _nobodys_hash() -> str:
    """Compared with when there is no such user: the answer then takes as long as for a wrong
    password, and does not tell which names exist."""
    return _HASHER.hash("no such user")


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentUser:
    """Who makes a call. ``token_mark`` changes with the password and ends older log-ins."""

    username: str
    role: str
    posts: frozenset[str] = frozenset()
    participant_id: UUID | None = None
    token_mark: str = ""


def find_active(session: Session, username: str) -> CurrentUser | None:
    """The user of this name who may log in, if there is one."""
    row = session.scalar(select(User).where(User.username == username, User.active))
    return _current(row) if row else None


def check_password(session: Session, username: str, password: str) -> CurrentUser | None:
    """The user if the password is right; None for a wrong one as for no such user."""
    row = session.scalar(select(User).where(User.username == username, User.active))
    right = _HASHER.verify(password, row.password_hash if row else _nobodys_hash())
    return _current(row) if row and right else None


def _current(row: User) -> CurrentUser:
    return CurrentUser(
        username=row.username,
        role=row.role,
        posts=frozenset(row.posts),
        participant_id=row.participant_id,
        token_mark=hashlib.sha256(row.password_hash.encode()).hexdigest()[:16],
    )


def create_user(
    session: WriteSession,
    *,
    username: str,
    password: str,
    role: str,
    posts: Sequence[str] = (),
    participant_id: UUID | None = None,
) -> User:
    """Store a new user with the password's hash.

    Raises:
        Conflict: the name is taken.
    """
    values = {
        "username": username,
        "password_hash": _HASHER.hash(password),
        "role": role,
        "posts": list(posts),
        "participant_id": participant_id,
    }
    row: User | None = session.scalar(
        insert(User)
        .values(**values)
        .on_conflict_do_nothing(index_elements=["username"])
        .returning(User)
    )
    if row is None:
        raise Conflict.field("body", "username", msg=f"{username!r} exists; choose another name")
    return row


def list_users(session: Session, page: Page) -> Sequence[User]:
    """One user more than the page holds, by name."""
    query = select(User).order_by(User.username).limit(page.limit + 1)
    if page.after:
        query = query.where(User.username > page.after[0])
    return session.scalars(query).all()


def ensure_admin(dsn: str, username: str, password: str) -> None:
    """Make sure that this administrator can log in with this password.

    Creates the user or updates the password's hash; if both are as asked, changes nothing.
    """
    database = Database(dsn, pool_size=1)
    try:
        with database.write() as session:
            # Two processes may start at once.
            session.execute(select(func.pg_advisory_xact_lock(0x61646D)))
            _ensure_admin(session, username, password)
    finally:
        database.close()


def _ensure_admin(session: WriteSession, username: str, password: str) -> None:
    row = session.scalar(select(User).where(User.username == username))
    if row is None:
        create_user(session, username=username, password=password, role="admin")
    elif row.role != "admin" or not row.active or not _HASHER.verify(password, row.password_hash):
        session.execute(
            update(User)
            .where(User.id == row.id)
            .values(
                password_hash=_HASHER.hash(password),
                role="admin",
                active=True,
            )
        )
