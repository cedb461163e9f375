"""What comes later changes earlier rows of ``activity``: the grown table says what one made from nothing says."""

from __future__ import annotations

from typing import Any

import pytest

from tests.activity.shop import Shop, assert_as_rebuilt, counted, line, order
from tests.silver import at

APRIL = "2026-04-03 06:00"
OPEN = {"event_id": "e2", "behaviour": "share_open", "share_id": "c1", "occurred_at": at("2026-02-04 10:00")}
CARD = {"event_id": "e1", "behaviour": "share", "share_id": "c1", "occurred_at": at("2026-03-02 10:00")}


@pytest.mark.slow
@pytest.mark.usefixtures("apart")
def test_a_refund_that_names_nobody_is_the_buyers_also_when_it_comes_later(shop: Shop) -> None:
    shop.write("orders", order(paid_at=at("2026-03-06 09:00")))
    shop.write("order_lines", line())
    shop.run()
    refund = {"refund_id": "r", "order_id": "o1", "refunded_at": at("2026-04-02 09:00"), "refund_amount_minor": 40}
    shop.write("refunds", refund, ingested=APRIL)
    shop.run("2026-04-03")
    assert [(r["uid"], r["period"]) for r in shop.rows("refund")] == [(shop.uid("member", "m1"), 202604)]
    corrected = {**refund, "refunded_at": at("2026-03-28 09:00"), "source_time": at("2026-04-04 09:00")}
    shop.write("refunds", corrected, ingested="2026-04-05 06:00")
    shop.run("2026-04-05")
    assert [r["period"] for r in shop.rows("refund")] == [202603]
    assert_as_rebuilt(shop)


@pytest.mark.slow
@pytest.mark.usefixtures("apart")
@pytest.mark.parametrize("named", [None, "m2"])
def test_a_refund_goes_over_to_the_buyer_when_its_order_comes_later(shop: Shop, named: str | None) -> None:
    refund = {"refund_id": "r", "order_id": "o1", "refunded_at": at("2026-04-02 09:00"), "refund_amount_minor": 40}
    view = {"event_id": "e1", "behaviour": "view", "member_id": "m1", "occurred_at": at("2026-02-03 10:00")}
    shop.write("refunds", {**refund, "member_id": named})
    shop.write("browse", view)
    shop.run()
    assert len(shop.rows("refund")) == (named is not None)
    shop.write("orders", order(paid_at=at("2026-03-06 09:00")), ingested=APRIL)
    shop.write("order_lines", line(), ingested=APRIL)
    shop.run("2026-04-03")
    assert [r["uid"] for r in shop.rows("refund")] == [shop.uid("member", "m1")]
    later = {"source_time": at("2026-04-04 09:00"), "paid_at": at("2026-03-06 09:00"), "member_id": "m3"}
    shop.write("orders", order(**later), ingested="2026-04-05 06:00")
    shop.run("2026-04-05")
    assert [r["uid"] for r in shop.rows("refund")] == [shop.uid("member", "m3")]
    assert_as_rebuilt(shop)


@pytest.mark.slow
@pytest.mark.usefixtures("apart")
def test_opens_that_came_before_the_card_they_opened_are_credited_to_its_sharer(shop: Shop) -> None:
    shop.write("shares", {**OPEN, "openid": "w2"})
    shop.run()
    assert [r["behaviour"] for r in shop.rows()] == ["share_open"]
    shop.write("shares", {**CARD, "member_id": "m1"}, ingested=APRIL)
    shop.run("2026-04-03")
    assert [(r["uid"], r["period"]) for r in shop.rows("share_opened")] == [(shop.uid("member", "m1"), 202602)]
    assert [r["peer_uid"] for r in shop.rows("share_open")] == [shop.uid("member", "m1")]
    assert_as_rebuilt(shop)


@pytest.mark.slow
@pytest.mark.usefixtures("apart")
def test_a_card_that_turns_out_to_be_an_elder_persons_is_credited_to_them_alone(shop: Shop) -> None:
    view = {"event_id": "e9", "behaviour": "view", "member_id": "m1", "occurred_at": at("2026-01-03 10:00")}
    shop.write("browse", view)
    shop.write("shares", {**OPEN, "openid": "w2"}, {**CARD, "member_id": "m5"})
    shop.run()
    assert [r["uid"] for r in shop.rows("share_opened")] == [shop.uid("member", "m5")]
    shop.write("shares", {**CARD, "event_id": "e3", "member_id": "m1"}, ingested=APRIL)
    shop.run("2026-04-03")
    assert [r["uid"] for r in shop.rows("share_opened")] == [shop.uid("member", "m1")]
    assert_as_rebuilt(shop)


