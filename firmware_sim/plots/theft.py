"""Stories in which the goods go: warehouses, dead zones, swaps, vanishing, feigned tracks."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from firmware_sim.actions import Pulse, Tell
from firmware_sim.behaviours.base import MINUTE_S, may, must, never
from firmware_sim.behaviours.seal import card_hash
from firmware_sim.draft import Draft, Outcome
from firmware_sim.effects import BatterySag, Broken, RadioOff, Ride, change
from firmware_sim.geo import LonLat, away
from firmware_sim.plots.base import (
    PlacedPlot,
    arrival,
    detour_expects,
    excursion,
    opened_case,
    stop_expects,
)
from firmware_sim.truth import Expect

_GONE = Outcome(nondelivery=True, goods_gone=True, honest=False, rank_high=True)
_NEVER_THERE = (
    Expect(code="non_arrival", kind="may", device=None, after_s=math.inf),
    Expect(code="overdue", kind="may", device=None, after_s=math.inf),
    Expect(code="late_risk", kind="may", device=None, after_s=math.inf),
    # Where nobody confirms an arrival, the silence after the end of the story is true.
    Expect(code="silence", kind="may", after_s=math.inf),
)
_LATE = may("late_risk", "overdue", device=None, after_s=math.inf)
# Hands need some minutes from the handbrake to the doors.
_TO_THE_DOORS_S = 300.0


class _Theft(PlacedPlot):
    def outcome(self) -> Outcome:
        """The goods, or a part of them, do not arrive."""
        return _GONE


class WarehouseDiversion(_Theft):
    """Leaves the road for a warehouse, is unloaded there, and goes on as if nothing had been."""

    name = "warehouse_diversion"
    at: float = Field(0.4, ge=0, le=1, description="where he leaves the road, part of the way")
    km: float = Field(8.0, gt=0, le=300, description="how far off the route, km")
    minutes: float = Field(75.0, ge=20, description="how long he is unloaded, minutes")
    entry: Literal["rope", "case", "none"] = Field(
        "rope", description="what of the seal is broken; none: the doors are taken off their hinges"
    )

    def apply(self, draft: Draft) -> Draft:
        """Reroutes through the warehouse."""
        from_m = draft.at_m(self.at)
        draft, there_m = excursion(draft, from_m, self.km)
        draft = draft.with_stop(there_m, self.minutes)
        around = self.told(from_m, *detour_expects(self.km), *_LATE, to_m=there_m + self.km * 1000)
        draft = draft.with_happening(around)
        found = [*stop_expects(self.minutes)]
        if self.entry != "none":
            code = "seal_cut" if self.entry == "rope" else "seal_body_open"
            found += [must(code, "seal"), must("unloading_signature", None)]
            part: Literal["rope", "case"] = "rope" if self.entry == "rope" else "case"
            draft = draft.with_effect(Broken(at_m=there_m, part=part, after_s=_TO_THE_DOORS_S))
        stop = self.told(there_m, *found, duration_s=self.minutes * MINUTE_S)
        return draft.with_happening(stop)


class DeadZoneUnloading(_Theft):
    """Is partly unloaded where there is no network: only the backlog tells of the open doors."""

    name = "dead_zone_unloading"
    minutes: float = Field(45.0, ge=20, description="how long he is unloaded, minutes")
    before_minutes: float = Field(12.0, ge=0, description="no network so long before the stop")

    def apply(self, draft: Draft) -> Draft:
        """Adds a gap with a stop in it."""
        at_m = draft.at_m(self.at)
        gap_m = max(draft.start_m, at_m - self.before_minutes / 60 * 75_000)
        long_s = self.minutes * MINUTE_S
        draft = draft.with_effect(
            RadioOff(at_m=gap_m, to_m=at_m + 15_000),
            *opened_case(at_m, _TO_THE_DOORS_S),
        ).with_stop(at_m, self.minutes)
        told = self.told(
            at_m,
            *stop_expects(self.minutes),
            must("seal_body_open", "seal"),
            must("unloading_signature", None),
            *never("silence", after_s=0),
            *_LATE,
            duration_s=long_s,
        )
        return draft.with_happening(told)


class SealMoved(_Theft):
    """The seal goes on to the destination on another lorry; the goods leave the road."""

    name = "seal_moved"
    minutes: float = Field(20.0, ge=5, description="stop for moving it, minutes")
    km: float = Field(25.0, gt=2, le=300, description="how far off the route the goods go, km")

    def apply(self, draft: Draft) -> Draft:
        """Puts the seal on another lorry and sends the vehicle away."""
        draft.first("seal", self.name)
        draft.first("gps", self.name)
        at_m = draft.at_m(self.at)
        declared = draft.path.cut(at_m, draft.path.length_m)[1:]
        half_s = self.minutes * MINUTE_S / 2
        draft, _ = excursion(draft, at_m, self.km, returns=False)
        draft = draft.with_stop(at_m, self.minutes)
        moved = Ride(
            at_m=at_m,
            after_s=half_s,
            devices="seal",
            points=tuple(declared),
            stops=((1.0, half_s),),
        )
        told = self.told(
            at_m,
            must("separation", None),
            Expect(code="route_deviation", device="gps"),
            *stop_expects(self.minutes),
            *may("unloading_signature", "spoofing_suspected", "wrong_direction"),
            *may("unauthorised_stop", "arrival_mismatch"),
            *_NEVER_THERE,
        )
        return draft.with_effect(moved).with_happening(told)


class Transloading(_Theft):
    """Meets another lorry beside the road, and the goods are loaded over.

    Two vehicles of a plan meet if both have this plot with the same `place`: the one that is early
    waits until `until_minutes` after its own departure.
    """

    name = "transloading"
    place: LonLat | None = Field(
        None, description="lon, lat of the meeting, within 5 km of the route; none: at `at`"
    )
    minutes: float = Field(45.0, ge=20, description="how long at least, minutes")
    until_minutes: float | None = Field(
        None, gt=0, description="stays until so long after the departure, minutes"
    )
    partner: bool = Field(False, description="the other lorry is a delivery of its own")
    opens: bool = Field(True, description="this lorry's seal is opened")

    def apply(self, draft: Draft) -> Draft:
        """Adds the meeting."""
        at_m = draft.at_m(self.at) if self.place is None else draft.path.nearest_m(self.place)[0]
        until_ms = None
        if self.until_minutes is not None:
            until_ms = draft.start_ms + round(self.until_minutes * 60_000)
        if self.place is not None and draft.path.nearest_m(self.place)[1] > 50:
            draft = draft.with_excursion(at_m, [self.place], at_m)
            at_m = draft.path.nearest_m(self.place)[0]
        draft = draft.with_stop(at_m, self.minutes, until_ms=until_ms)
        found = [*stop_expects(self.minutes)]
        found += [must("rendezvous")] if self.partner else [*may("rendezvous")]
        if self.opens:
            draft = draft.with_effect(*opened_case(at_m, _TO_THE_DOORS_S))
            found += [must("seal_body_open", "seal"), must("unloading_signature", None)]
        found += [*_LATE, *may("route_deviation")]
        return draft.with_happening(self.told(at_m, *found, duration_s=self.minutes * MINUTE_S))


class Vanishes(_Theft):
    """The delivery that just stops: off the road, both devices are smashed, and nothing follows."""

    name = "vanishes"
    at: float = Field(0.6, ge=0, le=1, description="where he leaves the road, part of the way")
    km: float = Field(5.0, gt=0, le=100, description="how far off the road, km")

    def apply(self, draft: Draft) -> Draft:
        """Ends the trip off the road, and its devices' lives shortly after."""
        from_m = draft.at_m(self.at)
        draft, _ = excursion(draft, from_m, self.km, returns=False)
        end_m = draft.path.length_m
        smashed = change(end_m - 200.0, after_s=60.0, alive=False, radio=False)
        around = self.told(from_m, *detour_expects(self.km), *_NEVER_THERE)
        silent = self.told(
            end_m - 200.0,
            Expect(code="silence", after_s=math.inf),
            *may("unauthorised_stop"),
            after_s=60.0,
        )
        return draft.with_effect(smashed).with_happening(around, silent)


