"""Course, zones and stops through the database: lines, zones and their versions, other routes."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest
from pyproj import Geod
from shapely import box

from tests.support.seed import SeededDelivery, World, at, record
from tracker.db.evaluation import case_files
from tracker.geodesy import Point, along
from tracker.judging import Memory
from tracker.model import Checkpoint
from tracker.pipeline import judge

GEOD = Geod(ellps="WGS84")
HOME: Point = (76.0, 43.5)


def offset(place: Point, azimuth: float, metres: float) -> Point:
    lon, lat, _ = GEOD.fwd(*place, azimuth, metres)
    return float(lon), float(lat)


EAST = offset(HOME, 90, 40_000)
FAR = offset(HOME, 90, 90_000)
ROAD = [HOME, FAR]


def road(metres: float, *, north_m: float = 0.0) -> Point:
    """A place so far along the straight road, and so far beside it."""
    return offset(offset(HOME, 90, metres), 0, north_m)


def start(
    world: World, line: Sequence[Point] = ROAD, checkpoints: Sequence[dict[str, Any]] = ()
) -> tuple[SeededDelivery, str]:
    """A delivery on a road with checkpoints, and its device."""
    route_id = world.route(list(line))
    world.conn.execute(
        "UPDATE routes SET checkpoints = %s WHERE id = %s", (json.dumps(checkpoints), route_id)
    )
    device = world.device()
    return world.delivery([device], route_id=route_id), device


def drive(world: World, device: str, places: Sequence[Point], *, every_min: float = 5.0) -> None:
    """Records of a drive, one every some minutes; two to a kilometre can be driven."""
    world.store(
        [world.message(device, record(n + 1, at(n * every_min), *p)) for n, p in enumerate(places)]
    )


def found(world: World, delivery: SeededDelivery, code: str) -> list[dict[str, Any]]:
    return [a for a in world.anomalies(delivery) if a["code"] == code]


def times(world: World, delivery: SeededDelivery, code: str) -> list[tuple[Any, Any]]:
    return [(a["start_at"], a["end_at"]) for a in found(world, delivery, code)]


def zone_between(world: World, west: Point, east: Point, kind: str, **more: Any) -> str:
    """A zone of a kilometre's height between two places of the road; its code."""
    code = more.pop("code", None) or f"z-{world._next()}"
    area = box(west[0], west[1] - 0.005, east[0], east[1] + 0.005)
    columns = {"code": code, "name": "{}", "kind": kind} | more
    world.conn.execute(
        f"INSERT INTO zones ({', '.join(columns)}, geom) VALUES"
        f" ({', '.join(['%s'] * len(columns))}, ST_Multi(ST_GeomFromText(%s, 4326)))",
        (*columns.values(), area.wkt),
    )
    return code


# ---------------------------------------------------------------- wrong_direction


def test_turning_back_on_the_road_is_found_where_it_turned(world: World) -> None:
    delivery, device = start(world)
    drive(world, device, [road(m) for m in (0, 5000, 10_000, 7_000, 4_000, 3_000, 6_000, 9_000)])
    world.judge(now=at(40))
    assert times(world, delivery, "wrong_direction") == [(at(10), at(30))]
    (back,) = found(world, delivery, "wrong_direction")
    assert back["evidence"]["driven_back_m"] == pytest.approx(7_000, abs=5)


NORTH, NORTH_EAST = offset(HOME, 0, 20_000), offset(offset(HOME, 90, 20_000), 0, 20_000)
NEAR_EAST = offset(HOME, 90, 20_000)
SHAPES: dict[str, list[Point]] = {
    "figure of eight": [HOME, NORTH_EAST, NEAR_EAST, NORTH, HOME, offset(HOME, 180, 20_000)],
    "out and back": [HOME, NEAR_EAST, HOME],
    "twice round": [HOME, NEAR_EAST, NORTH_EAST, NORTH, HOME, NEAR_EAST, NORTH_EAST, NORTH, HOME],
}


