"""Every form in which a phone stands in a file: the number, or that it is none and why."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from features.person_forms import _FORMULA, NO_PHONE
from tests.ingest.shop import Shop, csv
from tests.ingest.test_cleaning import clean

READ = {
    "'+86 138-0000-0011": "13800000011",
    "１３８００００００１２": "13800000012",
    "0086 138 0000 0013": "13800000013",
    "86-13800000014": "13800000014",
    "+86（138）00000015": "13800000015",
    "138\u00a00000\u00a00016": "13800000016",
    "13800000020.0": "13800000020",
    "\u202d13800000021\u202c": "13800000021",
    "tel:13800000022": "13800000022",
    "138\u20130000\u20130023": "13800000023",
    "+852 6123 4567": "+85261234567",
    "0085261234567": "+85261234567",
    "'13800000024": "13800000024",
    '="13800000025"': "13800000025",
    '="+8613800000025"': "13800000025",
    "(+86)13800000026": "13800000026",
    "13800000027\t": "13800000027",
    " 13800000028 ": "13800000028",
    "+86-138-0000-0029": "13800000029",
    "+1 415 555 0130": "+14155550130",
    "138 0000 0031": "13800000031",
    "+86+8613800000033": "13800000033",
    "８６１３８００００００３４": "13800000034",
    "'13800000035.0": "13800000035",
    "013800000036": "13800000036",
    "138.0000.0037": "13800000037",
    "13,800,000,038": "13800000038",
    "手机：13800000039": "13800000039",
    "13800000040;": "13800000040",
    "13800000041/13800000041": "13800000041",
    "010-12345678": "01012345678",
    "+86 10 1234 5678": "01012345678",
    "+44 20 7946 0018": "+442079460018",
}
NONE = {
    "13800000017/13800000018": "two_numbers",
    "13800000017 13800000018": "two_numbers",
    "13800000017、13800000018": "two_numbers",
    "+8613800000017+8613800000018": "two_numbers",
    "138****0019": "masked",
    "138xxxx0019": "masked",
    "138…0019": "masked",
    "1.38E+10": "scientific",
    "1.38E10": "scientific",
    "13800000032分机1": "extension",
    "18400000000-1234": "extension",
    "184 0000 0000 转 1234": "extension",
    "010-12345678-801": "extension",
    "张三 13800000001": "letters",
    "无": "no_digits",
    "1234": "too_short",
    "1234567890123456": "too_long",
}
ABSENT = ["", "-", "0", "NULL", "unknown"]
"""Blank, or on the guest list: nobody's number, and nothing to count."""


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 1}) as found:
        yield found


def test_every_form_is_read_as_the_one_number_or_named_as_none(con: duckdb.DuckDBPyConnection) -> None:
    texts = [*READ, *NONE, *ABSENT]
    rows = [[f"m{n}", text] for n, text in enumerate(texts)]
    found = clean(con, "members", {"member_id": "i", "phone": "p"}, ["i", "p"], rows)
    numbers = dict(zip(texts, found.rows["phone"].to_pylist(), strict=True))
    forms = dict(zip(texts, found.unread["phone"].to_pylist(), strict=True))
    assert numbers == READ | dict.fromkeys([*NONE, *ABSENT])
    assert forms == NONE | dict.fromkeys([*READ, *ABSENT])
    assert set(NONE.values()) == set(NO_PHONE)
    assert not found.refused.any()


@pytest.mark.parametrize("text", [*READ, *NONE])
def test_a_form_is_read_alone_as_it_is_among_others(con: duckdb.DuckDBPyConnection, text: str) -> None:
    # What a block holds decides which steps its statement has.
    found = clean(con, "members", {"member_id": "i", "phone": "p"}, ["i", "p"], [["1", text]])
    assert (found.rows["phone"].to_pylist(), found.unread["phone"].to_pylist()) == ([READ.get(text)], [NONE.get(text)])


def test_texts_that_are_no_phone_or_address_are_counted_by_form(tmp_path: Path) -> None:
    fields = {"member_id": "id", "phone": "phone", "email": "mail"}
    shop = Shop(tmp_path, {"members": {"feed": "members", "files": "*.csv", "format": "csv", "fields": fields}})
    rows = [
        ("m1", "138****0019", "a@b.cn"),
        ("m2", "138****0020", "none"),
        ("m3", "1.38E+10", "a.b.cn"),
        ("m4", "", ""),
    ]
    shop.deliver("m.csv", csv(["id", "phone", "mail"], *rows))
    report = shop.ingest()
    [file] = report.files
    assert [(f.what, f.rows, f.row) for f in file.unread] == [
        ("phone: masked", 2, 1),
        ("phone: scientific", 1, 3),
        ("email: no_at", 1, 3),
    ]
    assert (file.rows_silver, file.rows_quarantined) == (4, 0)
    assert "    absent: 2 phone, masked (such as m.csv, row 1)" in report.text()
    assert "138*" not in report.text()


def test_signs_that_begin_a_formula_are_known_in_every_width() -> None:
    folded = {
        c for c in map(chr, range(sys.maxunicode)) if unicodedata.normalize("NFKC", c)[:1] in ("=", "+", "-", "@")
    }
    assert {c for c in folded if not unicodedata.combining(c)} == set(_FORMULA)
