"""What Huaxiang writes for a spreadsheet it reads again: every export form, every type of column."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import date, datetime
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiences.contacts import contact
from audiences.delivery import BOM, cell, csv_bytes
from tests.ingest.test_cleaning import clean

TEXTS = ["=1+1", "+86 bonus", "-5%", "@home", "'quoted", "''twice", "007", "12E5", "1234567890123456", "0", "plain", "a,b",
         "＝全角", "\u200b=hidden", 'say "hi"', "'80s", "茶"]  # fmt: skip
IDS = ["=A1", "+x", "-7", "@me", "'q", "007", "12E5", "123456789012345678", "m1", "00", "1.50", "OD-9"]
WHOLE = [0, -5, 123456, 10**15 - 1, 10**15, -(10**17)]


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 1}) as found:
        yield found


def again(
    con: duckdb.DuckDBPyConnection, feed: str, fields: dict[str, Any], written: pa.Table, excel: bool
) -> dict[str, Any]:
    """The table written as a delivery and read through a mapping of its columns."""
    text = csv_bytes(written, excel).decode().removeprefix(BOM)
    header, *rows = list(csv.reader(io.StringIO(text, newline="")))
    return clean(con, feed, fields, header, rows).rows.to_pydict()


@pytest.mark.parametrize("excel", [True, False])
def test_texts_and_ids_come_back_as_they_were(con: duckdb.DuckDBPyConnection, excel: bool) -> None:
    found = again(
        con, "products", {"sku_id": "id", "product_name": "name"},
        pa.table({"id": [f"s{n}" for n in range(len(TEXTS))], "name": TEXTS}), excel,
    )  # fmt: skip
    assert found["product_name"] == [t.strip("\u200b") for t in TEXTS]
    assert again(con, "products", {"sku_id": "id"}, pa.table({"id": IDS}), excel)["sku_id"] == IDS


@pytest.mark.parametrize("excel", [True, False])
@pytest.mark.parametrize("form", ["e164", "digits", "national"])
def test_phones_come_back_from_every_export_form(con: duckdb.DuckDBPyConnection, excel: bool, form: Any) -> None:
    numbers = ["13800138000", "19912345678", "01062345678", "+85261234567", "+14155550130"]
    sent = [contact("phone", n, "clear", "CN", form) for n in numbers]
    table = pa.table({"id": ["a", "b", "c", "d", "e"], "phone": sent})
    found = again(con, "members", {"member_id": "id", "phone": "phone"}, table, excel)["phone"]
    chinese = 2 if form != "e164" else 5
    # Digits without a plus do not say of which country they are: only mobiles of China are told.
    assert found[:chinese] == numbers[:chinese]
    # Of another country without its code it would be somebody else's, and does not leave.
    assert [f is None for f in found] == [form == "national" and n.startswith("+") for n in numbers]


@pytest.mark.parametrize("excel", [True, False])
def test_mail_hashes_numbers_days_and_times_come_back(con: duckdb.DuckDBPyConnection, excel: bool) -> None:
    mails = ["a@b.cn", "+tag@b.cn", "-dash@b.cn", "=x@b.cn", "1e5@b.cn", "'q@b.cn"]
    table = pa.table(
        {
            "id": [contact("phone", f"1380013800{n}", "sha256", "CN") for n in range(6)],
            "mail": mails,
            "points": pa.array([n if abs(n) < 2**31 else 0 for n in WHOLE]),
            "balance": pa.array(WHOLE),
            "born": [date(1985, 3, 2)] * 6,
            "joined": [datetime(2026, 3, 1, 8, 5, 9)] * 6,
            "follows": [True, False] * 3,
        }
    )
    fields = {
        "member_id": "id",
        "email": "mail",
        "points": "points",
        "balance_minor": {"column": "balance", "unit": "minor"},
        "birth_date": "born",
        "registered_at": "joined",
        "is_follower": "follows",
    }
    found = again(con, "members", fields, table, excel)
    assert found["email"] == mails
    assert found["balance_minor"] == WHOLE
    assert found["member_id"] == table["id"].to_pylist()
    assert found["birth_date"] == [date(1985, 3, 2)] * 6
    assert {t.isoformat() for t in found["registered_at"]} == {"2026-03-01T00:05:09+00:00"}
    assert found["is_follower"] == [True, False] * 3


def test_money_in_main_units_comes_back_to_the_cent(con: duckdb.DuckDBPyConnection) -> None:
    texts = ["-12.50", "0.05", "1234567.89", "-0.01", "100"]
    table = pa.table({"id": list("abcde"), "balance": texts})
    fields = {"member_id": "id", "balance_minor": {"column": "balance", "unit": "major"}}
    assert again(con, "members", fields, table, True)["balance_minor"] == [-1250, 5, 123456789, -1, 10000]


@given(st.lists(st.text(max_size=10) | st.text("'=+-@0189Ee.＝＋ \t\u200b", max_size=6), min_size=1, max_size=12))
@settings(deadline=None, max_examples=60)
def test_whatever_the_lake_holds_comes_back_from_a_spreadsheets_cell(
    con: duckdb.DuckDBPyConnection, texts: list[str]
) -> None:
    def read(cells: list[str | None]) -> list[tuple[str | None, str | None]]:
        fields = {"sku_id": "i", "product_name": "t", "seller_id": "t"}
        rows = clean(con, "products", fields, ["i", "t"], [[str(n), c] for n, c in enumerate(cells)]).rows
        return list(zip(rows["product_name"].to_pylist(), rows["seller_id"].to_pylist(), strict=True))

    held = read(list(texts))
    assert [name for name, _ in read([cell(name) for name, _ in held])] == [name for name, _ in held]
    assert [seller for _, seller in read([cell(seller) for _, seller in held])] == [seller for _, seller in held]
