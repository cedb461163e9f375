"""The RFM report: both segmentations with money, means and strategy, the score grid, frozen breaks, and who moved."""

from __future__ import annotations

from report import charts
from report.blocks import Block, Cell, Section, count, decimal, same, table
from report.data import ReportData, Row
from report.sections.movement import moved_between
from report.sections.segmentation import lacking, of_role, shares, whole_table
from schemas.tag_roles import TagRole
from schemas.text import Text

SCHEMES = (TagRole.RFM, TagRole.RFM_VALUE)
MEASURES = {
    TagRole.RECENCY: (TagRole.RECENCY_SCORE, Text("R 近度（天）", "R recency (days)"), Text("R 均值", "R mean")),
    TagRole.FREQUENCY: (
        TagRole.FREQUENCY_SCORE,
        Text("F 频度（购买天数）", "F frequency (purchase days)"),
        Text("F 均值", "F mean"),
    ),
    TagRole.MONETARY: (
        TagRole.MONETARY_SCORE,
        Text("M 金额（净消费）", "M money (net spend)"),
        Text("M 均值", "M mean"),
    ),
}
"""By what is measured: the role of its score, and what the breaks of the score and the mean are called."""


def rfm_report(d: ReportData) -> Section:
    blocks = [b for role in SCHEMES for b in of_role(d, role, shares)]
    for scheme in (s for role in SCHEMES if (s := d.of(role)) is not None):
        blocks += [whole_table(d, scheme), moved_between(d, scheme, wide=True)]
    return Section(
        "rfm",
        Text("RFM 报告", "RFM report"),
        Text(
            "R 距最近购买日的天数，F 购买天数，M 净消费额（扣除退款，不含可疑订单）；分数 1–5 由下面的分位点或固定切分给出。",
            "R days since the last purchase day, F purchase days, M net spend (after refunds, flagged orders left out); scores "
            "1–5 come from the breaks below.",
        ),
        (*blocks, _grid(d), _breaks(d)),
    )


def _grid(d: ReportData) -> Block:
    title = Text("R × F 分数格", "R × F score grid")
    note = Text(
        "每格：一年内有购买的用户数；颜色按人数的平方根。",
        "Each cell: users with a purchase in the year; shaded by the root of users.",
    )
    source = ("profile.profile",)
    if not d.rfm_grid:
        nobody = Text("一年内没有买家，没有分数。", "No buyers in the year, so no scores.")
        why = lacking(d, TagRole.RECENCY_SCORE, TagRole.FREQUENCY_SCORE, TagRole.MONETARY)
        return Block(title, note, source, missing=why or nobody)
    cells = {(r["r"], r["f"]): r for r in d.rfm_grid}
    high_first, low_first = (5, 4, 3, 2, 1), (1, 2, 3, 4, 5)
    users = [[cells.get((r, f), {}).get("users", 0) for f in low_first] for r in high_first]
    return Block(
        title,
        note,
        source,
        charts.matrix(
            [same(f"R {r}") for r in high_first],
            [same(f"F {f}") for f in low_first],
            users,
            [[count(u) for u in row] for row in users],
            title,
            x_title=Text("频度分（5 最高）", "Frequency score (5 is best)"),
            y_title=Text("近度分（5 最近）", "Recency score (5 is latest)"),
            shade=[[u**0.5 for u in row] for row in users],
        ),
        table(
            [Text("R 分", "R"), Text("F 分", "F"), Text("用户", "Users"), Text("平均净消费", "Mean net spend")],
            [
                (str(r), str(f), count(c["users"]), d.money(c["mean_monetary_minor"], exact=True))
                for (r, f), c in sorted(cells.items(), reverse=True)
            ],
        ),
    )


def _breaks(d: ReportData) -> Block:
    title = Text("冻结的分位点与均值", "Frozen breaks and means")
    note = Text(
        "F 与 M 每超过一个分位点加 1 分，等于分位点仍算低的一档；R 相反：天数越少分越高，没有超过任何分位点的得 5 分。",
        "F and M gain a point with every break that is passed; a value on a break stays below it. R runs "
        "the other way: the fewer days the better, and who passes no break has 5.",
    )
    rows: list[tuple[Cell, ...]] = []
    for name, label in _labels(d).items():
        found = d.breaks.get(name, [])
        if not found:
            continue
        of = d.project.catalogue.breaks[name].of
        money = of is not None and of.unit == "minor"
        numbers = [d.money(r["number"], exact=True) if money else decimal(r["number"], 2) for r in found]
        rows.append((label, "  ·  ".join(numbers), *_made(d, name, found[0])))
    if not rows:
        return Block(
            title,
            note,
            ("profile.breaks",),
            missing=Text("没有分位点：一年内没有买家。", "No breaks: no buyers in the year."),
        )
    heads = [
        Text("指标", "Measure"),
        Text("数值（由低到高）", "Numbers, ascending"),
        Text("依据", "Made from"),
        Text("估计日", "Fitted on"),
    ]
    return Block(title, note, ("profile.breaks",), table=table(heads, rows, first_text=4), shown=True)


def _labels(d: ReportData) -> dict[str, Text]:
    """The breaks of the three scores, then those of the segments by means, with what each is a break of."""
    catalogue = d.project.catalogue

    def breaks_of(tag: str | None) -> list[str]:
        return sorted(n for kind, n in catalogue.needs.get(("tag", tag or ""), ()) if kind == "break")

    found = {n: label for score, label, _ in MEASURES.values() for n in breaks_of(d.of(score))}
    of_means = breaks_of(d.of(TagRole.RFM_VALUE))
    for role, (_, _, label) in MEASURES.items():
        tag = d.of(role)
        of_tag = ((n, catalogue.breaks[n].of) for n in of_means)
        found |= {n: label for n, of in of_tag if of is not None and tag in of.columns and n not in found}
    return found


def _made(d: ReportData, name: str, row: Row) -> tuple[Cell, Cell]:
    """Whether the shop declared the numbers or the window's buyers gave them, and when."""
    known = d.project.catalogue.breaks.get(name)
    if known is not None and known.spec.fixed is not None:
        return Text("固定切分", "declared"), "–"
    buyers = row.get("sample_users")
    made = Text("窗口内买家", "the window's buyers")
    if buyers is not None:
        made = Text(f"窗口内 {count(buyers)} 个买家", f"{count(buyers)} buyers of the window")
    return made, str(row.get("fitted_on") or d.as_of)
