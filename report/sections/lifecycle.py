"""The lifecycle: stages with their strategies, the cuts in force, and the three curves that they are read from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

from features.gaps import LifecycleSettings
from report import charts
from report.blocks import Block, Cell, Chart, Section, count, decimal, share, table
from report.data import ReportData, Row
from report.sections.segmentation import of_role, shares, whole_table
from report.words import BASES, LEVELS, NO_CUT
from schemas.tag_roles import TagRole
from schemas.text import Text

FIGURES, CURVES = ("segments.figures",), ("segments.curves",)
BREAKS = ("profile.breaks", "segments.figures")
LEAST = 30
CLASSES = "purchase_days"


def lifecycle(d: ReportData) -> Section:
    mine = d.of(TagRole.LIFECYCLE)
    return Section(
        "lifecycle",
        Text("生命周期", "Lifecycle"),
        _where_cuts_come_from(d),
        (
            *of_role(d, TagRole.LIFECYCLE, shares),
            _cuts(d),
            *([] if mine is None else [whole_table(d, mine)]),
            _repurchase(d),
            _gaps(d),
            _recovery(d),
        ),
    )


def _estimated(d: ReportData) -> list[Row]:
    """Rows of the breaks that curves give, as the day's profile used them."""
    return [r for name in d.project.catalogue.estimates for r in d.breaks.get(name, [])]


def _where_cuts_come_from(d: ReportData) -> Text:
    """How many of the cuts are the shop's own; nothing of it where the release does not say."""
    found = Text(
        "每个用户一个阶段；切分点估出之后冻结。", "Every user has one stage; its cuts are frozen once they are made."
    )
    rows = [_row_of(d, kind, k) for kind in LEVELS for k in _cut(d, kind)]
    rows += d.breaks.get(_name_of(d, CLASSES) or "", [])
    known = [str(r["basis"]) for r in rows if r and r.get("basis") and r["basis"] != "convention"]
    if not known:
        return found
    defaults = sum(basis.startswith("default") for basis in known)
    return found + Text(
        f"{len(known)} 个切分点中 {len(known) - defaults} 个来自本店的曲线，{defaults} 个是默认值（见下表）。",
        f" Of {len(known)} cuts {len(known) - defaults} come from the shop's own curves, {defaults} are defaults (see the table).",
    )


def _cut(d: ReportData, kind: str) -> dict[str, float]:
    items = d.figure("lifecycle", "cut")
    return {k.partition("/")[2]: f.number for k, f in items.items() if k.split("/")[0] == kind and f.number is not None}


def _cuts(d: ReportData) -> Block:
    title = Text("当前切分点", "Cuts in force")
    note = Text("按买过的天数分级。", "Users are put in classes by how many days they bought on. ")
    note += _sooner(d) + _bound(d) + _knee(d)
    rows: list[tuple[Cell, ...]] = []
    for kind, name in (*LEVELS.items(), ("recovery", Text("召回拐点", "recovery knee"))):
        samples = d.figure("lifecycle", "cut")
        for k, n in _cut(d, kind).items():
            row = _row_of(d, kind, k)
            sample = samples[f"{kind}/{k}" if k else kind].sample
            rows.append((name, _class(d, k), decimal(n, 1), _basis(row), count(sample), _fitted(row)))
    for row in d.breaks.get(_name_of(d, CLASSES) or "", []):
        ends = Text(f"第 {row['position']} 级的上限", f"end of class {row['position']}")
        number = Text(
            f"{decimal(row['number'], 0)} 个购买日",
            f"{decimal(row['number'], 0)} purchase day" + ("" if row["number"] == 1 else "s"),
        )
        rows.append((ends, number, "–", _basis(row), count(row.get("sample_users")), _fitted(row)))
    if not rows:
        return Block(title, note, BREAKS, missing=Text("这次发布没有切分点。", "This release has no cuts."))
    heads = [
        Text("切分", "Cut"),
        Text("购买天数级", "Class by purchase days"),
        Text("沉默天数", "Days of silence"),
        Text("依据", "Rests on"),
        Text("样本", "Cases"),
        Text("估计日", "Fitted on"),
    ]
    found = table(heads, rows, first_text=6)
    return Block(title, note, BREAKS, table=replace(found, numeric=frozenset({2, 4})), shown=True, wide=True)


