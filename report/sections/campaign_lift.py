"""What a campaign brought more than the held out, and may be said of it; what was learnt; orders credited to touches, and costs."""

from __future__ import annotations

from collections.abc import Callable

from campaigns.attribution import METHODS
from campaigns.language import ABOVE, HELD_OUT, OUTCOMES, CampaignDefinition, CampaignSettings
from campaigns.verdict import WORDS
from queries.campaign_course import CampaignCourse, Row
from report import charts, span_charts
from report.blocks import Block, Cell, Chart, Table, Tile, count, decimal, same, share, table
from report.data import ReportData
from report.words import METHODS_OF_CREDIT
from schemas.money import main_units
from schemas.text import Text

LEARNT_ROWS = 15
"""Values that are shown of those that were looked at; every found one is."""


def campaign_name(d: CampaignDefinition) -> Text:
    return Text(d.name.zh, d.name.en)


def arm_name(d: CampaignDefinition, arm: str | None) -> Text:
    """As the campaign calls it; an arm that it does not have any more by its id."""
    if arm is None:
        return Text("尚未分组", "No arm yet")
    if arm == HELD_OUT:
        return Text("留出组", "Held out")
    if arm == ABOVE:
        return Text("全局留出", "Held out of every campaign")
    declared = d.arms.get(arm)
    return same(arm) if declared is None or declared.name is None else Text(declared.name.zh, declared.name.en)


def lift(d: ReportData, c: CampaignCourse) -> Block:
    """Every arm against the held out: the verdict in words or why there is none, and the interval that it is made by."""
    title = campaign_name(c.definition) + Text("：提升与结论", ": lift and verdict")
    zh, en = OUTCOMES[c.definition.outcome]
    note = Text(
        f"结论看{zh}：每组减去留出组，95% 区间；按分组计，不论是否触达。",
        f"The verdict is about {en}: each arm less the held out with the 95 % interval, by assignment, whoever was reached.",
    )
    source = ("campaigns.results",)
    if not c.results:
        return Block(title, note, source, missing=_not_counted(c))
    mine = [r for r in c.results if r["outcome"] == c.definition.outcome]
    note += Text(f" 按 {c.results[0]['as_of']} 的结果。", f" By the results of {c.results[0]['as_of']}.")
    if not all(r["is_over"] for r in c.results):
        note += Text(
            " 观察窗口还没有走完，结论看随时有效区间。",
            " The windows are still running, so the always-valid interval decides.",
        )
    if (p := c.results[0]["sample_ratio_p"]) is not None:
        note += Text(f" 样本比例检验 p = {p:.2g}。", f" Sample ratio p = {p:.2g}.")
    tiles = tuple(
        Tile(
            arm_name(c.definition, r["arm"]),
            Text(*WORDS[r["lift_verdict"]]),
            _reason(d, c, r),
            "warn" if r["lift_verdict"] in ("harm", "sample_ratio") else "",
        )
        for r in mine
    )
    return Block(title, note, source, _drawn(d, c, mine, title), _table(d, c), tiles, wide=True, shown=True)


def _not_counted(c: CampaignCourse) -> Text:
    if HELD_OUT not in c.assigned:
        return Text("没有留出任何人，所以说不出提升。", "Nobody is held out, so no lift can be told.")
    return Text(
        f"还没有结论：结果尚未计算，huaxiang campaign results {c.id}",
        f"No verdict yet, since no results were counted: huaxiang campaign results {c.id}",
    )


def _decides(r: Row) -> tuple[float, float] | None:
    """The interval that the verdict is made by; None where nothing can be compared."""
    low, high = ("difference_low", "difference_high") if r["is_over"] else ("sequential_low", "sequential_high")
    return None if r[low] is None or r[high] is None else (r[low], r[high])


