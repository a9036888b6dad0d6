"""The error tree. Nothing here knows HTTP or a driver; the edges map these once.

Every error carries a text that names the field and the remedy, because it is shown to the
person who can act on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldError:
    """One bad field: where it stands in the input and what to do about it."""

    loc: tuple[str | int, ...]
    msg: str


class TrackerError(Exception):
    """Base of all errors that the product raises on purpose."""

    def __init__(self, detail: str, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)


class Invalid(TrackerError):
    """The input cannot be accepted as it stands (HTTP 422)."""

    @classmethod
    def field(cls, *loc: str | int, msg: str) -> Invalid:
        """An error on a single field, whose message is also the summary."""
        return cls(f"{'.'.join(map(str, loc))}: {msg}", [FieldError(tuple(loc), msg)])


class Conflict(TrackerError):
    """The input is well formed but contradicts the present state (HTTP 409)."""

    @classmethod
    def field(cls, *loc: str | int, msg: str) -> Conflict:
        """A conflict on a single field, whose message is also the summary."""
        return cls(f"{'.'.join(map(str, loc))}: {msg}", [FieldError(tuple(loc), msg)])


class NotFound(TrackerError):
    """No such object, or none that the caller may know of (HTTP 404)."""


class Forbidden(TrackerError):
    """The caller is known but may not do this (HTTP 403)."""


class Unauthenticated(TrackerError):
    """The caller is not known (HTTP 401)."""


class Unavailable(TrackerError):
    """Something that the call needs is not set up; the text says what and how."""


class SetupError(TrackerError):
    """The machine, a port, a disk or a service is not as needed; the text says what to do."""
