"""The profile step on hand-made rows: refunds, states of the day, what was known, guests."""

from __future__ import annotations

from typing import Any

import pytest

from features.catalogue import Catalogue
from lake.engine import Engine
from tests.profile.conftest import Shop
from tests.silver import at


def order(
    shop: Shop, order_id: str, when: str, amount: int = 10_000, ingested: str = "2026-03-31 06:00", **more: Any
) -> None:
    paid = {"order_id": order_id, "ordered_at": at(when), "paid_at": at(when), **more}
    line = {"order_id": order_id, "line_id": "1", "ordered_at": at(when), "sku_id": "s1", "quantity": 1}
    shop.write("orders", paid, ingested=ingested)
    shop.write("order_lines", {**line, "list_amount_minor": amount, "net_amount_minor": amount}, ingested=ingested)


def refund(shop: Shop, order_id: str, when: str, amount: int, member_id: str) -> None:
    back = {"refund_id": f"r-{order_id}", "order_id": order_id, "member_id": member_id, "refund_amount_minor": amount}
    shop.write("refunds", {**back, "refunded_at": at(when)})


def member(shop: Shop, name: str, when: str, **more: Any) -> None:
    shop.write("members", {"member_id": name, "registered_at": at(when), "source_time": at(when), **more})


@pytest.fixture(scope="module")
def handmade(tmp_path_factory: pytest.TempPathFactory, embedded: Engine, few_tags: Catalogue) -> Shop:
    """Four members, one for each of the tests below, profiled on the days that matter to them."""
    shop = Shop(tmp_path_factory.mktemp("handmade") / "lake", embedded, few_tags)
    for name in ("partly", "wholly", "late"):
        member(shop, name, "2026-01-01 10:00")
    order(shop, "o1", "2026-02-01 10:00", 10_000, member_id="partly")
    refund(shop, "o1", "2026-03-20 10:00", 2_500, "partly")
    order(shop, "o2", "2026-03-01 10:00", 10_000, member_id="wholly")
    refund(shop, "o2", "2026-03-20 10:00", 10_000, "wholly")
    seen = {"event_id": "e", "occurred_at": at("2026-02-20 09:00"), "behaviour": "view", "member_id": "mover"}
    shop.write("browse", seen)
    member(shop, "mover", "2026-03-01 10:00", tier="silver", city="北京")
    later = {"source_time": at("2026-03-10 10:00"), "tier": "gold"}
    member(shop, "mover", "2026-03-01 10:00", city="北京", **later)
    order(shop, "o3", "2026-03-05 10:00", member_id="late", ingested="2026-03-25 06:00")
    shop.learn()
    for day in ("2026-02-28", "2026-03-09", "2026-03-10", "2026-03-19", "2026-03-20", "2026-03-31"):
        shop.profile(day)
    return shop


def test_a_refund_never_refreshes_recency_and_money_has_two_views(handmade: Shop) -> None:
    user = handmade.user("partly", "2026-03-31")
    assert (str(user["last_purchase_day"]), user["days_since_last_purchase"]) == ("2026-02-01", 58)
    assert (user["gross_amount_90d"], user["refunded_amount_90d"], user["net_amount_90d"]) == (10_000, 2_500, 7_500)
    assert (user["gross_amount_30d"], user["net_amount_30d"]) == (0, 0)
    assert (user["cash_paid_365d"], user["cash_refunded_365d"], user["cash_net_365d"]) == (10_000, 2_500, 7_500)


def test_a_wholly_refunded_order_counts_no_more_but_its_cash_moved(handmade: Shop) -> None:
    before, after = handmade.user("wholly", "2026-03-19"), handmade.user("wholly", "2026-03-20")
    assert (before["orders_30d"], before["lifecycle"]) == (1, "new")
    assert (after["orders_30d"], after["lifecycle"], after["net_amount_30d"]) == (0, "prospect", 0)
    assert (after["cash_paid_365d"], after["cash_refunded_365d"]) == (10_000, 10_000)


def test_member_state_is_that_of_the_day_never_the_future(handmade: Shop) -> None:
    days = ("2026-02-28", "2026-03-09", "2026-03-10")
    assert [handmade.user("mover", d)["member_tier"] for d in days] == ["unknown", "silver", "gold"]
    assert [handmade.user("mover", d)["register_city"] for d in days] == ["unknown", "北京", "北京"]
    assert [handmade.user("mover", d)["is_member"] for d in days] == [False, True, True]


def test_known_at_leaves_out_what_was_learned_later(handmade: Shop) -> None:
    assert handmade.user("late", "2026-03-10")["orders_30d"] == 1
    handmade.profile("2026-03-10", known_at=at("2026-03-12 06:00"))
    assert not handmade.rows(
        "select 1 from profile.profile p join identity.identifiers i on i.uid = p.uid "
        "and i.id_value = 'late' where p.as_of = '2026-03-10'"
    ), "nobody knew of them then"


@pytest.mark.slow
def test_who_is_merged_away_is_lost_and_the_flows_say_so(shop: Shop) -> None:
    member(shop, "m1", "2026-03-01 10:00")
    member(shop, "m2", "2026-03-02 10:00")
    order(shop, "o1", "2026-03-05 10:00", member_id="m2")
    shop.learn("2026-03-10")
    shop.profile("2026-03-10")
    member(shop, "m2", "2026-03-02 10:00", merged_into_member_id="m1")
    shop.learn("2026-03-11")
    shop.profile("2026-03-11")
    flows = shop.rows("select from_segment, to_segment, users from segments.segment_flows where scheme = 'lifecycle'")
    assert sorted(map(tuple, (f.values() for f in flows))) == [("new", "LOST", 1), ("prospect", "new", 1)]
    closed = shop.rows("select tag, value from profile.tag_changes where from_day = '2026-03-11' and uid = 1")
    assert closed and all(c["value"] is None for c in closed)


@pytest.mark.slow
def test_guests_and_an_empty_shop_are_no_trouble(shop: Shop, few_tags: Catalogue) -> None:
    order(shop, "o1", "2026-03-05 10:00")
    shop.learn()
    report = shop.profile("2026-03-31", catalogue=few_tags)
    assert (report.users, report.members) == (1, 0)
    assert shop.rows("select user_kind, lifecycle from profile.profile") == [{"user_kind": "guest", "lifecycle": "new"}]
    assert shop.profile("2026-01-01", catalogue=few_tags).users == 0
