"""What proves that a device is itself: its signing keys, its login at the broker."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from tracker.api.schemas.common import Answer, Body, Moment


class KeyIn(Body):
    """A new key. The server makes it."""


class NewKeyOut(Answer):
    """A key just made; its secret is shown now and never again."""

    kid: str
    secret_b64: str = Field(description="32 random bytes, Base64.")
    created_at: Moment
    old_keys_until: Moment = Field(description="The older keys are valid until then.")

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "kid": "2",
                    "secret_b64": "q83v…",
                    "created_at": "2026-03-01T08:00:00.000Z",
                    "old_keys_until": "2026-03-31T08:00:00.000Z",
                }
            ]
        }
    )


class KeyBrief(Answer):
    """A key without its secret."""

    kid: str
    created_at: Moment
    expires_at: Moment | None = Field(description="Null: in force without an end.")
    valid: bool


class KeysOut(Answer):
    """A device's keys, oldest first."""

    items: list[KeyBrief]


class LoginIn(Body):
    """A new password at the broker, in place of the old one. The server makes it."""


class LoginOut(Answer):
    """A device's login at the broker. Valid within seconds where the broker asks for one."""

    username: str = Field(description="The device's id.")
    password: str | None = Field(
        description="Shown once, at its making; the system keeps only its hash."
    )
