"""What all acts on a delivery share: taken once, by who may, on the version that was read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from fastapi.responses import JSONResponse
from pydantic import BaseModel

from tracker.api.creation import Creation, require_match
from tracker.api.deliveries import detail_of
from tracker.api.registering import backdating
from tracker.api.rights import require_sight
from tracker.api.schemas.deliveries import DeliveryDetail
from tracker.db import deliveries as store
from tracker.db.connect import WriteSession
from tracker.db.tables import Delivery
from tracker.db.users import CurrentUser
from tracker.deliveries import check_act_time
from tracker.errors import FieldError, NotFound
from tracker.model import ActKind
from tracker.settings import Settings


@dataclass(frozen=True, slots=True)
class Acting:
    """A person at a delivery that is locked against other acts until the transaction ends."""

    session: WriteSession
    user: CurrentUser
    delivery: Delivery
    config: Settings

    def when(self, at: datetime | None, *, after_release: bool = True) -> datetime:
        """When it happened, by default now.

        Raises:
            Invalid: at that time it cannot have happened.
        """
        now = datetime.now(UTC)
        given = at or now.replace(microsecond=now.microsecond // 1000 * 1000)
        check_act_time(
            given,
            now=now,
            backdating=backdating(self.config),
            not_before=self.delivery.released_at if after_release else None,
        )
        return given

    def record(self, kind: ActKind, at: datetime, data: dict[str, Any]) -> int:
        """Record the act and have the delivery judged again; the act's id."""
        return store.record_act(
            self.session,
            self.delivery.id,
            kind=kind,
            at=at,
            who=self.user.username,
            data=data,
        )

    def done(self, at: datetime, warnings: list[FieldError] | None = None) -> DeliveryDetail:
        """The delivery as it is now; others are told of it. Call it last."""
        detail = detail_of(self.session, self.user, self.delivery.id, warnings)
        store.announce(self.session, self.delivery, at)
        return detail


def opened(
    creating: Creation,
    user: CurrentUser,
    delivery_id: UUID,
    config: Settings,
    if_match: str | None,
) -> Acting:
    """The delivery, locked, if the user may know of it and has seen its newest version.

    Raises:
        NotFound: there is none, or none that the user may know of.
        LostUpdate: it has changed since it was read.
    """
    missing = f"no delivery {delivery_id}"
    delivery = store.locked(creating.session, delivery_id)
    if delivery is None:
        raise NotFound(missing)
    require_sight(user, delivery.carrier_id, missing)
    require_match(if_match, delivery.version)
    return Acting(creating.session, user, delivery, config)


def once(
    creating: Creation,
    delivery_id: UUID,
    body: BaseModel,
    act: Callable[[], BaseModel],
    status: int = 200,
) -> JSONResponse:
    """Take an act, once for each idempotency key."""
    address = f"/api/v1/deliveries/{delivery_id}"
    return creating.once(body, lambda: (act(), address), status=status)


def given(**values: Any) -> dict[str, Any]:
    """What was given; what was left out is not recorded as empty."""
    return {name: value for name, value in values.items() if value is not None}
