"""Devices' passwords at the broker, and the notice that they have changed."""

from __future__ import annotations

from typing import Any, Final

import psycopg
from sqlalchemy import delete, func, select, text
from sqlalchemy.dialects.postgresql import insert

from tracker.db.connect import WriteSession
from tracker.db.tables import BrokerLogin

CHANNEL: Final = "tracker_broker"
"""Notified at each change of what the broker must know of devices."""


def set_login(session: WriteSession, device_no: int, password_hash: str) -> None:
    """Give a device a password at the broker, in place of the one it had."""
    statement = insert(BrokerLogin).values(device_no=device_no, password_hash=password_hash)
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["device_no"],
            set_={"password_hash": password_hash, "changed_at": func.clock_timestamp()},
        )
    )
    announce(session)


def withdraw_login(session: WriteSession, device_no: int) -> bool:
    """Take a device's password away; False if it had none."""
    found = session.scalar(
        delete(BrokerLogin)
        .where(BrokerLogin.device_no == device_no)
        .returning(BrokerLogin.device_no)
    )
    announce(session)
    return found is not None


def has_login(session: WriteSession, device_no: int) -> bool:
    """Whether a device has a password at the broker."""
    query = select(BrokerLogin.device_no).where(BrokerLogin.device_no == device_no)
    return session.scalar(query) is not None


def announce(session: WriteSession) -> None:
    """Tell who writes the broker's files, at the commit."""
    session.execute(text("SELECT pg_notify(:channel, '')"), {"channel": CHANNEL})


def read_logins(conn: psycopg.Connection[Any]) -> list[tuple[str, str | None, bool]]:
    """Every device: its id, the hash of its password, whether it is a unit that need not sign."""
    return conn.execute(
        """
        SELECT d.id, l.password_hash, d.kind = 'gps' AND NOT d.hmac_required
        FROM devices d LEFT JOIN broker_logins l USING (device_no)
        ORDER BY d.device_no
        """
    ).fetchall()
