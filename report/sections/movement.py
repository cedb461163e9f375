"""Who moved: transitions between two releases, quadrant migration with its control limits, alerts."""

from __future__ import annotations

import datetime as dt

from features.migration import MigrationSettings
from report import charts
from report.blocks import Block, Section, Tile, count, decimal, same, share, table
from report.data import ReportData, Row
from report.sections.segmentation import held_note, of_role, shares, whole_table
from report.words import ALERT_REASONS, NAMES
from schemas.alerts import ALERTS
from schemas.tag_roles import TagRole
from schemas.text import Text

HISTORY = Text(
    "此前没有运行过这个方案，无从比较。", "No earlier run has this segmentation, so there is nothing to compare with."
)
FLOWS = ("segments.segment_flows",)


def moved_between(d: ReportData, scheme: str, *, wide: bool = False) -> Block:
    """From-to matrix since the run before; NEW and LOST keep the counts whole."""
    title = d.words.tag(scheme) + Text("：流转", ": who moved")
    pairs = d.flow(scheme)
    if not pairs or d.flows_from is None:
        return Block(title, Text("与上一次运行相比。", "Against the run before."), FLOWS, missing=HISTORY)
    return transitions(d, scheme, title, pairs, compared_since(d, scheme), FLOWS, wide=wide)


def compared_since(d: ReportData, scheme: str | None = None) -> Text:
    return held_note(d, scheme, *([] if d.flows_from is None else [d.flows_from])) + Text(
        f"{d.flows_from} → {d.as_of}，逐人计数，会员与访客合计。",
        f"{d.flows_from} → {d.as_of}, counted user by user, members and visitors together.",
    )


def transitions(
    d: ReportData,
    scheme: str,
    title: Text,
    pairs: dict[tuple[str, str], int],
    note: Text,
    source: tuple[str, ...],
    *,
    wide: bool = False,
) -> Block:
    order = d.words.order(scheme, there=dict.fromkeys(v for p in pairs for v in p if v not in ("NEW", "LOST")))
    starts = [v for v in (*order, "NEW") if any(a == v for a, _ in pairs)]
    ends = [v for v in (*order, "LOST") if any(b == v for _, b in pairs)]
    numbers = [[pairs.get((a, b), 0) for b in ends] for a in starts]
    totals = [sum(row) or 1 for row in numbers]
    return Block(
        title,
        note + Text(" 颜色为该行的去向占比。", " Shaded by the share of the row."),
        source,
        charts.matrix(
            [d.words.value(scheme, v) for v in starts],
            [d.words.value(scheme, v) for v in ends],
            numbers,
            [[count(n) if n else "" for n in row] for row in numbers],
            title,
            x_title=Text("期末", "At the end"),
            y_title=Text("期初", "At the start"),
            shade=[[(n / t) ** 0.5 for n in row] for row, t in zip(numbers, totals, strict=True)],
        ),
        table(
            [Text("从", "From"), Text("到", "To"), Text("用户", "Users")],
            [
                (d.words.value(scheme, a), d.words.value(scheme, b), count(n))
                for (a, b), n in sorted(pairs.items(), key=lambda kv: -kv[1])
            ],
            first_text=2,
        ),
        wide=wide,
    )


def quadrants(d: ReportData) -> Section:
    return Section(
        "quadrants",
        Text("频次 × 价值象限与迁移预警", "Quadrants and migration alert"),
        d.words.described(d.of(TagRole.QUADRANT) or "")
        + Text(
            f"周期 {_settings(d).period_days} 天，不重叠；预警看流向低频低价的占比。",
            f" Periods of {_settings(d).period_days} days that do not overlap; the alert watches the share that moves toward rare, "
            "low value.",
        ),
        of_role(d, TagRole.QUADRANT, shares, _matrix, whole_table, _drift, _alerts),
    )


def _settings(d: ReportData) -> MigrationSettings:
    return d.project.method("migration", MigrationSettings)