def viewed(event_id: str, when: str, **ids: str) -> dict[str, Any]:
    return {"event_id": event_id, "behaviour": "view", "occurred_at": at(when), **ids}


@pytest.mark.slow
@pytest.mark.usefixtures("apart")
def test_an_opener_who_merges_into_another_is_one_peer_of_the_sharer(shop: Shop) -> None:
    shared = {"sharer_member_id": "m9", "behaviour": "share_open"}
    shop.write("browse", viewed("v1", "2026-01-03 10:00", openid="w1"))
    shop.write(
        "shares",
        {**shared, "event_id": "e1", "openid": "w1", "occurred_at": at("2026-02-03 10:00")},
        {**shared, "event_id": "e2", "device_id": "d2", "occurred_at": at("2026-03-03 10:00")},
    )
    shop.run()
    assert len({r["peer_uid"] for r in shop.rows("share_opened")}) == 2
    shop.write("browse", viewed("v2", "2026-04-02 10:00", openid="w1", device_id="d2"), ingested=APRIL)
    shop.run("2026-04-03")
    assert {r["peer_uid"] for r in shop.rows("share_opened")} == {shop.uid("openid", "w1")}
    assert_as_rebuilt(shop)


@pytest.mark.slow
@pytest.mark.usefixtures("apart")
@pytest.mark.parametrize(("elder", "younger"), [("sharer", "invited"), ("invited", "sharer")])
def test_a_sharer_and_an_invited_person_who_are_one_credit_nobody(shop: Shop, elder: str, younger: str) -> None:
    ids = {"sharer": {"openid": "w1"}, "invited": {"device_id": "d2"}}
    shop.write(
        "browse", viewed("v1", "2026-01-03 10:00", **ids[elder]), viewed("v2", "2026-01-04 10:00", **ids[younger])
    )
    did = {**ids["invited"], "sharer_openid": "w1", "occurred_at": at("2026-03-05 23:50")}
    shop.write("orders", order("o1", member_id=None, openid=None, device_id="d2", paid_at=at("2026-03-06 00:05")))
    shop.write("order_lines", line())
    shop.write(
        "shares",
        {**did, "event_id": "e1", "behaviour": "share_open", "occurred_at": at("2026-02-05 23:50")},
        {**did, "event_id": "e2", "behaviour": "order", "order_id": "o1"},
    )
    shop.run()
    assert len(shop.rows("share_opened", "brought_order")) == 2
    shop.write("browse", viewed("v3", "2026-04-02 10:00", openid="w1", device_id="d2"), ingested=APRIL)
    shop.run("2026-04-03")
    assert not [r for r in counted(shop) if r["behaviour"] in ("share_opened", "brought_order")]
    assert_as_rebuilt(shop)


@pytest.mark.slow
@pytest.mark.usefixtures("apart")
def test_two_who_are_one_with_a_third_credit_nobody_and_owe_their_cards_to_the_third(shop: Shop) -> None:
    one, two, three = {"openid": "w1"}, {"device_id": "d2"}, {"cookie_id": "k3"}
    first = "2026-01-03 10:00"
    shop.write("browse", viewed("v1", first, **one), viewed("v4", "2026-01-04 10:00", device_id="d5"))
    shop.write(
        "shares",
        {**CARD, **two},
        {**CARD, "event_id": "e4", "device_id": "d5"},
        {**OPEN, **three},
        {**OPEN, "event_id": "e5", "device_id": "d6"},
    )
    shop.run()
    assert {r["uid"] for r in shop.rows("share_opened")} == {shop.uid("device", "d5")}
    shop.write("browse", viewed("v2", "2026-04-02 10:00", **one, **two, **three), ingested=APRIL)
    shop.run("2026-04-03")
    assert [r["uid"] for r in shop.rows("share_opened")] == [shop.uid("openid", "w1")]
    assert_as_rebuilt(shop)


