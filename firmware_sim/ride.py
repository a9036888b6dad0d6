"""A delivery as the run plays it: the vehicle on its road, and what people do about it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from firmware_sim.build import build_vehicle
from firmware_sim.cast import Cast, Role
from firmware_sim.geo import distance_m
from firmware_sim.plan import DevicePlan, KeyPlan, VehiclePlan
from firmware_sim.truth import Act
from firmware_sim.vehicle import Mount, Vehicle
from firmware_sim.wire import Key, Message

# The zone of a post is a circle of 500 m unless it has one of its own.
_AT_POST_M = 1_000.0
# Shorter stands are of no interest to anybody.
_STOOD_MS = 900_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """An act with the call that records it. `path`: the last part of the call's address."""

    path: str
    act: Act | None
    at_ms: int
    position: tuple[float, float] | None = None
    fields: dict[str, Any] | None = None


class Ride:
    """Plays a role. An actor of the run; its acts become known as time goes on."""

    def __init__(self, role: Role, vehicle: Vehicle, *, leaves_at_m: Sequence[float] = ()) -> None:
        """`leaves_at_m`: where on its path it leaves the declared corridor, metres driven."""
        self.role = role
        self.vehicle = vehicle
        self.label = vehicle.label
        self.start_ms = vehicle.start_ms
        self.driven_m = 0.0
        self.off_road_ms: list[int] = []
        self.stood_ms: list[tuple[int, int]] = []
        self._leaves_at_m = deque(leaves_at_m)
        self._still_ms: int | None = None
        self._start_odo_m = vehicle.truth.odo_m
        self._due = sorted(role.others, key=lambda due: due.after_s)
        self._done: list[Act] = []

    @property
    def mounts(self) -> Sequence[Mount]:
        """Its devices."""
        return self.vehicle.mounts

    @property
    def now_ms(self) -> int:
        """True time it has reached."""
        return self.vehicle.now_ms

    @property
    def next_ms(self) -> int:
        """True time of its next tick."""
        return self.vehicle.next_ms

    @property
    def ended(self) -> bool:
        """Whether its story is over."""
        return self.vehicle.ended

    def tick(self) -> Sequence[tuple[Mount, list[Message]]]:
        """One instant further."""
        told = self.vehicle.tick()
        truth = self.vehicle.truth
        self.driven_m = truth.odo_m - self._start_odo_m
        self._note_standing(truth.t_ms, truth.moving)
        while self._leaves_at_m and truth.driven_m >= self._leaves_at_m[0]:
            self._leaves_at_m.popleft()
            self.off_road_ms.append(truth.t_ms)
        while self._due and truth.t_ms >= self.start_ms + self._due[0].after_s * 1000:
            due = self._due.pop(0)
            self._done.append(
                Act(
                    kind=due.kind,
                    at_ms=truth.t_ms,
                    position=(truth.lon, truth.lat),
                    fields=due.fields,
                )
            )
        return told

    def _note_standing(self, t_ms: int, moving: bool) -> None:
        if not moving:
            self._still_ms = t_ms if self._still_ms is None else self._still_ms
        elif self._still_ms is not None:
            if t_ms - self._still_ms >= _STOOD_MS:
                self.stood_ms.append((self._still_ms, t_ms))
            self._still_ms = None

    def acts(self) -> list[Act]:
        """What people have done by now besides the release, in order of time.

        A plot's own acts come before the usual ones: a false arrival, say, takes the place of the
        true one.
        """
        own = [*self.vehicle.acts, *self._done]
        kinds = {act.kind for act in own}
        before_s = self.role.crossing_before_s
        if before_s is not None and "border_crossing" not in kinds:
            at_ms = self.start_ms - round(before_s * 1000)
            own.append(Act(kind="border_crossing", at_ms=at_ms, position=None))
        if "arrival" not in kinds and (arrived_ms := self._arrival_ms()) is not None:
            own.append(Act(kind="arrival", at_ms=arrived_ms, position=None))
        return sorted(own, key=lambda act: act.at_ms)

    def steps(self) -> list[Step]:
        """The acts as calls, the release among them, in the order in which they are recorded."""
        steps = [self._step(act) for act in self.acts()]
        release = Step(path="release", act=None, at_ms=self.start_ms)
        first = [s for s in steps if s.path == "border-crossing"]
        return [*first, release, *(s for s in steps if s.path != "border-crossing")]

    @property
    def at_destination(self) -> bool:
        """Whether the vehicle is at the destination post."""
        truth = self.vehicle.truth
        return distance_m((truth.lon, truth.lat), self.role.lane.points[-1]) < _AT_POST_M

    def _arrival_ms(self) -> int | None:
        after_s = self.role.arrival_after_s
        if after_s is None or not self.ended or not self.at_destination:
            return None
        return self.vehicle.outcome.end_ms + round(after_s * 1000)

    def _step(self, act: Act) -> Step:
        fields = dict(act.fields)
        if act.kind == "border_crossing":
            fields = {"post": self.role.lane.departure, "plate": self.label, **fields}
        if act.kind == "arrival":
            fields = {"seals": self._seals(), **fields}
        return Step(
            path=act.kind.replace("_", "-") + ("s" if act.kind == "incident" else ""),
            act=act,
            at_ms=act.at_ms,
            position=act.position,
            fields=fields,
        )

    def _seals(self) -> list[dict[str, str]]:
        """How an officer finds the seals."""
        found: dict[str, str] = {}
        for mount in self.mounts:
            if mount.device.config.kind == "seal":
                body = mount.body
                state = "cut" if body.rope == "cut" else "open" if body.case == "open" else "intact"
                found.setdefault(mount.device.config.id, state)
        return [{"device_id": name, "state": state} for name, state in found.items()]


def build_rides(
    cast: Cast,
    *,
    keys: Mapping[str, Key],
    now: datetime,
    life: int,
    leaves_at_m: Mapping[str, Sequence[float]],
) -> list[Ride]:
    """The deliveries of a cast, ready to be played; PlanError if places don't fit their road.

    `leaves_at_m`: by registration number, of those whose path leaves the declared corridor.
    """
    return [
        Ride(
            role,
            build_vehicle(_signed(role, keys), now=now, life=life),
            leaves_at_m=leaves_at_m.get(role.registration, ()),
        )
        for role in cast.roles
    ]


def _signed(role: Role, keys: Mapping[str, Key]) -> VehiclePlan:
    def with_key(device: DevicePlan) -> DevicePlan:
        key = keys.get(device.id)
        if key is None:
            return device
        return device.model_copy(update={"key": KeyPlan(kid=key.kid, secret=key.secret.hex())})

    return role.plan.model_copy(update={"devices": tuple(map(with_key, role.plan.devices))})
