"""The figures of a run for people: a table on the terminal, a page in Markdown, plain values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from firmware_sim.score import Figures, Share, Tally
from firmware_sim.score_goals import NO_GOAL, Goal, goals
from firmware_sim.score_stats import Interval

_HEAD = (
    *("n", "recall (95 %)", "precision (95 %)"),
    *("delay p50, reports", "p95", "p50, min", "false", "false per 10,000 km (95 %)"),
)

# Of a table in a file or a log, where nobody can widen the window.
_WIDTH = 180


def as_json(figures: Figures) -> dict[str, Any]:
    """All figures as plain values."""
    return {
        "run": dict(figures.run),
        "deliveries": len(figures.judgements),
        "deliveries_missing": figures.missing,
        "km": round(figures.km),
        "nondelivery_top10_recall": _rounded(figures.top.value),
        "nondelivery_top10": _share(figures.top),
        "nondelivery_top10_by_loss": _share(figures.top_by_loss),
        "nondelivery_loss_covered_by_top10": _rounded(figures.loss_covered),
        "goals": [_goal(goal) for goal in goals(figures)],
        "codes": {code: _tally(tally) for code, tally in figures.codes.items()},
        "plots": {plot: _tally(tally) for plot, tally in figures.plots.items()},
        "codes_by_plot": [
            {"plot": plot, "code": code, **_tally(tally)}
            for (plot, code), tally in figures.pairs.items()
        ],
    }


def show(figures: Figures, console: Console) -> None:
    """Print goals, codes and plots."""
    if not console.is_terminal:
        console = Console(file=console.file, width=_WIDTH)
    for title, head, rows in _tables(figures):
        table = Table(*head, title=title)
        for row in rows:
            table.add_row(*row)
        console.print(table)


def as_markdown(figures: Figures) -> str:
    """The same as a page; bad rows are shown like the others."""
    parts = []
    for title, head, rows in _tables(figures):
        lines = [f"## {title}", "", _row(head), _row("---" for _ in head)]
        parts.append("\n".join([*lines, *(_row(row) for row in rows)]))
    return "\n\n".join(parts) + "\n"


def _tables(figures: Figures) -> Iterator[tuple[str, Sequence[str], list[tuple[str, ...]]]]:
    about = f"{len(figures.judgements)} deliveries, {figures.km:,.0f} km"
    goal_rows: list[tuple[str, ...]] = [
        (g.what, g.wanted, g.measured, _verdict(g)) for g in goals(figures)
    ]
    yield f"Goals ({about})", ("measure", "goal", "measured (95 %)", "met"), goal_rows
    codes: list[tuple[str, ...]] = [(code, *_cells(tally)) for code, tally in figures.codes.items()]
    yield "By code", ("code", *_HEAD), codes
    plots = [(plot, str(tally.deliveries), *_cells(tally)) for plot, tally in figures.plots.items()]
    yield "By plot, all codes", ("plot", "deliveries", *_HEAD), plots
    pairs: list[tuple[str, ...]] = [
        (plot, code, *_cells(tally)) for (plot, code), tally in figures.pairs.items()
    ]
    yield "By plot and code", ("plot", "code", *_HEAD), pairs


def _cells(tally: Tally) -> tuple[str, ...]:
    rate = tally.false_rate
    return (
        str(tally.wanted),
        share_text(tally.recall),
        share_text(tally.precision),
        _number(tally.delay_reports(0.5)),
        _number(tally.delay_reports(0.95)),
        _number(tally.delay_minutes(0.5)),
        str(tally.false),
        "–" if rate is None else f"{rate[0]:.2f} ({rate[1][0]:.2f}–{rate[1][1]:.2f})",
    )


def share_text(share: Share) -> str:
    """A share with its interval, or a dash."""
    value, interval = share.value, share.interval
    if value is None or interval is None:
        return "–"
    return f"{value:.3f} ({interval[0]:.3f}–{interval[1]:.3f})"


def _tally(tally: Tally) -> dict[str, Any]:
    rate = tally.false_rate
    return {
        "n": tally.wanted,
        "found": tally.found,
        "recall": _rounded(tally.recall.value),
        "recall_interval": _ends(tally.recall.interval),
        "right": tally.right,
        "false": tally.false,
        "precision": _rounded(tally.precision.value),
        "precision_interval": _ends(tally.precision.interval),
        "delay_reports_p50": _rounded(tally.delay_reports(0.5)),
        "delay_reports_p95": _rounded(tally.delay_reports(0.95)),
        "delay_minutes_p50": _rounded(tally.delay_minutes(0.5)),
        "deliveries": tally.deliveries,
        "km": round(tally.km),
        "false_per_10000_km": None if rate is None else _rounded(rate[0]),
        "false_per_10000_km_interval": None if rate is None else _ends(rate[1]),
    }


def _share(share: Share) -> dict[str, Any]:
    return {
        "hits": share.hits,
        "n": share.n,
        "value": _rounded(share.value),
        "interval": _ends(share.interval),
    }


def _goal(goal: Goal) -> Mapping[str, Any]:
    return {"what": goal.what, "goal": goal.wanted, "measured": goal.measured, "met": goal.met}


def _ends(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [round(interval[0], 4), round(interval[1], 4)]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _verdict(goal: Goal) -> str:
    if goal.wanted == NO_GOAL:
        return NO_GOAL
    return {True: "yes", False: "**no**", None: "not measured"}[goal.met]


def _row(cells: Any) -> str:
    return "| " + " | ".join(cells) + " |"