def _no_earlier_day(d: ReportData) -> Text:
    """What is missing to judge a period: its first day's profile, or comparable cuts."""
    if not d.alerts:
        return Text("这次发布没有判断过象限迁移。", "This release has not judged moves between quadrants.")
    reason = next((ALERT_REASONS.get(str(a.get("alert_reason"))) for a in d.alerts if a["number"] is None), None)
    before = d.as_of - dt.timedelta(days=_settings(d).period_days)
    if reason is not None and any(a.get("from_as_of") for a in d.alerts):
        return reason + Text("。", ".")
    return Text(
        f"需要 {before} 的画像：huaxiang run --as-of {before}，然后重跑 {d.as_of}。",
        f"Needs the profile of {before}: huaxiang run --as-of {before}, then {d.as_of} again.",
    )


def _matrix(d: ReportData, scheme: str) -> Block:
    title = Text("象限转移矩阵（最近一期）", "Quadrant transitions, latest period")
    note = Text(
        "期初与期末用同一组冻结的切分点；含新进入与离开。",
        "Start and end with the same frozen cuts; new and lost users included.",
    )
    found = d.figure("migration", "transition")
    start = next((a["from_as_of"] for a in d.alerts if a.get("from_as_of") and a["alert"] in ALERTS), None)
    if start is not None:
        note = held_note(d, scheme, start) + Text(f"{start} → {d.as_of}，", f"{start} → {d.as_of}. ") + note
    pairs = {(k.split(">", 1)[0], k.split(">", 1)[1]): int(f.number or 0) for k, f in found.items() if ">" in k}
    if pairs:
        return transitions(d, scheme, title, pairs, note, ("segments.figures",))
    return Block(title, note, ("segments.figures",), missing=_no_earlier_day(d))


def _drift(d: ReportData, scheme: str) -> Block:
    title = Text("向低频低价迁移的占比", "Share moving toward rare, low value")
    settings = _settings(d)
    origins = [d.words.value(scheme, o) for o in settings.origins]
    note = Text(
        f"每期：从{'、'.join(o.zh for o in origins)}落到低频低价的用户 / 期初在这些象限的用户。",
        f"Per period: users who go from {', '.join(o.en for o in origins)} to rare, low value / users there at its start.",
    )
    curves = d.curve("quadrant_drift")
    source = ("segments.curves",)
    if not curves:
        return Block(
            title,
            note,
            source,
            missing=_no_earlier_day(d),
        )
    earlier = len([p for p in curves.get("share", []) if p["x"] < 0])
    if "upper" in curves:
        note += Text(
            f"上限 = 此前 {earlier} 期均值 + {settings.k:g} 倍标准差。",
            f" Limit = mean of the {earlier} periods before + {settings.k:g} standard deviations.",
        )
    else:
        note += Text(
            f"此前只有 {earlier} 期可比，满 {settings.min_periods} 期才有上限。",
            f" Only {earlier} earlier periods compare; the limit needs {settings.min_periods}.",
        )
    style = {"share": (charts.ACCENT, "solid"), "mean": (charts.GREY, "dot"), "upper": (charts.WARN, "dash")}
    parts = [
        charts.Line(
            NAMES.get(s, same(s)),
            [p["x"] for p in curves[s]],
            [p["y"] for p in curves[s]],
            *style.get(s, (charts.SOFT, "solid")),
            markers=s == "share",
        )
        for s in sorted(curves, key=lambda s: list(style).index(s) if s in style else 9)
    ]
    days = sorted({p["x"] for s in curves.values() for p in s})
    at = {s: {p["x"]: p["y"] for p in points} for s, points in curves.items()}
    return Block(
        title,
        note,
        source,
        charts.lines(
            parts,
            title,
            x_title=Text("距截止日的天数", "Days before the day of the report"),
            y_title=Text("占比", "Share"),
        ),
        table(
            [Text("期末（天）", "Period end (days)"), *(NAMES.get(s, same(s)) for s in at)],
            [(decimal(x, 0), *(share(at[s].get(x), 2) for s in at)) for x in days],
        ),
    )


