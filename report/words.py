"""Words of the page in both languages: names of figures, states and verdicts, and of what surrounds them.

A value of a tag is named by the catalogue; here is what no catalogue names. An unknown name is shown as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from report.blocks import same
from schemas.contracts import feeds
from schemas.money import major
from schemas.text import Text

if TYPE_CHECKING:
    from features.catalogue import Catalogue
    from features.tags import Tag

KINDS = {
    "static": Text("静态", "static"),
    "semi_dynamic": Text("半动态", "semi-dynamic"),
    "dynamic": Text("动态", "dynamic"),
}
METHODS = {"fact": Text("统计", "fact"), "rule": Text("规则", "rule"), "model": Text("模型", "model")}
VERDICTS = {
    "first": Text("首次", "first run"),
    "no_reference": Text("尚无参照", "no reference yet"),
    "stable": Text("稳定", "stable"),
    "watch": Text("关注", "watch"),
    "act": Text("需处理", "act"),
}
GROUPS = {
    "基本信息": "Basics",
    "人口信息": "demographics",
    "社会学信息": "social background",
    "会员特征": "Membership",
    "会员类型": "member type",
    "会员寿命": "member life",
    "会员信息": "member record",
    "消费特征": "Spending",
    "消费总规模": "total spend",
    "交叉消费": "cross-purchase",
    "消费能力和频次": "means and frequency",
    "活动偏好": "promotion preference",
    "活跃特征": "Activity",
    "线上活跃": "online",
    "线下活跃": "offline",
    "社交特征": "Social",
    "分享": "sharing",
    "裂变": "fission",
    "社群角色": "community role",
    "临时标签": "Temporary",
    "触达": "reach",
    "粘性": "stickiness",
    "转化": "conversion",
}
NAMES = {
    "NEW": Text("新进入", "New to the base"),
    "LOST": Text("离开", "Left the base"),
    "unknown": Text("未知", "Unknown"),
    "none": Text("无", "None"),
    "true": Text("是", "yes"),
    "false": Text("否", "no"),
    "total": Text("合计", "Total"),
    "buyers": Text("买家", "Buyers"),
    "everybody": Text("全部用户", "Everybody"),
    "members": Text("会员", "Members"),
    "visitors": Text("访客", "Visitors"),
    "with_flagged": Text("含可疑订单", "With flagged orders"),
    "without_flagged": Text("不含可疑订单", "Without flagged orders"),
    "difference": Text("差额", "Difference"),
    "fertility": Text("F 可运营人数", "F fertility"),
    "fertility_excess": Text("F 较上期增减", "F against last period"),
    "advancing": Text("A 递进率", "A advancing"),
    "superiority": Text("S 超级用户数", "S super users"),
    "thriving": Text("T 超级用户活跃率", "T thriving"),
    "moving_to_rare_low": Text("向低频低价迁移", "Moving to rare, low value"),
    "first": Text("带来了人", "Brought the person"),
    "repeated": Text("此前已有别的触达", "After another touch of the person"),
    "self_invite": Text("自我邀请", "Invited oneself"),
    "cycle": Text("成环", "Would close a circle"),
    "late": Text("加入之后才触达", "Provably after joining"),
    "waiting": Text("尚未加入", "Has not joined"),
    "no_sharer": Text("分享者未知", "Sharer not known"),
    "share_open": Text("打开分享", "Opened a share"),
    "join_group": Text("经人入团", "Joined a group"),
    "register": Text("注册注明", "Registration names it"),
    "inviter": Text("会员资料注明", "Member record names it"),
    "won": Text("已加入的人（裂变树）", "Those won (share trees)"),
    "reached": Text("全部触达的人（触达树）", "All reached (reach trees)"),
    "activity": Text("活动裂变", "Activity (group buy, bargain)"),
    "distribution": Text("分销裂变", "Distribution"),
    "membership": Text("会员邀请裂变", "Member invite"),
    "connector": Text("联络员", "Connector"),
    "maven": Text("内行", "Maven"),
    "salesman": Text("推销员", "Salesman"),
    "honeycomb": Text("蜂窝", "Honeycomb"),
    "umbrella": Text("伞形", "Umbrella"),
    "tower": Text("塔形", "Tower"),
    "mixed": Text("混合", "Mixed"),
    "app": Text("APP", "app"),
    "mini_program": Text("小程序", "mini program"),
    "h5": Text("H5 网页", "mobile web (H5)"),
    "pc": Text("电脑网页", "desktop web"),
    "store": Text("门店", "store"),
    "share": Text("实际占比", "Share that moved"),
    "mean": Text("此前各期均值", "Mean of the periods before"),
    "upper": Text("控制上限", "Upper limit"),
}
METHODS_OF_CREDIT = {
    "first": Text("首次", "First"),
    "last": Text("末次", "Last"),
    "linear": Text("平均", "Linear"),
    "time_decay": Text("时间衰减", "Time decay"),
    "position": Text("位置", "Position"),
    "markov": Text("马尔可夫", "Markov"),
}
"""Ways in which orders are credited to touches (``campaigns.attribution.METHODS``)."""
FEEDS = {c.table: Text(c.label["zh"], c.label["en"]) for c in feeds()}
"""Feeds, by the name of their mapping."""
ID_KINDS = {
    "member": Text("会员号", "Member id"),
    "phone": Text("手机号", "Phone"),
    "unionid": Text("微信 UnionID", "WeChat UnionID"),
    "openid": Text("微信 OpenID", "WeChat OpenID"),
    "email": Text("邮箱", "E-mail"),
    "device": Text("设备号", "Device"),
    "cookie": Text("浏览器 Cookie", "Browser cookie"),
    "guest": Text("游客号", "Guest id"),
}
SIGNALS = {
    "shared_address": Text("同一地址集中下单", "Burst from one address"),
    "shared_device": Text("同一设备集中下单", "Burst from one device"),
    "shared_ip": Text("同一 IP 集中下单", "Burst from one IP"),
    "one_seller": Text("只在一家反复购买", "Repeat buying from one seller only"),
    "no_browse": Text("付款前没有浏览", "No browse before pay"),
    "quick_pay": Text("下单后数秒付款", "Paid within seconds"),
    "price_outlier": Text("价格异常", "Price outlier"),
    "reciprocal": Text("买卖双方互相分享", "Buyer and seller share with each other"),
}
"""Signals of brushing."""
ALERT_REASONS = {
    "no_earlier_day": Text("没有一个周期之前的画像可比", "no profile of a period before to compare with"),
    "refitted": Text(
        "切分点在期间重估，两日不可比", "the cuts were made anew in between, so the days cannot be compared"
    ),
    "few_users": Text("期初人数太少，不判断", "too few users at the start to judge"),
    "few_periods": Text("历史期数不足，还没有上限", "too few periods for a limit yet"),
    "within_limit": Text("在上限之内", "within the limit"),
    "above_limit": Text("超过上限", "above the limit"),
}
NO_CUT = {
    "few_cases": Text("样本太少", "too few cases"),
    "short_history": Text("历史太短", "history too short"),
    "few_points": Text("曲线的点太少", "too few points on the curve"),
    "straight": Text("曲线近于直线，没有拐点", "the curve runs straight, without a knee"),
    "exponential": Text("曲线均匀趋缓，没有拐点", "the curve levels off evenly, without a knee"),
    "unstable": Text("弯折可能出于偶然", "the bend may be chance"),
}
"""Why a curve gives no number."""
BASES = {
    "curve": Text("本店曲线", "the shop's curve"),
    "at_horizon": Text("由期限决定", "decided by the horizon"),
    "at_end": Text("由历史长度决定", "decided by the end of the history"),
    "users": Text("本店用户", "the shop's users"),
    "convention": Text("约定", "convention"),
    **{f"default_{why}": Text("默认：", "default: ") + said for why, said in NO_CUT.items()},
}
"""What a frozen number rests on (``models.lifecycle.Basis``)."""
AFTER = {"month": Text(" 月", ""), "hour": Text(" 时", ":00")}
"""What a number of a unit is followed by where the name of the tag alone would leave it bare."""
INTERVAL = re.compile(r"[\[(](-?[\d.]+), (-?[\d.]+)[\])]")
LEVELS = {"dormant": Text("沉睡", "dormant"), "churned": Text("流失", "churned")}


class Vocabulary:
    """Names of tags and of their values, from the shop's catalogue."""

    def __init__(self, catalogue: Catalogue):
        self.tags = catalogue.tags

    def tag(self, name: str) -> Text:
        found = self.tags.get(name)
        return same(name) if found is None else Text(found.name.zh, found.name.en)

    def described(self, name: str) -> Text:
        """What the shop's own catalogue says of a tag; nothing of one that it has not."""
        found = self.tags.get(name)
        return Text("", "") if found is None else Text(found.description.zh, found.description.en)

    def value(self, tag: str, value: str | None) -> Text:
        """A value as people read it: its label, else a word known here, else as it is stored."""
        if value is None:
            return NAMES["unknown"]
        found = self.tags.get(tag)
        if found is not None and value in found.labels:
            return Text(found.labels[value].zh, found.labels[value].en)
        return NAMES.get(value, same(value))

    def of_column(self, value: str, *columns: str) -> Text:
        """A value of a table's column, by the label of a tag that shows one of these, or else of any segmentation."""
        showing = (t for c in columns for t in self.tags.values() if t.attribute == c)
        for tag in (*showing, *(t for t in self.tags.values() if t.scheme)):
            if value in tag.labels:
                return Text(tag.labels[value].zh, tag.labels[value].en)
        return NAMES.get(value, same(value))

    def order(self, tag: str, *, there: Mapping[str, object] | None = None) -> list[str]:
        """The tag's values in declared order, then what else is there."""
        found = self.tags.get(tag)
        declared = list(found.finite or ()) if found is not None else []
        return declared + sorted(v for v in there or {} if v not in declared)

    def said(self, tag: str, value: str, what: str = "strategies") -> Text | None:
        """What the owner declared for a value: ``strategies``, ``needs`` or ``resources``."""
        found = getattr(self.tags.get(tag), what, None) or {}
        text = found.get(value)
        return None if text is None else Text(text.zh, text.en)


