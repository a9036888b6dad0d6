"""A validated plan → vehicles with their devices. Pure: the run's instant is an argument."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime

from firmware_sim.device import Device, DeviceConfig
from firmware_sim.errors import PlanError
from firmware_sim.geo import Path
from firmware_sim.plan import DevicePlan, Plan, VehiclePlan, start_time
from firmware_sim.plots import Draft
from firmware_sim.triggers import DEFAULT_PERIODS, Periods
from firmware_sim.trip import Drive, Itinerary, Slow
from firmware_sim.vehicle import Mount, Vehicle
from firmware_sim.wire import Key


def build_fleet(plan: Plan, *, now: datetime, life: int) -> list[Vehicle]:
    """All vehicles of a plan.

    `life`: gen and first conn of devices that name no gen. Stores live in memory, so each run
    is a new life of the device, and its gen must be higher than the last run's.
    """
    return [build_vehicle(vehicle, now=now, life=life) for vehicle in plan.vehicles]


def build_vehicle(plan: VehiclePlan, *, now: datetime, life: int) -> Vehicle:
    """One vehicle; PlanError if its places don't fit its route."""
    draft = make_draft(plan)
    start_ms = int(start_time(plan.start, now).timestamp()) * 1000
    itinerary = Itinerary(
        path=draft.path,
        start_ms=start_ms,
        start_m=draft.start_m,
        stops=draft.stops,
        slow=draft.slow,
    )
    rng = _rng(plan, "drive")
    return Vehicle(
        plan.vehicle,
        drive=Drive(itinerary, rng, odo_m=rng.randint(20_000_000, 900_000_000)),
        mounts=[_mount(plan, device, draft, life) for device in plan.devices],
        effects=draft.effects,
        tail_s=plan.tail_s,
    )


def make_draft(plan: VehiclePlan) -> Draft:
    """The trip with its planned stops, towns and plots, before it begins."""
    try:
        path = Path(plan.route)
    except ValueError as error:
        raise PlanError(f"vehicle {plan.vehicle}: {error}") from error
    if plan.start_at_m >= path.length_m:
        raise PlanError(
            f"vehicle {plan.vehicle}: start_at_m {plan.start_at_m:.0f} lies behind the end of "
            f"the route; give less than {path.length_m:.0f}"
        )
    draft = Draft(path=path, start_m=plan.start_at_m, slow=_slow(plan, path))
    try:
        for stop in plan.stops:
            draft = draft.with_planned_stop(stop.at, stop.minutes)
        for plot in plan.plot:
            draft = plot.apply(draft)
    except PlanError as error:
        raise PlanError(f"vehicle {plan.vehicle}: {error}") from error
    return draft


def _slow(plan: VehiclePlan, path: Path) -> tuple[Slow, ...]:
    zones = []
    for town in plan.slow:
        along_m, off_m = path.nearest_m(town.at)
        reach_m = (max(town.radius_m**2 - off_m**2, 0.0)) ** 0.5
        zones.append(
            Slow(from_m=along_m - reach_m, to_m=along_m + reach_m, limit_kmh=town.limit_kmh)
        )
    return tuple(zone for zone in zones if zone.to_m > zone.from_m)


def _mount(plan: VehiclePlan, device: DevicePlan, draft: Draft, life: int) -> Mount:
    rng = _rng(plan, device.id)
    periods = _periods(plan, device)
    gen = life if device.gen is None else device.gen
    config = DeviceConfig(
        id=device.id,
        kind=device.kind,
        periods=periods,
        key=make_key(device),
        gen=None if gen == "ask" else gen,
        conn_before=life,
        backlog=draft.backlog,
        phase_s=rng.uniform(0, periods.moving_s),
    )
    return Mount(Device(config, rng), rng, bat_pct=device.bat_pct)


def make_key(device: DevicePlan) -> Key | None:
    """The device's signing key, if it has one."""
    if device.key is None:
        return None
    return Key(kid=device.key.kid, secret=bytes.fromhex(device.key.secret))


def _periods(plan: VehiclePlan, device: DevicePlan) -> Periods:
    given = plan.periods.get(device.kind)
    changes = given.model_dump(exclude_none=True) if given else {}
    return replace(DEFAULT_PERIODS[device.kind], **changes)


def _rng(plan: VehiclePlan, part: str) -> random.Random:
    # A string seeds the same in every process, unlike hash().
    return random.Random(f"{plan.seed}/{plan.vehicle}/{part}")
