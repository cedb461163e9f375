"""The way of files into the lake: forms, traps, duplicates, late rows, bad files among good ones."""

from __future__ import annotations

import errno
import gzip
import io
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from cli.main import commands
from cli.session import verb
from jobs.ingest.reading import read_blocks, text_of
from lake.manifest import manifest
from lake.publish import Days
from schemas.errors import AuditError, HuaxiangError, LockedError, NotThereError
from tests.ingest.shop import BROWSE, LINES, ORDERS, RECEIVED, Shop, csv

H = ["订单号", "下单时间", "支付时间", "会员号"]
L = ["order", "at", "sku", "qty", "paid"]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "shop", {"orders": ORDERS, "lines": LINES, "browse": BROWSE})


def an_order(n: int, day: str = "2026-03-01", member: str = "m1") -> list[str]:
    return [f"o{n}", f"{day} 10:00:00", f"{day} 10:01:00", member]


def failures(shop: Shop, **options: Any) -> list[str]:
    return [f.message or "" for f in shop.ingest(**options).of_state("failed")]


def test_a_file_goes_to_landing_bronze_silver_and_manifest(shop: Shop) -> None:
    path = shop.deliver("orders/1.csv", csv(H, an_order(1), an_order(2, "2026-02-28")))
    report = shop.ingest()
    assert (report.taken, report.failed) == (1, 0)
    [row] = manifest(shop.lake)
    assert (row.rows_read, row.rows_silver, row.lost) == (2, 2, 0)
    assert (shop.lake.root / row.path).read_bytes() == path.read_bytes()
    assert shop.rows("silver.orders", "order_id, event_month, _file, _row") == [
        ("o1", 202603, "orders/1.csv", 1),
        ("o2", 202602, "orders/1.csv", 2),
    ]
    raw = [json.loads(r) for (r,) in shop.rows("bronze.orders", "raw")]
    assert raw[0] == {
        "订单号": "o1",
        "下单时间": "2026-03-01 10:00:00",
        "支付时间": "2026-03-01 10:01:00",
        "会员号": "m1",
    }


def test_a_file_that_was_taken_is_not_taken_again_under_any_name(shop: Shop) -> None:
    text = csv(H, an_order(1))
    shop.deliver("orders/1.csv", text)
    shop.ingest()
    shop.deliver("orders/copy.csv", text)
    report = shop.ingest()
    assert (report.taken, report.known) == (0, 2)
    assert shop.count("bronze.orders") == 1


def test_two_equal_files_in_one_run_are_one_delivery(shop: Shop) -> None:
    for name in ("a", "b"):
        shop.deliver(f"orders/{name}.csv", csv(H, an_order(1)))
    assert (shop.ingest().taken, shop.count("bronze.orders")) == (1, 1)


ENCODED = [
    ("utf-8", "utf-8", False), ("utf-8", "utf-8-sig", False), ("gb18030", "gb18030", False), ("utf-8", "utf-8", True),
    ("utf-8", "utf-8-sig", True), ("gb18030", "gb18030", True),
]  # fmt: skip


@pytest.mark.parametrize(("said", "written", "gz"), ENCODED)
def test_encodings_marks_and_gzip_give_the_same_rows(shop: Shop, said: str, written: str, gz: bool) -> None:
    shop.map("orders", {**ORDERS, "encoding": said})
    shop.deliver("orders/1.csv", csv(H, an_order(1, member="会员一㐀")).encode(written), gz=gz)
    assert shop.ingest().failed == 0
    assert shop.rows("silver.orders", "order_id, member_id") == [("o1", "会员一㐀")]


def test_csv_jsonl_and_parquet_give_the_same_rows(tmp_path: Path) -> None:
    found = []
    for form in ("csv", "jsonl", "parquet"):
        shop = Shop(tmp_path / form, {"orders": {**ORDERS, "format": form}})
        rows = [an_order(n, member=m) for n, m in ((1, "m1"), (2, ""), (3, "会员"))]
        if form == "csv":
            shop.deliver("orders/1", csv(H, *rows))
        elif form == "jsonl":
            shop.deliver("orders/1", "\n".join(json.dumps(dict(zip(H, r, strict=True))) for r in rows))
        else:
            out = io.BytesIO()
            pq.write_table(pa.table({h: [r[k] for r in rows] for k, h in enumerate(H)}), out)
            shop.deliver("orders/1", out.getvalue())
        assert shop.ingest().failed == 0
        found.append(shop.content("silver.orders"))
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == 3


