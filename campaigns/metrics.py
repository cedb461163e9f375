"""What a stage of a campaign is measured by: a figure of the people assigned to it, over the stage's own days."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """One figure: users who did one of the behaviours, or the orders or money of their valid orders."""

    zh: str
    en: str
    behaviours: tuple[str, ...]
    counts: Literal["users", "orders", "net_amount"] = "users"


METRICS: dict[str, Metric] = {
    "aware_users": Metric(
        "触达认知人数", "people who became aware", ("exposure", "click", "view", "share_open", "video", "live")
    ),
    "interested_users": Metric(
        "产生兴趣人数",
        "people who showed interest",
        ("search", "favourite", "cart", "sample", "share", "join_group", "register"),
    ),
    "cart_users": Metric("加购人数", "people with something in the cart", ("cart",)),
    "favourite_users": Metric("收藏人数", "people with a favourite", ("favourite",)),
    "sharing_users": Metric("分享人数", "people who shared", ("share",)),
    "reviewing_users": Metric("评价人数", "people who wrote a review", ("review",)),
    "buyers": Metric("购买人数", "buyers", ("pay",)),
    "orders": Metric("订单数", "orders", ("pay",), "orders"),
    "net_amount": Metric("净成交额", "net money", ("pay",), "net_amount"),
}
"""Name -> metric. Money and orders are those of valid orders, less what was given back (definitions.md, section 0)."""
