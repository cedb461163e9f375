"""Values that take more than reading a cell: decimal commas, days of spreadsheets, ids joined or made of a row's place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.ingest.shop import ORDERS, RECEIVED, Shop, csv
from tests.ingest.test_csv_tables import UNPAID, a_shop

LINES: dict[str, Any] = {
    "feed": "order_lines",
    "files": "lines/*",
    "format": "csv",
    "delimiter": ";",
    "decimal": ",",
    "fields": {
        "order_id": "order",
        "ordered_at": {"column": "at", "time": "%d.%m.%Y"},
        "quantity": "qty",
        "net_amount_minor": {"column": "price", "times": "qty", "unit": "major"},
    },
}


# --- decimal comma ---


def test_a_european_sheet_is_read_as_it_is(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "shop", {"lines": LINES})
    prices = [
        "1.234,56",
        "1 234,5",
        "12",
        "1'000",
        "€ 0,005",
        "+3,1",
        "1.234.567",
        "1.23",
        "1,2,3",
        "1234.5",
        "1.2345,6",
    ]
    rows = "".join(f"o{n};31.03.2026;1;{p}\n" for n, p in enumerate(prices))
    shop.map(
        "lines", {**LINES, "fields": {**LINES["fields"], "net_amount_minor": {"column": "price", "unit": "major"}}}
    )
    (shop.folder / "huaxiang.yaml").write_text("currency: EUR\n")
    shop.deliver("lines/1", "sep=;\r\norder;at;qty;price\r\n" + rows)
    shop.ingest()
    found = dict(shop.rows("silver.order_lines", "order_id, net_amount_minor"))
    assert found == {"o0": 123456, "o1": 123450, "o2": 1200, "o3": 100000, "o4": 1, "o5": 310, "o6": 123456700}
    reasons = [r for (r,) in shop.rows("quarantine.order_lines", "reasons")]
    assert len(reasons) == 4
    assert "'1.23' is no amount of money in EUR with a decimal comma (column price)" in reasons[1]


def test_products_and_quantities_have_decimal_commas_too(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "shop", {"lines": LINES})
    shop.deliver("lines/1", "order;at;qty;price\no1;31.03.2026;1.000;1,50\n")
    shop.ingest()
    assert shop.rows("silver.order_lines", "quantity, net_amount_minor") == [(1000, 150000)]


# --- dates of spreadsheets ---


@pytest.mark.parametrize(
    ("form", "text", "stamp"),
    [
        ("excel_serial", "45321", "2024-01-30 00:00:00"),
        ("excel_serial", "45321.336805555555", "2024-01-30 08:05:00"),
        ("excel_serial", "45321,5", "2024-01-30 12:00:00"),
        ("excel_serial", "61", "1900-03-01 00:00:00"),
        ("excel_serial_1904", "43859", "2024-01-30 00:00:00"),
        (["auto", "excel_serial"], "2024-01-30 00:00:00", "2024-01-30 00:00:00"),
    ],
)
def test_days_as_a_spreadsheet_counts_them(tmp_path: Path, form: Any, text: str, stamp: str) -> None:
    fields = {"order_id": "id", "ordered_at": {"column": "at", "time": form}, "paid_at": UNPAID}
    mapping = {**ORDERS, "delimiter": ";", "fields": fields}
    shop = Shop(tmp_path / "shop", {"orders": mapping}, {"currency": "CNY", "time_zone": "UTC"})
    shop.deliver("orders/1", f"id;at\no1;{text}\n")
    shop.ingest()
    assert [str(t) for (t,) in shop.rows("silver.orders", "ordered_at::timestamp")] == [stamp]


@pytest.mark.parametrize("text", ["60", "1", "0.5", "-45321", "73051000", "109575"])
def test_numbers_that_are_no_days_of_a_spreadsheet_are_refused(tmp_path: Path, text: str) -> None:
    shop = a_shop(
        tmp_path, fields={"order_id": "id", "ordered_at": {"column": "at", "time": "excel_serial"}, "paid_at": UNPAID}
    )
    shop.deliver("orders/1", f"id,at\no1,{text}\n")
    assert shop.ingest().rows("rows_quarantined") == 1


def test_a_spreadsheets_number_among_times_is_refused_with_the_form_that_reads_it(tmp_path: Path) -> None:
    shop = a_shop(tmp_path, fields={"order_id": "id", "ordered_at": "at", "paid_at": UNPAID})
    shop.deliver("orders/1", "id,at\no1,45321\no2,sometime\n")
    shop.ingest()
    first, second = [r for (r,) in shop.rows("quarantine.orders", "reasons")]
    assert (
        first
        == "ordered_at: '45321' is no time (auto) (column at); if these are days as spreadsheets count them, say `time: excel_serial`"
    )
    assert "excel" not in second


# --- ids that are made ---

SALES = {
    "feed": "orders",
    "files": "sales/*",
    "format": "csv",
    "fields": {"order_id": {"join": ["day", "till", "slip"]}, "ordered_at": "day", "paid_at": UNPAID},
}
HS = ["day", "till", "slip"]


def test_an_id_is_joined_from_columns_and_never_meets_another(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "shop", {"sales": SALES})
    rows = [
        ["2026-03-01", "a|b", "c"],
        ["2026-03-01", "a", "b|c"],
        ["2026-03-01", r"a\|b", "c"],
        ["2026-03-01", "007", " 7 "],
        ["2026-03-01", "", "7"],
        ["2026-03-01", "1", "1.2E+17"],
    ]
    shop.deliver("sales/1", csv(HS, *rows))
    shop.ingest()
    assert [i for (i,) in shop.rows("silver.orders", "order_id")] == [
        "2026-03-01|007|7",
        r"2026-03-01|a\\\|b|c",
        r"2026-03-01|a\|b|c",
        r"2026-03-01|a|b\|c",
    ]
    shortened, absent = [r for (r,) in shop.rows("quarantine.orders", "reasons")]
    assert absent == "order_id: '2026-03-01 | 7' but a value is required (column day and till and slip)"
    assert "a spreadsheet shortened it" in shortened


def test_a_guest_among_the_parts_of_a_persons_id_makes_it_absent(tmp_path: Path) -> None:
    fields = {"order_id": "id", "ordered_at": "at", "paid_at": UNPAID, "member_id": {"join": ["shop", "buyer"]}}
    shop = Shop(tmp_path / "shop", {"orders": {**ORDERS, "fields": fields}}, {"currency": "CNY", "guest_ids": ["0"]})
    shop.deliver("orders/1", "id,at,shop,buyer\no1,2026-03-01,S,17850.0\no2,2026-03-01,S,0\no3,2026-03-01,S,\n")
    shop.ingest()
    assert shop.rows("silver.orders", "order_id, member_id") == [("o1", "S|17850"), ("o2", None), ("o3", None)]


ROWWISE = {**ORDERS, "fields": {"order_id": {"row": "file"}, "ordered_at": "at", "paid_at": UNPAID, "member_id": "who"}}


def test_an_id_of_the_rows_place_is_the_same_in_every_mapping_and_differs_between_files(tmp_path: Path) -> None:
    lines = {
        "feed": "order_lines",
        "files": "orders/*",
        "format": "csv",
        "fields": {
            "order_id": {"row": "file"},
            "ordered_at": "at",
            "quantity": {"constant": 1},
            "net_amount_minor": {"column": "paid", "unit": "major"},
        },
    }
    shop = Shop(
        tmp_path / "shop", {"orders": {**ROWWISE, "where": [{"column": "who", "not_in": ["x"]}]}, "lines": lines}
    )
    shop.deliver("orders/1", "at,who,paid\n2026-03-01,x,1\n2026-03-01,m,2\n2026-03-01,m,2\n")
    shop.deliver("orders/2", "at,who,paid\n2026-03-01,m,2\n2026-03-01,m,2\n")
    shop.ingest()
    ids = {i for (i,) in shop.rows("silver.orders", "order_id")}
    assert len(ids) == 4
    assert len(ids & {i for (i,) in shop.rows("silver.order_lines", "order_id")}) == 4
    assert sorted(i.rpartition("-")[2] for i in ids) == ["1", "2", "2", "3"]


def test_an_id_of_the_rows_place_holds_when_the_file_is_read_again_and_when_a_row_waited(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "shop", {"orders": ROWWISE})
    text = "at,who\n2026-03-01,m1\n昨天,m2\n"
    shop.deliver("orders/1", text)
    shop.ingest()
    before = shop.rows("silver.orders", "order_id, member_id")
    shop.deliver("orders/copy", text)
    assert shop.ingest().taken == 0
    shop.ingest(again="orders/1")
    assert shop.rows("silver.orders", "order_id, member_id") == before
    [(first, _)] = before
    shop.map(
        "orders",
        {
            **ROWWISE,
            "fields": {
                **ROWWISE["fields"],
                "ordered_at": {
                    "column": "at",
                    "values": {"昨天": "2026-03-02", "2026-03-01": "2026-03-01"},
                },
            },
        },
    )
    shop.replay()
    assert [i for (i,) in shop.rows("silver.orders", "order_id")] == [first, first[:-1] + "2"]


def test_further_rows_and_a_file_instead_of_another_have_ids_of_their_own(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "shop", {"orders": ROWWISE})
    shop.deliver("orders/1", "at,who\n2026-03-01,m1\n")
    shop.ingest()
    shop.deliver("orders/1", "at,who\n2026-03-01,m2\n")
    shop.ingest(append=True)
    assert len({i for (i,) in shop.rows("silver.orders", "order_id")}) == 2
    shop.deliver("orders/1", "at,who\n2026-03-01,m3\n")
    shop.ingest(RECEIVED, replace=True)
    assert [m for (m,) in shop.rows("silver.orders", "member_id")] == ["m3"]
