"""Stories that look bad or odd and are honest: what must not top the list."""

from __future__ import annotations

import math

from pydantic import Field

from firmware_sim.actions import Pulse, Sleep, Tell
from firmware_sim.behaviours.base import MINUTE_S, may, must, never
from firmware_sim.behaviours.gnss import AreaJamming
from firmware_sim.behaviours.power import CarriedAlong
from firmware_sim.behaviours.road import BadWeather, CreepingQueue, queued
from firmware_sim.behaviours.seal import card_hash
from firmware_sim.draft import Draft, PlannedAct
from firmware_sim.effects import change
from firmware_sim.errors import PlanError
from firmware_sim.geo import LonLat
from firmware_sim.plots.base import (
    PlacedPlot,
    Plot,
    detour_expects,
    excursion,
    incident,
    stop_expects,
)
from firmware_sim.truth import Expect

_LATE = may("late_risk", "overdue", device=None, after_s=math.inf)
_INTACT = never("seal_cut", "seal_body_open", "unauthorised_unlock", "separation")
_HOUR_S = 3600.0


class HonestDetour(PlacedPlot):
    """A closed road: the carrier reports the detour first, then takes it and comes back."""

    name = "honest_detour"
    km: float = Field(6.0, gt=0, le=100, description="how far off the route, km")
    notice_minutes: float = Field(10.0, ge=0, description="reported so long before, minutes")

    def apply(self, draft: Draft) -> Draft:
        """Reroutes, with the incident before it."""
        at_m = draft.at_m(self.at)
        draft, there_m = excursion(draft, at_m, self.km)
        report = incident(
            at_m,
            1,
            "дорога перекрыта, объезд",
            after_s=-self.notice_minutes * MINUTE_S,
        )
        told = self.told(
            at_m, *detour_expects(self.km), *_INTACT, *_LATE, to_m=there_m + 2 * self.km * 1000
        )
        return draft.with_act(report).with_happening(told)


class HonestBreakdown(PlacedPlot):
    """A breakdown on the road: hours of standing, the carrier reports it, the seal stays whole."""

    name = "honest_breakdown"
    hours: float = Field(4.0, gt=0.4, le=72, description="how long he stands, hours")
    notice_minutes: float = Field(15.0, ge=0, description="reported so long after, minutes")

    def apply(self, draft: Draft) -> Draft:
        """Adds the stop and the incident."""
        at_m = draft.at_m(self.at)
        report = incident(at_m, 5, "поломка, ждём ремонт", after_s=self.notice_minutes * MINUTE_S)
        told = self.told(
            at_m, *stop_expects(self.hours * 60), *_INTACT, *_LATE, duration_s=self.hours * _HOUR_S
        )
        return draft.with_stop(at_m, self.hours * 60).with_act(report).with_happening(told)


class BorderQueue(Plot):
    """Creeps for a day and more in the queue before the border at the end of the way."""

    name = "border_queue"
    hours: float = Field(30.0, gt=0, le=240, description="how long, hours")
    km: float = Field(3.0, gt=0.1, le=50, description="how long the queue is, km")

    def apply(self, draft: Draft) -> Draft:
        """Adds the queue before the end."""
        from_m = max(draft.start_m, draft.path.length_m - self.km * 1000)
        draft, from_m, to_m = queued(draft, from_m, self.hours, self.km, self.name)
        told = self.told(
            from_m,
            *may("unauthorised_stop", "overstay", "rendezvous", after_s=_HOUR_S),
            *_LATE,
            *_INTACT,
            *never("route_deviation", "silence", "spoofing_suspected"),
            to_m=to_m,
        )
        return draft.with_happening(told)


class JammedPark(PlacedPlot):
    """Rests in a lorry park where somebody jams: all who stand there have no fix."""

    name = "jammed_park"
    place: LonLat | None = Field(None, description="lon, lat of the park; none: at `at`")
    radius_km: float = Field(1.5, gt=0.1, le=20, description="how far the jamming reaches, km")
    minutes: float = Field(45.0, gt=0, description="how long he rests, minutes")

    def apply(self, draft: Draft) -> Draft:
        """Adds the area and the rest in it."""
        at_m = draft.at_m(self.at) if self.place is None else draft.path.nearest_m(self.place)[0]
        area = AreaJamming(at=self.at, place=self.place, radius_km=self.radius_km)
        draft = area.apply(draft).with_stop(at_m, self.minutes)
        told = self.told(
            at_m,
            must("jamming", before_s=900, after_s=900),
            *may("unauthorised_stop", "unloading_signature", "rendezvous"),
            *_INTACT,
            duration_s=self.minutes * MINUTE_S,
        )
        return draft.with_happening(told)


class LateHonest(PlacedPlot):
    """Snow and a long queue: the deadline passes, the goods arrive whole."""

    name = "late_honest"
    hours: float = Field(5.0, gt=0, le=96, description="how long the queue takes, hours")
    factor: float = Field(0.5, gt=0.1, le=1, description="speed in the snow, part of the usual")

    def apply(self, draft: Draft) -> Draft:
        """Adds snow and queue."""
        draft = BadWeather(from_h=0.2, hours=self.hours, factor=self.factor).apply(draft)
        draft = CreepingQueue(at=self.at, hours=self.hours, km=1.5).apply(draft)
        told = self.told(draft.start_m, *_LATE, *_INTACT, *never("route_deviation"))
        return draft.with_happening(told)


