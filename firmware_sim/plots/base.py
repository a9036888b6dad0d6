"""What plots share: a whole story is made of behaviours, reroutings, stops and acts of people."""

from __future__ import annotations

import math
from typing import Any

from pydantic import Field

from firmware_sim.behaviours.base import MINUTE_S, Behaviour, must
from firmware_sim.draft import AT_ARRIVAL, Draft, PlannedAct
from firmware_sim.effects import Broken, change
from firmware_sim.errors import PlanError
from firmware_sim.geo import LonLat, Path, away
from firmware_sim.truth import Expect

# A stop of a quarter of an hour is a stop by the contract; noise must not decide over it.
STOP_COUNTS_MIN = 18.0
# Default corridor 1,000 m to each side; nearer detours may stay within.
DETOUR_COUNTS_KM = 1.5


class Plot(Behaviour):
    """A whole story. Its parameters are fields, the first doc line explains it."""


class PlacedPlot(Plot):
    """A story that turns at some place on the way."""

    at: float = Field(0.5, ge=0, le=1, description="where, as a part of the way to be driven")


def stop_expects(minutes: float) -> tuple[Expect, ...]:
    """What a stop on the open road is to give; others may stand there too, whoever they are."""
    beside = Expect(code="rendezvous", kind="may")
    if minutes >= STOP_COUNTS_MIN:
        return (must("unauthorised_stop"), beside)
    return (Expect(code="unauthorised_stop", kind="may"), beside)


def detour_expects(km: float) -> tuple[Expect, ...]:
    """What leaving the route by so much is to give."""
    kind: Any = "must" if km >= DETOUR_COUNTS_KM else "may"
    return (
        Expect(code="route_deviation", kind=kind),
        Expect(code="checkpoint_missed", kind="may", after_s=24 * 3600),
        Expect(code="restricted_zone", kind="may"),
    )


def opened_case(
    at_m: float, after_s: float, minutes: float | None = None
) -> tuple[Broken | Any, ...]:
    """The seal's case is opened, and closed again after so many minutes if given."""
    if minutes is None:
        return (Broken(at_m=at_m, part="case", after_s=after_s),)
    long_s = minutes * MINUTE_S
    return (change(at_m, devices="seal", after_s=after_s, duration_s=long_s, case="open"),)


def excursion(draft: Draft, at_m: float, km: float, *, returns: bool = True) -> tuple[Draft, float]:
    """Leave the way by `km` and come back or not: (draft, metres of the far point)."""
    rest_m = draft.path.length_m - at_m
    to_m = at_m + min(2 * km * 1000, 0.5 * rest_m)
    far = far_point(draft.path, (at_m + to_m) / 2, km * 1000)
    there_m = Path([*draft.path.cut(0.0, at_m), far]).length_m
    return draft.with_excursion(at_m, [far], to_m if returns else None), there_m


def far_point(path: Path, middle_m: float, off_m: float) -> LonLat:
    """A point beside the path, at least `off_m` from the whole of it and as little more as can be.

    On a winding road a point straight beside one bend may lie close to the next; hence the search.
    """
    spot = path.at(middle_m)
    for stretch in range(30):
        for side in (90.0, -90.0):
            by_m = off_m * math.pow(1.03, stretch) + 5.0
            point = away((spot.lon, spot.lat), spot.heading_deg + side, by_m)
            if path.nearest_m(point)[1] >= off_m:
                return point
    raise PlanError(
        f"no place {off_m / 1000:g} km off the route was found beside it; "
        "give a smaller km or another at"
    )


def arrival(
    draft: Draft, *, state: str, after_s: float = 1200.0, remarks: str | None = None
) -> PlannedAct:
    """An officer confirms the arrival and finds the seals in this state."""
    seals = [{"device_id": id_, "state": state} for id_ in draft.ids("seal")]
    fields: dict[str, Any] = {"seals": seals}
    if remarks is not None:
        fields["remarks"] = remarks
    return PlannedAct(kind="arrival", at_m=AT_ARRIVAL, after_s=after_s, fields=fields)


def incident(at_m: float, code: int, text: str, *, after_s: float) -> PlannedAct:
    """The carrier reports an incident of this NCTS code at the vehicle's place."""
    return PlannedAct(
        kind="incident", at_m=at_m, after_s=after_s, fields={"code": code, "text": text}
    )
