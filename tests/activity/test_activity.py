"""``activity`` from hand-made silver rows: what each row of a log becomes, and which slices a new row touches."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

import jobs.activity.step
from jobs.activity.patches import MAX_FILES_OF_A_SLICE
from jobs.activity.step import run_activity
from jobs.identity.step import update_identity
from jobs.pipeline import input_versions
from tests.activity.shop import Shop, assert_as_rebuilt, line, order
from tests.silver import at


def test_a_paid_order_gives_a_pay_row_per_line_on_the_business_day_of_payment(shop: Shop) -> None:
    shop.write("orders", order(paid_at=at("2026-03-06 00:05")))
    shop.write("order_lines", line(net=100, list_amount_minor=120), line(line_id="2", net=50, sku_id="s2"))
    shop.run()
    paid = shop.rows("pay")
    assert [(r["day"], r["amount_minor"], r["list_amount_minor"]) for r in paid] == [
        (date(2026, 3, 6), 100, 120),
        (date(2026, 3, 6), 50, 50),
    ]
    assert {r["order_key"] for r in paid} == {r["order_key"] for r in shop.rows("order")} != {0}
    assert {r["period"] for r in paid} == {202603}


@pytest.mark.slow
def test_an_unpaid_order_gives_an_order_row_only(shop: Shop) -> None:
    shop.write("orders", order())
    shop.write("order_lines", line())
    shop.run()
    assert [r["behaviour"] for r in shop.rows()] == ["order"]


@pytest.mark.slow
def test_an_order_worth_nothing_is_void_from_its_payment_on(shop: Shop) -> None:
    shop.write("orders", order(paid_at=at("2026-03-06 00:05")))
    shop.write("order_lines", line(net=0))
    shop.run()
    assert [r["void_day"] for r in shop.rows("pay")] == [date(2026, 3, 6)]


@pytest.mark.slow
def test_when_an_order_its_payment_and_its_end_were_learned_are_days_of_their_own(shop: Shop) -> None:
    first, second = "2026-03-06 10:00", "2026-03-08 06:00"
    paid = {"paid_at": at("2026-03-07 09:00"), "source_time": at("2026-03-07 09:00")}
    ended = {**paid, "cancelled_at": at("2026-03-08 09:00"), "source_time": at("2026-03-08 09:00")}
    shop.write("orders", order(), order("o2", member_id="m2", paid_at=at("2026-03-06 09:00")), ingested=first)
    shop.write("order_lines", line(), line("o2"), ingested=first)
    shop.write("orders", order(**paid), ingested=second)
    shop.write("orders", order(**ended), ingested="2026-03-11 06:00")
    for amount, refunded, learned in ((40, "07", "20"), (60, "09", "12"), (5, "10", "25")):
        refund = {"refund_id": f"r{amount}", "order_id": "o2", "refunded_at": at(f"2026-03-{refunded} 10:00")}
        shop.write("refunds", {**refund, "refund_amount_minor": amount}, ingested=f"2026-03-{learned} 06:00")
    shop.run()

    def days(member: str, behaviour: str) -> list[tuple[int, int, int]]:
        rows = [r for r in shop.rows(behaviour) if r["uid"] == shop.uid("member", member)]
        return sorted((r["known_day"].day, r["void_day"].day, r["void_known_day"].day) for r in rows)

    assert days("m1", "order") == [(6, 8, 11)]
    assert days("m1", "pay") == [(8, 8, 11)], "paid by the second delivery"
    assert days("m2", "pay") == [(6, 9, 20)], "whole by the second refund, of which the first was learned last"
    assert days("m2", "refund_of_order") == [(12, 9, 20), (20, 9, 20), (25, 9, 20)]


@pytest.mark.slow
def test_what_hangs_on_a_payment_is_not_known_before_the_payment_is(shop: Shop) -> None:
    early, late = "2026-03-07 06:00", "2026-03-12 06:00"
    refund = {"refund_id": "r1", "order_id": "o1", "refunded_at": at("2026-03-06 10:00"), "refund_amount_minor": 40}
    shop.write("refunds", refund, ingested=early)
    through = {"event_id": "e1", "occurred_at": at("2026-03-06 09:00"), "behaviour": "order", "order_id": "o1"}
    shop.write("shares", {**through, "member_id": "m1", "sharer_member_id": "m2"}, ingested=early)
    shop.write("orders", order(paid_at=at("2026-03-06 09:00")), ingested=late)
    shop.write("order_lines", line(), ingested=late)
    shop.run()
    for behaviour in ("pay", "refund_of_order", "brought_order"):
        assert [r["known_day"] for r in shop.rows(behaviour)] == [date(2026, 3, 12)], behaviour
    assert [r["known_day"] for r in shop.rows("refund")] == [date(2026, 3, 7)], (
        "the money went back whatever it was for"
    )


def made_as(shop: Shop, monkeypatch: pytest.MonkeyPatch, what: str, then: Any) -> None:
    """A table of one order that was made when ``what`` of a table's making was otherwise."""
    shop.write("orders", order(paid_at=at("2026-03-06 09:00")))
    shop.write("order_lines", line())
    with monkeypatch.context() as older:
        older.setitem(jobs.activity.step.MADE_AS, what, then)
        shop.run()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "then"),
    [
        ("columns", jobs.activity.step.COLUMNS[:-1]),
        ("details", {"negative": 4}),
        ("declared", {"coupons": {"column": "behaviour"}}),
        ("declared", {"a feed that is gone": {"behaviour": "view"}}),
    ],
)
def test_a_table_made_with_other_columns_codes_or_feeds_is_made_anew(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, what: str, then: Any
) -> None:
    made_as(shop, monkeypatch, what, then)
    rows = shop.rows()
    report = shop.run()
    assert report.slices_rebuilt == 1
    assert shop.rows() == rows
    assert shop.run().slices_rebuilt == 0


