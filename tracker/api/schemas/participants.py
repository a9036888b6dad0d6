"""Carriers and declarants."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from tracker.api.schemas.common import Answer, Body, Country, Moment, Name, Text, Warning, Words

ParticipantKind = Literal["carrier", "declarant", "both"]
FactName = Annotated[str, Text(longest=64)]
Fact = bool | Annotated[int, Field(ge=-(10**15), le=10**15)] | float | Words | None

_EXAMPLE: dict[str, Any] = {
    "name": "ТОО «Пример Транс»",
    "kind": "carrier",
    "tax_id": "100140999011",
    "country": "KZ",
    "facts": {"authorised_operator": True, "years_in_fea": 11},
}


class ParticipantIn(Body):
    """A carrier or declarant. The facts decide the category; unknown ones are kept and named."""

    name: Name
    kind: ParticipantKind
    tax_id: Annotated[str, Text(longest=32, pattern=r"^\S+$")]
    country: Country
    facts: Annotated[dict[FactName, Fact], Field(max_length=100)] = Field(default_factory=dict)

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})


class CategoryReason(Answer):
    """Why a category was given: the rule, the fact it stands on, the words in ru, kk, en."""

    rule: str
    fact: str
    value: bool | int | float
    text: dict[str, str]


class CategoryOut(Answer):
    """The category by the seed's rules, with its reasons. Not shown to carriers."""

    level: Literal["low", "medium", "high"]
    reasons: list[CategoryReason]


class ParticipantOut(Answer):
    """A participant. ``facts`` and ``category`` are null for who may not see them."""

    id: UUID
    name: str
    kind: ParticipantKind
    tax_id: str
    country: str
    facts: dict[str, Fact] | None
    category: CategoryOut | None
    created_at: Moment
    warnings: list[Warning] = Field(default_factory=list)

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "6f0b7c52-6a53-4a3e-9a41-0a4f8f6f7d11",
                    **_EXAMPLE,
                    "category": {"level": "low", "reasons": []},
                    "created_at": "2026-03-01T08:00:00.000Z",
                    "warnings": [],
                }
            ]
        }
    )