def walked(line: Sequence[Point], every_m: float) -> list[Point]:
    places, ahead_m = [], 0.0
    for a, b in pairwise(line):
        length_m = GEOD.inv(*a, *b)[2]
        while ahead_m < length_m:
            places.append(along(a, b, ahead_m / length_m))
            ahead_m += every_m
        ahead_m -= length_m
    return places


@pytest.mark.parametrize("shape", SHAPES)
def test_a_route_that_meets_itself_is_driven_without_turning_back(world: World, shape: str) -> None:
    delivery, device = start(world, SHAPES[shape])
    places = walked(SHAPES[shape], 1500)
    drive(world, device, places, every_min=2)
    world.judge(now=at(2 * len(places)))
    assert found(world, delivery, "wrong_direction") == []
    assert found(world, delivery, "route_deviation") == []
    length_m = sum(GEOD.inv(*a, *b)[2] for a, b in pairwise(SHAPES[shape]))
    (progress_m,) = world.conn.execute("SELECT progress_m FROM device_positions").fetchone() or ()
    assert progress_m == pytest.approx(1500 * (len(places) - 1), abs=300)
    assert progress_m == pytest.approx(length_m, abs=1600)


@pytest.mark.parametrize("shape", SHAPES)
def test_turning_back_is_found_on_a_route_that_meets_itself(world: World, shape: str) -> None:
    delivery, device = start(world, SHAPES[shape])
    places = walked(SHAPES[shape], 1500)[:10]
    drive(world, device, [*places, *reversed(places[:-1])], every_min=2)
    world.judge(now=at(60))
    assert times(world, delivery, "wrong_direction") == [(at(18), None)]


# ---------------------------------------------------------------- checkpoint_missed


def test_a_checkpoint_passed_by_is_missed_and_one_gone_through_between_fixes_is_not(
    world: World,
) -> None:
    through = zone_between(world, road(12_000), road(13_000), "post")
    beside = zone_between(world, road(31_500, north_m=3000), road(32_500, north_m=3000), "post")
    asked = [{"zone_code": code, "mandatory": True} for code in (through, beside)]
    delivery, device = start(world, checkpoints=asked)
    drive(world, device, [road(m) for m in range(0, 45_000, 5_000)])
    world.judge(now=at(45))
    (missed,) = found(world, delivery, "checkpoint_missed")
    assert missed["evidence"]["zone"] == beside
    # The road comes nearest to it at 31.5 to 32.5 km; 5 km on, the fix at 40 km is the first.
    assert missed["evidence"]["checkpoint_progress_m"] == pytest.approx(32_000, abs=600)
    assert (missed["start_at"], missed["end_at"]) == (at(40), None)


def checkpoints_of(world: World, delivery: SeededDelivery) -> tuple[Checkpoint, ...]:
    return case_files(world.conn, [delivery.id])[delivery.id].plan.routes[0].checkpoints


def test_a_checkpoint_lies_where_its_zone_is_left_behind_for_the_last_time(world: World) -> None:
    on_it = zone_between(world, road(12_000), road(13_000), "post")
    beside = zone_between(world, road(15_000, north_m=2000), road(15_000.1, north_m=2000), "post")
    asked = [{"zone_code": on_it, "mandatory": True}, {"zone_code": beside, "mandatory": False}]
    delivery, _ = start(world, checkpoints=asked)
    first, second = checkpoints_of(world, delivery)
    assert (first.zone, first.mandatory) == (on_it, True)
    assert first.progress_m == pytest.approx(13_000, abs=2)
    assert (second.zone, second.mandatory) == (beside, False)
    assert second.progress_m == pytest.approx(15_000, abs=5)
    there_and_back, _ = start(world, [HOME, NEAR_EAST, HOME], asked[:1])
    (last,) = checkpoints_of(world, there_and_back)
    # Out at 12 to 13 km of 20, so back at 27 to 28: gone through either time, it is not missed.
    assert last.progress_m == pytest.approx(28_000, abs=3)


def test_a_zone_beyond_the_plane_does_not_stop_judging(world: World) -> None:
    world.zone(76.0, 89.0, half_deg=0.9)
    (code,) = world.conn.execute("SELECT max(code) FROM zones").fetchone() or ()
    delivery, device = start(world, checkpoints=[{"zone_code": code, "mandatory": True}])
    drive(world, device, [road(m) for m in (0, 5000)])
    world.judge(now=at(10))
    assert checkpoints_of(world, delivery) == ()


