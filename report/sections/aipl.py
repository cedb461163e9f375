"""AIPL: users by stage, what becomes of them, flow, FAST, benchmark."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

from features.aipl import AiplSettings
from report import charts
from report.blocks import Block, Cell, Section, Tile, count, decimal, points, same, share, table
from report.data import Figure, ReportData
from report.sections.movement import HISTORY, compared_since
from report.sections.segmentation import how_to_get, lacking, of_role
from report.words import NAMES
from schemas.tag_roles import TagRole
from schemas.text import Text

FIGURES = ("segments.figures",)
STAGES = ("awareness", "interest", "purchase", "loyalty")
FAST = ("fertility", "fertility_excess", "advancing", "superiority", "thriving")
SHARES = ("advancing", "thriving")


def aipl(d: ReportData) -> Section:
    return Section(
        "aipl",
        Text("AIPL 与 FAST", "AIPL and FAST"),
        Text("每个用户每天一个阶段。", "Each user has one stage a day. ") + d.words.described(d.of(TagRole.AIPL) or ""),
        of_role(d, TagRole.AIPL, _stages, _flow, _rates, _fast, _benchmark),
    )


def _settings(d: ReportData) -> AiplSettings:
    return d.project.method("aipl", AiplSettings)


def _stages(d: ReportData, scheme: str) -> Block:
    title = Text("各阶段人数", "Users by stage")
    there = d.segments.get(scheme, {})
    note = Text("截止日的阶段，会员与访客分开。", "Stage on the day, members and visitors apart.")
    if not there:
        return Block(title, note, missing=Text("这次发布没有 AIPL。", "This release has no AIPL."))
    order = [v for v in (*STAGES, "none") if v in there] + sorted(v for v in there if v not in (*STAGES, "none"))
    note += Text("", " ") + how_to_get(scheme, order[0])
    labels = [d.words.value(scheme, v) for v in order]
    members, visitors = ([there[v].get(k, 0) for v in order] for k in (True, False))
    chart = charts.bars(
        labels,
        [
            charts.Bars(Text("会员", "Members"), members, [count(n) for n in members]),
            charts.Bars(Text("访客", "Visitors"), visitors, [count(n) for n in visitors], charts.PALE),
        ],
        title,
    )
    rows = [
        (t, count(m), count(v), share((m + v) / d.users if d.users else None))
        for t, m, v in zip(labels, members, visitors, strict=True)
    ]
    heads = [Text("阶段", "Stage"), Text("会员", "Members"), Text("访客", "Visitors"), Text("占比", "Share")]
    return Block(title, note, ("segments.segments",), chart, table(heads, rows))


def _rates(d: ReportData, scheme: str) -> Block:
    title = Text("各阶段转化与资产", "Conversion and asset value by stage")
    settings = _settings(d)
    days = count(d.number("aipl", "horizon_days") or settings.horizon_days)
    note = Text(
        f"期初在该阶段的用户在其后 {days} 天内：购买占比、人均订单、单均金额；资产 = 人数 × 期望成交额。括号内为 95% 区间。",
        f"Of users at the stage at the start, within the {days} days after: share who bought, orders per buyer, money per order; asset = "
        "users × expected sales. In brackets the 95 % interval.",
    )
    conversion = d.figure("aipl", "conversion")
    if not conversion:
        start = d.as_of - dt.timedelta(days=settings.horizon_days)
        missing = Text(
            f"需要 {start}（前后 {settings.horizon_tolerance_days} 天内）的画像：huaxiang run --as-of {start}，然后重跑 {d.as_of}。",
            f"Needs the profile of {start}, give or take {settings.horizon_tolerance_days} days: "
            f"huaxiang run --as-of {start}, then {d.as_of} again.",
        )
        return Block(title, note, FIGURES, missing=missing)
    if "none" in conversion:
        note += Text("“无”含其后才出现的用户。", " None includes who came only since.")
    if (part := _unexplained(d)) is not None:
        note += Text(
            f"这段时间 {share(part)} 的金额来自期初不在任何阶段的用户，各阶段解释不了。",
            f" {share(part)} of the money of that time came from users who stood in no stage at its start; no stage explains it.",
        )
    per, value, asset = (d.figure("aipl", f) for f in ("orders_per_buyer", "order_value_minor", "asset_value_minor"))
    order = _in_order({**conversion, **asset})
    rows: list[tuple[Cell, ...]] = [
        (
            d.words.value(scheme, v),
            _with_interval(conversion.get(v)),
            count(conversion[v].sample if v in conversion else None),
            decimal(_number(per, v), 2),
            d.money(_number(value, v), exact=True),
            d.money(_number(asset, v)),
        )
        for v in order
    ]
    heads = [
        Text("阶段", "Stage"),
        Text("转化率", "Conversion"),
        Text("样本用户", "Sample users"),
        Text("人均订单", "Orders per buyer"),
        Text("单均金额", "Money per order") + f" ({d.project.currency})",
        Text("资产价值", "Asset value") + f" ({d.project.currency})",
    ]
    stages = [v for v in order if v in conversion]
    shares = [conversion[v].number for v in stages]
    chart = charts.bars(
        [d.words.value(scheme, v) for v in stages],
        [charts.Bars(Text("转化率", "Conversion"), shares, [share(x, 2) for x in shares])],
        title,
        percent=True,
    )
    return Block(title, note, FIGURES, chart, table(heads, rows), wide=True, shown=True)


def _unexplained(d: ReportData) -> float | None:
    """Of the money of the rates' period the share of users of no stage; None where it is not known."""
    amounts = d.figure("aipl", "stage_amount_minor")
    whole = sum(f.number or 0 for f in amounts.values())
    return (amounts["none"].number or 0) / whole if "none" in amounts and whole else None


