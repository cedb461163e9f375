"""Rows that one can count in one's head, and the traps of definitions.md section 12."""

from __future__ import annotations

import random
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from features.facts import Fact
from features.kernel import Products, Rows, compute, merge_files
from features.kernel.local_time import local_hour
from tests.kernel.shop import USERS, merged, one, row, table, values
from tests.kernel.test_against_the_oracle import drawn_row, every_fact

VIEWS = {"from": ["view"], "measure": "rows", "agg": "count"}
ORDERS = {"from": ["pay"], "measure": "orders", "agg": "count"}
NET = {"from": ["pay"], "measure": "net_amount", "agg": "sum"}
LAST_PURCHASE = {"from": ["pay"], "measure": "day", "agg": "last"}


def order(key: int, at: str, lines: int = 1, **columns: Any) -> list[dict[str, Any]]:
    """A paid order of equal lines of 100."""
    return [row(1, "pay", at, order_key=key, amount_minor=100, list_amount_minor=120, **columns) for _ in range(lines)]


# --- windows ---


def test_a_window_includes_both_its_ends() -> None:
    rows = [row(1, "view", f"2026-03-{d:02d} 12:00") for d in (3, 4, 10, 11)]
    assert one(rows, "2026-03-10", **VIEWS, window=7) == 2
    assert one(rows, "2026-03-10", **VIEWS, window=8) == 3
    assert one(rows, "2026-03-10", **VIEWS, window=1) == 1
    assert one(rows, "2026-03-10", **VIEWS) == 3


def test_days_are_cut_in_the_business_zone() -> None:
    # 23:59 on the 9th and 00:01 on the 10th in Shanghai are the same day in UTC
    rows = [row(1, "view", "2026-03-09 23:59:59"), row(1, "view", "2026-03-10 00:00:00")]
    assert rows[0]["occurred_at"].date() == rows[1]["occurred_at"].date() == date(2026, 3, 9)
    assert one(rows, "2026-03-10", **VIEWS, window=1) == 1
    assert one(rows, "2026-03-09", **VIEWS) == 1
    assert one(rows, "2026-03-10", **{**VIEWS, "measure": "days"}) == 2


def test_a_window_longer_than_the_data_is_the_same_as_ever() -> None:
    rows = [row(1, "view", "2026-03-01 12:00"), row(1, "view", "2026-03-09 12:00")]
    assert one(rows, "2026-03-10", **VIEWS, window=36_500) == one(rows, "2026-03-10", **VIEWS) == 2


def test_as_of_before_all_rows_sees_nothing() -> None:
    rows = order(7, "2026-03-09 12:00")
    assert one(rows, "2026-03-08", **ORDERS) == 0
    assert one(rows, "2026-03-08", **LAST_PURCHASE) is None


def test_users_without_rows_have_zero_or_null() -> None:
    found = values([table(order(7, "2026-03-09"))], [Fact(**ORDERS, id="n"), Fact(**LAST_PURCHASE, id="d")], date.max)
    assert found["n"] == {uid: int(uid == 1) for uid in range(USERS)}
    assert [uid for uid, day in found["d"].items() if day] == [1]


# --- orders and money ---


def test_lines_of_an_order_are_one_order_and_their_money_adds_up() -> None:
    rows = [*order(7, "2026-03-01", lines=3), *order(-8, "2026-03-01", lines=2), *order(9, "2026-03-05")]
    assert one(rows, "2026-03-10", **ORDERS) == 3
    assert one(rows, "2026-03-10", **ORDERS, window=6) == 1
    assert one(rows, "2026-03-10", **{**ORDERS, "measure": "days"}) == 2
    assert one(rows, "2026-03-10", **{**ORDERS, "measure": "rows"}) == 6
    assert one(rows, "2026-03-10", **{**ORDERS, "measure": "amount", "agg": "sum"}) == 600
    assert one(rows, "2026-03-10", **{**ORDERS, "measure": "discount", "agg": "mean"}) == 20.0


def test_an_order_whose_rows_do_not_lie_together_is_counted_once() -> None:
    rows = [*order(7, "2026-03-01 10:00"), *order(8, "2026-03-01 11:00"), *order(7, "2026-03-01 12:00")]
    assert one(rows, "2026-03-10", **ORDERS) == 2


