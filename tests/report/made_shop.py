"""A hand-made lake that has something for every part of the report, with hostile names where a shop gives them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from lake.releases import RELEASED_LAYERS, Release, write_release
from project.folder import Project
from tests.audiences.lake_shop import EARLY, UTC, Shop, silver
from tests.renamed import PREFIX, ids
from tests.renamed import renamed as rename

D = date(2026, 3, 10)
BEFORE = D - timedelta(days=1)
HOSTILE = "</script><script>window.broken=1</script><b>&\"'"
HOSTILE_CATEGORY = "<img src=x onerror=window.broken=2>"
AIPL = ("loyalty", "purchase", "interest", "awareness", "none")
SCHEMES: dict[str, tuple[tuple[str, ...], tuple[str, str]]] = {
    "rfm_segment": (("champions", "loyal", "at_risk", "lost", "no_purchase"), ("消费特征", "消费能力和频次")),
    "rfm_value_segment": (("important_value", "general_retain", "no_purchase"), ("消费特征", "消费能力和频次")),
    "user_pyramid": (("spokesperson", "repeat", "first_purchase", "follower"), ("会员特征", "会员类型")),
    "super_user": (("super", "ordinary"), ("会员特征", "会员类型")),
    "aipl_stage": (AIPL, ("临时标签", "转化")),
    "lifecycle": (("prospect", "new", "growing", "mature", "dormant", "churned"), ("会员特征", "会员寿命")),
    "quadrant": (
        ("frequent_high", "frequent_low", "rare_high", "rare_low", "no_purchase"),
        ("消费特征", "消费能力和频次"),
    ),
    "promotion_class": (("fanatic", "sensitive", "neutral", "cold", "insufficient"), ("消费特征", "活动偏好")),
    "value_layer": (("bronze", "silver", "gold"), ("会员特征", "会员类型")),
}
CAMPAIGN = f"""
name: {{zh: '春季{HOSTILE.replace("'", "''")}', en: 'Spring {HOSTILE.replace("'", "''")}'}}
description: {{zh: 春天的活动, en: The campaign of spring}}
owner: crm
goal: {{money: 1000}}
d_day: {D - timedelta(3)}
arms: {{coupon: {{name: {{zh: 优惠券, en: Coupon}}}}, message: {{}}}}
holdout: 0.3
window_days: 15
stages:
  harvest:
    audiences: [regulars]
    channels: [app]
    content: {{regulars: {{zh: 下单, en: Buy}}}}
    budget: 500
    metrics: [{{metric: buyers, target: 40}}, {{metric: net_amount, target: 900}}]
  nurture:
    audiences: [regulars]
    channels: [wechat]
    content: {{regulars: {{zh: 复购, en: Come back}}}}
    metrics: [{{metric: reviewing_users, target: 10}}]
