"""From records to a track: which fixes are valid, and where on the route they lie. Pure.

A fix is valid if it is from GNSS, not 0,0, newer than the one before, and no isolated jump. A jump
is known as isolated only when the track comes back, so the fixes of a jump wait, with all later
records of the device, until it is decided; while the data ends in between they count as valid.
The state before the wait is what is kept: nothing that is stored ever has to be undone.
"""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from tracker.clocks import from_gnss, plausible
from tracker.geodesy import distance_m
from tracker.model import FixFacts, Observation, Place, Record, Step
from tracker.routes import choose_place

UNREACHABLE_KMH = 200.0
"""No lorry drives at 200 km/h; the contract's own bound for a place that cannot be reached."""

JUMP_FIXES = 3
JUMP_S = 60.0
"""Fewer than 3 fixes and under 60 s: what multipath and restarts do; longer is no accident."""

MAX_JUMPS = 8
"""Places in a row that cannot be reached from each other: past this the receiver wanders, and
waiting longer would only hide it. Also bounds what waits."""

DEFAULT_ACC_M = 15.0
HDOP_ACC_M = 5.0
"""Accuracy where none is reported: 5 m per unit of HDOP, else 15 m (contract)."""

_NULL_ISLAND_DEG = 1e-6

_M_PER_DEG = 111_700.0
"""No degree of latitude or longitude is longer: a quick bound from above for short distances."""


class FixPosition(Struct, frozen=True, kw_only=True):
    """A usable position of a record, before PostGIS has looked at it."""

    fix_ms: int
    lon: float
    lat: float
    acc_m: float
    speed_kmh: float | None
    heading_deg: float | None


def position_of(record: Record, t_ms: int, first_received_ms: int) -> FixPosition | None:
    """The position of a record if it may be a valid fix, else None.

    Invalid on its own: no fix, not from GNSS, nowhere, or at 0,0. Where the fix has no time, or one
    that cannot be, the record's t* stands for it.
    """
    fix = record.fix
    if fix is None or fix.lat is None or fix.lon is None or not from_gnss(fix):
        return None
    if abs(fix.lat) < _NULL_ISLAND_DEG and abs(fix.lon) < _NULL_ISLAND_DEG:
        return None
    fix_ms = None if fix.t is None else plausible(fix.t, first_received_ms)[0]
    return FixPosition(
        fix_ms=t_ms if fix_ms is None else fix_ms,
        lon=fix.lon,
        lat=fix.lat,
        acc_m=accuracy_m(fix.acc, fix.hdop),
        speed_kmh=fix.spd,
        heading_deg=fix.hdg,
    )


def accuracy_m(acc_m: float | None, hdop: float | None) -> float:
    """Accuracy of a fix (68 %): reported, else 5 m x HDOP, else 15 m."""
    if acc_m is not None:
        return acc_m
    return HDOP_ACC_M * hdop if hdop is not None else DEFAULT_ACC_M


class Fixed(Protocol):
    """What validity looks at: a position with its time and accuracy."""

    @property
    def fix_ms(self) -> int:
        """Time of the fix."""

    @property
    def lon(self) -> float:
        """Longitude, degrees."""

    @property
    def lat(self) -> float:
        """Latitude, degrees."""

    @property
    def acc_m(self) -> float:
        """Accuracy (68 %), metres."""


def reachable(a: Fixed, b: Fixed) -> bool:
    """Whether a vehicle can have gone from fix a to the later fix b."""
    most_m = UNREACHABLE_KMH / 3.6 * (b.fix_ms - a.fix_ms) / 1000
    # Nearly every fix is near enough by a bound that costs a tenth of the distance.
    if (abs(b.lon - a.lon) + abs(b.lat - a.lat)) * _M_PER_DEG <= most_m:
        return True
    return distance_m((a.lon, a.lat), (b.lon, b.lat)) - a.acc_m - b.acc_m <= most_m


class Jump(Struct, frozen=True, kw_only=True):
    """A place that the track has jumped to: its first and last fix and how many there are."""

    first: FixFacts
    last: FixFacts
    fixes: int = 1

    @property
    def stays(self) -> bool:
        """Whether the device has been there too long for an accident."""
        span_s = (self.last.fix_ms - self.first.fix_ms) / 1000
        return self.fixes >= JUMP_FIXES or span_s >= JUMP_S


class Track(Struct, frozen=True, kw_only=True):
    """A device's track so far.

    ``last``: the newest fix decided as valid. ``jump``: where the track has jumped to, if that is
    undecided; ``waiting``: the observations since, in order; ``jumps``: how many places in a row.
    ``route``: which of the declared routes ``progress_m`` is measured on.
    """

    last: FixFacts | None = None
    progress_m: float | None = None
    route: int = 0
    jump: Jump | None = None
    jumps: int = 0
    waiting: tuple[Observation, ...] = ()


