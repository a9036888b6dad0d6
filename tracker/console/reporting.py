"""From the API's own answers to the values of the map report, in the reader's language.

A carrier's report is made from what the API gives a carrier: nothing is hidden here again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from maps.report_page import local_time
from maps.report_values import (
    DeliveryReport,
    ReportAnomaly,
    ReportPoint,
    ReportPost,
    ReportReason,
    ReportTrack,
    ReportZone,
)
from tracker.console.catalogs import texts

Json = Mapping[str, Any]

_UNITS: Final = (("_kmh", "{n} km/h"), ("_min", "{n} min"), ("_m", "{n} m"), ("_s", "{n} s"))


def report_of(
    *,
    delivery: Json,
    locale: str,
    generated_at: datetime,
    route: Json | None = None,
    corridor: Json | None = None,
    track: Json | None = None,
    anomalies: Iterable[Json] = (),
    zones: Iterable[Json] = (),
    posts: Iterable[Json] = (),
    risk: Json | None = None,
    names: Mapping[str, str] | None = None,
) -> DeliveryReport:
    """The report on a delivery.

    Args:
        delivery: as ``GET /deliveries/{id}`` answers.
        locale: ru, kk or en.
        generated_at: the aware instant of the report.
        route: the declared route's geometry (GeoJSON LineString); ``corridor``: its polygon.
        track: the FeatureCollection of ``/track``; ``anomalies``, ``zones``, ``posts``: items of
            those lists; ``risk``: the answer of ``/risk``.
        names: names of participants by id.
    """
    say = texts(locale)
    known = list(posts)
    return DeliveryReport(
        title=str(delivery["registration_number"]),
        facts=tuple(_facts(delivery, risk, known, names or {}, locale)),
        generated_at=generated_at,
        route=dict(route) if route else None,
        corridor=dict(corridor) if corridor else None,
        tracks=tuple(_tracks(track)),
        anomalies=tuple(_anomaly(one, say) for one in anomalies),
        zones=tuple(_zones(zones, locale)),
        posts=tuple(_post(one, delivery, locale) for one in known),
        reasons=tuple(
            ReportReason(text=str(r["text"]), contribution=r.get("contribution"))
            for r in (risk or {}).get("reasons", ())
        ),
    )


def _facts(
    delivery: Json, risk: Json | None, posts: Sequence[Json], names: Mapping[str, str], locale: str
) -> Iterable[tuple[str, str]]:
    say, vehicle = texts(locale), delivery.get("vehicle") or {}
    by_code = {post["code"]: _name(post, locale) for post in posts}
    level = (risk or {}).get("level")
    rows = (
        ("Status", _word(say, "status", delivery.get("status"))),
        ("Direction", _word(say, "direction", delivery.get("direction"))),
        ("From", by_code.get(delivery["departure_post"], delivery["departure_post"])),
        ("To", by_code.get(delivery["destination_post"], delivery["destination_post"])),
        ("Vehicle", f"{vehicle.get('plate', '')} {vehicle.get('trailer') or ''}".strip()),
        ("Carrier", names.get(str(delivery.get("carrier_id")), "")),
        ("Declarant", names.get(str(delivery.get("declarant_id")), "")),
        ("Released", _clock(delivery.get("released_at"))),
        ("Deadline", _clock(delivery.get("deadline"))),
        ("Arrived", _clock(delivery.get("arrived_at"))),
        ("Level", _word(say, "level", level) if level else ""),
    )
    return [(say[name], value) for name, value in rows if value]


def _clock(value: str | datetime | None) -> str:
    return local_time(_at(value)) if value else ""


def _at(value: str | datetime) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)


def _word(say: Mapping[str, str], family: str, code: object) -> str:
    return say.get(f"{family}.{code}", str(code or "").replace("_", " "))


def _name(thing: Json, locale: str) -> str:
    name = thing.get("name") or thing.get("code") or ""
    return str(name.get(locale) or name.get("ru") or "") if isinstance(name, Mapping) else str(name)


def _tracks(track: Json | None) -> Iterable[ReportTrack]:
    for feature in (track or {}).get("features", ()):
        about, geometry = feature["properties"], feature.get("geometry")
        if geometry is None:
            continue
        places = geometry["coordinates"]
        places = [places] if geometry["type"] == "Point" else places
        speeds = about.get("speeds_kmh") or [None] * len(places)
        yield ReportTrack(
            device_id=about["device_id"],
            kind=about["kind"],
            points=tuple(
                ReportPoint(t=_at(t), lon=place[0], lat=place[1], speed_kmh=speed)
                for place, t, speed in zip(places, about["times"], speeds, strict=True)
            ),
        )


def _anomaly(one: Json, say: Mapping[str, str]) -> ReportAnomaly:
    return ReportAnomaly(
        title=_word(say, "anomaly", one["code"]),
        text=_evidence(one.get("evidence") or {}, say),
        severity=one["severity"],
        severity_name=_word(say, "severity", one["severity"]),
        start=_at(one["start"]),
        end=_at(one["end"]) if one.get("end") else None,
        geometry=one.get("geometry"),
        retracted=one["status"] == "retracted",
    )


def _evidence(evidence: Json, say: Mapping[str, str]) -> str:
    """Evidence in words: what has a name in the catalog, with its unit."""
    parts = [
        f"{say[f'evidence.{key}']}: {_value(key, value, say)}"
        for key, value in evidence.items()
        if f"evidence.{key}" in say and value not in (None, "", [])
    ]
    return "; ".join(parts)


def _value(key: str, value: Any, say: Mapping[str, str]) -> str:
    if isinstance(value, bool):
        return say["yes" if value else "no"]
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if not isinstance(value, int | float):
        return say.get(f"value.{value}", str(value))
    if key.endswith("_ms"):
        return _clock(datetime.fromtimestamp(value / 1000, UTC))
    number = f"{value:.1f}".rstrip("0").rstrip(".")
    pattern = next((form for suffix, form in _UNITS if key.endswith(suffix)), None)
    if pattern:
        return say[pattern].replace("{n}", number)
    return f"{number} %" if key.endswith("_pct") else number


def _zones(zones: Iterable[Json], locale: str) -> Iterable[ReportZone]:
    """Zones in which something is allowed or forbidden; a territory would cover the map."""
    for zone in zones:
        if zone["kind"] != "territory":
            name = _name(zone, locale)
            yield ReportZone(name=name, kind=zone["kind"], geometry=dict(zone["geometry"]))


def _post(post: Json, delivery: Json, locale: str) -> ReportPost:
    lon, lat = post["geometry"]["coordinates"][:2]
    ends = {delivery["departure_post"]: "departure", delivery["destination_post"]: "destination"}
    role: Any = ends.get(post["code"], "other")
    return ReportPost(name=_name(post, locale), lon=lon, lat=lat, role=role)