class GoodsGoneAtArrival(_Theft):
    """Arrives with a whole-looking seal that was opened on the way; the goods are gone."""

    name = "goods_gone_at_arrival"
    minutes: float = Field(50.0, ge=20, description="stop in which they go, minutes")

    def apply(self, draft: Draft) -> Draft:
        """Adds the stop, the opened case, and an arrival that finds all in order."""
        at_m = draft.at_m(self.at)
        open_minutes = self.minutes - 10
        draft = (
            draft.with_stop(at_m, self.minutes)
            .with_effect(*opened_case(at_m, _TO_THE_DOORS_S, open_minutes))
            .with_act(arrival(draft, state="intact", remarks="seals whole, no inspection"))
        )
        return draft.with_happening(
            self.told(
                at_m,
                *stop_expects(self.minutes),
                must("seal_body_open", "seal"),
                must("unloading_signature", None),
                Expect(code="arrival_mismatch", device=None, after_s=math.inf),
                *may("seal_state_conflict", after_s=math.inf),
                *_LATE,
                duration_s=self.minutes * MINUTE_S,
            )
        )


class NightReseal(_Theft):
    """A night stop: somebody opens the seal with a copied card, unloads, and seals it again."""

    name = "night_reseal"
    minutes: float = Field(120.0, ge=30, description="how long he stands, minutes")

    def apply(self, draft: Draft) -> Draft:
        """Adds the stop with unlocking, open case and a new sealing."""
        at_m, long_s = draft.at_m(self.at), self.minutes * MINUTE_S
        card = (("auth", "rfid"), ("card", card_hash("copied")))
        open_s, close_s = _TO_THE_DOORS_S, long_s - _TO_THE_DOORS_S
        pulses = (
            _seal_told(at_m, Tell(code="unlock_ok", extra=card), open_s),
            _seal_told(at_m, Tell(code="unsealed", extra=card, lock="open"), open_s + 10),
            _seal_told(at_m, Tell(code="sealed", extra=card, lock="locked"), close_s + 60),
        )
        case = opened_case(at_m, open_s + 60, (close_s - open_s - 60) / MINUTE_S)
        told = self.told(
            at_m,
            *stop_expects(self.minutes),
            must("unauthorised_unlock", "seal"),
            must("seal_body_open", "seal"),
            must("unloading_signature", None),
            *may("seal_state_conflict", after_s=math.inf),
            *_LATE,
            duration_s=long_s,
        )
        draft = draft.with_stop(at_m, self.minutes).with_effect(*case)
        return draft.with_pulse(*pulses).with_happening(told)