def test_typed_parquet_is_read_as_people_would_write_it(tmp_path: Path) -> None:
    shop = Shop(tmp_path, {"orders": {**ORDERS, "format": "parquet"}})
    stamps = [datetime(2026, 3, 1, 10, 0, 0), datetime(2026, 3, 1, 10, 0, 0, 123000)]
    table = pa.table(
        {
            "订单号": pa.array([1, 2], pa.int64()),
            "下单时间": pa.array(stamps, pa.timestamp("ms")),
            "支付时间": pa.array([s.replace(tzinfo=UTC) for s in stamps], pa.timestamp("us", "America/New_York")),
            "会员号": pa.array([17850.0, None], pa.float64()),
            "extra": pa.array(["a", None]).dictionary_encode(),
        }
    )
    out = io.BytesIO()
    pq.write_table(table, out)
    shop.deliver("orders/1", out.getvalue())
    shop.ingest()
    assert shop.rows("silver.orders", "order_id, epoch_us(ordered_at), epoch_us(paid_at), member_id") == [
        ("1", 1772330400000000, 1772359200000000, "17850"),
        ("2", 1772330400123000, 1772359200123000, None),
    ]


def test_phones_ids_and_milliseconds_that_a_data_frame_holds_as_floats_are_read_whole(tmp_path: Path) -> None:
    fields = {
        "order_id": "id",
        "ordered_at": {"column": "at", "time": "epoch_milliseconds"},
        "paid_at": {"column": "paid", "time": "epoch_milliseconds"},
        "phone": "phone",
        "member_id": "who",
    }
    shop = Shop(tmp_path, {"orders": {**ORDERS, "format": "parquet", "fields": fields}})
    columns = {
        "id": [20260301000017.0, 20260301000018.0, 20260301000019.0],
        "at": [1772330400000.0, 1772330400123.0, 1772330400000.0],
        "paid": [1772330400000.5, None, None],
        "phone": [13800138000.0, 13900139000.0, None],
        "who": [50000000001.0, None, 123456789012345678.0],
    }
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    shop.deliver("orders/1", out.getvalue())
    shop.ingest()
    seen = "order_id, epoch_us(ordered_at), epoch_us(paid_at), phone, member_id"
    assert shop.rows("silver.orders", seen) == [
        ("20260301000017", 1772330400000000, 1772330400000500, "13800138000", "50000000001"),
        ("20260301000018", 1772330400123000, None, "13900139000", None),
    ]
    ((reason,),) = shop.rows("quarantine.orders", "reasons")
    assert reason.startswith("member_id: '1***' is no whole id")


def test_floats_are_written_plainly_and_with_an_exponent_only_where_digits_are_lost() -> None:
    doubles = [13800138000.0, None, 1.7e12 + 0.5, 1e-5, 1e-7, 2.0**53 - 1, 2.0**53, 1e20, -3.25, -25e10, float("nan")]
    assert text_of(pa.array(doubles), "c", "f").to_pylist() == [
        "13800138000", None, "1700000000000.5", "0.00001", "0.0000001", "9007199254740991", "9.007199254740992E+15",
        "1E+20", "-3.25", "-250000000000", None,
    ]  # fmt: skip
    singles = pa.array([1.5, 2.0, 16777215.0, 123456789.0], pa.float32())
    assert text_of(singles, "c", "f").to_pylist() == ["1.5", "2", "16777215", "1.23456790E+8"]


