"""The generated pages say what the YAML says, now."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.pages import written
from report.catalogue_page import catalogue_page, dictionary_page
from schemas.behaviours import BEHAVIOURS
from schemas.contracts import FEEDS, contracts
from tests import shipped

ROOT = Path(__file__).parents[2]
CATALOGUE = shipped.catalogue()


@pytest.mark.parametrize("name", written())
def test_what_is_generated_is_not_stale(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == written()[name], "run `make pages`"


def test_every_tag_is_documented_with_names_values_and_making() -> None:
    page = catalogue_page(CATALOGUE)
    for tag in CATALOGUE.tags.values():
        assert f"### `{tag.id}` {tag.name.zh} · {tag.name.en}" in page
        assert tag.description.zh in page and tag.description.en in page


def test_every_behaviour_is_in_the_dictionary_with_its_number() -> None:
    page = dictionary_page()
    assert all(f"| {number} | `{name}` |" in page for name, number in BEHAVIOURS.items())
    assert (
        "| 14 | `order` | 下单 | an order placed, paid or not; it has no product and no money | `orders`, `order_lines` |  |"
        in page
    )


def test_the_dictionary_says_of_a_feed_what_a_row_must_have_and_becomes() -> None:
    rows = {
        line.split("`")[1]: line
        for line in dictionary_page().splitlines()
        if line.startswith("| [`") and "`ingest_" in line
    }
    assert list(rows) == list(FEEDS)
    assert rows["coupons"].endswith(
        "| `event_id`; `event_id` is made from the content if it is not mapped | `occurred_at`, `behaviour`, an id of the "
        "person | `ingest_orders` | `coupon_get`, `coupon_use` |"
    )
    assert (
        "| `noted_at`, `tag`, `value`, `author`, `user_id` or `member_id` | `ingest_reference` |  |"
        in rows["manual_tags"]
    )


def test_every_field_of_every_table_is_in_the_dictionary() -> None:
    page = dictionary_page()
    for c in contracts().values():
        if c.layer not in ("bronze", "quarantine"):
            assert f"## {c.name}\n" in page
            for column in c.columns:
                assert f"| `{column.name}` | {column.field.type} |" in page
