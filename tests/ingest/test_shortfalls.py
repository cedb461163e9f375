"""A mapping of which nothing could come is refused where it is loaded; what would stay empty is said wherever it is used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from cli.drafting import draft
from features.sources import Mapping, shortfalls
from project.loading import load_mappings
from project.setup import check
from schemas.contracts import FEEDS, contract
from schemas.errors import ConfigurationError
from tests.ingest.shop import LINES, ORDERS, Shop, csv
from tests.ingest.test_cleaning import clean
from tests.ingest.test_ingest import H, an_order

CONF = Path(__file__).parents[2] / "conf"
UNPAID: dict[str, Any] = {
    **ORDERS,
    "fields": {"order_id": "订单号", "ordered_at": "下单时间", "member_id": "会员号"},
}


def test_orders_without_a_time_of_payment_are_refused_with_the_ways_out(tmp_path: Path) -> None:
    path = tmp_path / "orders.yaml"
    path.write_text(yaml.safe_dump(UNPAID, allow_unicode=True), encoding="utf-8")
    with pytest.raises(ConfigurationError) as e:
        load_mappings([path])
    said = str(e.value)
    assert said.startswith(f"{path}:2: fields: orders without paid_at: no order counts as paid, so nobody ever bought")
    assert "`paid_at: {column: 下单时间}`" in said
    assert "`paid_at: {column: 下单时间, when: {column: STATE, in: [PAID]}}`" in said


def test_check_and_draft_say_the_same(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "shop", {"orders": UNPAID})
    assert any("orders without paid_at" in m for m in check(shop.folder).mistakes)
    file = tmp_path / "orders.csv"
    file.write_text(csv(["订单号", "下单时间", "会员号"], ["o1", "2026-03-01 08:00", "m1"]), encoding="utf-8")
    assert "# incomplete: orders without paid_at: no order counts as paid" in draft(file, feed="orders").text()


@pytest.mark.parametrize(
    ("rule", "paid"),
    [("下单时间", 2), ({"constant": ""}, 0), ({"column": "下单时间", "when": {"column": "状态", "in": ["已付款"]}}, 1)],
)
def test_the_ways_out_are_ways_out(tmp_path: Path, rule: Any, paid: int) -> None:
    shop = Shop(tmp_path, {"orders": {**UNPAID, "fields": {**UNPAID["fields"], "paid_at": rule}}})
    rows = [["o1", "2026-03-01", "m1", "已付款"], ["o2", "2026-03-01", "m1", "待付款"]]
    shop.deliver("orders/1.csv", csv(["订单号", "下单时间", "会员号", "状态"], *rows))
    assert shop.ingest().rows("rows_silver") == 2
    assert shop.rows("silver.orders", "count(paid_at)") == [(paid,)]


def test_a_column_of_states_says_which_orders_are_paid_and_which_cancelled() -> None:
    fields = {
        "order_id": "o",
        "ordered_at": "t",
        "paid_at": {"column": "t", "when": {"column": "s", "in": ["已付款", "已完成"]}},
        "cancelled_at": {"column": "t", "when": [{"column": "s", "starts_with": "取消"}]},
        "channel": {"column": "c", "values": {"A": "app"}, "when": {"column": "s", "not_in": ["已付款"]}},
        "freight_amount_minor": {"sum": ["f"], "unit": "major", "when": {"column": "s", "is_empty": False}},
    }
    rows = [
        ["1", "2026-03-01", "已付款", "?", "5"],
        ["2", "2026-03-01", "取消订单", "A", "5"],
        ["3", "2026-03-01", "", "A", "x"],
        ["4", "待定", "", "A", ""],
    ]
    with duckdb.connect(config={"threads": 1}) as con:
        found = clean(con, "orders", fields, ["o", "t", "s", "c", "f"], rows)
    assert [v is not None for v in found.rows["paid_at"].to_pylist()] == [True, False, False, False]
    assert [v is not None for v in found.rows["cancelled_at"].to_pylist()] == [False, True, False, False]
    assert found.rows["channel"].to_pylist() == [None, "app", "app", "app"]
    assert found.rows["freight_amount_minor"].to_pylist() == [500, 500, None, None]
    assert found.reasons.to_pylist() == ["ordered_at: '待定' is no time (auto) (column t)"]


def test_what_stays_empty_is_said_at_check_and_at_ingest(tmp_path: Path) -> None:
    products = {"feed": "products", "files": "p/*", "format": "csv", "fields": {"sku_id": "s", "category": "c"}}
    shop = Shop(tmp_path, {"products": products, "orders": ORDERS})
    said = (
        "products.yaml: products without source_time: a record counts from its receipt on, so on earlier days every category "
        'and brand is unknown; map the time at which the source made the record, or say `source_time: {constant: "2017-01-01"}` '
        "for a list that always held"
    )
    assert said in check(shop.folder).warnings
    shop.deliver("p/1.csv", csv(["s", "c"], ["1", "tea"]))
    report = shop.ingest()
    assert report.notes == [said]
    assert f"  NOTE {said}" in report.text()


def test_orders_without_lines_and_lines_without_orders_are_told(tmp_path: Path) -> None:
    shop = Shop(tmp_path, {"orders": ORDERS})
    shop.deliver("orders/1.csv", csv(H, an_order(1)))
    said = "orders without a mapping for order_lines: an order is worth what its lines are"
    [note] = shop.ingest().notes
    assert note.startswith(said)
    assert any(w.startswith(said) for w in check(shop.folder).warnings)
    shop.map("lines", LINES)
    shop.deliver("orders/2.csv", csv(H, an_order(2)))
    assert shop.ingest().notes == []
    shop.map("orders", LINES)
    assert any("nothing was ever bought" in w for w in check(shop.folder).warnings)


@pytest.mark.parametrize(
    ("feed", "fields", "level", "said"),
    [
        ("products", {"sku_id": "s"}, "fail", "nothing is known of a product but its number"),
        ("refunds", {"refunded_at": "t", "refund_amount_minor": "a"}, "fail", "no refund belongs to an order"),
        ("refunds", {"refunded_at": "t", "refund_amount_minor": "a", "member_id": "m"}, "warn", "no order is reduced"),
        ("shares", {"occurred_at": "t", "behaviour": "b", "member_id": "m"}, "warn", "can be laid to whoever shared"),
        ("order_lines", {"order_id": "o"}, "warn", "no line names its product"),
        ("orders", {"order_id": "o", "paid_at": "t"}, "warn", "every order is a stranger's"),
        (
            "members",
            {"member_id": "m", "phone": "p", "source_time": "t"},
            "warn",
            "no two accounts are joined by a phone",
        ),
    ],
)
def test_what_a_feed_needs_to_mean_something(feed: str, fields: dict[str, Any], level: str, said: str) -> None:
    mapping = Mapping.model_validate({"feed": feed, "files": "x", "format": "csv", "fields": fields})
    assert any(found == level and said in text for found, text in shortfalls(mapping))


def test_every_need_names_fields_of_its_feed() -> None:
    for feed in FEEDS:
        c = contract(f"silver.{feed}")
        known = {col.name for col in c.feed_columns}
        for need in c.counts_with:
            assert {*need.one_of, *([need.given] if need.given else [])} <= known
            assert need.remedy
        assert set(c.beside) <= set(FEEDS)


def test_the_shipped_mappings_leave_nothing_empty_without_saying_so() -> None:
    for mapping in load_mappings(sorted((CONF / "sources").glob("*.yaml"))):
        assert list(shortfalls(mapping)) == []
    said = {
        (folder.name, mapping.name, level)
        for folder in sorted((CONF / "datasets").iterdir())
        for mapping in load_mappings(sorted((folder / "sources").glob("*.yaml")))
        for level, _ in shortfalls(mapping)
    }
    # UCI names no categories, and its refunds no invoices.
    assert said == {("online-retail", "products", "warn"), ("online-retail", "refunds", "warn")}