def _number(items: Mapping[str, Figure], item: str) -> float | None:
    return items[item].number if item in items else None


def _with_interval(f: Figure | None) -> str:
    if f is None:
        return "–"
    interval = "" if f.low is None or f.high is None else f" ({share(f.low, 1)}–{share(f.high, 1)})"
    return share(f.number, 2) + interval


def _in_order(items: Mapping[str, object]) -> list[str]:
    first = [v for v in (*STAGES, "none") if v in items]
    return first + sorted(v for v in items if v not in first and v != "total") + (["total"] if "total" in items else [])


def _flow(d: ReportData, scheme: str) -> Block:
    title = Text("阶段流转", "Flow between stages")
    pairs = d.flow(scheme)
    if not pairs:
        return Block(
            title, Text("与上一次运行相比。", "Against the run before."), ("segments.segment_flows",), missing=HISTORY
        )
    order = [*STAGES, "none"]
    starts = [v for v in (*order, "NEW") if any(a == v for a, _ in pairs)]
    ends = [v for v in (*order, "LOST") if any(b == v for _, b in pairs)]
    links = [(starts.index(a), ends.index(b), float(n)) for (a, b), n in pairs.items() if a in starts and b in ends]
    chart = charts.sankey(
        [d.words.value(scheme, v) for v in starts], [d.words.value(scheme, v) for v in ends], links, title
    )
    rows = [
        (d.words.value(scheme, a), d.words.value(scheme, b), count(n))
        for (a, b), n in sorted(pairs.items(), key=lambda kv: -kv[1])
    ]
    note = compared_since(d) + Text(" 蓝色为变动，灰色为未动。", " Blue moved, grey stayed.")
    heads = [Text("从", "From"), Text("到", "To"), Text("用户", "Users")]
    return Block(title, note, ("segments.segment_flows",), chart, table(heads, rows, first_text=2))


