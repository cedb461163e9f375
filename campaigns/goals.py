"""What a campaign can be for (促活, 留存, 订单, 客单, 流水): the metric of each goal, where to look, and what a shop is short of.

The goal comes first, for the action differs by it. A metric is an amount over a base, both sums over users, so that a change
of it can be taken apart by segments without a rest (Kitagawa, "Components of a difference between two rates", JASA 50, 1955).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from schemas.behaviours import BROWSE
from schemas.tag_roles import TagRole
from schemas.text import Text

GoalName = Literal["activity", "retention", "orders", "basket", "money"]
Counts = Literal["active", "active_before", "orders", "net_amount", "users"]
"""Of a user over a period: 1 if active in it; 1 if active in the period before it; valid orders; net money; 1."""
ACTIVE: tuple[str, ...] = (*(b for b in BROWSE if b not in ("exposure", "register")), "share", "order", "pay")
"""What a user does: an exposure happens to them, and registering happens once."""


@dataclass(frozen=True)
class GoalKind:
    """One goal: its metric is the sum of ``amounts`` over the sum of ``bases``; an amount of several counts who has all of them.

    ``unit`` is what amounts are counted in; ``roles`` are the segmentations to look at, the first tells most.
    """

    name: Text
    metric: Text
    definition: Text
    unit: Text
    amounts: tuple[Counts, ...]
    bases: Counts
    roles: tuple[TagRole, ...]

    @property
    def is_money(self) -> bool:
        return "net_amount" in self.amounts

    @property
    def is_share(self) -> bool:
        """The metric lies between 0 and 1."""
        return "active" in self.amounts


GOALS: dict[GoalName, GoalKind] = {
    "activity": GoalKind(
        Text("促活", "activity"),
        Text("活跃率", "share of users who are active"),
        Text(
            "期内至少有一天有点击、浏览、搜索、收藏、加购、试用、视频、直播、参团、评价、分享、下单或付款的用户，占全部用户",
            "users with at least one day on which they clicked, viewed, searched, kept a favourite, filled a cart, took a sample, "
            "watched a video or live show, joined a group, reviewed, shared, ordered or paid, of all users",
        ),
        Text("活跃用户", "active users"),
        ("active",),
        "users",
        (TagRole.ACTIVITY_LEVEL, TagRole.ENTHUSIASM, TagRole.LIFECYCLE),
    ),
    "retention": GoalKind(
        Text("留存", "retention"),
        Text("留存率", "retention"),
        Text(
            "上一个等长时期内活跃的用户中，本期仍活跃的占比（活跃的定义同促活）",
            "of the users who were active in the period of the same length before, the share who were active again (active as under activity)",
        ),
        Text("留存用户", "users who stayed"),
        ("active", "active_before"),
        "active_before",
        (TagRole.LIFECYCLE, TagRole.ENTHUSIASM, TagRole.ACTIVITY_LEVEL),
    ),
    "orders": GoalKind(
        Text("订单", "orders"),
        Text("人均订单数", "orders a user"),
        Text("期内有效订单数，除以全部用户数", "valid orders of the period over all users"),
        Text("订单", "orders"),
        ("orders",),
        "users",
        (TagRole.AIPL, TagRole.LIFECYCLE, TagRole.PROMOTION, TagRole.ORDER_WAY),
    ),
    "basket": GoalKind(
        Text("客单", "basket"),
        Text("每单净额", "net money an order"),
        Text("期内有效订单的净额（扣除这些订单的退款），除以有效订单数", "net money of the period's valid orders, less refunds of them, over these orders"),
        Text("金额", "money"),
        ("net_amount",),
        "orders",
        (TagRole.QUADRANT, TagRole.PROMOTION, TagRole.RFM_VALUE),
    ),
    "money": GoalKind(
        Text("流水", "money"),
        Text("人均净成交额", "net money a user"),
        Text("期内有效订单的净额（扣除这些订单的退款），除以全部用户数", "net money of the period's valid orders, less refunds of them, over all users"),
        Text("金额", "money"),
        ("net_amount",),
        "users",
        (TagRole.AIPL, TagRole.RFM_VALUE, TagRole.PYRAMID),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class MetricPart:
    """Users of a segment (or of all) on a day, and over a period that ends on it the amount and base of the metric."""

    users: int
    amount: int
    base: int

    def __add__(self, other: MetricPart) -> MetricPart:
        return MetricPart(self.users + other.users, self.amount + other.amount, self.base + other.base)

    @property
    def value(self) -> float | None:
        """The metric; None of no base."""
        return self.amount / self.base if self.base else None


NO_PART = MetricPart(0, 0, 0)


@dataclass(frozen=True)
class Contribution:
    """What a segment brings more (below 0: less) than a reference, in units of the amount.

    ``by_value``: since its users do more or less than then; ``by_share``: since more or fewer stand in it.
    """

    by_value: float
    by_share: float

    @property
    def whole(self) -> float:
        return self.by_value + self.by_share


def whole_of(parts: Mapping[str, MetricPart]) -> MetricPart:
    """All segments of a segmentation."""
    return sum(parts.values(), NO_PART)


def contributions(now: Mapping[str, MetricPart], then: Mapping[str, MetricPart]) -> dict[str, Contribution]:
    """By segment what it brings more than then; their sum is what all bring more than at the metric of then.

    A segment's share is that of the base. Being in it counts by how far its metric of then lay from that of all; a segment
    without base on one side has its metric of the other. Empty where one of the two days has no base at all.
    """
    of_all, of_then = whole_of(now), whole_of(then)
    was = of_then.value
    if not of_all.base or was is None:
        return {}
    found = {}
    for segment in dict.fromkeys((*now, *then)):
        mine, before = now.get(segment, NO_PART), then.get(segment, NO_PART)
        share, share_then = mine.base / of_all.base, before.base / of_then.base
        value, value_then = mine.value, before.value
        if value is None or value_then is None:
            value = value_then = next((v for v in (value, value_then) if v is not None), was)
        found[segment] = Contribution(
            of_all.base * share * (value - value_then), of_all.base * (share - share_then) * (value_then - was)
        )
    return found


def contributions_to_shares(now: Mapping[str, MetricPart], shares: Mapping[str, float]) -> dict[str, Contribution]:
    """By segment what it brings more than if users were shared out as in a benchmark, each segment with what its users bring.

    Empty without users; a segment in which nobody stands is left out, for what its users would bring is not known.
    """
    of_all = whole_of(now)
    if not of_all.users:
        return {}
    usual = of_all.amount / of_all.users
    return {
        s: Contribution(0.0, of_all.users * (p.users / of_all.users - shares[s]) * (p.amount / p.users - usual))
        for s, p in now.items()
        if p.users and s in shares
    }


def where_it_can_be_closed(
    segment: str, change: Contribution, now: Mapping[str, MetricPart], shares: Mapping[str, float]
) -> tuple[str, ...]:
    """Segments whose users can close a segment's gap.

    Its own, where they do less than then or too many stand in it. Where too few stand in it, those of lower metric in which
    more stand than in the reference (``shares`` of users), the worst first; its own again where there is none.
    """
    users = whole_of(now).users
    mine = now.get(segment, NO_PART)
    if not users or change.by_value <= change.by_share or mine.users / users >= shares.get(segment, 0.0):
        return (segment,)
    level = _per_user(mine)
    others = [
        s
        for s, p in now.items()
        if s != segment and p.users / users > shares.get(s, 0.0) and (level is None or (_per_user(p) or 0.0) < level)
    ]
    return tuple(sorted(others, key=lambda s: (_per_user(now[s]) or 0.0, s))) or (segment,)


def _per_user(part: MetricPart) -> float | None:
    return part.amount / part.users if part.users else None
