"""The written part of the report: facts, anomalies and reasons under the map, ready to print."""

from __future__ import annotations

import html
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from typing import Final

from maps.report_values import DeliveryReport, ReportAnomaly, ReportReason
from maps.report_words import word

KAZAKHSTAN_TIME: Final = timezone(timedelta(hours=5))

PAGE_STYLE = """
html, body { height: auto !important; }
body { display: flex; flex-direction: column;
  font: 15px/1.45 "Noto Sans", system-ui, sans-serif; color: #17222c; background: #fff; }
.folium-map { order: -1; height: 62vh !important; background: #d3dfe8;
  border-bottom: 1px solid #d8dee5; }
.leaflet-tooltip.city { background: none; border: 0; box-shadow: none; color: #4a4f57;
  font-size: 11px; padding: 0 2px; text-shadow: 0 0 3px #fff, 0 0 3px #fff; }
.leaflet-tooltip.city::before { display: none; }
.report { width: 100%; max-width: 70rem; box-sizing: border-box; margin: 0 auto; padding: 1rem;
  display: grid; gap: 0 2.5rem;
  grid-template-columns: repeat(auto-fit, minmax(min(22rem, 100%), 1fr)); }
.report header, .report footer, .report .anomalies { grid-column: 1 / -1; }
.report h1 { font-size: 1.4rem; margin: 0; overflow-wrap: anywhere; }
.report h2 { font-size: 1.05rem; margin: 1.2rem 0 .4rem; }
.report p { margin: .2rem 0; }
.report .soft { color: #566270; font-size: .87rem; }
.report table { border-collapse: collapse; width: 100%; }
.report td { padding: .25rem .4rem .25rem 0; border-bottom: 1px solid #d8dee5;
  vertical-align: top; overflow-wrap: anywhere; }
.report td:first-child { color: #566270; }
.report .sum td { color: #17222c; }
.report .sum td:last-child { text-align: right; white-space: nowrap; }
.report li { margin-bottom: .5rem; }
.report li.retracted { color: #566270; text-decoration: line-through; }
@media print { .folium-map { height: 45vh !important; } }
"""


def body(report: DeliveryReport, locale: str) -> str:
    """The written part as HTML; every text is escaped here."""
    made = f"{word('made', locale)} {local_time(report.generated_at)} · {word('zone_note', locale)}"
    return "".join(
        [
            f"<article class='report' lang='{html.escape(locale, quote=True)}'>",
            f"<header><h1>{html.escape(report.title)}</h1>",
            f"<p class='soft'>{html.escape(made)}</p></header>",
            _facts(report, locale),
            _reasons(report.reasons, locale),
            _anomalies(report.anomalies, locale),
            f"<footer class='soft'><p>{html.escape(word('credits', locale))}</p></footer>",
            "</article>",
        ]
    )


def _facts(report: DeliveryReport, locale: str) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{html.escape(value)}</td></tr>"
        for name, value in report.facts
    )
    return f"<section><h2>{html.escape(word('facts', locale))}</h2><table>{rows}</table></section>"


def _reasons(reasons: Iterable[ReportReason], locale: str) -> str:
    found = list(reasons)
    if not found:
        return ""
    rows = "".join(_reason(reason.text, reason.contribution) for reason in found)
    numbers = [r.contribution for r in found if r.contribution is not None]
    if numbers:
        rows += _reason(word("sum", locale), sum(numbers))
    title = html.escape(word("reasons", locale))
    return f"<section><h2>{title}</h2><table class='sum'>{rows}</table></section>"


def _reason(text: str, contribution: float | None) -> str:
    number = "" if contribution is None else f"{contribution:+.2f}".replace("-", "−")
    return f"<tr><td>{html.escape(text)}</td><td>{number}</td></tr>"


def _anomalies(anomalies: Iterable[ReportAnomaly], locale: str) -> str:
    items = "".join(_anomaly(one, locale) for one in anomalies)
    title = html.escape(word("anomalies", locale))
    listed = f"<ol>{items}</ol>" if items else f"<p>{html.escape(word('none', locale))}</p>"
    return f"<section class='anomalies'><h2>{title}</h2>{listed}</section>"


def _anomaly(one: ReportAnomaly, locale: str) -> str:
    end = word("ongoing", locale) if one.end is None else local_time(one.end)
    when = local_time(one.start) if one.end == one.start else f"{local_time(one.start)} – {end}"
    mark = f" · {word('retracted', locale)}" if one.retracted else ""
    head = html.escape(f"{one.title} ({one.severity_name}){mark}")
    return (
        f"<li class='{'retracted' if one.retracted else 'standing'}'><b>{head}</b><br>"
        f"<span class='soft'>{html.escape(when)}</span><br>{html.escape(one.text)}</li>"
    )


def local_time(at: datetime) -> str:
    """An aware instant in Kazakhstan time, to the second."""
    return at.astimezone(KAZAKHSTAN_TIME).strftime("%d.%m.%Y %H:%M:%S")