def test_one_order_key_of_two_users_counts_for_both() -> None:
    rows = [*order(7, "2026-03-01"), row(2, "pay", "2026-03-01", order_key=7)]
    assert [one(rows, "2026-03-10", uid=uid, **ORDERS) for uid in (1, 2, 3)] == [1, 1, 0]


def test_sums_do_not_lose_a_cent_beyond_32_bits() -> None:
    rows = [row(1, "pay", "2026-03-01", order_key=1, amount_minor=2**53 + 1) for _ in range(3)]
    assert one(rows, "2026-03-10", **{**ORDERS, "measure": "amount", "agg": "sum"}) == 3 * (2**53 + 1)


# --- refunds, void and flagged orders ---


def refunded(order_at: str, refund_at: str, amount: int, void: str | None) -> list[dict[str, Any]]:
    """An order of 100, and a refund of it as activity holds it: on its own day and on the order's."""
    day = refund_at[:10]
    void_day = {} if void is None else {"void_day": void}
    return [
        *order(7, order_at, **void_day),
        row(1, "refund", refund_at, order_key=7, amount_minor=amount),
        row(1, "refund_of_order", order_at, order_key=7, amount_minor=amount, valid_from_day=day, **void_day),
    ]


def test_a_refund_never_refreshes_recency() -> None:
    rows = refunded("2026-03-01", "2026-03-08", 30, None)
    assert one(rows, "2026-03-10", **LAST_PURCHASE) == date(2026, 3, 1)
    assert one(rows, "2026-03-10", **{**ORDERS, "measure": "days"}, window=5) == 0


def test_a_partial_refund_reduces_money_on_the_orders_day_or_on_its_own() -> None:
    rows = refunded("2026-03-01", "2026-03-08", 30, None)
    assert one(rows, "2026-03-10", **NET) == 70
    assert one(rows, "2026-03-10", **NET, window=5) == 0
    assert one(rows, "2026-03-10", **NET, view="cash") == 70
    assert one(rows, "2026-03-10", **NET, view="cash", window=5) == -30
    assert one(rows, "2026-03-10", **ORDERS) == 1


def test_no_run_for_an_older_day_sees_a_later_refund() -> None:
    rows = refunded("2026-03-01", "2026-03-08", 30, None)
    assert one(rows, "2026-03-07", **NET) == 100
    assert one(rows, "2026-03-07", **NET, view="cash") == 100


def test_a_wholly_refunded_order_cancels_the_behaviour_from_that_day_on_only() -> None:
    rows = refunded("2026-03-01", "2026-03-08", 100, "2026-03-08")
    assert one(rows, "2026-03-07", **ORDERS) == 1
    assert one(rows, "2026-03-07", **LAST_PURCHASE) == date(2026, 3, 1)
    assert one(rows, "2026-03-08", **ORDERS) == 0
    assert one(rows, "2026-03-08", **LAST_PURCHASE) is None
    assert one(rows, "2026-03-08", **NET) == 0


def test_the_cash_view_keeps_an_order_that_was_void_because_the_money_moved() -> None:
    rows = refunded("2026-03-01", "2026-03-08", 100, "2026-03-08")
    assert one(rows, "2026-03-08", **ORDERS, view="cash") == 1
    assert one(rows, "2026-03-08", **{**ORDERS, "measure": "amount", "agg": "sum"}, view="cash") == 100
    assert one(rows, "2026-03-08", **NET, view="cash", window=1) == -100


def test_a_flagged_order_counts_until_the_day_before_in_both_views() -> None:
    rows = order(7, "2026-03-01", flagged_day="2026-03-05")
    for view in ("behaviour", "cash"):
        assert one(rows, "2026-03-04", **ORDERS, view=view) == 1
        assert one(rows, "2026-03-05", **ORDERS, view=view) == 0


def test_what_was_learned_later_is_left_out_where_it_is_asked_what_was_known() -> None:
    rows = table(order(7, "2026-03-01", known_day="2026-03-04"))
    declared = Fact(**ORDERS, id="n")
    for known, expected in ((None, 1), (date(2026, 3, 4), 1), (date(2026, 3, 3), 0)):
        assert values([rows], [declared], date(2026, 3, 2), known_at_day=known)["n"][1] == expected


