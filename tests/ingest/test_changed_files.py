"""A file of a known name with other content: refused, replaced, appended. Replacing takes away what the older brought and
nothing else."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from lake.manifest import manifest
from schemas.errors import NotThereError
from tests.ingest.shop import LINES, ORDERS, RECEIVED, Shop, csv
from tests.ingest.test_ingest import H, L, an_order

LATER = RECEIVED + timedelta(days=1)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "shop", {"orders": ORDERS, "lines": LINES})


def ids(shop: Shop) -> list[str]:
    return [i for (i,) in shop.rows("silver.orders", "order_id")]


def test_it_is_refused_with_the_choice(shop: Shop) -> None:
    shop.deliver("orders/1.csv", csv(H, an_order(1)))
    shop.ingest()
    shop.deliver("orders/1.csv", csv(H, an_order(1), an_order(2)))
    report = shop.ingest(LATER)
    [refused] = report.of_state("failed")
    assert "orders/1.csv: a file of this name was taken on 2026-03-10 02:00 UTC" in str(refused.message)
    assert "--replace" in str(refused.message)
    assert "--append" in str(refused.message)
    assert ids(shop) == ["o1"]


def test_append_takes_further_rows(shop: Shop) -> None:
    shop.deliver("orders/1.csv", csv(H, an_order(1)))
    shop.ingest()
    shop.deliver("orders/1.csv", csv(H, an_order(1), an_order(2)))
    report = shop.ingest(LATER, append=True)
    assert (report.rows("rows_silver"), report.rows("rows_duplicate")) == (1, 1)
    assert ids(shop) == ["o1", "o2"]
    assert shop.ingest(LATER).known == 1


def test_replace_takes_away_what_the_older_file_brought_everywhere(shop: Shop) -> None:
    shop.deliver("orders/1.csv", csv(H, an_order(1), an_order(2, "2026-01-02"), ["bad"], ["o8", "x", "", ""]))
    shop.deliver("orders/other.csv", csv(H, an_order(7), an_order(6, "2026-01-03"), ["torn"]))
    shop.ingest()
    shop.deliver("orders/1.csv", csv(H, an_order(1), an_order(3, "2026-02-03"), ["bad2"]))
    shop.ingest(LATER, replace=True)
    assert ids(shop) == ["o1", "o3", "o6", "o7"]
    assert [r for (r,) in shop.rows("quarantine.orders", "raw")] == ["bad2", "torn"]
    assert shop.count("bronze.orders") == 6
    states = sorted((r.file, r.state) for r in manifest(shop.lake))
    assert states == [("orders/1.csv", "replaced"), ("orders/1.csv", "taken"), ("orders/other.csv", "taken")]
    taken = [r for r in manifest(shop.lake) if r.state == "taken"]
    assert sum(r.rows_silver for r in taken) == shop.count("silver.orders")
    assert all(r.lost == 0 for r in manifest(shop.lake))


def test_rows_that_another_file_brought_too_stay(shop: Shop) -> None:
    shop.deliver("orders/1.csv", csv(H, an_order(1), an_order(2)))
    shop.ingest()
    shop.deliver("orders/2.csv", csv(H, an_order(1), an_order(2), an_order(3)))
    assert shop.ingest(LATER).rows("rows_duplicate") == 2
    shop.deliver("orders/1.csv", csv(H, an_order(9)))
    shop.ingest(LATER + timedelta(days=1), replace=True)
    assert ids(shop) == ["o1", "o2", "o3", "o9"]
    assert shop.rows("silver.orders", "order_id, _file, _ingested_at", "order_id = 'o1'")[0][1:] == (
        "orders/2.csv",
        LATER,
    )
    by_file = {(r.file, r.state): r for r in manifest(shop.lake)}
    assert by_file["orders/2.csv", "taken"].rows_silver == 3
    assert by_file["orders/2.csv", "taken"].rows_duplicate == 0


def test_equal_lines_that_another_file_brought_too_stay_as_often_as_it_brought_them(shop: Shop) -> None:
    line = ["o1", "2026-03-01 10:00", "a", 1, "5"]
    shop.deliver("lines/1.csv", csv(L, line, line, line))
    shop.ingest()
    shop.deliver("lines/2.csv", csv(L, line, line))
    shop.ingest(LATER)
    shop.deliver("lines/1.csv", csv(L, ["o2", "2026-03-01 10:00", "a", 1, "5"]))
    shop.ingest(LATER + timedelta(days=1), replace=True)
    assert [o for (o,) in shop.rows("silver.order_lines", "order_id")] == ["o1", "o1", "o2"]


def test_a_file_may_change_there_and_back_again(shop: Shop) -> None:
    texts = [csv(H, an_order(1)), csv(H, an_order(2)), csv(H, an_order(1))]
    for n, text in enumerate(texts):
        shop.deliver("orders/1.csv", text)
        assert shop.ingest(RECEIVED, replace=n > 0).failed == 0
        assert ids(shop) == ["o1" if n % 2 == 0 else "o2"]


def test_replacing_leaves_the_months_it_does_not_touch_alone(shop: Shop) -> None:
    shop.deliver("orders/1.csv", csv(H, an_order(1, "2026-01-02")))
    shop.deliver("orders/2.csv", csv(H, an_order(2, "2026-02-02")))
    shop.ingest()
    february = [f.path for f in shop.lake.files("silver.orders", where={"event_month": 202602})]
    shop.deliver("orders/1.csv", csv(H, an_order(3, "2026-01-03")))
    shop.ingest(LATER, replace=True)
    assert [f.path for f in shop.lake.files("silver.orders", where={"event_month": 202602})] == february


def test_files_are_read_anew_once_their_mapping_is_mended(shop: Shop) -> None:
    for n in (1, 2):
        shop.deliver(f"orders/2026-03-0{n}.csv", csv(H, an_order(n, member=f"m{n}"), ["o8", "x", "", ""]))
    shop.ingest()
    shop.map(
        "orders",
        {**ORDERS, "fields": {n: c for n, c in ORDERS["fields"].items() if n != "member_id"} | {"device_id": "会员号"}},
    )
    assert shop.ingest(LATER).known == 2, "a changed mapping alone reads nothing anew"
    report = shop.ingest(LATER, again="orders/*-02.csv")
    assert (report.known, report.rows("rows_silver"), report.rows("rows_quarantined")) == (1, 1, 1)
    assert shop.rows("silver.orders", "order_id, member_id, device_id") == [("o1", "m1", None), ("o2", None, "m2")]
    assert shop.count("quarantine.orders") == 2
    assert shop.ingest(LATER + timedelta(days=1), again="orders/*").rows("rows_silver") == 2
    assert shop.rows("silver.orders", "order_id, device_id") == [("o1", "m1"), ("o2", "m2")]
    assert all(r.lost == 0 for r in manifest(shop.lake))
    with pytest.raises(NotThereError, match="no file of the inbox that a mapping names matches 'refunds/"):
        shop.ingest(LATER, again="refunds/*")
