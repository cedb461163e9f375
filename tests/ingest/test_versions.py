"""Which version of a row counts: the latest, the one known at a time, the one in force at a time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from features.versions import as_known
from lake.engine import Engine, open_engine
from schemas.contracts import contract
from tests.ingest.shop import RECEIVED, Shop, csv

PRODUCTS = {
    "feed": "products",
    "files": "products/*",
    "format": "csv",
    "fields": {"sku_id": "sku", "brand": "brand", "source_time": "changed"},
}
H = ["sku", "brand", "changed"]
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    found = open_engine("embedded", cores=1)
    yield found
    found.close()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """a: changed by the source twice, delivered out of order; b: never dated; c: two rows of one moment in one file."""
    shop = Shop(tmp_path_factory.mktemp("versions"), {"products": PRODUCTS})
    shop.deliver(
        "products/1.csv",
        csv(H, ["a", "new", "2026-03-05"], ["b", "first", ""], ["c", "x", "2026-03-01"], ["c", "y", "2026-03-01"]),
    )
    shop.ingest(RECEIVED)
    shop.deliver("products/2.csv", csv(H, ["a", "old", "2026-03-02"], ["b", "second", ""]))
    shop.ingest(RECEIVED + DAY)
    return shop


def known(engine: Engine, shop: Shop, **limits: Any) -> dict[str, str]:
    frame = as_known(engine.table(shop.lake, "silver.products"), contract("silver.products"), **limits)
    rows = frame.select("sku_id", "brand").collect()
    assert len({r.sku_id for r in rows}) == len(rows)
    return {r.sku_id: r.brand for r in rows}


def test_the_latest_is_the_one_that_the_source_made_last_not_the_one_delivered_last(engine: Engine, shop: Shop) -> None:
    assert known(engine, shop) == {"a": "new", "b": "second", "c": "y"}


def test_what_was_known_at_a_time_leaves_later_deliveries_out(engine: Engine, shop: Shop) -> None:
    assert known(engine, shop, known_at=RECEIVED) == {"a": "new", "b": "first", "c": "y"}
    assert known(engine, shop, known_at=RECEIVED - timedelta(microseconds=1)) == {}


def test_what_was_in_force_at_a_time_leaves_later_versions_out(engine: Engine, shop: Shop) -> None:
    third = datetime(2026, 3, 3, tzinfo=UTC)
    assert known(engine, shop, as_of_time=third) == {"a": "old", "c": "y"}
    assert known(engine, shop, as_of_time=RECEIVED + DAY) == {"a": "new", "b": "second", "c": "y"}
    assert known(engine, shop, as_of_time=third, known_at=RECEIVED) == {"c": "y"}


def test_it_has_every_column_once_and_no_other(engine: Engine, shop: Shop) -> None:
    c = contract("silver.products")
    frame = as_known(engine.table(shop.lake, "silver.products"), c)
    assert sorted(frame.columns) == sorted(c.column_names)


def deliver(shop: Shop, n: int, *rows: list[str]) -> tuple[int, int]:
    """Rows (sku, brand, changed) a day later than the delivery before: how many went to silver, how many twice."""
    shop.deliver(f"products/{n}.csv", csv(H, *rows))
    report = shop.ingest(RECEIVED + n * DAY)
    return report.rows("rows_silver"), report.rows("rows_duplicate")


def test_what_goes_back_to_what_it_was_is_a_version_where_the_source_dates_none(engine: Engine, tmp_path: Path) -> None:
    shop = Shop(tmp_path, {"products": PRODUCTS})
    assert deliver(shop, 1, ["a", "x", ""], ["d", "x", "2026-03-01"]) == (2, 0)
    assert deliver(shop, 2, ["a", "y", ""], ["d", "y", "2026-03-02"]) == (2, 0)
    # d says when: its first version stays the first
    assert deliver(shop, 3, ["d", "x", "2026-03-01"], ["a", "x", ""]) == (1, 1)
    assert known(engine, shop) == {"a": "x", "d": "y"}
    assert deliver(shop, 4, ["a", "x", ""], ["e", "x", ""]) == (1, 1)
    assert known(engine, shop, known_at=RECEIVED + 2 * DAY) == {"a": "y", "d": "y"}


def test_versions_of_one_run_follow_each_other_by_file(engine: Engine, tmp_path: Path) -> None:
    shop = Shop(tmp_path, {"products": PRODUCTS})
    deliver(shop, 1, ["a", "x", ""])
    for n, brand in ((2, "y"), (3, "x"), (4, "x")):
        shop.deliver(f"products/{n}.csv", csv(H, *[["a", brand, ""]] * n))
    report = shop.ingest(RECEIVED + 2 * DAY)
    assert (report.rows("rows_silver"), report.rows("rows_duplicate")) == (2, 7)
    assert known(engine, shop) == {"a": "x"}


def test_a_file_that_goes_back_to_what_it_said_says_that_last(engine: Engine, tmp_path: Path) -> None:
    shop = Shop(tmp_path, {"products": PRODUCTS})
    assert deliver(shop, 1, *[["a", brand, ""] for brand in ("x", "x", "y", "x", "y", "y", "x")]) == (5, 2)
    assert known(engine, shop) == {"a": "x"}


def test_a_refusal_of_consent_that_ends_a_file_is_the_newest_version(tmp_path: Path) -> None:
    fields = {"member_id": "id", "marketing_consent": "consent"}
    shop = Shop(tmp_path, {"members": {"feed": "members", "files": "*.csv", "format": "csv", "fields": fields}})
    shop.deliver("m.csv", csv(["id", "consent"], ["m1", "no"], ["m1", "yes"], ["m1", "no"]))
    [file] = shop.ingest().files
    assert (file.rows_silver, file.rows_duplicate) == (3, 0)
    assert file.remarks[0].what == "member_id in rows that differ (marketing_consent), of which the last counts"
    assert shop.rows("silver.members", "_row, marketing_consent")[-1] == (3, False)


ORDERS = {
    "feed": "orders",
    "files": "orders/*",
    "format": "csv",
    "fields": {"order_id": "id", "ordered_at": "at", "paid_at": {"constant": "2026-03-09"}},
}


def ordered(shop: Shop, *months: str) -> list[tuple[Any, ...]]:
    """Months of the versions of o1 in the order in which they came; ``months`` are further deliveries, a day apart."""
    for n, month in enumerate(months, shop.count("landing.manifest") + 1):
        shop.deliver(f"orders/{n}.csv", csv(["id", "at"], ["o1", f"2026-{month}-05"], [f"p{n}", f"2026-{month}-06"]))
        shop.ingest(RECEIVED + n * DAY)
    return [month for *_, month in shop.rows("silver.orders", "_ingested_at, _file, event_month", "order_id = 'o1'")]


def test_a_version_that_goes_back_to_an_earlier_month_is_the_newest(tmp_path: Path) -> None:
    shop = Shop(tmp_path, {"orders": ORDERS})
    assert ordered(shop, "02", "03", "02") == [202602, 202603, 202602]
    assert ordered(shop, "02") == [202602, 202603, 202602]
    assert ordered(shop, "03", "03", "02") == [202602, 202603, 202602, 202603, 202602]
    assert list((shop.lake.root / "ops" / "scratch").rglob("*.parquet")) == []


def test_versions_of_one_run_follow_each_other_whichever_month_they_stand_in(tmp_path: Path) -> None:
    shop = Shop(tmp_path, {"orders": ORDERS})
    for n, month in enumerate(("02", "03", "02", "02", "03"), 1):
        shop.deliver(f"orders/{n}.csv", csv(["id", "at"], ["o1", f"2026-{month}-05"], [f"p{n}", f"2026-{month}-06"]))
    report = shop.ingest()
    assert (report.rows("rows_silver"), report.rows("rows_duplicate")) == (9, 1)
    assert ordered(shop) == [202602, 202603, 202602, 202603]
    assert ordered(shop, "04", "03") == [202602, 202603, 202602, 202603, 202604, 202603]
