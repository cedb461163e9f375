"""Quarantined rows after a fix: those that pass go to silver under their own file and row, the others stay."""

from __future__ import annotations

import copy
import json
from datetime import timedelta
from pathlib import Path

import pytest

from lake.manifest import manifest
from tests.ingest.shop import BROWSE, LINES, ORDERS, RECEIVED, Shop, csv
from tests.ingest.test_ingest import H, L, an_order

LATER = RECEIVED + timedelta(days=2)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "shop", {"browse": BROWSE, "orders": ORDERS, "lines": LINES})


def event(act: str, n: int = 0) -> str:
    return json.dumps({"ts": 1772323500000 + n, "act": act, "mid": "m1", "did": "d1"})


def with_hover() -> dict[str, object]:
    fixed = copy.deepcopy(BROWSE)
    fixed["fields"]["behaviour"]["values"]["hover"] = "view"
    return fixed


def test_rows_that_pass_now_go_to_silver_and_are_marked(shop: Shop) -> None:
    shop.deliver("browse/1", "\n".join([event("pv"), event("hover", 1), event("zoom", 2), "torn"]))
    shop.ingest()
    shop.map("browse", with_hover())
    report = shop.replay(LATER)
    assert (report.rows("rows_silver"), report.failed) == (1, 0)
    assert shop.rows("silver.browse", "_file, _row, _ingested_at", "_row = 2") == [("browse/1", 2, LATER)]
    states = shop.rows("quarantine.browse", "_row, replayed_batch_id is not null")
    assert states == [(2, True), (3, False), (4, False)]
    assert sum(r.rows_silver for r in manifest(shop.lake)) == shop.count("silver.browse") == 2
    assert all(r.lost == 0 for r in manifest(shop.lake))


def test_replaying_again_changes_nothing(shop: Shop) -> None:
    shop.deliver("browse/1", "\n".join([event("hover"), event("zoom", 1)]))
    shop.ingest()
    shop.map("browse", with_hover())
    shop.replay(LATER)
    before = {t: shop.rows(t) for t in ("silver.browse", "quarantine.browse", "landing.manifest")}
    assert shop.replay(LATER + timedelta(days=1)).taken == 0
    assert {t: shop.rows(t) for t in before} == before


def test_what_still_fails_says_why_it_fails_now(shop: Shop) -> None:
    shop.deliver("browse/1", "\n".join([event("hover"), json.dumps({"ts": "x", "act": "hover", "mid": "m"})]))
    shop.ingest()
    shop.map("browse", with_hover())
    shop.replay(LATER)
    [(reasons,)] = shop.rows("quarantine.browse", "reasons", "replayed_batch_id is null")
    assert reasons == "occurred_at: 'x' is no time (epoch_milliseconds) (column ts)"


def test_without_a_fix_nothing_is_published(shop: Shop) -> None:
    shop.deliver("browse/1", event("hover") + "\n" + event("pv"))
    shop.ingest()
    before = shop.lake.versions()
    assert shop.replay(LATER).taken == 0
    assert shop.lake.versions() == before


def test_a_row_that_was_delivered_right_meanwhile_is_a_duplicate(shop: Shop) -> None:
    shop.deliver("browse/1", event("hover"))
    shop.ingest()
    shop.map("browse", with_hover())
    shop.deliver("browse/2", event("hover") + "\n" + event("pv", 5))
    shop.ingest()
    report = shop.replay(LATER)
    assert (report.rows("rows_silver"), report.rows("rows_duplicate")) == (0, 1)
    assert shop.count("silver.browse") == 2


def test_equal_lines_of_a_file_stay_several_when_one_of_them_was_replayed(shop: Shop) -> None:
    good, bad = ["o1", "2026-03-01", "a", 1, "5"], ["o1", "2026-03-01", "a", 1, "USD5"]
    shop.deliver("lines/1.csv", csv(L, good, bad))
    shop.ingest()
    fixed = copy.deepcopy(LINES)
    fixed["fields"]["net_amount_minor"]["column"] = "paid"
    fixed["fields"]["net_amount_minor"] = {"constant": "5", "unit": "major"}
    shop.map("lines", fixed)
    shop.replay(LATER)
    assert shop.count("silver.order_lines") == 2


def test_rows_that_the_mapping_now_leaves_out_wait_no_longer(shop: Shop) -> None:
    shop.deliver("orders/1.csv", csv(H, an_order(1), ["C1", "nonsense", "", ""]))
    shop.ingest()
    shop.map("orders", {**ORDERS, "where": [{"column": "订单号", "not_starts_with": "C"}]})
    report = shop.replay(LATER)
    assert report.rows("rows_not_selected") == 1
    assert shop.count("quarantine.orders", "replayed_batch_id is null") == 0
    assert shop.count("silver.orders") == 1
