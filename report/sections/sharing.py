"""Fission (裂变): the share tree by level, K factor, roles, seed users, structures, distributors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from features.fission.settings import K_DAYS, FissionSettings
from report import charts
from report.blocks import Block, Section, Tile, count, decimal, same, share, table
from report.data import Figure, ReportData, by_share
from report.words import NAMES
from schemas.contracts import fields
from schemas.text import Text

FIGURES = ("segments.figures",)
TOUCH_KINDS, OUTCOMES = (fields()[n].values for n in ("touch_kind", "touch_outcome"))
NOBODY = Text("还没有人由分享带来。", "Nobody has been brought by a share yet.")
DRAWN_LEVELS = 30


def fission(d: ReportData) -> Section:
    return Section(
        "fission",
        Text("裂变", "Fission"),
        Text(
            "上级 = 注册（否则首单）前首个触达（打开分享或经人入团）他的人；确知晚于加入的、自我邀请与成环的触达剔除，每次触达的去向都计数。"
            "会员与访客合计。",
            "Parent = the sharer who touched a person first (an opened share, a group joined) before registering, else before the first "
            "order; touches provably after that, self-invites and circles are dropped, and what became of every touch is counted. "
            "Members and visitors together.",
        ),
        (
            _figures(d),
            _levels(d),
            _growth(d),
            _k_days(d),
            _items(
                d,
                "users_by_role",
                Text("社群角色", "Roles"),
                Text(
                    "主要角色，每人至多一个；分数为百分位。", "Primary role, at most one each; scores are percentiles."
                ),
            ),
            _items(
                d,
                "users_by_kind",
                Text("裂变类型", "Kinds of fission"),
                Text("用户是怎样被带来的。", "How users were brought."),
            ),
            _structures(d),
            _distributors(d),
            _touches(d),
            _reached(d),
            _largest_reach(d),
            _cards(d),
        ),
    )


def _figures(d: ReportData) -> Block:
    title = Text("要点", "At a glance")
    settings = d.project.method("fission", FissionSettings)
    note = Text(
        f"K 因子与周期看近 {K_DAYS} 个有分享的日子。",
        f"K factor and cycle time over the latest {K_DAYS} days with shares.",
    )
    found = [
        (
            "k_factor",
            Text("K 因子", "K factor"),
            lambda n: decimal(n, 3),
            Text("人均邀请 × 接受率", "invites per active user × accepted per invite"),
        ),
        (
            "cycle_hours",
            Text("裂变周期", "Cycle time"),
            lambda n: decimal(n, 1) + " h",
            Text("分享到注册的中位小时", "median hours from share to registration"),
        ),
        (
            "share_levels_1_3",
            Text("1–3 层占比", "At levels 1–3"),
            share,
            Text("被带来的用户中", "of users who were brought"),
        ),
        (
            "seed_users",
            Text("种子用户", "Seed users"),
            count,
            Text(
                f"广度高于 {share(settings.seed_breadth)} 的根且转化高于 {share(settings.seed_conversion)} 的根",
                f"roots above {share(settings.seed_breadth)} of the roots by breadth and {share(settings.seed_conversion)} by conversion",
            ),
        ),
    ]
    tiles = [Tile(name, same(say(n)), base) for f, name, say, base in found if (n := _whole(d, f)) is not None]
    if not tiles:
        return Block(title, note, FIGURES, missing=NOBODY, wide=True)
    return Block(title, note, FIGURES, tiles=tuple(tiles), wide=True)


def _whole(d: ReportData, figure: str) -> float | None:
    items = d.figure("fission", figure)
    found = items.get("") or next(iter(items.values()), None)
    return None if found is None else found.number


def _by_level(items: Mapping[str, Figure]) -> list[tuple[str, Figure]]:
    return sorted(items.items(), key=lambda kv: (int(kv[0]) if kv[0].isdigit() else 999, kv[0]))


def _levels(d: ReportData) -> Block:
    title = Text("各层人数（广度）", "Users by level (breadth)")
    note = Text("0 层为根；每层的人数即该层广度。", "Level 0 are the roots; users at a level are its breadth.")
    items = _by_level(d.figure("fission", "users_at_level"))
    if not items:
        return Block(title, note, FIGURES, missing=NOBODY)
    if len(items) > DRAWN_LEVELS:
        note += Text(
            f" 图为前 {DRAWN_LEVELS} 层，共 {len(items)} 层，见表。",
            f" The chart shows the first {DRAWN_LEVELS} of {len(items)} levels, the table all.",
        )
    numbers = [f.number for _, f in items]
    labels = [Text(f"{k} 层", f"L{k}") for k, _ in items]
    rows = [(t, count(n)) for t, n in zip(labels, numbers, strict=True)]
    chart = charts.columns(
        labels[:DRAWN_LEVELS],
        [charts.Bars(Text("用户", "Users"), numbers[:DRAWN_LEVELS], [count(n) for n in numbers[:DRAWN_LEVELS]])],
        title,
    )
    return Block(title, note, FIGURES, chart, table([Text("层", "Level"), Text("用户", "Users")], rows))


def _growth(d: ReportData) -> Block:
    title = Text("逐层增长", "Growth by level")
    note = Text("按裂变类型，每层被带来的用户。", "Users brought at each level, by kind of fission.")
    curves = d.curve("growth_by_level")
    if not curves:
        return Block(title, note, ("segments.curves",), missing=NOBODY)
    parts = [
        charts.Line(
            NAMES.get(s, same(s)) if s else Text("全部", "All"),
            [p["x"] for p in points],
            [p["y"] for p in points],
            charts.SHADES[i % len(charts.SHADES)],
            markers=True,
        )
        for i, (s, points) in enumerate(sorted(curves.items()))
    ]
    rows = [
        (NAMES.get(s, same(s)) if s else Text("全部", "All"), decimal(p["x"], 0), count(p["y"]))
        for s, points in sorted(curves.items())
        for p in points
    ]
    heads = [Text("类型", "Kind"), Text("层", "Level"), Text("用户", "Users")]
    chart = charts.lines(parts, title, x_title=Text("层", "Level"), y_title=Text("用户", "Users"), percent=False)
    return Block(title, note, ("segments.curves",), chart, table(heads, rows))


def _k_days(d: ReportData) -> Block:
    title = Text("每日 K 因子", "K factor by day")
    note = Text(
        "按分享发出日，分母是当日活跃用户（上面的 K 的分母是整段时间活跃的用户）；K = 人均邀请 × 接受率。最近几天的邀请还可能被接受。",
        "By the day of sharing, over the users active that day (the K above: over those active in the whole span); K = invites per "
        "active user × accepted per invite. Invites of the last days may still be accepted.",
    )
    source = ("fission.share_daily",)
    days = d.share_days
    if not days:
        return Block(title, note, source, missing=NOBODY)
    chart = charts.lines(
        [charts.Line(Text("K 因子", "K factor"), [str(r["cohort_day"]) for r in days], [r["k_factor"] for r in days])],
        title,
        x_title=Text("分享日", "Day of sharing"),
        y_title=same("K"),
        percent=False,
        dates=True,
    )
    rows = [
        (
            str(r["cohort_day"]),
            count(r["active_users"]),
            count(r["sharers"]),
            count(r["invites"]),
            count(r["accepted"]),
            decimal(r["k_factor"], 4),
            decimal(r["cycle_hours"], 1),
        )
        for r in reversed(days)
    ]
    heads = [
        Text("日", "Day"),
        Text("活跃", "Active"),
        Text("分享者", "Sharers"),
        Text("邀请", "Invites"),
        Text("接受", "Accepted"),
        Text("K", "K"),
        Text("周期（时）", "Cycle (h)"),
    ]
    return Block(title, note, source, chart, table(heads, rows))


def _items(d: ReportData, figure: str, title: Text, note: Text) -> Block:
    found = list(by_share(d.figure("fission", figure)))
    if not found:
        return Block(title, note, FIGURES, missing=NOBODY)
    labels = [d.words.of_column(k, "fission_kind", "primary_role") for k, _ in found]
    numbers = [f.number for _, f in found]
    rows = [(t, count(n)) for t, n in zip(labels, numbers, strict=True)]
    # who is nothing of it would swamp the others; they stand in the table
    kept = [(t, n) for (k, _), t, n in zip(found, labels, numbers, strict=True) if k != "none"]
    of_kept = charts.Bars(Text("用户", "Users"), [n for _, n in kept], [count(n) for _, n in kept])
    chart = charts.bars([t for t, _ in kept], [of_kept], title) if kept else None
    return Block(title, note, FIGURES, chart, table([title, Text("用户", "Users")], rows), shown=not kept)


def _structures(d: ReportData) -> Block:
    title = Text("裂变树与社群结构", "Trees and community structures")
    least = d.project.method("fission", FissionSettings).structure_users
    note = Text(
        f"至少 {least} 人的树才判断结构；结构病毒性 = 两两平均距离。",
        f"A structure is judged from {least} people on; virality = mean distance over all pairs.",
    )
    if not d.trees:
        items = d.figure("fission", "trees_by_structure")
        if items:
            return _items(d, "trees_by_structure", title, note)
        return Block(title, note, ("fission.share_trees",), missing=NOBODY)
    order = {k: i for i, k in enumerate(("honeycomb", "umbrella", "tower", "mixed", "none"))}
    rows = [
        (
            NAMES.get(r["structure"], same(r["structure"])),
            count(r["trees"]),
            count(r["users"]),
            count(r["largest"]),
            count(r["deepest"]),
            decimal(r["virality"], 2),
            count(r["conversions"]),
        )
        for r in sorted(d.trees, key=lambda r: order.get(r["structure"], 9))
    ]
    heads = [
        Text("结构", "Structure"),
        Text("树", "Trees"),
        Text("用户", "Users"),
        Text("最大", "Largest"),
        Text("最深", "Deepest"),
        Text("平均病毒性", "Mean virality"),
        Text("成交人数", "Buyers"),
    ]
    return Block(title, note, ("fission.share_trees",), table=table(heads, rows), shown=True)


def _distributors(d: ReportData) -> Block:
    title = Text("店主（分销）", "Distributors")
    note = Text(
        "按店主等级计数；转为自购的店主也计在其等级内。",
        "By distributor level; who turned to self-buyer is counted in the level too.",
    )
    items = _by_level(d.figure("fission", "distributors"))
    if not items:
        return Block(title, note, FIGURES, missing=Text("没有店主。", "There are no distributors."))
    turned = d.figure("fission", "turned_self_buyer")
    silent = d.project.method("fission", FissionSettings).silent_days
    rows = [(_level(k), count(f.number)) for k, f in items]
    tiles = tuple(
        Tile(
            Text("其中转为自购", "Of them turned to self-buyer") + (f" · {k}" if k else ""),
            same(count(f.number)),
            Text(f"{silent} 天无归因销售而自己仍购买", f"no attributed sale for {silent} days, own purchases go on"),
        )
        for k, f in turned.items()
    )
    heads = [Text("等级", "Level"), Text("店主", "Distributors")]
    return Block(title, note, FIGURES, table=table(heads, rows), tiles=tiles, shown=True)


def _level(item: str) -> Text:
    if item == "0":
        return Text("无等级但有归因销售", "no level, but attributed sales")
    return Text(f"{item} 级", f"level {item}") if item else Text("全部", "All")


def _touches(d: ReportData) -> Block:
    title = Text("每次触达的去向", "What became of every touch")
    note = Text(
        "打开分享、经人入团、注册或会员资料注明邀请人都是触达；每次触达只计入一种去向。",
        "An opened share, a group joined through a sharer, a registration or member record that names the inviter is a touch; each is "
        "counted once, by what became of it.",
    )
    source = ("fission.touches",)
    counted: dict[tuple[str, str | None], int] = {}
    for r in d.touches:
        counted[r["touch_outcome"], r.get("touch_kind")] = r["touches"]
    total = sum(counted.values())
    if not total:
        return Block(title, note, source, missing=Text("没有触达。", "There are no touches."))
    kinds = [k for k in TOUCH_KINDS if any(n for (_, kind), n in counted.items() if kind == k)]
    if not kinds:
        note = BY_OUTCOME_ONLY
    rows: list[list[Text | str | None]] = []
    for outcome in dict.fromkeys((*OUTCOMES, *(o for o, _ in counted))):
        if n := sum(number for (o, _), number in counted.items() if o == outcome):
            by_kind = [counted.get((outcome, k), 0) for k in kinds]
            rows.append([NAMES.get(outcome, same(outcome)), count(n), share(n / total), *map(count, by_kind)])
    whole = [sum(n for (_, kind), n in counted.items() if kind == k) for k in kinds]
    rows.append([NAMES["total"], count(total), share(1.0), *map(count, whole)])
    heads = [Text("去向", "Outcome"), Text("触达", "Touches"), Text("占比", "Share"), *(NAMES[k] for k in kinds)]
    return Block(title, note, source, table=table(heads, rows), shown=True, wide=True)


BY_OUTCOME_ONLY = Text(
    "此发布由更早的版本产生，当时不分触达依据，这里只按去向合计；“注册注明”与“会员资料注明”是没有打开过分享的人的依据。重新运行该日即按依据列出。",
    "An older version made this release and did not tell touches by what they rest on, so they are counted by outcome alone; "
    '"registration" and "member record" are those of who opened no share. Running the day again lists them apart.',
)
NO_REACH = Text("还没有人被触达。", "Nobody has been reached yet.")


def _not_there(d: ReportData, table: str, empty: Text) -> Text:
    """Why a table of trees has no rows: an older version that had none yet made the release, else ``empty``."""
    if table in d.there or "fission.share_trees" not in d.there:
        return empty
    return Text(
        "此发布由更早的版本产生，当时还不计算这些树；重新运行该日即有。",
        "An older version made this release and did not make these trees; running the day again makes them.",
    )


def _reached(d: ReportData) -> Block:
    title = Text("带来的与触达的", "Won and reached")
    note = Text(
        "触达树含所有打开分享或经人入团的人，不论是否加入；上级 = 首个触达他的人。病毒性 = 两两平均距离。",
        "Reach trees hold everybody who opened a share or joined a group through a sharer, joined or not; the parent is who touched "
        "them first. Virality is the mean distance over all pairs.",
    )
    source = ("fission.reach_trees", "fission.share_trees")
    if not d.reached:
        return Block(title, note, source, missing=_not_there(d, "fission.reach_trees", NO_REACH))
    rows = [[NAMES[r["tree"]], count(r["trees"]), *_tree(r)] for r in d.reached]
    heads = [Text("树", "Trees of"), Text("根", "Roots"), *TREE_HEADS]
    return Block(title, note, source, table=table(heads, rows), shown=True, wide=True)


def _largest_reach(d: ReportData) -> Block:
    title = Text("最大的触达树", "The largest reach trees")
    note = Text(
        "每行一个根，按人数排；根是谁见表 fission.reach_trees。",
        "One root a row, by people; who the roots are says the table fission.reach_trees.",
    )
    if not d.largest_reach:
        return Block(title, note, ("fission.reach_trees",), missing=_not_there(d, "fission.reach_trees", NO_REACH))
    rows = [
        (
            count(i),
            count(r["tree_users"]),
            count(r["tree_depth"]),
            decimal(r["structural_virality"], 2),
            count(r["tree_joined"]),
            count(r["tree_conversions"]),
        )
        for i, r in enumerate(d.largest_reach, 1)
    ]
    heads = [Text("名次", "Rank"), USERS, DEPTH, VIRALITY, JOINED, BUYERS]
    return Block(title, note, ("fission.reach_trees",), table=table(heads, rows), shown=True)


def _cards(d: ReportData) -> Block:
    title = Text("传得最远的单品", "Cards that reached most")
    note = Text(
        "卡片 = 一个根分享的一个商品，沿转发与打开计；每行一个商品，病毒性取其最大的树。没有注明商品的分享只计入上面的触达树。",
        "A card is a product as one root shared it, followed through opening and sharing on; one product a row, the virality of its "
        "largest tree. Shares that name no product are in the reach trees above only.",
    )
    source = ("fission.card_trees",)
    if not d.cards:
        empty = Text("没有注明商品的触达。", "No touch names a product.")
        return Block(title, note, source, missing=_not_there(d, "fission.card_trees", empty))
    rows = [[same(r["sku"]), count(r["trees"]), *_tree(r)] for r in d.cards]
    heads = [Text("商品", "Product"), Text("根", "Roots"), *TREE_HEADS]
    return Block(title, note, source, table=table(heads, rows), shown=True, wide=True)


USERS, DEPTH, VIRALITY = Text("人数", "People"), Text("层数", "Levels"), Text("病毒性", "Virality")
JOINED, BUYERS = Text("已加入", "Joined"), Text("成交人数", "Buyers")
TREE_HEADS = (USERS, Text("最大", "Largest"), Text("最深", "Deepest"), VIRALITY, JOINED, BUYERS)


def _tree(r: Mapping[str, Any]) -> list[Text | str | None]:
    """Cells of ``TREE_HEADS``; everybody of a share tree but its root has joined, which is not counted there."""
    return [
        count(r["users"]),
        count(r["largest"]),
        count(r["deepest"]),
        decimal(r["virality"], 2),
        count(r.get("joined")),
        count(r["conversions"]),
    ]
