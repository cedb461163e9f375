"""Money thresholds: declared in main units of a currency, counted in minor units of the lake's, named by every text."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from features.frozen_numbers import Break
from jobs import setup
from jobs.loading import load_catalogue
from jobs.project import Project
from jobs.tag_check import check_tags
from schemas.errors import ConfigurationError
from tests.pipeline import shop

TAGS = Path(__file__).parents[2] / "conf" / "tags"
MONEY = ("purchase.yaml", "segments.yaml")
"""Files that declare amounts; both need facts of the others, so all are read."""


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


def in_currency(folder: Path, currency: str, *changes: tuple[str, str]) -> Project:
    shop.new_project(folder)
    shutil.rmtree(folder / "tags")
    shutil.copytree(TAGS, folder / "tags")
    settings = folder / "huaxiang.yaml"
    settings.write_text(settings.read_text(encoding="utf-8").replace("currency: CNY", f"currency: {currency}"), "utf-8")
    for name in MONEY:
        text = (folder / "tags" / name).read_text(encoding="utf-8")
        for old, new in changes:
            text = text.replace(old, new)
        (folder / "tags" / name).write_text(text, encoding="utf-8")
    return Project.load(folder)


def test_a_shop_of_another_currency_without_amounts_of_its_own_is_told_so(tmp_path: Path) -> None:
    project = in_currency(tmp_path / "yen", "JPY")
    warned = [w for w in setup.check(project.folder).warnings if "declared for" in w]
    assert len(warned) == 2
    marks = next(w for w in warned if "order_value_marks" in w)
    assert re.search(r"purchase.yaml:\d+: break 'order_value_marks': its amounts were declared for CNY", marks)
    assert "taken as 100, 300, 1,000 JPY" in marks and "say currency: JPY" in marks
    own = in_currency(
        tmp_path / "own",
        "JPY",
        ("[100, 300, 1000], currency: CNY", "[3000, 10000, 30000], currency: JPY"),
        ("[5000], currency: CNY", "[100000], currency: JPY"),
    )
    assert not [w for w in check_tags(own).warnings if "declared for" in w]
    assert own.catalogue.tag("super_user").description.en.startswith("Net spend of 100,000 JPY or more")
    assert not [w for w in check_tags(in_currency(tmp_path / "yuan", "CNY")).warnings if "declared for" in w]


def test_a_bare_number_that_money_is_compared_with_is_told_in_a_shop_of_another_currency(tmp_path: Path) -> None:
    """A project folder made before amounts had a currency holds fen in its rules."""
    older = ("net_amount_365d >= number_at('super_user_mark', 1)", "net_amount_365d >= 500000")
    (warned,) = [
        w for w in check_tags(in_currency(tmp_path / "yen", "JPY", older)).warnings if "with bare numbers" in w
    ]
    assert "tag 'super_user' compares money with bare numbers, here 500,000 JPY" in warned
    assert not [w for w in check_tags(in_currency(tmp_path / "own", "CNY", older)).warnings if "with bare numbers" in w]
    assert not [w for w in check_tags(in_currency(tmp_path / "now", "JPY")).warnings if "with bare numbers" in w]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "{super_user_mark[1]}",
            "{super_user_marks[1]}",
            r"tag 'super_user': \{super_user_marks\[1\]\} in a text is no amount",
        ),
        (
            "{super_user_mark[1]}",
            "{super_user_mark[2]}",
            r"tag 'super_user': \{super_user_mark\[2\]\} in a text is no amount",
        ),
        ("fixed: [5000]", "fixed: [5000.5]", "5000.5 has more decimals than JPY, which has 0"),
        (
            "{of: net_amount_365d, fixed: [5000]",
            "{of: purchase_days_365d, fixed: [5000]",
            "'currency' says that it is money, but 'of' gives days",
        ),
    ],
)
def test_an_amount_that_cannot_be_meant_is_refused_with_its_place(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    project = in_currency(tmp_path / "shop", "JPY", (old, new))
    with pytest.raises(ConfigurationError, match=rf"segments.yaml:\d+: .*{said}"):
        _ = project.catalogue


def test_a_currency_belongs_to_declared_numbers() -> None:
    with pytest.raises(ValueError, match="'currency' says in what 'fixed' numbers are given"):
        Break(of="net_amount_365d", statistic="mean", currency="CNY")
