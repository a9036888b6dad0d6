"""A vehicle with its devices: one true motion, one condition a device, ticked in step. Pure."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from firmware_sim.device import Device
from firmware_sim.plots import Effect, befalls
from firmware_sim.trip import Drive
from firmware_sim.wire import Message
from firmware_sim.world import Condition, Receiver, Truth, World

# A seal lives some weeks on a charge; a vehicle unit is fed by the vehicle.
_SEAL_DRAIN_PCT_H = 0.15
_DAY_S = 86_400


class Mount:
    """A device as it sits on a vehicle: its receiver, battery and what has befallen it."""

    def __init__(self, device: Device, rng: random.Random, *, bat_pct: float) -> None:
        self.device = device
        self.body = Condition(bat_pct=bat_pct)
        self._receiver = Receiver(rng)
        self._bat_pct = bat_pct
        self._drain_pct_h = _SEAL_DRAIN_PCT_H if device.config.kind == "seal" else 0.0

    @property
    def wants_link(self) -> bool:
        """Whether the device is alive and has radio coverage."""
        return self.body.alive and self.body.radio

    def step(self, truth: Truth, since_ms: int, happening: Sequence[_Begun]) -> list[Message]:
        """Look at the world at this instant; `since_ms`: when the trip began."""
        hours = (truth.t_ms - since_ms) / 3_600_000
        body = Condition(
            bat_pct=max(0.0, self._bat_pct - self._drain_pct_h * hours),
            temp_c=_temperature_c(truth.t_ms),
        )
        for begun in happening:
            if befalls(begun.effect.devices, self.device.config.kind):
                body = begun.effect.apply(body, (truth.t_ms - begun.at_ms) / 1000)
        # The dead stay dead.
        self.body = body if self.body.alive else self.body
        world = World(truth=truth, condition=self.body, locate=self._receiver)
        return self.device.step(truth.t_ms, world)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Begun:
    effect: Effect
    at_ms: int


class Vehicle:
    """Advances the motion and steps every device at each instant."""

    def __init__(
        self,
        label: str,
        *,
        drive: Drive,
        mounts: Sequence[Mount],
        effects: Sequence[Effect] = (),
        tail_s: float = 600.0,
    ) -> None:
        """`tail_s`: how long it still reports after its arrival before the trip counts as over."""
        self.label = label
        self.mounts = tuple(mounts)
        self.start_ms = drive.now_ms
        self.truth = drive.truth()
        self._drive = drive
        self._waiting = list(effects)
        self._happening: list[_Begun] = []
        self._tail_ms = tail_s * 1000
        self._arrived_ms: int | None = None
        self._started = False

    @property
    def now_ms(self) -> int:
        """True time the vehicle has reached, ms UTC."""
        return self._drive.now_ms

    @property
    def next_ms(self) -> int:
        """True time of the next tick, ms UTC."""
        return self._drive.next_ms if self._started else self.start_ms

    @property
    def ended(self) -> bool:
        """Arrived, its tail over, and no device still cut off from the network."""
        if self._arrived_ms is None or self.now_ms < self._arrived_ms + self._tail_ms:
            return False
        return all(mount.body.radio or not mount.body.alive for mount in self.mounts)

    def tick(self) -> list[tuple[Mount, list[Message]]]:
        """One instant further; the first tick is the beginning itself."""
        if self._started:
            self.truth = self._drive.advance()
        self._started = True
        truth = self.truth
        if truth.arrived and self._arrived_ms is None:
            self._arrived_ms = truth.t_ms
        self._begin(truth)
        return [(m, m.step(truth, self.start_ms, self._happening)) for m in self.mounts]

    def _begin(self, truth: Truth) -> None:
        for effect in [e for e in self._waiting if truth.driven_m >= e.at_m]:
            self._waiting.remove(effect)
            self._happening.append(_Begun(effect=effect, at_ms=truth.t_ms))


def _temperature_c(t_ms: int) -> float:
    # Coldest before dawn, warmest after noon of a mild continental day, in UTC+5.
    phase = ((t_ms / 1000 + 5 * 3600) % _DAY_S) / _DAY_S
    return 12.0 - 9.0 * math.cos(2 * math.pi * (phase - 0.15))
