"""Every signal on hand-made orders, one lake for all: each case has its own buyers, keys and sellers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from features.brushing_settings import SIGNALS, BrushingSettings
from lake.engine import Engine
from tests.brushing.shop import Rows, Shop
from tests.silver import at, write_silver

Scores = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory, embedded: Engine) -> Scores:
    return made(tmp_path_factory.mktemp("signals") / "lake", embedded)


def made(folder: Path, engine: Engine) -> Scores:
    rows = Rows()
    rows.crowd()
    _shared_keys(rows)
    _sellers(rows)
    _visits(rows)
    _payments(rows)
    _prices(rows)
    shop = Shop(folder, engine)
    rows.browse = [b for b in rows.browse if b["occurred_at"].strftime("%m%d") not in ("0326", "0327")]
    shop.write(rows)
    opened = {"event_id": "s1", "behaviour": "share_open", "share_id": "c1", "member_id": "opener"}
    write_silver(shop.lake, "shares", [{**opened, "occurred_at": at("2026-03-20 11:50")}])
    known = [{"sku_id": f"p{i}", "category": "tea", "source_time": at("2026-02-01 00:00")} for i in (1, 2)]
    write_silver(shop.lake, "products", known)
    return shop.scores()


def reasons(scores: Scores, *order_ids: str) -> list[str]:
    return [scores[o]["reasons"] for o in order_ids]


# --- bursts ---


def _shared_keys(rows: Rows) -> None:
    for i in range(3):
        rows.order(f"desk-{i}", f"desk{i}", f"2026-03-10 {10 + 6 * i}:00", device_id="D1")
        rows.order(f"days-{i}", f"days{i}", f"2026-03-{10 + i} 12:00", device_id="D3")
        rows.order(f"home-{i}", f"home{i}", "2026-03-10 13:00", address_key="A2")
    for i in range(2):
        rows.order(f"pair-{i}", f"pair{i}", f"2026-03-10 12:0{i}", device_id="D2")
    for i in range(3):
        rows.order(f"loyal-{i}", "loyal", f"2026-03-10 14:0{i}", device_id="D4")
    for i in range(4):
        rows.order(f"block-{i}", f"block{i}", "2026-03-10 13:30", address_key="A1")
        rows.order(f"office-{i}", f"office{i}", "2026-03-10 13:45", ip_key="N2")
    for i in range(5):
        rows.order(f"net-{i}", f"net{i}", "2026-03-10 13:50", ip_key="N1")
    for i in range(3):  # around midnight of the business day
        rows.order(f"night-{i}", f"night{i}", f"2026-03-11 {'23:58' if i else '00:01'}", waits=30, device_id="D5")
        rows.order(f"late-{i}", f"late{i}", f"2026-03-13 {'23:59' if i else '23:50'}", waits=90, device_id="D6")


def test_three_buyers_on_one_device_in_one_day_are_a_burst_whatever_their_order(scores: Scores) -> None:
    assert reasons(scores, "desk-0", "desk-1", "desk-2") == ["shared_device"] * 3


def test_two_buyers_or_one_who_orders_often_or_several_days_are_none(scores: Scores) -> None:
    assert reasons(scores, "pair-0", "pair-1", "loyal-0", "loyal-2", "days-0", "days-1", "days-2") == [""] * 7


def test_the_day_of_a_burst_is_the_business_day_of_payment(scores: Scores) -> None:
    assert reasons(scores, "night-0", "night-1", "night-2") == ["shared_device"] * 3
    assert reasons(scores, "late-0", "late-1", "late-2") == [""] * 3  # two of them paid after midnight


def test_an_address_needs_more_buyers_than_a_household_and_a_network_more_than_that(scores: Scores) -> None:
    assert reasons(scores, *(f"block-{i}" for i in range(4))) == ["shared_address"] * 4
    assert reasons(scores, *(f"home-{i}" for i in range(3))) == [""] * 3
    assert reasons(scores, *(f"net-{i}" for i in range(5))) == ["shared_ip"] * 5
    assert reasons(scores, *(f"office-{i}" for i in range(4))) == [""] * 4


# --- sellers ---


def _sellers(rows: Rows) -> None:
    for i, day in enumerate((3, 10, 17)):
        rows.order(f"only-{i}", "only", f"2026-03-{day:02d} 12:00", seller_id="S1")
        rows.order(f"mixed-{i}", "mixed", f"2026-03-{day:02d} 12:10", seller_id="S1" if i < 2 else "S2")
        rows.order(f"none-{i}", "none", f"2026-03-{day:02d} 12:20", seller_id=None)
    for i, day in enumerate((1, 2, 31)):  # the first two are 28 days and more before the third
        rows.order(f"slow-{i}", "slow", f"2026-03-{day:02d} 12:30", seller_id="S1")
    for i in range(5):
        rows.order(f"close-{i}", "close", f"2026-03-{10 + i} 12:40", seller_id="S3")
    rows.order("mutual-1", "ma", "2026-03-05 12:00", seller_id="mb")
    rows.order("mutual-2", "mb", "2026-03-09 12:00", seller_id="ma")
    rows.order("self", "mc", "2026-03-09 12:00", seller_id="mc")


def test_the_third_order_from_one_seller_within_the_history_is_a_signal(scores: Scores) -> None:
    assert reasons(scores, "only-0", "only-1", "only-2") == ["", "", "one_seller"]
    assert reasons(scores, "mixed-2", "none-2", "slow-2") == ["", "", ""]


def test_a_seller_with_hardly_another_buyer_and_a_buyer_with_hardly_another_seller_are_reciprocal(
    scores: Scores,
) -> None:
    assert reasons(scores, "close-3", "close-4") == ["one_seller", "one_seller,reciprocal"]


def test_two_who_sell_to_each_other_are_reciprocal_from_the_second_order_on(scores: Scores) -> None:
    assert reasons(scores, "mutual-1", "mutual-2", "self") == ["", "reciprocal", ""]


# --- visits ---


def _visits(rows: Rows) -> None:
    rows.order("blind", "blind", "2026-03-20 12:00", view=False)
    rows.order("after", "after", "2026-03-20 12:00", view=False)
    rows.view("after", "2026-03-20 12:30")
    rows.order("within", "within", "2026-03-20 12:00", view=False)
    rows.view("within", "2026-03-14 23:00")
    rows.order("before", "before", "2026-03-20 12:00", view=False)
    rows.view("before", "2026-03-13 23:00")
    rows.order("opener", "opener", "2026-03-20 12:00", view=False)
    rows.order("guest", None, "2026-03-20 12:00", view=False)
    rows.order("till", "till", "2026-03-20 12:00", view=False, channel="store")
    rows.order("missing", "missing", "2026-03-26 12:00", view=False)
    rows.order("praise", "praise", "2026-03-20 12:00", view=False)
    rows.browse.append(
        {"event_id": "x", "behaviour": "review", "member_id": "praise", "occurred_at": at("2026-03-20 11:00")}
    )


def test_an_order_without_a_visit_in_the_days_before_it_is_a_signal(scores: Scores) -> None:
    assert reasons(scores, "blind", "after", "before", "praise") == ["no_browse"] * 4
    assert reasons(scores, "within", "opener") == ["", ""]


def test_who_cannot_be_seen_is_not_accused(scores: Scores) -> None:
    """A guest without ids, a channel that logs no visits, a day whose log is missing."""
    assert reasons(scores, "guest", "till", "missing") == ["", "", ""]


# --- payment ---


def _payments(rows: Rows) -> None:
    for name, waits in (("quick", 10), ("slower", 11), ("same", 0)):
        rows.order(name, name, "2026-03-21 12:00", waits=waits)
    rows.order("pre", "pre", "2026-03-10 12:00", waits=9 * 86_400)


def test_a_payment_within_seconds_is_a_signal_and_equal_stamps_are_none(scores: Scores) -> None:
    assert reasons(scores, "quick", "slower", "same") == ["quick_pay", "", ""]


def test_an_order_paid_long_after_it_was_placed_is_not_judged(scores: Scores) -> None:
    assert "pre" not in scores


# --- prices ---


def _prices(rows: Rows) -> None:
    for i in range(12):
        unit = 1_000 + 20 * (i % 5)
        rows.order(f"usual-{i}", f"usual{i}", f"2026-03-{3 + i % 4:02d} 10:{20 + i}", unit=unit, sku="p1", quantity=2)
    rows.order("dear", "dear", "2026-03-12 12:00", unit=9_000, sku="p1")
    rows.order("cheap", "cheap", "2026-03-12 12:00", unit=300, sku="p1")
    rows.order("sale", "sale", "2026-03-12 12:00", unit=600, sku="p1")
    rows.order("sameweek", "sameweek", "2026-03-07 12:00", unit=9_000, sku="p1")
    rows.order("newsku", "newsku", "2026-03-12 12:00", unit=9_000, sku="p2")
    rows.order("nosku", "nosku", "2026-03-12 12:00", unit=9_000, sku="p3")
    rows.order("part", "part", "2026-03-12 12:00", unit=9_000, sku="p1")
    rows.lines.append(rows.lines[-1] | {"line_id": "2", "sku_id": "p3", "net_amount_minor": 20_000})


def test_a_unit_price_far_from_the_usual_one_is_a_signal(scores: Scores) -> None:
    assert reasons(scores, "dear", "cheap", "sale") == ["price_outlier", "price_outlier", ""]


def test_usual_prices_come_from_weeks_before_and_from_the_category_of_a_new_sku(scores: Scores) -> None:
    assert reasons(scores, "newsku", "nosku", "sameweek") == ["price_outlier", "", ""]


def test_one_odd_line_does_not_make_a_large_order_odd(scores: Scores) -> None:
    assert reasons(scores, "part") == [""]


# --- score ---


def test_the_score_is_the_sum_of_the_weights_of_the_reasons(scores: Scores) -> None:
    weights = BrushingSettings().weights()
    for row in scores.values():
        named = [s for s in SIGNALS if row[s]]
        assert row["reasons"] == ",".join(named)
        assert row["score"] == pytest.approx(min(1, sum(weights[n] for n in named)))


def test_ordinary_orders_show_nothing(scores: Scores) -> None:
    assert {r["reasons"] for o, r in scores.items() if o.startswith("crowd")} == {""}


@pytest.mark.spark
@pytest.mark.slow
def test_both_engines_judge_alike(scores: Scores, tmp_path: Path, spark: Engine) -> None:
    assert made(tmp_path / "lake", spark) == scores


def test_settings_refuse_what_makes_no_sense() -> None:
    for wrong in ({"threshold": 0}, {"shared_device": {"buyers": 1}}, {"no_browse": {"weight": 2}}, {"speed": 1}):
        with pytest.raises(ValidationError):
            BrushingSettings.model_validate(wrong)
    assert "quick_pay" not in BrushingSettings.model_validate({"quick_pay": {"weight": 0}}).weights()
