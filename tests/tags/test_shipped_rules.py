"""Tags of the shipped catalogue on users written by hand: what counts, what is unknown, and where bands begin."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import duckdb
import pytest

from features.tagging import apply_recipe, make_recipe
from jobs.profile.tasks import _score
from tests.tags.test_tagging import AS_OF, CATALOGUE, base

User = dict[str, Any]


def ago(days: int) -> dt.date:
    return AS_OF - dt.timedelta(days=days)


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": "1"}) as opened:
        yield opened


def values(con: duckdb.DuckDBPyConnection, tag: str, users: list[User], **numbers: tuple[float, ...]) -> list[Any]:
    plan = make_recipe(CATALOGUE, AS_OF, numbers, {}, [tag])
    found: list[Any] = apply_recipe(con, base(users), plan, _score)[tag].to_pylist()
    return found


def spent(last_30: int, last_90: int) -> User:
    return {"net_amount_30d": last_30, "net_amount_90d": last_90}


def rhythm(days_ago: int, gap: float | None, days: int = 3) -> User:
    return {"purchase_days_ever": days, "last_purchase_day": ago(days_ago), "days_between_purchases": gap}


def carted(days_ago: int, bought: int | None = None) -> User:
    return {"last_cart_day": ago(days_ago), "last_purchase_day": None if bought is None else ago(bought)}


CASES: dict[str, list[tuple[User, Any]]] = {
    "spend_trend": [
        ({}, "none"),
        (spent(0, 6_000), "stopped"),
        (spent(6_000, 6_000), "new"),
        (spent(3_000, 7_000), "rising"),
        (spent(3_000, 9_000), "steady"),
        (spent(1_000, 5_000), "falling"),
    ],
    "spend_change_30d": [(spent(3_000, 9_000), 1.0), (spent(3_000, 3_000), None), (spent(0, 4_000), 0.0)],
    "purchase_rhythm": [
        ({}, "unknown"),
        (rhythm(30, 10.0, days=2), "unknown"),
        (rhythm(7, 10.0), "not_due"),
        (rhythm(8, 10.0), "due"),
        (rhythm(15, 10.0), "overdue"),
        (rhythm(30, 10.0), "long_overdue"),
    ],
    "next_purchase_day": [(rhythm(4, 10.4), ago(-6)), (rhythm(4, 10.0, days=2), None), ({}, None)],
    "is_repeat_buyer": [({}, None), ({"purchase_days_ever": 1}, False), ({"purchase_days_ever": 2}, True)],
    "open_cart": [
        ({}, "none"),
        (carted(2), "within_3_days"),
        (carted(3), "within_30_days"),
        (carted(30), "older"),
        (carted(5, bought=9), "within_30_days"),
        (carted(5, bought=5), "none"),
        (carted(5, bought=1), "none"),
    ],
    "open_favourite": [
        ({}, False),
        ({"last_favourite_day": ago(29)}, True),
        ({"last_favourite_day": ago(30)}, False),
        ({"last_favourite_day": ago(3), "last_purchase_day": ago(3)}, False),
        ({"last_favourite_day": ago(3), "last_purchase_day": ago(4)}, True),
    ],
    "unpaid_order_share_365d": [
        ({"placed_orders_365d": 2, "orders_365d": 1}, None),
        ({"placed_orders_365d": 4, "orders_365d": 3}, 0.25),
        # an order seen by its payment only was placed all the same
        ({"placed_orders_365d": 3, "orders_365d": 4}, 0.0),
    ],
    "click_rate_90d": [
        ({"exposures_90d": 9, "clicks_after_exposure_90d": 9}, None),
        ({"exposures_90d": 10, "clicks_after_exposure_90d": 1}, 0.1),
        ({"exposures_90d": 10, "clicks_after_exposure_90d": 12}, 1.0),
    ],
    "activity_trend": [
        ({}, "silent"),
        ({"active_days_60d": 4}, "stopped"),
        ({"active_days_60d": 4, "active_days_30d": 4}, "new"),
        ({"active_days_60d": 7, "active_days_30d": 4}, "steady"),
        ({"active_days_60d": 6, "active_days_30d": 4}, "rising"),
        ({"active_days_60d": 6, "active_days_30d": 2}, "falling"),
    ],
    "days_from_touch_to_purchase": [
        ({"first_seen_day": ago(20)}, None),
        ({"first_seen_day": ago(20), "first_purchase_day": ago(5)}, 15),
    ],
    "days_to_first_purchase": [
        ({"registered_day": ago(9)}, None),
        ({"registered_day": ago(9), "first_purchase_day": ago(9)}, 0),
        ({"registered_day": ago(9), "first_purchase_day": ago(12)}, 0),
    ],
    "first_purchase_speed": [
        ({}, "unknown"),
        ({"is_member": True, "registered_day": ago(9)}, "not_yet"),
        ({"is_member": True, "registered_day": ago(9), "first_purchase_day": ago(2)}, "within_7_days"),
        ({"is_member": True, "registered_day": ago(50), "first_purchase_day": ago(2)}, "later"),
        ({"is_member": True, "first_purchase_day": ago(2)}, "unknown"),
    ],
    "contactability": [
        ({}, "on_site_only"),
        ({"marketing_consent": True, "is_follower": True}, "consent_and_follows"),
        ({"marketing_consent": True, "is_follower": False}, "consent_only"),
        ({"is_follower": True}, "follows_only"),
    ],
    "shopping_place": [
        ({}, "no_purchase"),
        ({"orders_365d": 2, "online_orders_365d": 2}, "online_only"),
        ({"orders_365d": 2, "store_orders_365d": 2}, "store_only"),
        ({"orders_365d": 2, "store_orders_365d": 1, "online_orders_365d": 1}, "both"),
        ({"orders_365d": 2}, "elsewhere"),
    ],
    "store_share_of_orders_365d": [
        ({"orders_365d": 2, "store_orders_365d": 2}, None),
        ({"orders_365d": 4, "store_orders_365d": 1}, 0.25),
    ],
    "repeat_product_share_365d": [
        ({"order_lines_365d": 4, "products_bought_365d": 1}, None),
        ({"order_lines_365d": 5, "products_bought_365d": 4}, 0.2),
    ],
    "influence_direction": [
        ({}, "none"),
        ({"shares_opened_365d": 2, "others_shares_opened_365d": 1}, "influences"),
        ({"shares_opened_365d": 3, "others_shares_opened_365d": 2}, "mutual"),
        ({"shares_opened_365d": 1, "others_shares_opened_365d": 2}, "influenced"),
    ],
    "review_voice": [
        ({}, "silent"),
        ({"reviews_365d": 2}, "supporter"),
        ({"reviews_365d": 3, "critical_reviews_365d": 1}, "mixed"),
        ({"reviews_365d": 2, "critical_reviews_365d": 1}, "critic"),
    ],
    "has_children": [
        ({"baby_days_180d": 2}, "unknown"),
        ({"baby_days_180d": 3}, "children"),
        ({"baby_purchase_days_365d": 2}, "children"),
    ],
    "life_stage": [
        ({}, "unknown"),
        ({"baby_days_180d": 9, "household_size": 1}, "with_children"),
        ({"birth_date": dt.date(1966, 3, 31), "household_size": 2}, "senior"),
        ({"birth_date": dt.date(1966, 4, 1), "household_size": 2}, "couple"),
        ({"household_size": 1}, "single"),
    ],
    "age": [
        ({}, None),
        ({"birth_date": dt.date(1996, 3, 31)}, 30),
        ({"birth_date": dt.date(1996, 4, 1)}, 29),
        ({"birth_date": dt.date(2030, 1, 1)}, None),
    ],
    "age_band": [({}, "unknown"), ({"birth_date": dt.date(1991, 3, 31)}, "35-44"), ({"birth_date": dt.date(2009, 1, 1)}, "under_18")],
    "register_region": [({}, "unknown"), ({"province": "广西壮族自治区"}, "south"), ({"province": "江苏"}, "east"), ({"province": "Hokkaido"}, "unknown")],
    "city_tier": [({}, "unknown"), ({"city": "北京"}, "first"), ({"city": "杭州市"}, "new_first"), ({"city": "大连"}, "other")],
    "profile_completeness": [
        ({}, None),
        ({"is_member": True}, 0.0),
        ({"is_member": True, "gender": "female", "city": "北京", "tier": "银卡会员"}, 0.5),
    ],
}  # fmt: skip


@pytest.mark.parametrize("tag", CASES)
def test_a_tag_says_of_users_written_by_hand(con: duckdb.DuckDBPyConnection, tag: str) -> None:
    users, wanted = zip(*CASES[tag], strict=True)
    assert values(con, tag, list(users)) == list(wanted)


def test_levels_of_spend_follow_the_frozen_cuts(con: duckdb.DuckDBPyConnection) -> None:
    users = [{"purchase_days_365d": 1, "net_amount_365d": n} for n in (100, 101, 201, 301)] + [{}]
    cuts = (100.0, 200.0, 300.0)
    assert values(con, "spend_level", users, spend_cuts=cuts) == [
        "lower_half",
        "middle",
        "top_20",
        "top_5",
        "no_purchase",
    ]
    assert values(con, "spend_level", users) == ["unknown"] * 4 + ["no_purchase"], "nobody was cut yet"


def test_income_is_guessed_from_two_purchase_days_on(con: duckdb.DuckDBPyConnection) -> None:
    users = [{"purchase_days_365d": d, "net_amount_365d": n} for d, n in ((1, 500), (2, 100), (2, 250), (9, 400))]
    found = values(con, "income_level", users, income_spend=(100.0, 200.0, 300.0))
    assert found == ["unknown", "low", "upper_middle", "high"]