def _alerts(d: ReportData, scheme: str) -> Block:
    title = Text("预警", "Alerts")
    alerts = [a for a in d.alerts if a["alert"] in ALERTS]
    name = next((a["alert"] for a in alerts), "moving_to_rare_low")
    note = Text(
        f"只列人数。取名单：在人群文件的条件里写 {{alert: {name}}}。",
        f"Counts only. For the people, put {{alert: {name}}} into an audience.",
    )
    source = ("segments.alerts", "segments.alert_users")
    if not alerts:
        return Block(
            title,
            note,
            source,
            missing=_no_earlier_day(d),
        )
    tiles = tuple(
        Tile(
            NAMES.get(a["alert"], same(a["alert"])),
            _state(a),
            _judged(a),
            "warn" if a["is_raised"] else "calm" if a["limit_number"] is not None else "",
        )
        for a in alerts
    )
    moved = [
        (
            NAMES.get(r["alert"], same(r["alert"])),
            d.words.value(scheme, r["from_segment"]),
            d.words.value(scheme, r["to_segment"]),
            count(r["users"]),
        )
        for r in d.moved
    ]
    heads = [Text("预警", "Alert"), Text("从", "From"), Text("到", "To"), Text("涉及用户", "Users concerned")]
    shown = table(heads, moved, first_text=3) if moved else None
    return Block(title, note, source, table=shown, tiles=tiles, shown=True)


def _state(alert: Row) -> Text:
    if alert["is_raised"]:
        return Text("预警", "raised")
    return Text("暂不判断", "not judged") if alert["limit_number"] is None else Text("正常", "calm")


def _judged(alert: Row) -> Text:
    """What an alert rests on, and why it is raised or not."""
    found = Text(
        f"{share(alert['number'], 2)}，上限 {share(alert['limit_number'], 2)}，期初 {count(alert['sample_users'])} 人",
        f"{share(alert['number'], 2)}, limit {share(alert['limit_number'], 2)}, {count(alert['sample_users'])} users at the start",
    )
    reason = ALERT_REASONS.get(str(alert.get("alert_reason")))
    if alert["number"] is None:
        return reason or found
    return found if reason is None else found + Text("；", "; ") + reason


def flows(d: ReportData) -> Section:
    """Every segmentation: who stayed, moved, came, left."""
    title = Text("各方案的流转守恒", "Flows of every segmentation, conserved")
    rows = []
    for scheme in d.flows:
        pairs = d.flow(scheme)
        stayed = sum(n for (a, b), n in pairs.items() if a == b)
        new = sum(n for (a, _), n in pairs.items() if a == "NEW")
        lost = sum(n for (a, b), n in pairs.items() if b == "LOST" and a != "NEW")
        start = sum(n for (a, _), n in pairs.items() if a != "NEW")
        moved = start - stayed - lost
        rows.append(
            (
                d.words.tag(scheme),
                count(start),
                count(stayed),
                count(moved),
                share(moved / start if start else None),
                count(new),
                count(lost),
            )
        )
    heads = [
        Text("方案", "Segmentation"),
        Text("期初", "At start"),
        Text("未动", "Stayed"),
        Text("移动", "Moved"),
        Text("移动占比", "Moved %"),
        Text("新进入", "New"),
        Text("离开", "Left"),
    ]
    if not rows:
        block = Block(title, Text("与上一次运行相比。", "Against the run before."), FLOWS, missing=HISTORY, wide=True)
    else:
        note = compared_since(d) + Text(
            " 期初 = 未动 + 移动 + 离开；离开是指不再在基础人群里（与他人合并，或标识已删除）。",
            " Start = stayed + moved + left; who left is no longer in the base (merged with another person, or erased).",
        )
        block = Block(title, note, FLOWS, table=table(heads, rows), wide=True, shown=True)
    return Section(
        "flows",
        Text("流转", "Flows"),
        Text("两次运行之间每个分群方案的人员流转。", "How users moved between two runs, for every segmentation."),
        (block,),
    )
