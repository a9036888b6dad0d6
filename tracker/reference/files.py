"""The data files, read into the bodies that the API takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final, Literal, cast

import yaml

Resource = Literal["zones", "posts", "routes", "participants"]

#: In the order of loading: posts and routes name zones.
RESOURCES: Final[tuple[Resource, ...]] = ("zones", "posts", "routes", "participants")


@dataclass(frozen=True, slots=True, kw_only=True)
class Goods:
    """One position of the demo's goods catalogue; rates are KZT per kg gross."""

    hs_code: str
    risk_class: str
    description: Mapping[str, str]
    value_kzt_per_kg: int
    payments_kzt_per_kg: int


def read_bodies(resource: Resource) -> list[dict[str, Any]]:
    """The bodies of all creation calls of one resource, in file order. Do not change them."""
    return _read(resource)


def read_goods() -> tuple[Goods, ...]:
    """The goods catalogue."""
    return tuple(
        Goods(risk_class=entry["class"], **{k: v for k, v in entry.items() if k != "class"})
        for entry in _read("goods")
    )


@cache
def _read(name: str) -> list[dict[str, Any]]:
    text = files("tracker.reference").joinpath("data", f"{name}.yaml").read_text("utf-8")
    # The C loader is some ten times as quick, and every start of the demo reads these files.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return cast(list[dict[str, Any]], yaml.load(text, Loader=loader))
