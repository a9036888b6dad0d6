"""The road and the driver: rests, night, weather, slow stretches, creeping queues, trailers."""

from __future__ import annotations

from dataclasses import replace

from pydantic import Field

from firmware_sim.behaviours.base import MINUTE_S, Behaviour, Placed, may, must, never
from firmware_sim.draft import Draft, Outcome
from firmware_sim.effects import Left
from firmware_sim.errors import PlanError
from firmware_sim.trip import Rests, Weather

_HOUR_S = 3600.0
# A lorry in a queue moves up by its own length and a gap, or by a few.
_CREEP_M = (20.0, 60.0)
_MAX_PLACE_OFF_M = 2_000.0


class TachographRests(Behaviour):
    """The driver keeps his hours: 45 min after 4.5 h of driving, 11 h after 9 h in a day."""

    name = "tachograph"
    places: tuple[tuple[float, float], ...] = Field(
        (), description="parkings (lon, lat) within 2 km of the way; else he stops on the road"
    )

    def apply(self, draft: Draft) -> Draft:
        """Sets the rules."""
        along: list[float] = []
        for place in self.places:
            along_m, off_m = draft.path.nearest_m(place)
            if off_m > _MAX_PLACE_OFF_M:
                raise PlanError(
                    f"parking {place[0]},{place[1]} lies {off_m / 1000:.0f} km off the way; "
                    "give one within 2 km of it"
                )
            along.append(along_m)
        return replace(draft, rests=Rests(places=tuple(sorted(along))))


class NightDriving(Behaviour):
    """From 22 to 6 o'clock (UTC+5) the driver goes slower."""

    name = "night_driving"
    factor: float = Field(0.85, gt=0.1, le=1, description="part of the speed by day")

    def apply(self, draft: Draft) -> Draft:
        """Sets the factor."""
        return replace(draft, night_factor=self.factor)


class BadWeather(Behaviour):
    """Snow, fog or dust slows everything down for some hours."""

    name = "bad_weather"
    from_h: float = Field(0.5, ge=0, description="begins so long after the departure, hours")
    hours: float = Field(2.0, gt=0, description="how long, hours")
    factor: float = Field(0.45, gt=0.1, le=1, description="part of the usual speed")

    def apply(self, draft: Draft) -> Draft:
        """Adds the spell."""
        spell = Weather(
            from_s=self.from_h * _HOUR_S,
            to_s=(self.from_h + self.hours) * _HOUR_S,
            factor=self.factor,
        )
        told = self.told(
            draft.start_m,
            *never("route_deviation", "silence"),
            *may("late_risk", device=None),
            after_s=spell.from_s,
            duration_s=self.hours * _HOUR_S,
        )
        return replace(draft, weather=(*draft.weather, spell)).with_happening(told)


class SlowRoad(Placed):
    """A part of the way with a limit of its own: roadworks, a pass, a bad surface."""

    name = "slow_road"
    km: float = Field(15.0, gt=0, le=2000, description="how long, km")
    limit_kmh: float = Field(40.0, gt=3, le=80, description="the limit, km/h")

    def apply(self, draft: Draft) -> Draft:
        """Adds the limit."""
        at_m = draft.at_m(self.at)
        to_m = min(at_m + self.km * 1000, draft.path.length_m)
        told = self.told(at_m, *never("unauthorised_stop"), to_m=to_m)
        return draft.with_slow(at_m, to_m, self.limit_kmh).with_happening(told)


class CreepingQueue(Placed):
    """A queue: stand, move up by a few lengths, stand again, for hours."""

    name = "queue"
    hours: float = Field(3.0, gt=0, le=240, description="how long, hours")
    km: float = Field(2.0, gt=0.05, le=50, description="how long the queue is, km")

    def apply(self, draft: Draft) -> Draft:
        """Adds the stops of the queue, which end together with it."""
        draft, from_m, to_m = queued(draft, draft.at_m(self.at), self.hours, self.km, self.name)
        told = self.told(
            from_m,
            *may("unauthorised_stop", "overstay", "rendezvous", after_s=3600),
            *may("late_risk", "overdue", device=None, after_s=24 * 3600),
            *never("route_deviation", "silence", "spoofing_suspected"),
            to_m=to_m,
        )
        return draft.with_happening(told)


class TrailerSwap(Placed):
    """The trailer with the sealed goods is left in a yard and the lorry drives on without it."""

    name = "trailer_swap"
    stop_minutes: float = Field(20.0, gt=0, description="stop for unhitching, minutes")

    def apply(self, draft: Draft) -> Draft:
        """Leaves the seal behind in the middle of the stop."""
        at_m, after_s = draft.at_m(self.at), self.stop_minutes * 30
        found = (must("unauthorised_stop"),) if self.stop_minutes >= 18 else ()
        told = self.told(
            at_m,
            must("separation", None),
            *found,
            *may("unauthorised_stop", "route_deviation", "late_risk", "unloading_signature"),
            *may("rendezvous"),
            after_s=after_s,
        )
        left = Left(at_m=at_m, after_s=after_s, devices="seal")
        return draft.with_stop(at_m, self.stop_minutes).with_effect(left).with_happening(told)

    def outcome(self) -> Outcome:
        """The goods stay where they are not to be."""
        return Outcome(nondelivery=True, goods_gone=True, honest=False, rank_high=True)


def queued(
    draft: Draft, at_m: float, hours: float, km: float, name: str
) -> tuple[Draft, float, float]:
    """The draft with a creeping queue before `at_m`'s end: (draft, from, to) in metres."""
    to_m = min(at_m + km * 1000, draft.path.length_m - 1.0)
    from_m = max(draft.start_m, to_m - km * 1000)
    rng = draft.rng(f"{name}/{at_m:.0f}")
    places: list[float] = []
    place_m = from_m
    while place_m < to_m:
        places.append(place_m)
        place_m += rng.uniform(*_CREEP_M)
    # Most waits are short and a few are long, as when a shift changes.
    waits = [rng.expovariate(1.0) for _ in places]
    scale_s = hours * _HOUR_S / sum(waits)
    for place, wait in zip(places, waits, strict=True):
        draft = draft.with_stop(place, wait * scale_s / MINUTE_S)
    return draft, from_m, to_m
