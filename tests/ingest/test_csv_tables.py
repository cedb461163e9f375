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
from jobs.ingest.quote_check import QuoteCheck
from project.loading import load_mappings
from schemas.errors import ConfigurationError, InputError
from tests.ingest.shop import ORDERS, Shop, csv
from tests.ingest.test_reading import a_mapping, blocks_of, refusal, rows_of, written

H = ["订单号", "下单时间", "支付时间", "会员号"]
ROWS = [[f"A100{n}", f"2026-03-0{n} 10:00", f"2026-03-0{n} 10:01", f"m{n}"] for n in range(1, 6)]
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


def test_a_header_of_several_lines_is_said_to_stand_where_it_begins(tmp_path: Path) -> None:
    fields = {"order_id": "Name", "ordered_at": "Created\nat", "member_id": "M", "paid_at": UNPAID}
    shop = a_shop(tmp_path, fields=fields)
    text = 'Report\nName,"Created\nat",M\no1,2026-03-01,m1\n'
    shop.deliver("orders/1", text)
    assert "stand on line 2 and not on the first; say `skip_rows: 1`" in the_failure(shop)
    shop = a_shop(tmp_path / "as said", fields=fields, skip_rows=1)
    shop.deliver("orders/1", text)
    shop.ingest()
    assert orders(shop) == [("o1", "m1", 1)]


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


def test_json_lines_read_as_csv_are_not_shown(tmp_path: Path) -> None:
    path = written(tmp_path / "1.csv", '{"id":"o1","who":"13800138000"}\n{"id":"o2","who":"x"}\n')
    message = refusal(path, a_mapping())
    assert "begins with a brace, as JSON Lines do; is `format: csv` right in orders.yaml?" in message
    assert "138" not in message


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_header_that_comes_again_is_set_aside(tmp_path: Path, mark: str) -> None:
    shop = a_shop(tmp_path)
    shop.deliver("orders/1", csv(H, *ROWS[:2]) + mark + csv(H, *ROWS[3:]))
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


def test_a_cell_of_several_lines_is_told_with_its_row_unless_it_is_declared(tmp_path: Path) -> None:
    shop = a_shop(tmp_path)
    text = csv(H, ROWS[0]) + 'o2,2026-03-01,,"没有\no3,,5"\n' + csv(ROWS[3], ROWS[4])
    shop.deliver("orders/1", text)
    [taken] = shop.ingest().of_state("taken")
    [remark] = taken.remarks
    assert (remark.rows, remark.row) == (1, 2)
    assert remark.what.startswith("hold a cell of several lines: did a quote")
    shop.map("orders", {**shop.sources["orders"], "max_cell_lines": 20})
    assert shop.ingest(again="orders/1").of_state("taken")[0].remarks == []


def test_rows_that_all_have_more_cells_than_the_header_are_told_with_the_way_out(tmp_path: Path) -> None:
    shop = a_shop(tmp_path)
    shop.deliver("orders/1", csv(H, *([*row, ""] for row in ROWS)))
    assert (
        "(5 columns where the header has 4, row 1); if its header leaves names out, say `skip_rows: 1`, `header: false` and `columns: [...]`"
        in the_failure(shop)
    )


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


CELLS = st.sampled_from(["a", "中", "", '"x"', '"a,b"', '"l\nm"', '"q""q"', 'x"y', " ", '"', "é" * 9])
TABLES = st.lists(st.lists(CELLS, min_size=2, max_size=4).map(",".join) | st.just(""), max_size=9)


@given(TABLES, st.sampled_from(["\n", "\r\n", "\r"]), st.booleans(), st.sampled_from([60, 100, 1000]))
@example(["a,b,c", "short", "too,short", "a,b", "b,c,d", "a,b"] * 3, "\n", True, 60)
def test_every_row_arrives_once_under_its_number_as_the_strict_reader_of_python_has_it(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], end: str, ended: bool, block: int
) -> None:
    text = end.join(["id,at,who", *lines]) + (end if ended else "")
    try:
        strict = [r for r in python_csv.reader(io.StringIO(text, newline=""), strict=True) if r][1:]
    except python_csv.Error:
        strict = None
    path = written(tmp_path_factory.getbasetemp() / "any.csv", text)
    try:
        found: dict[int, list[str] | None] = {}
        for b in blocks_of(path, a_mapping(max_cell_lines=99), block):
            numbered = [(r["row"], [r["c0"], r["c1"], r["c2"]]) for r in b.table.to_pylist()]
            for number, cells in [*numbered, *((n, None) for n, _, _ in b.torn)]:
                assert number not in found
                found[number] = cells
    except InputError as e:
        assert strict is None or "no row has the 3 columns" in str(e) or "is longer than" in str(e)
    else:
        assert strict is not None
        # Rows that are blank in every cell are counted, and are no rows.
        wanted = {n: row for n, row in enumerate(strict, 1) if any(cell.strip() for cell in row)}
        assert found == {n: row if len(row) == 3 else None for n, row in wanted.items()}


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


def test_a_mapping_that_takes_the_first_rows_values_for_names_is_refused(tmp_path: Path) -> None:
    rules = ["order_id: A1001", "ordered_at: 2026/3/1 8:05", "member_id: '13800138000'", "channel: 2026-03"]
    rules.append("paid_at: at")
    text = "feed: orders\nfiles: x\nformat: csv\nfields:\n" + "".join(f"  {r}\n" for r in rules)
    first, second = mistakes_of(tmp_path, text).splitlines()
    assert first.startswith("6: fields.ordered_at: is read from a column that is called by a value")
    assert "say `header: false` and `columns: [...]`" in first
    assert second.startswith("7: fields.member_id: is read")
    assert "138" not in second
