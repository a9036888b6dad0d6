"""Facts from PostGIS against geodesic truth: distance, progress, widths, zones."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import pairwise

import msgspec
import psycopg
import pytest
from pyproj import Geod

from tests.support.seed import START, World
from tracker.db.facts import Wanted, facts_of_fixes
from tracker.geodesy import Point, along
from tracker.model import FixFacts, ZoneHit, to_ms
from tracker.routes import Leg, choose_place
from tracker.track import FixPosition

GEOD = Geod(ellps="WGS84")
LATITUDES = [-45.0, 0.0, 40.0, 43.5, 48.0, 52.0, 56.0, 70.0, 80.0]
OFFS_M = [0.0, 30.0, 900.0, 1_100.0, 20_000.0, 90_000.0, 250_000.0, 400_000.0, 1_100_000.0, 5e6]
T_MS = to_ms(START)


@pytest.fixture(scope="module")
def world(postgres_server: object, template_database: str) -> Iterator[World]:
    """One database for the module: routes are only added."""
    from tests.support.services import cloned_database
    from tracker.embedded.postgres import PrivatePostgres

    assert isinstance(postgres_server, PrivatePostgres)
    with cloned_database(postgres_server, template_database) as dsn:
        made = World(dsn)
        yield made
        made.close()


def wanted(route_id: int, place: Point, *, acc_m: float = 5.0, t_ms: int = T_MS) -> Wanted:
    position = FixPosition(
        fix_ms=t_ms, lon=place[0], lat=place[1], acc_m=acc_m, speed_kmh=None, heading_deg=None
    )
    return Wanted(route_id=route_id, t_ms=t_ms, position=position)


def facts(world: World, route_id: int, places: Sequence[Point], **more: float) -> list[FixFacts]:
    return facts_of_fixes(world.conn, [wanted(route_id, p, **more) for p in places])  # type: ignore[arg-type]


def offset(place: Point, azimuth: float, metres: float) -> Point:
    lon, lat, _ = GEOD.fwd(*place, azimuth, metres)
    return float(lon), float(lat)


def random_line(rng: random.Random, lat: float) -> list[Point]:
    """A road of a few hundred kilometres: long straights, bends and winding stretches."""
    place = (rng.uniform(60, 80), lat + rng.uniform(-0.5, 0.5))
    line, azimuth = [place], rng.uniform(0, 360)
    for _ in range(rng.randint(2, 25)):
        azimuth += rng.uniform(-70, 70)
        place = offset(place, azimuth, rng.choice([300.0, 3_000.0, 30_000.0, 90_000.0]))
        line.append(place)
    return line


# ---------------------------------------------------------------- truth


def true_distance_m(line: Sequence[Point], place: Point) -> float:
    """Least geodesic distance to the geodesic line: sampled densely, then narrowed down."""
    return min(_to_segment_m(a, b, place) for a, b in pairwise(line))


def _to_segment_m(a: Point, b: Point, place: Point) -> float:
    azimuth, _, length_m = GEOD.inv(*a, *b)

    def at_m(along_m: float) -> float:
        lon, lat, _ = GEOD.fwd(*a, azimuth, along_m)
        return float(GEOD.inv(lon, lat, *place)[2])

    samples = max(8, int(length_m // 10_000))
    marks = [length_m * n / samples for n in range(samples + 1)]
    best = min(range(samples + 1), key=lambda n: at_m(marks[n]))
    low, high = marks[max(0, best - 1)], marks[min(samples, best + 1)]
    for _ in range(60):
        first, second = low + (high - low) / 3, high - (high - low) / 3
        if at_m(first) <= at_m(second):
            high = second
        else:
            low = first
    return min(at_m((low + high) / 2), at_m(marks[best]))


@pytest.mark.parametrize("lat", LATITUDES)
@pytest.mark.parametrize("off_m", OFFS_M)
def test_distance_is_geodesic_to_the_whole_route(world: World, lat: float, off_m: float) -> None:
    rng = random.Random(f"{lat} {off_m}")
    for _ in range(2):
        line = random_line(rng, lat)
        places = []
        for _ in range(4):
            a, b = rng.choice(list(pairwise(line)))
            spread_m = off_m * rng.uniform(0.5, 1)
            places.append(offset(along(a, b, rng.random()), rng.uniform(0, 360), spread_m))
        for place, found in zip(places, facts(world, world.route(line), places), strict=True):
            truth_m = true_distance_m(line, place)
            assert found.distance_m == pytest.approx(truth_m, rel=0.001, abs=1.0)
            assert min(c.distance_m for c in found.candidates) == found.distance_m


def test_a_thousand_kilometres_off_in_the_north_the_distance_is_true(world: World) -> None:
    """The plane's foot was up to a third of a percent too far here."""
    line = [(60.0, 70.0), (70.0, 70.2), (80.0, 69.8)]
    places = [offset((70.0, 70.2), azimuth, 1_100_000.0) for azimuth in range(0, 360, 15)]
    for place, found in zip(places, facts(world, world.route(line), places), strict=True):
        truth_m = true_distance_m(line, place)
        assert found.distance_m == pytest.approx(truth_m, rel=0.001, abs=1.0)