def _reason(d: ReportData, c: CampaignCourse, r: Row) -> Text:
    """What the verdict rests on, or what stands against one."""
    settings, asked = d.project.method("campaigns", CampaignSettings), c.definition.smallest_lift
    seen = r["visible_lift"]
    if r["lift_verdict"] == "sample_ratio":
        return Text(f"样本比例检验 p = {r['sample_ratio_p']:.2g}", f"sample ratio p = {r['sample_ratio_p']:.2g}")
    if r["lift_verdict"] == "too_small":
        if not r["held_users"]:
            return Text("没有留出任何人", "nobody is held out")
        if min(r["users"], r["held_users"]) < settings.min_arm_users:
            return Text(
                f"本组 {count(r['users'])} 人，留出 {count(r['held_users'])} 人；每组至少要 {count(settings.min_arm_users)} 人",
                f"{count(r['users'])} users and {count(r['held_users'])} held out; each needs {count(settings.min_arm_users)}",
            )
        if seen is None:
            return Text(
                "留出组还没有任何成交，看不出提升", "the held out have brought nothing yet, so no lift can be seen"
            )
        return Text(
            f"最小可见提升 {share(seen)}，活动要求看得到 {share(asked)}",
            f"the smallest lift to be seen is {share(seen)}; {share(asked)} was asked for",
        )
    ends = _decides(r)
    if ends is None:
        return Text("还没有可比的成交", "nothing to compare yet")
    between, mine = _more(d, r["outcome"], *ends), _more(d, r["outcome"], r["difference"])
    if r["lift_verdict"] != "undecided":
        return Text(f"每人 {mine.zh}（{between.zh}）", f"{mine.en} a user ({between.en})")
    found = Text(f"区间 {between.zh} 含 0", f"the interval {between.en} holds 0")
    if seen is not None:
        found += Text(f"；最小可见提升 {share(seen)}", f"; smallest lift to be seen {share(seen)}")
    return found


def _saying(d: ReportData, outcome: str) -> Callable[[float | None], str]:
    """How a mean of the outcome is written."""
    if outcome == "net_amount":
        return lambda n: d.money(n, exact=True)
    if outcome == "converted":
        return lambda n: share(n, 2)
    return lambda n: decimal(n, 4)


def _more(d: ReportData, outcome: str, *numbers: float | None) -> Text:
    """A difference, or both ends of an interval of one; of shares in percentage points."""
    known = [n for n in numbers if n is not None]
    if len(known) < len(numbers):
        return same("–")
    if outcome == "converted":
        written = " – ".join(f"{100 * n:.2f}" for n in known)
        return Text(f"{written} 个百分点", f"{written} pp")
    say = _saying(d, outcome)
    return same(" – ".join(say(n) for n in known))


def _unit(d: ReportData, outcome: str) -> Text:
    """What stands behind the name of an axis of differences."""
    if outcome == "converted":
        return Text("（百分点）", " (pp)")
    return same(f" ({d.project.currency})" if outcome == "net_amount" else "")


def _point(d: ReportData, outcome: str, name: Text, number: float, low: float, high: float) -> span_charts.Interval:
    """As it is drawn: money in main units, differences of shares in percentage points."""

    def drawn(n: float) -> float:
        return float(main_units(n, d.project.currency)) if outcome == "net_amount" else n

    scale = 100 if outcome == "converted" else 1
    at, *ends = (scale * drawn(n) for n in (number, low, high))
    words = _more(d, outcome, number) + " (" + _more(d, outcome, low, high) + ")"
    return span_charts.Interval(name, at, (ends[0], ends[1]), words)


def _drawn(d: ReportData, c: CampaignCourse, mine: list[Row], title: Text) -> Chart | None:
    outcome = c.definition.outcome
    found = [
        _point(d, outcome, arm_name(c.definition, r["arm"]), r["difference"], *ends)
        for r in mine
        if (ends := _decides(r)) is not None and r["difference"] is not None
    ]
    zh, en = OUTCOMES[outcome]
    axis = Text(f"{zh}：比留出组多", f"{en}: more than the held out") + _unit(d, outcome)
    return span_charts.intervals(found, title, x_title=axis) if found else None


