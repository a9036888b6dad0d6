"""Participants of foreign trade: the risk category by seed rules, and the tax number's check.

Pure. A category says how much trust past conduct has earned, by public rules: certain kinds of
subject are low, recent wrongs and newcomers are high, the rest is medium.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from tracker.errors import FieldError

Level = Literal["low", "medium", "high"]

#: The rules call a large taxpayer reliable only after more than this long in foreign trade.
SEASONED_YEARS: Final = 2
#: Under this long in foreign trade there is no record to judge by.
NEWCOMER_YEARS: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a category was given: the rule, the fact it stands on, and the words in ru, kk, en."""

    rule: str
    fact: str
    value: bool | int | float
    text: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    """A category with its reasons. Warnings name the facts that could not be used."""

    level: Level
    reasons: tuple[Reason, ...]
    warnings: tuple[FieldError, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    code: str
    level: Level
    fact: str
    holds: Callable[[Mapping[str, float]], bool]
    ru: str
    kk: str
    en: str

    def reason(self, facts: Mapping[str, float]) -> Reason:
        return Reason(
            rule=self.code,
            fact=self.fact,
            value=facts[self.fact],
            text={"ru": self.ru, "kk": self.kk, "en": self.en},
        )


def _true(fact: str) -> Callable[[Mapping[str, float]], bool]:
    return lambda facts: facts.get(fact, 0) > 0


FLAGS: Final = frozenset(
    {
        "diplomatic_mission",
        "authorised_operator",
        "large_taxpayer",
        "domestic_manufacturer",
        "investor",
    }
)
NUMBERS: Final = frozenset(
    {"tax_debt_kzt", "violations_12m", "criminal_violations_12m", "years_in_fea"}
)

_DIPLOMATIC: Final = _Rule(
    code="diplomatic_mission",
    level="low",
    fact="diplomatic_mission",
    holds=_true("diplomatic_mission"),
    ru="дипломатическое представительство",
    kk="дипломатиялық өкілдік",
    en="diplomatic mission",
)

HIGH_RULES: Final = (
    _Rule(
        code="tax_debt",
        level="high",
        fact="tax_debt_kzt",
        holds=_true("tax_debt_kzt"),
        ru="задолженность по налогам и платежам в бюджет",
        kk="салықтар мен бюджетке төленетін төлемдер бойынша берешек",
        en="debt on taxes and payments to the budget",
    ),
    _Rule(
        code="violations",
        level="high",
        fact="violations_12m",
        holds=_true("violations_12m"),
        ru="административные нарушения за последние 12 месяцев",
        kk="соңғы 12 айдағы әкімшілік бұзушылықтар",
        en="administrative violations in the last 12 months",
    ),
    _Rule(
        code="criminal_violations",
        level="high",
        fact="criminal_violations_12m",
        holds=_true("criminal_violations_12m"),
        ru="уголовные нарушения за последние 12 месяцев",
        kk="соңғы 12 айдағы қылмыстық бұзушылықтар",
        en="criminal violations in the last 12 months",
    ),
    _Rule(
        code="newcomer",
        level="high",
        fact="years_in_fea",
        holds=lambda facts: facts.get("years_in_fea", NEWCOMER_YEARS) < NEWCOMER_YEARS,
        ru="менее 1 года во внешнеэкономической деятельности",
        kk="сыртқы экономикалық қызметте 1 жылдан аз",
        en="under 1 year in foreign trade",
    ),
)

LOW_RULES: Final = (
    _Rule(
        code="authorised_operator",
        level="low",
        fact="authorised_operator",
        holds=_true("authorised_operator"),
        ru="уполномоченный экономический оператор",
        kk="уәкілетті экономикалық оператор",
        en="authorised economic operator",
    ),
    _Rule(
        code="large_taxpayer",
        level="low",
        fact="large_taxpayer",
        holds=lambda facts: (
            facts.get("large_taxpayer", 0) > 0 and facts.get("years_in_fea", 0) > SEASONED_YEARS
        ),
        ru="крупный налогоплательщик, более 2 лет во внешнеэкономической деятельности",
        kk="ірі салық төлеуші, сыртқы экономикалық қызметте 2 жылдан астам",
        en="large taxpayer with over 2 years in foreign trade",
    ),
    _Rule(
        code="domestic_manufacturer",
        level="low",
        fact="domestic_manufacturer",
        holds=_true("domestic_manufacturer"),
        ru="отечественный товаропроизводитель",
        kk="отандық тауар өндіруші",
        en="domestic manufacturer",
    ),
    _Rule(
        code="investor",
        level="low",
        fact="investor",
        holds=_true("investor"),
        ru="инвестор",
        kk="инвестор",
        en="investor",
    ),
)


def category(facts: Mapping[str, object]) -> Category:
    """The category of a participant by its facts.

    Recent wrongs outweigh a good status, because the rules describe the low category as
    companies *without* debts and violations. A diplomatic mission is no company, and the high
    rules speak of companies only, so it stays low.

    Args:
        facts: ``diplomatic_mission``, ``authorised_operator``, ``large_taxpayer``,
            ``domestic_manufacturer``, ``investor`` (true/false); ``tax_debt_kzt`` (KZT),
            ``violations_12m``, ``criminal_violations_12m`` (counts), ``years_in_fea`` (years).
            What is unknown or unusable is left out of the decision and named in ``warnings``.
    """
    usable, warnings = _usable(facts)
    for rules in ((_DIPLOMATIC,), HIGH_RULES, LOW_RULES):
        held = tuple(rule for rule in rules if rule.holds(usable))
        if held:
            reasons = tuple(rule.reason(usable) for rule in held)
            return Category(level=held[0].level, reasons=reasons, warnings=warnings)
    return Category(level="medium", reasons=(), warnings=warnings)


def _usable(facts: Mapping[str, object]) -> tuple[dict[str, float], tuple[FieldError, ...]]:
    """Split facts into those the rules can read and a warning for each of the rest."""
    usable: dict[str, float] = {}
    warnings: list[FieldError] = []
    for name, value in facts.items():
        fault = _fault(name, value)
        if fault:
            warnings.append(FieldError(("facts", name), fault))
        elif isinstance(value, bool | int | float):
            usable[name] = value
    return usable, tuple(warnings)


def _fault(name: str, value: object) -> str | None:
    """Why a fact can't be used, or none."""
    if name in FLAGS:
        return None if isinstance(value, bool) else "not used: give true or false"
    if name not in NUMBERS:
        known = ", ".join(sorted(FLAGS | NUMBERS))
        return f"not used: the category knows no such fact; known are {known}"
    # NaN compares false with everything, so `>= 0` refuses it too.
    if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
        return None
    return "not used: give a number of 0 or more"


def kz_tax_id_valid(tax_id: str) -> bool:
    """Whether a text is 12 digits whose last one checks the others (BIN and IIN alike)."""
    if len(tax_id) != 12 or not (tax_id.isascii() and tax_id.isdigit()):
        return False
    return kz_check_digit(tax_id[:11]) == int(tax_id[11])


def kz_check_digit(first_11: str) -> int | None:
    """The twelfth digit for eleven, or none where the rule gives none (never issued)."""
    digits = [int(c) for c in first_11]
    # The second row of weights is tried only where the first leaves 10, which is no digit.
    for weights in (range(1, 12), (3, 4, 5, 6, 7, 8, 9, 10, 11, 1, 2)):
        rest = sum(d * w for d, w in zip(digits, weights, strict=True)) % 11
        if rest < 10:
            return rest
    return None


def tax_id_warning(tax_id: str, country: str) -> FieldError | None:
    """A warning where a Kazakh tax number can't be right; other countries are not checked."""
    if country.upper() not in {"KZ", "KAZ"} or kz_tax_id_valid(tax_id):
        return None
    if len(tax_id) != 12 or not (tax_id.isascii() and tax_id.isdigit()):
        return FieldError(("tax_id",), "a BIN or IIN of Kazakhstan has 12 digits: check it")
    return FieldError(("tax_id",), "the check digit does not fit: check the number for a typo")