def test_an_order_whose_refund_was_learned_later_still_counts_where_it_is_asked_what_was_known() -> None:
    rows = table(order(7, "2026-03-01", void_day="2026-03-03", void_known_day="2026-03-06"))
    declared = Fact(**ORDERS, id="n")
    for known, expected in ((None, 0), (date(2026, 3, 6), 0), (date(2026, 3, 5), 1)):
        assert values([rows], [declared], date(2026, 3, 4), known_at_day=known)["n"][1] == expected


# --- visits, days, gaps ---


def test_half_an_hour_is_one_visit_and_more_is_two() -> None:
    visits = {"from": ["view", "cart"], "measure": "visits", "agg": "count"}
    near = [row(1, "view", "2026-03-01 10:00:00"), row(1, "cart", "2026-03-01 10:30:00")]
    far = [row(1, "view", "2026-03-01 10:00:00"), row(1, "cart", "2026-03-01 10:30:01")]
    night = [row(1, "view", "2026-03-01 23:50:00"), row(1, "cart", "2026-03-02 00:10:00")]
    assert [one(rows, "2026-03-10", **visits) for rows in (near, far, night)] == [1, 2, 2]


def test_gaps_are_between_distinct_days_of_the_window() -> None:
    rows = [row(1, "view", f"2026-03-{d:02d} {h}:00") for d in (1, 2, 12, 20) for h in (10, 11)]
    gaps = {"from": ["view"], "measure": "gap_days"}
    assert one(rows, "2026-03-20", **gaps, agg="mean") == 19 / 3
    assert one(rows, "2026-03-20", **gaps, agg="max") == 10
    assert one(rows, "2026-03-20", **gaps, agg="last") == 8
    assert one(rows, "2026-03-20", **gaps, agg="max", window=9) == 8
    assert one(rows, "2026-03-20", **gaps, agg="mean", window=8) is None
    assert one(rows, "2026-03-01", **gaps, agg="last") is None


def test_a_return_is_the_last_day_after_a_long_enough_silence() -> None:
    rows = [row(1, "view", f"2026-03-{d:02d} 10:00") for d in (1, 12, 13, 20)]
    returned = {"from": ["view"], "measure": "day", "agg": "returned"}
    assert one(rows, "2026-03-20", **returned, min_gap=10) == date(2026, 3, 12)
    assert one(rows, "2026-03-20", **returned, min_gap=7) == date(2026, 3, 20)
    assert one(rows, "2026-03-20", **returned, min_gap=12) is None
    # the silence before the 12th began before the window
    assert one(rows, "2026-03-20", **returned, min_gap=10, window=15) is None


# --- brands, categories, people ---


def test_products_without_a_brand_are_no_brand_of_their_own() -> None:
    rows = [row(1, "view", f"2026-03-01 1{n}:00", sku_code=sku) for n, sku in enumerate((1, 2, 3, 7, 8, 0))]
    assert one(rows, "2026-03-10", **{**VIEWS, "measure": "brand", "agg": "distinct"}) == 2
    assert one(rows, "2026-03-10", **{**VIEWS, "measure": "category", "agg": "distinct"}) == 2
    assert one(rows, "2026-03-10", **{**VIEWS, "measure": "brand", "agg": "last"}) == "Lancôme"
    assert one(rows, "2026-03-10", **VIEWS, where={"brand": ["资生堂"]}) == 2


def test_a_value_is_in_the_window_by_its_last_day() -> None:
    rows = [row(1, "view", "2026-03-01", sku_code=1), row(1, "view", "2026-03-09", sku_code=1)]
    rows += [row(1, "view", "2026-03-02", sku_code=3)]
    brands = {**VIEWS, "measure": "brand", "agg": "distinct"}
    assert [one(rows, "2026-03-10", **brands, window=w) for w in (1, 2, 9, 10, None)] == [0, 1, 2, 2, 2]


def test_the_most_frequent_value_wins_then_the_latest_then_the_smallest() -> None:
    channel = {**VIEWS, "measure": "channel", "agg": "mode"}
    twice = [row(1, "view", f"2026-03-0{d} 10:00", channel_code=c) for d, c in ((1, 2), (2, 2), (3, 1))]
    assert one(twice, "2026-03-10", **channel) == "miniprogram"
    assert one(twice[1:], "2026-03-10", **channel) == "app"
    tied = [row(1, "view", "2026-03-01 10:00", channel_code=c) for c in (3, 2)]
    assert one(tied, "2026-03-10", **channel) == "miniprogram"
    assert one(twice, "2026-03-10", **channel, min_share=0.7) is None
    assert one(twice, "2026-03-10", **channel, min_share=2 / 3) == "miniprogram"


