"""Promotion sensitivity, weighted layering, cross-purchase, brushing."""

from __future__ import annotations

from collections.abc import Sequence

from features.cross_purchase import CrossPurchaseSettings
from report import charts
from report.blocks import Block, Cell, Section, count, decimal, same, share, table
from report.data import ReportData
from report.sections.segmentation import how_to_get, lacking
from report.words import NAMES, SIGNALS
from schemas.tag_roles import TagRole
from schemas.text import Text

FIGURES = ("segments.figures",)
SHOWN_PAIRS, LISTED_RULES = 15, 60
RATIOS = (
    ("promotion_order_ratio", Text("促销订单比", "Promotion orders")),
    ("discount_depth_ratio", Text("折扣深度比", "Discount depth")),
    ("discount_amount_ratio", Text("折扣金额比", "Discount amount")),
)
CLASSES = Text("促销敏感度分级", "Classes of promotion sensitivity")
HOW_CLASSED = Text(
    "每一项都除以其他用户在相同类目、相同日期的同一指标（1 = 与他人相同），再折成 0–1 分。",
    "Each term is divided by the same figure of all other users in the same categories on the same days (1 = like the others), "
    "then ranked to 0–1.",
)
CLASS, USERS = Text("级别", "Class"), Text("用户", "Users")
TERM_NAMES = (*(name for _, name in RATIOS), Text("得分", "Score"))


def promotion(d: ReportData) -> Section:
    users = d.figure("promotion", "users")
    scheme = d.of(TagRole.PROMOTION)
    if scheme is None or not users:
        few = Text("订单太少，或没有促销信息。", "Too few orders, or no promotions in the data.")
        missing = lacking(d, TagRole.PROMOTION) or few
        return _promotion_section(d, scheme, (Block(CLASSES, HOW_CLASSED, FIGURES, missing=missing),))
    order = [v for v in d.words.order(scheme, there=users) if v in users]
    classes = [(v, d.words.value(scheme, v)) for v in order]
    told = _promotion_strategies(d, scheme, classes)
    return _promotion_section(d, scheme, (_promotion_classes(d, classes), *_promotion_ratios(d, classes), *told))


def _promotion_classes(d: ReportData, classes: Sequence[tuple[str, Text]]) -> Block:
    users = d.figure("promotion", "users")
    people = [users[v].number for v, _ in classes]
    total = sum(p or 0 for p in people) or 1
    chart = charts.bars(
        [name for _, name in classes], [charts.Bars(USERS, people, [count(p) for p in people])], CLASSES
    )
    rows: list[tuple[Cell, ...]] = [
        (name, count(p), share((p or 0) / total), decimal(d.number("promotion", "score", v), 2))
        for (v, name), p in zip(classes, people, strict=True)
    ]
    return Block(
        CLASSES, HOW_CLASSED, FIGURES, chart, table([CLASS, USERS, Text("占比", "Share"), TERM_NAMES[-1]], rows)
    )


def _promotion_ratios(d: ReportData, classes: Sequence[tuple[str, Text]]) -> list[Block]:
    """Mean ratios by class, where one is known."""
    known = [(v, name) for v, name in classes if any(d.number("promotion", f, v) is not None for f, _ in RATIOS)]
    if not known:
        return []
    title = Text("与他人相比的倍数", "Times the others' figure")
    shades = (charts.ACCENT, charts.SOFT, charts.GREY)
    parts = [
        charts.Bars(name, n := [d.number("promotion", f, v) for v, _ in known], [decimal(x, 2) for x in n], shade)
        for (f, name), shade in zip(RATIOS, shades, strict=True)
    ]
    return [
        Block(
            title,
            Text("级别内平均；1 = 与他人相同。", "Mean within the class; 1 = like the others."),
            FIGURES,
            charts.bars([name for _, name in known], parts, title),
            table([CLASS, *TERM_NAMES], [(name, *_promotion_terms(d, v)) for v, name in classes]),
        )
    ]


def _promotion_terms(d: ReportData, value: str) -> list[str]:
    return [decimal(d.number("promotion", f, value), 2) for f in (*(f for f, _ in RATIOS), "score")]


def _promotion_strategies(d: ReportData, scheme: str, classes: Sequence[tuple[str, Text]]) -> list[Block]:
    """What the catalogue says is done with each class, where it says something."""
    said = [(name, strategy) for v, name in classes if (strategy := d.words.said(scheme, v))]
    if not said:
        return []
    return [
        Block(
            Text("每级的策略", "Strategy per class"),
            Text("来自标签目录。", "From the tag catalogue. ") + how_to_get(scheme, classes[0][0]),
            ("tags",),
            table=table((CLASS, Text("策略", "Strategy")), said, first_text=2),
            shown=True,
        )
    ]


