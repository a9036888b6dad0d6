"""Dated settings of the thresholds of detection."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import ConfigDict, Field, model_validator

from tracker.api.schemas.common import Answer, Body, Instant, Moment, Text
from tracker.errors import Invalid

ScopeName = Literal["national", "post", "lane", "delivery"]
Key = Annotated[str, Text(longest=200, shortest=0)]

_SETTING: dict[str, Any] = {
    "scope": "lane",
    "key": "KZ-NURZHOLY>KZ-ALMATY",
    "from": "2026-03-01T00:00:00.000Z",
    "values": {"stop_s": 1800},
    "reason": "road works until May: queues of half an hour",
}


class LimitSettingIn(Body):
    """Thresholds for all that a scope covers, from a time on. Values of null take earlier ones of
    the same scope back. ``key``: none for national, a post's code, a lane as `FROM>TO`, a
    delivery's id."""

    scope: ScopeName
    key: Key | None = None
    from_: Annotated[Instant, Field(alias="from")]
    values: dict[str, Any]
    reason: Annotated[str, Text(longest=1000)]

    model_config = ConfigDict(
        extra="forbid", frozen=True, json_schema_extra={"examples": [_SETTING]}
    )

    @model_validator(mode="after")
    def _key_fits(self) -> Self:
        if self.scope == "national" and self.key:
            raise Invalid.field("body", "key", msg="national settings have none; leave it out")
        if self.scope != "national" and not self.key:
            what = {"post": "a post's code", "lane": "FROM>TO", "delivery": "its id"}[self.scope]
            raise Invalid.field("body", "key", msg=f"is missing: give {what}")
        if self.scope == "lane" and len((self.key or "").split(">")) != 2:
            raise Invalid.field("body", "key", msg="a lane is FROM>TO, two codes of posts")
        return self


class LimitSettingOut(Answer):
    """A setting as stored."""

    id: int
    scope: ScopeName
    key: str | None
    from_: Moment = Field(alias="from")
    values: dict[str, Any]
    reason: str
    created_at: Moment
    created_by: str

    model_config = ConfigDict(
        frozen=True,
        populate_by_name=True,
        json_schema_extra={
            "examples": [
                {
                    "id": 7,
                    **_SETTING,
                    "created_at": "2026-02-27T09:12:00.000Z",
                    "created_by": "admin",
                }
            ]
        },
    )


class LimitSettingMade(LimitSettingOut):
    """A setting that was entered just now."""

    deliveries_judged_again: int = Field(description="That it concerns, and are judged anew.")


class LimitName(Answer):
    """A threshold: its published value, what it may be set to, the codes of the rules it is of."""

    name: str
    codes: list[str]
    default: float
    least: float
    most: float
    unit: str


class LaterLimits(Answer):
    """Thresholds from a time on."""

    from_: Moment = Field(alias="from")
    values: dict[str, float]

    model_config = ConfigDict(frozen=True, populate_by_name=True)


class LimitVersionOut(Answer):
    """All thresholds behind a `settings_version`: at first, and each time they changed."""

    version: str
    first_used_at: Moment | None = Field(description="Null: of the published thresholds, unused.")
    values: dict[str, float]
    later: list[LaterLimits]


class DeliveryLimitsOut(Answer):
    """The thresholds in force for a delivery at a time, and the settings that make them so."""

    delivery_id: UUID
    at: Moment
    version: str = Field(description="As findings made now would record it.")
    values: dict[str, float]
    settings: list[LimitSettingOut] = Field(description="In force by then, in their order.")
