"""What a mapping says of a CSV's table: header, lines above it, quotes, decimal marks, dates of spreadsheets, made ids."""

from __future__ import annotations

import csv as python_csv
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from features.sources import Mapping
from jobs.loading import load_mappings
from jobs.quote_check import QuoteCheck
from schemas.errors import ConfigurationError, InputError
from tests.ingest.shop import ORDERS, RECEIVED, Shop, csv
from tests.ingest.test_reading import a_mapping, refusal, rows_of, written

H = ["订单号", "下单时间", "支付时间", "会员号"]
ROWS = [[f"A100{n}", f"2026-03-0{n} 10:00", f"2026-03-0{n} 10:01", f"m{n}"] for n in range(1, 6)]
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
FORMS = [
    ("utf-8", "utf-8", False, "\n"),
    ("utf-8", "utf-8-sig", True, "\r\n"),
    ("gb18030", "gb18030", True, "\n"),
    ("gb18030", "gb18030", False, "\r"),
    ("utf-8", "utf-8-sig", False, "\r"),
]
UNPAID = {"constant": ""}
"""Files of orders of which none is paid."""


def a_shop(tmp_path: Path, **said: Any) -> Shop:
    return Shop(tmp_path / "shop", {"orders": {**ORDERS, **said}})


def the_failure(shop: Shop) -> str:
    [failed] = shop.ingest().of_state("failed")
    assert shop.count("bronze.orders") == 0
    return failed.message or ""


def orders(shop: Shop) -> list[tuple[Any, ...]]:
    return shop.rows("silver.orders", "order_id, member_id, _row")


EXPECTED = [(r[0], r[3], n) for n, r in enumerate(ROWS, 1)]


@pytest.mark.parametrize(("said", "written_as", "gz", "end"), FORMS)
def test_a_file_without_a_header_keeps_its_first_row(
    tmp_path: Path, said: str, written_as: str, gz: bool, end: str
) -> None:
    shop = a_shop(tmp_path, header=False, columns=H, encoding=said)
    shop.deliver("orders/1", csv(*ROWS).replace("\n", end).encode(written_as), gz=gz)
    report = shop.ingest()
    assert (report.failed, report.rows("rows_read")) == (0, 5)
    assert orders(shop) == EXPECTED


def test_one_row_without_a_header_and_without_an_end_of_line_is_a_row(tmp_path: Path) -> None:
    shop = a_shop(tmp_path, header=False, columns=H)
    shop.deliver("orders/1", ",".join(ROWS[0]))
    shop.ingest()
    assert orders(shop) == EXPECTED[:1]


def test_torn_rows_without_a_header_keep_their_number(tmp_path: Path) -> None:
    shop = a_shop(tmp_path, header=False, columns=H)
    shop.deliver("orders/1", csv(ROWS[0], ["short"], ROWS[2], ["a", "b"]))
    shop.ingest()
    assert [n for _, _, n in orders(shop)] == [1, 3]
    assert shop.rows("quarantine.orders", "_row, reasons") == [
        (2, "1 columns where `columns` names 4"),
        (4, "2 columns where `columns` names 4"),
    ]


def test_a_first_row_of_another_length_than_columns_is_refused(tmp_path: Path) -> None:
    shop = a_shop(tmp_path, header=False, columns=[*H, "备注"])
    shop.deliver("orders/1", csv(*ROWS))
    assert "its first row has 4 cells where `columns` in orders.yaml names 5" in the_failure(shop)


@pytest.mark.parametrize(("said", "written_as", "gz", "end"), FORMS)
def test_lines_above_the_header_are_skipped(tmp_path: Path, said: str, written_as: str, gz: bool, end: str) -> None:
    shop = a_shop(tmp_path, skip_rows=3, encoding=said)
    text = '订单报表,"一月\n\n导出时间：2026-03-09,,,\n' + csv(H, *ROWS)
    shop.deliver("orders/1", text.replace("\n", end).encode(written_as), gz=gz)
    assert shop.ingest().failed == 0
    assert orders(shop) == EXPECTED


def test_a_header_below_title_lines_is_found_and_said(tmp_path: Path) -> None:
    shop = a_shop(tmp_path)
    shop.deliver("orders/1", "订单报表,,,\n\n" + csv(H, *ROWS))
    assert "stand on line 3 and not on the first; say `skip_rows: 2`" in the_failure(shop)


def test_a_file_with_nothing_below_its_title_lines_is_refused(tmp_path: Path) -> None:
    shop = a_shop(tmp_path, skip_rows=9)
    shop.deliver("orders/1", csv(H, *ROWS))
    assert "nothing stands below the 9 lines" in the_failure(shop)


@pytest.mark.parametrize("first", ["sep=;", "SEP=;", '"sep=;"', "sep=;\r"])
def test_the_delimiter_that_excel_writes_first_is_taken(tmp_path: Path, first: str) -> None:
    shop = a_shop(tmp_path)
    shop.deliver("orders/1", f"{first}\n" + csv(H, *ROWS).replace(",", ";"))
    shop.ingest()
    assert orders(shop) == EXPECTED


