"""Distribution and needs pyramid (分布与需求金字塔): levels with needs and resources, concentration of spend, super users."""

from __future__ import annotations

from features.aipl import SUPER
from report import charts
from report.blocks import Block, PyramidLevel, Section, Tile, count, decimal, share, table
from report.data import ReportData
from report.sections.segmentation import how_to_get, lacking, of_role, shares, whole_table
from report.words import NAMES
from schemas.tag_roles import TagRole
from schemas.text import Text

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
            *of_role(d, TagRole.PYRAMID, _pyramid, shares, _levels),
            *of_role(d, TagRole.SUPER_USER, _super),
            _lorenz(d),
            _concentration(d),
        ),
    )


def _levels(d: ReportData, scheme: str) -> Block:
    return whole_table(d, scheme, strategy=False)


def _pyramid(d: ReportData, scheme: str) -> Block:
    title = d.words.tag(scheme)
    note = Text(
        "会员与访客合计；台阶宽度不代表人数。",
        "Members and visitors together; the width of a step does not stand for its users.",
    )
    there = d.segments.get(scheme, {})
    values = d.words.order(scheme, there=there)
    if not there:
        missing = Text("这次发布没有用户金字塔。", "This release has no user pyramid.")
        return Block(title, note, FIGURES, missing=missing, wide=True)
    steps = []
    for v in values:
        users = sum(there.get(v, {}).values())
        money = d.number("segments", "amount_share", f"{scheme}/{v}")
        figure = Text(
            f"{count(users)} 人 · {share(users / d.users if d.users else None)}",
            f"{count(users)} users · {share(users / d.users if d.users else None)}",
        )
        if money is not None:
            figure += Text(f" · 消费 {share(money)}", f" · spend {share(money)}")
        said = [d.words.said(scheme, v, what) for what in ("needs", "resources", "strategies")]
        steps.append(PyramidLevel(d.words.value(scheme, v), figure, said[0], said[1], said[2]))
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
    """Why nothing is spread: no tag says what is spent, nobody spent, or the release does not say."""
    if why := lacking(d, TagRole.MONETARY):
        return why
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


def _super(d: ReportData, scheme: str) -> Block:
    title = Text("超级用户", "Super users")
    note = d.words.described(scheme) + Text("", " ") + how_to_get(scheme, SUPER)
    there = d.segments.get(scheme, {})
    if not there:
        return Block(
            title, note, FIGURES, missing=Text("这次发布没有超级用户分群。", "This release does not mark super users.")
        )
    members, visitors = (there.get(SUPER, {}).get(k, 0) for k in (True, False))
    money = d.number("segments", "amount_share", f"{scheme}/{SUPER}")
    mean = d.number("segments", "mean_monetary_minor", f"{scheme}/{SUPER}")
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