@pytest.mark.slow
@pytest.mark.parametrize(("what", "then"), [("details", {"negative": 5}), ("declared", {})])
def test_a_code_or_feed_that_came_since_makes_no_table_anew(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, what: str, then: Any
) -> None:
    made_as(shop, monkeypatch, what, then)
    assert shop.run().slices_rebuilt == 0


def test_a_whole_refund_voids_the_order_from_the_day_it_is_complete(shop: Shop) -> None:
    shop.write("orders", order(paid_at=at("2026-03-05 23:55")))
    shop.write("order_lines", line(net=100))
    refund = {"order_id": "o1", "member_id": None}
    shop.write(
        "refunds",
        {**refund, "refund_id": "r1", "refunded_at": at("2026-03-08 10:00"), "refund_amount_minor": 40},
        {**refund, "refund_id": "r2", "refunded_at": at("2026-03-11 23:30"), "refund_amount_minor": 60},
    )
    shop.run()
    assert {r["void_day"] for r in shop.rows("pay", "order", "refund_of_order")} == {date(2026, 3, 11)}
    cash = shop.rows("refund")
    assert [(r["day"], r["amount_minor"], r["void_day"]) for r in cash] == [
        (date(2026, 3, 8), 40, None),
        (date(2026, 3, 11), 60, None),
    ]
    assert [(r["day"], r["valid_from_day"]) for r in shop.rows("refund_of_order")] == [
        (date(2026, 3, 5), date(2026, 3, 8)),
        (date(2026, 3, 5), date(2026, 3, 11)),
    ]
    assert {r["uid"] for r in cash} == {shop.uid("member", "m1")}


@pytest.mark.slow
def test_a_guest_order_belongs_to_nobody_else(shop: Shop) -> None:
    shop.write("orders", order("o1", member_id=None), order("o2", member_id=None), order("o3"))
    shop.run()
    assert len({r["uid"] for r in shop.rows("order")}) == 3


@pytest.mark.slow
def test_a_newer_version_of_an_order_takes_the_place_of_the_older(shop: Shop) -> None:
    shop.write("orders", order())
    shop.write("order_lines", line())
    shop.run()
    shop.write("orders", order(paid_at=at("2026-03-07 09:00")), ingested="2026-04-01 06:00")
    report = shop.run("2026-04-01")
    assert report.slices_rebuilt == 1
    assert [r["behaviour"] for r in shop.rows()] == ["order", "pay"]


def test_opening_a_share_is_the_openers_and_is_credited_to_the_sharer(shop: Shop) -> None:
    share = {"occurred_at": at("2026-03-02 10:00"), "share_id": "c1"}
    shop.write(
        "shares",
        {**share, "event_id": "e1", "behaviour": "share", "member_id": "m1"},
        {**share, "event_id": "e2", "behaviour": "share_open", "openid": "w2", "sharer_member_id": "m1"},
        {**share, "event_id": "e3", "behaviour": "share_open", "openid": "w3"},
        {**share, "event_id": "e4", "behaviour": "share_open", "member_id": "m1", "sharer_member_id": "m1"},
    )
    shop.run()
    sharer = shop.uid("member", "m1")
    others = {shop.uid("openid", "w2"), shop.uid("openid", "w3")}
    assert {r["peer_uid"] for r in shop.rows("share_opened")} == others
    assert {r["uid"] for r in shop.rows("share_opened")} == {sharer}
    assert {r["peer_uid"] for r in shop.rows("share_open") if r["uid"] in others} == {sharer}
    assert [r["peer_uid"] for r in shop.rows("share")] == [-1]


