"""A shop of 400 people in two buckets, with a campaign, orders before and after it, and releases of two days."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from tests.audiences.lake_shop import Shop, act

START, END = date(2026, 3, 10), date(2026, 5, 10)
WINDOW = 20
UIDS = [*range(1, 201), *range(100_001, 100_201)]
EVERYBODY = """\
name: {zh: 全体, en: Everybody}
description: {zh: 全体, en: Everybody}
owner: crm
include: {tag: paid_amount_90d, known: true}
"""
SPRING = f"""\
name: {{zh: 春季, en: Spring}}
description: {{zh: 春季活动, en: The spring campaign}}
owner: crm
goal: {{money: 1000}}
d_day: 2026-03-20
arms:
  coupon: {{weight: 1}}
  message: {{weight: 1}}
holdout: 0.3
window_days: {WINDOW}
stages:
  grow:
    days: {{first: -9, last: -1}}
    audiences: [women]
    channels: [app]
    content: {{women: {{zh: 加购, en: Cart}}}}
    metrics: [{{metric: cart_users, target: 30}}]
  harvest:
    audiences: [everybody]
    channels: [app]
    content: {{everybody: {{zh: 下单, en: Buy}}}}
    metrics: [{{metric: buyers, target: 10}}, {{metric: net_amount, target: 500}}]
"""
WOMEN = EVERYBODY.replace("{tag: paid_amount_90d, known: true}", "{tag: gender, is: female}")


def campaign_shop(folder: Path) -> Shop:
    """Without a campaign assigned yet."""
    shop = Shop(folder)
    # Tests deliver at the release of the campaign's start, and that of its end is there already.
    settings = "name: {zh: 店, en: Shop}\naudience_stale_days: null\n"
    (folder / "huaxiang.yaml").write_text(settings, encoding="utf-8")
    shop.define("everybody", EVERYBODY)
    shop.define("women", WOMEN)
    define(shop, SPRING)
    shop.put("identity.users", users())
    shop.activity(behaviour())
    shop.release(START, people())
    shop.release(END, people())
    return shop


def define(shop: Shop, text: str, name: str = "spring") -> None:
    folder = shop.folder / "campaigns"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.yaml").write_text(text, encoding="utf-8")


def users(merged: Mapping[int, int] | None = None) -> list[dict[str, Any]]:
    into = merged or {}
    return [
        {
            "uid": u,
            "bucket": u // 100_000,
            "user_id": f"m{u:06d}",
            "person_kind": "member",
            "merged_into_uid": into.get(u),
            "retired_day": END if u in into else None,
        }
        for u in UIDS
    ]


def people(without: Iterable[int] = ()) -> list[dict[str, Any]]:
    """Every third is a man."""
    gone = set(without)
    return [
        {"uid": u, "register_city": "北京", "gender": "male" if u % 3 == 0 else "female", "paid_amount_90d": 0}
        for u in UIDS
        if u not in gone
    ]


def behaviour() -> list[dict[str, Any]]:
    """Orders on any of the days, some void or partly refunded, flagged or late known; carts in the days of ``grow``."""
    rng = np.random.default_rng(1)
    rows = []
    for u in UIDS:
        for n in range(int(rng.poisson(2.5))):
            day = START + timedelta(int(rng.integers(-25, 30)))
            order = {
                "order_key": u * 100 + n,
                "sku_code": 1,
                "quantity": 1,
                "amount_minor": int(rng.integers(1, 9_999)),
            }
            kind = rng.random()
            if kind < 0.1:
                order["void_day"] = day + timedelta(3)
            elif kind < 0.2:
                order["flagged_day"] = day
            rows.append(act(u, day, "pay", **order))
            if kind > 0.8:
                back = {**order, "amount_minor": order["amount_minor"] // 2, "valid_from_day": day + timedelta(4)}
                rows.append(act(u, day, "refund_of_order", **back))
            if kind > 0.9:
                # A second line of the same order.
                rows.append(act(u, day, "pay", hour=4, **order))
        if rng.random() < 0.2:
            rows.append(act(u, START + timedelta(int(rng.integers(-5, 20))), "cart", sku_code=1))
    return rows


def brought(rows: Iterable[Mapping[str, Any]], first: date, last: date, known: date) -> dict[int, tuple[int, int]]:
    """Net money and orders of every user over the days, counted row by row as the definitions say."""
    money: dict[int, int] = dict.fromkeys(UIDS, 0)
    orders: dict[int, set[int]] = {u: set() for u in UIDS}
    for r in rows:
        counts = first <= r["day"] <= min(last, known) and r["valid_from_day"] <= known
        gone = any(r.get(n) is not None and r[n] <= known for n in ("void_day", "flagged_day"))
        if not counts or gone:
            continue
        if r["behaviour_code"] == PAY:
            money[r["uid"]] += r["amount_minor"]
            orders[r["uid"]].add(r["order_key"])
        elif r["behaviour_code"] == BACK:
            money[r["uid"]] -= r["amount_minor"]
    return {u: (money[u], len(orders[u])) for u in UIDS}


PAY, BACK = (act(1, START, b)["behaviour_code"] for b in ("pay", "refund_of_order"))
