"""Posts and zones: storing, finding, listing. Zones have versions, one after the other in time."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final

from geoalchemy2.shape import from_shape
from shapely.geometry import MultiPolygon
from sqlalchemy import (
    ColumnElement,
    Row,
    ScalarSelect,
    Select,
    and_,
    case,
    func,
    literal,
    or_,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased

from tracker.db.connect import WriteSession, raw
from tracker.db.marks import mark_dirty
from tracker.db.reading import Page, rfc3339
from tracker.db.tables import Post, Zone
from tracker.errors import Conflict

CIRCLE_SEGMENTS: Final = 32
"""Segments of a quarter circle: 500 m of radius then err by 15 cm at most."""

JUDGED_AGAIN_DAYS: Final = 60
"""Deliveries released longer ago are closed or stale: a new zone does not change their findings."""


def create_zone(session: WriteSession, *, geometry: MultiPolygon, code: str, **values: Any) -> Zone:
    """Store a zone and have the deliveries under way judged again.

    Raises:
        Conflict: the code is taken.
    """
    return _insert_zone(session, code=code, geom=from_shape(geometry, srid=4326), **values)


def create_circle_zone(
    session: WriteSession, *, lon: float, lat: float, radius_m: float, code: str, **values: Any
) -> Zone:
    """Store a circular zone around a point: the points within ``radius_m`` geodesic metres."""
    point = func.Geography(func.ST_SetSRID(func.ST_MakePoint(lon, lat), 4326))
    circle = func.ST_Buffer(point, radius_m, f"quad_segs={CIRCLE_SEGMENTS}")
    geom = func.ST_Multi(func.Geometry(circle))
    return _insert_zone(session, code=code, geom=geom, **values)


def _insert_zone(session: WriteSession, **values: Any) -> Zone:
    statement = insert(Zone).values(**values)
    zone: Zone | None = session.scalar(
        statement.on_conflict_do_nothing(
            index_elements=["code"], index_where=Zone.superseded_at.is_(None)
        ).returning(Zone)
    )
    if zone is None:
        raise Conflict.field(
            "body",
            "code",
            msg=f"zone {values['code']!r} exists; choose another code, or PUT a new version of it",
        )
    judge_again(session)
    return zone


# ---------------------------------------------------------------- versions


def newest_version(session: WriteSession, code: str) -> Zone | None:
    """The newest version of a zone, locked against other changes until the transaction ends."""
    return session.scalar(
        select(Zone).where(Zone.code == code, Zone.superseded_at.is_(None)).with_for_update()
    )


def supersede(
    session: WriteSession,
    zone: Zone,
    *,
    geometry: MultiPolygon,
    valid_from: datetime,
    **values: Any,
) -> Zone:
    """Close the newest version of a zone at ``valid_from`` and add the one that follows it.

    The deliveries under way are judged again: records from then on by the new version.

    Raises:
        Conflict: the newest version begins no earlier, so it would never have been in force.
    """
    if zone.valid_from is not None and valid_from <= zone.valid_from:
        raise Conflict.field(
            "body",
            "valid_from",
            msg=f"version {zone.version} of {zone.code!r} is in force from "
            f"{rfc3339(zone.valid_from)}; give a later time",
        )
    if zone.valid_to is None or zone.valid_to > valid_from:
        zone.valid_to = valid_from
    zone.superseded_at = func.now()
    session.flush()
    return _insert_zone(
        session,
        code=zone.code,
        version=zone.version + 1,
        geom=from_shape(geometry, srid=4326),
        valid_from=valid_from,
        **values,
    )


def end_zone(session: WriteSession, zone: Zone, at: datetime, who: str) -> None:
    """End the newest version of a zone; it stays in the history, and judges records before ``at``.

    ``who`` ends it is kept with the version.

    Raises:
        Conflict: it is over by then, or has not begun.
    """
    if zone.valid_to is not None and zone.valid_to <= at:
        raise _at_conflict(f"zone {zone.code!r} has ended at {rfc3339(zone.valid_to)}")
    if zone.valid_from is not None and at <= zone.valid_from:
        raise _at_conflict(
            f"zone {zone.code!r} is in force from {rfc3339(zone.valid_from)}; give a later time"
        )
    zone.valid_to = at
    zone.version += 1
    zone.ended_at = func.now()
    zone.ended_by = who
    session.flush()
    judge_again(session)


def _at_conflict(text: str) -> Conflict:
    return Conflict.field("query", "at", msg=text)


def posts_of_zone(session: Session, code: str) -> Sequence[str]:
    """The posts whose zone this is."""
    query = select(Post.code).join(Zone, Zone.id == Post.zone_id).where(Zone.code == code)
    return session.scalars(query.order_by(Post.code)).all()


_ASKED_BY: Final = text("""
    SELECT coalesce(r.code, r.name) FROM routes r
    WHERE r.checkpoints @> jsonb_build_array(jsonb_build_object('zone_code', CAST(:code AS text)))
    ORDER BY r.id LIMIT 10