@pytest.mark.slow
def test_an_order_through_a_share_is_credited_once_it_is_paid_and_until_it_is_void(shop: Shop) -> None:
    shop.write("orders", order("o1", paid_at=at("2026-03-06 00:05")), order("o2"))
    shop.write("order_lines", line("o1"), line("o2"))
    event = {"occurred_at": at("2026-03-05 23:50"), "behaviour": "order", "member_id": "m1", "sharer_member_id": "m9"}
    shop.write("shares", {**event, "event_id": "e1", "order_id": "o1"}, {**event, "event_id": "e2", "order_id": "o2"})
    shop.run()
    assert [(r["uid"], r["valid_from_day"]) for r in shop.rows("brought_order")] == [
        (shop.uid("member", "m9"), date(2026, 3, 6))
    ]
    shop.write(
        "refunds",
        {"refund_id": "r", "order_id": "o1", "refunded_at": at("2026-04-02 09:00"), "refund_amount_minor": 100},
        ingested="2026-04-03 06:00",
    )
    shop.run("2026-04-03")
    assert [r["void_day"] for r in shop.rows("brought_order")] == [date(2026, 4, 2)]


def test_new_rows_are_added_and_only_what_they_change_is_written_anew(shop: Shop) -> None:
    view = {"behaviour": "view", "member_id": "m1"}
    shop.write("browse", {**view, "event_id": "e1", "occurred_at": at("2026-02-03 10:00")})
    shop.write("browse", {**view, "event_id": "e2", "occurred_at": at("2026-03-03 10:00")})
    assert shop.run().slices_rebuilt == 2
    before = {f.path for f in shop.lake.files("activity.activity", where={"period": 202602})}
    shop.write("browse", {**view, "event_id": "e3", "occurred_at": at("2026-03-04 10:00")}, ingested="2026-04-01 06:00")
    report = shop.run()
    assert (report.slices_rebuilt, report.slices_extended, report.rows) == (0, 1, 1)
    corrected = {**view, "event_id": "e2", "occurred_at": at("2026-03-03 11:00"), "source_time": at("2026-04-01 09:00")}
    shop.write("browse", corrected, ingested="2026-04-02 06:00")
    assert shop.run().slices_rebuilt == 1
    assert {f.path for f in shop.lake.files("activity.activity", where={"period": 202602})} == before
    assert len(shop.rows("view")) == 3
    assert shop.run().slices_rebuilt == 0
    assert_as_rebuilt(shop)


def test_a_slice_in_many_pieces_is_written_as_one(shop: Shop) -> None:
    for n in range(11):
        view = {
            "behaviour": "view",
            "member_id": "m1",
            "event_id": f"e{n}",
            "occurred_at": at(f"2026-03-{20 - n} 10:00"),
        }
        shop.write("browse", view, ingested=f"2026-04-{n + 1:02} 06:00")
        shop.run()
        assert len(shop.lake.files("activity.activity")) <= MAX_FILES_OF_A_SLICE + 2
    assert_as_rebuilt(shop)


@pytest.mark.slow
def test_merging_two_persons_appends_the_younger_ones_rows_to_the_elder(shop: Shop) -> None:
    shop.write(
        "browse", {"event_id": "e1", "behaviour": "view", "member_id": "m1", "occurred_at": at("2026-02-03 10:00")}
    )
    shop.write(
        "browse", {"event_id": "e2", "behaviour": "view", "device_id": "d1", "occurred_at": at("2026-02-04 10:00")}
    )
    shop.run()
    shop.write(
        "browse",
        {
            "event_id": "e3",
            "behaviour": "view",
            "member_id": "m1",
            "device_id": "d1",
            "occurred_at": at("2026-03-05 10:00"),
        },
        ingested="2026-03-06 06:00",
    )
    report = shop.run("2026-03-05")
    elder = shop.uid("member", "m1")
    assert (report.slices_rebuilt, report.slices_extended) == (0, 2)
    assert [r["day"] for r in shop.rows() if r["uid"] == elder] == [
        date(2026, 2, 3),
        date(2026, 2, 4),
        date(2026, 3, 5),
    ]


@pytest.mark.slow
def test_rows_that_arrive_between_identity_and_activity_wait_for_the_next_run(shop: Shop, tmp_path: Path) -> None:
    shop.write("orders", order(paid_at=at("2026-03-06 09:00")))
    shop.write("order_lines", line())
    newest, shop.lake = shop.lake, shop.lake.at(input_versions(shop.lake))
    update_identity(shop.lake, shop.engine, date(2026, 3, 31), "i0", "salt")
    shop.lake, pinned = newest, shop.lake
    view = {"occurred_at": at("2026-03-03 10:00"), "behaviour": "view", "device_id": "d1"}
    shop.write("browse", {**view, "event_id": "e1"})
    shop.write("orders", order("o2", member_id="m2", paid_at=at("2026-03-06 09:00")), ingested="2026-04-01 06:00")
    shop.lake = pinned
    run_activity(shop, shop.engine, "a0")  # type: ignore[arg-type]
    assert [r["behaviour"] for r in shop.rows()] == ["order", "pay"]
    shop.lake = newest
    shop.run()
    assert sorted(r["behaviour"] for r in shop.rows()) == ["order", "order", "pay", "view"]