def test_the_line_between_two_far_points_is_the_geodesic(world: World) -> None:
    a, b = (55.0, 52.0), (85.0, 52.0)
    middle = along(a, b, 0.5)
    on_line, on_parallel = facts(world, world.route([a, b]), [middle, (70.0, 52.0)])
    assert on_line.distance_m < 1
    assert on_parallel.distance_m == pytest.approx(true_distance_m([a, b], (70.0, 52.0)), rel=1e-3)
    assert on_parallel.distance_m > 50_000


def test_a_fix_anywhere_on_earth_has_its_distance(world: World) -> None:
    line = [(76.0, 43.5), (77.0, 43.5)]
    anywhere: list[Point] = [
        (-120.0, 40.0),
        (76.0, -80.0),
        (0.0, 89.9),
        (179.9, 0.0),
        (-179.9, 10.0),
    ]
    for place, found in zip(anywhere, facts(world, world.route(line), anywhere), strict=True):
        truth_m = true_distance_m(line, place)
        assert found.distance_m == pytest.approx(truth_m, rel=0.001, abs=1.0)


# ---------------------------------------------------------------- progress


def driven(world: World, line: Sequence[Point], *, every_m: float, noise_m: float) -> list[float]:
    """Progress of a vehicle that drives a declared line once, with noise of its receiver."""
    rng = random.Random(f"{every_m} {noise_m}")
    route_id = world.route(line)
    last_m: float | None = None
    progress = []
    for found in facts(world, route_id, list(_drive(line, every_m, noise_m, rng))):
        last_m = choose_place(found.candidates, found.distance_m, last_m).progress_m
        progress.append(last_m)
    return progress


def _drive(
    line: Sequence[Point], every_m: float, noise_m: float, rng: random.Random
) -> Iterator[Point]:
    ahead_m = 0.0
    for a, b in pairwise(line):
        length_m = GEOD.inv(*a, *b)[2]
        while ahead_m < length_m:
            place = along(a, b, ahead_m / length_m)
            yield offset(place, rng.uniform(0, 360), abs(rng.gauss(0, noise_m)))
            ahead_m += every_m
        ahead_m -= length_m


HOME: Point = (76.0, 43.5)
EAST = offset(HOME, 90, 20_000)
NORTH = offset(HOME, 0, 20_000)
NORTH_EAST = offset(EAST, 0, 20_000)
SHAPES: dict[str, list[Point]] = {
    "out and back on one road": [HOME, EAST, NORTH_EAST, EAST, HOME],
    "a loop": [HOME, EAST, NORTH_EAST, NORTH, HOME],
    "twice round a loop": [HOME, EAST, NORTH_EAST, NORTH] * 2 + [HOME],
    "crossing itself": [HOME, NORTH_EAST, EAST, NORTH],
    "a spur into a town and out again": [HOME, EAST, offset(EAST, 180, 3000), EAST, NORTH_EAST],
    "carriageways 30 m apart": [HOME, EAST, offset(EAST, 0, 30), offset(HOME, 0, 30)],
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("every_m", "noise_m"), [(250.0, 0.0), (250.0, 8.0), (1500.0, 15.0)])
def test_progress_is_continuous_however_the_route_runs(
    world: World, shape: str, every_m: float, noise_m: float
) -> None:
    line = SHAPES[shape]
    length_m = sum(GEOD.inv(*a, *b)[2] for a, b in pairwise(line))
    progress = driven(world, line, every_m=every_m, noise_m=noise_m)
    # Where the turning point lies between two fixes, the second may be taken for one that is still
    # on the way there and has reversed a little; the next puts it right.
    reversal_m = 5 * noise_m + 1 + every_m / 3
    for n, (before_m, after_m) in enumerate(pairwise(progress)):
        assert -reversal_m <= after_m - before_m, f"backwards after fix {n}"
    for n, at_m in enumerate(progress):
        assert at_m == pytest.approx(n * every_m, abs=1.4 * every_m + 5 * noise_m)
    assert progress[-1] == pytest.approx(length_m, abs=every_m + 5 * noise_m)


