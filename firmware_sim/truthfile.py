"""The file of ground truth: JSON lines, written by a run and read by scoring.

One line each: ``run`` (what was played), then for every delivery its ``happening`` and ``act``
lines, ``reports`` for each device (when each record was made) and one ``delivery`` line. Every
line but the first names the delivery's ``registration``. Times are true, ms UTC.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

from firmware_sim.errors import ScoreError
from firmware_sim.ride import Ride
from firmware_sim.truth import (
    DeliveryTruth,
    Expectation,
    Happening,
    happening_fields,
    truth_lines,
)

FORMAT = 1

# Whatever makes a seal look, or be, tampered with; `must_not` does not count.
_TAMPERED = frozenset(
    {
        *("seal_cut", "seal_body_open", "seal_fault", "seal_state_conflict"),
        *("unauthorised_unlock", "separation", "identity_conflict"),
    }
)


_OF_STOPS = frozenset({"unauthorised_stop", "unloading_signature", "rendezvous"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Reports:
    """When a device made its records: `made_ms[n]` is that of seq n + 1 of this gen.

    `events`: what it noticed itself, (code, ms).
    """

    device: str
    kind: str
    gen: int | None
    made_ms: tuple[int, ...]
    events: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """All that is known of one delivery.

    `off_road_ms`: when it left its road's corridor. `stood_ms`: from when to when it stood, where
    that was a quarter of an hour or more. `zoned`: for each happening, whether it began within a
    zone of the scenario where one may stop.
    """

    registration: str
    group: str
    km: float
    off_road_ms: tuple[int, ...]
    stood_ms: tuple[tuple[int, int], ...]
    truth: DeliveryTruth
    happenings: tuple[Happening, ...]
    zoned: tuple[bool, ...]
    reports: Mapping[str, Reports]

    def kind_of(self, device: str | None) -> str | None:
        """Kind of one of its devices; None for any other."""
        found = self.reports.get(device or "")
        return None if found is None else found.kind


@dataclass(frozen=True, slots=True, kw_only=True)
class TruthFile:
    """A whole file."""

    run: Mapping[str, Any]
    stories: tuple[Story, ...]


def run_line(**fields: Any) -> str:
    """The first line."""
    return _line({"type": "run", "format": FORMAT, **fields})


def story_lines(
    ride: Ride, reports: Iterable[Reports], *, zoned: Callable[[float, float], bool]
) -> Iterator[str]:
    """The truth of one delivery, played to its end or not. `zoned`: whether one may stop there."""
    head = {"registration": ride.role.registration}
    for line in truth_lines(ride.vehicle):
        fields = json.loads(line)
        if fields["type"] == "delivery":
            told = [*_deadline(ride), *_arrival(ride)]
            yield from (_line({**line, **head, "zoned": False}) for line in told)
            yield from (_line({"type": "reports", **head, **_packed(r)}) for r in reports)
            yield _line({**fields, **head, **_about(ride)})
        elif fields["type"] == "happening":
            in_zone = zoned(fields["lon"], fields["lat"])
            if in_zone:
                fields["expects"] = [_allowed(expect) for expect in fields["expects"]]
            yield _line({**fields, **head, "zoned": in_zone})
        else:
            yield _line({**fields, **head})


def _allowed(expect: dict[str, Any]) -> dict[str, Any]:
    """Where one may stop no stop has to be found: what a plot says of its stop becomes `may`."""
    if expect["kind"] == "must" and expect["code"] in _OF_STOPS:
        return {**expect, "kind": "may"}
    return expect


def _deadline(ride: Ride) -> Iterator[dict[str, Any]]:
    """What is to be found of a deadline that passes on purpose, if no arrival stops its clock."""
    if ride.role.group.deadline.minutes_ahead is None:
        return
    if any(act.kind == "arrival" for act in ride.acts()):
        return
    late = Expectation(code="overdue", device=None, kind="must")
    yield _of_the_whole(ride, "deadline_missed", late, *_may("late_risk", "non_arrival", "silence"))


def _arrival(ride: Ride) -> Iterator[dict[str, Any]]:
    """An officer who records an arrival with a seal that was tampered with contradicts it."""
    told = (expect for happening in ride.vehicle.happenings for expect in happening.expects)
    codes = {expect.code for expect in told if expect.kind != "must_not"}
    arrived = any(act.kind == "arrival" for act in ride.acts())
    if arrived and codes & _TAMPERED:
        yield _of_the_whole(ride, "arrival_recorded", *_may("arrival_mismatch"))


def _may(*codes: str) -> Iterator[Expectation]:
    return (Expectation(code=code, device=None, kind="may") for code in codes)


def _of_the_whole(ride: Ride, name: str, *expects: Expectation) -> dict[str, Any]:
    """A happening at the end of the trip whose expectations have no window."""
    truth = ride.vehicle.truth
    happening = Happening(
        name=name,
        params={},
        vehicle=ride.label,
        device_ids=(),
        start_ms=truth.t_ms,
        end_ms=truth.t_ms,
        lon=truth.lon,
        lat=truth.lat,
        place="",
        expects=expects,
    )
    return {"type": "happening", **happening_fields(happening)}


def _about(ride: Ride) -> dict[str, Any]:
    return {
        "group": ride.role.group.group,
        "road": ride.role.lane.code,
        "off_road_ms": ride.off_road_ms,
        "stood_ms": ride.stood_ms,
        "km": round(ride.driven_m / 1000, 3),
        "devices": {m.device.config.id: m.device.config.kind for m in ride.mounts},
    }


def _packed(reports: Reports) -> dict[str, Any]:
    """Times as the first and the steps from one to the next: a tenth of the size."""
    made = reports.made_ms
    return {
        "device": reports.device,
        "kind": reports.kind,
        "gen": reports.gen,
        "first_ms": made[0] if made else None,
        "steps_ms": [b - a for a, b in pairwise(made)],
        "events": reports.events,
    }


def reports_of(ride: Ride, made_ms: Mapping[str, array[int]]) -> Iterator[Reports]:
    """The reports of a delivery's devices, from what the run has noted."""
    seen = set()
    for mount in ride.mounts:
        device = mount.device
        if device.config.id not in seen:
            seen.add(device.config.id)
            yield Reports(
                device=device.config.id,
                kind=device.config.kind,
                gen=device.gen,
                made_ms=tuple(made_ms[device.config.id]),
                events=tuple(device.events),
            )