HEADLESS = {
    "times over times": (ROWS, "cell 2 is a time, as those below it are"),
    "ids of one form": ([[i, "x", "", f"u{n}"] for n, i in enumerate(["B-2001", "B-2002", "B-2003", "B-2004"])], "cell 1 has the form of all those below it"),
    "one row of values": ([["1", "2026-03-01", "2026-03-01", "13800138000"]], "all its cells are numbers, times or contacts"),
    "contacts": ([["a", "b", "", "13800138000"], ["c", "d", "", "13900139000"]], "cell 4 is a phone number"),
    "values that come again": ([["a", "女", "上海", "x"], ["b", "女", "北京", "y"], ["c", "男", "上海", "z"]], "2 of its cells stand below themselves"),
}  # fmt: skip


@pytest.mark.parametrize("what", HEADLESS)
def test_a_first_row_that_is_data_is_refused_with_the_way_out(tmp_path: Path, what: str) -> None:
    rows, sign = HEADLESS[what]
    shop = a_shop(
        tmp_path,
        fields={"order_id": rows[0][0], "ordered_at": rows[0][1] if what == "contacts" else "b", "paid_at": UNPAID},
    )
    shop.deliver("orders/1", csv(*rows))
    message = the_failure(shop)
    assert sign in message
    assert "say `header: false` and `columns: [...]`, a name for each of its 4 columns, in orders.yaml" in message
    assert "13800138000" not in message


def test_names_of_a_header_may_be_years_options_and_answers(tmp_path: Path) -> None:
    header = ["订单号", "下单时间", "2024", "2025-03", "苹果", "梨", "Q1"]
    rows = [
        ["A1001", "2026-03-01", "12", "7", "苹果", "", "Q1"],
        ["A1002", "2026-03-02", "13", "8", "", "梨", "Q2"],
    ]
    path = written(tmp_path / "1.csv", csv(header, *rows, *rows))
    mapping = a_mapping(fields={"order_id": "订单号", "ordered_at": "下单时间", "paid_at": UNPAID})
    assert len(rows_of(path, mapping)) == 4


def test_a_header_that_comes_again_is_set_aside(tmp_path: Path) -> None:
    shop = a_shop(tmp_path)
    shop.deliver("orders/1", csv(H, *ROWS[:2], H, *ROWS[3:]))
    shop.ingest()
    assert [n for _, _, n in orders(shop)] == [1, 2, 4, 5]
    assert shop.rows("quarantine.orders", "_row, raw, reasons") == [
        (3, ",".join(H), "is the header once more: were two files put together?")
    ]


# --- quotes ---


def test_a_stray_quote_refuses_the_file_with_its_line(tmp_path: Path) -> None:
    shop = a_shop(
        tmp_path, fields={"order_id": "订单号", "ordered_at": "下单时间", "paid_at": UNPAID, "member_id": "会员号"}
    )
    text = '订单号,下单时间,会员号,备注\nZ1,2026-03-01 10:00:00,A1,"急"件\nZ2,2026-03-01 12:00:00,A2,"没有收尾\nZ3,2026-03-01 13:00:00,A3,ok\n'
    shop.deliver("orders/1", text)
    assert "line 2: text stands behind the closing quote" in the_failure(shop)
    shop.map(
        "orders",
        {
            **ORDERS,
            "fields": {"order_id": "订单号", "ordered_at": "下单时间", "paid_at": UNPAID, "note": "备注"},
            "quoting": "none",
        },
    )
    shop.map(
        "orders",
        {
            **ORDERS,
            "fields": {"order_id": "订单号", "ordered_at": "下单时间", "paid_at": UNPAID, "member_id": "备注"},
            "quoting": "none",
        },
    )
    assert shop.ingest().rows("rows_silver") == 3
    assert [m for _, m, _ in orders(shop)] == ['"急"件', '"没有收尾', "ok"]


def test_a_cell_of_more_lines_than_declared_is_named(tmp_path: Path) -> None:
    cell = "\n".join("地址" for _ in range(21))
    text = f'id,at,who\no1,2026-03-01,m\no2,2026-03-01,"{cell}"\n'
    path = written(tmp_path / "1.csv", text)
    assert "a cell spans more than 20 lines from line 3 on" in refusal(path, a_mapping(), 1 << 16)
    assert len(rows_of(path, a_mapping(max_cell_lines=21), 1 << 16)) == 2
    assert "more than 5 lines" in refusal(path, a_mapping(max_cell_lines=5), 1 << 16)


def test_lines_above_the_table_count_for_the_line_that_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "1.csv", 'sep=,\r\n标题\r\nid,at,who\r\no1,2026-03-01,"m"x\r\n')
    assert "line 4: text stands behind" in refusal(path, a_mapping(skip_rows=1))


PIECES = st.lists(st.sampled_from(['"', '""', ",", "\n", "\r\n", "\r", "a", "中"]), max_size=40).map("".join)