def _promotion_section(d: ReportData, scheme: str | None, blocks: tuple[Block, ...]) -> Section:
    return Section(
        "promotion",
        Text("促销敏感度", "Promotion sensitivity"),
        Text("谁因促销而买，谁不需要促销。", "Who buys for promotions and who needs none. ")
        + d.words.described(scheme or ""),
        blocks,
    )


def layering(d: ReportData) -> Section:
    contributions = d.figure("layering", "contribution")
    intro = Text(
        "分数 = Σ 权重 × 归一化值；贡献 = 层内 权重 ×（归一化值 − 总体均值）的平均。",
        "Score = Σ weight × normalised value; contribution = mean within the layer of weight × (value − overall mean).",
    )
    title = Text("加权分层", "Weighted layering")
    if not contributions:
        missing = Text("目录中没有分层标签，或没有用户。", "The catalogue has no layering, or nobody is in one.")
        return Section("layering", title, intro, (Block(title, intro, FIGURES, missing=missing),))
    return Section(
        "layering",
        title,
        intro,
        tuple(_one_layering(d, t) for t in dict.fromkeys(k.split("/")[0] for k in contributions)),
    )


def _one_layering(d: ReportData, tag: str) -> Block:
    contributions = {tuple(k.split("/", 2)): f.number for k, f in d.figure("layering", "contribution").items()}
    users = {
        k.split("/", 1)[1]: f.number for k, f in d.figure("layering", "layer_users").items() if k.split("/")[0] == tag
    }
    weights = {
        k.split("/", 1)[1]: f.number for k, f in d.figure("layering", "weight").items() if k.split("/")[0] == tag
    }
    there = {k[1] for k in contributions if k[0] == tag}
    layers = [v for v in d.words.order(tag, there=dict.fromkeys(there)) if v in there]
    inputs = list(dict.fromkeys(k[2] for k in contributions if k[0] == tag and len(k) == 3))
    parts = [
        charts.Bars(
            d.words.tag(i) + (f" (w={decimal(weights[i], 2)})" if i in weights else ""),
            n := [contributions.get((tag, v, i)) for v in layers],
            [decimal(x, 3) for x in n],
            charts.SHADES[j % len(charts.SHADES)],
        )
        for j, i in enumerate(inputs)
    ]
    name = d.words.tag(tag)
    title = name + Text("：各输入的贡献", ": contribution of each input")
    rows: list[tuple[Cell, ...]] = [
        (d.words.value(tag, v), count(users.get(v)), *(decimal(contributions.get((tag, v, i)), 3) for i in inputs))
        for v in layers
    ]
    heads = [
        Text("层", "Layer"),
        Text("用户", "Users"),
        *(d.words.tag(i) + (f" (w={decimal(weights[i], 2)})" if i in weights else "") for i in inputs),
    ]
    return Block(
        title,
        Text("正数抬高该层，负数拉低；w 为权重。", "Positive lifts the layer, negative lowers it; w is the weight. ")
        + how_to_get(tag, layers[-1]),
        FIGURES,
        charts.bars([d.words.value(tag, v) for v in layers], parts, title, stacked=True),
        table(heads, rows),
        wide=True,
    )


def cross_purchase(d: ReportData) -> Section:
    title = Text("同买的类目", "Categories bought together")
    settings = d.project.method("cross_purchase", CrossPurchaseSettings)
    least = settings.min_joint_baskets
    note = Text(
        f"篮 = 一个用户在近 {settings.window} 天内买过的类目；提升度 = 同买占比 / 各自占比之积，1 为偶然；至少 {least} 个共同篮。",
        f"Basket = the categories that one user bought within {settings.window} days; lift = P(ab) / (P(a)·P(b)), 1 is chance; at "
        f"least {least} joint baskets.",
    )
    intro = Text(
        "哪些类目常被同一批人买，用于推荐下一个类目。", "Which categories the same people buy, to suggest the next one."
    )
    section = Text("交叉购买", "Cross-purchase")
    source = ("segments.associations",)
    if not d.associations:
        missing = Text(f"没有共同篮数达到 {least} 的类目对。", f"No pair of categories has {least} joint baskets.")
        return Section("cross", section, intro, (Block(title, note, source, missing=missing),))
    top = list({frozenset((r["left_item"], r["right_item"])): r for r in reversed(d.associations)}.values())
    pairs = len(top)
    top = top[::-1][:SHOWN_PAIRS]
    if pairs > SHOWN_PAIRS or len(d.associations) > LISTED_RULES:
        drawn, listed, rules = min(pairs, SHOWN_PAIRS), min(len(d.associations), LISTED_RULES), len(d.associations)
        note += Text(
            f" 图为前 {drawn} 对，共 {count(pairs)} 对；表为前 {listed} 条，共 {count(rules)} 条。",
            f" The chart shows the first {drawn} of {count(pairs)} pairs, the table the first {listed} of {count(rules)} rules.",
        )
    chart = charts.bars(
        [same(f"{r['left_item']} + {r['right_item']}") for r in top],
        [charts.Bars(Text("提升度", "Lift"), [r["lift"] for r in top], [decimal(r["lift"], 2) for r in top])],
        title,
    )
    rows = [
        (
            same(r["left_item"]),
            same(r["right_item"]),
            count(r["joint_baskets"]),
            share(r["support"], 2),
            share(r["confidence"]),
            decimal(r["lift"], 2),
        )
        for r in d.associations[:LISTED_RULES]
    ]
    heads = [
        Text("买了", "Bought"),
        Text("也买", "Also bought"),
        Text("共同篮", "Joint baskets"),
        Text("支持度", "Support"),
        Text("置信度", "Confidence"),
        Text("提升度", "Lift"),
    ]
    return Section(
        "cross", section, intro, (Block(title, note, source, chart, table(heads, rows, first_text=2), wide=True),)
    )


