"""Money thresholds of a shop, declared in main units of a currency, and the texts that name them.

A break with ``currency`` holds main units ("5000" is 5,000 yuan); the run needs minor units of the lake's currency. A
text of a tag names a threshold by its place, ``{super_user_mark[1]}``, and says what the threshold is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from sqlglot import exp

from features.expressions import Expression
from features.frozen_numbers import Break
from features.tags import Names, Tag
from schemas.money import minor_digits, money_words

MARK = re.compile(r"\{([a-z][a-z0-9_]*)\[(\d+)\]\}")
SAID = ("name", "description")
SAID_OF_VALUES = ("labels", "strategies", "needs", "resources")


def in_minor_units(spec: Break, currency: str) -> Break:
    """The break with its numbers in minor units of the lake's currency; as it is where it declares no money.

    ValueError for an amount that the currency has no coin for.
    """
    if spec.currency is None or spec.fixed is None:
        return spec
    numbers = [Decimal(repr(n)).scaleb(minor_digits(currency)) for n in spec.fixed]
    for given, n in zip(spec.fixed, numbers, strict=True):
        if n % 1:
            raise ValueError(f"{given:g} has more decimals than {currency}, which has {minor_digits(currency)}")
    return spec.model_copy(update={"fixed": tuple(float(n) for n in numbers)})


def foreign(breaks: Mapping[str, Break], currency: str) -> Iterator[tuple[str, str]]:
    """Breaks whose money was declared for another currency than the lake's, and what is said of each."""
    for name, spec in breaks.items():
        if spec.currency is not None and spec.currency != currency:
            numbers = ", ".join(money_words(n, currency)[1].removesuffix(f" {currency}") for n in spec.fixed or ())
            yield (
                name,
                f"its amounts were declared for {spec.currency}, this lake counts in {currency}: they are taken as "
                f"{numbers} {currency}. Put amounts of your own there and say currency: {currency}",
            )


def compared_amounts(expression: Expression, units: Mapping[str, str | None]) -> Iterator[float]:
    """Numbers other than 0 that an expression compares a column of money with."""
    for node in expression.tree.find_all(exp.GT, exp.GTE, exp.LT, exp.LTE, exp.EQ, exp.NEQ, exp.Between):
        sides = list(node.iter_expressions())
        if any(isinstance(s, exp.Column) and units.get(s.name) == "minor" for s in sides):
            numbers = (s for s in sides if isinstance(s, exp.Literal) and not s.is_string)
            yield from (n for s in numbers if (n := float(s.this)))


def spoken(tag: Tag, breaks: Mapping[str, Break], currency: str) -> Tag:
    """The tag with every threshold in its texts written out. ValueError for one that is not there."""
    changed: dict[str, Any] = {}
    for key in SAID:
        changed[key] = _said(getattr(tag, key), breaks, currency)
    for key in SAID_OF_VALUES:
        changed[key] = {value: _said(names, breaks, currency) for value, names in getattr(tag, key).items()}
    changed = {key: said for key, said in changed.items() if said != getattr(tag, key)}
    return tag.model_copy(update=changed) if changed else tag


def _said(names: Names, breaks: Mapping[str, Break], currency: str) -> Names:
    def amount(found: re.Match[str], language: int) -> str:
        spec, place = breaks.get(found[1]), int(found[2])
        if spec is None or spec.currency is None or spec.fixed is None or not 1 <= place <= len(spec.fixed):
            raise ValueError(f"{found[0]} in a text is no amount of a break with fixed numbers and a currency")
        return money_words(spec.fixed[place - 1], currency)[language]

    zh, en = (MARK.sub(lambda m, n=n: amount(m, n), text) for n, text in enumerate((names.zh, names.en)))  # type: ignore[misc]
    return names if (zh, en) == (names.zh, names.en) else Names(zh=zh, en=en)