class SpoofedTrack(_Theft):
    """A spoofer plays the declared route to all receivers while the lorry drives to a warehouse."""

    name = "spoofed_track"
    at: float = Field(0.4, ge=0, le=1, description="where he leaves the road, part of the way")
    km: float = Field(15.0, gt=2, le=300, description="how far off the warehouse is, km")
    minutes: float = Field(60.0, ge=20, description="how long he is unloaded, minutes")

    def apply(self, draft: Draft) -> Draft:
        """Sends the vehicle away under a feigned track."""
        at_m = draft.at_m(self.at)
        declared = tuple(draft.path.cut(at_m, draft.path.length_m)[1:])
        draft, there_m = excursion(draft, at_m, self.km)
        told = self.told(
            at_m,
            Expect(code="spoofing_suspected", after_s=1800),
            *may("late_risk", "route_deviation", "unauthorised_stop", "separation"),
            to_m=draft.path.length_m,
        )
        feigned = Ride(at_m=at_m, points=declared, feigned=True)
        return draft.with_stop(there_m, self.minutes).with_effect(feigned).with_happening(told)


class BatteryRuse(_Theft):
    """The seal's battery "dies", and a little later the goods are unloaded."""

    name = "battery_ruse"
    at: float = Field(0.3, ge=0, le=1, description="where the battery begins to fall")
    sag_minutes: float = Field(25.0, gt=0, description="from full to dead, minutes")
    minutes: float = Field(50.0, ge=20, description="how long he is unloaded, minutes")

    def apply(self, draft: Draft) -> Draft:
        """Adds the death and the stop behind it."""
        at_m = draft.at_m(self.at)
        # By the time he stands there the battery has been dead for some minutes.
        there_m = min(at_m + (self.sag_minutes + 10) / 60 * 80_000, draft.at_m(0.95))
        dying = self.told(
            at_m,
            must("battery_low", "seal"),
            Expect(code="silence", device="seal", after_s=math.inf),
            duration_s=self.sag_minutes * MINUTE_S,
            devices="seal",
        )
        standing = self.told(
            there_m,
            *stop_expects(self.minutes),
            must("unloading_signature", None),
            *_LATE,
            duration_s=self.minutes * MINUTE_S,
        )
        sag = BatterySag(at_m=at_m, sag_s=self.sag_minutes * MINUTE_S)
        draft = draft.with_effect(sag).with_stop(there_m, self.minutes)
        return draft.with_happening(dying, standing)


