"""Roles of tags: by these code finds a shop's tags, whatever their ids. This is the one list of them.

A tag says ``role: lifecycle`` and is what the product takes for the lifecycle stage: in the report, in insights, on cards,
in ``gap`` and ``flow``. At most one tag has a role. What a role needs of its tag is checked when tags are loaded.
Tags that show a column of a table (``attribute:``) are found by the column and need no role.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from schemas.text import Text


class TagRole(StrEnum):
    """Names of roles, as they stand in ``tags/*.yaml``."""

    RECENCY = "recency"
    FREQUENCY = "frequency"
    MONETARY = "monetary"
    RECENCY_SCORE = "recency_score"
    FREQUENCY_SCORE = "frequency_score"
    MONETARY_SCORE = "monetary_score"
    RFM = "rfm"
    RFM_VALUE = "rfm_value"
    PYRAMID = "pyramid"
    SUPER_USER = "super_user"
    AIPL = "aipl"
    INTERACTIONS = "interactions"
    LIFECYCLE = "lifecycle"
    QUADRANT = "quadrant"
    PROMOTION = "promotion_sensitivity"
    PROMOTION_SCORE = "promotion_score"
    ACTIVITY_LEVEL = "activity_level"
    ENTHUSIASM = "enthusiasm"
    ORDER_WAY = "order_way"


Part = Literal["insights", "report", "card", "gap", "goal"]
"""Who looks tags up by a role."""
WHOLE = ("int32", "int64")


@dataclass(frozen=True)
class RoleEntry:
    """What a role is for, what it needs of its tag, and what goes without where no tag has it.

    ``segmentation``: the tag is one, with at least these ``values``. Otherwise it is a number of one of ``types``, of
    ``unit`` if one is said, and within ``bounds`` if they are.
    """

    name: Text
    means: Text
    without: Text
    used_by: tuple[Part, ...]
    segmentation: bool = True
    values: tuple[str, ...] = ()
    types: tuple[str, ...] = WHOLE
    unit: str | None = None
    bounds: tuple[float, float] | None = None

    @property
    def needs(self) -> Text:
        """What the tag must be, in words."""
        if self.segmentation:
            listed = ", ".join(self.values)
            return Text(
                "分群方案（scheme: true）" + (f"，取值至少有 {listed}" if self.values else ""),
                "a segmentation (scheme: true)" + (f" with at least the values {listed}" if self.values else ""),
            )
        zh, en = ("整数", "a whole number") if self.types == WHOLE else ("数值", "a number")
        if self.unit is not None:
            zh, en = f"{zh}，单位 {self.unit}", f"{en} of unit {self.unit}"
        if self.bounds is not None:
            low, high = self.bounds
            zh, en = f"{zh}，{low:g} 至 {high:g}", f"{en} from {low:g} to {high:g}"
        return Text(zh, en)


_MEANS = Text(
    "各分群方案的净消费、消费占比与 R、F、M 均值",
    "net spend, share of spend and the means of R, F and M of every segmentation",
)
_GRID = Text("RFM 分数格，画像卡上的分数", "the grid of RFM scores, and the score on cards")
_SCORE: tuple[Part, ...] = ("report", "card")

ROLES: dict[TagRole, RoleEntry] = {
    TagRole.RECENCY: RoleEntry(
        Text("近度", "recency"),
        Text("距最近一次购买的天数", "days since the last purchase"),
        _MEANS,
        ("insights", "report"),
        segmentation=False,
        unit="days",
    ),
    TagRole.FREQUENCY: RoleEntry(
        Text("频度", "frequency"),
        Text("一年内的购买天数", "purchase days of a year"),
        Text(_MEANS.zh + "，以及买家数与净消费", _MEANS.en + ", and how many bought and what they spent"),
        ("insights", "report"),
        segmentation=False,
        unit="days",
    ),
    TagRole.MONETARY: RoleEntry(
        Text("金额", "monetary value"),
        Text("一年内的净消费", "net spend of a year"),
        Text(_MEANS.zh + "，消费集中度、买家数与净消费", _MEANS.en + ", how concentrated spend is, how many bought and what they spent"),
        ("insights", "report"),
        segmentation=False,
        unit="minor",
    ),
    TagRole.RECENCY_SCORE: RoleEntry(
        Text("近度分", "recency score"),
        Text("R 分，5 为最近", "the R score, 5 is latest"),
        _GRID,
        _SCORE,
        segmentation=False,
        bounds=(1, 5),
    ),
    TagRole.FREQUENCY_SCORE: RoleEntry(
        Text("频度分", "frequency score"),
        Text("F 分，5 为最多", "the F score, 5 is most often"),
        _GRID,
        _SCORE,
        segmentation=False,
        bounds=(1, 5),
    ),
    TagRole.MONETARY_SCORE: RoleEntry(
        Text("金额分", "monetary score"),
        Text("M 分，5 为最高", "the M score, 5 is most"),
        Text("M 的切分点，画像卡上的分数", "the breaks of M, and the score on cards"),
        _SCORE,
        segmentation=False,
        bounds=(1, 5),
    ),
    TagRole.RFM: RoleEntry(
        Text("RFM 分群", "RFM segments"),
        Text("由三个分数落入的命名分群", "named segments of the three scores"),
        Text("RFM 报告中按分数的分群，画像卡上的分群", "segments by scores in the RFM report, and the segment on cards"),
        _SCORE,
    ),
    TagRole.RFM_VALUE: RoleEntry(
        Text("RFM 价值分群", "RFM value segments"),
        Text("R、F、M 各高于或低于均值的组合", "R, F and M each above or below their means"),
        Text("RFM 报告中按均值的分群，画像卡上的分群", "segments by means in the RFM report, and the segment on cards"),
        (*_SCORE, "goal"),
    ),
    TagRole.PYRAMID: RoleEntry(
        Text("用户金字塔", "user pyramid"),
        Text("用户价值的台阶，由高到低", "the steps of a user's value, from the highest"),
        Text("需求金字塔及其人数", "the needs pyramid and its users"),
        ("insights", "report", "goal"),
    ),
    TagRole.SUPER_USER: RoleEntry(
        Text("超级用户", "super users"),
        Text("消费最多、应有专人维护的用户：取值 super", "who spends most and is looked after in person: the value super"),
        Text("超级用户的人数与消费，FAST 的 S 与 T", "super users and what they spend, S and T of FAST"),
        ("insights", "report"),
        values=("super",),
    ),
    TagRole.AIPL: RoleEntry(
        Text("AIPL 阶段", "AIPL stage"),
        Text("认知、兴趣、购买、忠诚中达到的最高阶段", "the highest stage reached of awareness, interest, purchase and loyalty"),
        Text(
            "AIPL 与 FAST：各阶段人数、转化、资产与基准；huaxiang gap；huaxiang flow 的默认方案",
            "AIPL and FAST: users, conversion, asset value and benchmark by stage; `huaxiang gap`; the default of `huaxiang flow`",
        ),
        ("insights", "report", "gap", "goal"),
        values=("awareness", "interest", "purchase", "loyalty", "none"),
    ),
    TagRole.INTERACTIONS: RoleEntry(
        Text("互动次数", "interactions"),
        Text("近期互动的次数；0 为没有互动", "how often somebody interacted lately; 0 is not at all"),
        Text("FAST 的 S 与 T", "S and T of FAST"),
        ("insights", "report"),
        segmentation=False,
    ),
    TagRole.LIFECYCLE: RoleEntry(
        Text("生命周期", "lifecycle"),
        Text("从潜客到流失的生命周期阶段", "the stage of life from prospect to churned"),
        Text("生命周期各阶段的人数、消费与策略", "users, spend and strategies by lifecycle stage"),
        ("report", "goal"),
    ),
    TagRole.QUADRANT: RoleEntry(
        Text("频次价值象限", "quadrants"),
        Text("频次与消费各高于或低于中位数的组合", "frequency and spend each above or below their medians"),
        Text("象限、转移矩阵与迁移预警", "quadrants, moves between them and the migration alert"),
        ("insights", "report", "goal"),
        values=("rare_low",),
    ),
    TagRole.PROMOTION: RoleEntry(
        Text("促销敏感度", "promotion sensitivity"),
        Text("促销敏感度的分级", "classes of promotion sensitivity"),
        Text("促销敏感度的人数、倍数与策略", "users, ratios and strategies by class of promotion sensitivity"),
        ("insights", "report", "goal"),
    ),
    TagRole.PROMOTION_SCORE: RoleEntry(
        Text("促销敏感度得分", "promotion score"),
        Text("促销敏感度的得分，0 至 1", "the score behind the classes, 0 to 1"),
        Text("各级促销敏感度的平均得分", "the mean score of every class of promotion sensitivity"),
        ("insights", "report"),
        segmentation=False,
        types=(*WHOLE, "float64"),
        bounds=(0, 1),
    ),
    TagRole.ACTIVITY_LEVEL: RoleEntry(
        Text("活跃程度", "level of activity"),
        Text("近期活跃天数的分档", "levels of the days on which somebody was active lately"),
        Text("活动目标（促活、留存）按活跃程度的差距", "gaps by level of activity of `huaxiang campaign plan --goal`"),
        ("goal",),
    ),
    TagRole.ENTHUSIASM: RoleEntry(
        Text("积极程度", "enthusiasm"),
        Text("评价、分享、参团等参与行为的分档", "levels of taking part: reviews, shares, group purchases"),
        Text("活动目标（促活、留存）按积极程度的差距", "gaps by enthusiasm of `huaxiang campaign plan --goal`"),
        ("goal",),
    ),
    TagRole.ORDER_WAY: RoleEntry(
        Text("转化方式", "way of conversion"),
        Text("订单多由什么促成：拼团、分享、优惠券、促销或直接", "how orders mostly come about: group purchase, share, coupon, promotion, directly"),
        Text("活动目标（订单）按转化方式的差距", "gaps by way of conversion of `huaxiang campaign plan --goal`"),
        ("goal",),
    ),
}  # fmt: skip


def no_tag_has(role: TagRole) -> Text:
    """That no tag has a role, what goes without, and how to give it one."""
    entry = ROLES[role]
    return Text(
        f"没有标签担任角色 {role}（{entry.name.zh}），因此没有：{entry.without.zh}。"
        f"在 tags/*.yaml 里给{entry.means.zh}的那个标签写上 role: {role}（要求：{entry.needs.zh}）。",
        f"No tag has the role {role} ({entry.name.en}), so there is nothing of: {entry.without.en}. "
        f"Give it to the tag that holds {entry.means.en}: `role: {role}` in tags/*.yaml (it must be {entry.needs.en}).",
    )


def used_by(part: Part) -> list[TagRole]:
    """Roles that a part of the product looks tags up by."""
    return [role for role, entry in ROLES.items() if part in entry.used_by]


def in_short(roles: Iterable[TagRole]) -> list[str]:
    """One line that no tag has these roles, for who only has to say that it is so; none for none."""
    listed = ", ".join(f"{role} ({ROLES[role].name.zh} {ROLES[role].name.en})" for role in roles)
    if not listed:
        return []
    return [
        f"no tag has a role that something here needs: {listed}; `huaxiang tag check` says what goes without and how to give it"
    ]
