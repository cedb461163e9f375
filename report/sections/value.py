"""Distribution and needs pyramid (分布与需求金字塔): levels with needs and resources, concentration of spend, super users."""

from __future__ import annotations

from report import charts
from report.blocks import Block, Section, Step, Text, Tile, count, decimal, share, table
from report.data import ReportData
from report.sections.segmentation import how_to_get, shares, whole_table
from report.words import NAMES

FIGURES = ("segments.figures",)
SEPARATOR = " · "


def distribution(d: ReportData) -> Section:
    return Section(
        "pyramid",
        Text("分布与需求金字塔", "Distribution and needs pyramid"),
        Text(
            "用户在价值台阶上的位置、各层需要什么、投入什么资源，以及消费的集中程度。",
            "Where users stand on the steps of value, what each level needs, what goes into it, and how concentrated spend is.",
        ),
        (
            _pyramid(d),
            shares(d, "user_pyramid"),
            whole_table(d, "user_pyramid", strategy=False),
            _super(d),
            _lorenz(d),
            _concentration(d),
        ),
    )


def _pyramid(d: ReportData) -> Block:
    title = d.words.tag("user_pyramid")
    note = Text(
        "会员与访客合计；台阶宽度不代表人数。",
        "Members and visitors together; the width of a step does not stand for its users.",
    )
    there = d.segments.get("user_pyramid", {})
    values = [
        v
        for v in d.words.order("user_pyramid", there=there)
        if v in there or d.project.catalogue.tags.get("user_pyramid")
    ]
    if not there:
        missing = Text("这次发布没有用户金字塔。", "This release has no user pyramid.")
        return Block(title, note, FIGURES, missing=missing, wide=True)
    steps = []
    for v in values:
        users = sum(there.get(v, {}).values())
        money = d.number("segments", "amount_share", f"user_pyramid/{v}")
        figure = Text(
            f"{count(users)} 人 · {share(users / d.users if d.users else None)}",
            f"{count(users)} users · {share(users / d.users if d.users else None)}",
        )
        if money is not None:
            figure += Text(f" · 消费 {share(money)}", f" · spend {share(money)}")
        said = [d.words.said("user_pyramid", v, what) for what in ("needs", "resources", "strategies")]
        steps.append(Step(d.words.value("user_pyramid", v), figure, said[0], said[1], said[2]))
    return Block(title, note, ("segments.segments", "segments.figures"), steps=tuple(steps), wide=True)


def _lorenz(d: ReportData) -> Block:
    title = Text("消费集中度：洛伦兹曲线", "Concentration of spend: Lorenz curve")
    note = Text(
        "近 365 天净消费。“买家”只含净消费为正者，其余分母含零消费者。",
        "Net spend of 365 days. 'Buyers' are who spent something; the other bases include who spent nothing.",
    )
    curves = d.curve("lorenz")
    if not curves:
        return Block(title, note, ("segments.curves",), missing=_no_spend(d))
    colours = {"buyers": charts.ACCENT, "everybody": charts.SOFT}
    parts = [
        charts.Line(
            NAMES.get(s, Text(s, s)),
            [p["x"] for p in curves[s]],
            [p["y"] for p in curves[s]],
            colours.get(s, charts.GREY),
        )
        for s in sorted(curves)
    ]
    parts.append(charts.Line(Text("完全平均", "Equal shares"), [0, 1], [0, 1], charts.GREY, "dot"))
    at = {s: {round(p["x"], 2): p["y"] for p in points} for s, points in curves.items()}
    shown = [x / 10 for x in range(1, 11)]
    return Block(
        title,
        note,
        ("segments.curves",),
        charts.lines(
            parts,
            title,
            x_title=Text("用户占比（由低到高）", "Share of users, lowest first"),
            y_title=Text("消费占比", "Share of spend"),
            square=True,
        ),
        table(
            [Text("用户占比", "Users"), *(NAMES.get(s, Text(s, s)) for s in at)],
            [(share(x, 0), *(share(at[s].get(round(x, 2))) for s in at)) for x in shown],
        ),
    )