def brushing(d: ReportData) -> Section:
    return Section(
        "brushing",
        Text("刷单", "Brushing"),
        Text(
            "可疑订单带分数与原因；行为指标不含可疑订单（标签另有声明的除外），这里把两种口径并列。",
            "Flagged orders have a score and reasons; figures of behaviour leave them out, unless a tag says otherwise. Here both "
            "views stand side by side.",
        ),
        (_both_views(d), _reasons(d)),
    )


def _both_views(d: ReportData) -> Block:
    title = Text("含与不含可疑订单", "With and without flagged orders")
    flagged = d.number("brushing", "flagged_orders"), d.number("brushing", "flagged_users")
    note = Text("会员与访客合计。", "Members and visitors together.")
    if flagged[0] is not None:
        note = Text(
            f"可疑订单 {count(flagged[0])} 单，可疑用户 {count(flagged[1])} 人；会员与访客合计。",
            f"{count(flagged[0])} flagged orders, {count(flagged[1])} flagged users; members and visitors together.",
        )
    measures = (
        ("orders", Text("订单", "Orders"), False),
        ("buyers", Text("买家", "Buyers"), False),
        ("net_amount_minor", Text("净消费", "Net spend") + f" ({d.project.currency})", True),
        ("mean_order_minor", Text("单均金额", "Mean order") + f" ({d.project.currency})", True),
    )
    rows: list[tuple[Cell, ...]] = []
    for figure, name, money in measures:
        items = d.figure("brushing", figure)
        if not items:
            continue
        numbers = [items[k].number if k in items else None for k in ("with_flagged", "without_flagged", "difference")]
        change = numbers[2] / numbers[0] if numbers[2] is not None and numbers[0] else None
        rows.append((name, *(d.money(n, exact=True) if money else count(n) for n in numbers), share(change, 2)))
    if not rows:
        return Block(
            title,
            note,
            FIGURES,
            missing=Text("这次发布没有刷单识别的结果。", "This release has no results of brushing."),
        )
    heads = [
        Text("指标", "Measure"),
        NAMES["with_flagged"],
        NAMES["without_flagged"],
        NAMES["difference"],
        Text("占比", "Share"),
    ]
    return Block(title, note, FIGURES, table=table(heads, rows), shown=True)


def _reasons(d: ReportData) -> Block:
    from report.data import by_share

    title = Text("被标记的原因", "Reasons for flags")
    note = Text("一单可有多个原因。", "An order can have several reasons.")
    items = d.figure("brushing", "flags_by_reason")
    if not items and d.number("brushing", "flagged_orders") is None:
        missing = Text("这次发布没有刷单识别的结果。", "This release has no results of brushing.")
        return Block(title, note, FIGURES, missing=missing)
    if not items:
        return Block(title, note, FIGURES, missing=Text("没有可疑订单。", "No order is flagged."))
    found = list(by_share(items))
    labels = [SIGNALS.get(k, same(k.replace("_", " "))) for k, _ in found]
    numbers = [f.number for _, f in found]
    chart = charts.bars(labels, [charts.Bars(Text("订单", "Orders"), numbers, [count(n) for n in numbers])], title)
    rows = [(t, count(n)) for t, n in zip(labels, numbers, strict=True)]
    return Block(title, note, FIGURES, chart, table([Text("原因", "Reason"), Text("订单", "Orders")], rows))