def test_quoted_cells_may_hold_delimiters_quotes_and_ends_of_line(shop: Shop) -> None:
    text = '订单号,下单时间,支付时间,会员号\r\n"o,1",2026-03-01,,"m ""x"""\r\n"o\n2",2026-03-01,,m2\r\n\r\no3,2026-03-01,,m3'
    shop.deliver("orders/1.csv", text)
    shop.ingest()
    assert shop.rows("silver.orders", "order_id, member_id, _row") == [
        ("o\n2", "m2", 2),
        ("o,1", 'm "x"', 1),
        ("o3", "m3", 3),
    ]


def test_short_and_long_rows_are_set_aside_with_their_text_and_keep_their_number(shop: Shop) -> None:
    shop.deliver(
        "orders/1.csv", csv(H, an_order(1), ["o2", "2026-03-01"], an_order(3), [*an_order(4), "more"], an_order(5))
    )
    shop.ingest()
    assert shop.rows("silver.orders", "order_id, _row") == [("o1", 1), ("o3", 3), ("o5", 5)]
    assert shop.rows("quarantine.orders", "_row, raw, reasons") == [
        (2, "o2,2026-03-01", "2 columns where the header has 4"),
        (4, "o4,2026-03-01 10:00:00,2026-03-01 10:01:00,m1,more", "5 columns where the header has 4"),
    ]


def test_a_quote_that_swallows_lines_refuses_the_file_and_a_torn_row_of_several_lines_is_asked_after(
    shop: Shop,
) -> None:
    shop.deliver("orders/1.csv", csv(H, an_order(1), ['"o2', "x"], an_order(3), ['o"4', "x"], an_order(5)))
    shop.deliver("orders/2.csv", csv(H, an_order(6), ['"o\n7"', "x"], an_order(8)))
    [message] = failures(shop)
    assert 'the quote (") opened on line 3 takes in what looks like further rows' in message
    ((reason,),) = shop.rows("quarantine.orders", "reasons")
    assert reason == (
        '2 columns where the header has 4 over 2 lines of the file: is a quote (") opened and never closed?'
    )