"""
GIVEN = D - timedelta(days=20)
ARMS = ("holdout", "coupon", "message")
ZH = {v: f"{i}号" for i, v in enumerate(dict.fromkeys(v for values, _ in SCHEMES.values() for v in values), 1)}
NUMBERS = {
    "net_amount_365d": "minor",
    "purchase_days_365d": "days",
    "days_since_last_purchase": "days",
    "rfm_recency": "score",
    "rfm_frequency": "score",
    "rfm_monetary": "score",
}
ROLES = {
    "net_amount_365d": "monetary",
    "purchase_days_365d": "frequency",
    "days_since_last_purchase": "recency",
    "rfm_recency": "recency_score",
    "rfm_frequency": "frequency_score",
    "rfm_monetary": "monetary_score",
    "rfm_segment": "rfm",
    "rfm_value_segment": "rfm_value",
    "user_pyramid": "pyramid",
    "super_user": "super_user",
    "aipl_stage": "aipl",
    "lifecycle": "lifecycle",
    "quadrant": "quadrant",
    "promotion_class": "promotion_sensitivity",
}
BREAKS = {"rfm_recency": "days_since_last_purchase", "rfm_monetary": "net_amount_365d"}
"""Breaks of two scores, and what they are breaks of."""


def names(zh: str, en: str) -> dict[str, str]:
    return {"zh": zh, "en": en}


def catalogue() -> dict[str, Any]:
    """A catalogue whose tags are all plain attributes: the profile's values are put in by hand."""
    tags: list[dict[str, Any]] = [
        {
            "id": "register_city",
            "name": names(f"城市{HOSTILE}", f"City {HOSTILE}"),
            "path": ["基本信息", "人口信息", "城市"],
            "type": "string",
            "values": {"from": "members.city"},
            "attribute": "city",
        }
    ]
    paid = {"from": ["pay"], "measure": "amount", "agg": "sum", "window": 90}
    tags.append(
        {
            "id": "paid_amount_90d",
            "name": names("近90天消费", "Paid in 90 days"),
            "path": ["消费特征", "消费总规模", "金额"],
            "type": "int64",
            "unit": "minor",
            "values": {"min": 0},
            "window": 90,
            "empty": 0,
            "fact": paid,
        }
    )
    for name, unit in NUMBERS.items():
        path = ["消费特征", "消费能力和频次", "数"]
        number = {"type": "int64", "unit": unit, "values": {"min": 1, "max": 5} if unit == "score" else {"min": 0}}
        tags.append({"id": name, "name": names(f"数 {name}", f"Number {name}"), "path": path, **number})
        made = f"1 + breaks_below({BREAKS[name]}, '{name}')" if name in BREAKS else "1"
        tags[-1] |= {"method": "rule", "expression": f"case when is_member then {made} end"}
    for name, (values, path) in SCHEMES.items():
        of = {v: names(f"{ZH[v]}类", v.replace("_", " ").capitalize()) for v in values}
        said = {v: names(f"对{ZH[v]}的策略", f"Strategy for {v}") for v in values}
        tag = {"id": name, "name": names(f"方案 {name}", f"Scheme {name}"), "path": [*path, name], "type": "string"}
        tag |= {"values": list(values), "scheme": True, "labels": of, "strategies": said, "method": "rule"}
        tag |= {"rules": [{"when": "is_member", "value": values[0]}], "else": values[-1], "empty": values[-1]}
        if name == "user_pyramid":
            tag["needs"] = {v: names(f"{ZH[v]}的需求", f"What {v} needs") for v in values}
            tag["resources"] = {v: names(f"{ZH[v]}的资源", f"What goes into {v}") for v in values}
        tags.append(tag)
    for t in tags:
        t["description"] = names("说明", "Description")
        if t["id"] in ROLES:
            t["role"] = ROLES[t["id"]]
    common = {"owner": "crm", "refresh": "daily", "version": 1, "kind": "dynamic", "method": "fact"}
    breaks = {n: {"of": of, "quantiles": [0.2, 0.4, 0.6, 0.8]} for n, of in BREAKS.items()}
    return {"defaults": {**common, "sources": ["members"], "empty": "unknown"}, "breaks": breaks, "tags": tags}


def person(uid: int, draw: random.Random) -> dict[str, Any]:
    """One row of the profile; every fifth is a visitor."""
    days = draw.choice([0, 0, 1, 1, 2, 3, 5, 9])
    row: dict[str, Any] = {"uid": uid, "bucket": 0, "user_id": f"u{uid:06d}", "is_member": uid % 5 != 0}
    row |= {name: draw.choice(values) for name, (values, _) in SCHEMES.items()}
    row |= {"register_city": draw.choice(["北京", "上海", HOSTILE, None]), "purchase_days_365d": days}
    row["net_amount_365d"] = 0 if not days else draw.randint(1, 9_000) * 100
    row["days_since_last_purchase"] = draw.randint(0, 300) if days else None
    for score in ("rfm_recency", "rfm_frequency", "rfm_monetary"):
        row[score] = draw.randint(1, 5) if days else None
    return row


