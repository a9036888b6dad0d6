"""What can be named in a plan: a model whose fields are parameters and whose doc explains it."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from firmware_sim.draft import Draft, Outcome, Planned
from firmware_sim.truth import DeviceScope, Expect

MINUTE_S = 60.0


class Behaviour(BaseModel):
    """Base of behaviours and plots: parameters are fields, the first doc line explains it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: ClassVar[str]

    @abstractmethod
    def apply(self, draft: Draft) -> Draft:
        """The draft with this worked in, its ground truth included."""

    def outcome(self) -> Outcome:
        """What it does to the delivery if a plan names it."""
        return Outcome()

    def told(self, at_m: float, *expects: Expect, **when: Any) -> Planned:
        """Its happening, under its name and with its parameters; `when`: fields of `Planned`."""
        params = self.model_dump(mode="json")
        return Planned(name=self.name, params=params, at_m=at_m, expects=expects, **when)


class Placed(Behaviour):
    """What begins somewhere on the way."""

    at: float = Field(0.5, ge=0, le=1, description="where, as a part of the way to be driven")


def must(code: str, device: DeviceScope | None = "any", **window: Any) -> Expect:
    """Has to be found; `window`: fields of `Expect`."""
    return Expect(code=code, kind="must", device=device, **window)


def may(*codes: str, device: DeviceScope | None = "any", **window: Any) -> tuple[Expect, ...]:
    """Right if found."""
    return tuple(Expect(code=code, kind="may", device=device, **window) for code in codes)


def never(*codes: str, device: DeviceScope | None = "any", **window: Any) -> tuple[Expect, ...]:
    """A false alarm if found."""
    return tuple(Expect(code=code, kind="must_not", device=device, **window) for code in codes)
