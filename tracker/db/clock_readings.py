"""What a device's newest records say of its clock."""

from __future__ import annotations

from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from tracker.clocks import MOST_SAMPLES, ClockReading, read_clock
from tracker.model import FORWARDED_GEN, to_ms
from tracker.payload import Decoded, decode_record

# newest_records: by number, not by time, which is what is in question; the primary key serves it.
_NEWEST: Final = text("""
    SELECT received_at, body FROM telemetry
    WHERE device_no = :device_no AND gen < :forwarded
    ORDER BY gen DESC, seq DESC LIMIT :most
""")


def newest_readings(session: Session, device_no: int) -> list[ClockReading]:
    """The newest records compared with the satellites' time or that of reception.

    None for a device of another system: what it forwards has one clock only.
    """
    params = {"device_no": device_no, "forwarded": FORWARDED_GEN, "most": MOST_SAMPLES}
    read = [
        (decode_record(bytes(row.body)), to_ms(row.received_at))
        for row in session.execute(_NEWEST, params)
    ]
    return [
        read_clock(decoded.record, received_ms)
        for decoded, received_ms in read
        if isinstance(decoded, Decoded)
    ]