def interval(tag: Tag, written: str, currency: str) -> Text | None:
    """A bin of numbers or days (``features.quality``) as people say it; None where it says nothing (thousands of years)."""
    if tag.unit == "year":
        return None
    found = INTERVAL.fullmatch(written)
    low, high = (float(found[1]), float(found[2])) if found else (_number(written), None)
    if low is None:
        return same(written)
    if tag.type == "date":
        return _days_ago(int(low), None if high is None else int(high))
    if tag.type.startswith("int") and tag.unit != "minor" and high is not None:
        low, high = (low, high - 1) if low >= 0 else (low + 1, high)
    least, most = tag.bounds
    if high is not None and low < high:
        low = low if least is None else min(high, max(low, float(least)))
        high = high if most is None else max(low, min(high, float(most)))
    sign = ">= " if written.startswith(">=") else "<= " if written.startswith("<=") else ""
    ends = [_said(tag, n, currency) for n in dict.fromkeys((low, low if high is None else high))]
    after = same(f" {currency}") if tag.unit == "minor" else AFTER.get(tag.unit or "", same(""))
    return same(sign + "–".join(ends)) + after


def _number(text: str) -> float | None:
    try:
        return float(text.removeprefix(">= ").removeprefix("<= "))
    except ValueError:
        return None


def _said(tag: Tag, n: float, currency: str) -> str:
    if tag.unit == "share":
        return f"{n * 100:g}%"
    return f"{major(n, currency) if tag.unit == 'minor' else n:,.10f}".rstrip("0").rstrip(".")


def _days_ago(low: int, high: int | None) -> Text:
    if high is None and low == 0:
        return Text("当天", "the same day")
    if high is not None and high <= 0:
        ahead = str(-high) if high - low == 1 else f"{-high}–{-low - 1}"
        return Text(f"{ahead} 天后", f"in {ahead} day{'' if ahead == '1' else 's'}")
    days = str(low) if high is None or high - low == 1 else f"{low}–{high - 1}"
    return Text(f"{days} 天前", f"{days} day{'' if days == '1' else 's'} ago")


def group_name(path: tuple[str, ...]) -> Text:
    """The two upper levels of a tag's path."""
    return Text(" / ".join(path[:2]), " / ".join(GROUPS.get(p, p) for p in path[:2]))