def _name_of(d: ReportData, kind: str) -> str | None:
    """The break behind a cut: ``churned`` is cut by ``churned_after``, the classes by the knees of repurchase."""
    if kind == CLASSES:
        found = (n for n, b in d.project.catalogue.estimates.items() if b.estimate == "purchase_day_knees")
        return next(found, None)
    return next((n for n in d.breaks if n.removesuffix("_after") == kind), None)


def _row_of(d: ReportData, kind: str, k: str) -> Row | None:
    """What the break says of a class: its number stands at the class's first purchase day, or is the last there is."""
    rows = d.breaks.get(_name_of(d, kind) or "", [])
    if not rows or not k.isdigit():
        return None
    tops = [int(n) for _, n in sorted(_cut(d, CLASSES).items())]
    first = 1 if k == "1" or int(k) > len(tops) + 1 else tops[int(k) - 2] + 1
    return rows[min(first, len(rows)) - 1]


def _basis(row: Row | None) -> Cell:
    """What a number rests on; where the horizon decided it, how many come later and which horizon to try."""
    if row is None or not row.get("basis"):
        return "–"
    found = BASES.get(str(row["basis"]), Text(*(str(row["basis"]),) * 2))
    beyond, longer = row.get("share_beyond_horizon"), row.get("horizon_to_try_days")
    if beyond is None:
        return found
    return found + Text(
        f"：{share(beyond, 0)} 的回购发生在其后，可试 {longer} 天",
        f": {share(beyond, 0)} come back later, try {longer} days",
    )


def _fitted(row: Row | None) -> str:
    return str(row["fitted_on"]) if row and row.get("fitted_on") else "–"


def _sooner(d: ReportData) -> Text:
    """Whether silence counts sooner the more somebody bought; said only where the cuts of every class fall."""
    for kind, name in reversed(LEVELS.items()):
        days = [n for k, n in sorted(_cut(d, kind).items()) if k.isdigit()]
        if len(days) > 1 and all(b <= a for a, b in pairwise(days)) and days[-1] < days[0]:
            return Text(
                f"买得越多，沉默越早算{name.zh}（{decimal(days[0], 0)} → {decimal(days[-1], 0)} 天）。",
                f"The more, the sooner silence counts as {name.en} ({decimal(days[0], 0)} → {decimal(days[-1], 0)} days). ",
            )
    return Text("", "")


def _bound(d: ReportData) -> Text:
    bases = {str(r.get("basis")) for r in _estimated(d)}
    found = Text("", "")
    if "at_horizon" in bases:
        found += Text(
            "标为“由期限决定”的数值会随期限变长而变大。", "Numbers decided by the horizon grow with a longer one. "
        )
    if "at_end" in bases:
        found += Text(
            "标为“由历史长度决定”的数值会随历史变长。", "Numbers decided by the end of the history grow with it. "
        )
    return found