@pytest.mark.slow
@pytest.mark.usefixtures("apart")
def test_a_device_that_turns_out_to_be_shared_is_a_peer_of_its_own_from_then_on(shop: Shop) -> None:
    opened = {"sharer_member_id": "m9", "behaviour": "share_open", "device_id": "d1"}
    shop.write("browse", viewed("v1", "2026-01-03 10:00", member_id="m1", device_id="d1"))
    shop.write("shares", {**opened, "event_id": "e1", "occurred_at": at("2026-03-20 10:00")})
    shop.run()
    assert [r["peer_uid"] for r in shop.rows("share_opened")] == [shop.uid("member", "m1")]
    shop.write("browse", viewed("v2", "2026-03-10 10:00", member_id="m2", device_id="d1"), ingested=APRIL)
    shop.run("2026-04-03")
    assert [r["peer_uid"] for r in shop.rows("share_opened")] == [shop.uid("device", "d1")]
    assert_as_rebuilt(shop)


@pytest.mark.slow
@pytest.mark.usefixtures("apart")
def test_an_order_that_is_corrected_into_another_month_is_there_once(shop: Shop) -> None:
    shop.write("orders", order(paid_at=at("2026-03-06 09:00")), order("o2", paid_at=at("2026-03-06 10:00")))
    shop.write("order_lines", line(), line("o2"))
    shop.run()
    then = at("2026-02-27 23:50")
    shop.write("orders", order(ordered_at=then, paid_at=at("2026-02-28 09:00")), ingested=APRIL)
    shop.write("order_lines", line(ordered_at=then), ingested=APRIL)
    shop.run("2026-04-03")
    assert [(r["behaviour"], r["period"]) for r in shop.rows()] == [
        ("order", 202602),
        ("pay", 202602),
        ("order", 202603),
        ("pay", 202603),
    ]
    # What rebuilds the old month for another reason must not bring it back.
    shop.write("orders", order("o2", paid_at=at("2026-03-07 10:00")), ingested="2026-04-04 06:00")
    shop.run("2026-04-04")
    assert len(shop.rows()) == 4
    assert_as_rebuilt(shop)


@pytest.mark.slow
@pytest.mark.usefixtures("apart")
def test_a_visit_that_is_corrected_into_another_month_is_there_once(shop: Shop) -> None:
    shop.write("browse", viewed("e1", "2026-03-01 00:30", member_id="m1"))
    shop.run()
    shop.write("browse", viewed("e1", "2026-02-28 23:30", member_id="m1"), ingested=APRIL)
    shop.run("2026-04-03")
    assert [r["period"] for r in shop.rows()] == [202602]
    shop.write("browse", viewed("e2", "2026-03-02 00:30", member_id="m1"), ingested="2026-04-04 06:00")
    shop.run("2026-04-04")
    assert [r["period"] for r in shop.rows()] == [202602, 202603]
    assert_as_rebuilt(shop)


@pytest.mark.slow
@pytest.mark.usefixtures("apart")
@pytest.mark.parametrize("feed", ["browse", "shares", "coupons"])
def test_a_row_that_is_corrected_to_another_person_leaves_the_first(shop: Shop, feed: str) -> None:
    said = {
        "browse": {"behaviour": "view"},
        "shares": {"behaviour": "share", "share_id": "c1"},
        "coupons": {"behaviour": "coupon_get", "coupon_id": "k1"},
    }[feed]
    row = {**said, "event_id": "e1", "occurred_at": at("2026-03-02 10:00")}
    shop.write(feed, {**row, "member_id": "m1"})
    shop.write("shares", {**OPEN, "openid": "w2"})
    shop.run()
    shop.write(feed, {**row, "member_id": "m2"}, ingested=APRIL)
    shop.run("2026-04-03")
    assert shop.uid("member", "m1") not in {r["uid"] for r in shop.rows()}
    assert_as_rebuilt(shop)


@pytest.mark.slow
def test_lines_dated_months_from_their_order_are_its_lines(shop: Shop) -> None:
    shop.write("orders", order(paid_at=at("2026-03-06 09:00")))
    shop.write("order_lines", line(ordered_at=at("2025-11-06 09:00")))
    shop.run()
    shop.write("orders", order(paid_at=at("2026-03-07 09:00")), ingested=APRIL)
    shop.run("2026-04-03")
    assert [(r["behaviour"], r["amount_minor"]) for r in shop.rows("pay")] == [("pay", 100)]
    assert_as_rebuilt(shop)