@given(PIECES, st.integers(1, 9))
@example('a,"b"c', 1)
@example('"a""\r"\n', 3)
def test_quotes_are_in_order_exactly_where_the_strict_reader_of_python_finds_them_so(text: str, size: int) -> None:
    try:
        list(python_csv.reader(io.StringIO(text, newline=""), strict=True))
        strict = True
    except python_csv.Error:
        strict = False
    check, data = QuoteCheck("1", a_mapping(max_cell_lines=99), ",", 3), text.encode()
    try:
        for k in range(0, len(data), size):
            check.feed(data[k : k + size])
        check.end()
        in_order = True
    except InputError:
        in_order = False
    assert in_order == strict


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
    shop = a_shop(
        tmp_path,
        time_zone="UTC",
        delimiter=";",
        fields={"order_id": "id", "ordered_at": {"column": "at", "time": form}, "paid_at": UNPAID},
    )
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


# --- what a mapping cannot say ---

GOOD = "feed: orders\nfiles: x\nformat: csv\n%s\nfields:\n  order_id: a\n  ordered_at: b\n"
WRONG = {
    "header: false": "4: header: a file without a header needs `columns: [...]`",
    "columns: [a, b]": "4: columns: columns names those of a file without a header: say `header: false`",
    "header: false\ncolumns: [a, b, a]": "5: columns: 'a' stands twice",
    "header: false\ncolumns: [a, bb]": "8: fields.ordered_at: 'b' is none of `columns`; did you mean 'bb'?",
    "header: false\ncolumns: [a, b]\nwhere: [{column: c, in: [x]}]": "6: where.0: 'c' is none of `columns`",
    "header: perhaps": "4: header: Input should be a valid boolean",
    "skip_rows: -1": "4: skip_rows: Input should be greater than or equal to 0",
    "max_cell_lines: 0": "4: max_cell_lines: Input should be greater than or equal to 1",
    "quoting: all": "4: quoting: Input should be 'minimal' or 'none'",
    "quoting: none\nmax_cell_lines: 5": "5: max_cell_lines: with `quoting: none` every line is a row",
    "decimal: ;": "4: decimal: Input should be '.' or ','",
    "quoting: none\ndecimal: ','": "5: decimal: ',' parts the columns and nothing is quoted",
    "delimiter: ，": "4: delimiter: a quote, an end of line or a sign that is not ASCII cannot part columns",
    "quotin: none": "4: unknown key 'quotin'; did you mean 'quoting'?",
}


def mistakes_of(tmp_path: Path, text: str) -> str:
    path = tmp_path / "m.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError) as e:
        load_mappings([path])
    return str(e.value).replace(f"{path}:", "")


@pytest.mark.parametrize("said", WRONG)
def test_what_contradicts_itself_is_refused_with_its_line(tmp_path: Path, said: str) -> None:
    assert mistakes_of(tmp_path, GOOD % said).startswith(WRONG[said])


@pytest.mark.parametrize(
    "said", ["header: false", "columns: [a]", "skip_rows: 1", "quoting: none", "max_cell_lines: 3", "decimal: ','"]
)
@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_other_formats_have_no_table_to_speak_of(tmp_path: Path, said: str, form: str) -> None:
    key = said.split(":")[0]
    assert f"4: {key}: {key} is for `format: csv`; leave it out" in mistakes_of(
        tmp_path, GOOD.replace("csv", form) % said
    )


WRONG_RULES = {
    "order_id: {join: [a]}": "join puts columns together; name two or more",
    "order_id: {join: [a, b], column: c}": "wanted exactly one of column, constant, sum, join, row",
    "order_id: {row: line}": "Input should be 'file'",
    "order_id: {row: file, values: {a: b}}": "an id that is joined or made of the row's place is taken as it is",
    "order_id: {join: [a, b], negate: true}": "an id that is joined or made of the row's place is taken as it is",
    "order_id: {join: [a, b], times: c}": "times multiplies a column; name the column",
    "order_id: {row: file, minus: c}": "minus",
    "channel: {join: [a, b]}": "channel is no id: join and row make ids",
    "ordered_at: {row: file}": "ordered_at is no id: join and row make ids",
}


@pytest.mark.parametrize("rule", WRONG_RULES)
def test_a_made_id_is_an_id_and_nothing_else(tmp_path: Path, rule: str) -> None:
    name = rule.split(":")[0]
    rules = {"order_id": "order_id: a", "ordered_at": "ordered_at: b", name: rule}
    text = "feed: orders\nfiles: x\nformat: csv\nfields:\n" + "".join(f"  {r}\n" for r in rules.values())
    assert WRONG_RULES[rule] in mistakes_of(tmp_path, text)


def test_every_option_outlives_the_way_to_a_task(tmp_path: Path) -> None:
    mapping = a_mapping(
        header=False, columns=["id", "at", "who"], skip_rows=2, decimal=",", delimiter=";", max_cell_lines=3
    )
    assert Mapping.model_validate(mapping.model_dump(mode="json", by_alias=True)) == mapping
