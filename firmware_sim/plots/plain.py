"""The plain stories: an honest drive, a detour, a stop."""

from __future__ import annotations

from pydantic import Field

from firmware_sim.behaviours.base import may, never
from firmware_sim.draft import Draft, Outcome
from firmware_sim.plots.base import PlacedPlot, Plot, detour_expects, excursion, stop_expects


class Honest(Plot):
    """Drives the route with the vehicle's planned stops and does nothing wrong."""

    name = "honest"

    def apply(self, draft: Draft) -> Draft:
        """Changes nothing."""
        quiet = never(
            *("route_deviation", "wrong_direction", "unauthorised_stop", "silence", "separation"),
            *("seal_cut", "seal_body_open", "unauthorised_unlock", "seal_fault", "jamming"),
            *("spoofing_suspected", "power_cut", "battery_low", "clock_fault"),
            *("identity_conflict", "sequence_gap", "rendezvous", "unloading_signature"),
        )
        return draft.with_happening(self.told(draft.start_m, *quiet))


class Diversion(PlacedPlot):
    """Leaves the route by at least `km`, stands there if told to, and comes back or does not."""

    name = "diversion"
    km: float = Field(10.0, gt=0, le=300, description="how far off the route, km")
    returns: bool = Field(True, description="false: the trip ends at the far point")
    stop_minutes: float = Field(0.0, ge=0, description="stop at the far point, minutes")

    def apply(self, draft: Draft) -> Draft:
        """Reroutes the trip through the far point."""
        from_m, before_m = draft.at_m(self.at), draft.path.length_m
        rerouted, there_m = excursion(draft, from_m, self.km, returns=self.returns)
        expects = [*detour_expects(self.km), *may("late_risk", "wrong_direction", device=None)]
        if self.stop_minutes:
            expects += stop_expects(self.stop_minutes)
        if not self.returns:
            expects += [*may("unauthorised_stop"), *may("non_arrival", "overdue", device=None)]
            told = self.told(from_m, *expects)
            return rerouted.with_happening(told)
        # Back on the road it is as long as it was, but for what the rerouting added.
        rest_m = before_m - from_m
        back_m = rerouted.path.length_m - (rest_m - min(2 * self.km * 1000, 0.5 * rest_m))
        rerouted = rerouted.with_happening(self.told(from_m, *expects, to_m=back_m))
        return rerouted.with_stop(there_m, self.stop_minutes) if self.stop_minutes else rerouted

    def outcome(self) -> Outcome:
        """Who does not come back has not delivered."""
        gone = not self.returns
        return Outcome(nondelivery=gone, goods_gone=gone, honest=False, rank_high=True)


class UnauthorisedStop(PlacedPlot):
    """Stands on the route for `minutes`, away from any planned stop."""

    name = "unauthorised_stop"
    minutes: float = Field(25.0, gt=0, description="how long, minutes")

    def apply(self, draft: Draft) -> Draft:
        """Adds the stop."""
        at_m = draft.at_m(self.at)
        told = self.told(at_m, *stop_expects(self.minutes), duration_s=self.minutes * 60)
        return draft.with_stop(at_m, self.minutes).with_happening(told)

    def outcome(self) -> Outcome:
        """Nothing shows that anything was taken, and nobody was told."""
        return Outcome(honest=False)