def test_row_numbers_hold_over_many_blocks(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.ingest.parsing.read_blocks", partial(read_blocks, block_bytes=4096))
    rows = [an_order(n) if n % 7 else ["short"] for n in range(1, 2001)]
    shop.deliver("orders/1.csv", csv(H, *rows))
    shop.ingest()
    assert shop.rows("silver.orders", "order_id, _row", "order_id <> 'o' || _row") == []
    assert [r for (r,) in shop.rows("quarantine.orders", "_row")] == [n for n in range(1, 2001) if n % 7 == 0]
    assert shop.count("silver.orders") + shop.count("quarantine.orders") == 2000 == shop.count("bronze.orders")


def test_bad_json_lines_are_set_aside_and_the_file_goes_on(shop: Shop) -> None:
    good = '{"ts":1772323500000,"act":"pv","mid":"m1","did":"d1"}'
    shop.deliver("browse/1.jsonl", f'{good}\n{{"ts":1,\n\n[1,2]\n"text"\n{good.replace("pv", "cart")}\n', gz=True)
    assert shop.ingest().failed == 0
    assert [r for (r,) in shop.rows("silver.browse", "_row")] == [1, 5]
    assert shop.rows("quarantine.browse", "_row, raw, reasons") == [
        (2, '{"ts":1,', "is no JSON object"),
        (3, "[1,2]", "is no JSON object"),
        (4, '"text"', "is no JSON object"),
    ]
    assert (good,) in shop.rows("bronze.browse", "raw")


def test_json_keys_may_be_nested_or_hold_dots(tmp_path: Path) -> None:
    fields = {"occurred_at": "ts", "behaviour": {"constant": "view"}, "member_id": "user.id", "page": "a/b~c"}
    shop = Shop(tmp_path, {"browse": {**BROWSE, "fields": fields}})
    shop.deliver("browse/1", '{"ts":"2026-03-01","user":{"id":"m1"},"a/b~c":"p"}\n{"ts":"2026-03-01","user.id":"m2"}\n')
    shop.ingest()
    assert shop.rows("silver.browse", "member_id, page") == [("m1", "p"), ("m2", None)]


BAD_FILES = {
    "empty": (b"", "the file is empty (0 bytes)"),
    "only a mark": (b"\xef\xbb\xbf", "the file is empty: not even a header"),
    "blank lines": (b"\n\n\n", "the file is empty: not even a header"),
    "empty gzip": (gzip.compress(b""), "the file is empty"),
    "cut gzip": (gzip.compress(csv(H, *(an_order(n) for n in range(500))).encode())[:-20], "the file was cut off on its way"),
    "damaged gzip": (gzip.compress(csv(H, an_order(1)).encode())[:-8] + b"12345678", "the gzip stream is damaged"),
    "parquet": (b"PAR1xxxxPAR1", "say `format: parquet` in orders.yaml"),
    "excel": (b"PK\x03\x04rest", "save the sheet as CSV UTF-8"),
    "utf-16": ("订单号,下单时间".encode("utf-16"), "is UTF-16; save it as UTF-8"),
    "gb18030": (csv(H, an_order(1)).encode("gb18030"), "byte 0 (0xB6) is not UTF-8; save the file as UTF-8, or say `encoding: gb18030`"),
    "byte in the middle": (csv(H, an_order(1)).encode() + b"o2,2026-03-01,,\xff\n", "(0xFF) is not UTF-8"),
    "nul": (csv(H, an_order(1)).encode() + b"\x00", "holds NUL characters"),
    "renamed column": (csv(["订单编号", *H[1:]], an_order(1)).encode(), "column '订单号' (for order_id) is not there; did you mean '订单编号'?"),
    "missing column": (csv(H[:3], an_order(1)[:3]).encode(), "column '会员号' (for member_id) is not there"),
    "column twice": (csv([*H, "会员号"], [*an_order(1), "x"]).encode(), "column '会员号' stands 2 times"),
    "other delimiter": (csv(H, an_order(1)).replace(",", ";").encode(), "is the delimiter ';'?"),
    "another kind": (b"a,b\n1,2\n", "has none of the columns that orders.yaml reads (订单号, 下单时间, 支付时间, 会员号, ...); its own are a, b"),
    "open quote": (csv(H, an_order(1)).encode() + b'o2,2026-03-01,,"m\no3,2026-03-01,,m3\n', 'the quote (") opened on line 3 is never closed'),
    "no row fits": (csv(H, ["a", "b"], ["c", "d"]).encode(), "no row has the 4 columns of the header"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD_FILES)
def test_a_bad_file_is_named_with_its_remedy_leaves_nothing_and_stops_no_other(shop: Shop, what: str) -> None:
    content, message = BAD_FILES[what]
    shop.deliver("orders/bad.csv", content)
    shop.deliver("orders/good.csv", csv(H, an_order(9)))
    shop.deliver("lines/1.csv", csv(L, ["o9", "2026-03-01", "s", 1, "5"]))
    report = shop.ingest()
    [bad] = report.of_state("failed")
    assert (bad.file, bad.feed) == ("orders/bad.csv", "orders")
    assert bad.message is not None
    assert bad.message.startswith("orders/bad.csv: ")
    assert message in bad.message
    assert (report.taken, report.failed) == (2, 1)
    for table in ("silver.orders", "bronze.orders"):
        assert {f for (f,) in shop.rows(table, "_file")} == {"orders/good.csv"}
    assert shop.count("quarantine.orders") == 0
    assert {(r.file, r.state) for r in manifest(shop.lake) if r.feed == "orders"} == {
        ("orders/good.csv", "taken"),
        ("orders/bad.csv", "refused"),
    }
    assert not list((shop.lake.root / "landing" / "orders").glob("*bad*"))
    shop.deliver("orders/bad.csv", csv(H, an_order(10)))
    assert shop.ingest().taken == 1
    assert {r.state for r in manifest(shop.lake)} == {"taken"}


def test_the_named_byte_is_the_wrong_one(shop: Shop) -> None:
    content = csv(H, *(an_order(n) for n in range(5000))).encode()
    shop.deliver("orders/1.csv", content + b"\xff\n" + content)
    [message] = failures(shop)
    assert f"byte {len(content):,} (0xFF)" in message


def test_a_large_bad_file_leaves_nothing_although_it_went_block_by_block(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.ingest.parsing.FLUSH_ROWS", 100)
    monkeypatch.setattr("jobs.ingest.parsing.read_blocks", partial(read_blocks, block_bytes=4096))
    content = csv(H, *(an_order(n) for n in range(2000)), ["short"]).encode()
    shop.deliver("orders/1.csv", content + b"o,2026-03-01,,\xff\n")
    assert "is not UTF-8" in failures(shop)[0]
    for table in ("silver.orders", "bronze.orders", "quarantine.orders"):
        assert shop.count(table) == 0
    assert shop.rows("landing.manifest", "state") == [("refused",)]


def test_header_only_is_a_day_without_rows(shop: Shop) -> None:
    shop.deliver("orders/1.csv", csv(H))
    shop.deliver("orders/2.csv", ",".join(H))
    report = shop.ingest()
    assert (report.taken, report.failed) == (2, 0)
    assert [r.rows_read for r in manifest(shop.lake)] == [0, 0]


def test_a_json_key_that_a_field_needs_is_an_error_where_no_line_has_it(shop: Shop) -> None:
    shop.deliver("browse/1", '{"ts":1772323500000,"action":"pv","mid":"m","did":"d"}\n')
    shop.deliver("browse/3", '{"ts":1772323500000,"act":"pv","did":"d"}\n')
    (first,) = failures(shop)
    assert "no line has the key 'act' (for behaviour); did you mean 'action'?" in first
    assert shop.count("silver.browse") == 1


def test_a_json_key_that_may_be_absent_is_remarked_on_where_one_of_nearly_its_name_is_left_over(shop: Shop) -> None:
    shop.map("browse", {**BROWSE, "fields": {**BROWSE["fields"], "sku_id": "sku_id"}})
    line = '{"ts":1772323500000,"act":"pv","mid":"m","did":"d","spu_id":"%s"}\n'
    shop.deliver("browse/1", line % "p1" + line % "p2")
    report = shop.ingest()
    assert (report.failed, shop.count("silver.browse", "sku_id is null")) == (0, 2)
    said = (
        "lack the key 'sku_id' (for sku_id), which no line of their file has; did you mean 'spu_id'? "
        "Then say so in browse.yaml, and take the file `--again`"
    )
    assert [(f.what, f.rows, f.row) for f in report.files[0].remarks] == [(said, 2, 1)]
    assert f"note: 2 {said}" in report.text()


def test_files_that_are_still_being_written_and_files_of_no_mapping_are_left(shop: Shop) -> None:
    for name in ("orders/1.csv.part", "orders/.hidden", "orders/x.tmp", "orders/_SUCCESS"):
        shop.deliver(name, "half a fi")
    shop.deliver("surprise/1.csv", "a,b\n1,2\n")
    report = shop.ingest()
    assert (report.files, report.unmatched) == ([], ["surprise/1.csv"])
    assert shop.ingest(feeds=["orders"]).unmatched == ["surprise/1.csv"]
    assert "huaxiang source draft" in report.text()


def test_files_that_wait_as_unfinished_are_named_by_ingest_and_status_hidden_ones_are_not(shop: Shop) -> None:
    shop.deliver("orders/1.csv", csv(H, ["o1", "2026-03-01", "", "m1"]))
    for name in ("orders/_march.csv", "orders/2.csv~", "surprise/3.csv.part", "orders/.hidden"):
        shop.deliver(name, "half a fi")
    names = ["orders/2.csv~", "orders/_march.csv", "surprise/3.csv.part"]
    report = shop.ingest()
    assert (report.taken, report.failed, report.unmatched, report.unfinished) == (1, 0, [], names)
    told = f"3 files wait as unfinished: {', '.join(names)} (names like _* *~ *.part "
    assert told in report.text()
    assert told in CliRunner().invoke(commands(), ["status", "-p", str(shop.folder)]).output
    for n in range(5):
        shop.deliver(f"orders/_{n}.csv", "")
    assert ", orders/_3.csv and 3 more (" in shop.ingest().text()


def test_the_same_day_twice_and_in_pieces_gives_the_same_tables(tmp_path: Path) -> None:
    rows = [["o1", "2026-03-01 10:00", "a", 1, "5"], ["o1", "2026-03-01 10:00", "a", 1, "5"]]
    rows += [[f"o{n}", "2026-03-02 10:00", "b", n, "7.5"] for n in range(2, 9)]
    whole = Shop(tmp_path / "whole", {"lines": LINES})
    whole.deliver("lines/1.csv", csv(L, *rows))
    whole.ingest()
    twice = Shop(tmp_path / "twice", {"lines": LINES})
    twice.deliver("lines/1.csv", csv(L, *rows))
    twice.ingest()
    twice.deliver("lines/again.csv", csv(L, *reversed(rows)))
    twice.ingest(RECEIVED + timedelta(days=1))
    pieces = Shop(tmp_path / "pieces", {"lines": LINES})
    for n, part in enumerate((rows[4:], rows[:3], rows[2:6])):
        pieces.deliver(f"lines/{n}.csv", csv(L, *part))
        pieces.ingest(RECEIVED + timedelta(hours=n))
    assert whole.content("silver.order_lines") == twice.content("silver.order_lines")
    assert whole.content("silver.order_lines") == pieces.content("silver.order_lines")
    assert whole.count("silver.order_lines") == 9


def test_equal_lines_of_one_delivery_are_several_and_the_most_of_one_delivery_count(tmp_path: Path) -> None:
    shop = Shop(tmp_path, {"lines": LINES})
    line = ["o1", "2026-03-01 10:00", "a", 1, "5"]
    shop.deliver("lines/1.csv", csv(L, line, line))
    shop.ingest()
    shop.deliver("lines/2.csv", csv(L, line, line, line))
    report = shop.ingest()
    assert (report.rows("rows_silver"), report.rows("rows_duplicate")) == (1, 2)
    assert len({i for (i,) in shop.rows("silver.order_lines", "line_id")}) == 3


def test_a_key_of_the_source_makes_equal_rows_of_one_file_one_row(shop: Shop) -> None:
    shop.deliver("orders/1.csv", csv(H, an_order(1), an_order(1), an_order(1, member="m2")))
    report = shop.ingest()
    assert (report.rows("rows_silver"), report.rows("rows_duplicate")) == (2, 1)


def test_every_version_of_a_row_is_kept(shop: Shop) -> None:
    shop.deliver("orders/1.csv", csv(H, ["o1", "2026-03-01", "", "m1"]))
    shop.ingest()
    shop.deliver("orders/2.csv", csv(H, ["o1", "2026-03-01", "2026-03-02", "m1"]))
    shop.ingest(RECEIVED + timedelta(days=1))
    assert shop.rows("silver.orders", "order_id, paid_at is null, _file") == [
        ("o1", False, "orders/2.csv"),
        ("o1", True, "orders/1.csv"),
    ]


def test_late_rows_repair_their_own_month_and_leave_the_files_of_others(shop: Shop) -> None:
    shop.deliver("orders/1.csv", csv(H, an_order(1, "2026-01-05"), an_order(2, "2026-02-05")))
    shop.ingest()
    before = {f.path for f in shop.lake.files("silver.orders")}
    shop.deliver("orders/2.csv", csv(H, an_order(3, "2026-01-06"), an_order(4, "2026-03-09")))
    shop.ingest()
    after = shop.lake.files("silver.orders")
    assert before < {f.path for f in after}
    assert [f.partition["event_month"] for f in after if f.path not in before] == [202601, 202603]


def test_lateness_is_counted_in_business_days(shop: Shop) -> None:
    # Received on 2026-03-10 10:00 in Shanghai: yesterday and today are in time, the day before yesterday is late.
    stamps = ["2026-03-10 09:00", "2026-03-09 00:00", "2026-03-08 23:59", "2026-02-28 12:00"]
    shop.deliver("orders/1.csv", csv(H, *([f"o{n}", s, "", "m"] for n, s in enumerate(stamps))))
    shop.ingest()
    [row] = manifest(shop.lake)
    assert (row.rows_late, row.late_days_max) == (2, 10)
    assert row.late_days_p95 == pytest.approx(10 - 0.15 * 8)


def test_clock_changes_are_counted(tmp_path: Path) -> None:
    settings = {"time_zone": "America/New_York", "currency": "USD"}
    shop = Shop(tmp_path, {"orders": ORDERS}, settings)
    shop.deliver("orders/1.csv", csv(H, ["1", "2017-03-12 02:30", "", "m"], ["2", "2017-03-12 04:30", "", "m"]))
    shop.ingest()
    assert [r.dst_moved for r in manifest(shop.lake)] == [1]


def test_rows_left_to_another_feed_are_counted_and_not_kept(tmp_path: Path) -> None:
    shop = Shop(tmp_path, {"orders": {**ORDERS, "where": [{"column": "订单号", "not_starts_with": "C"}]}})
    shop.deliver("orders/1.csv", csv(H, an_order(1), ["C1", "bad", "bad", ""]))
    report = shop.ingest()
    assert (report.rows("rows_not_selected"), report.rows("rows_silver"), report.failed) == (1, 1, 0)
    assert shop.count("bronze.orders") == 1


def test_two_mappings_of_one_file_feed_two_tables_from_it(tmp_path: Path) -> None:
    lines = {
        **LINES,
        "files": "orders/*",
        "fields": {**LINES["fields"], "order_id": "订单号", "ordered_at": "下单时间"},
    }
    shop = Shop(tmp_path, {"orders": ORDERS, "lines": lines})
    shop.deliver(
        "orders/1.csv", csv([*H, "sku", "qty", "paid"], [*an_order(1), "s", 1, "5"], [*an_order(1), "t", 1, "5"])
    )
    report = shop.ingest()
    assert [(f.feed, f.rows_silver, f.rows_duplicate) for f in report.of_state("taken")] == [
        ("order_lines", 2, 0),
        ("orders", 1, 1),
    ]


def test_two_mappings_of_one_feed_do_not_take_a_row_twice(tmp_path: Path) -> None:
    shop = Shop(tmp_path, {"a": {**ORDERS, "files": "a/*"}, "b": {**ORDERS, "files": "b/*"}})
    shop.deliver("a/1.csv", csv(H, an_order(1), an_order(2)))
    shop.deliver("b/1.csv", csv(H, an_order(2), an_order(3)))
    report = shop.ingest()
    assert (report.rows("rows_silver"), report.rows("rows_duplicate")) == (3, 1)


def test_only_the_feeds_asked_for_are_taken(shop: Shop) -> None:
    shop.deliver("orders/1.csv", csv(H, an_order(1)))
    shop.deliver("lines/1.csv", csv(L, ["o1", "2026-03-01", "s", 1, "5"]))
    assert {f.feed for f in shop.ingest(feeds=["order_lines"]).files} == {"order_lines"}
    with pytest.raises(NotThereError, match="did you mean 'orders'"):
        shop.ingest(feeds=["order"])


def test_a_failed_audit_stops_the_feed_and_nothing_of_it_is_published(shop: Shop) -> None:
    shop.deliver("orders/1.csv", csv(H, an_order(1)))
    shop.deliver("lines/1.csv", csv(L, ["o1", "2026-03-01", "s", 1, "5"]))

    def audit(staged: Mapping[str, Path], days: Days | None = None, /) -> None:
        if "silver.orders" in staged:
            raise AuditError("silver.orders: too few rows")

    report = shop.ingest(audit_staged=audit)
    assert report.stopped == {"orders": "silver.orders: too few rows"}
    assert (report.failed, report.taken) == (1, 1)
    assert shop.count("silver.orders") == shop.count("bronze.orders") == 0
    assert shop.count("silver.order_lines") == 1
    assert not list(shop.lake.path("silver.orders").rglob("*.parquet"))
    assert shop.ingest().taken == 1


def test_a_feed_that_another_process_writes_is_refused(shop: Shop) -> None:
    from lake.locks import lock

    shop.deliver("orders/1.csv", csv(H, an_order(1)))
    with lock(shop.lake, "silver.orders"), pytest.raises(LockedError):
        shop.ingest()


def test_a_receipt_without_zone_and_contrary_options_are_refused(shop: Shop) -> None:
    with pytest.raises(HuaxiangError, match="has no zone"):
        shop.ingest(datetime(2026, 3, 1))
    with pytest.raises(HuaxiangError, match="exclude each other"):
        shop.ingest(replace=True, append=True)


def test_many_small_files_make_few_files_in_the_lake(shop: Shop) -> None:
    for n in range(40):
        shop.deliver(f"orders/{n:02}.csv", csv(H, an_order(n)))
    report = shop.ingest()
    assert (report.taken, shop.count("silver.orders")) == (40, 40)
    assert len(shop.lake.files("silver.orders")) == 1
    assert sorted(shop.rows("silver.orders", "order_id, _file")) == sorted(
        (f"o{n}", f"orders/{n:02}.csv") for n in range(40)
    )


def test_files_of_other_headers_may_be_parsed_together(shop: Shop) -> None:
    shop.deliver("orders/1.csv", csv(H, an_order(1)))
    shop.deliver("orders/2.csv", csv([*reversed(H), "备注"], [*reversed(an_order(2)), "x"]))
    shop.ingest()
    assert shop.rows("silver.orders", "order_id, member_id") == [("o1", "m1"), ("o2", "m1")]


def test_nothing_is_left_behind(shop: Shop) -> None:
    shop.deliver("orders/1.csv", csv(H, an_order(1), ["x"]))
    shop.deliver("orders/2.csv", b"")
    shop.ingest()
    root = shop.lake.root
    known = {
        f.path
        for t in ("silver.orders", "bronze.orders", "quarantine.orders", "landing.manifest", "ops.runs")
        for f in shop.lake.files(t)
    }
    assert {str(p) for p in root.rglob("*.parquet") if "_delta_log" not in p.parts} == known
    assert not list(root.rglob("*.part"))
    books = [p for p in (root / "ops").rglob("*.json*") if "_delta_log" not in p.parts]
    assert [p.name for p in books] == ["lake.json"]


def test_landing_holds_what_the_manifest_names_and_nothing_else(shop: Shop) -> None:
    shop.deliver("orders/1.csv", csv(H, an_order(1)))
    shop.ingest()
    shop.deliver("orders/1.csv", csv(H, an_order(2)))
    shop.deliver("orders/same.csv", csv(H, an_order(1)))
    shop.deliver("orders/bad.csv", "x,y\n1,2\n")
    assert shop.ingest().failed == 2
    held = {str(p.relative_to(shop.lake.root)) for p in (shop.lake.root / "landing" / "orders").iterdir()}
    assert held == {r.path for r in manifest(shop.lake) if r.state == "taken"}


def test_no_new_files_publish_nothing(shop: Shop) -> None:
    shop.deliver("orders/1.csv", csv(H, an_order(1)))
    shop.ingest()
    before = shop.lake.versions()
    shop.ingest()
    assert shop.lake.versions() == before


def test_what_was_taken_can_be_asked_for_before_the_first_release(shop: Shop) -> None:
    shop.deliver("orders/1.csv", csv(H, an_order(1), ["o2", "when?", "", "m"]))
    shop.ingest()
    asked = ["sql", "select reasons from quarantine.orders", "--json", "--project", str(shop.folder)]
    done = CliRunner().invoke(commands(), asked)
    assert done.exit_code == 0
    assert "'when?' is no time" in done.output
    assert "nothing has been released yet" in CliRunner().invoke(commands(), [*asked, "--release", "1"]).output


@pytest.mark.parametrize("code", ["EACCES", "EROFS", "ENOSPC"])
def test_a_folder_that_takes_nothing_is_no_defect(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuses(*_: Any) -> None:
        raise OSError(getattr(errno, code), "refused", "some/folder")

    monkeypatch.setattr("jobs.ingest.step.land", refuses)
    shop.deliver("orders/1.csv", csv(H, an_order(1)))
    with pytest.raises(typer.Exit) as e:
        verb(lambda: shop.ingest())()
    assert e.value.exit_code == 1
    assert capsys.readouterr().err == "huaxiang: some/folder: refused; nothing half-made is published\n"
