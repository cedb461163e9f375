"""Why rows are in quarantine is said by kind; a file of which too much is bad is refused whole."""

from __future__ import annotations

import io
import json
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.ingest.findings import Finding
from lake.manifest import manifest
from tests.ingest.shop import ORDERS, RECEIVED, Shop, csv
from tests.ingest.test_ingest import H, an_order
from tests.ingest.test_recovery import bury


def shop_of(tmp_path: Path, **more: object) -> Shop:
    return Shop(tmp_path, {"orders": {**ORDERS, **more}})


def bad(n: int) -> list[str]:
    return [f"b{n}", "待定" if n % 2 else "", "", "m1"]


def test_a_file_of_which_most_is_bad_is_refused_with_its_reasons(tmp_path: Path) -> None:
    shop = shop_of(tmp_path)
    shop.deliver("orders/bad.csv", csv(H, an_order(1), *(bad(n) for n in range(7)), an_order(2)))
    shop.deliver("orders/good.csv", csv(H, an_order(3), bad(8)))
    report = shop.ingest()
    [refused] = report.of_state("failed")
    assert refused.message == (
        "orders/bad.csv: 7 of 9 rows would go to quarantine, more than 20%, so nothing of the file was taken; mend orders.yaml "
        "or the file, or raise `most_quarantined` there: 4 ordered_at: empty but a value is required (column 下单时间) "
        "(such as row 2); 3 ordered_at: is no time (auto) (column 下单时间), such as '待定' (row 3)"
    )
    assert report.failed == 1
    assert (report.taken, shop.count("silver.orders"), shop.count("quarantine.orders")) == (1, 1, 1)
    assert {f for (f,) in shop.rows("bronze.orders", "_file")} == {"orders/good.csv"}
    assert [r.file for r in manifest(shop.lake) if r.state == "taken"] == ["orders/good.csv"]


def test_the_refused_file_is_taken_once_it_is_mended_or_more_is_allowed(tmp_path: Path) -> None:
    shop = shop_of(tmp_path)
    shop.deliver("orders/bad.csv", csv(H, an_order(1), *(bad(n) for n in range(6))))
    assert shop.ingest().failed == 1
    assert shop.ingest().failed == 1
    shop.map("orders", {**ORDERS, "most_quarantined": 0.9})
    report = shop.ingest()
    assert (report.failed, report.rows("rows_quarantined"), report.rows("rows_silver")) == (0, 6, 1)
    assert all(r.lost == 0 for r in manifest(shop.lake))


def test_the_share_is_of_the_rows_that_the_mapping_selects(tmp_path: Path) -> None:
    shop = shop_of(tmp_path, where=[{"column": "订单号", "starts_with": "b"}])
    shop.deliver("orders/1.csv", csv(H, *(an_order(n) for n in range(95)), *(bad(n) for n in range(5))))
    [refused] = shop.ingest().files
    assert refused.message is not None and "5 of 5 rows" in refused.message


def test_few_bad_rows_are_set_aside_whatever_their_share(tmp_path: Path) -> None:
    shop = shop_of(tmp_path)
    shop.deliver("orders/1.csv", csv(H, *(bad(n) for n in range(4))))
    report = shop.ingest()
    assert (report.failed, report.rows("rows_quarantined")) == (0, 4)


def test_rows_that_could_not_be_split_count_as_bad(tmp_path: Path) -> None:
    shop = shop_of(tmp_path)
    shop.deliver("orders/1.csv", csv(H, an_order(1), *(["torn", n] for n in range(9))))
    [refused] = shop.ingest().files
    assert refused.message is not None and "9 2 columns where the header has 4" in refused.message


@pytest.mark.parametrize("blank", [",,,", ' ,"",\u3000,', ",,"])
def test_blank_rows_that_a_spreadsheet_saves_are_not_selected_and_refuse_nothing(tmp_path: Path, blank: str) -> None:
    shop = shop_of(tmp_path)
    shop.deliver("orders/1.csv", csv(H, *(an_order(n) for n in range(3))) + f"{blank}\n" * 6 + csv(an_order(3)))
    report = shop.ingest()
    assert [report.rows(f"rows_{n}") for n in ("read", "silver", "quarantined", "not_selected")] == [10, 4, 0, 6]
    assert shop.rows("silver.orders", "_row") == [(1,), (2,), (3,), (10,)]
    assert report.files[0].remarks == [Finding("are blank in every cell and count as not selected", 6, 4)]
    assert all(r.lost == 0 for r in manifest(shop.lake))


def test_blank_rows_of_a_parquet_file_are_not_selected_either(tmp_path: Path) -> None:
    shop = shop_of(tmp_path, format="parquet")
    rows = [an_order(1), *[[None] * 4] * 6]
    out = io.BytesIO()
    pq.write_table(pa.table({h: [r[k] for r in rows] for k, h in enumerate(H)}), out)
    shop.deliver("orders/1", out.getvalue())
    report = shop.ingest()
    assert [report.rows(f"rows_{n}") for n in ("silver", "quarantined", "not_selected")] == [1, 0, 6]


