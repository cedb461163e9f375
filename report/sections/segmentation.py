"""One segmentation on the page: its shares as a chart, and its whole table with money, means and the owner's strategy."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from functools import reduce
from operator import or_

from project.held import Marks
from report import charts
from report.blocks import Block, Cell, Table, count, decimal, same, share
from report.data import ReportData
from schemas.tag_roles import ROLES, TagRole, no_tag_has
from schemas.text import Text

WINDOW = Text(
    "窗口 365 天，会员与访客合计；均值只算买家。", "365 days, members and visitors together; means are over buyers."
)
SOURCE = ("segments.figures", "segments.segments")
SHARES = 6
"""Columns up to the share of spend: what stands beside a chart; the means stand in the whole table."""
MONEY = (TagRole.RECENCY, TagRole.FREQUENCY, TagRole.MONETARY)
"""Roles of the tags that spend and means of a segmentation are made of."""


def of_role(d: ReportData, role: TagRole, *make: Callable[[ReportData, str], Block]) -> tuple[Block, ...]:
    """Blocks of the tag that has a role, or one that says that no tag has it."""
    tag = d.of(role)
    if tag is not None:
        return tuple(one(d, tag) for one in make)
    name = ROLES[role].name
    return (Block(Text(name.zh, name.en.capitalize()), Text("", ""), missing=no_tag_has(role), wide=True),)


def lacking(d: ReportData, *roles: TagRole) -> Text | None:
    """The same of the first of these roles that no tag has; None where each has one."""
    return next((no_tag_has(role) for role in d.project.catalogue.without(roles)), None)


def _spend_note(d: ReportData) -> Text:
    """Over whom and when, or why there is neither spend nor means."""
    without = d.project.catalogue.without(MONEY)
    if not without:
        return WINDOW
    return Text(
        f"没有标签担任角色 {'、'.join(without)}，所以没有消费与均值；huaxiang tag check 说明如何补上。",
        f"No tag has the role {', '.join(without)}, so there is neither spend nor means; `huaxiang tag check` says how to give it.",
    )


def shares(d: ReportData, scheme: str) -> Block:
    """Share of users beside share of spend, value by value."""
    title = d.words.tag(scheme) + Text("：人数与消费占比", ": share of users and of spend")
    order = values(d, scheme)
    if not order:
        return Block(title, WINDOW, SOURCE, missing=_missing())
    of_users = [_users(d, scheme, v) / d.users if d.users else None for v in order]
    of_money = [_figure(d, "amount_share", scheme, v) for v in order]
    parts = [charts.Bars(Text("人数占比", "Share of users"), of_users, [share(x) for x in of_users], charts.PALE)]
    if any(x is not None for x in of_money):
        parts.append(charts.Bars(Text("消费占比", "Share of spend"), of_money, [share(x) for x in of_money]))
    labels = [d.words.value(scheme, v) for v in order]
    chart = charts.bars(labels, parts, title, percent=True)
    return Block(title, held_note(d, scheme) + _spend_note(d), SOURCE, chart, _table(d, scheme, order, means=False))


def whole_table(d: ReportData, scheme: str, *, strategy: bool = True) -> Block:
    """Counts, money, means and, where the owner wrote one, strategy of every value, standing open."""
    order = values(d, scheme)
    told = strategy and any(d.words.said(scheme, v) for v in order)
    title = d.words.tag(scheme) + (
        Text("：人数、金额、均值与策略", ": users, money, means and strategy")
        if told
        else Text("：人数、金额与均值", ": users, money and means")
    )
    if not order:
        return Block(title, WINDOW, SOURCE, missing=_missing(), wide=True)
    source = (*SOURCE, f"tags: {scheme}")
    note = held_note(d, scheme) + _spend_note(d) + Text("", " ") + how_to_get(scheme, order[0])
    return Block(title, note, source, table=_table(d, scheme, order, strategy=told), wide=True, shown=True)


def held_note(d: ReportData, scheme: str | None, *days: dt.date) -> Text:
    """That a segmentation keeps older values, or is made from tags that do, on the page's day or on one of ``days`` that it is compared with."""
    there = (d.held_then.get(day, Marks()) for day in days)
    held = reduce(or_, there, d.held).of([] if scheme is None else [scheme])
    if not held:
        return Text("", "")
    names = [d.words.tag(n) + same(f" {day}") for n, day in held.items()]
    return Text(
        f"注意：由被冻结的标签计算而来（{'、'.join(n.zh for n in names)} 起冻结）。",
        f"Mind: made from held tags, which keep older values ({', '.join(n.en for n in names)}). ",
    )


def how_to_get(tag: str, value: str) -> Text:
    """How the people behind a value become a list: the line of an audience that asks for it."""
    line = f"{{tag: {tag}, is: {value}}}"
    return Text(
        f"取名单：在人群文件的条件里写 {line}；其余取值见 huaxiang tag show {tag}。",
        f"For the people, put {line} into an audience; `huaxiang tag show {tag}` lists the other values.",
    )


def values(d: ReportData, scheme: str) -> list[str]:
    """The values that anybody has, in declared order."""
    there = d.segments.get(scheme, {})
    return [v for v in d.words.order(scheme, there=there) if v in there]


def _missing() -> Text:
    return Text("这次发布没有这个分群方案。", "This release does not have this segmentation.")


def _users(d: ReportData, scheme: str, value: str) -> int:
    return sum(d.segments[scheme][value].values())


def _figure(d: ReportData, figure: str, scheme: str, value: str) -> float | None:
    return d.number("segments", figure, f"{scheme}/{value}")


def _table(d: ReportData, scheme: str, order: list[str], *, means: bool = True, strategy: bool = False) -> Table:
    heads = [
        Text("分群", "Segment"),
        Text("会员", "Members"),
        Text("访客", "Visitors"),
        Text("人数占比", "Users %"),
        Text("净消费", "Net spend") + f" ({d.project.currency})",
        Text("消费占比", "Spend %"),
        Text("平均 R（天）", "Mean R (days)"),
        Text("平均 F（天）", "Mean F (days)"),
        Text("平均 M", "Mean M") + f" ({d.project.currency})",
    ]
    rows: list[tuple[Cell, ...]] = [
        (
            d.words.value(scheme, v),
            count(d.segments[scheme][v].get(True, 0)),
            count(d.segments[scheme][v].get(False, 0)),
            share(_users(d, scheme, v) / d.users if d.users else None),
            d.money(_figure(d, "net_amount_minor", scheme, v)),
            share(_figure(d, "amount_share", scheme, v)),
            decimal(_figure(d, "mean_recency_days", scheme, v), 1),
            decimal(_figure(d, "mean_frequency_days", scheme, v), 2),
            d.money(_figure(d, "mean_monetary_minor", scheme, v), exact=True),
        )
        for v in order
    ]
    if not means:
        heads, rows = heads[:SHARES], [r[:SHARES] for r in rows]
    numeric = frozenset(range(1, len(heads)))
    said = [d.words.said(scheme, v) for v in order]
    if strategy:
        heads.append(Text("策略", "Strategy"))
        rows = [(*r, s) for r, s in zip(rows, said, strict=True)]
        return Table(tuple(heads), tuple(rows), numeric, prose=len(heads) - 1)
    return Table(tuple(heads), tuple(rows), numeric)