""")


def routes_through(session: Session, code: str) -> Sequence[str]:
    """Routes that have this zone as a checkpoint, the first few."""
    return session.scalars(_ASKED_BY, {"code": code}).all()


def newest_number(session: Session, code: str) -> int:
    """The number of a zone's newest version."""
    return session.scalars(
        select(Zone.version).where(Zone.code == code, Zone.superseded_at.is_(None))
    ).one()


def versions_of(session: Session, code: str) -> Sequence[Zone]:
    """All versions of a zone, the oldest first."""
    return session.scalars(select(Zone).where(Zone.code == code).order_by(Zone.id)).all()


def _in_force(at: ColumnElement[datetime]) -> ColumnElement[bool]:
    begun = or_(Zone.valid_from.is_(None), Zone.valid_from <= at)
    return and_(begun, or_(Zone.valid_to.is_(None), Zone.valid_to > at))


# ---------------------------------------------------------------- judging again

_UNDER_WAY: Final = text("""
    SELECT id FROM deliveries
    WHERE status IN ('released', 'in_transit', 'overdue', 'enquiry', 'arrived')
      AND released_at > now() - make_interval(days => :days)
""")


def judge_again(session: WriteSession) -> None:
    """Mark the deliveries whose findings may depend on the zones."""
    ids = session.scalars(_UNDER_WAY, {"days": JUDGED_AGAIN_DAYS}).all()
    if ids:
        mark_dirty(raw(session), ids)


def known_zone_codes(session: Session, codes: Collection[str]) -> set[str]:
    """Which of these zones exist."""
    return set(session.scalars(select(Zone.code).where(Zone.code.in_(codes))))


def zone_by_code(session: Session, code: str, at: datetime | None = None) -> Zone | None:
    """The version of a zone that is in force at a time; without one the present, else the newest.

    None: there is no such zone, or no version of it is in force then.
    """
    query = select(Zone).where(Zone.code == code)
    if at is not None:
        return session.scalar(query.where(_in_force(literal(at))))
    present = case((_in_force(func.now()), 0), else_=1)
    return session.scalar(query.order_by(present, Zone.id.desc()).limit(1))


def list_zones(
    session: Session, page: Page, *, kind: str | None, at: datetime | None = None
) -> Sequence[Zone]:
    """One zone more than the page holds, each once, in the order of their versions' creation.

    Of each zone its version in force at a time; without one the present, else the newest.
    """
    query = select(Zone).order_by(Zone.id).limit(page.limit + 1)
    if at is not None:
        query = query.where(_in_force(literal(at)))
    else:
        query = query.where(Zone.id == _shown_version())
    if page.after:
        query = query.where(Zone.id > page.after[0])
    if kind:
        query = query.where(Zone.kind == kind)
    return session.scalars(query).all()


def _shown_version() -> ScalarSelect[int]:
    """The version of a zone's code that is shown where no time is asked for."""
    one = aliased(Zone)
    begun = or_(one.valid_from.is_(None), one.valid_from <= func.now())
    present = and_(begun, or_(one.valid_to.is_(None), one.valid_to > func.now()))
    query = select(one.id).where(one.code == Zone.code)
    return query.order_by(case((present, 0), else_=1), one.id.desc()).limit(1).scalar_subquery()


def create_post(session: WriteSession, *, lon: float, lat: float, code: str, **values: Any) -> Post:
    """Store a post.

    Raises:
        Conflict: the code is taken.
    """
    geom = func.ST_SetSRID(func.ST_MakePoint(lon, lat), 4326)
    statement = insert(Post).values(code=code, geom=geom, **values)
    post: Post | None = session.scalar(
        statement.on_conflict_do_nothing(index_elements=["code"]).returning(Post)
    )
    if post is None:
        raise Conflict.field("body", "code", msg=f"post {code!r} exists; choose another code")
    return post


def post_exists(session: Session, code: str) -> bool:
    """Whether there is a post of this code."""
    return session.scalar(select(Post.id).where(Post.code == code)) is not None


def post_by_code(session: Session, code: str) -> Row[Post, str] | None:
    """The post of this code and its zone's code."""
    return session.execute(_posts().where(Post.code == code)).one_or_none()


def list_posts(session: Session, page: Page, *, kind: str | None) -> Sequence[Row[Post, str]]:
    """One post more than the page holds, each with its zone's code."""
    query = _posts().order_by(Post.id).limit(page.limit + 1)
    if page.after:
        query = query.where(Post.id > page.after[0])
    if kind:
        query = query.where(Post.kind == kind)
    return session.execute(query).all()


def _posts() -> Select[Post, str]:
    return select(Post, Zone.code).join(Zone, Zone.id == Post.zone_id)
