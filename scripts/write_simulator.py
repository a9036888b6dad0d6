#!/usr/bin/env python3
"""Write the tables of docs/guides/simulator.md from the plots and behaviours themselves:
`.venv/bin/python scripts/write_simulator.py`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic_core import PydanticUndefined

from firmware_sim.build import make_draft
from firmware_sim.places import TOWNS
from firmware_sim.plan import parse_plan
from firmware_sim.plots import BEHAVIOURS, STORIES, Behaviour

TARGET = Path(__file__).parent.parent / "docs" / "guides" / "simulator.md"
MARK = "<!-- Below this line: written by scripts/write_simulator.py -->\n"

ROUTE = [TOWNS[name] for name in ("Almaty", "Konayev", "Taldykorgan")]
DEVICES = [
    {"id": "seal-1", "kind": "seal"},
    {"id": "seal-2", "kind": "seal"},
    {"id": "gps-1", "kind": "gps"},
]


def codes(name: str) -> Mapping[str, list[str]]:
    """Codes by kind that the ground truth names when the parameters are left as they are."""
    plan = parse_plan(
        {"vehicles": [{"vehicle": "A", "devices": DEVICES, "route": ROUTE, "plot": name}]}
    )
    found: dict[str, list[str]] = {"must": [], "may": [], "must_not": []}
    for happening in make_draft(plan.vehicles[0]).happenings:
        for expect in happening.expects:
            if expect.code not in found[expect.kind]:
                found[expect.kind].append(expect.code)
    found["may"] = [code for code in found["may"] if code not in found["must"]]
    return found


def outcome(plot: type[Behaviour]) -> str:
    """How the delivery goes, in a word."""
    result = plot().outcome()
    if result.goods_gone:
        return "goods gone"
    if result.nondelivery:
        return "not delivered"
    return "delivered" if result.honest else "delivered, tampered with"


def parameters(plot: type[Behaviour]) -> str:
    """Names with their defaults."""
    shown = []
    for name, field in plot.model_fields.items():
        if field.default is PydanticUndefined:
            raise ValueError(f"{plot.name}.{name} has no default")
        value = field.default
        text = f"{value:g}" if isinstance(value, float) else str(value)
        shown.append(f"`{name}={text}`")
    return " ".join(shown)


def table(plots: Mapping[str, type[Behaviour]], *, stories: bool) -> Iterator[str]:
    """One row for each."""
    last = " delivery |" if stories else ""
    yield f"| name | what happens | parameters | must be found | false alarm if found |{last}\n"
    yield "|---|---|---|---|---|" + ("---|" if stories else "") + "\n"
    for name, plot in plots.items():
        first = (plot.__doc__ or "").splitlines()[0]
        found = codes(name)
        must = ", ".join(f"`{code}`" for code in found["must"])
        never = ", ".join(f"`{code}`" for code in found["must_not"])
        row = f"| `{name}` | {first} | {parameters(plot)} | {must} | {never} |"
        yield row + (f" {outcome(plot)} |" if stories else "") + "\n"


def tables() -> str:
    """Both tables."""
    return "".join(
        [
            f"\n## Plots ({len(STORIES)})\n\n",
            "Codes are those of the parameters as they stand; what may be found besides is in the "
            "ground truth.\n\n",
            *table(STORIES, stories=True),
            f"\n## Behaviours ({len(BEHAVIOURS)})\n\n",
            *table(BEHAVIOURS, stories=False),
        ]
    )


def render(current: str) -> str:
    """The guide with its tables as they are to be."""
    head, mark, _ = current.partition(MARK)
    if not mark:
        raise ValueError(f"{TARGET} has lost its line {MARK.strip()}")
    return head + mark + tables()


if __name__ == "__main__":
    TARGET.write_text(render(TARGET.read_text(encoding="utf-8")), encoding="utf-8")
