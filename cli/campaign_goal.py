"""``huaxiang campaign plan --goal``: the goal as a marketer reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from campaigns.goals import GOALS
from cli.session import show_json, show_table
from project.folder import Project
from queries.campaign_goal import GoalReport, SchemeGaps, SegmentGap, campaign_goal
from schemas.errors import UsageError
from schemas.money import money_cell


def show_goal(project: Project, goal: str, release: str | None, most: int, as_json: bool) -> None:
    """A goal at a release, with the ``most`` segments of each segmentation that lack most."""
    name = next((g for g in GOALS if g == goal), None)
    if name is None:
        raise UsageError(f"no goal {goal!r}; goals are " + ", ".join(f"{g} {k.name.zh}" for g, k in GOALS.items()))
    found = campaign_goal(project, name, which=release)
    if as_json:
        show_json(found)
        return
    currency = project.currency
    print(
        f"{found.zh} {found.en}: {found.metric_zh} {found.metric_en}, {found.days} 天 days to {found.as_of} "
        f"(release {found.release})"
    )
    print(f"口径 definition: {found.definition_zh}。 {found.definition_en}.")
    print(f"现在 now {_value(found.value, found, currency)} ({_of(found.amount, found.base, found, currency)})")
    if found.past_day is not None and found.past_amount is not None and found.past_base is not None:
        was = (
            f"{_value(found.past_value, found, currency)} ({_of(found.past_amount, found.past_base, found, currency)})"
        )
        print(f"{found.days} 天前 days before ({found.past_day}) {was}")
    if found.gap is not None:
        words = "缺口 short by" if found.gap > 0 else "高出 above by"
        print(f"按当时的水平 At the metric of then: {words} {_amount(abs(found.gap), found, currency)}")
    _show(found, currency, most, past=True)
    _show(found, currency, most, past=False)
    for note in found.notes:
        print(f"不能说的 Not to be said: {note.zh}。 {note.en}.")
    for w in found.warnings:
        print(f"warning: {w}")


def _show(found: GoalReport, currency: str, most: int, *, past: bool) -> None:
    rows, more, few = list[dict[str, Any]](), 0, False
    for s in found.schemes:
        lacking = [g for g in (s.to_past if past else s.to_benchmark) if g.gap > 0]
        more += max(0, len(lacking) - most)
        few = few or any(g.is_few for g in lacking[:most])
        rows += [_row(s, g, found, currency, past) for g in lacking[:most]]
    title = (
        f"与自身过去相比 Short of their own past ({found.past_day}); each segmentation takes the same change apart"
        if past
        else f"与基准相比 Short of the benchmark: {_benchmarks(found.schemes)}"
    )
    if rows:
        show_table(title, rows)
    elif any(s.to_past if past else s.to_benchmark for s in found.schemes):
        print(f"{title}: 没有缺口 no segment is")
    if few:
        print(f"* = 不足 {found.min_users} 人，数字不稳 fewer than {found.min_users} users: little to rest on.")
    if more:
        print(f"另有 {more} 个有缺口的分群未列出 segments more are short; --most shows them, --json shows all.")


def _benchmarks(schemes: Sequence[SchemeGaps]) -> str:
    said = [
        f"{s.scheme} " + ("同行 peers" if s.benchmark_days is None else f"近 {s.benchmark_days} 个发布日均值 own mean")
        for s in schemes
        if s.to_benchmark
    ]
    return ", ".join(said)


def _row(s: SchemeGaps, g: SegmentGap, found: GoalReport, currency: str, past: bool) -> dict[str, Any]:
    then = "当时 then" if past else "基准 benchmark"
    row: dict[str, Any] = {
        "分群 segment": f"{s.zh} {s.scheme}: {g.zh} {g.en}",
        "人数 users": f"{g.users:,}" + (" *" if g.is_few else ""),
        "占比 share %": 100 * g.share,
        f"{then} %": 100 * g.reference_share,
        "指标 metric": _value(g.value, found, currency),
    }
    if past:
        row["指标当时 metric then"] = _value(g.reference_value, found, currency)
    row[f"缺口 gap ({found.unit_zh} {found.unit_en})"] = _amount(g.gap, found, currency, unit=False)
    if past:
        row["因表现 by what they do"] = _amount(g.by_value, found, currency, unit=False)
        row["因人数 by how many"] = _amount(g.by_share, found, currency, unit=False)
    row["可补足 can close it"] = ", ".join(g.where)
    few = [f"{name} {n:,}" for name, n in list(g.audiences.items())[:3]]
    hidden = f" +{len(g.audiences) - 3}" if len(g.audiences) > 3 else ""
    row["人群 audiences"] = ", ".join(few) + hidden if few else "项目中没有 none of the project"
    return row


def _value(value: float | None, found: GoalReport, currency: str) -> str:
    if value is None:
        return "-"
    if found.is_money:
        return money_cell(value, currency)
    return f"{100 * value:.2f} %" if found.is_share else f"{value:.4f}"


def _amount(amount: float, found: GoalReport, currency: str, *, unit: bool = True) -> str:
    if found.is_money:
        return money_cell(amount, currency)
    return f"{amount:,.1f}" + (f" {found.unit_zh} {found.unit_en}" if unit else "")


def _of(amount: int, base: int, found: GoalReport, currency: str) -> str:
    said = money_cell(amount, currency) if found.is_money else f"{amount:,}"
    return f"{said} / {base:,}"
