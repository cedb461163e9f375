"""Campaigns: what runs when, how many came from an audience to an order, metrics of the stages, and what the arms brought."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

from campaigns.language import ABOVE, HELD_OUT, STAGES, CampaignDefinition
from campaigns.metrics import METRICS
from queries.campaign_course import CampaignCourse, PeopleReached, StageCourse, StageDelivery
from report import charts, span_charts
from report.blocks import Block, Cell, Chart, Section, Table, Tile, count, same, share, table
from report.data import ReportData
from report.sections import campaign_lift
from report.sections.campaign_lift import arm_name, campaign_name
from schemas.money import minor_units, money_words
from schemas.text import Text

BOUGHT = "converted"


def campaigns(d: ReportData) -> Section:
    return Section(
        "campaigns",
        Text("营销活动", "Campaigns"),
        Text(
            "每个人在导出之前只进一个组并一直留在该组；留出组什么也收不到，他们自然发生的消费就是对照。人数按分组计，不论是否真的触达。",
            "Everybody gets one arm before anything is exported and keeps it; the held out get nothing, and what they do anyway is what the "
            "others are held against. People are counted by the arm that they were given, whoever was reached.",
        ),
        (_calendar(d), *(block for c in d.campaigns.told for block in _campaign(d, c))),
    )


def _campaign(d: ReportData, c: CampaignCourse) -> list[Block]:
    """One block says so where nobody has an arm; what was learnt and credited stands there only where something was."""
    if not c.assigned:
        return [_nobody_yet(d, c)]
    found = [_people(d, c), _funnel(d, c), _metrics(d, c), campaign_lift.lift(d, c)]
    return found + [b for b in (campaign_lift.what_was_learnt(d, c), *campaign_lift.credit(d, c)) if b is not None]


def _stage(name: str) -> Text:
    kind = STAGES[name]  # type: ignore[index]
    return Text(kind.zh, kind.en)


def _state(first: date, last: date, day: date) -> Text:
    if day < first:
        return Text("未开始，", "ahead, ") + _in_days((first - day).days)
    return Text("已结束", "over") if day > last else Text("进行中", "running")


def _in_days(left: int) -> Text:
    days = f"{abs(left)} day" + ("" if abs(left) == 1 else "s")
    if left > 0:
        return Text(f"还有 {left} 天", f"in {days}")
    return Text(f"{-left} 天前", f"{days} ago") if left else Text("当天", "today")


def _calendar(d: ReportData) -> Block:
    """Every campaign in the table; drawn are those that the page tells of."""
    title = Text("活动日历", "Calendar of campaigns")
    note = Text(
        "每个阶段的起止日（含当日）；D 日是各阶段起算的活动日。",
        "First and last day of every stage, both included; D-day is the day that stages are counted from.",
    )
    course = d.campaigns
    if course.has_mistakes:
        wrong = Text(
            "活动定义有误，这里没有未分组的活动；huaxiang campaign check 指出文件与行。",
            "Definitions of campaigns have mistakes, so those that nobody was assigned to are not here; `huaxiang campaign check` "
            "names file and line.",
        )
        if not course.definitions:
            return Block(title, note, missing=wrong, wide=True)
        note += Text("", " ") + wrong
    if not course.definitions:
        none = Text(
            "本店还没有营销活动：在 campaigns/ 里写一个 YAML 文件就有。",
            "This shop has no campaign yet: one YAML file in campaigns/ makes one.",
        )
        return Block(title, note, ("campaigns/*.yaml",), missing=none, wide=True)
    told = {c.id for c in course.told}
    if left := len(course.definitions) - len(told):
        note += Text(
            f"结束超过 {course.report_days} 天的 {left} 个活动只列在表里。",
            f" Over for more than {course.report_days} days, and in the table only: {left}.",
        )
    if len(told) == 1:
        (one,) = (campaign_name(c.definition) for c in course.told)
        note += Text(f"图中是{one.zh}。", f" Drawn: {one.en}.")
    rows: list[Sequence[Cell]] = []
    spans = []
    for name, c in course.definitions.items():
        for stage, s in c.stages.there:
            first, last = c.days(stage)
            rows.append(
                (
                    campaign_name(c),
                    _stage(stage),
                    str(first),
                    str(last),
                    str(c.d_day),
                    _state(first, last, d.as_of),
                    ", ".join(s.audiences),
                    ", ".join(s.channels),
                    "–" if s.budget is None else d.money(minor_units(s.budget, d.project.currency)),
                )
            )
            if name in told:
                row = _stage(stage) if len(told) == 1 else campaign_name(c) + Text("·", " · ") + _stage(stage)
                spans.append(span_charts.CalendarRow(row, _stage(stage), first, last, c.d_day))
    heads = (
        Text("活动", "Campaign"),
        Text("阶段", "Stage"),
        Text("首日", "First day"),
        Text("末日", "Last day"),
        Text("D 日", "D-day"),
        Text("状态", "State"),
        Text("人群", "Audiences"),
        Text("渠道", "Channels"),
        Text("预算", "Budget") + f" ({d.project.currency})",
    )
    drawn = None
    if spans:
        drawn = span_charts.calendar(
            spans, d.as_of, title, aim=Text("D 日", "D-day"), now=Text("截止业务日", "Business day")
        )
    shown = Table(heads, tuple(tuple(r) for r in rows), frozenset({8}))
    return Block(title, note, ("campaigns/*.yaml", "campaigns.plans"), drawn, shown, wide=True, shown=drawn is None)


def _nobody_yet(d: ReportData, c: CampaignCourse) -> Block:
    first = min(c.definition.days(s)[0] for s, _ in c.definition.stages.there)
    note = Text(f"首日 {first}，D 日 {c.definition.d_day}。", f"From {first}, D-day {c.definition.d_day}.")
    missing = Text(
        f"到 {d.as_of} 还没有给任何人分组：huaxiang campaign assign {c.id}",
        f"Nobody has been given an arm by {d.as_of}: huaxiang campaign assign {c.id}",
    )
    return Block(campaign_name(c.definition), note, ("campaigns.assignments",), missing=missing, wide=True)


def _people(d: ReportData, c: CampaignCourse) -> Block:
    """Goal, days, and who has an arm."""
    title = campaign_name(c.definition)
    whole = sum(c.assigned.values())
    held = sum(c.assigned.get(a, 0) for a in (HELD_OUT, ABOVE))
    note = Text(
        f"分组日 {c.assigned_from} 起，最后一个观察窗口到 {c.over_on} 为止（分组后 {c.definition.window_days} 天）。",
        f"Arms given from {c.assigned_from}; the last window ends on {c.over_on} ({c.definition.window_days} days after the assignment).",
    )
    note += Text(" ", " ") + Text(c.definition.description.zh, c.definition.description.en)
    goal = c.definition.goal
    if goal.money is not None:
        asked = Text(*money_words(minor_units(goal.money, d.project.currency), d.project.currency))
    else:
        asked = Text(f"{count(goal.users)} 人购买", f"{count(goal.users)} buyers")
    left = (c.definition.d_day - d.as_of).days
    tiles = [
        Tile(Text("D 日", "D-day"), same(str(c.definition.d_day)), _in_days(left)),
        Tile(Text("目标", "Goal"), asked),
        *(
            Tile(
                arm_name(c.definition, arm),
                same(count(n)),
                Text(f"占分组人数 {share(n / whole)}", f"{share(n / whole)} of who has an arm"),
            )
            for arm, n in _in_order(c.definition, c.assigned)
        ),
    ]
    if not held:
        note += Text(" 没有留出任何人。", " Nobody is held out.")
    return Block(title, note, ("campaigns.assignments", "campaigns/*.yaml"), tiles=tuple(tiles), wide=True)


def _in_order(d: CampaignDefinition, by_arm: dict[str, int]) -> list[tuple[str, int]]:
    """Arms as the campaign declares them, those it does not have any more after them, who gets nothing last."""
    order = [*d.arms, *sorted(set(by_arm) - {*d.arms, HELD_OUT, ABOVE}), HELD_OUT, ABOVE]
    return [(a, by_arm[a]) for a in order if a in by_arm]


def _funnel(d: ReportData, c: CampaignCourse) -> Block:
    """From the audience over the arm and what left to who was reached and who bought, stage by stage and together."""
    title = campaign_name(c.definition) + Text("：各阶段漏斗", ": funnel by stage")
    note = Text(
        "人群 = 该阶段各人群最近一次构建的成员，每人计一次；交付 = 给每个平台的最近一次交付的行数。",
        "Audience: members of the stage's audiences as last built, each once. Delivered: rows of the newest delivery to each platform.",
    )
    if any(x.is_changes for s in c.stages for x in s.deliveries):
        note += Text(
            "带 Δ 的平台只收变化，行数是来的与走的人。",
            " A platform with Δ is sent changes: its rows are who came and who went.",
        )
    buyers = _buyers(c)
    if c.touched is None:
        note += Text(
            "没有这个活动的触达数据（数据源 touches）。",
            " The shop tells of no touches of this campaign (feed touches).",
        )
    if buyers:
        note += Text(
            f"成交 = 分组后 {c.definition.window_days} 天内下单的人，按 {_counted(c)} 的结果。",
            f" Bought: people with an order within {c.definition.window_days} days of their assignment, by the results of {_counted(c)}.",
        )
    heads = [
        Text("阶段", "Stage"),
        Text("组别", "Arm"),
        Text("人群人数", "In the audience"),
        Text("分到该组", "With the arm"),
        Text("交付（行）", "Delivered (rows)"),
        *([Text("有触达", "Touched"), Text("看到", "Saw it")] if c.touched is not None else []),
        *([Text("成交人数", "Bought")] if buyers else []),
    ]
    rows: list[Sequence[Cell]] = []
    bars: list[_Bar] = []
    for s in c.stages:
        for arm in _arms_of(c, s):
            gets = arm not in (None, HELD_OUT, ABOVE)
            reached = s.touched.get(arm or "", PeopleReached(0, 0))
            mine = [x for x in s.deliveries if x.arm == arm]
            with_arm = None if s.built is None else s.by_arm.get(arm, 0)
            rows.append(
                (
                    _stage(s.stage),
                    arm_name(c.definition, arm),
                    count(s.users),
                    count(with_arm),
                    _delivered(mine) if gets else "–",
                    *((count(reached.users), count(reached.seen)) if c.touched is not None else ()),
                    *(("–",) if buyers else ()),
                )
            )
            if s.deliveries or s.touched:
                row = _stage(s.stage) + Text("·", " · ") + arm_name(c.definition, arm)
                bars.append(_Bar(row, (with_arm, _most(mine) if gets else None, reached.seen)))
    if c.touched is not None or buyers:
        for arm, n in _in_order(c.definition, c.assigned):
            whole = (c.touched or {}).get(arm, PeopleReached(0, 0))
            rows.append(
                (
                    Text("整个活动", "Whole campaign"),
                    arm_name(c.definition, arm),
                    "–",
                    count(n),
                    "–",
                    *((count(whole.users), count(whole.seen)) if c.touched is not None else ()),
                    *((count(buyers.get(arm)),) if buyers else ()),
                )
            )
    drawn = _drawn(bars, title, is_touched=c.touched is not None)
    source = ("audiences.membership_log", "campaigns.assignments", "exports.deliveries")
    more = ("silver.touches",) if c.touched is not None else ()
    shown = table(heads, rows, first_text=2)
    return Block(title, note, (*source, *more), drawn, shown, wide=True, shown=True)


@dataclass(frozen=True)
class _Bar:
    """People of a stage and arm who have it, who left in a file, and who saw something."""

    name: Text
    numbers: tuple[int | None, int | None, int]


def _drawn(bars: Sequence[_Bar], title: Text, *, is_touched: bool) -> Chart | None:
    """The stages of which something left or was seen."""
    if not bars:
        return None
    names = [
        (Text("分到该组", "With the arm"), charts.PALE),
        (Text("交付（行）", "Delivered (rows)"), charts.SOFT),
        *([(Text("看到", "Saw it"), charts.ACCENT)] if is_touched else []),
    ]
    parts = [
        charts.Bars(name, [b.numbers[i] for b in bars], [count(b.numbers[i]) for b in bars], colour)
        for i, (name, colour) in enumerate(names)
    ]
    return charts.bars([b.name for b in bars], parts, title)


def _arms_of(c: CampaignCourse, s: StageCourse) -> list[str | None]:
    """Declared arms with a weight, and every other that anybody of the stage has."""
    there = {a for a in s.by_arm if a is not None} | {x.arm for x in s.deliveries} | set(s.touched)
    wanted = {a for a, w in c.definition.weights.items() if w}
    ordered = [a for a, _ in _in_order(c.definition, dict.fromkeys(there | wanted, 0))]
    return [*ordered, *([None] if s.by_arm.get(None) else [])]


def _delivered(found: Sequence[StageDelivery]) -> Cell:
    """Rows by platform; those of several audiences together."""
    rows: dict[tuple[str | None, bool], int] = {}
    for x in found:
        rows[x.platform, x.is_changes] = rows.get((x.platform, x.is_changes), 0) + x.rows
    if not rows:
        return "–"
    said = []
    for (platform, is_changes), n in rows.items():
        name = Text("自有文件", "own file") if platform is None else same(platform)
        said.append(name + (" Δ " if is_changes else " ") + count(n))
    return Text("；".join(s.zh for s in said), "; ".join(s.en for s in said))


def _most(found: Sequence[StageDelivery]) -> int | None:
    """Rows of the platform that most were delivered to."""
    rows: dict[str | None, int] = {}
    for x in found:
        rows[x.platform] = rows.get(x.platform, 0) + x.rows
    return max(rows.values(), default=None)


def _buyers(c: CampaignCourse) -> dict[str, int]:
    """Who bought within the window, by arm; empty without results, and where they are of the day of the first assignment."""
    if not c.results or c.assigned_from is None or c.results[0]["as_of"] <= c.assigned_from:
        return {}
    found = {r["arm"]: round(r["mean"] * r["users"]) for r in c.results if r["outcome"] == BOUGHT and r["users"]}
    held = next((r for r in c.results if r["outcome"] == BOUGHT and r["held_users"]), None)
    return found | ({HELD_OUT: round(held["held_mean"] * held["held_users"])} if held is not None else {})


def _counted(c: CampaignCourse) -> str:
    return str(c.results[0]["as_of"]) if c.results else "–"


def _metrics(d: ReportData, c: CampaignCourse) -> Block:
    """What stages were to reach, and have."""
    title = campaign_name(c.definition) + Text("：阶段指标", ": metrics of the stages")
    day = c.progress[0]["as_of"] if c.progress else None
    note = Text(
        "在阶段自己的日子里，所有分到组且不在留出组的人。",
        "Over the stage's own days, of everybody who has an arm and is not held out.",
    )
    source = ("campaigns.progress", "campaigns/*.yaml")
    reached = {(r["stage"], r["metric"]): r["reached"] for r in c.progress}
    rows: list[Sequence[Cell]] = []
    drawn: list[tuple[Text, float]] = []
    for name, stage in c.definition.stages.there:
        first, last = c.definition.days(name)
        for m in stage.metrics:
            known = METRICS[m.metric]
            is_money = known.counts == "net_amount"
            target = float(minor_units(m.target, d.project.currency)) if is_money else float(m.target)
            # Before its first day a stage has reached nothing because nothing could be.
            so_far = reached.get((name, m.metric)) if day is not None and day >= first else None
            rows.append(
                (
                    _stage(name),
                    Text(known.zh, known.en) + (f" ({d.project.currency})" if is_money else ""),
                    _state(first, last, d.as_of),
                    d.money(target) if is_money else count(target),
                    "–" if so_far is None else d.money(so_far) if is_money else count(so_far),
                    share(None if so_far is None else so_far / target, 0),
                )
            )
            if so_far is not None:
                drawn.append((_stage(name) + Text("·", " · ") + Text(known.zh, known.en), so_far / target))
    if not rows:
        none = Text("这个活动的阶段没有设指标。", "The stages of this campaign have no metrics.")
        return Block(title, note, source, missing=none)
    if day is None:
        note += Text(
            f"还没有计算：huaxiang campaign results {c.id}", f" Not counted yet: huaxiang campaign results {c.id}"
        )
    else:
        note += Text(f"按 {day} 的结果。", f" By the results of {day}.")
        if not drawn:
            note += Text("当时还没有阶段开始。", " No stage had begun by then.")
    chart = None
    if drawn:
        part = charts.Bars(Text("完成", "Reached"), [n for _, n in drawn], [share(n, 0) for _, n in drawn])
        names = [t for t, _ in drawn]
        chart = charts.bars(names, [part], title, percent=True)
        chart = replace(chart, height=chart.height + (charts.row_height(names) - charts.ROW) * len(names))
    heads = [
        Text("阶段", "Stage"),
        Text("指标", "Metric"),
        Text("状态", "State"),
        Text("目标", "Target"),
        Text("达到", "Reached"),
        Text("完成率", "Of the target"),
    ]
    return Block(title, note, source, chart, table(heads, rows, first_text=3), shown=True)
