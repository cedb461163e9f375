"""Event conditions of audiences against SQL over the activity table, on random behaviour."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import duckdb
import pytest

from jobs.audiences.step import build
from schemas.behaviours import BEHAVIOURS, BROWSE
from tests.audiences.lake_shop import EARLY, D, Shop, act, silver

USERS = 60
HEAD = """\
name: {zh: 试, en: Trial}
description: {zh: 试, en: Trial}
owner: crm
"""
BRANDS = {1: "资生堂", 2: "百雀羚", 3: None}
ON_SITE = ", ".join(str(BEHAVIOURS[b]) for b in BROWSE)
COUNTS = "a.valid_from_day <= $d and a.day <= $d and coalesce(a.void_day, date '9999-01-01') > $d"

CASES = {
    "views": ("{event: view, within_days: 10, at_least: 3}", "count(*) filter (behaviour_code = 3 and age < 10) >= 3"),
    "silent": (
        "{event: browse, did: false, within_days: 5}",
        f"count(*) filter (behaviour_code in ({ON_SITE}) and age < 5) = 0",
    ),
    "orders": (
        "{event: pay, measure: orders, between: [1, 2]}",
        "count(distinct order_key) filter (behaviour_code = 15) between 1 and 2",
    ),
    "brand": (
        "{event: [view, pay], where: {brand: 资生堂}, within_days: 20, above: 1}",
        "count(*) filter (behaviour_code in (3, 15) and brand = '资生堂' and age < 20) > 1",
    ),
    "not_brand": (
        "{all: [{event: pay}, {event: pay, did: false, where: {brand: [资生堂, 百雀羚]}}]}",
        "count(*) filter (behaviour_code = 15) > 0 and count(*) filter (behaviour_code = 15 and brand is not null) = 0",
    ),
    "money": (
        "{event: pay, measure: amount, within_days: 30, at_least: 500}",
        "coalesce(sum(amount_minor) filter (behaviour_code = 15 and age < 30), 0) >= 500",
    ),
    "promotion": (
        "{event: pay, where: {on_promotion: true}, is: 1}",
        "count(*) filter (behaviour_code = 15 and on_promotion) = 1",
    ),
    "days": (
        "{event: browse, measure: days, at_least: 8}",
        f"count(distinct day) filter (behaviour_code in ({ON_SITE})) >= 8",
    ),
    "between_dates": (
        "{event: view, on_days: [2026-02-10, 2026-02-20], at_least: 2}",
        "count(*) filter (behaviour_code = 3 and day between date '2026-02-10' and date '2026-02-20') >= 2",
    ),
    "days_ago": (
        "{event: [view, click], measure: days, days_ago: [7, 30], is: 3}",
        "count(distinct day) filter (behaviour_code in (2, 3) and age between 7 and 30) = 3",
    ),
    "gone": (
        "{event: pay, measure: day, below: 2026-02-20}",
        "max(day) filter (behaviour_code = 15) < date '2026-02-20'",
    ),
}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    made = Shop(tmp_path_factory.mktemp("random") / "shop")
    chance = random.Random(7)
    made.put("activity.codes", [{"code_kind": "sku", "code": c, "code_value": f"S{c}"} for c in BRANDS])
    products = [silver(EARLY, c, sku_id=f"S{c}", brand=b) for c, b in BRANDS.items()]
    # a later version, from after the day, must not count
    products.append(silver(EARLY + timedelta(days=90), 9, sku_id="S3", brand="资生堂"))
    made.put("silver.products", products)
    rows = [_random_row(chance, i) for i in range(900)]
    made.activity(rows)
    made.release(D, [{"uid": u, "paid_amount_90d": 0} for u in range(USERS)])
    return made


def _random_row(chance: random.Random, i: int) -> dict[str, Any]:
    day = D + timedelta(days=chance.randint(-45, 3))
    behaviour = chance.choice(["view", "view", "view", "click", "search", "pay"])
    row = act(
        chance.randrange(USERS), day, behaviour, hour=chance.randrange(16), sku_code=chance.choice([0, 1, 2, 3]),
        on_promotion=chance.random() < 0.3,
    )  # fmt: skip
    if behaviour == "pay":
        row |= {"order_key": chance.randrange(1, 40), "amount_minor": chance.randrange(400), "quantity": 1}
        if chance.random() < 0.2:
            row["void_day"] = day + timedelta(days=chance.randint(0, 20))
    return row


@pytest.mark.parametrize("name", CASES)
def test_an_event_condition_gives_whom_sql_gives(shop: Shop, name: str) -> None:
    condition, having = CASES[name]
    shop.define(name, f"{HEAD}include: {condition}\n")
    build(shop.project, name)
    assert _members(shop, name) == _by_sql(shop, having)
    assert 0 < len(_members(shop, name)) < USERS


def _members(shop: Shop, name: str) -> list[int]:
    with duckdb.connect() as db:
        db.register("m", shop.lake.dataset("audiences.membership"))
        return [u for (u,) in db.execute("select uid from m where audience = ? order by uid", [name]).fetchall()]


def _by_sql(shop: Shop, having: str) -> list[int]:
    brands = " ".join(f"when {code} then '{brand}'" for code, brand in BRANDS.items() if brand)
    with duckdb.connect() as db:
        db.register("activity", shop.lake.dataset("activity.activity"))
        rows = db.execute(
            f"""
            with a as (
                select a.*, date_diff('day', day, $d) as age, case sku_code {brands} end as brand
                from activity a where {COUNTS}
            )
            select u.uid from range({USERS}) u(uid) left join a on a.uid = u.uid
            group by u.uid having {having} order by u.uid
            """,
            {"d": D},
        ).fetchall()
    return [u for (u,) in rows]
