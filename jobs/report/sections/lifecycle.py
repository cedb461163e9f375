"""The lifecycle: stages with their strategies, the cuts in force, and the three curves that they are read from."""

from __future__ import annotations

from collections.abc import Mapping

from jobs.report import charts
from jobs.report.blocks import Block, Cell, Chart, Section, Text, count, decimal, share, table
from jobs.report.data import ReportData, Row
from jobs.report.sections.segmentation import shares, whole_table
from jobs.report.words import LEVELS

FIGURES, CURVES = ("segments.figures",), ("segments.curves",)
LEAST = 30


def lifecycle(d: ReportData) -> Section:
    return Section(
        "lifecycle",
        Text("生命周期", "Lifecycle"),
        Text(
            "阶段的切分点来自店铺自己的曲线，之后冻结；数据不足时用默认值。",
            "The cuts between stages come from the shop's own curves and are then frozen; where data is too little the defaults hold.",
        ),
        (
            shares(d, "lifecycle"),
            _cuts(d),
            whole_table(d, "lifecycle"),
            _repurchase(d),
            _gaps(d),
            _recovery(d),
        ),
    )


def _cut(d: ReportData, kind: str) -> dict[str, float]:
    items = d.figure("lifecycle", "cut")
    return {k.partition("/")[2]: f.number for k, f in items.items() if k.split("/")[0] == kind and f.number is not None}


def _cuts(d: ReportData) -> Block:
    title = Text("当前切分点", "Cuts in force")
    note = Text(
        "按买过的天数分级，买得越多，沉默越早算沉睡与流失；召回拐点之后很少有人回来。",
        "Users are put in classes by how many days they bought on: the more, the sooner silence counts as dormant and churned. After "
        "the recovery knee few come back.",
    )
    rows: list[tuple[Cell, ...]] = []
    for kind, name in (*LEVELS.items(), ("recovery", Text("召回拐点", "recovery knee"))):
        rows += [(name, _class(d, k), decimal(n, 1)) for k, n in _cut(d, kind).items()]
    if not rows:
        return Block(
            title,
            note,
            FIGURES,
            missing=Text(
                "还没有由曲线得出的切分点，默认 90 与 180 天。",
                "No cuts from curves yet; the defaults are 90 and 180 days.",
            ),
        )
    heads = [Text("切分", "Cut"), Text("购买天数级", "Class by purchase days"), Text("沉默天数", "Days of silence")]
    return Block(title, note, FIGURES, table=table(heads, rows, first_text=2), shown=True)


def _class(d: ReportData, k: str) -> Cell:
    """A class with the purchase days that it is of."""
    if not k:
        return "–"
    tops = [int(n) for _, n in sorted(_cut(d, "purchase_days").items())]
    if not k.isdigit() or not tops or int(k) > len(tops) + 1:
        return Text(f"第 {k} 级", f"class {k}")
    i = int(k) - 1
    low = 1 if i == 0 else tops[i - 1] + 1
    high = None if i == len(tops) else tops[i]
    days = f"{low}+" if high is None else str(low) if low == high else f"{low}–{high}"
    return Text(f"第 {k} 级（买过 {days} 天）", f"class {k} ({days} purchase days)")


def _side(points: list[Row], name: str) -> list[float | None] | None:
    """One side of the interval, where the curve has one."""
    return [p[name] for p in points] if any(p.get(name) is not None for p in points) else None


