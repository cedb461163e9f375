"""Digital tags (数字标签): the catalogue by group, how well each tag is filled, its commonest values, and its verdict."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import TYPE_CHECKING

from features.quality import NO_REFERENCE
from features.tags import PATHS
from report import charts
from report.blocks import Block, Section, TagBlock, TagRow, count, decimal, same, share, table
from report.data import ReportData
from report.words import KINDS, METHODS, VERDICTS, group_name, interval
from schemas.text import Text

if TYPE_CHECKING:
    from features.tags import Tag

TOP = 3
TONES = {"watch": "watch", "act": "act"}
YES = {"true": Text("是", "yes"), "false": Text("否", "no"), "True": Text("是", "yes"), "False": Text("否", "no")}


def digital_tags(d: ReportData) -> Section:
    found = tuple(
        TagBlock(group_name((a, b)), rows, _note(d, rows))
        for a, below in PATHS.items()
        for b in below
        if (rows := tuple(_row(d, t) for t in d.project.catalogue.tags.values() if t.path[:2] == (a, b)))
    )
    return Section(
        "tags",
        Text("数字标签", "Digital tags"),
        Text(
            "每个标签按三级路径归入叶子组。覆盖率 = 有值人数 / 基础人数，会员与访客分开；PSI 与上一次运行相比，日期按距今天数比较。",
            "Every tag belongs to a leaf of the three-level tree. Coverage = users with a value / base users, members and "
            "visitors apart; PSI is against the run before, days by their age.",
        ),
        (
            _coverage(d, found),
            _verdicts(d),
            Block(
                Text("标签目录", "Catalogue"),
                Text(
                    "点开一组看其中的标签；取值占比在会员中计算。",
                    "Open a group to see its tags; shares of values are among members.",
                ),
                ("profile.tag_quality", "profile.tag_distribution"),
                groups=found,
                wide=True,
            ),
        ),
    )


def _note(d: ReportData, rows: tuple[TagRow, ...]) -> Text:
    known = [r.members for r in rows if r.members is not None]
    if not known:
        return Text(f"{len(rows)} 个标签", f"{len(rows)} tags")
    mean = share(sum(known) / len(known), 0)
    return Text(f"{len(rows)} 个标签 · 会员平均覆盖 {mean}", f"{len(rows)} tags · mean coverage of members {mean}")


def _row(d: ReportData, tag: Tag) -> TagRow:
    quality = d.quality.get(tag.id, {})
    of_members = quality.get(True) or quality.get(None)
    verdict = str(of_members["verdict"]) if of_members and of_members.get("verdict") else None
    held = d.held.of([tag.id])
    psi = of_members.get("psi") if of_members else None
    return TagRow(
        id=tag.id,
        name=Text(tag.name.zh, tag.name.en),
        kind=KINDS[tag.kind],
        method=METHODS[tag.method],
        members=_coverage_of(of_members),
        visitors=_coverage_of(quality.get(False)),
        values=_values(d, tag),
        psi="–" if psi is None else decimal(psi, 3),
        verdict=None if verdict is None else VERDICTS.get(verdict, same(verdict)),
        tone="act" if held else TONES.get(verdict or "", ""),
        held=_held(d, tag.id, held),
    )


def _held(d: ReportData, tag: str, held: Mapping[str, dt.date]) -> Text | None:
    if not held:
        return None
    if tag in held:
        return Text(f"{held[tag]} 起冻结", f"held since {held[tag]}")
    names = [d.words.tag(n) for n in held]
    return Text(
        f"由被冻结的{'、'.join(n.zh for n in names)}计算而来", f"made from held {', '.join(n.en for n in names)}"
    )


def _coverage_of(row: dict[str, object] | None) -> float | None:
    if not row or not row["base_users"]:
        return None
    return float(row["known_users"]) / float(row["base_users"])  # type: ignore[arg-type]


def _values(d: ReportData, tag: Tag) -> tuple[tuple[Text, str], ...]:
    spread = d.spread.get(tag.id, {})
    rows = spread.get(True) or spread.get(None) or []
    whole = sum(r["users"] for r in rows)
    shown = [r for r in rows if r["bin"] != "unknown"][:TOP]
    return tuple((said, share(r["users"] / whole, 0)) for r in shown if (said := _value(d, tag, r["bin"])) is not None)


def _value(d: ReportData, tag: Tag, value: str) -> Text | None:
    """A value, or an interval of numbers; None where the interval says nothing."""
    if tag.type == "bool":
        return YES.get(value, same(value))
    if tag.type == "string":
        return d.words.value(tag.id, value)
    return interval(tag, value, d.project.currency)


def _coverage(d: ReportData, groups: tuple[TagBlock, ...]) -> Block:
    title = Text("各组平均覆盖率", "Mean coverage by group")
    note = Text(
        "组内标签覆盖率的平均；分母是会员或访客的基础人数。",
        "Mean over the group's tags; the base is all members, or all visitors.",
    )
    if not d.quality:
        return Block(
            title,
            note,
            ("profile.tag_quality",),
            missing=Text("这次发布没有标签质量数据。", "This release has no tag quality."),
        )
    rows = [
        (g.name, _mean([t.members for t in g.tags]), _mean([t.visitors for t in g.tags]), len(g.tags)) for g in groups
    ]
    parts = [charts.Bars(Text("会员", "Members"), [r[1] for r in rows], [share(r[1], 0) for r in rows])]
    if any(r[2] is not None for r in rows):
        parts.append(
            charts.Bars(Text("访客", "Visitors"), [r[2] for r in rows], [share(r[2], 0) for r in rows], charts.PALE)
        )
    return Block(
        title,
        note,
        ("profile.tag_quality",),
        charts.bars([Text(r[0].zh.split(" / ")[1], r[0].en.split(" / ")[1]) for r in rows], parts, title, percent=True),
        table(
            [Text("组", "Group"), Text("标签数", "Tags"), Text("会员覆盖", "Members"), Text("访客覆盖", "Visitors")],
            [(r[0], count(r[3]), share(r[1]), share(r[2])) for r in rows],
        ),
    )


def _mean(values: list[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return sum(known) / len(known) if known else None


def _calm(d: ReportData) -> Text:
    """What is said where no tag is to be looked at: how many are stable, moved without a reference, were not compared.

    A tag counts once: as moved where its members or its visitors did.
    """
    if not d.first_quality or d.first_quality >= d.as_of:
        return Text(
            "首次运行，还没有可比的上一次；从第二次运行起给出 PSI。",
            "First run: nothing to compare with; PSI comes with the second.",
        )
    told = [{r.get("verdict") for r in kinds.values()} for kinds in d.quality.values()]
    moved = sum(NO_REFERENCE in v for v in told)
    stable = sum("stable" in v and NO_REFERENCE not in v for v in told)
    found = [
        (stable, "个稳定", "are stable against the run before"),
        (moved, "个有变化，但历史还不够，尚无参照，不作判断", "moved, and there is no reference yet to judge them by"),
        (
            len(told) - moved - stable,
            "个没有可比的上一次（新的、声明有变，或无人可比）",
            "were not compared (new, declared anew, or nobody to compare)",
        ),
    ]
    zh = "；".join(f"{n} {said}" for n, said, _ in found if n)
    en = "; ".join(f"{n} {said}" for n, _, said in found if n)
    return Text(f"{len(told)} 个标签中：{zh}。没有标签被冻结。", f"Of {len(told)} tags {en}. None is held.")


def _verdicts(d: ReportData) -> Block:
    title = Text("需要留意的标签", "Tags to look at")
    quality = d.project.settings.quality
    watch, act, usual = f"{quality.watch:g}", f"{quality.act:g}", f"{quality.times_usual:g}"
    note = Text(
        f"PSI 达到 {watch} 为关注，达到 {act} 为需处理，且变化超过平常的 {usual} 倍；只有声明 on_break: hold 的标签会被冻结。",
        f"PSI from {watch} on is watch, from {act} on act, where it is more than {usual} times the usual move; only a tag that says "
        "on_break: hold is held.",
    )
    source = ("profile.tag_quality",)
    rows = [
        (tag, is_member, r)
        for tag, kinds in d.quality.items()
        for is_member, r in kinds.items()
        if r.get("held_since") or r.get("verdict") in ("watch", "act")
    ]
    rows.sort(key=lambda x: (x[2].get("held_since") is None, -(x[2].get("psi") or 0.0), x[0]))
    if not d.quality:
        return Block(
            title, note, source, missing=Text("这次发布没有标签质量数据。", "This release has no tag quality.")
        )
    if not rows:
        return Block(title, note, source, missing=_calm(d))
    who = {True: Text("会员", "Members"), False: Text("访客", "Visitors"), None: Text("全部", "All")}
    return Block(
        title,
        note,
        source,
        table=table(
            [
                Text("标签", "Tag"),
                Text("人群", "Among"),
                Text("结论", "Verdict"),
                Text("冻结起始", "Held since"),
                Text("PSI", "PSI"),
                Text("平常不超过", "Usually up to"),
                Text("PSI（28 天）", "PSI (28 days)"),
            ],
            [
                (
                    d.words.tag(tag),
                    who[is_member],
                    VERDICTS.get(str(r.get("verdict")), same(str(r.get("verdict")))),
                    str(r["held_since"]) if r.get("held_since") else "–",
                    decimal(r.get("psi"), 3),
                    decimal(r.get("psi_usual"), 3),
                    decimal(r.get("psi_28d"), 3),
                )
                for tag, is_member, r in rows
            ],
            first_text=4,
        ),
        shown=True,
    )