def _table(d: ReportData, c: CampaignCourse) -> Table:
    """All three outcomes, the campaign's own first."""
    rows: list[tuple[Cell, ...]] = []
    for outcome in sorted(OUTCOMES, key=lambda o: o != c.definition.outcome):
        say = _saying(d, outcome)
        unit = f" ({d.project.currency})" if outcome == "net_amount" else ""
        for r in (r for r in c.results if r["outcome"] == outcome):
            rows.append(
                (
                    arm_name(c.definition, r["arm"]),
                    Text(*OUTCOMES[outcome]) + unit,
                    f"{count(r['users'])} / {count(r['held_users'])}",
                    f"{say(r['mean'])} / {say(r['held_mean'])}",
                    _more(d, outcome, r["difference"]),
                    _more(d, outcome, r["difference_low"], r["difference_high"]),
                    share(r["relative_lift"]),
                    share(r["chance_to_win"], 0),
                    _more(d, outcome, r["sequential_low"], r["sequential_high"]),
                    _more(d, outcome, r["cuped_low"], r["cuped_high"]),
                )
            )
    heads = [
        Text("组别", "Arm"),
        Text("指标", "Outcome"),
        Text("人数 / 留出", "Users / held"),
        Text("均值 / 留出", "Mean / held"),
        Text("差值", "Difference"),
        same("95%"),
        Text("提升", "Lift"),
        Text("胜出概率", "Chance"),
        Text("随时有效", "Always valid"),
        same("CUPED 95%"),
    ]
    return table(heads, rows, first_text=2)


def what_was_learnt(d: ReportData, c: CampaignCourse) -> Block | None:
    """Values whose lift is above the campaign's own, and the surest of the others; None where nothing is kept."""
    if not c.learnt:
        return None
    title = campaign_name(c.definition) + Text("：学到了什么", ": what was learnt")
    outcome = c.learnt[0]["outcome"]
    say = _saying(d, outcome)
    found = sum(r["is_found"] for r in c.learnt)
    shown = c.learnt[: max(found, LEARNT_ROWS)]
    zh, en = OUTCOMES[outcome]
    note = Text(
        f"分组当日的标签值，按{zh}：收缩后的提升与 95% 区间。按 {c.learnt[0]['as_of']} 的计算。",
        f"Values of tags on the day of the assignment, by {en}: the lift, shrunk, with the 95 % interval. As counted on {c.learnt[0]['as_of']}.",
    )
    if found:
        note += Text(
            f"{found} 个值的提升高于整体（看了 {len(c.learnt)} 个，已校正）；说明哪里提升不同，不说明原因。",
            f" The lift of {found} is above the campaign's own, of {len(c.learnt)} that were looked at, corrected for the looks; it tells "
            "where the lift differs, not what made it differ.",
        )
    else:
        note += Text(
            f"看了 {len(c.learnt)} 个值，没有一个的提升超出偶然地高于整体。",
            f" Of {len(c.learnt)} values that were looked at none has a lift above the campaign's own beyond chance.",
        )
    if len(shown) < len(c.learnt):
        note += Text(f"列出最确定的 {len(shown)} 个。", f" The surest {len(shown)} are shown.")
    names = [d.words.tag(r["tag"]) + Text("：", ": ") + d.words.value(r["tag"], r["value"]) for r in shown]
    points = [
        _point(d, outcome, name, r["shrunk_lift"], r["shrunk_low"], r["shrunk_high"])
        for name, r in zip(names, shown, strict=True)
    ]
    axis = Text(f"{zh}：收缩后的提升", f"{en}: lift, shrunk") + _unit(d, outcome)
    rows: list[tuple[Cell, ...]] = [
        (
            name,
            Text("是", "yes") if r["is_found"] else "–",
            count(r["users"]),
            count(r["held_users"]),
            say(r["response"]),
            say(r["held_mean"]),
            _more(d, outcome, r["shrunk_lift"]),
            _more(d, outcome, r["shrunk_low"], r["shrunk_high"]),
            decimal(r["q_value"], 4),
        )
        for name, r in zip(names, shown, strict=True)
    ]
    heads = [
        Text("标签值", "Value"),
        Text("高于整体", "Found"),
        Text("人数", "Users"),
        Text("留出", "Held out"),
        Text("均值", "Mean"),
        Text("留出均值", "Held mean"),
        Text("提升（收缩）", "Lift, shrunk"),
        same("95%"),
        same("q"),
    ]
    drawn = span_charts.intervals(points, title, x_title=axis)
    return Block(title, note, ("campaigns.learnt",), drawn, table(heads, rows, first_text=2), wide=True)