def _no_spend(d: ReportData) -> Text:
    """Why nothing is spread: nobody spent, or the release does not say what was spent."""
    if d.buyers and sum(r["amount"] for r in d.buyers.values()) <= 0:
        return Text("一年内没有消费。", "No spend in the year.")
    return Text("这次发布没有消费分布。", "This release does not say how spend is spread.")


def _concentration(d: ReportData) -> Block:
    title = Text("基尼系数与头部占比", "Gini and top shares")
    note = Text(
        "近 365 天净消费；分母写在每行。",
        "Net spend of 365 days; each row says its base.",
    )
    gini, top = d.figure("value", "gini"), d.figure("value", "top_share")
    if not gini:
        return Block(title, note, FIGURES, missing=_no_spend(d))
    tiles = tuple(
        Tile(
            Text("基尼系数", "Gini") + SEPARATOR + NAMES.get(item, Text(item, item)),
            Text(*(decimal(f.number, 3),) * 2),
            None if f.sample is None else Text(f"{count(f.sample)} 人", f"{count(f.sample)} users"),
        )
        for item, f in gini.items()
    )
    rows = []
    for item, f in top.items():
        base, _, part = item.partition("/")
        rows.append(
            (NAMES.get(base, Text(base, base)), Text(f"前 {part}", f"top {part}"), share(f.number), count(f.sample))
        )
    rows.sort(key=lambda r: (r[0].en, float(r[1].en.removeprefix("top ").rstrip("%") or 0)))
    heads = [Text("分母", "Base"), Text("头部", "Top"), Text("消费占比", "Share of spend"), Text("样本", "Users")]
    chart = (
        charts.bars(
            [r[1] + SEPARATOR + r[0] for r in rows],
            [
                charts.Bars(
                    Text("消费占比", "Share of spend"),
                    [f.number for f in _ordered(top, rows)],
                    [str(r[2]) for r in rows],
                )
            ],
            title,
            percent=True,
        )
        if rows
        else None
    )
    return Block(title, note, FIGURES, chart, table(heads, rows, first_text=2) if rows else None, tiles)


def _ordered(top: dict, rows: list) -> list:  # type: ignore[type-arg]
    names = {(NAMES.get(k.partition("/")[0], Text(k, k)).en, f"top {k.partition('/')[2]}"): f for k, f in top.items()}
    return [names[(r[0].en, r[1].en)] for r in rows]


def _super(d: ReportData) -> Block:
    title = Text("超级用户", "Super users")
    declared = d.words.tags.get("super_user")
    note = Text("", "") if declared is None else Text(declared.description.zh, declared.description.en)
    note += Text("", " ") + how_to_get("super_user", "super")
    there = d.segments.get("super_user", {})
    if not there:
        return Block(
            title, note, FIGURES, missing=Text("这次发布没有超级用户分群。", "This release does not mark super users.")
        )
    value = d.words.order("super_user", there=there)[0]
    members, visitors = there.get(value, {}).get(True, 0), there.get(value, {}).get(False, 0)
    money = d.number("segments", "amount_share", f"super_user/{value}")
    mean = d.number("segments", "mean_monetary_minor", f"super_user/{value}")
    tiles = [
        Tile(Text("会员", "Members"), Text(*(count(members),) * 2), _of(members, d.base.get(True, 0))),
        Tile(Text("访客", "Visitors"), Text(*(count(visitors),) * 2), _of(visitors, d.base.get(False, 0))),
        Tile(
            Text("消费占比", "Share of spend"), Text(*(share(money),) * 2), Text("365 天净消费", "net spend, 365 days")
        ),
        Tile(
            Text("人均消费", "Mean spend"),
            Text(*(d.money(mean),) * 2),
            Text(f"{d.project.currency}，365 天", f"{d.project.currency}, 365 days"),
        ),
    ]
    return Block(title, note, ("segments.segments", "segments.figures"), tiles=tuple(tiles), wide=True)


def _of(part: int, whole: int) -> Text:
    at = share(part / whole if whole else None, 2)
    return Text(f"占 {count(whole)} 人的 {at}", f"{at} of {count(whole)}")