def figures() -> list[dict[str, Any]]:
    """Figures under the names of every topic."""
    found: list[dict[str, Any]] = []

    def put(topic: str, figure: str, items: dict[str, float | None], sample: int | None = 300, **more: Any) -> None:
        for item, number in items.items():
            row = {"as_of": D, "topic": topic, "figure": figure, "item": item, "number": number}
            found.append({**row, "sample_users": sample, **more})

    cuts = {"dormant/1": 72.0, "dormant/2": 51.0, "churned/1": 140.0, "churned/2": 96.0, "recovery": 118.0}
    put("lifecycle", "cut", {**cuts, "purchase_days/1": 1.0, "purchase_days/2": 2.0, "purchase_days/3": 7.0})
    moves = {"frequent_high>rare_low": 21.0, "rare_low>rare_low": 60.0, "NEW>rare_low": 5.0, "rare_high>LOST": 2.0}
    put("migration", "transition", moves)
    stages = dict(zip(AIPL, (20.0, 50.0, 60.0, 100.0, 70.0), strict=True))
    put("aipl", "users", stages)
    put("aipl", "share", {k: v / 300 for k, v in stages.items()})
    put("aipl", "conversion", {k: 0.4 / (i + 1) for i, k in enumerate(AIPL)}, low=0.05, high=0.5)
    put("aipl", "orders_per_buyer", dict.fromkeys(AIPL, 1.3))
    put("aipl", "order_value_minor", dict.fromkeys(AIPL, 12_345.0))
    put("aipl", "asset_value_minor", {**dict.fromkeys(AIPL, 250_000.0), "total": 1_250_000.0})
    fast = {"fertility": 230.0, "fertility_excess": 12.0, "advancing": 0.043, "superiority": 21.0, "thriving": 0.71}
    put("aipl", "fast", fast)
    put("aipl", "benchmark_share", dict.fromkeys(AIPL, 0.2))
    put("aipl", "benchmark_gap", {k: v / 300 - 0.2 for k, v in stages.items()})
    for layer, sign in (("bronze", -1), ("silver", 0.1), ("gold", 1)):
        inputs = {"net_amount_365d": 0.2 * sign, "purchase_days_365d": 0.1 * sign}
        put("layering", "contribution", {f"value_layer/{layer}/{i}": x for i, x in inputs.items()})
        put("layering", "layer_users", {f"value_layer/{layer}": 100.0})
    put("layering", "weight", {"value_layer/net_amount_365d": 0.6, "value_layer/purchase_days_365d": 0.4})
    classes = SCHEMES["promotion_class"][0]
    put("promotion", "users", dict(zip(classes, (30.0, 50.0, 60.0, 20.0, 140.0), strict=True)))
    for ratio in ("promotion_order_ratio", "discount_depth_ratio", "discount_amount_ratio", "score"):
        put("promotion", ratio, {k: 1.6 - 0.4 * i for i, k in enumerate(classes[:4])} | {"insufficient": None})
    put("value", "gini", {"buyers": 0.52, "everybody": 0.71})
    tops = {"1%": 0.09, "10%": 0.41, "20%": 0.6}
    put("value", "top_share", {f"{base}/{k}": v for base in ("buyers", "everybody") for k, v in tops.items()})
    put("fission", "users_at_level", {"0": 40.0, "1": 90.0, "2": 50.0, "3": 20.0, "10": 1.0})
    put("fission", "share_levels_1_3", {"": 0.97})
    put("fission", "touches", {"first": 161.0, "self_invite": 3.0, "cycle": 1.0, "late": 12.0, "waiting": 40.0})
    put("fission", "users_by_kind", {"activity": 80.0, "distribution": 30.0, "membership": 51.0})
    put("fission", "users_by_role", {"connector": 12.0, "maven": 7.0, "salesman": 5.0})
    put("fission", "seed_users", {"": 4.0})
    put("fission", "k_factor", {"": 0.31})
    put("fission", "cycle_hours", {"": 26.4})
    put("fission", "distributors", {"1": 9.0, "2": 3.0})
    put("fission", "turned_self_buyer", {"": 2.0})
    put("brushing", "flagged_orders", {"": 40.0})
    put("brushing", "flagged_users", {"": 11.0})
    for figure, number in (("orders", 900.0), ("buyers", 210.0), ("net_amount_minor", 9e6), ("mean_order_minor", 1e4)):
        views = {"with_flagged": number, "without_flagged": number * 0.95, "difference": number * 0.05}
        put("brushing", figure, views)
    put(
        "brushing",
        "flags_by_reason",
        {"no_browse": 30.0, "shared_device": 21.0, "quick_pay": 9.0, "something_else": 4.0},
    )
    for scheme, (values, _) in SCHEMES.items():
        for i, v in enumerate(values):
            item = f"{scheme}/{v}"
            put("segments", "users", {item: 300.0 / len(values)})
            put("segments", "users_share", {item: 1 / len(values)})
            put("segments", "net_amount_minor", {item: 1e6 / (i + 1)})
            put("segments", "amount_share", {item: 0.5 / (i + 1)})
            put("segments", "mean_recency_days", {item: 20.0 + 30 * i})
            put("segments", "mean_frequency_days", {item: 5.0 / (i + 1)})
            put("segments", "mean_monetary_minor", {item: 90_000.0 / (i + 1)})
    return found