# ---------------------------------------------------------------- restricted_zone


def test_a_zone_crossed_between_two_fixes_is_found(world: World) -> None:
    code = zone_between(world, road(12_000), road(13_000), "restricted")
    delivery, device = start(world)
    drive(world, device, [road(m) for m in (5_000, 10_000, 15_000, 20_000)])
    world.judge(now=at(15))
    (crossed,) = found(world, delivery, "restricted_zone")
    assert (crossed["start_at"], crossed["end_at"]) == (at(10), at(10))
    assert crossed["evidence"]["zone"] == code
    assert crossed["evidence"]["fixes_in_zone"] == 0
    assert crossed["evidence"]["way_from"] == pytest.approx(list(road(10_000)))


def test_the_way_past_a_jump_does_not_lead_through_the_place_of_the_jump(world: World) -> None:
    zone_between(world, road(1_000, north_m=50_000), road(30_000, north_m=50_000), "restricted")
    delivery, device = start(world)
    there = road(10_000, north_m=100_000)
    drive(world, device, [road(5_000), road(7_500), there], every_min=2)
    world.judge(now=at(4))
    assert times(world, delivery, "restricted_zone") == [(at(4), None)], "while it is undecided"
    back = [record(n + 1, at(2 * n), *road(5_000 + 2_500 * n)) for n in range(3, 6)]
    world.store([world.message(device, back)])
    world.judge(now=at(10))
    assert found(world, delivery, "restricted_zone") == []


def test_the_way_to_a_jump_that_stays_and_back_is_a_way(world: World) -> None:
    zone_between(world, road(1_000, north_m=50_000), road(30_000, north_m=50_000), "restricted")
    delivery, device = start(world)
    there = road(10_000, north_m=100_000)
    places = [road(5_000), road(7_500), there, there, there, there]
    drive(world, device, places, every_min=2)
    world.judge(now=at(10))
    assert times(world, delivery, "restricted_zone") == [(at(4), at(4))]
    later = [record(n, at(50 + n), *road(10_000 + 1_000 * n)) for n in (7, 8, 9)]
    world.store([world.message(device, later)])
    world.judge(now=at(60))
    assert times(world, delivery, "restricted_zone") == [(at(4), at(4)), (at(57), at(57))]


# ---------------------------------------------------------------- border_exit


def territory(world: World, until_m: float) -> None:
    west, east = offset(HOME, 270, 20_000), road(until_m)
    area = box(west[0], 42.0, east[0], 45.0)
    world.conn.execute(
        "INSERT INTO zones (code, name, kind, geom) VALUES"
        " ('KZ', '{}', 'territory', ST_Multi(ST_GeomFromText(%s, 4326)))",
        (area.wkt,),
    )


def test_leaving_the_territory_is_found_until_back_inside(world: World) -> None:
    delivery, device = start(world)
    territory(world, 12_000)
    drive(world, device, [road(m) for m in (5_000, 10_000, 15_000, 18_000, 14_000, 10_000)])
    world.judge(now=at(25))
    (left,) = found(world, delivery, "border_exit")
    assert (left["start_at"], left["end_at"], left["severity"]) == (at(10), at(25), "critical")
    assert left["evidence"]["last_inside"] == pytest.approx(list(road(10_000)))


def test_leaving_it_by_the_destination_post_is_lawful(world: World) -> None:
    delivery, device = start(world)
    territory(world, 12_000)
    world.conn.execute(
        "UPDATE zones z SET geom = ST_Multi(ST_GeomFromText(%s, 4326)) FROM posts p, deliveries d"
        " WHERE p.zone_id = z.id AND p.code = d.destination_post AND d.id = %s",
        (box(*road(11_500, north_m=-500), *road(12_500, north_m=500)).wkt, delivery.id),
    )
    drive(world, device, [road(m) for m in (5_000, 10_000, 15_000, 18_000, 23_000)])
    world.judge(now=at(20))
    assert found(world, delivery, "border_exit") == []


