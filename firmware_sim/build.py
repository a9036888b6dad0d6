"""A validated plan → vehicles with their devices. Pure: the run's instant is an argument."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from firmware_sim.device import Device, DeviceConfig
from firmware_sim.draft import AT_ARRIVAL, Draft, Planned, PlannedAct
from firmware_sim.effects import befalls
from firmware_sim.errors import PlanError
from firmware_sim.geo import Path, shared_path
from firmware_sim.plan import ActPlan, DevicePlan, Plan, VehiclePlan, start_time
from firmware_sim.triggers import DEFAULT_PERIODS, Periods
from firmware_sim.trip import Drive, Itinerary, Slow, Stop
from firmware_sim.truth import Expect
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
    start_ms = int(start_time(plan.start, now).timestamp()) * 1000
    draft = make_draft(plan, start_ms=start_ms)
    itinerary = Itinerary(
        path=draft.path,
        start_ms=start_ms,
        start_m=draft.start_m,
        stops=draft.stops,
        slow=draft.slow,
        rests=draft.rests,
        night_factor=draft.night_factor,
        weather=draft.weather,
    )
    rng = _rng(plan, "drive")
    return Vehicle(
        plan.vehicle,
        drive=Drive(itinerary, rng, odo_m=rng.randint(20_000_000, 900_000_000)),
        mounts=list(_mounts(plan, draft, life)),
        draft=draft,
        plots=[plot.name for plot in plan.plot],
        tail_s=plan.tail_s,
    )


def make_draft(plan: VehiclePlan, *, start_ms: int = 0) -> Draft:
    """The trip with its planned stops, towns, acts and plots, before it begins."""
    try:
        path = shared_path(plan.route)
    except ValueError as error:
        raise PlanError(f"vehicle {plan.vehicle}: {error}") from error
    if plan.start_at_m >= path.length_m:
        raise PlanError(
            f"vehicle {plan.vehicle}: start_at_m {plan.start_at_m:.0f} lies behind the end of "
            f"the route; give less than {path.length_m:.0f}"
        )
    draft = Draft(
        path=path,
        start_m=plan.start_at_m,
        slow=_slow(plan, path),
        devices=tuple((device.id, device.kind) for device in plan.devices),
        seed=f"{plan.seed}/{plan.vehicle}",
        start_ms=start_ms,
    )
    try:
        for stop in plan.stops:
            draft = draft.with_planned_stop(stop.at, stop.minutes)
        for plot in plan.plot:
            draft = plot.apply(draft).with_outcome(plot.outcome())
    except PlanError as error:
        raise PlanError(f"vehicle {plan.vehicle}: {error}") from error
    # Acts and planned stops follow the way as it is driven in the end.
    draft = draft.with_happening(*(_stopping(stop) for stop in draft.stops if stop.planned))
    return draft.with_act(*(_act(act, draft) for act in plan.acts))


def _stopping(stop: Stop) -> Planned:
    """Whether a planned stop is allowed depends on zones, which a plan does not know."""
    may = (Expect(code="unauthorised_stop", kind="may"), Expect(code="overstay", kind="may"))
    return Planned(name="planned_stop", at_m=stop.at_m, duration_s=stop.duration_s, expects=may)


def _act(act: ActPlan, draft: Draft) -> PlannedAct:
    return PlannedAct(
        kind=act.kind,
        at_m=AT_ARRIVAL if act.at == 1 else draft.at_m(act.at),
        after_s=act.after_minutes * 60,
        position=act.position,
        fields=act.fields,
    )


def _slow(plan: VehiclePlan, path: Path) -> tuple[Slow, ...]:
    zones = []
    for town in plan.slow:
        along_m, off_m = path.nearest_m(town.at)
        reach_m = (max(town.radius_m**2 - off_m**2, 0.0)) ** 0.5
        zones.append(
            Slow(from_m=along_m - reach_m, to_m=along_m + reach_m, limit_kmh=town.limit_kmh)
        )
    return tuple(zone for zone in zones if zone.to_m > zone.from_m)


def _mounts(plan: VehiclePlan, draft: Draft, life: int) -> Iterator[Mount]:
    by_id = {device.id: device for device in plan.devices}
    for device in plan.devices:
        yield _mount(plan, device, draft, life)
    for number, clone in enumerate(draft.clones, start=1):
        yield _mount(plan, by_id[clone.of], draft, life, clone=number)


def _mount(
    plan: VehiclePlan, device: DevicePlan, draft: Draft, life: int, *, clone: int = 0
) -> Mount:
    """`clone`: number of a device with this identity, which bears another name at the broker."""
    rng = _rng(plan, f"{device.id}/{clone}" if clone else device.id)
    periods = _periods(plan, device)
    gen = life if device.gen is None else device.gen
    config = DeviceConfig(
        id=device.id,
        kind=device.kind,
        periods=periods,
        key=make_key(device),
        gen=None if gen == "ask" else gen,
        conn_before=life,
        client_id=f"{device.id}-clone{clone}" if clone else None,
        phase_s=rng.uniform(0, periods.moving_s),
    )
    for devices, changes in draft.settings:
        if befalls(devices, device.kind, device.id):
            config = replace(config, **changes)
    return Mount(Device(config, rng), rng, bat_pct=device.bat_pct, clone=clone > 0)


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