class FaradayBag(_Theft):
    """A bag over the seal: neither network nor satellites while the goods are unloaded."""

    name = "faraday_bag"
    minutes: float = Field(40.0, ge=20, description="how long he stands, minutes")

    def apply(self, draft: Draft) -> Draft:
        """Adds the bag from before the stop until after it."""
        at_m, long_s = draft.at_m(self.at), self.minutes * MINUTE_S
        bag_m = max(draft.start_m, at_m - 3_000.0)
        bag = {"devices": "seal", "to_m": at_m + 2_000.0}
        draft = draft.with_effect(
            RadioOff(at_m=bag_m, **bag),  # type: ignore[arg-type]
            change(bag_m, reception="none", **bag),  # type: ignore[arg-type]
        ).with_stop(at_m, self.minutes)
        told = self.told(
            at_m,
            *stop_expects(self.minutes),
            *may("jamming", "separation", "unloading_signature", "silence"),
            *_LATE,
            duration_s=long_s,
        )
        return draft.with_happening(told)


class ConvoySwap(_Theft):
    """Two lorries rest at a fuel station; the seal goes on with the other one, half an hour later.

    Both drive to the destination, so each track for itself looks right.
    """

    name = "convoy_swap"
    minutes: float = Field(25.0, ge=10, description="how long they rest together, minutes")
    later_minutes: float = Field(30.0, ge=8, description="the other lorry leaves so much later")

    def apply(self, draft: Draft) -> Draft:
        """Puts the seal on a lorry that leaves later."""
        draft.first("seal", self.name)
        draft.first("gps", self.name)
        at_m, half_s = draft.at_m(self.at), self.minutes * MINUTE_S / 2
        rest = tuple(draft.path.cut(at_m, draft.path.length_m)[1:])
        other = Ride(
            at_m=at_m,
            after_s=half_s,
            devices="seal",
            points=rest,
            stops=((1.0, half_s + self.later_minutes * MINUTE_S),),
        )
        told = self.told(
            at_m,
            must("separation", None, after_s=self.later_minutes * MINUTE_S + 1800),
            *stop_expects(self.minutes),
            *may("unauthorised_stop", "unloading_signature", "arrival_mismatch"),
            *may("rendezvous", "silence"),
            *_LATE,
            duration_s=self.minutes * MINUTE_S,
        )
        return draft.with_stop(at_m, self.minutes).with_effect(other).with_happening(told)


class WrongPost(PlacedPlot):
    """Drives to another post than the declared one and reports its arrival there."""

    name = "wrong_post"
    at: float = Field(0.8, ge=0, le=1, description="where he leaves the road, part of the way")
    km: float = Field(12.0, gt=2, le=300, description="how far off the other post is, km")

    def apply(self, draft: Draft) -> Draft:
        """Ends the trip at the other post."""
        at_m = draft.at_m(self.at)
        draft, _ = excursion(draft, at_m, self.km, returns=False)
        told = self.told(
            at_m,
            *detour_expects(self.km),
            Expect(code="arrival_mismatch", device=None, after_s=math.inf),
            *may("unauthorised_stop", after_s=math.inf),
            *_NEVER_THERE,
        )
        return draft.with_act(arrival(draft, state="intact")).with_happening(told)

    def outcome(self) -> Outcome:
        """The goods are whole, and not where they are to be."""
        return Outcome(nondelivery=True, honest=False, rank_high=True)


class SoldAcrossBorder(_Theft):
    """Turns round, drives back past the departure and sells the goods beyond the border."""

    name = "sold_across_border"
    beyond_km: float = Field(8.0, gt=0, le=200, description="how far behind the start he ends, km")

    def apply(self, draft: Draft) -> Draft:
        """Drives back the way it came and on."""
        at_m = draft.at_m(self.at)
        start = draft.path.at(0.0)
        beyond = away((start.lon, start.lat), start.heading_deg + 180.0, self.beyond_km * 1000)
        back = [*reversed(draft.path.cut(0.0, at_m)[:-1]), beyond]
        # Two lanes: the way back runs a few metres beside the way there.
        points = [away(point, 90.0, 8.0) for point in back]
        draft = draft.with_excursion(at_m, points, None)
        told = self.told(
            at_m,
            Expect(code="wrong_direction", after_s=math.inf),
            Expect(code="route_deviation", kind="must" if self.beyond_km >= 3 else "may"),
            *may("border_exit", "unauthorised_stop", "overstay", "checkpoint_missed"),
            *_NEVER_THERE,
        )
        return draft.with_happening(told)


def _seal_told(at_m: float, tell: Tell, after_s: float) -> Pulse:
    return Pulse(at_m=at_m, action=tell, after_s=after_s, devices="seal")