def test_what_was_bought_lately_is_preferred_to_what_was_looked_at_long_ago() -> None:
    long_ago = [row(1, "view", "2026-01-01", sku_code=1) for _ in range(9)]
    lately = [row(1, "pay", "2026-03-09", sku_code=3, order_key=1)]
    preferred = {"from": ["view", "pay"], "measure": "brand", "agg": "preferred"}
    assert one(long_ago + lately, "2026-03-10", **preferred) == "Lancôme"
    assert one(long_ago + lately, "2026-03-10", **preferred, half_life_days=1000) == "资生堂"
    assert one(long_ago + lately, "2026-03-10", **preferred, weights={"pay": 0}) == "资生堂"
    assert one(long_ago + lately, "2026-03-10", **preferred, min_events=2) == "资生堂"
    assert one(long_ago + lately, "2026-03-10", **preferred, min_events=10) is None


def test_what_was_done_before_the_window_does_not_weigh_in_it() -> None:
    rows = [row(1, "view", "2026-03-04", sku_code=sku) for sku in (1, 1, 3)]
    rows += [row(1, "pay", "2026-03-03", sku_code=3, order_key=n) for n in range(9)]
    preferred = {"from": ["view", "pay"], "measure": "brand", "agg": "preferred"}
    facts = [Fact.model_validate(preferred | {"window": w, "id": str(w)}) for w in (7, 8)]
    found = values([table(rows)], facts, date(2026, 3, 10))
    assert (found["7"][1], found["8"][1]) == ("资生堂", "Lancôme")


def test_user_zero_is_a_person_that_can_be_reached() -> None:
    rows = [row(1, "share_opened", "2026-03-01", peer_uid=p) for p in (0, 0, 5, -1)]
    people = {"from": ["share_opened"], "measure": "peer"}
    assert one(rows, "2026-03-10", **people, agg="distinct") == 2
    assert one(rows, "2026-03-10", **people, agg="mode") == 0
    assert one(rows, "2026-03-10", **{**people, "measure": "rows", "agg": "count"}, where={"peer": True}) == 3


# --- files and shapes ---


def test_an_empty_bucket_gives_every_user_a_row() -> None:
    facts = [
        Fact(**ORDERS, id="n"),
        Fact(**LAST_PURCHASE, id="d"),
        Fact(**{**VIEWS, "measure": "brand", "agg": "mode"}, id="b"),
    ]
    for files in ([], [table([])], [table([]), table([])]):
        found = values(files, facts, date(2026, 3, 10))
        assert found["n"] == dict.fromkeys(range(USERS), 0)
        assert set(found["d"].values()) == set(found["b"].values()) == {None}


def test_one_user_may_have_all_rows() -> None:
    for uid in (0, USERS - 1):
        rows = [row(uid, "view", f"2026-03-{d:02d} 10:00", sku_code=1) for d in range(1, 11)]
        found = values([table(rows)], [Fact(**VIEWS, window=5, id="n")], date(2026, 3, 10))["n"]
        assert found == {u: 5 * (u == uid) for u in range(USERS)}


def test_uids_are_counted_from_the_buckets_base() -> None:
    rows = table([row(300_002, "view", "2026-03-01")])
    found = values([rows], [Fact(**VIEWS, id="n")], date(2026, 3, 10), base=300_000, users=4)["n"]
    assert found == {300_000: 0, 300_001: 0, 300_002: 1, 300_003: 0}


def test_a_row_of_another_bucket_is_an_error() -> None:
    with pytest.raises(ValueError, match="uid 300002 is not in the bucket of uids 0 to 5"):
        merged([table([row(300_002, "view", "2026-03-01")])], [Fact(**VIEWS)])


def test_a_null_in_a_required_column_is_an_error() -> None:
    broken = table([row(1, "view", "2026-03-01")])
    at = broken.schema.get_field_index("day")
    broken = broken.set_column(at, "day", pa.nulls(1, pa.date32()))
    with pytest.raises(ValueError, match="'day' holds nulls"):
        merged([broken], [Fact(**VIEWS)])