def _points_table(
    curves: Mapping[str, list[Row]], x: Text, series: Text, limit: int = 80
) -> tuple[list[Text], list[tuple[Cell, ...]]]:
    points = [(s, p) for s, found in curves.items() for p in found]
    step = max(1, len(points) // limit)
    rows: list[tuple[Cell, ...]] = [
        (
            s or "–",
            decimal(p["x"], 2),
            share(p["y"], 2),
            share(p.get("low"), 2),
            share(p.get("high"), 2),
            count(p.get("sample_users")),
        )
        for s, p in points[::step]
    ]
    heads = [series, x, Text("数值", "Value"), Text("下限", "Low"), Text("上限", "High"), Text("样本", "Sample")]
    return heads, rows


def _curve_block(
    d: ReportData,
    name: str,
    title: Text,
    note: Text,
    x: Text,
    y: Text,
    marks: list[charts.Mark],
    named: Text,
    missing: Text,
    least: int | None = None,
) -> Block:
    """A curve with its cuts; points that rest on fewer than ``least`` users are in the table only."""
    curves = d.curve(name)
    if not any(p["y"] is not None for points in curves.values() for p in points):
        return Block(title, note, CURVES, missing=missing)
    order = sorted(
        curves, key=lambda s: (not s[:1].isdigit(), int("".join(c for c in s.split("-")[0] if c.isdigit()) or 0), s)
    )
    drawn = {s: [p for p in curves[s] if least is None or (p.get("sample_users") or 0) >= least] for s in order}
    parts = [
        charts.Line(
            named + (f" {s}" if s else ""),
            [p["x"] for p in points],
            [p["y"] for p in points],
            charts.SHADES[i % len(charts.SHADES)],
            markers=len(points) <= 25,
            low=_side(points, "low") if len(curves) == 1 else None,
            high=_side(points, "high") if len(curves) == 1 else None,
        )
        for i, (s, points) in enumerate(drawn.items())
    ]
    chart: Chart = charts.lines(parts, title, x_title=x, y_title=y, marks=marks, marks_low=name != "recovery")
    heads, rows = _points_table({s: curves[s] for s in order}, x, Text("序列", "Series"))
    return Block(title, note, CURVES, chart, table(heads, rows))


def _repurchase(d: ReportData) -> Block:
    marks = [
        charts.Mark(n, Text(f"第 {k} 级 ≤ {decimal(n, 0)}", f"class {k} ≤ {decimal(n, 0)}"))
        for k, n in _cut(d, "purchase_days").items()
    ]
    return _curve_block(
        d,
        "repurchase",
        Text("复购曲线", "Repurchase curve"),
        Text(
            f"有 n 个购买日的用户中再购的占比；浅色为 95% 区间；只画样本不少于 {LEAST} 人的点。",
            f"Of users with n purchase days, the share who bought again, with 95 % interval; points of {LEAST} users or more.",
        ),
        Text("购买天数 n", "Purchase days n"),
        Text("再购占比", "Bought again"),
        marks,
        Text("复购率", "Repurchase rate"),
        Text("复购者太少，画不出曲线。", "Too few repeat buyers for a curve."),
        LEAST,
    )


def _gaps(d: ReportData) -> Block:
    marks = []
    for kind, name in LEVELS.items():
        classes: dict[float, list[str]] = {}
        for k, n in _cut(d, kind).items():
            classes.setdefault(n, []).append(k)
        colour = charts.QUIET if kind == "dormant" else charts.WARN
        for n, of in classes.items():
            which = ", ".join(k for k in of if k)
            days = Text(f" {decimal(n, 0)} 天", f" {decimal(n, 0)} d")
            named = name + days + (Text(f"（{which} 级）", f" (class {which})") if which else "")
            marks.append(charts.Mark(n, named, colour))
    return _curve_block(
        d,
        "purchase_gap",
        Text("购买间隔曲线", "Curve of purchase gaps"),
        Text(
            "一次购买之后 t 天内再次购买的人，占观察期内会再次购买者的比例；还没有等到下一次购买的也按已等的天数计入（Kaplan–Meier 估计）。"
            "这一比例到 80% 那天还没有再购的算沉睡，到 90% 的算流失；按买过的天数分级。",
            "Of those who buy again within the observed time, the share who have done so t days after a purchase; who still waits counts for the "
            "days waited (Kaplan–Meier estimate). Dormant from 80 % on, churned from 90 %; by class of purchase days.",
        ),
        Text("天", "Days"),
        Text("已再购的比例", "Have bought again"),
        marks,
        Text("购买天数", "Purchase days"),
        Text(
            "购买间隔不足 100 个，用默认切分 90 与 180 天。",
            "Fewer than 100 gaps; the default cuts of 90 and 180 days hold.",
        ),
    )


def _recovery(d: ReportData) -> Block:
    marks = [
        charts.Mark(n, Text(f"拐点 {decimal(n, 0)} 天", f"knee {decimal(n, 0)} d"))
        for n in _cut(d, "recovery").values()
    ]
    return _curve_block(
        d,
        "recovery",
        Text("召回曲线", "Recovery curve"),
        Text(
            "沉默至少 N 天的用户中，之后又回来购买的占比；观察到截止日还没有回来的按已观察的天数计入（Kaplan–Meier 估计）。",
            "Of users silent for N days or more, the share who came back to buy; who is still away counts for the days watched "
            "(Kaplan–Meier estimate).",
        ),
        Text("沉默天数 N", "Silent days N"),
        Text("回来的占比", "Came back"),
        marks,
        Text("召回率", "Recovery"),
        Text("历史太短，画不出召回曲线。", "History is too short for a recovery curve."),
    )