def advance(track: Track, observation: Observation) -> tuple[Track, tuple[Step, ...]]:
    """Take the next observation of a device (in t* order); return what is decided by it."""
    if track.jump is None:
        return _advance_plain(track, observation)
    return _advance_jumping(track, track.jump, observation)


def settle(track: Track) -> tuple[Track, tuple[Step, ...]]:
    """What the track is if the data ends here: a jump that has not come back counts as valid."""
    if track.jump is None:
        return track, ()
    return _release(track, jumped_is_valid=True)


def previous_of(track: Track, fix: FixFacts) -> FixFacts | None:
    """The fix that a new one follows on the track if both are valid; None: nothing leads to it.

    That is settled when the new fix comes, before it is known whether a jump was an accident: it
    follows the newest fix of the jump that waits, unless it comes back from there.
    """
    newest = track.last if track.jump is None else track.jump.last
    if newest is None or not _newer(fix, newest):
        return None
    comes_back = (
        track.jump is not None
        and track.last is not None
        and not _same_place(track.last, track.jump, fix)
        and reachable(track.last, fix)
    )
    return track.last if comes_back else newest


def _newer(fix: FixFacts, last: FixFacts | None) -> bool:
    return last is None or fix.fix_ms > last.fix_ms


def _advance_plain(track: Track, observation: Observation) -> tuple[Track, tuple[Step, ...]]:
    fix = observation.fix
    if fix is None or not _newer(fix, track.last):
        return track, (_invalid(track, observation),)
    if track.last is not None and not reachable(track.last, fix):
        waiting = replace(track, jump=Jump(first=fix, last=fix), jumps=1, waiting=(observation,))
        return waiting, ()
    accepted, step = _accept(track, observation, fix)
    return accepted, (step,)


def _accept(
    track: Track, observation: Observation, fix: FixFacts, *, jumped: bool = False
) -> tuple[Track, Step]:
    place: Place | None = None
    # Progress on a route says nothing of the place on another one, declared later.
    progress_m = track.progress_m if fix.route == track.route else None
    if fix.candidates:
        place = choose_place(fix.candidates, fix.distance_m, progress_m, fix.acc_m)
        progress_m = place.progress_m
    accepted = Track(last=fix, progress_m=progress_m, route=fix.route)
    step = Step(
        observation=observation,
        valid=True,
        place=place,
        here=(fix.lon, fix.lat),
        previous=track.last,
        jumped=jumped,
    )
    return accepted, step


def _invalid(track: Track, observation: Observation, *, jumped: bool = False) -> Step:
    last = track.last
    return Step(
        observation=observation,
        valid=False,
        here=None if last is None else (last.lon, last.lat),
        previous=last,
        jumped=jumped,
    )


def _advance_jumping(
    track: Track, jump: Jump, observation: Observation
) -> tuple[Track, tuple[Step, ...]]:
    fix = observation.fix
    waiting = replace(track, waiting=(*track.waiting, observation))
    if fix is None or not _newer(fix, jump.last):
        return waiting, ()
    base = track.last
    assert base is not None
    if _same_place(base, jump, fix):
        longer = replace(jump, last=fix, fixes=jump.fixes + 1)
        if longer.stays:
            return _release(replace(waiting, jump=longer), jumped_is_valid=True)
        return replace(waiting, jump=longer), ()
    if reachable(base, fix):
        track, decided = _release(track, jumped_is_valid=False)
        track, steps = _advance_plain(track, observation)
        return track, (*decided, *steps)
    if track.jumps >= MAX_JUMPS:
        return _release(waiting, jumped_is_valid=True)
    return replace(waiting, jump=Jump(first=fix, last=fix), jumps=track.jumps + 1), ()


def _same_place(base: FixFacts, jump: Jump, fix: FixFacts) -> bool:
    """Whether a fix goes on from where the track jumped to, rather than back where it was."""
    if not reachable(jump.last, fix):
        return False
    if not reachable(base, fix):
        return True
    here = (fix.lon, fix.lat)
    from_jump_m = distance_m((jump.last.lon, jump.last.lat), here)
    return from_jump_m <= distance_m((base.lon, base.lat), here)


def _release(track: Track, *, jumped_is_valid: bool) -> tuple[Track, tuple[Step, ...]]:
    """Decide all that waits: every fix valid, or every one an accident."""
    current = Track(last=track.last, progress_m=track.progress_m, route=track.route)
    steps: list[Step] = []
    for observation in track.waiting:
        fix = observation.fix
        if jumped_is_valid and fix is not None and _newer(fix, current.last):
            current, step = _accept(current, observation, fix, jumped=True)
        else:
            step = _invalid(current, observation, jumped=True)
        steps.append(step)
    return current, tuple(steps)
