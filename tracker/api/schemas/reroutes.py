"""Another route, declared while the delivery is on its way."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AliasChoices, ConfigDict, Field, model_validator

from tracker.api.schemas.common import Body, Code, Instant, Text
from tracker.api.schemas.routes import InlineRouteIn
from tracker.errors import Invalid


class RerouteIn(Body):
    """Another route: exactly one of ``route_code`` and ``route``. ``from``: the time from which it
    is in force, maybe in the past; by default now."""

    route_code: Code | None = None
    route: InlineRouteIn | None = None
    from_: Instant | None = Field(
        None, serialization_alias="from", validation_alias=AliasChoices("from", "from_")
    )
    reason: Annotated[str, Text(longest=4000)]

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "route_code": "R-NURZHOLY-ALMATY",
                    "from": "2026-03-01T12:00:00.000Z",
                    "reason": "The A2 is closed by snow at Shelek.",
                }
            ]
        }
    )

    @model_validator(mode="after")
    def _one_route(self) -> Self:
        if (self.route_code is None) == (self.route is None):
            text = "give exactly one of route_code (a declared route) and route"
            raise Invalid.field("body", "route", msg=text)
        return self
