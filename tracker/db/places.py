"""Posts and zones: storing, finding, listing."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

from geoalchemy2.shape import from_shape
from shapely.geometry import MultiPolygon
from sqlalchemy import Row, Select, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from tracker.db.connect import WriteSession, raw
from tracker.db.marks import mark_dirty
from tracker.db.reading import Page
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


def zone_by_code(session: Session, code: str) -> Zone | None:
    """The zone of this code."""
    return session.scalar(select(Zone).where(Zone.code == code))


def list_zones(session: Session, page: Page, *, kind: str | None) -> Sequence[Zone]:
    """One zone more than the page holds, in the order of creation."""
    query = select(Zone).order_by(Zone.id).limit(page.limit + 1)
    if page.after:
        query = query.where(Zone.id > page.after[0])
    if kind:
        query = query.where(Zone.kind == kind)
    return session.scalars(query).all()


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