def test_without_a_territory_there_is_no_exit(world: World) -> None:
    delivery, device = start(world)
    drive(world, device, [road(m) for m in (5_000, 10_000, 15_000)])
    world.judge(now=at(10))
    assert found(world, delivery, "border_exit") == []


# ---------------------------------------------------------------- overstay


def test_a_zones_designated_time_is_up(world: World) -> None:
    zone_between(world, road(9_000), road(11_000), "parking", max_dwell_s=3600)
    delivery, device = start(world)
    drive(
        world,
        device,
        [road(5_000)] + [road(10_000)] * 10 + [road(15_000), road(20_000)],
        every_min=10,
    )
    world.judge(now=at(120))
    assert times(world, delivery, "overstay") == [(at(10 + 60), at(100))]
    assert found(world, delivery, "unauthorised_stop") == []


def test_a_stop_outside_zones_leaves_a_trace_for_others(world: World) -> None:
    delivery, device = start(world)
    drive(world, device, [road(5_000)] + [road(10_000)] * 3 + [road(15_000), road(20_000)])
    world.judge(now=at(25))
    rows = world.conn.execute(
        "SELECT kind, from_t, to_t, ST_X(geom), ST_Y(geom) FROM traces WHERE delivery_id = %s",
        (delivery.id,),
    ).fetchall()
    assert [row[:3] for row in rows] == [("stop", at(5), at(15))]
    assert rows[0][3:] == pytest.approx(road(10_000))
    assert found(world, delivery, "unauthorised_stop") == []


# ---------------------------------------------------------------- versions of zones


def versions(world: World, changed: datetime, old: str, new: str | None) -> None:
    """A zone around 9 to 11 km of the road that is of another kind from a time on, or gone."""
    place = (world, road(9_000), road(11_000))
    zone_between(*place, old, code="V", valid_to=changed, superseded_at=changed, version=1)
    if new is not None:
        zone_between(*place, new, code="V", valid_from=changed, version=2)


STOOD = [(5_000, 0), *((10_000, n) for n in range(5, 45, 5)), (15_000, 45), (20_000, 50)]


def stand(world: World, device: str) -> None:
    """A stop of 35 minutes in the zone, a record each five."""
    world.store(
        [
            world.message(device, record(n + 1, at(minute), *road(metres)))
            for n, (metres, minute) in enumerate(STOOD)
        ]
    )


def test_a_zone_that_becomes_restricted_around_a_vehicle_is_entered_then(world: World) -> None:
    delivery, device = start(world)
    versions(world, at(20), "parking", "restricted")
    stand(world, device)
    world.judge(now=at(50))
    (inside,) = found(world, delivery, "restricted_zone")
    assert (inside["start_at"], inside["end_at"]) == (at(20), at(45))
    assert inside["evidence"]["fixes_in_zone"] == 5


def test_a_stop_is_explained_by_the_versions_of_its_own_fixes(world: World) -> None:
    for changed, explained in ((at(20), False), (at(20.01), True)):
        delivery, device = start(world)
        world.conn.execute("DELETE FROM zones WHERE code = 'V'")
        versions(world, changed, "parking", "territory")
        stand(world, device)
        world.judge(now=at(50))
        # Eight fixes: three before 20 min and four before 20.01 min lie in the parking.
        assert bool(found(world, delivery, "unauthorised_stop")) is not explained


def test_a_zone_that_has_ended_counts_until_then_however_late_the_records_come(
    world: World,
) -> None:
    delivery, device = start(world)
    versions(world, at(25), "restricted", None)
    stand(world, device)
    world.judge(now=at(50))
    assert times(world, delivery, "restricted_zone") == [(at(5), at(25))]


# ---------------------------------------------------------------- another route


