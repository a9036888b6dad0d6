"""Intervals that say how sure a measured share or rate is, and quantiles. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

# Two-sided 95 %: the normal quantile, and the share that each side leaves out.
_Z = 1.959963984540054
_SIDE = 0.025
_HALVINGS = 200

Interval = tuple[float, float]


def wilson(hits: int, n: int) -> Interval | None:
    """95 % interval of a share by Wilson's score method; None without a trial.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
    JASA 22 (1927). Unlike the usual normal interval it stays within 0–1 and holds for small n.
    """
    if not 0 <= hits <= n:
        raise ValueError(f"{hits} of {n}: hits are at least 0 and at most n")
    if n == 0:
        return None
    p, z2 = hits / n, _Z * _Z
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    # At the ends the formula gives the share itself but for rounding.
    return min(p, max(0.0, middle - half)), max(p, min(1.0, middle + half))


def poisson(count: int) -> Interval:
    """Exact 95 % interval of the mean of a Poisson variable that was counted once.

    Source: F. Garwood, "Fiducial limits for the Poisson distribution", Biometrika 28 (1936): the
    lower end is where so many or more, the upper where so many or fewer have a chance of 2.5 %.
    """
    if count < 0:
        raise ValueError("a count is at least 0")
    top = count + 10.0 * math.sqrt(count + 1.0) + 10.0
    lower = 0.0
    if count:
        lower = _where(lambda mean: 1.0 - _at_most(count - 1, mean) > _SIDE, 0.0, float(count))
    upper = _where(lambda mean: _at_most(count, mean) < _SIDE, float(count), top)
    return lower, upper


def rate(count: int, exposure: float, per: float) -> tuple[float, Interval] | None:
    """(events per so much exposure, its exact interval); None without exposure."""
    if exposure <= 0:
        return None
    low, high = poisson(count)
    scale = per / exposure
    return count * scale, (low * scale, high * scale)


def quantile(values: Sequence[float], share: float) -> float | None:
    """The value below which this share lies, between neighbours in proportion; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def _at_most(count: int, mean: float) -> float:
    """P(X ≤ count) for a Poisson variable, summed on the side where the terms fall."""
    if mean <= 0:
        return 1.0
    if count >= mean:
        return 1.0 - _tail(count, mean)
    term = total = _chance(count, mean)
    for k in range(count, 0, -1):
        term *= k / mean
        total += term
        if term <= total * 1e-17:
            break
    return total


def _tail(count: int, mean: float) -> float:
    """P(X > count) for a count of at least the mean."""
    k = count + 1
    term = total = _chance(k, mean)
    while term > total * 1e-17:
        k += 1
        term *= mean / k
        total += term
    return total


def _chance(k: int, mean: float) -> float:
    return math.exp(k * math.log(mean) - mean - math.lgamma(k + 1))


def _where(holds: Callable[[float], bool], low: float, high: float) -> float:
    """The place between two from which on a condition holds, to the last bit."""
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (low, middle) if holds(middle) else (middle, high)
    return (low + high) / 2