def _knee(d: ReportData) -> Text:
    """Where the knee of recovery is and how many still come back beyond it; or why there is none."""
    at = next(iter(_cut(d, "recovery").values()), None)
    if at is None:
        why = next((k.partition("/")[2] for k in d.figure("lifecycle", "no_cut") if k.startswith("recovery/")), None)
        if why not in NO_CUT:
            return Text("", "")
        return Text(f"召回曲线给不出拐点：{NO_CUT[why].zh}。", f"The recovery curve gives no number: {NO_CUT[why].en}.")
    later = [p["y"] for points in d.curve("recovery").values() for p in points if p["x"] == at and p["y"] is not None]
    found = Text(f"召回拐点在 {decimal(at, 0)} 天", f"The recovery knee lies at {decimal(at, 0)} days")
    if not later:
        return found + Text("。", ".")
    back = share(later[0])
    return found + Text(f"：沉默到那天的人还有 {back} 回来。", f": of those silent until then {back} still come back.")


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
    heads, rows = _points_table({s: curves[s] for s in order}, x, Text("序列", "Series"))
    if least is not None and (few := sum(map(len, curves.values())) - sum(map(len, drawn.values()))):
        note += Text(
            f"样本不足 {least} 人的 {few} 个点只在数据表里。",
            f" {few} points of fewer than {least} users stand in the table only.",
        )
    if not any(drawn.values()):
        none = Text(
            f"没有一个点的样本达到 {least} 人，不画图。", f" No point rests on {least} users, so nothing is drawn."
        )
        return Block(title, note + none, CURVES, table=table(heads, rows), shown=True)
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
            "有 n 个购买日的用户中再购的占比；浅色为 95% 区间。",
            "Of users with n purchase days, the share who bought again, with 95 % interval.",
        ),
        Text("购买天数 n", "Purchase days n"),
        Text("再购占比", "Bought again"),
        marks,
        Text("复购率", "Repurchase rate"),
        _undrawn(d) or Text("还没有买家，没有复购曲线。", "Nobody has bought yet, so there is no curve."),
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
            "按买过的天数分级。",
            "Of those who buy again within the observed time, the share who have done so t days after a purchase; who still waits counts for the "
            "days waited (Kaplan–Meier estimate). By class of purchase days.",
        )
        + _shares_of_cuts(d),
        Text("天", "Days"),
        Text("已再购的比例", "Have bought again"),
        marks,
        Text("购买天数", "Purchase days"),
        _no_gaps(d),
    )


def _shares_of_cuts(d: ReportData) -> Text:
    """At which share of the curve each level is cut, where it is cut on this curve."""
    found = Text("", "")
    for kind, name in LEVELS.items():
        spec = d.project.catalogue.estimates.get(_name_of(d, kind) or "")
        if spec is not None and spec.estimate == "silence_cut" and spec.share is not None:
            at = f"{spec.share:.0%}"
            found += Text(
                f"到 {at} 那天还没有再购的算{name.zh}。",
                f" Who is not back by the time that {at} are counts as {name.en}.",
            )
    return found


def _undrawn(d: ReportData) -> Text | None:
    """Why a release has none of the curves; None where they were drawn, or nobody bought."""
    if not d.project.catalogue.estimates:
        return Text(
            "切分点是固定的，不由曲线估计，所以没有曲线。",
            "The cuts are fixed and come from no curve, so none is drawn.",
        )
    if not d.curve("repurchase") and sum(r["buyers"] for r in d.buyers.values()):
        return Text("这次发布没有这条曲线。", "This release has no such curve.")
    return None


def _no_gaps(d: ReportData) -> Text:
    """Why there is no curve of gaps: the curve of repurchase has every gap that began, and how many ended."""
    if why := _undrawn(d):
        return why
    began = [p for points in d.curve("repurchase").values() for p in points]
    if began and not any(p["y"] for p in began):
        return Text(
            "还没有人有第二个购买日，没有购买间隔曲线。",
            "Nobody has bought on a second day yet, so there is no gap to draw.",
        )
    least = d.project.method("lifecycle", LifecycleSettings).min_at_risk
    if sum(p.get("sample_users") or 0 for p in began) < least:
        return _unfollowed(d)
    return Text(
        f"同时仍在观察的购买间隔有 {least} 个或更多的日子里没有人再次购买，画不出曲线。",
        f"Nobody bought again while {least} or more gaps between purchases of a class were watched, so there is no curve.",
    )


def _unfollowed(d: ReportData) -> Text:
    least = d.project.method("lifecycle", LifecycleSettings).min_at_risk
    return Text(
        f"同时仍在观察的购买间隔还不到 {least} 个，画不出曲线。",
        f"Fewer than {least} gaps between purchases are watched at a time, so there is no curve.",
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
            "(Kaplan–Meier estimate). ",
        )
        + _knee(d),
        Text("沉默天数 N", "Silent days N"),
        Text("回来的占比", "Came back"),
        marks,
        Text("召回率", "Recovery"),
        _undrawn(d) or _unfollowed(d),
    )
