"""What a report on a delivery shows: plain values, with texts already in the reader's language."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

Geometry = dict[str, Any]
"""GeoJSON, lon/lat in WGS 84."""

Severity = Literal["info", "low", "medium", "high", "critical"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportPoint:
    """A position at an aware instant; speed in km/h where known."""

    t: datetime
    lon: float
    lat: float
    speed_kmh: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportTrack:
    """The track of one device in the order of time."""

    device_id: str
    kind: Literal["seal", "gps"]
    points: tuple[ReportPoint, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportAnomaly:
    """An anomaly: its name, its evidence in words, and where it was, if that is known."""

    title: str
    text: str
    severity: Severity
    severity_name: str
    start: datetime
    end: datetime | None = None
    geometry: Geometry | None = None
    retracted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportZone:
    """A zone with its kind as in the contract (post, border, parking, restricted …)."""

    name: str
    kind: str
    geometry: Geometry


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportPost:
    """A customs post; ``role`` says whether the delivery starts or ends there."""

    name: str
    lon: float
    lat: float
    role: Literal["departure", "destination", "other"] = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportReason:
    """A reason for the risk; no ``contribution`` for a reader who may not see the numbers."""

    text: str
    contribution: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryReport:
    """Everything on one delivery's report. ``facts`` are (name, value) in order."""

    title: str
    facts: tuple[tuple[str, str], ...]
    generated_at: datetime
    route: Geometry | None = None
    corridor: Geometry | None = None
    tracks: tuple[ReportTrack, ...] = ()
    anomalies: tuple[ReportAnomaly, ...] = ()
    zones: tuple[ReportZone, ...] = ()
    posts: tuple[ReportPost, ...] = ()
    reasons: tuple[ReportReason, ...] = ()