@pytest.mark.parametrize("apart_m", [100, 250, 400])
@pytest.mark.parametrize(("every_m", "noise_m"), [(250.0, 8.0), (1500.0, 15.0)])
def test_a_road_driven_twice_may_be_drawn_differently_each_time(
    world: World, apart_m: float, every_m: float, noise_m: float
) -> None:
    """There and back on one road that runs between the two lines: each is drawn, or simplified, now
    on this side of it and now on that, so the nearer one is not always the one that is driven."""
    road = [offset(HOME, 90, n * 5_000.0) for n in range(9)]
    there = [offset(p, 0, apart_m / 2 * (-1) ** n) for n, p in enumerate(road)]
    back = [offset(p, 180, apart_m / 2 * (-1) ** n) for n, p in enumerate(road)]
    route_id = world.route([*there[:-1], road[-1], *reversed(back[:-1])])
    rng = random.Random(f"{apart_m} {every_m}")
    last_m: float | None = None
    progress = []
    driving = list(_drive([road[0], road[-1], road[0]], every_m, noise_m, rng))
    for found in facts(world, route_id, driving):
        last_m = choose_place(found.candidates, found.distance_m, last_m, 5.0).progress_m
        progress.append(last_m)
    for n, at_m in enumerate(progress):
        assert at_m == pytest.approx(n * every_m, abs=1.4 * every_m + 600)


