"""What is lost when a delivery does not arrive, and the level matrix. Pure, whole tenge."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final, Literal

from msgspec import Struct

Level = Literal["low", "medium", "high"]
GoodsClass = Literal["plain", "consumer", "excisable", "licensed"]


class GoodsFacts(Struct, frozen=True, kw_only=True):
    """One line of goods. Amounts in KZT; ``hs_code`` as declared, digits first."""

    hs_code: str
    value_kzt: int = 0
    payments_at_stake_kzt: int = 0


#: Longest prefix wins. Headings where excise applies, or a licence or export control does.
CLASS_BY_PREFIX: Final[dict[str, GoodsClass]] = {
    "22": "excisable",  # spirits, wine, beer …
    "2201": "plain",  # … but not water
    "2202": "plain",  # … nor soft drinks
    "2209": "plain",  # … nor vinegar
    "24": "excisable",  # tobacco
    "2709": "excisable",  # crude oil
    "2710": "excisable",  # petrol, diesel
    "8703": "excisable",  # cars
    "28": "licensed",  # inorganic chemicals: precursors, isotopes
    "29": "licensed",  # organic chemicals: precursors, drugs
    "30": "licensed",  # medicines
    "36": "licensed",  # explosives
    "3808": "licensed",  # pesticides
    "71": "licensed",  # precious metals and stones
    "8526": "licensed",  # radar and radio navigation
    "88": "licensed",  # aircraft, drones
    "93": "licensed",  # arms
    "61": "consumer",
    "62": "consumer",
    "64": "consumer",
    "8471": "consumer",  # computers
    "8517": "consumer",  # telephones
    "8528": "consumer",  # television sets
}

#: Per cent of the payments: what a loss costs beyond them. Excisable goods undercut the taxed
#: market; licensed ones may do harm, for which three times the payments is the expert's stand-in.
FACTOR_PCT: Final[dict[GoodsClass, int]] = {
    "plain": 100,
    "consumer": 110,
    "excisable": 150,
    "licensed": 300,
}

#: Where payments are not stated, or stated low, the load still counts with this share of its
#: value: less than VAT alone, so true statements are hardly ever raised by it.
VALUE_PCT: Final = 10
#: A search and an enquiry cost something even where nothing is stated; it keeps rank by likelihood.
MINIMUM_KZT: Final = 100_000


def goods_class(hs_code: str) -> GoodsClass:
    """The class of an HS code by its longest known prefix."""
    digits = "".join(c for c in hs_code if c.isdigit())
    for length in (4, 2):
        found = CLASS_BY_PREFIX.get(digits[:length]) if len(digits) >= length else None
        if found:
            return found
    return "plain"


def consequence_kzt(goods: Sequence[GoodsFacts]) -> int:
    """What is lost if the goods do not arrive, in KZT."""
    return max(MINIMUM_KZT, sum(_line_kzt(line) for line in goods))


def _line_kzt(line: GoodsFacts) -> int:
    at_stake = max(line.payments_at_stake_kzt, line.value_kzt * VALUE_PCT // 100, 0)
    return at_stake * FACTOR_PCT[goods_class(line.hs_code)] // 100


# ---------------------------------------------------------------- level = likelihood x consequence

#: Bounds of the likelihood bands. 2 %: four times the base rate, so nothing but a poor record does
#: not reach it. 10 %: a clear indicator. 40 %: several of different kinds.
LIKELIHOOD_BOUNDS: Final = (0.02, 0.10, 0.40)
#: Bounds of the consequence bands, KZT: below the cost of stopping a lorry; a usual load; a dear
#: one; one that is worth a mobile group by itself.
CONSEQUENCE_BOUNDS_KZT: Final = (1_000_000, 10_000_000, 50_000_000)

MATRIX: Final[tuple[tuple[Level, ...], ...]] = (
    # < 1 mln  < 10 mln  < 50 mln  more
    ("low", "low", "low", "low"),  # < 2 %
    ("low", "medium", "medium", "high"),  # < 10 %
    ("medium", "high", "high", "high"),  # < 40 %
    ("high", "high", "high", "high"),  # more
)


def level_of(probability: float, consequence: int) -> Level:
    """The level of a likelihood (0–1) and a consequence (KZT) by the matrix."""
    row = bisect_right(LIKELIHOOD_BOUNDS, probability)
    return MATRIX[row][bisect_right(CONSEQUENCE_BOUNDS_KZT, consequence)]
