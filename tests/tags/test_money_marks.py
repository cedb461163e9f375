"""Money thresholds: declared in main units of a currency, counted in minor units of the lake's, named by every text."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from features.catalogue import Catalogue
from features.frozen_numbers import Break
from project import setup
from project.check import bare_amounts, foreign_amounts
from project.loading import load_catalogue
from schemas.errors import ConfigurationError
from tests.pipeline import shop

TAGS = Path(__file__).parents[2] / "conf" / "tags"


@pytest.mark.parametrize(
    ("currency", "marks", "zh", "en"),
    [
        ("CNY", (10_000, 30_000, 100_000), "100 元至 300 元以下", "100 CNY to under 300 CNY"),
        ("JPY", (100, 300, 1_000), "100 日元至 300 日元以下", "100 JPY to under 300 JPY"),
        ("KWD", (100_000, 300_000, 1_000_000), "100 KWD至 300 KWD以下", "100 KWD to under 300 KWD"),
    ],
)
def test_amounts_are_counted_and_named_in_the_lakes_currency(
    currency: str, marks: tuple[int, ...], zh: str, en: str
) -> None:
    catalogue = load_catalogue(sorted(TAGS.glob("*.yaml")), currency)
    assert catalogue.fixed["order_value_marks"] == marks
    label = catalogue.tag("order_value_level").labels["middle"]
    assert (label.zh, label.en) == (zh, en)
    said = [
        text
        for tag in catalogue.tags.values()
        for names in (tag.name, tag.description, *tag.labels.values(), *tag.strategies.values(), *tag.needs.values())
        for text in (names.zh, names.en)
    ]
    assert not [t for t in said if "mark" in t and "[" in t]
    other = re.compile(r"CNY|\byuan\b|\bfen\b|[0-9] ?元" if currency != "CNY" else r"JPY|KWD")
    assert not [t for t in said if other.search(t)]


SMALL = """
defaults: {owner: crm, refresh: daily, version: 1, kind: dynamic, sources: [orders, order_lines, refunds]}
facts:
  spent: {from: [pay], measure: net_amount, agg: sum, window: 365}
  bought_days: {from: [pay], measure: days, agg: count, window: 365}
breaks:
  spending_mark: {of: spent, fixed: [5000], currency: CNY}
tags:
  - id: spender
    name: {zh: 大客, en: Spender}
    description: {zh: "消费达 {spending_mark[1]}的人。", en: "Who spent {spending_mark[1]} or more."}
    path: [消费特征, 消费总规模, 大客]
    method: rule
    type: bool
    empty: false
    expression: "spent >= number_at('spending_mark', 1)"
"""
"""A catalogue that is checked in no time; the shipped one takes a second."""


def small(folder: Path, currency: str, old: str = "", new: str = "") -> Catalogue:
    path = folder / "tags.yaml"
    path.write_text(SMALL.replace(old, new) if old else SMALL, encoding="utf-8")
    return load_catalogue([path], currency)


def test_a_shop_of_another_currency_without_amounts_of_its_own_is_told_so(tmp_path: Path) -> None:
    (warned,) = foreign_amounts(small(tmp_path, "JPY"), "JPY")
    assert re.search(r"tags.yaml:\d+: break 'spending_mark': its amounts were declared for CNY", warned)
    assert "taken as 5,000 JPY" in warned and "say currency: JPY" in warned
    own = small(tmp_path, "JPY", "[5000], currency: CNY", "[100000], currency: JPY")
    assert not foreign_amounts(own, "JPY")
    assert own.tag("spender").description.en == "Who spent 100,000 JPY or more."
    assert not foreign_amounts(small(tmp_path, "CNY"), "CNY")


def test_a_bare_number_that_money_is_compared_with_is_told_in_a_shop_of_another_currency(tmp_path: Path) -> None:
    """A project folder made before amounts had a currency holds fen in its rules."""
    older = ("spent >= number_at('spending_mark', 1)", "spent >= 500000 and bought_days > 2")
    (warned,) = bare_amounts(small(tmp_path, "JPY", *older), "JPY")
    assert "tag 'spender' compares money with bare numbers, here 500,000 JPY" in warned
    assert not bare_amounts(small(tmp_path, "CNY", *older), "CNY")
    assert not bare_amounts(small(tmp_path, "JPY"), "JPY")


@pytest.mark.slow
def test_check_tells_of_the_shipped_amounts_in_a_shop_of_another_currency(tmp_path: Path) -> None:
    shop.new_project(tmp_path / "yen")
    shutil.rmtree(tmp_path / "yen" / "tags")
    shutil.copytree(TAGS, tmp_path / "yen" / "tags")
    settings = tmp_path / "yen" / "huaxiang.yaml"
    settings.write_text(settings.read_text(encoding="utf-8").replace("currency: CNY", "currency: JPY"), "utf-8")
    warned = [w for w in setup.check(tmp_path / "yen").warnings if "declared for" in w or "with bare numbers" in w]
    assert len(warned) == 2 and "taken as 100, 300, 1,000 JPY" in " ".join(warned)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("Who spent {spending_mark[1]}", "{spending_marks[1]}", r"\{spending_marks\[1\]\} in a text is no amount"),
        ("Who spent {spending_mark[1]}", "{spending_mark[2]}", r"\{spending_mark\[2\]\} in a text is no amount"),
        ("fixed: [5000]", "fixed: [5000.5]", "5000.5 has more decimals than JPY, which has 0"),
        ("{of: spent,", "{of: bought_days,", "'currency' says that it is money, but 'of' gives days"),
    ],
)
def test_an_amount_that_cannot_be_meant_is_refused_with_its_place(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    with pytest.raises(ConfigurationError, match=rf"tags.yaml:\d+: .*{said}"):
        small(tmp_path, "JPY", old, new)


def test_a_currency_belongs_to_declared_numbers() -> None:
    with pytest.raises(ValueError, match="'currency' says in what 'fixed' numbers are given"):
        Break(of="net_amount_365d", statistic="mean", currency="CNY")
