"""Touches of a campaign: taken like any feed, whose they are, what they cost, and which orders they are credited with."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from campaigns.language import HELD_OUT
from jobs.campaigns.assign import assign_arms
from jobs.campaigns.results import ATTRIBUTION, campaign_results
from tests.audiences.lake_shop import EARLY, Shop, act, silver
from tests.campaigns.campaign_shop import END, START, campaign_shop, people, users
from tests.campaigns.test_campaign_jobs import arms, sql
from tests.ingest.shop import Shop as Inbox
from tests.ingest.shop import csv
from tests.test_architecture import ROOT


def test_touches_are_taken_like_any_feed(tmp_path: Path) -> None:
    text = (ROOT / "conf" / "sources" / "touches.yaml").read_text(encoding="utf-8")
    shop = Inbox(tmp_path / "shop", {"touches": yaml.safe_load(text)})
    header = ["时间", "活动", "阶段", "组别", "渠道", "内容", "用户标识", "会员号", "状态", "费用"]
    good = ["2026-03-12 09:00:00", "spring", "拔草", "coupon", "sms", "c1", "m000001", "", "曝光", "0.05"]
    shop.deliver("touches/1.csv", csv(header, good, [*good[:6], "", "", *good[8:]], [*good[:8], "丢失", ""]))
    report = shop.ingest()
    assert (report.rows("rows_silver"), report.rows("rows_quarantined")) == (1, 2)
    assert shop.rows("silver.touches", "campaign, stage, channel, user_id, touch_state, cost_minor") == [
        ("spring", "harvest", "sms", "m000001", "exposed", 5)
    ]
    shop.deliver("touches/2.csv", csv(header, good))
    assert shop.ingest().rows("rows_silver") == 0, "the same row delivered twice is one touch"


def touch(
    n: int, day: date, hour: int, channel: str, state: str = "exposed", cost: int | None = None, **who: Any
) -> Any:
    at = datetime(day.year, day.month, day.day, hour, tzinfo=UTC)
    made = {"event_id": f"e{n}", "occurred_at": at, "campaign": "spring", "channel": channel, "touch_state": state}
    return silver(EARLY, n, **made, cost_minor=cost, **who)


def day(n: int) -> date:
    return START + timedelta(n)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of three people with a coupon: A saw push and mail and bought, B saw mail by member id and did not, C bought unseen."""
    shop = campaign_shop(tmp_path_factory.mktemp("template") / "shop")
    assign_arms(shop.project, "spring", which=str(START))
    given = arms(shop)
    a, b, c, *_ = (u for u, arm in given.items() if arm == "coupon")
    held = next(u for u, arm in given.items() if arm == HELD_OUT)
    shop.put("identity.users", users())
    shop.put("identity.identifiers", [{"id_kind": "member", "id_value": "B", "uid": b}])
    pay = {"quantity": 1, "amount_minor": 500}
    shop.activity(
        [
            act(a, day(6), "pay", order_key=1, **pay),
            act(a, day(6), "pay", order_key=1, hour=4, **pay),
            act(c, day(6), "pay", order_key=2, **pay),
            act(a, day(25), "pay", order_key=3, **pay),
            act(held, day(3), "pay", order_key=4, **pay),
        ]
    )
    rows = [
        touch(1, day(1), 2, "push", "sent", 100, user_id=f"m{a:06d}"),
        touch(2, day(1), 3, "push", user_id=f"m{a:06d}"),
        touch(3, day(5), 3, "mail", cost=50, user_id=f"m{a:06d}"),
        touch(4, day(7), 3, "push", user_id=f"m{a:06d}"),
        touch(5, day(2), 3, "mail", cost=50, member_id="B"),
        touch(6, day(30), 3, "mail", user_id=f"m{a:06d}"),
        touch(7, day(2), 3, "mail", cost=7, user_id="nobody"),
        touch(8, day(2), 3, "push", user_id=f"m{held:06d}"),
        {**touch(9, day(2), 3, "push", user_id=f"m{a:06d}"), "campaign": "other"},
    ]
    shop.put("silver.touches", rows)
    shop.release(END, people(), number=2)
    return shop.folder


def test_orders_are_credited_to_what_was_seen_before_them_within_the_window(shop: Shop) -> None:
    found = campaign_results(shop.project, "spring").attribution
    assert found is not None
    # Of A's order push came 5 days and an hour before, mail 1 day: the half-life is 7 days.
    by = {(c.method, c.channel): c.credited_orders for c in found.credits}
    assert (found.orders, found.attributed_orders) == (2, 1)
    assert [by[m, "push"] for m in ("first", "last", "linear", "position")] == [1, 0, 0.5, 0.5]
    older = 0.5 ** (4 / 7)
    assert by["time_decay", "push"] == pytest.approx(older / (1 + older))
    # Paths: push > mail, bought; push and mail alone, not. Without push nobody starts on the way that converts but by mail.
    assert by["markov", "push"] + by["markov", "mail"] == pytest.approx(1)
    assert {(c.channel, c.touches, c.cost_minor) for c in found.credits} == {("push", 2, 100), ("mail", 2, 100)}
    stored = sql(shop, ATTRIBUTION, "select method, sum(credited_orders), count(*) from t group by all order by all")
    assert len(stored) == 6 and all(n == pytest.approx(1) and k == 2 for _, n, k in stored)


def test_costs_belong_to_the_arm_of_the_person_and_an_added_order_has_a_price_where_there_is_one(shop: Shop) -> None:
    found = campaign_results(shop.project, "spring")
    orders = {a.arm: a for a in found.arms if a.outcome == "orders"}
    coupon = orders["coupon"]
    assert coupon.cost_minor == 200 and orders["message"].cost_minor is None
    added = 2 - sum(a == "coupon" for a in arms(shop).values()) / sum(a == HELD_OUT for a in arms(shop).values())
    assert added > 0
    assert coupon.cost_per_added_order_minor == pytest.approx(200 / added)
    assert all(a.cost_per_added_order_minor is None for a in found.arms if a != coupon)


def test_touches_of_nobody_and_of_the_held_out_are_told(shop: Shop) -> None:
    warnings = campaign_results(shop.project, "spring").warnings
    assert "1 of 8 touches are of people who have no arm; they are left out" in warnings
    assert any(w.startswith("1 touches were seen by people who are held out") for w in warnings)


def test_a_correction_of_a_touch_takes_its_place(shop: Shop) -> None:
    rows = shop.lake.dataset("silver.touches").to_table().to_pylist()
    later = {**rows[0], "cost_minor": 900, "source_time": datetime(2026, 4, 1, tzinfo=UTC), "_row": 99}
    shop.put("silver.touches", [*rows, later])
    shop.release(END, people(), number=3)
    orders = {a.arm: a for a in campaign_results(shop.project, "spring").arms if a.outcome == "orders"}
    assert orders["coupon"].cost_minor == 200 - (rows[0]["cost_minor"] or 0) + 900


def test_without_touches_results_are_as_ever(shop: Shop) -> None:
    shop.put("silver.touches", [])
    shop.release(END, people(), number=3)
    found = campaign_results(shop.project, "spring")
    assert found.attribution is None and found.arms[0].cost_minor is None
