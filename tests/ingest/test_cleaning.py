"""From text to typed rows: every form and trap, by hand-made blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.cleaning import Cleaned, Cleaner
from features.instants import NO_MONTH, business_months, instants_of
from features.sources import Mapping, mistakes

GUESTS = ["", "0", "null", "none", "nan", "-", "test", "unknown"]


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 1}) as found:
        yield found


def clean(
    con: duckdb.DuckDBPyConnection,
    feed: str,
    fields: dict[str, Any],
    columns: Sequence[str],
    rows: Sequence[Sequence[str | None]],
    zone: str = "Asia/Shanghai",
    currency: str = "CNY",
    **more: Any,
) -> Cleaned:
    mapping = Mapping.model_validate({"feed": feed, "files": "x", "format": "csv", "fields": fields, **more})
    assert list(mistakes(mapping)) == []
    cleaner = Cleaner(mapping, zone=zone, currency=currency, guest_ids=GUESTS, connection=con)
    return cleaner(
        pa.table({f"c{k}": pa.array([r[k] for r in rows], pa.string()) for k in range(len(columns))}), columns
    )


def one_time(
    con: duckdb.DuckDBPyConnection, text: str, form: Any = "auto", zone: str = "Asia/Shanghai"
) -> datetime | None:
    fields = {"order_id": "id", "ordered_at": {"column": "t", "time": form}}
    found = clean(con, "orders", fields, ["id", "t"], [["o", text]], zone).rows["ordered_at"][0].as_py()
    return None if found is None else found.astimezone(ZoneInfo(zone)).replace(tzinfo=None)


def one_amount(con: duckdb.DuckDBPyConnection, text: str, currency: str = "CNY", unit: str = "major") -> int | None:
    fields = {"sku_id": "id", "list_price_minor": {"column": "p", "unit": unit}}
    found = clean(con, "products", fields, ["id", "p"], [["s", text]], currency=currency)
    value: int | None = found.rows["list_price_minor"][0].as_py()
    return value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-01 08:05:09", datetime(2026, 3, 1, 8, 5, 9)),
        ("2026/3/1 8:05", datetime(2026, 3, 1, 8, 5)),
        ("2026/3/1 8:05:09", datetime(2026, 3, 1, 8, 5, 9)),
        ("2026-3-1", datetime(2026, 3, 1)),
        ("2026年3月1日", datetime(2026, 3, 1)),
        ("2026年3月1日8时5分", datetime(2026, 3, 1, 8, 5)),
        ("2026年03月01日 08时05分09秒", datetime(2026, 3, 1, 8, 5, 9)),
        ("2026年3月1日 下午3:05", datetime(2026, 3, 1, 15, 5)),
        ("2026/3/1 上午12:05", datetime(2026, 3, 1, 0, 5)),
        ("2026.3.1 8:05", datetime(2026, 3, 1, 8, 5)),
        ("２０２６/３/１　８:０５", datetime(2026, 3, 1, 8, 5)),
        ("20260301", datetime(2026, 3, 1)),
        ("202603010805", datetime(2026, 3, 1, 8, 5)),
        ("20260301080509", datetime(2026, 3, 1, 8, 5, 9)),
        ("2026-03-01T08:05:09", datetime(2026, 3, 1, 8, 5, 9)),
        ("2026-03-01 08:05:09.123456", datetime(2026, 3, 1, 8, 5, 9, 123456)),
        ("2026-03-01T00:05:09Z", datetime(2026, 3, 1, 8, 5, 9)),
        ("2026-03-01T00:05:09.5Z", datetime(2026, 3, 1, 8, 5, 9, 500000)),
        ("2026-03-01T08:05:09+08:00", datetime(2026, 3, 1, 8, 5, 9)),
        ("2026-03-01 02:05:09+0200", datetime(2026, 3, 1, 8, 5, 9)),
        ("2026-02-28 19:05:09-05:00", datetime(2026, 3, 1, 8, 5, 9)),
        ("1772323509", datetime(2026, 3, 1, 8, 5, 9)),
        ("1772323509123", datetime(2026, 3, 1, 8, 5, 9, 123000)),
        (" 2026-03-01 08:05:09 ", datetime(2026, 3, 1, 8, 5, 9)),
    ],
)
def test_times_are_read_in_every_form_that_chinese_shops_write(
    con: duckdb.DuckDBPyConnection, text: str, expected: datetime
) -> None:
    assert one_time(con, text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-30",
        "2026/13/45 99:99",
        "待定",
        "03/01/2026",
        "26-3-1",
        "1899-12-31",
        "9999-12-31",
        "12",
        "infinity",
        "2026-03",
    ],
)
def test_what_is_no_time_is_refused_with_its_text(con: duckdb.DuckDBPyConnection, text: str) -> None:
    found = clean(con, "orders", {"order_id": "id", "ordered_at": "t"}, ["id", "t"], [["o", text]])
    assert found.refused.tolist() == [True]
    assert found.reasons.to_pylist() == [f"ordered_at: '{text}' is no time (auto) (column t)"]


@pytest.mark.parametrize("text", ["", "NULL", "\\N", "nan", "0", "0000-00-00 00:00:00", "-", "　"])
def test_a_word_for_nothing_is_an_absent_time(con: duckdb.DuckDBPyConnection, text: str) -> None:
    fields = {"order_id": "id", "ordered_at": "t", "paid_at": "p"}
    found = clean(con, "orders", fields, ["id", "t", "p"], [["o", "2026-03-01", text]])
    assert found.refused.tolist() == [False]
    assert found.rows["paid_at"].to_pylist() == [None]


def test_a_format_of_ones_own_reads_what_auto_must_not_guess(con: duckdb.DuckDBPyConnection) -> None:
    assert one_time(con, "03/01/2026 08:05", "%d/%m/%Y %H:%M") == datetime(2026, 1, 3, 8, 5)
    assert one_time(con, "2026-03-01", ["%d.%m.%Y", "auto"]) == datetime(2026, 3, 1)
    assert one_time(con, "1772323509", "epoch_seconds") == datetime(2026, 3, 1, 8, 5, 9)
    assert one_time(con, "1772323509.25", "epoch_seconds") == datetime(2026, 3, 1, 8, 5, 9, 250000)
    assert one_time(con, "1772323509250", "epoch_milliseconds") == datetime(2026, 3, 1, 8, 5, 9, 250000)
    assert one_time(con, "1772323509250001", "epoch_microseconds") == datetime(2026, 3, 1, 8, 5, 9, 250001)
    assert one_time(con, "1772323509250", "epoch_seconds") is None


def test_a_stamp_in_a_gap_moves_forward_and_one_in_an_overlap_is_the_first(con: duckdb.DuckDBPyConnection) -> None:
    rows = [["1", "2017-03-12 02:30:00"], ["2", "2017-11-05 01:30:00"], ["3", "2017-07-01 00:00:00"]]
    found = clean(con, "orders", {"order_id": "i", "ordered_at": "t"}, ["i", "t"], rows, zone="America/New_York")
    assert [v.astimezone(UTC) for v in found.rows["ordered_at"].to_pylist()] == [
        datetime(2017, 3, 12, 7, 0, tzinfo=UTC),
        datetime(2017, 11, 5, 5, 30, tzinfo=UTC),
        datetime(2017, 7, 1, 4, 0, tzinfo=UTC),
    ]
    assert found.moved.tolist() == [True, True, False]


def test_the_mappings_zone_reads_stamps_and_the_business_zone_cuts_months(con: duckdb.DuckDBPyConnection) -> None:
    rows = [["1", "2026-02-28 15:59:59"], ["2", "2026-02-28 16:00:00"]]
    found = clean(con, "orders", {"order_id": "i", "ordered_at": "t"}, ["i", "t"], rows, time_zone="UTC")
    assert found.month.tolist() == [202602, 202603]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2026-03-01", datetime(2026, 2, 28, 16, tzinfo=UTC)),
        ("2026年3月1日", datetime(2026, 2, 28, 16, tzinfo=UTC)),
        ("20260301", datetime(2026, 2, 28, 16, tzinfo=UTC)),
        ("2026-03-01 00:00:00", datetime(2026, 3, 1, 0, tzinfo=UTC)),
        ("20260301000000", datetime(2026, 3, 1, 0, tzinfo=UTC)),
        ("2026-03-01 08:30", datetime(2026, 3, 1, 8, 30, tzinfo=UTC)),
    ],
)
def test_a_date_without_a_time_is_that_business_day_whatever_the_zone_of_the_source(
    con: duckdb.DuckDBPyConnection, written: str, read: datetime
) -> None:
    columns = {"order_id": "i", "ordered_at": "t"}
    found = clean(con, "orders", columns, ["i", "t"], [["1", written]], time_zone="UTC")
    assert [v.astimezone(UTC) for v in found.rows["ordered_at"].to_pylist()] == [read]


DAY, MIDNIGHT = datetime(2026, 2, 28, 16, tzinfo=UTC), datetime(2026, 3, 1, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("form", "written", "read"),
    [
        ("%Y-%m-%d %H", "2026-03-01 00", MIDNIGHT),
        ("%Y%m%dT%H%M%S", "20260301T000000", MIDNIGHT),
        ("%Y%m%d %-I%p", "20260301 12AM", MIDNIGHT),
        ("excel_serial", "46082", MIDNIGHT),
        (["auto", "excel_serial"], "46082", MIDNIGHT),
        (["auto", "excel_serial"], "2026-03-01", DAY),
        (["auto", "%Y-%m-%d %H"], "2026-03-01 00", MIDNIGHT),
        (["auto", "%Y-%m-%d %H"], "2026-03-01 00:00", MIDNIGHT),
        (["%Y-%m-%d %H", "%d.%m.%Y"], "2026-03-01 00", MIDNIGHT),
        (["%Y-%m-%d %H", "%d.%m.%Y"], "01.03.2026", DAY),
        ("%d.%m.%Y", "01.03.2026", DAY),
        ("%d%%H.%m.%Y", "01%H.03.2026", DAY),
        (["epoch_seconds", "%d.%m.%Y"], "01.03.2026", DAY),
    ],
)
def test_a_form_with_a_clock_gives_times_at_midnight_too(
    con: duckdb.DuckDBPyConnection, form: str | list[str], written: str, read: datetime
) -> None:
    columns = {"order_id": "i", "ordered_at": {"column": "t", "time": form}}
    found = clean(con, "orders", columns, ["i", "t"], [["1", written]], time_zone="UTC")
    assert [v.astimezone(UTC) for v in found.rows["ordered_at"].to_pylist()] == [read]


def test_the_hours_around_midnight_keep_their_order_in_the_zone_of_the_source(con: duckdb.DuckDBPyConnection) -> None:
    columns = {"order_id": "i", "ordered_at": {"column": "t", "time": "%Y-%m-%d %H"}}
    rows = [["1", "2026-03-01 23"], ["2", "2026-03-02 00"], ["3", "2026-03-02 01"]]
    found = clean(con, "orders", columns, ["i", "t"], rows, time_zone="UTC")
    hours = [v.astimezone(UTC) for v in found.rows["ordered_at"].to_pylist()]
    assert hours == [datetime(2026, 3, d, h, tzinfo=UTC) for d, h in ((1, 23), (2, 0), (2, 1))]


@given(st.lists(st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1)), min_size=1, max_size=20))
@settings(deadline=None, max_examples=50)
def test_business_months_are_those_of_the_calendar_in_every_zone(stamps: list[datetime]) -> None:
    for zone in ("Asia/Shanghai", "America/New_York", "Pacific/Apia", "Asia/Beirut"):
        us = np.array([int(s.replace(tzinfo=UTC).timestamp() * 1e6) for s in stamps])
        local = [datetime.fromtimestamp(int(u) // 1_000_000, ZoneInfo(zone)) for u in us]
        assert business_months(us, zone).tolist() == [d.year * 100 + d.month for d in local]


def test_instants_agree_with_python_outside_of_clock_changes() -> None:
    stamps = [datetime(2020, 1, 1) + timedelta(hours=7 * i) for i in range(2000)]
    found, moved = instants_of(pa.chunked_array([pa.array(stamps, pa.timestamp("us"))]), "Europe/London")
    wanted = [int(s.replace(tzinfo=ZoneInfo("Europe/London")).timestamp()) * 1_000_000 for s in stamps]
    same = [a == b for a, b in zip(found.to_pylist(), wanted, strict=True)]
    assert all(s or m for s, m in zip(same, moved.tolist(), strict=True))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,234.50", 123450),
        ("¥1,234.50", 123450),
        ("￥1234.5", 123450),
        ("1234.50元", 123450),
        ("RMB 12", 1200),
        ("20元", 2000),
        ("１２．３４", 1234),
        ("1.2万元", 1_200_000),
        (".5", 50),
        ("12.", 1200),
        ("1e2", 10000),
        ("0.005", 1),
        ("0.004999999", 0),
        ("1.005", 101),
        ("2.675", 268),
        ("99999999999.99", 9999999999999),
    ],
)
def test_money_is_read_in_its_forms_and_rounded_once_half_up(
    con: duckdb.DuckDBPyConnection, text: str, expected: int
) -> None:
    assert one_amount(con, text) == expected


@pytest.mark.parametrize(
    "text", ["1,2", "1_000", "$5", "1.2.3", "--1", "五元", "0x10", "12,34,567", "1-", "999999999999999999999"]
)
def test_what_is_no_money_of_the_lakes_currency_is_refused(con: duckdb.DuckDBPyConnection, text: str) -> None:
    found = clean(
        con,
        "products",
        {"sku_id": "i", "list_price_minor": {"column": "p", "unit": "major"}},
        ["i", "p"],
        [["s", text]],
    )
    assert found.reasons.to_pylist() == [f"list_price_minor: '{text}' is no amount of money in CNY (column p)"]


def test_the_currency_decides_symbols_and_decimals(con: duckdb.DuckDBPyConnection) -> None:
    assert one_amount(con, "$5.25", "USD") == 525
    assert one_amount(con, "£5.25", "GBP") == 525
    assert one_amount(con, "￥525", "JPY") == 525
    assert one_amount(con, "5.25", "KWD") == 5250


def test_minor_units_have_to_be_whole(con: duckdb.DuckDBPyConnection) -> None:
    assert one_amount(con, "1234", unit="minor") == 1234
    assert one_amount(con, "12.34", unit="minor") is None


@given(st.decimals(min_value=0, max_value=10**8, places=6, allow_nan=False), st.integers(1, 500))
@settings(deadline=None, max_examples=25)
def test_a_product_is_rounded_once_at_the_end(con: duckdb.DuckDBPyConnection, price: Decimal, quantity: int) -> None:
    fields = {
        "order_id": "o",
        "ordered_at": "t",
        "quantity": "q",
        "net_amount_minor": {"column": "p", "times": "q", "unit": "major"},
    }
    row = ["o", "2026-03-01", str(quantity), f"{price:f}"]
    found = clean(con, "order_lines", fields, ["o", "t", "q", "p"], [row])
    wanted = int((price * quantity * 100).quantize(Decimal(1), ROUND_HALF_UP))
    assert found.rows["net_amount_minor"].to_pylist() == [wanted]


def test_sums_differences_and_signs(con: duckdb.DuckDBPyConnection) -> None:
    fields = {
        "order_id": "o",
        "ordered_at": "t",
        "quantity": {"column": "q", "negate": True},
        "discount_amount_minor": {"sum": ["a", "b"], "unit": "major"},
        "net_amount_minor": {"column": "p", "minus": ["a"], "unit": "major"},
    }
    rows = [
        ["1", "2026-03-01", "-2", "10", "1.25", "2.5"],
        ["2", "2026-03-01", "-2", "10", "", "2.5"],
        ["3", "2026-03-01", "-2", "10", "", ""],
        ["4", "2026-03-01", "-2", "10", "x", "1"],
    ]
    found = clean(con, "order_lines", fields, ["o", "t", "q", "p", "a", "b"], rows)
    assert found.rows["quantity"].to_pylist()[:3] == [2, 2, 2]
    assert found.rows["discount_amount_minor"].to_pylist()[:3] == [375, 250, None]
    assert found.rows["net_amount_minor"].to_pylist()[:3] == [875, 1000, 1000]
    assert found.refused.tolist() == [False, False, False, True]
    assert found.reasons.to_pylist()[0].splitlines() == [
        "discount_amount_minor: 'x | 1' is no amount of money in CNY (column a and b)",
        "net_amount_minor: '10 | x' is no amount of money in CNY (column p and a)",
    ]


def test_whole_numbers_may_be_written_with_a_zero_fraction_and_nothing_else(con: duckdb.DuckDBPyConnection) -> None:
    rows = [["1", "6"], ["2", "6.0"], ["3", "1,000"], ["4", "6.5"], ["5", ""], ["6", "9223372036854775808"]]
    found = clean(con, "members", {"member_id": "i", "points": "p"}, ["i", "p"], rows)
    assert found.rows["points"].to_pylist() == [6, 6, 1000, None, None, None]
    assert found.refused.tolist() == [False, False, False, True, False, True]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("是", True), ("否", False), ("Y", True), ("n", False), ("TRUE", True), ("0", False), ("1", True), ("", None)],
)
def test_yes_and_no(con: duckdb.DuckDBPyConnection, text: str, expected: bool | None) -> None:
    found = clean(con, "members", {"member_id": "i", "is_follower": "f"}, ["i", "f"], [["m", text]])
    assert found.rows["is_follower"].to_pylist() == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1985-03-02", date(1985, 3, 2)), ("1985/3/2", date(1985, 3, 2)), ("1985", date(1985, 1, 1)),
     ("1985年3月", date(1985, 3, 1)), ("19850302", date(1985, 3, 2)), ("1985年3月2日", date(1985, 3, 2)),
     ("1985-03-02 00:00:00", date(1985, 3, 2)), ("", None)],
)  # fmt: skip
def test_dates_of_birth(con: duckdb.DuckDBPyConnection, text: str, expected: date | None) -> None:
    found = clean(con, "members", {"member_id": "i", "birth_date": "b"}, ["i", "b"], [["m", text]])
    assert found.rows["birth_date"].to_pylist() == [expected]
    assert found.refused.tolist() == [False]


@pytest.mark.parametrize("guest", ["", "0", " 0 ", "NULL", "None", "nan", "-", "TEST", "0.0", "Unknown"])
def test_guest_ids_identify_nobody(con: duckdb.DuckDBPyConnection, guest: str) -> None:
    fields = {"order_id": "o", "ordered_at": "t", "member_id": "m"}
    found = clean(con, "orders", fields, ["o", "t", "m"], [["1", "2026-03-01", guest]])
    assert found.rows["member_id"].to_pylist() == [None]
    assert found.refused.tolist() == [False]


def test_ids_keep_leading_zeros_and_lose_what_a_spreadsheet_adds(con: duckdb.DuckDBPyConnection) -> None:
    rows = [["007"], ["17850.0"], [" m1 "], ["Ｍ１２"], ["1.50"]]
    found = clean(con, "members", {"member_id": "i"}, ["i"], rows)
    assert found.rows["member_id"].to_pylist() == ["007", "17850", "m1", "M12", "1.50"]


def test_phones_and_mail_addresses_are_compared_in_one_form(con: duckdb.DuckDBPyConnection) -> None:
    rows = [
        ["1", "+86 138-0013-8000", " A@B.COM "],
        ["2", "8613800138000", "nobody"],
        ["3", "１３８００１３８０００", ""],
        ["4", "138****8000", ""],
        ["5", "010-12345678", ""],
    ]
    found = clean(con, "members", {"member_id": "i", "phone": "p", "email": "e"}, ["i", "p", "e"], rows)
    same = "13800138000"
    assert found.rows["phone"].to_pylist() == [same, same, same, None, "01012345678"]
    assert found.rows["email"].to_pylist()[:2] == ["a@b.com", None]
    assert not found.refused.any()


def test_a_value_that_is_not_in_the_map_is_refused_unless_otherwise_says_what_it_is(
    con: duckdb.DuckDBPyConnection,
) -> None:
    strict = {"column": "g", "values": {"男": "male", "女": "female"}}
    rows = [["1", "男"], ["2", "x"], ["3", ""]]
    found = clean(con, "members", {"member_id": "i", "gender": strict}, ["i", "g"], rows)
    assert found.refused.tolist() == [False, True, False]
    assert found.reasons.to_pylist() == ["gender: 'x***' is no value of the map (values) (column g)"]
    lenient = clean(con, "members", {"member_id": "i", "gender": {**strict, "otherwise": "unknown"}}, ["i", "g"], rows)
    assert lenient.rows["gender"].to_pylist() == ["male", "unknown", None]


def test_a_map_may_give_a_value_to_blanks_and_typed_values_to_words(con: duckdb.DuckDBPyConnection) -> None:
    fields = {
        "member_id": "i",
        "household_size": {"column": "h", "values": {"1": 1, "5+": 5}},
        "tier": {"column": "t", "values": {"": "basic", "G": "gold"}},
    }
    found = clean(con, "members", fields, ["i", "h", "t"], [["1", "5+", ""], ["2", "1", "G"]])
    assert found.rows["household_size"].to_pylist() == [5, 1]
    assert found.rows["tier"].to_pylist() == ["basic", "gold"]


def test_keys_of_a_map_are_read_like_the_text_that_they_stand_for(con: duckdb.DuckDBPyConnection) -> None:
    fields = {"member_id": "m", "points": {"column": "p", "values": {"Ａ": "1", "B": "2"}}}
    rows = [["1", "Ａ"], ["2", "A"], ["3", "Ｂ"], ["4", "Ｃ"]]
    found = clean(con, "members", fields, ["m", "p"], rows)
    assert found.rows["points"].to_pylist() == [1, 1, 2, None]
    assert found.refused.tolist() == [False, False, False, True]


@pytest.mark.parametrize(
    ("text", "form", "day"),
    [
        ("1990-05-01T00:00:00+08:00", "auto", date(1990, 5, 1)),
        ("1990-05-01 23:30:00-0500", "auto", date(1990, 5, 1)),
        ("1990-05-01T00:00:00Z", "auto", date(1990, 5, 1)),
        ("1990/5/1 0:30 +09", "auto", date(1990, 5, 1)),
        ("01/05/1990 00:30 +0900", "%d/%m/%Y %H:%M %z", date(1990, 5, 1)),
    ],
)
def test_a_day_with_a_zone_is_the_day_that_it_writes(
    con: duckdb.DuckDBPyConnection, text: str, form: str, day: date
) -> None:
    fields = {"member_id": "m", "birth_date": {"column": "b", "time": form}}
    assert clean(con, "members", fields, ["m", "b"], [["1", text]]).rows["birth_date"].to_pylist() == [day]


def test_a_constant_is_read_like_any_text(con: duckdb.DuckDBPyConnection) -> None:
    fields = {
        "order_id": "o",
        "ordered_at": {"constant": "2026-03-01 08:00"},
        "currency": {"constant": "CNY"},
        "freight_amount_minor": {"constant": "1.50", "unit": "major"},
    }
    found = clean(con, "orders", fields, ["o"], [["1"]]).rows.to_pylist()[0]
    assert found["ordered_at"].astimezone(UTC) == datetime(2026, 3, 1, 0, 0, tzinfo=UTC)
    assert (found["currency"], found["freight_amount_minor"]) == ("CNY", 150)


def test_another_currency_is_refused_because_sums_would_mix_them(con: duckdb.DuckDBPyConnection) -> None:
    fields = {"order_id": "o", "ordered_at": "t", "currency": "c"}
    rows = [
        ["1", "2026-03-01", "cny"],
        ["2", "2026-03-01", "人民币"],
        ["3", "2026-03-01", "USD"],
        ["4", "2026-03-01", ""],
    ]
    found = clean(con, "orders", fields, ["o", "t", "c"], rows)
    assert found.refused.tolist() == [False, False, True, False]
    assert found.reasons.to_pylist() == ["currency: 'USD' is not the lake's currency, CNY (column c)"]


def test_a_row_of_nobody_is_refused_where_the_feed_needs_a_person(con: duckdb.DuckDBPyConnection) -> None:
    fields = {"occurred_at": "t", "behaviour": {"constant": "view"}, "member_id": "m", "device_id": "d"}
    rows = [["2026-03-01", "0", "d1"], ["2026-03-01", "0", "null"]]
    found = clean(con, "browse", fields, ["t", "m", "d"], rows)
    assert found.refused.tolist() == [False, True]
    assert found.reasons.to_pylist() == ["no id of the person: member_id, device_id empty, or on the guest list"]


def test_every_reason_is_given_and_personal_values_are_masked(con: duckdb.DuckDBPyConnection) -> None:
    fields = {"member_id": "i", "points": "p", "birth_date": "b"}
    found = clean(con, "members", fields, ["i", "p", "b"], [["0", "many", "13800138000"]])
    assert found.reasons.to_pylist()[0].splitlines() == [
        "birth_date: '1***' is no date (auto) (column b)",
        "points: 'many' is no whole number (column p)",
        "member_id: '0***' but a value is required (column i)",
    ]


def test_where_selects_rows(con: duckdb.DuckDBPyConnection) -> None:
    rows = [["A1", "x"], ["C2", ""], ["C3", "y"], ["B4", "z"]]

    def kept(*where: dict[str, Any]) -> list[int]:
        found = clean(con, "members", {"member_id": "i"}, ["i", "k"], rows, where=list(where))
        return found.position.tolist()

    assert kept({"column": "i", "starts_with": "C"}) == [1, 2]
    assert kept({"column": "i", "not_starts_with": "C"}) == [0, 3]
    assert kept({"column": "k", "in": ["x", "z"]}) == [0, 3]
    assert kept({"column": "k", "not_in": ["x", "z"]}) == [1, 2]
    assert kept({"column": "k", "is_empty": True}) == [1]
    assert kept({"column": "i", "starts_with": "C"}, {"column": "k", "is_empty": False}) == [2]
    assert kept({"column": "k", "in": []}) == []


HOSTILE = ["o'; drop table block; --", 'q"uo"te', "c0", "i", "row", "\\", "{}", "🙂列"]


def test_words_that_mean_absent_are_blank_for_their_field_only(con: duckdb.DuckDBPyConnection) -> None:
    fields = {
        "sku_id": "s",
        "brand": {"column": "b", "absent": ["0", "-", "NULL", "无"]},
        "category": {"column": "c", "absent": ["0"], "values": {"1": "tea", "": "other"}},
        "product_name": "b",
        "list_price_minor": {"sum": ["p", "b"], "absent": ["9999"], "unit": "major"},
    }
    rows = [["1", "0", "1", "5"], ["2", " - ", "0", "9999"], ["3", "无", "", "9999"], ["4", '="0"', "1", "5"]]
    found = clean(con, "products", fields, ["s", "b", "c", "p"], rows)
    assert found.rows["brand"].to_pylist() == [None] * 4
    assert found.rows["category"].to_pylist() == ["tea", "other", "other", "tea"]
    assert found.rows["product_name"].to_pylist() == ["0", "-", "无", "0"]
    assert found.rows["list_price_minor"].to_pylist() == [500, None, None, 500]
    assert found.refused.tolist() == [False, False, True, False]


def test_a_word_that_means_absent_is_absent_where_a_value_is_required(con: duckdb.DuckDBPyConnection) -> None:
    fields = {"sku_id": {"column": "s", "absent": ["0"]}, "product_name": "n"}
    found = clean(con, "products", fields, ["s", "n"], [["0", "tea"], ["1", "tea"]])
    assert found.reasons.to_pylist() == ["sku_id: empty but a value is required (column s)"]


def test_hostile_column_names_and_values_are_only_text(con: duckdb.DuckDBPyConnection) -> None:
    values = ["'; select 1; --", '"', "\\", "a\x1fb", "\t", "🙂", "${x}", "{{x}}", "%s"]
    for n, name in enumerate(HOSTILE):
        for value in values[n % 2 :: 2]:
            fields = {"sku_id": name, "product_name": {"column": "v", "values": {value: value}, "otherwise": value}}
            found = clean(con, "products", fields, [name, "v"], [[value or "x", value]])
            wanted = value.replace("\x1f", " ").strip()
            assert found.rows["sku_id"].to_pylist() == ([wanted] if wanted else [None])


def test_the_raw_row_is_json_of_the_text_as_received(con: duckdb.DuckDBPyConnection) -> None:
    import json

    columns = ["i", 'na"me', "列"]
    rows = [["1", "plain", "中文"], ["2", 'qu"ote\\', "line\nbreak"], ["3", "", " spaced "]]
    found = clean(con, "members", {"member_id": "i"}, columns, rows)
    assert [list(json.loads(r).values()) for r in found.raw.to_pylist()] == rows
    assert all(list(json.loads(r)) == columns for r in found.raw.to_pylist())


def test_the_fingerprint_depends_on_content_and_not_on_how_it_was_written(con: duckdb.DuckDBPyConnection) -> None:
    fields = {"order_id": "o", "ordered_at": "t", "freight_amount_minor": {"column": "f", "unit": "major"}}
    rows = [["1", "2026/3/1 8:05", "¥5"], [" 1", "2026-03-01T00:05:00Z", "5.00"], ["1", "2026/3/1 8:05", "5.01"]]
    hashes = clean(con, "orders", fields, ["o", "t", "f"], rows).rows["row_hash"].to_pylist()
    assert hashes[0] == hashes[1] != hashes[2]


def test_the_fingerprint_tells_which_field_holds_a_value(con: duckdb.DuckDBPyConnection) -> None:
    fields = {"order_id": "o", "ordered_at": "t", "member_id": "m", "phone": "p"}
    rows = [["1", "2026-03-01", "13800138000", ""], ["1", "2026-03-01", "", "13800138000"]]
    hashes = clean(con, "orders", fields, ["o", "t", "m", "p"], rows).rows["row_hash"].to_pylist()
    assert hashes[0] != hashes[1]
    fewer = {k: fields[k] for k in ("order_id", "ordered_at", "member_id")}
    assert clean(con, "orders", fewer, ["o", "t", "m", "p"], rows).rows["row_hash"].to_pylist()[0] == hashes[0]


def test_rows_without_any_time_have_a_month_of_their_own(con: duckdb.DuckDBPyConnection) -> None:
    assert clean(con, "products", {"sku_id": "i"}, ["i"], [["s"]]).month.tolist() == [NO_MONTH]


@given(st.lists(st.text(max_size=12), min_size=1, max_size=8))
@settings(deadline=None, max_examples=25)
def test_any_text_goes_through_and_is_kept_in_the_raw_row(con: duckdb.DuckDBPyConnection, values: list[str]) -> None:
    import json

    fields = {"sku_id": "a", "product_name": "b", "list_price_minor": {"column": "b", "unit": "major"}}
    rows: list[list[str | None]] = [[v, v] for v in values]
    found = clean(con, "products", fields, ["a", "b"], rows)
    assert [json.loads(r)["a"] for r in found.raw.to_pylist()] == values
    assert len(found.reasons) == int(found.refused.sum())
    assert all(found.reasons.to_pylist())


def test_ids_that_a_spreadsheet_shortened_are_refused_because_many_have_become_one(
    con: duckdb.DuckDBPyConnection,
) -> None:
    fields = {"order_id": "o", "ordered_at": "t"}
    rows = [["1.23457E+17", "2026-03-01"], ["SE+1", "2026-03-01"]]
    found = clean(con, "orders", fields, ["o", "t"], rows)
    assert found.refused.tolist() == [True, False]
    assert found.reasons.to_pylist() == [
        "order_id: '1.23457E+17' is no whole id: a spreadsheet shortened it; export it as text (column o)",
    ]


def test_what_exports_put_around_ids_to_keep_them_text_is_taken_off(con: duckdb.DuckDBPyConnection) -> None:
    rows = [['="0042"', "'0042"], ["0042", "0042"], ['=""', "'x"]]
    found = clean(con, "members", {"member_id": "m", "inviter_member_id": "i"}, ["m", "i"], rows)
    assert found.rows["member_id"].to_pylist() == ["0042", "0042", None]
    assert found.rows["inviter_member_id"].to_pylist() == ["0042", "0042", "'x"]
