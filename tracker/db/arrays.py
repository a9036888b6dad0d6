"""PostgreSQL array literals for batches of plain numbers and ids.

psycopg adapts a list element by element, which costs more than most of our queries; joining the
text of numbers, UUIDs and hex needs no adapting. Only for types whose text has nothing to quote.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

import msgspec

_encode = msgspec.json.Encoder().encode


def numbers(values: Iterable[float | int | None]) -> str:
    """Finite floats or ints (None: NULL) as an array literal.

    msgspec writes the shortest digits that read back as the same float, many times faster than
    ``repr`` does, and of all that JSON has for numbers nothing means something else here.
    """
    return "{" + _encode([*values])[1:-1].decode() + "}"


def flags(values: Iterable[bool | None]) -> str:
    """Truth values as an array literal."""
    return "{" + ",".join(["NULL" if v is None else "t" if v else "f" for v in values]) + "}"


def uuids(values: Iterable[UUID]) -> str:
    """UUIDs as an array literal; PostgreSQL reads them without hyphens too, which cost most."""
    return "{" + ",".join([f"{v.int:032x}" for v in values]) + "}"


def byteas(values: Iterable[bytes]) -> str:
    """Byte strings as an array literal, in hex."""
    return "{" + ",".join([f'"\\\\x{v.hex()}"' for v in values]) + "}"


def words(values: Iterable[str | None]) -> str:
    """Words of our own (codes, digests: nothing to quote) as an array literal."""
    return "{" + ",".join(["NULL" if v is None else v for v in values]) + "}"
