"""Values that a scenario leaves to chance: drawn from the scenario's seed, the same every time."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

Scalar = bool | int | float | str


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Uniform(_Part):
    """Any value between two, each as likely. Whole numbers if both are."""

    uniform: tuple[int | float, int | float]

    @model_validator(mode="after")
    def _in_order(self) -> Uniform:
        if self.uniform[0] > self.uniform[1]:
            raise ValueError("give the lower value first")
        return self

    def draw(self, rng: random.Random) -> float:
        """A value."""
        low, high = self.uniform
        if isinstance(low, int) and isinstance(high, int):
            return rng.randint(low, high)
        return _within(rng.uniform(low, high), low, high)

    def extremes(self) -> Sequence[Scalar]:
        """Values between which, or among which, every draw lies."""
        return self.uniform


class Bell(_Part):
    """Parameters of a normal distribution cut off at both ends."""

    mean: float
    sd: float = Field(gt=0)
    min: float
    max: float

    @model_validator(mode="after")
    def _in_order(self) -> Bell:
        if not self.min <= self.mean <= self.max:
            raise ValueError("mean must lie between min and max")
        return self


class Normal(_Part):
    """Values around a mean, none beyond min and max."""

    normal: Bell

    def draw(self, rng: random.Random) -> float:
        """A value."""
        bell = self.normal
        return _within(rng.gauss(bell.mean, bell.sd), bell.min, bell.max)

    def extremes(self) -> Sequence[Scalar]:
        """The two ends."""
        return self.normal.min, self.normal.max


class Tail(_Part):
    """Parameters of a log-normal distribution: half below the median, a long tail above."""

    median: float = Field(gt=0)
    sigma: float = Field(gt=0, le=5, description="of the logarithm; 1: one in six above 2.7 times")
    max: float = Field(gt=0)


class LogNormal(_Part):
    """Values with many small and few large ones, as durations and sums of money have."""

    lognormal: Tail

    def draw(self, rng: random.Random) -> float:
        """A value."""
        tail = self.lognormal
        return _within(tail.median * math.exp(rng.gauss(0, tail.sigma)), 0.0, tail.max)

    def extremes(self) -> Sequence[Scalar]:
        """The median and the top: the low end has none."""
        return min(self.lognormal.median, self.lognormal.max), self.lognormal.max


class Choice(_Part):
    """One of several values, each as likely."""

    choice: tuple[Scalar, ...] = Field(min_length=1)

    def draw(self, rng: random.Random) -> Scalar:
        """A value."""
        return rng.choice(self.choice)

    def extremes(self) -> Sequence[Scalar]:
        """All of them."""
        return self.choice


def _within(value: float, low: float, high: float) -> float:
    """To six places, which is enough and short in a file, but never beyond the ends."""
    return min(max(round(value, 6), low), high)


Draw = Uniform | Normal | LogNormal | Choice
Amount = float | Uniform | Normal | LogNormal
"""A number, or how to draw one."""

KINDS: tuple[Literal["uniform", "normal", "lognormal", "choice"], ...] = (
    "uniform",
    "normal",
    "lognormal",
    "choice",
)
_ADAPTERS: Mapping[str, TypeAdapter[Any]] = {
    name: TypeAdapter(kind)
    for name, kind in zip(KINDS, (Uniform, Normal, LogNormal, Choice), strict=True)
}


def as_draw(value: object) -> Draw | None:
    """The draw that a plain value describes; None if it is a value of its own.

    Raises ValueError with what is wrong with the draw.
    """
    if not isinstance(value, dict) or len(value) != 1 or next(iter(value)) not in _ADAPTERS:
        return None
    name = next(iter(value))
    try:
        found: Draw = _ADAPTERS[name].validate_python(value)
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join([name, *(str(part) for part in fault["loc"] if part != name)])
        raise ValueError(f"{place}: {fault['msg'].removeprefix('Value error, ')}") from error
    return found


def _named(name: str, value: object) -> Draw | None:
    try:
        return as_draw(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def amount(value: Amount, rng: random.Random) -> float:
    """The number itself, or one drawn."""
    return float(value if isinstance(value, int | float) else value.draw(rng))


def drawn(params: Mapping[str, Any], rng: random.Random) -> dict[str, Any]:
    """Parameters with each draw replaced by a value; in order of name, so that the order in a
    file does not matter."""
    found: dict[str, Any] = {}
    for name in sorted(params):
        draw = _named(name, params[name])
        found[name] = params[name] if draw is None else draw.draw(rng)
    return found


def extremes(params: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Parameter sets that reach each draw's ends in turn, the others at their first."""
    draws = {
        name: draw for name, value in params.items() if (draw := _named(name, value)) is not None
    }
    first = {**params, **{name: draw.extremes()[0] for name, draw in draws.items()}}
    others = [
        {**first, name: value} for name, draw in draws.items() for value in draw.extremes()[1:]
    ]
    return [first, *others]