def test_a_row_that_lies_in_a_later_file_comes_to_its_place_in_time() -> None:
    # an order placed in January and paid in March lies in January's file
    january = [row(1, "pay", "2026-03-05 10:00", order_key=1, channel_code=1), row(1, "view", "2026-01-31 10:00")]
    february = [row(1, "pay", "2026-02-03 10:00", order_key=2, channel_code=2), row(2, "view", "2026-02-03 10:00")]
    files = [table(january), table(february)]
    rows = merged(files, [Fact(**ORDERS), Fact(**{**ORDERS, "measure": "channel", "agg": "first"})])
    assert rows.places is not None
    assert np.all(np.diff(rows.column("occurred_at")[rows.begin[1] : rows.begin[2]]) > 0)
    first = Fact(**{**ORDERS, "measure": "channel", "agg": "first"}, id="first")
    assert values(files, [first], date(2026, 3, 10))["first"][1] == "miniprogram"
    assert values(files[::-1], [first], date(2026, 3, 10))["first"][1] == "miniprogram"


def test_rows_of_one_day_in_several_files_come_to_their_place_in_time() -> None:
    hours = [
        [row(1, "view", f"2026-03-05 {h:02d}:00", channel_code=1 + h % 3) for h in hs]
        for hs in ((10, 14), (12, 9), (11,))
    ]
    facts = [
        Fact.model_validate({"from": ["view"], "measure": measure, "agg": agg, "id": agg})
        for measure, agg in (("visits", "count"), ("channel", "first"), ("channel", "last"))
    ]
    found = values([table(h) for h in hours], facts, date(2026, 3, 10))
    assert (found["count"][1], found["first"][1], found["last"][1]) == (5, "app", "web")


def test_local_hours_change_at_the_very_instant_at_which_clocks_do() -> None:
    # New York: on 8 March 2026 at 7:00 UTC two o'clock becomes three, on 1 November at 6:00 UTC two becomes one
    stamps = ["2026-03-08T06:59:59.999999", "2026-03-08T07:00", "2026-11-01T05:59:59.999999", "2026-11-01T06:00"]
    at = np.array(stamps, "datetime64[us]").astype(np.int64)
    assert local_hour(at, "America/New_York").tolist() == [1, 3, 1, 1]
    assert local_hour(at[:1], "Asia/Kathmandu").tolist() == [12]
    assert local_hour(at[:0], "UTC").tolist() == []


@pytest.mark.parametrize("rows_at_once", [1, 7, 50])
def test_how_many_rows_are_in_work_at_once_changes_nothing(monkeypatch: pytest.MonkeyPatch, rows_at_once: int) -> None:
    r = random.Random(rows_at_once)
    facts = r.sample(every_fact(), 60)
    files = [table([drawn_row(r) for _ in range(n)]) for n in (60, 40)]
    for given in (files, files[:1]):
        whole = values(given, facts, date(2026, 3, 10))
        with monkeypatch.context() as patched:
            patched.setattr("features.kernel.plan.ROWS_AT_ONCE", rows_at_once)
            assert values(given, facts, date(2026, 3, 10)) == whole


def test_facts_that_are_one_are_computed_once_and_named_twice() -> None:
    facts = [Fact(**VIEWS, id="one"), Fact(**VIEWS, id="two"), Fact(**VIEWS)]
    rows = merged([table([row(1, "view", "2026-03-01")])], facts)
    found = compute(rows, facts, date(2026, 3, 10))
    assert found.column_names == ["uid", "one", "two", facts[2].canonical_id]
    assert found["one"].to_pylist() == found["two"].to_pylist()


def test_the_result_has_the_declared_types_and_no_facts_give_uids() -> None:
    rows = merge_files([], [], users=3)
    assert isinstance(rows, Rows)
    assert compute(rows, [], date(2026, 3, 10)).to_pydict() == {"uid": [0, 1, 2]}


def test_a_sku_that_came_after_the_products_has_no_brand() -> None:
    products, texts = Products.from_texts(
        pa.table({"sku_code": pa.array([2], pa.int32()), "brand": ["b"], "category": ["c"], "category_parent": [None]})
    )
    assert products.of("brand", np.array([0, 1, 2, 3, 99], np.int32)).tolist() == [0, 0, 1, 0, 0]
    assert products.of("category_parent", np.array([2], np.int32)).tolist() == [0]
    assert texts["brand"] == ["", "b"]