@pytest.mark.parametrize("every_m", [200.0, 1000.0, 2500.0])
def test_on_a_winding_road_the_nearest_bend_counts(world: World, every_m: float) -> None:
    """Hairpins 300 m apart: no bend is taken for the one below."""
    line = [offset(offset(HOME, 0, 300.0 * n), 90, 800.0 * ((n + 1) // 2 % 2)) for n in range(20)]
    progress = driven(world, line, every_m=every_m, noise_m=8.0)
    for n, at_m in enumerate(progress):
        assert at_m == pytest.approx(n * every_m, abs=100)


def beside(line: Sequence[Point], share: float, metres: float) -> Point:
    """A place square to the left of a straight line."""
    foot = along(line[0], line[1], share)
    return offset(foot, GEOD.inv(*foot, *line[1])[0] - 90, metres)


def test_off_the_route_progress_is_that_of_the_nearest_place(world: World) -> None:
    line = [HOME, offset(HOME, 90, 100_000)]
    truth = [float(m) for m in range(1000, 99_000, 700)]
    places = [beside(line, m / 100_000, 5_000) for m in truth]
    last_m: float | None = None
    for expected_m, found in zip(truth, facts(world, world.route(line), places), strict=True):
        last_m = choose_place(found.candidates, found.distance_m, last_m).progress_m
        assert last_m == pytest.approx(expected_m, abs=20)


# ---------------------------------------------------------------- widths


@pytest.mark.parametrize("off_m", [0.0, 400.0, 3_000.0])
def test_each_fix_has_the_width_of_its_leg(world: World, off_m: float) -> None:
    line = [HOME, offset(HOME, 90, 60_000)]
    legs = [
        Leg(from_m=20_000, to_m=30_000, corridor_m=5_000),
        Leg(from_m=30_000, to_m=45_500, corridor_m=300),
    ]
    route_id = world.route(line, 1_000.0, legs)
    truth = [100.0, 19_900.0, 20_100.0, 29_900.0, 30_100.0, 45_400.0, 45_600.0, 59_900.0]
    places = [beside(line, m / 60_000, off_m) for m in truth]
    last_m: float | None = None
    widths = []
    for found in facts(world, route_id, places):
        place = choose_place(found.candidates, found.distance_m, last_m)
        last_m = place.progress_m
        widths.append(place.half_width_m)
    assert widths == [1000, 1000, 5000, 5000, 300, 300, 1000, 1000]


# ---------------------------------------------------------------- zones


def zones_at(world: World, place: Point, *, hours: float = 0.0) -> list[str]:
    t_ms = to_ms(START + timedelta(hours=hours))
    route_id = world.route([HOME, EAST])
    (found,) = facts_of_fixes(world.conn, [wanted(route_id, place, t_ms=t_ms)])
    return [zone.code for zone in found.zones]


def test_zones_that_contain_the_fix(world: World) -> None:
    outer = world.zone(60.0, 45.0, half_deg=0.1)
    inner = world.zone(60.0, 45.0, kind="restricted", half_deg=0.01)
    assert zones_at(world, (60.0, 45.0)) == sorted([outer, inner])
    assert zones_at(world, (60.05, 45.05)) == [outer]
    assert zones_at(world, (60.2, 45.0)) == []


def test_a_zone_counts_while_it_is_valid_at_the_fixs_own_time(world: World) -> None:
    code = world.zone(61.0, 45.0)
    with psycopg.connect(world.conn.info.dsn, password=world.conn.info.password) as conn:
        conn.execute(
            "UPDATE zones SET valid_from = %s, valid_to = %s WHERE code = %s",
            (START + timedelta(hours=1), START + timedelta(hours=2), code),
        )
    seen = {hours: zones_at(world, (61.0, 45.0), hours=hours) for hours in (0, 0.99, 1, 1.99, 2, 3)}
    assert {hours for hours, codes in seen.items() if codes == [code]} == {1, 1.99}
    assert all(codes in ([], [code]) for codes in seen.values())


def test_a_zones_dwell_time_and_kind_come_with_it(world: World) -> None:
    code = world.zone(62.0, 45.0, kind="fuel")
    world.conn.execute("UPDATE zones SET max_dwell_s = 1800 WHERE code = %s", (code,))
    (found,) = facts(world, world.route([HOME, EAST]), [(62.0, 45.0)])
    assert [(z.code, z.kind, z.max_dwell_s) for z in found.zones] == [(code, "fuel", 1800)]


def way(world: World, a: Point, b: Point, *, t_ms: int = T_MS) -> FixFacts:
    """The facts of a fix at b that follows one at a."""
    asked = wanted(world.route([HOME, EAST]), b, t_ms=t_ms)
    (found,) = facts_of_fixes(world.conn, [msgspec.structs.replace(asked, came_from=a)])
    return found


def codes(hits: Sequence[ZoneHit]) -> list[str]:
    return [zone.code for zone in hits]


def test_zones_on_the_way_are_crossed_and_those_at_its_end_contain_the_fix(world: World) -> None:
    passed = world.zone(63.0, 45.0, kind="restricted")
    begun = world.zone(62.9, 45.0)
    ended = world.zone(63.1, 45.0)
    world.zone(63.0, 45.1)
    found = way(world, (62.9, 45.0), (63.1, 45.0))
    assert codes(found.zones) == [ended]
    assert codes(found.crossed) == sorted([passed, begun])
    assert codes(way(world, (62.95, 45.0), (62.97, 45.0)).crossed) == []
    assert codes(way(world, (62.95, 45.0), (62.99, 45.0)).crossed) == [], "it ends at its edge"


def test_a_long_way_is_the_geodesic(world: World) -> None:
    north_of_the_parallel = along((60.0, 52.0), (72.0, 52.0), 0.5)
    on_it = world.zone(*north_of_the_parallel)
    world.zone(north_of_the_parallel[0], 52.0)
    assert codes(way(world, (60.0, 52.0), (72.0, 52.0)).crossed) == [on_it]


def test_the_short_way_across_the_antimeridian_does_not_lead_round_the_globe(world: World) -> None:
    world.zone(0.0, 10.0)
    assert codes(way(world, (179.9, 10.0), (-179.9, 10.0)).crossed) == []


def test_a_zone_on_the_way_counts_by_the_time_of_the_fix_that_ends_it(world: World) -> None:
    code = world.zone(64.0, 45.0)
    world.conn.execute("UPDATE zones SET valid_to = %s WHERE code = %s", (START, code))
    ends = {T_MS - 1: [code], T_MS: []}
    for t_ms, crossed in ends.items():
        assert codes(way(world, (63.9, 45.0), (64.1, 45.0), t_ms=t_ms).crossed) == crossed


def test_home_and_abroad_by_the_territories_in_force(world: World) -> None:
    route_id = world.route([HOME, EAST])

    def lands(hours: float) -> list[tuple[bool, bool]]:
        t_ms = to_ms(START + timedelta(hours=hours))
        places = [(66.0, 45.0), (66.2, 45.0), (66.5, 45.0)]
        found = facts_of_fixes(world.conn, [wanted(route_id, p, t_ms=t_ms) for p in places])
        assert all(fix.zones == fix.crossed == () for fix in found), "territories are no zones"
        return [(fix.home, fix.abroad) for fix in found]

    for n, lon in enumerate((66.0, 66.2)):
        code = world.zone(lon, 45.0, kind="territory", half_deg=0.05)
        world.conn.execute(
            "UPDATE zones SET valid_from = %s, valid_to = %s WHERE code = %s",
            (START + timedelta(hours=100 + n), START + timedelta(hours=102), code),
        )
    home, abroad, neither = (True, False), (False, True), (False, False)
    assert lands(99) == [neither, neither, neither]
    assert lands(100) == [home, abroad, abroad]
    assert lands(101) == [home, home, abroad]
    assert lands(102) == [neither, neither, neither]


# ---------------------------------------------------------------- a batch


def test_one_answer_for_each_fix_in_the_order_asked(world: World) -> None:
    near, far = world.route([HOME, EAST]), world.route([NORTH, NORTH_EAST])
    asked = [wanted(route, place) for place in (HOME, NORTH, EAST) for route in (far, near)]
    found = facts_of_fixes(world.conn, asked)
    assert [(f.lon, f.lat) for f in found] == [(w.position.lon, w.position.lat) for w in asked]
    assert [f.distance_m < 1 for f in found] == [False, True, True, False, False, True]
    assert facts_of_fixes(world.conn, []) == []
