"""The outcome of a run, for tests and summaries."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import Any

from firmware_sim.store import Store


def note_made(made_ms: array[int], made: int, now_ms: int) -> None:
    """Note when records were made: `made_ms[n]` is the time of seq n + 1 of the present gen."""
    if made < len(made_ms):
        del made_ms[:]  # the store was wiped: seq starts again
    while len(made_ms) < made:
        made_ms.append(now_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceReport:
    """What became of one device. `kept`: records no ack covers; `events`: (code, ms)."""

    vehicle: str
    device_id: str
    kind: str
    gen: int | None
    made: int
    acked: int
    kept: int
    dead: bool
    connections: int
    events: tuple[tuple[str, int], ...]
    store: Store = field(repr=False)

    def summary(self) -> dict[str, Any]:
        """The same as plain values, without the store."""
        names = ("vehicle", "kind", "gen", "made", "acked", "kept", "dead", "connections")
        values = {name: getattr(self, name) for name in names}
        return {"device": self.device_id, **values, "events": [code for code, _ in self.events]}


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetReport:
    """The outcome of a run. `caught_up`: a device clock reached real time and had to wait."""

    devices: tuple[DeviceReport, ...]
    wall_s: float
    caught_up: bool
    timed_out: bool

    @property
    def made(self) -> int:
        """Records made by all devices."""
        return sum(device.made for device in self.devices)

    @property
    def acked(self) -> int:
        """Records an ack has covered."""
        return sum(device.acked for device in self.devices)

    @property
    def kept(self) -> int:
        """Records of living devices that no ack covers."""
        return sum(device.kept for device in self.devices if not device.dead)

    def summary(self) -> dict[str, Any]:
        """The totals as plain values."""
        return {
            "devices": len(self.devices),
            "made": self.made,
            "acked": self.acked,
            "kept": self.kept,
            "wall_s": round(self.wall_s, 1),
            "caught_up": self.caught_up,
            "timed_out": self.timed_out,
        }