def test_before_another_route_the_old_one_counts_and_from_then_on_the_new(world: World) -> None:
    delivery, device = start(world)
    detour = [road(10_000), road(30_000, north_m=15_000), road(60_000)]
    places = [*(road(m) for m in range(0, 10_001, 5_000)), *walked(detour, 5_000)[1:5]]
    drive(world, device, places)
    world.judge(now=at(30))
    assert times(world, delivery, "route_deviation") == [(at(15), None)]
    new = world.route(detour)
    world.conn.execute(
        "INSERT INTO delivery_routes (delivery_id, from_t, route_id) VALUES (%s, %s, %s)",
        (delivery.id, at(22), new),
    )
    judged_anew(world, delivery)
    assert times(world, delivery, "route_deviation") == [(at(15), at(25))]
    world.conn.execute("UPDATE delivery_routes SET from_t = %s", (at(12),))
    judged_anew(world, delivery)
    assert found(world, delivery, "route_deviation") == []
    (progress_m,) = world.conn.execute("SELECT progress_m FROM device_positions").fetchone() or ()
    assert progress_m == pytest.approx(20_000, abs=50), "along the new route"


def judged_anew(world: World, delivery: SeededDelivery) -> None:
    world.conn.execute("INSERT INTO dirty (delivery_id) VALUES (%s)", (delivery.id,))
    world.judge(now=at(30))


def test_an_evaluator_forgets_a_plan_that_another_has_read_anew(world: World) -> None:
    gate = zone_between(world, road(2_000, north_m=3000), road(3_000, north_m=3000), "post")
    delivery, device = start(world, checkpoints=[{"zone_code": gate, "mandatory": True}])
    mine: Memory = {}
    theirs: Memory = {}

    def judged_by(memory: Memory) -> None:
        with world.conn.transaction():
            assert judge(world.conn, now=at(20), limit=9, memory=memory) == 1

    drive(world, device, [road(m) for m in (0, 1_000)], every_min=1)
    judged_by(mine)
    world.conn.execute("UPDATE routes SET checkpoints = '[]' WHERE id = %s", (delivery.route_id,))
    world.conn.execute("INSERT INTO dirty (delivery_id) VALUES (%s)", (delivery.id,))
    judged_by(theirs)
    world.store([world.message(device, record(3, at(10), *road(12_000)))])
    judged_by(mine)
    assert found(world, delivery, "checkpoint_missed") == []


# ---------------------------------------------------------------- the order law


def a_bad_journey() -> list[dict[str, Any]]:
    """Past a checkpoint, through a restricted zone, too long in a parking, back, and abroad."""
    places = [road(m) for m in range(0, 20_001, 2_000)]
    places += [road(20_000)] * 15
    places += [road(m) for m in range(22_000, 40_001, 3_000)]
    places += [road(m) for m in range(37_000, 30_000, -2_000)]
    places += [road(m) for m in range(34_000, 60_001, 3_000)]
    return [record(n + 1, at(5 * n), *place) for n, place in enumerate(places)]


CODES = {"checkpoint_missed", "restricted_zone", "overstay", "wrong_direction", "border_exit"}


@pytest.mark.parametrize("seed", range(3))
def test_any_order_and_batching_finds_the_same(world: World, seed: int) -> None:
    gate = zone_between(world, road(2_000, north_m=3000), road(3_000, north_m=3000), "post")
    zone_between(world, road(10_500), road(11_500), "restricted")
    zone_between(world, road(19_500), road(20_500), "parking", max_dwell_s=1800)
    territory(world, 50_000)
    asked = [{"zone_code": gate, "mandatory": True}]
    in_order, device = start(world, checkpoints=asked)
    shuffled, other = start(world, checkpoints=asked)
    records = a_bad_journey()
    end = at(5 * len(records))
    world.store([world.message(device, r) for r in records])
    world.judge(now=end)
    rng = random.Random(seed)
    late = records + rng.sample(records, 10)
    rng.shuffle(late)
    while late:
        n = rng.randint(1, 25)
        world.store([world.message(other, r) for r in late[:n]])
        late = late[n:]
        world.judge(now=end)

    def plain(delivery: SeededDelivery) -> list[dict[str, Any]]:
        """What was found, without the names of the delivery's own device and posts."""
        found = [a | {"device_id": None} for a in world.anomalies(delivery) if a["code"] in CODES]
        for anomaly in found:
            anomaly["evidence"].pop("exit_post_zones", None)
        return found

    assert {a["code"] for a in plain(in_order)} == CODES
    assert plain(shuffled) == plain(in_order)