def curves() -> list[dict[str, Any]]:
    """Points under the names of every curve."""
    found: list[dict[str, Any]] = []

    def put(curve: str, series: str, points: list[tuple[float, float]], spread: float | None = None) -> None:
        for x, y in points:
            row: dict[str, Any] = {
                "as_of": D,
                "curve": curve,
                "series": series,
                "x": float(x),
                "y": y,
                "sample_users": 200,
            }
            if spread is not None:
                row |= {"low": max(y - spread, 0.0), "high": y + spread}
            found.append(row)

    put("repurchase", "", [(n, 1 - 0.75 / n) for n in range(1, 11)], spread=0.05)
    for i, series in enumerate(("1", "2", "3-7", "8+")):
        put("purchase_gap", series, [(t, 1 - 0.985 ** (t * (1 + i * 0.6))) for t in range(0, 366, 5)])
    put("recovery", "", [(t, 0.6 * 0.99**t) for t in range(0, 366, 5)], spread=0.03)
    for series, base in (("share", 0.03), ("mean", 0.028), ("upper", 0.05)):
        wobble = (0.01, -0.006, 0.003) if series == "share" else (0.0,)
        put("quadrant_drift", series, [(-7 * k, base + wobble[k % len(wobble)]) for k in range(13)])
    put("lorenz", "buyers", [(i / 100, (i / 100) ** 2.6) for i in range(101)])
    put("lorenz", "everybody", [(i / 100, (i / 100) ** 4) for i in range(101)])
    put("growth_by_level", "activity", [(1, 60), (2, 20), (3, 5)])
    put("growth_by_level", "membership", [(1, 30), (2, 30), (3, 15)])
    return found


def flow_rows() -> list[dict[str, Any]]:
    found = []
    for scheme, (values, _) in SCHEMES.items():
        for i, a in enumerate(values):
            row = {"as_of": D, "from_as_of": BEFORE, "scheme": scheme, "is_member": True, "from_segment": a}
            found.append({**row, "to_segment": a, "users": 50})
            found.append({**row, "to_segment": values[(i + 1) % len(values)], "users": 3})
        found.append({**row, "from_segment": "NEW", "to_segment": values[-1], "is_member": False, "users": 6})
        found.append({**row, "to_segment": "LOST", "users": 1})
    return found


def quality_rows() -> list[dict[str, Any]]:
    found = []
    for i, tag in enumerate(t["id"] for t in catalogue()["tags"]):
        for is_member, base in ((True, 240), (False, 60)):
            row = {
                "as_of": D,
                "tag": tag,
                "is_member": is_member,
                "base_users": base,
                "known_users": base - base * i // 40,
            }
            row |= {"changed_users": 3, "declared_users": 5, "compared_users": 5, "agreeing_users": 4, "psi": 0.02 * i}
            row |= {"psi_28d": 0.05, "verdict": "watch" if 0.1 <= 0.02 * i < 0.25 else "stable", "freshness_days": 0}
            if tag == "quadrant":
                row |= {"verdict": "act", "held_since": BEFORE}
            found.append(row)
    return found


def spread_rows(people: list[dict[str, Any]]) -> list[dict[str, Any]]:
    counted: dict[tuple[str, bool, str], int] = {}
    for p in people:
        for tag in ("register_city", *SCHEMES):
            key = (tag, p["is_member"], p[tag] or "unknown")
            counted[key] = counted.get(key, 0) + 1
    return [{"as_of": D, "tag": t, "is_member": m, "bin": b, "users": n} for (t, m, b), n in counted.items()]