def test_blank_rows_hide_no_file_of_which_every_row_is_torn(tmp_path: Path) -> None:
    shop = shop_of(tmp_path)
    shop.deliver("orders/1.csv", csv(H, *([*an_order(n), "more"] for n in range(2))) + ",,,\n,,,,\n")
    [refused] = shop.ingest().files
    assert refused.message is not None and "no row has the 4 columns of the header (5 columns" in refused.message


def test_a_large_file_that_went_block_by_block_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.ingest.parsing.FLUSH_ROWS", 50)
    shop = shop_of(tmp_path)
    shop.deliver("orders/1.csv", csv(H, *(an_order(n) for n in range(100)), *(bad(n) for n in range(100))))
    assert shop.ingest().failed == 1
    for layer in ("bronze", "quarantine", "silver"):
        assert not list((shop.folder / "lake" / layer).rglob("*.parquet"))
    assert not shop.lake.files("silver.orders")


def test_reasons_are_printed_by_kind_with_one_masked_example_each(tmp_path: Path) -> None:
    members = {"feed": "members", "files": "m/*", "format": "csv"}
    members |= {"fields": {"member_id": "id", "birth_date": "born", "points": "points"}, "most_quarantined": 1}
    shop = Shop(tmp_path, {"members": members})
    header = ["id", "born", "points"]
    shop.deliver("m/1.csv", csv(header, ["m1", "1990-01-01", "it's"], ["m2", "19900101x", "1"], ["m3", "x", "many"]))
    shop.deliver("m/2.csv", csv(header, ["m4", "", "none at all"], ["m5", "", "5"]))
    report = shop.ingest()
    text = report.text()
    assert "    quarantined: 3 points: is no whole number, such as 'it's' (m/1.csv, row 1)" in text
    assert "    quarantined: 2 birth_date: is no date (auto) (column born), such as '1***' (m/1.csv, row 2)" in text
    assert "19900101x" not in json.dumps([asdict(f) for f in report.files])
    first = next(f for f in report.files if f.file == "m/1.csv")
    assert first.reasons[1] == Finding("birth_date: is no date (auto) (column born)", 2, 2, "1***")


def test_a_known_file_has_nothing_more_to_say(tmp_path: Path) -> None:
    shop = shop_of(tmp_path)
    shop.deliver("orders/1.csv", csv(H, an_order(1), bad(1)))
    shop.ingest()
    again = shop.ingest(RECEIVED)
    assert [f.state for f in again.files] == ["known"]
    assert "quarantined" not in again.text()


def test_a_run_that_was_killed_says_its_reasons_when_it_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    shop = shop_of(tmp_path)
    shop.deliver("orders/1.csv", csv(H, an_order(1), bad(1)))
    with monkeypatch.context() as m, pytest.raises(Killed):
        m.setattr("jobs.ingest.execution.publish_manifest", die)
        shop.ingest()
    bury()
    report = shop.ingest()
    assert report.recovered == ["orders"]
    [taken] = report.of_state("taken")
    assert [(f.what, f.rows, f.example) for f in taken.reasons] == [
        ("ordered_at: is no time (auto) (column 下单时间)", 1, "待定")
    ]


def test_a_refused_file_takes_no_older_files_place(tmp_path: Path) -> None:
    shop = shop_of(tmp_path)
    shop.deliver("orders/1.csv", csv(H, *(an_order(n) for n in range(20))))
    shop.deliver("orders/2.csv", csv(H, an_order(1), an_order(99)))
    shop.ingest()
    before = {t: shop.rows(t) for t in ("bronze.orders", "silver.orders")}
    for content in (csv(H, *(bad(n) for n in range(20))), b"\xff\xfe\x00\x81"):
        shop.deliver("orders/1.csv", content)
        report = shop.ingest(replace=True)
        assert (report.failed, report.taken) == (1, 0)
        assert {t: shop.rows(t) for t in before} == before
    shop.deliver("orders/1.csv", csv(H, *(an_order(n) for n in range(3))))
    assert shop.ingest(replace=True).failed == 0
    assert shop.count("silver.orders") == 4
    assert all(r.lost == 0 for r in manifest(shop.lake))


def test_a_file_that_is_read_anew_through_a_worse_mapping_keeps_its_rows(tmp_path: Path) -> None:
    shop = shop_of(tmp_path)
    shop.deliver("orders/1.csv", csv(H, *(an_order(n) for n in range(20))))
    shop.ingest()
    before = shop.rows("silver.orders")
    shop.map("orders", {**ORDERS, "fields": {**ORDERS["fields"], "ordered_at": "会员号"}})  # type: ignore[dict-item]
    assert shop.ingest(again="orders/*").failed == 1
    assert shop.rows("silver.orders") == before
