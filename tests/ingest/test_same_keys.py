"""Rows of one key in one file: what only blanks an earlier row is set aside, what differs is counted and named."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.ingest.findings import Finding
from lake.manifest import manifest
from tests.ingest.shop import RECEIVED, Shop, csv

HEADER = ["Name", "Email", "Paid at", "Created at", "Lineitem quantity", "Lineitem price", "Lineitem sku"]
SHOPIFY = [
    ["#1001", "a@example.com", "2026-03-01 23:50:26", "2026-03-01 23:50:20", 2, "15.00", "CUP-1"],
    ["#1001", "", "", "2026-03-01 23:50:20", 1, "100.00", "POT-1"],
    ["#1001", "", "", "2026-03-01 23:50:20", 1, "7.00", "LID-1"],
    ["#1002", "b@example.com", "", "2026-03-02 09:00:00", 1, "100.00", "POT-1"],
    ["#1003", "c@example.com", "2026-03-02 10:00:00", "2026-03-02 10:00:00", 1, "15.00", "CUP-1"],
]
ORDERS: dict[str, Any] = {
    "feed": "orders",
    "files": "*.csv",
    "format": "csv",
    "fields": {"order_id": "Name", "ordered_at": "Created at", "paid_at": "Paid at", "email": "Email"},
}
LINES: dict[str, Any] = {
    "feed": "order_lines",
    "files": "*.csv",
    "format": "csv",
    "fields": {
        "order_id": "Name",
        "ordered_at": "Created at",
        "sku_id": "Lineitem sku",
        "quantity": "Lineitem quantity",
        "net_amount_minor": {"column": "Lineitem price", "times": "Lineitem quantity", "unit": "major"},
    },
}
REASON = "paid_at, email: only blanks fields of an earlier row of this file of the same order_id"


def conserved(shop: Shop) -> bool:
    rows = manifest(shop.lake)
    assert all(r.lost == 0 for r in rows)
    assert shop.count("quarantine.orders") == sum(r.rows_quarantined for r in rows if r.feed == "orders")
    assert shop.count("silver.orders") == sum(r.rows_silver for r in rows if r.feed == "orders")
    return True


def test_a_row_that_only_blanks_an_earlier_one_is_set_aside_and_its_line_is_taken(tmp_path: Path) -> None:
    shop = Shop(tmp_path, {"orders": ORDERS, "lines": LINES})
    shop.deliver("export.csv", csv(HEADER, *SHOPIFY))
    report = shop.ingest()
    assert report.failed == 0
    assert shop.rows("silver.orders", "order_id, email, paid_at is not null") == [
        ("#1001", "a@example.com", True),
        ("#1002", "b@example.com", False),
        ("#1003", "c@example.com", True),
    ]
    assert shop.count("silver.order_lines") == 5
    kept = shop.rows("quarantine.orders", "_row, reasons, raw")
    assert [row for row, _, _ in kept] == [2, 3]
    assert all(reason.startswith(REASON) for _, reason, _ in kept)
    assert (
        "`where: [{column: COLUMN, is_empty: false}]`" in kept[0][1] and "`blanks: keep` in orders.yaml" in kept[0][1]
    )
    assert '"Lineitem sku":"POT-1"' in kept[0][2] and '"Lineitem sku":"LID-1"' in kept[1][2]
    assert f"quarantined: 2 {REASON}" in report.text()
    assert conserved(shop)


def test_rows_without_the_orders_own_fields_are_left_out_by_a_condition(tmp_path: Path) -> None:
    shop = Shop(tmp_path, {"orders": {**ORDERS, "where": [{"column": "Email", "is_empty": False}]}, "lines": LINES})
    shop.deliver("export.csv", csv(HEADER, *SHOPIFY))
    report = shop.ingest()
    orders = next(f for f in report.files if f.feed == "orders")
    assert (orders.rows_not_selected, orders.rows_silver, orders.rows_quarantined) == (2, 3, 0)
    assert conserved(shop)


def test_a_blank_that_is_meant_is_taken_as_the_newest_version(tmp_path: Path) -> None:
    shop = Shop(tmp_path, {"orders": {**ORDERS, "blanks": "keep"}})
    shop.deliver("export.csv", csv(HEADER, *SHOPIFY))
    report = shop.ingest()
    assert shop.count("silver.orders") == 4
    assert report.files[0].remarks == [
        Finding("order_id in rows that differ (paid_at, email), of which the last counts", 1, 1, "#1001")
    ]
    assert conserved(shop)


def test_a_row_set_aside_waits_until_the_mapping_says_what_it_is(tmp_path: Path) -> None:
    shop = Shop(tmp_path, {"orders": ORDERS})
    shop.deliver("export.csv", csv(HEADER, *SHOPIFY))
    shop.ingest()
    assert shop.replay(RECEIVED + timedelta(days=1)).taken == 0
    shop.map("orders", {**ORDERS, "where": [{"column": "Email", "is_empty": False}]})
    assert shop.replay(RECEIVED + timedelta(days=2)).rows("rows_not_selected") == 2
    assert shop.count("quarantine.orders", "replayed_batch_id is null") == 0
    assert shop.count("silver.orders") == 3


def test_a_version_that_the_source_dates_may_blank_what_was_there(tmp_path: Path) -> None:
    fields = {"member_id": "id", "phone": "phone", "tier": "tier", "source_time": "at"}
    shop = Shop(tmp_path, {"members": {"feed": "members", "files": "*.csv", "format": "csv", "fields": fields}})
    rows = [["m1", "13800000001", "gold", "2026-01-01"], ["m1", "", "gold", "2026-02-01"]]
    shop.deliver("m.csv", csv(["id", "phone", "tier", "at"], *rows))
    report = shop.ingest()
    assert (report.files[0].rows_silver, report.files[0].remarks) == (2, [])


def test_keys_whose_rows_differ_are_counted_and_named_masked_where_personal(tmp_path: Path) -> None:
    fields = {"member_id": "id", "phone": "phone", "tier": "tier"}
    shop = Shop(tmp_path, {"members": {"feed": "members", "files": "*.csv", "format": "csv", "fields": fields}})
    rows = [
        ["m1", "13800000001", "gold"],
        ["m2", "13800000002", "gold"],
        ["m1", "13800000003", "gold"],
        ["m2", "", "base"],
    ]
    shop.deliver("m.csv", csv(["id", "phone", "tier"], *rows))
    report = shop.ingest()
    assert report.files[0].rows_silver == 4
    assert (
        "note: 2 member_id in rows that differ (phone, tier), of which the last counts, such as 'm***' (m.csv, row 1)"
        in (report.text())
    )


def test_lines_of_one_number_replace_each_other_and_that_is_said(tmp_path: Path) -> None:
    shop = Shop(tmp_path, {"lines": {**LINES, "fields": {**LINES["fields"], "line_id": {"constant": "1"}}}})
    shop.deliver("export.csv", csv(HEADER, *SHOPIFY))
    [file] = shop.ingest().files
    assert [(f.what.split(" in ")[0], f.rows) for f in file.remarks] == [("order_id and line_id", 1)]


def test_a_row_that_says_again_what_it_said_before_it_was_filled_only_blanks(tmp_path: Path) -> None:
    shop = Shop(tmp_path, {"orders": ORDERS})
    before = ["#1", "a@b.cn", "", "2026-03-01"]
    shop.deliver("a.csv", csv(HEADER[:4], before, ["#1", "a@b.cn", "2026-03-02", "2026-03-01"], before))
    shop.ingest()
    assert shop.rows("silver.orders", "_row, paid_at is null") == [(1, True), (2, False)]
    assert [row for row, *_ in shop.rows("quarantine.orders", "_row")] == [3]


def test_the_order_of_blocks_and_small_files_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(tmp_path, {"orders": ORDERS})
    monkeypatch.setattr("jobs.ingest.parsing.FLUSH_ROWS", 1)
    shop.deliver("a.csv", csv(HEADER, *SHOPIFY))
    shop.deliver("b.csv", csv(HEADER, SHOPIFY[1]))
    report = shop.ingest()
    by_name = {f.file: (f.rows_silver, f.rows_quarantined) for f in report.files}
    # Alone in its file the row blanks nothing of that file: it is a version like any other.
    assert by_name == {"a.csv": (3, 2), "b.csv": (1, 0)}
    assert conserved(shop)


CELL = st.sampled_from(["", "a@b.cn", "c@d.cn"])
ROW = st.tuples(st.sampled_from(["o1", "o2"]), CELL, st.sampled_from(["", "2026-03-01"]), st.just("2026-03-01"))


@given(st.lists(ROW, min_size=1, max_size=8))
@settings(deadline=None, max_examples=10)
def test_every_row_is_in_silver_a_duplicate_or_set_aside(rows: list[tuple[str, ...]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        shop = Shop(Path(folder), {"orders": {**ORDERS, "most_quarantined": 1}})
        shop.deliver("a.csv", csv(HEADER[:4], *rows))
        shop.ingest()
        assert conserved(shop)
        # The newest version of every key says of each field what some row of it said, if any did before it.
        for key in {r[0] for r in rows}:
            mine = shop.rows("silver.orders", "_row, email is null, paid_at is null", f"order_id = '{key}'")
            first = next(r for r in rows if r[0] == key)
            assert mine and not (first[1] and first[2] and mine[-1][1] and mine[-1][2])