class MadeShop(Shop):
    """The shop of the report's tests; ``full`` False leaves everything out that a first bare run would not have.

    ``renamed``: every tag has another id; ``roles`` False: no tag has a role.
    """

    def __init__(self, folder: Path, *, full: bool = True, users: int = 300, renamed: bool = False, roles: bool = True):
        self.folder = folder
        self.others = ids([catalogue()]) if renamed else set()
        for name in ("tags", "audiences"):
            (folder / name).mkdir(parents=True)
        settings = {"name": names(f"青禾小铺{HOSTILE}", f"Qinghe {HOSTILE}")}
        (folder / "huaxiang.yaml").write_text(yaml.safe_dump(settings, allow_unicode=True), encoding="utf-8")
        declared = rename(catalogue(), self.others)
        for tag in declared["tags"] if not roles else ():
            tag.pop("role", None)
        (folder / "tags" / "all.yaml").write_text(yaml.safe_dump(declared, allow_unicode=True), encoding="utf-8")
        draw = random.Random(5)
        self.people = [person(uid, draw) for uid in range(1, users + 1)]
        rows = [{"as_of": D, **p} for p in self.people]
        self.put("profile.profile", rows)
        placed = [
            {"as_of": D, "bucket": 0, "scheme": s, "uid": p["uid"], "is_member": p["is_member"], "segment": p[s]}
            for p in self.people
            for s in SCHEMES
        ]
        self.put("segments.segments", placed)
        if full:
            self._fill()
        tables = {n: v for n, v in self.lake.versions().items() if n.split(".")[0] in RELEASED_LAYERS}
        self.made: Release = write_release(self.lake, D, f"run-{D}", tables)

    def put(self, table: str, rows: Sequence[Mapping[str, Any]], replace: Any = "all") -> None:
        super().put(table, [self._called(row) for row in rows], replace)

    def _called(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The row with tags called as this shop does."""
        texts = {
            k: "/".join(self._name(part) for part in v.split("/"))
            for k, v in row.items()
            if k in ("scheme", "tag", "item") and v is not None
        }
        return {self._name(k): v for k, v in {**row, **texts}.items()}

    def _name(self, word: str) -> str:
        return PREFIX + word if word in self.others else word

    def _fill(self) -> None:
        self.put("segments.figures", figures())
        self.put("segments.curves", curves())
        self.put("segments.segment_flows", flow_rows())
        alert = {"as_of": D, "from_as_of": D - timedelta(days=7), "alert": "moving_to_rare_low", "number": 0.061}
        self.put("segments.alerts", [{**alert, "limit_number": 0.05, "sample_users": 210, "is_raised": True}])
        moved = {"as_of": D, "alert": "moving_to_rare_low", "from_segment": "frequent_high", "to_segment": "rare_low"}
        self.put("segments.alert_users", [{**moved, "uid": u} for u in (11, 12, 13)])
        pair = {"as_of": D, "baskets": 300, "left_baskets": 80, "right_baskets": 90, "joint_baskets": 48}
        pair |= {"support": 0.16, "confidence": 0.6, "lift": 2.0}
        items = (HOSTILE_CATEGORY, "面霜"), ("面霜", HOSTILE_CATEGORY), ("面膜", "口红")
        self.put("segments.associations", [{**pair, "left_item": a, "right_item": b} for a, b in items])
        breaks = {
            "rfm_recency": (10, 30, 60, 120),
            "rfm_monetary": (9_900, 20_000, 50_000, 90_000),
            "observed_days": (60,),
        }
        self.put("profile.breaks", [
            {"as_of": D, "name": n, "position": i, "number": float(x), "spec": "s", "fitted_on": D}
            for n, numbers in breaks.items()
            for i, x in enumerate(numbers, 1)
        ])  # fmt: skip
        self.put("profile.tag_quality", quality_rows())
        self.put("profile.tag_distribution", spread_rows(self.people))
        file = {"feed": "orders", "source": "orders", "_file": "o.csv", "path": "o.csv", "checksum": "c", "bytes": 9}
        file |= {"columns": "[]", "rows_read": 10, "rows_silver": 8, "rows_duplicate": 1, "rows_quarantined": 1}
        file |= {"rows_not_selected": 0, "rows_late": 2, "dst_moved": 0, "late_days_p95": 1.0, "state": "taken"}
        at = datetime(2026, 3, 11, tzinfo=UTC)
        self.put("landing.manifest", [{**file, "_batch_id": "b", "_ingested_at": at, "event_last_at": at}])
        self._persons()
        self._campaign()

    def _campaign(self) -> None:
        """One with everything that the page tells: 300 people in three arms, delivered twice, seen by two, judged and learnt from."""
        (self.folder / "campaigns").mkdir()
        (self.folder / "campaigns" / "spring.yaml").write_text(CAMPAIGN, encoding="utf-8")
        mine = {"campaign": "spring", "as_of": D}
        given = {
            "campaign": "spring",
            "as_of": GIVEN,
            "stage": "harvest",
            "audience": "regulars",
            "release": 1,
            "definition_hash": "h",
        }
        uids = [p["uid"] for p in self.people]
        self.put("campaigns.assignments", [{**given, "uid": u, "arm": ARMS[u % 3]} for u in uids])
        size = {"audience": "regulars", "as_of": GIVEN, "release": 1, "definition_hash": "a"}
        self.put("audiences.sizes", [{**size, "users": len(uids)}])
        member = {"audience": "regulars", "as_of": GIVEN, "change": "enter", "reason": "first build"}
        self.put("audiences.membership_log", [{**member, "uid": u} for u in uids])
        sent = {
            "audience": "regulars",
            "platform": "sms",
            "campaign": "spring",
            "stage": "harvest",
            "as_of": GIVEN,
            "release": 1,
        }
        sent |= {"definition_hash": "a", "path": "p", "columns": "[]", "checksum": "c", "requested_by": "li"}
        at = datetime(2026, 3, 6, tzinfo=UTC)
        self.put("exports.deliveries", [
            {**sent, "delivery_id": arm, "arm": arm, "rows": n, "created_at": at} for arm, n in (("coupon", 90), ("message", 80))
        ])  # fmt: skip
        seen = {
            "occurred_at": at,
            "campaign": "spring",
            "stage": "harvest",
            "channel": "sms",
            "touch_state": "clicked",
            "cost_minor": 5,
        }
        self.put("silver.touches", [silver(EARLY, u, **seen, event_id=f"e{u}", user_id=f"u{u:06d}") for u in (1, 2, 4)])
        of_arm = {
            **mine,
            "release": 1,
            "users": 100,
            "held_users": 100,
            "sample_ratio_p": 0.9,
            "is_over": True,
            "power": 0.8,
        }
        lifts = {"net_amount": (900.0, 100.0), "orders": (0.4, 0.1), "converted": (0.3, 0.1)}
        words = {"coupon": "success", "message": "undecided"}
        self.put("campaigns.results", [
            {**of_arm, "arm": arm, "outcome": outcome, "held_mean": held, "mean": held + lift, "difference": lift,
             "difference_low": lift * low, "difference_high": lift * 1.8, "relative_lift": lift / held, "relative_low": 0.1,
             "relative_high": 1.0, "chance_to_win": 0.97, "sequential_low": -lift, "sequential_high": lift * 3,
             "cuped_difference": lift, "cuped_low": lift * 0.3, "cuped_high": lift * 1.7, "variance_reduction": 0.2,
             "visible_lift": 0.5, "p_value": 0.03, "cost_minor": 500,
             "cost_per_added_order_minor": 50.0 if outcome == "orders" else None, "lift_verdict": words[arm]}
            for arm, low in (("coupon", 0.2), ("message", -0.2)) for outcome, (held, lift) in lifts.items()
        ])  # fmt: skip
        reached = {"buyers": (40.0, 30.0), "net_amount": (90_000.0, 120_000.0)}
        stages = {"harvest": reached, "nurture": {"reviewing_users": (10.0, 1.0)}}
        self.put("campaigns.progress", [
            {**mine, "stage": stage, "metric": metric, "target": target, "reached": number, "users": 200}
            for stage, metrics in stages.items() for metric, (target, number) in metrics.items()
        ])  # fmt: skip
        value = {
            **mine,
            "release": 1,
            "outcome": "net_amount",
            "users": 60,
            "held_users": 50,
            "response": 900.0,
            "held_mean": 100.0,
        }
        value |= {"difference": 800.0, "difference_low": 300.0, "difference_high": 1300.0, "shrunk_lift": 700.0}
        value |= {"shrunk_low": 250.0, "shrunk_high": 1150.0, "p_value": 0.001, "q_value": 0.01}
        self.put("campaigns.learnt", [
            {**value, "tag": "register_city", "value": HOSTILE, "is_found": True},
            {**value, "tag": "lifecycle", "value": "new", "is_found": False, "p_value": 0.4, "q_value": 0.6},
        ])  # fmt: skip
        credited = ("first", "last", "linear", "time_decay", "position", "markov")
        self.put("campaigns.attribution", [
            {**mine, "method": m, "channel": c, "credited_orders": n, "touches": 9, "cost_minor": 45}
            for m in credited for c, n in (("sms", 4.0), (HOSTILE, 2.5))
        ])  # fmt: skip

    def _persons(self) -> None:
        """History, tree and overrides of single people: uid 1 brought 2 and 3; 2 brought 4."""
        self.put("profile.tag_changes", [
            {"uid": 4, "tag": tag, "from_day": day, "value": value}
            for tag, value, day in (
                ("lifecycle", "prospect", D - timedelta(days=40)),
                ("lifecycle", "new", D - timedelta(days=20)),
                ("lifecycle", "growing", D - timedelta(days=3)),
                ("aipl_stage", "interest", D - timedelta(days=30)),
                ("aipl_stage", "purchase", D + timedelta(days=1)),
            )
        ])  # fmt: skip
        at = datetime(2026, 2, 1, 4, tzinfo=UTC)
        edge = {"as_of": D, "root_uid": 1, "touched_at": at, "joined_at": at + timedelta(hours=5)}
        self.put("fission.share_edges", [
            {**edge, "uid": uid, "parent_uid": parent, "level": level} for uid, parent, level in ((2, 1, 1), (3, 1, 1), (4, 2, 2))
        ])  # fmt: skip
        role = {"as_of": D, "bucket": 0, "uid": 2, "share_level": 1, "share_breadth": 3, "share_children": 1}
        role |= {"share_descendants": 1, "share_depth": 1, "connector_score": 0.7, "fission_kind": "membership"}
        self.put("fission.roles", [role])
        self.put("fission.share_trees", [
            {"as_of": D, "root_uid": 1, "tree_users": 4, "tree_depth": 2, "tree_conversions": 1, "largest_hub_users": 2,
             "extra_edges": 0, "structural_virality": 1.67, "community_structure": "none"}
        ])  # fmt: skip
        outcomes = {"first": 161, "self_invite": 3, "cycle": 1, "late": 12, "waiting": 40}
        self.put("fission.touches", [
            {"as_of": D, "touch_kind": "share_open", "touch_outcome": o, "touches": n} for o, n in outcomes.items()
        ])  # fmt: skip
        tree = {"as_of": D, "root_uid": 1, "tree_users": 9, "tree_depth": 3, "tree_joined": 4, "tree_conversions": 1,
                "largest_hub_users": 5, "structural_virality": 2.11}  # fmt: skip
        self.put("fission.reach_trees", [tree])
        self.put("fission.card_trees", [{**tree, "sku_code": 1, "tree_users": 5}])
        self.put("activity.codes", [{"code_kind": "sku", "code": 1, "code_value": HOSTILE}])
        day = {"as_of": D, "active_users": 100, "sharers": 8, "invites": 20, "accepted": 6, "cycle_hours": 20.0}
        self.put("fission.share_daily", [
            {**day, "cohort_day": D - timedelta(days=k), "k_factor": 0.06 + 0.002 * (k % 5)} for k in range(40)
        ])  # fmt: skip
        self.put("profile.overrides", [
            {"as_of": D, "bucket": 0, "uid": 4, "tag": "lifecycle", "origin": "manual", "value": "mature", "author": HOSTILE,
             "from_day": D, "until_day": D + timedelta(days=9)},
            {"as_of": D, "bucket": 0, "uid": 4, "tag": "register_city", "origin": "declared", "value": "上海", "from_day": D},
        ])  # fmt: skip
        people = (1, 2, 3, 4)
        self.put(
            "identity.users", [{"uid": u, "bucket": 0, "user_id": f"u{u:06d}", "person_kind": "member"} for u in people]
        )
        self.put("identity.identifiers", [{"id_kind": "phone", "id_value": f"1380013800{u}", "uid": u} for u in people])

    @cached_property
    def project(self) -> Project:
        """Read once: the tests change nothing in it."""
        return Project.load(self.folder)