class HonestJam(PlacedPlot):
    """A traffic jam behind an accident: hours of creeping on the road."""

    name = "honest_jam"
    hours: float = Field(3.0, gt=0, le=48, description="how long, hours")
    km: float = Field(4.0, gt=0.1, le=50, description="how long it is, km")

    def apply(self, draft: Draft) -> Draft:
        """Adds the jam."""
        draft, from_m, to_m = queued(draft, draft.at_m(self.at), self.hours, self.km, self.name)
        told = self.told(
            from_m,
            *may("unauthorised_stop", "rendezvous", after_s=_HOUR_S),
            *_LATE,
            *_INTACT,
            *never("route_deviation", "silence", "spoofing_suspected"),
            to_m=to_m,
        )
        return draft.with_happening(told)


class Shuttle(PlacedPlot):
    """A ferry or a train takes the lorry along a part of the way, as is usual there."""

    name = "shuttle"
    km: float = Field(30.0, gt=1, le=1000, description="how far, km")
    wait_minutes: float = Field(14.0, ge=0, description="waiting to drive on, minutes")

    def apply(self, draft: Draft) -> Draft:
        """Adds the wait and the passage."""
        at_m = draft.at_m(self.at)
        if self.wait_minutes:
            draft = draft.with_stop(at_m, self.wait_minutes)
        draft = draft.with_slow(at_m + 1, min(at_m + self.km * 1000, draft.path.length_m), 45.0)
        told = self.told(at_m, *stop_expects(self.wait_minutes), *_INTACT)
        return CarriedAlong(at=draft.part(at_m + 1), km=self.km).apply(draft).with_happening(told)


class DeviceSwap(PlacedPlot):
    """An officer takes a failing seal off at a post on the way and puts another one on."""

    name = "device_swap"
    minutes: float = Field(14.0, ge=4, description="how long it takes, minutes")

    def apply(self, draft: Draft) -> Draft:
        """Retires the first seal and starts the second."""
        seals = draft.ids("seal")
        if len(seals) < 2:
            raise PlanError("device_swap needs two seals; add the new one to the vehicle's devices")
        old, new = f"id:{seals[0]}", f"id:{seals[1]}"
        at_m, half_s = draft.at_m(self.at), self.minutes * MINUTE_S / 2
        card = (("auth", "rfid"), ("card", card_hash("officer-1")))
        off = Tell(code="unsealed", extra=card, lock="open")
        on = Tell(code="sealed", extra=card, lock="locked")
        reseal = PlannedAct(
            kind="reseal",
            at_m=at_m,
            after_s=half_s,
            fields={"seals": [{"device_id": seals[1]}], "reason": "battery"},
        )
        told = self.told(
            at_m,
            *may("unauthorised_unlock", "unauthorised_stop", "overstay", "rendezvous"),
            *may("silence", after_s=math.inf),
            *never("seal_cut", "seal_body_open"),
            duration_s=self.minutes * MINUTE_S,
        )
        draft = draft.with_stop(at_m, self.minutes).with_effect(
            change(draft.start_m, to_m=at_m, devices=new, powered=False),
            change(at_m, devices=new, duration_s=half_s, powered=False),
            change(at_m, after_s=half_s, devices=old, alive=False, radio=False),
        )
        draft = draft.with_pulse(
            Pulse(at_m=at_m, action=off, after_s=half_s - 30, devices=old),
            Pulse(at_m=at_m, action=on, after_s=half_s + 60, devices=new),
        )
        return draft.with_act(reseal).with_happening(told)


class SleepySeal(Plot):
    """A seal that saves its battery: it sleeps again and again, each time as long as it said."""

    name = "sleepy_seal"
    minutes: float = Field(20.0, gt=1, le=720, description="how long each sleep is, minutes")
    awake_minutes: float = Field(2.0, gt=0.1, description="how long it is awake, minutes")
    times: int = Field(5, ge=1, le=500, description="how often")

    def apply(self, draft: Draft) -> Draft:
        """Adds the sleeps."""
        turn_s = (self.minutes + self.awake_minutes) * MINUTE_S
        pulse = Pulse(
            at_m=draft.start_m,
            action=Sleep(for_s=self.minutes * MINUTE_S),
            after_s=self.awake_minutes * MINUTE_S,
            devices="seal",
            times=self.times,
            every_s=turn_s,
        )
        told = self.told(
            draft.start_m,
            *never("silence", device="seal"),
            *_INTACT,
            duration_s=turn_s * self.times,
            devices="seal",
        )
        return draft.with_pulse(pulse).with_happening(told)


class HomeStop(PlacedPlot):
    """The driver's home lies by the road: he turns off, sleeps there, and drives on."""

    name = "home_stop"
    km: float = Field(2.0, gt=0.1, le=50, description="how far off the road it is, km")
    hours: float = Field(7.0, gt=0.4, le=48, description="how long he stays, hours")

    def apply(self, draft: Draft) -> Draft:
        """Reroutes to the home and back."""
        at_m = draft.at_m(self.at)
        draft, there_m = excursion(draft, at_m, self.km)
        told = self.told(
            there_m,
            *stop_expects(self.hours * 60),
            *_INTACT,
            *_LATE,
            duration_s=self.hours * _HOUR_S,
        )
        off_road = Expect(
            code="route_deviation",
            kind="must" if self.km >= 1.5 else "may",
            before_s=_HOUR_S,
            after_s=_HOUR_S,
        )
        away_ = self.told(there_m, off_road, duration_s=self.hours * _HOUR_S)
        return draft.with_stop(there_m, self.hours * 60).with_happening(told, away_)