# -- reading --------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Half:
    happenings: list[Happening] = field(default_factory=list)
    zoned: list[bool] = field(default_factory=list)
    reports: dict[str, Reports] = field(default_factory=dict)


def read_truth(file: Path) -> TruthFile:
    """Read a file of truth. ScoreError names the line that is wrong."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ScoreError(f"{file}: {error}; give the file that run --truth wrote") from error
    return parse_truth(lines, name=str(file))


def parse_truth(lines: Iterable[str], *, name: str = "truth") -> TruthFile:
    """The same for lines that are read already."""
    run: dict[str, Any] = {}
    halves: dict[str, _Half] = {}
    stories: list[Story] = []
    for number, line in enumerate(lines, start=1):
        try:
            fields = json.loads(line)
            kind = fields.pop("type")
            if kind == "run":
                run = fields
                continue
            registration = fields.pop("registration")
            half = halves.setdefault(registration, _Half())
            if kind == "happening":
                half.happenings.append(_happening(fields))
                half.zoned.append(bool(fields["zoned"]))
            elif kind == "reports":
                half.reports[fields["device"]] = _unpacked(fields)
            elif kind == "delivery":
                stories.append(_story(registration, fields, half))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ScoreError(
                f"{name}: line {number} is no line of truth ({type(error).__name__}: {error}); "
                "give the file that run --truth wrote"
            ) from error
    if run.get("format") != FORMAT:
        raise ScoreError(f"{name}: no run line of format {FORMAT}; give what run --truth wrote")
    return TruthFile(run=run, stories=tuple(stories))


def _happening(fields: dict[str, Any]) -> Happening:
    expects = tuple(Expectation(**expect) for expect in fields["expects"])
    known = {name: fields[name] for name in Happening.__dataclass_fields__ if name in fields}
    return Happening(**{**known, "expects": expects, "device_ids": tuple(fields["device_ids"])})


def _unpacked(fields: dict[str, Any]) -> Reports:
    first = fields["first_ms"]
    made = () if first is None else tuple(accumulate([first, *fields["steps_ms"]]))
    return Reports(
        device=fields["device"],
        kind=fields["kind"],
        gen=fields["gen"],
        made_ms=made,
        events=tuple((code, at_ms) for code, at_ms in fields["events"]),
    )


def _story(registration: str, fields: dict[str, Any], half: _Half) -> Story:
    known = {name: fields[name] for name in DeliveryTruth.__dataclass_fields__ if name in fields}
    return Story(
        registration=registration,
        group=fields["group"],
        km=fields["km"],
        off_road_ms=tuple(fields["off_road_ms"]),
        stood_ms=tuple((a, b) for a, b in fields["stood_ms"]),
        truth=DeliveryTruth(**{**known, "plots": tuple(known.get("plots", ()))}),
        happenings=tuple(half.happenings),
        zoned=tuple(half.zoned),
        reports=half.reports,
    )


def _line(fields: Mapping[str, Any]) -> str:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