def credit(d: ReportData, c: CampaignCourse) -> list[Block]:
    """Costs of the arms and of an added order, and orders credited to channels; none where the shop tells of no touches."""
    found = []
    priced = [r for r in c.results if r["outcome"] == "orders" and r["cost_minor"] is not None]
    if priced:
        found.append(_costs(d, c, priced))
    if c.attribution:
        found.append(_credited(d, c))
    return found


def _costs(d: ReportData, c: CampaignCourse, priced: list[Row]) -> Block:
    title = campaign_name(c.definition) + Text("：费用", ": what it cost")
    note = Text(
        "增量订单 = 比留出组多的订单；没有增量就没有单价，它和提升一样不确定。",
        "An added order is one more than the held out brought; without any it has no price, and the price is as uncertain as the lift.",
    )
    tiles = []
    for r in priced:
        each = r["cost_per_added_order_minor"]
        per = Text("没有增量订单", "no added order")
        if each is not None:
            per = Text(f"每个增量订单 {d.money(each, exact=True)}", f"{d.money(each, exact=True)} an added order")
        tiles.append(
            Tile(
                arm_name(c.definition, r["arm"]),
                same(f"{d.money(r['cost_minor'], exact=True)} {d.project.currency}"),
                per,
            )
        )
    return Block(title, note, ("campaigns.results",), tiles=tuple(tiles))


def _credited(d: ReportData, c: CampaignCourse) -> Block:
    title = campaign_name(c.definition) + Text("：订单归因", ": orders credited to touches")
    note = Text(
        f"窗口内的订单按看到的触达归因，每种方法合计相同。归因不是因果：没有触达也会来的订单也计在内，因果看提升。按 {c.attribution[0]['as_of']} 的结果。",
        "Orders in the windows, credited to touches that were seen; every method sums to the same. Credit is no cause: orders that would have "
        f"come anyway are in it, the lift tells the cause. By the results of {c.attribution[0]['as_of']}.",
    )
    by_channel: dict[str, dict[str, Row]] = {}
    for r in c.attribution:
        by_channel.setdefault(r["channel"], {})[r["method"]] = r
    channels = [same(k) for k in by_channel]
    parts = [
        charts.Bars(
            METHODS_OF_CREDIT[m],
            [by.get(m, {}).get("credited_orders") for by in by_channel.values()],
            [decimal(by.get(m, {}).get("credited_orders"), 1) for by in by_channel.values()],
            charts.SHADES[i],
        )
        for i, m in enumerate(METHODS)
    ]
    rows: list[tuple[Cell, ...]] = []
    for channel, by in by_channel.items():
        one = next(iter(by.values()))
        rows.append(
            (
                same(channel),
                count(one["touches"]),
                d.money(one["cost_minor"], exact=True),
                *(decimal(by.get(m, {}).get("credited_orders"), 1) for m in METHODS),
            )
        )
    heads = [
        Text("渠道", "Channel"),
        Text("看到的触达", "Touches seen"),
        Text("费用", "Cost") + f" ({d.project.currency})",
        *(METHODS_OF_CREDIT[m] for m in METHODS),
    ]
    return Block(
        title, note, ("campaigns.attribution",), charts.bars(channels, parts, title), table(heads, rows), wide=True
    )
