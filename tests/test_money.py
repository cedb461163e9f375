"""Money in minor units and in major ones, by the digits of the currency."""

from __future__ import annotations

from decimal import Decimal

import pytest

from schemas.money import major, minor_units, money_text


@pytest.mark.parametrize(("currency", "minor"), [("CNY", 1234560), ("JPY", 12346), ("KWD", 12345600), ("XXX", 1234560)])
def test_a_decimal_becomes_whole_minor_units_of_its_currency(currency: str, minor: int) -> None:
    assert minor_units("12345.6", currency) == minor_units(Decimal("12345.6"), currency) == minor


@pytest.mark.parametrize(
    ("currency", "whole", "exact"),
    [("CNY", "12,346", "12,345.60"), ("JPY", "1,234,560", "1,234,560"), ("KWD", "1,235", "1,234.560")],
)
def test_minor_units_are_shown_with_all_digits_or_none(currency: str, whole: str, exact: str) -> None:
    assert (money_text(1234560, currency, exact=False), money_text(1234560, currency)) == (whole, exact)


@pytest.mark.parametrize("currency", ["CNY", "JPY", "KWD"])
def test_there_and_back_is_the_same_up_to_the_largest_integer(currency: str) -> None:
    for minor in (0, 1, -5, 2**63 - 1):
        assert minor_units(major(minor, currency), currency) == minor


@pytest.mark.parametrize("text", ["", "much", "nan", "inf"])
def test_what_is_no_money_is_refused(text: str) -> None:
    with pytest.raises((ArithmeticError, ValueError)):
        minor_units(text, "CNY")
