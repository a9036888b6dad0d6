"""Dated settings: thresholds for the country, a post, a lane, one delivery, from a time on."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse
from pydantic import AwareDatetime

from tracker.api.creation import Creating
from tracker.api.deliveries import require_delivery
from tracker.api.deps import Config, Cursor, Limit, Reading, may
from tracker.api.described import refusals
from tracker.api.registering import backdating
from tracker.api.schemas.common import Page as Listed
from tracker.api.schemas.settings import (
    DeliveryLimitsOut,
    LimitName,
    LimitSettingIn,
    LimitSettingMade,
    LimitSettingOut,
    LimitVersionOut,
    ScopeName,
)
from tracker.db import limit_settings as store
from tracker.db.connect import raw
from tracker.db.reading import Page, decode_cursor, int64
from tracker.db.users import CurrentUser
from tracker.deliveries import BACKDATING_SETTING
from tracker.detectors.limits import Limits, bounds_of, checked, rules_of, version_of
from tracker.errors import FieldError, Invalid, NotFound
from tracker.model import from_ms, to_ms
from tracker.settings import Settings

router = APIRouter(prefix="/api/v1", tags=["settings"], responses=refusals(404, 409))
Word = Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]*$")]


@router.get("/settings/limits")
def list_limits(
    user: Annotated[CurrentUser, may("settings.read")],
    session: Reading,
    scope: ScopeName | None = None,
    key: Word = None,
    name: Word = None,
    at: Annotated[AwareDatetime | None, Query(description="In force by then.")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Listed[LimitSettingOut]:
    """Settings of thresholds, the last entered first."""
    page = Page(limit=limit, after=decode_cursor(cursor, int64))
    rows, following = store.list_settings(
        raw(session), page, scope=scope, key=key, name=name, at=at
    )
    return Listed(items=[LimitSettingOut(**row) for row in rows], next=following)


@router.post("/settings/limits", status_code=201, response_model=LimitSettingMade)
def set_limits(
    user: Annotated[CurrentUser, may("settings.change")],
    body: LimitSettingIn,
    creating: Creating,
    config: Config,
) -> JSONResponse:
    """Set thresholds from a time on. All deliveries that it concerns are judged again."""

    def make() -> tuple[LimitSettingMade, str]:
        conn = raw(creating.session)
        values = fit(conn, body, config)
        row, concerned = store.add_setting(
            conn,
            scope=body.scope,
            key=body.key or "",
            from_t=body.from_,
            values=values,
            reason=body.reason,
            who=user.username,
        )
        made = LimitSettingMade(**row, deliveries_judged_again=concerned)
        return made, f"/api/v1/settings/limits?scope={body.scope}"

    return creating.once(body, make)


def fit(conn: store.Connection, body: LimitSettingIn, config: Settings) -> dict[str, Any]:
    """The values, after all checks.

    Raises:
        Invalid: naming the field and the remedy.
    """
    now = datetime.now(UTC)
    if body.from_ < now - backdating(config):
        text = f"lies more than {config.backdating_days:g} days back; {BACKDATING_SETTING}"
        raise Invalid.field("body", "from", msg=f"{text} sets how far")
    key = body.key or ""
    if body.scope != "national" and not store.key_exists(conn, body.scope, key):
        what = {"post": "post", "lane": "pair of posts", "delivery": "delivery"}[body.scope]
        raise Invalid.field("body", "key", msg=f"there is no {what} {key!r}; check it")
    base = store.in_force_of_scope(conn, body.scope, key, body.from_)
    try:
        return checked(body.values, base)
    except Invalid as exc:
        found = [FieldError(("body", *error.loc), error.msg) for error in exc.errors]
        raise Invalid(str(exc), found) from exc


@router.get("/settings/limits/names")
def list_names(user: Annotated[CurrentUser, may("settings.read")]) -> Listed[LimitName]:
    """Every threshold, its published value, and what it may be set to."""
    items = []
    for name, value in msgspec.to_builtins(Limits()).items():
        least, most, unit = bounds_of(name)
        items.append(
            LimitName(
                name=name,
                codes=rules_of(name),
                default=value,
                least=least,
                most=most,
                unit=unit,
            )
        )
    return Listed(items=items)


@router.get("/settings/limits/versions/{version}")
def get_version(
    user: Annotated[CurrentUser, may("settings.read")], version: str, session: Reading
) -> LimitVersionOut:
    """All thresholds behind the `settings_version` of a finding."""
    found = store.read_version(raw(session), version)
    if found is None and version == version_of(Limits()):
        return LimitVersionOut(
            version=version, first_used_at=None, values=msgspec.to_builtins(Limits()), later=[]
        )
    if found is None:
        raise NotFound(f"no finding was made with thresholds {version!r}")
    known, first_used_at = found
    return LimitVersionOut.model_validate(
        {
            "version": version,
            "first_used_at": first_used_at,
            "values": msgspec.to_builtins(known.first),
            "later": [
                {"from": from_ms(t_ms), "values": msgspec.to_builtins(limits)}
                for t_ms, limits in known.later
            ],
        }
    )


@router.get("/deliveries/{delivery_id}/limits")
def get_delivery_limits(
    user: Annotated[CurrentUser, may("settings.read")],
    delivery_id: UUID,
    session: Reading,
    at: Annotated[AwareDatetime | None, Query(description="By default now.")] = None,
) -> DeliveryLimitsOut:
    """The thresholds in force for a delivery at a time, and where they come from."""
    require_delivery(session, user, delivery_id)
    when = at or datetime.now(UTC)
    known, rows = store.in_force_of(raw(session), delivery_id)
    return DeliveryLimitsOut.model_validate(
        {
            "delivery_id": delivery_id,
            "at": when,
            "version": known.version,
            "values": msgspec.to_builtins(known.at(to_ms(when))),
            "settings": [row for row in rows if datetime.fromisoformat(row["from"]) <= when],
        }
    )