def _fast(d: ReportData, _: str) -> Block:
    title = Text("FAST", "FAST")
    back = d.project.catalogue.windows.get(d.of(TagRole.INTERACTIONS) or "")
    within = Text("", "") if back is None else Text(f" {back} 天内", f" within {back} days")
    note = Text(
        f"F 认知至忠诚的人数；A 向上递进的占比；S 达到超级用户门槛的会员；T 超级用户中{within.zh}有互动者。",
        "F users from awareness to loyalty; A share that moved up; S members who reach the super-user rule; T super users who "
        f"interacted{within.en}.",
    )
    if why := lacking(d, TagRole.SUPER_USER, TagRole.INTERACTIONS):
        note += Text("", " ") + why
    items = {**{k: f for k in FAST for f in d.figure("aipl", k).values()}, **d.figure("aipl", "fast")}
    days = d.number("aipl", "horizon_days")
    if days is not None and ("advancing" in items or "fertility_excess" in items):
        note += Text(f"“上期”与递进看 {count(days)} 天前。", f" Last period and moves: {count(days)} days before.")
    if "thriving" in items and back is not None and d.observed_days is not None and d.observed_days <= back:
        note += Text(
            f"T 看 {back} 天，数据只有 {count(d.observed_days)} 天。",
            f" T looks back {back} days, data covers {count(d.observed_days)}.",
        )
    if not items:
        return Block(
            title,
            note,
            FIGURES,
            missing=Text("这次发布没有 FAST 指标。", "This release has no FAST figures."),
        )
    tiles = []
    for k in [k for k in FAST if k in items] + [k for k in items if k not in FAST]:
        f = items[k]
        value = share(f.number) if k in SHARES else count(f.number)
        if k == "fertility_excess" and f.number is not None and f.number > 0:
            value = "+" + value
        base = None if f.sample is None else Text(f"基数 {count(f.sample)} 人", f"of {count(f.sample)} users")
        tiles.append(Tile(NAMES.get(k, same(k)), same(value), base))
    return Block(title, note, FIGURES, tiles=tuple(tiles), wide=True)


def _which_benchmark(d: ReportData) -> Text:
    """What the shop is compared with, and when a stage is flagged; as the project says it now."""
    said = _settings(d).benchmark
    low = f"{said.flag_below:.0%}"
    of = (
        Text(
            f"基准：本店前 {said.days} 天内各次运行的平均",
            f" The benchmark is the mean of this shop's own runs of the {said.days} days before",
        )
        + _runs(d)
        if said.file is None
        else Text(f"基准：同行文件 {said.file}。", f" The benchmark is the file of peers {said.file}.")
    )
    return of + Text(
        f"比基准低 {low} 以上（相对值）的标为“低于基准”，“–”为没有低于。",
        f" A stage more than {low} (of the benchmark) lower is marked 'below the benchmark'; – marks none.",
    )


def _runs(d: ReportData) -> Text:
    """How many runs the own benchmark is the mean of."""
    runs = next((f.sample for f in d.figure("aipl", "benchmark_share").values()), None)
    return Text("。", ".") if runs is None else Text(f"（{count(runs)} 次）。", f" ({count(runs)} of them).")


def _benchmark(d: ReportData, scheme: str) -> Block:
    title = Text("与基准比较", "Against the benchmark")
    note = Text(
        "阶段占比与基准之差，单位为百分点。",
        "Stage shares against the benchmark, apart in percentage points.",
    ) + _which_benchmark(d)
    peers, gap = d.figure("aipl", "benchmark_share"), d.figure("aipl", "benchmark_gap")
    if not peers:
        missing = Text(
            "没有基准：给出同行文件，或等历史够长。",
            "No benchmark: give a file of peers, or wait until history is long enough.",
        )
        return Block(title, note, FIGURES, missing=missing)
    own = d.figure("aipl", "share")
    order = _in_order(peers)
    labels = [d.words.value(scheme, v) for v in order]
    mine, theirs = [_number(own, v) for v in order], [peers[v].number for v in order]
    chart = charts.bars(
        labels,
        [
            charts.Bars(Text("本店", "This shop"), mine, [share(x) for x in mine]),
            charts.Bars(Text("基准", "Benchmark"), theirs, [share(x) for x in theirs], charts.GREY),
        ],
        title,
        percent=True,
    )
    flag, rate, apart = (d.figure("aipl", f"benchmark_{f}") for f in ("flag", "conversion", "conversion_gap"))
    low = Text("低于基准", "below the benchmark")
    rows: list[tuple[Cell, ...]] = [
        (t, share(a), share(b), points(_number(gap, v)), low if _number(flag, v) else "–")
        for t, v, a, b in zip(labels, order, mine, theirs, strict=True)
    ]
    heads = [
        Text("阶段", "Stage"),
        Text("本店", "This shop"),
        Text("基准", "Benchmark"),
        Text("差", "Gap"),
        Text("标记", "Flag"),
    ]
    if rate:
        rows = [
            (*r, share(_number(rate, v), 2), points(_number(apart, v), 2)) for r, v in zip(rows, order, strict=True)
        ]
        heads += [Text("基准转化率", "Benchmark conversion"), Text("转化率差", "Conversion gap")]
    return Block(title, note, FIGURES, chart, table(heads, rows))
