"""Holds what the server found of one delivery against what happened on it. Pure.

The rule: an anomaly answers an expectation of the truth if it has the same code, belongs to a
device of the expected kind (where one is named), and its span touches the expected window, widened
by a tolerance on both sides. An anomaly that answers a `must` or a `may` is right: what one thing
explains is no false alarm because another would not explain it. Any other is false, `must_not` or
not. Left out of all counts is silence that begins with a device's last record and was not wanted:
the story is over, nothing was hidden.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from firmware_sim.offroad import first_after
from firmware_sim.truth import Expectation, Happening
from firmware_sim.truthfile import Reports, Story

Verdict = Literal["right", "false", "left_out"]

MATURE_S: Mapping[str, float] = {
    "unauthorised_stop": 900.0,
    "rendezvous": 600.0,
    "separation": 300.0,
}
"""What the contract lets pass before these codes may be raised: a delay counts from there."""

TOLD_BY: Mapping[str, tuple[str, ...]] = {
    "seal_cut": ("rope_cut",),
    "seal_body_open": ("case_open",),
    "seal_fault": ("motor_fault", "selftest_fail"),
    "battery_low": ("bat_low", "bat_crit"),
    "power_cut": ("ext_cut",),
    "jamming": ("jam_on",),
    "unauthorised_unlock": ("unlock_ok", "unsealed", "card_illegal", "pin_wrong"),
}
"""Events of the device itself that show these codes, whichever comes first."""

STANDING = frozenset({"unauthorised_stop", "rendezvous"})
"""Codes that count from the moment the vehicle stands."""

BY_RECEPTION = frozenset({"identity_conflict"})
"""Codes that the server dates by when it was told, not by the devices' time: no window applies."""

_LAST_RECORD_MS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A standing anomaly of the server. `end_ms` None: it has no end yet."""

    code: str
    device: str | None
    start_ms: int
    end_ms: int | None
    found_device: str | None = None
    found_gen: int | None = None
    found_seq: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delay:
    """From the first record that shows something to the one by which it was found."""

    reports: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Something that had to be found. `delay` None: not found, or by no record of ours."""

    code: str
    happening: str
    found: bool
    delay: Delay | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A finding and what it is worth."""

    code: str
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One delivery: what had to be found, and what was."""

    wanted: tuple[Wanted, ...]
    judged: tuple[Judged, ...]


def compare(story: Story, findings: Iterable[Finding], *, tolerance_s: float) -> Compared:
    """Hold findings against the truth of a delivery."""
    found = list(findings)
    match = _Match(story, round(tolerance_s * 1000))
    return Compared(
        wanted=tuple(match.wanted(found)),
        judged=tuple(
            Judged(code=finding.code, verdict=match.verdict(finding)) for finding in found
        ),
    )


class _Match:
    def __init__(self, story: Story, tolerance_ms: int) -> None:
        self._story, self._tolerance_ms = story, tolerance_ms

    def wanted(self, findings: list[Finding]) -> Iterator[Wanted]:
        for happening in self._story.happenings:
            for expected in happening.expects:
                if expected.kind == "must":
                    answers = [f for f in findings if self.answers(f, expected)]
                    delays = [d for f in answers if (d := self._delay(f, happening)) is not None]
                    yield Wanted(
                        code=expected.code,
                        happening=happening.name,
                        found=bool(answers),
                        delay=min(delays, key=lambda d: d.seconds, default=None),
                    )

    def verdict(self, finding: Finding) -> Verdict:
        kinds = {
            expected.kind
            for happening in self._story.happenings
            for expected in happening.expects
            if self.answers(finding, expected)
        }
        if "must" in kinds:
            return "right"
        if self._after_all(finding):
            return "left_out"
        return "right" if "may" in kinds else "false"

    def answers(self, finding: Finding, expected: Expectation) -> bool:
        if finding.code != expected.code or not self._same_device(finding, expected):
            return False
        if finding.code in BY_RECEPTION:
            return True
        end_ms = finding.end_ms
        too_late = expected.to_ms is not None and (
            finding.start_ms > expected.to_ms + self._tolerance_ms
        )
        too_early = (
            expected.from_ms is not None
            and end_ms is not None
            and end_ms < expected.from_ms - self._tolerance_ms
        )
        return not (too_late or too_early)

    def _same_device(self, finding: Finding, expected: Expectation) -> bool:
        if expected.device in (None, "any"):
            return True
        return self._story.kind_of(finding.device) == expected.device

    def _after_all(self, finding: Finding) -> bool:
        """Whether it is the silence after a device's last record."""
        reports = self._story.reports.get(finding.device or "")
        if finding.code != "silence" or reports is None or not reports.made_ms:
            return False
        return finding.start_ms >= reports.made_ms[-1] - _LAST_RECORD_MS

    def _delay(self, finding: Finding, happening: Happening) -> Delay | None:
        reports = self._story.reports.get(finding.found_device or "")
        seq = finding.found_seq
        if reports is None or seq is None or finding.found_gen != reports.gen:
            return None
        if not 1 <= seq <= len(reports.made_ms):
            return None
        first = bisect_left(reports.made_ms, self._shows_ms(finding.code, happening, reports))
        at = seq - 1
        if first >= at:
            return Delay(reports=0, seconds=0.0)
        seconds = (reports.made_ms[at] - reports.made_ms[first]) / 1000
        return Delay(reports=at - first, seconds=seconds)

    def _shows_ms(self, code: str, happening: Happening, reports: Reports) -> float:
        """From when on a record can show it."""
        start_ms, end_ms = happening.start_ms, happening.end_ms
        if code == "route_deviation":
            off_ms = first_after(self._story.off_road_ms, start_ms)
            return off_ms if off_ms is not None and off_ms <= end_ms else start_ms
        if code in TOLD_BY:
            told = [at_ms for event, at_ms in reports.events if event in TOLD_BY[code]]
            return next((at_ms for at_ms in sorted(told) if at_ms >= start_ms), start_ms)
        if code in STANDING:
            stood = [a for a, b in self._story.stood_ms if b > start_ms and a < end_ms]
            start_ms = stood[0] if stood else start_ms
        return start_ms + MATURE_S.get(code, 0.0) * 1000
