"""Money in minor units and in major ones, by the digits of the currency."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pytest

from audiences.delivery import csv_bytes, in_main_units, money_header
from schemas.money import main_units, major, minor_units, money_text, money_words


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


def test_a_column_of_minor_units_becomes_decimals_of_its_currency() -> None:
    table = pa.table({"spent": pa.array([361_300, 0, None, -5], pa.int64()), "mean": [12.5, 100.4, None, 0.4]})
    yuan = in_main_units(table, ["spent", "mean"], "CNY")
    assert csv_bytes(yuan, excel=True).decode("utf-8-sig").split() == [
        "spent,mean",
        "3613.00,0.12",
        "0.00,1.00",
        ",",
        "-0.05,0.00",
    ]
    assert [str(v) for v in in_main_units(table, ["spent"], "JPY")["spent"].to_pylist()[:2]] == ["361300", "0"]
    assert [str(v) for v in in_main_units(table, ["spent"], "KWD")["spent"].to_pylist()[:2]] == ["361.300", "0.000"]
    assert (money_header("spent", "JPY"), money_header("spent_minor", "minor")) == ("spent_JPY", "spent_minor")


def test_a_mean_is_rounded_to_the_smallest_coin() -> None:
    assert [str(main_units(1234.5678, c)) for c in ("CNY", "JPY", "KWD")] == ["12.35", "1235", "1.235"]


def test_an_amount_in_a_sentence_has_decimals_only_where_there_are_some() -> None:
    assert money_words(500_000, "CNY") == ("5,000 元", "5,000 CNY")
    assert money_words(500_050, "CNY") == ("5,000.50 元", "5,000.50 CNY")
    assert money_words(5_000, "JPY") == ("5,000 日元", "5,000 JPY")
    assert money_words(5_000, "KWD") == ("5 KWD", "5 KWD")
