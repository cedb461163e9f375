"""Bins of numbers and days as the page says them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from report.blocks import decimal, points
from report.data import ReportData, has_few_values
from report.words import interval


def tag(type: str, unit: str | None = None, least: float | None = None, most: float | None = None) -> Any:
    return SimpleNamespace(type=type, unit=unit, bounds=(least, most))


@pytest.mark.parametrize(
    ("of", "written", "zh", "en"),
    [
        (tag("int64", "orders"), "[2, 5)", "2–4", "2–4"),
        (tag("int32", "level"), "[1, 2)", "1", "1"),
        (tag("int64", "points"), "(-5, -2]", "-4–-2", "-4–-2"),
        (tag("int64", "minor"), "[200000, 500000)", "2,000–5,000 CNY", "2,000–5,000 CNY"),
        (tag("int64", "minor"), "0", "0 CNY", "0 CNY"),
        (tag("float64", "share"), "[0.5, 1)", "50%–100%", "50%–100%"),
        (tag("float64", "share", 0, 1), "[1, 2)", "100%", "100%"),
        (tag("float64", "share", 0), "[1, 2)", "100%–200%", "100%–200%"),
        (tag("int64", "month", 1, 12), "[10, 20)", "10–12 月", "10–12"),
        (tag("int32", "hour", 0, 23), "[20, 50)", "20–23 时", "20–23:00"),
        (tag("int64", "score", 1, 5), "[5, 10)", "5", "5"),
        (tag("float64", "score"), "[0.2, 0.5)", "0.2–0.5", "0.2–0.5"),
        (tag("float64", "ratio"), "other", "other", "other"),
        (tag("date"), "0", "当天", "the same day"),
        (tag("date"), "[1, 2)", "1 天前", "1 day ago"),
        (tag("date"), "(-20, -10]", "10–19 天后", "in 10–19 days"),
        (tag("date"), "[20, 50)", "20–49 天前", "20–49 days ago"),
    ],
)
def test_a_bin_reads_as_people_say_it(of: Any, written: str, zh: str, en: str) -> None:
    assert interval(of, written, "CNY") == (zh, en)


@pytest.mark.parametrize(("currency", "text"), [("JPY", "2,000–5,000 JPY"), ("KWD", "2–5 KWD")])
def test_a_bin_of_money_reads_in_the_digits_of_its_currency(currency: str, text: str) -> None:
    assert interval(tag("int64", "minor"), "[2000, 5000)", currency) == (text, text)


@pytest.mark.parametrize(
    ("currency", "exact", "text"),
    [
        ("CNY", True, "12,345.67"),
        ("CNY", False, "12,346"),
        ("JPY", True, "1,234,567"),
        ("JPY", False, "1,234,567"),
        ("KWD", True, "1,234.567"),
    ],
)
def test_money_of_the_report_has_the_digits_of_its_currency(currency: str, exact: bool, text: str) -> None:
    project: Any = SimpleNamespace(currency=currency)
    nothing: Any = None
    assert ReportData(project, nothing, nothing, frozenset()).money(1_234_567, exact=exact) == text


@pytest.mark.parametrize(
    ("of", "bins", "few"),
    [
        (tag("int64", "month", 1, 12), ["[5, 10)", "[10, 20)"], True),
        (tag("int32", "hour", 0, 23), ["[20, 50)"], True),
        (tag("int64", "orders", 0), ["0", "[1, 2)", "[10, 20)", "unknown"], True),
        (tag("int64", "orders", 0), ["0", "[20, 50)"], False),
        (tag("int64", "minor", 0), ["0", "[1, 2)"], False),
        (tag("float64", "score", 0, 1), ["[0.5, 1)"], False),
        (tag("date"), ["0"], False),
    ],
)
def test_whole_numbers_with_few_values_are_shown_one_by_one(of: Any, bins: list[str], few: bool) -> None:
    assert has_few_values(of, bins) is few


@pytest.mark.parametrize(
    ("value", "zh", "en"),
    [
        (0.0123, "+1.2 个百分点", "+1.2 pp"),
        (-0.5, "-50.0 个百分点", "-50.0 pp"),
        (-0.0001, "0.0 个百分点", "0.0 pp"),
        (None, "–", "–"),
    ],
)
def test_a_difference_of_shares_is_said_in_points_with_its_sign(value: float | None, zh: str, en: str) -> None:
    assert points(value) == (zh, en)


def test_a_number_too_small_to_show_has_no_sign() -> None:
    assert decimal(-0.0004, 3) == "0"
    assert decimal(-0.0006, 3) == "-0.001"


def test_thousands_of_years_say_nothing_of_a_year_of_birth() -> None:
    assert interval(tag("int64", "year"), "[1000, 2000)", "CNY") is None
