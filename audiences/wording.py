"""Conditions in words, Chinese and English, for previews, ``why`` and the log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from audiences.conditions import EventCondition, EventKind, EventRows, Succession
from audiences.plan import AllOf, AnyOf, Node, Not, Test, parts
from schemas.behaviours import BEHAVIOURS_ZH, BROWSE
from schemas.configuration import Words
from schemas.measures import MEASURES, WHERE_ZH
from schemas.money import money_cell

AGGREGATES_WORDS = {
    "min": ("最小", "least "),
    "max": ("最大", "greatest "),
    "mean": ("平均", "mean "),
    "first": ("首次", "first "),
    "last": ("最近", "last "),
}
COMPARISON_WORDS = {
    "is": ("为", "is"),
    "is_not": ("不为", "is not"),
    "at_least": ("≥", "at least"),
    "at_most": ("≤", "at most"),
    "above": (">", "above"),
    "below": ("<", "below"),
}


def measured(condition: EventCondition, agg: str) -> Words:
    """What an event condition measures: ``近 90 天浏览次数``, ``times of view in 90 days``."""
    events, where = _events(condition), _where(condition)
    zh_agg, en_agg = AGGREGATES_WORDS.get(agg, ("", ""))
    zh, en = MEASURES[condition.measure].zh, MEASURES[condition.measure].en
    when = on_which_days(condition)
    return Words(
        zh=f"{when.zh}{events.zh}{zh_agg}{zh}{where.zh}", en=f"{en_agg}{en} of {events.en} {when.en}{where.en}"
    )


def succession(sequence: Succession) -> Words:
    """One thing done after another: ``近 30 天加购后 3 天内支付``."""
    second = sequence.then or sequence.without
    assert second is not None
    when, first, next_ = on_which_days(sequence.first), _events(sequence.first), _events(second)
    first_where, next_where = _where(sequence.first), _where(second)
    days = sequence.within_days
    zh_days, en_days = (f"{days} 天内", f"within {days} days") if days else ("当天", "on that day")
    zh_not, en_not = ("未", "no ") if sequence.then is None else ("", "")
    return Words(
        zh=f"{when.zh}{first.zh}{first_where.zh}后 {zh_days}{zh_not}{next_.zh}{next_where.zh}",
        en=f"{first.en} {when.en}{first_where.en}, then {en_not}{next_.en}{next_where.en} {en_days}",
    )


def _events(rows: EventKind) -> Words:
    if rows.event == BROWSE:
        return Words(zh="站内行为", en="any on-site behaviour")
    return Words(zh="、".join(BEHAVIOURS_ZH[b] for b in rows.event), en=" or ".join(rows.event))


def _where(rows: EventKind) -> Words:
    """What must hold of the rows, in brackets; empty for nothing."""
    given = rows.where.given.items()
    zh = "，".join(f"{WHERE_ZH[k]} {_joined(v)}" for k, v in given)
    en = ", ".join(f"{k} {_joined(v)}" for k, v in given)
    return Words(zh=f"（{zh}）" if zh else "", en=f" ({en})" if en else "")


def on_which_days(rows: EventRows) -> Words:
    """The days of rows of behaviour."""
    if rows.on_days is not None:
        first, last = rows.on_days
        return Words(zh=f"{first} 至 {last} ", en=f"from {first} to {last}")
    if rows.days_ago is not None:
        last_ago, first_ago = rows.days_ago
        return Words(zh=f"{last_ago} 至 {first_ago} 天前", en=f"{last_ago} to {first_ago} days ago")
    if rows.within_days is None:
        return Words(zh="历来", en="ever")
    return Words(zh=f"近 {rows.within_days} 天", en=f"in {rows.within_days} days")


def compared(
    name: Words, tests: tuple[Test, ...], unit: str | None, currency: str, labels: Mapping[str, Words] | None = None
) -> Words:
    """A value and what it is held against; money (unit ``minor``) in major units of the lake's currency.

    Values with a label are called by it in Chinese; English keeps the value itself, which is what rules are written with.
    """
    money = currency if unit == "minor" else None
    called = labels or {}
    zh, en = [], []
    for t in tests:
        if t.op == "known":
            zh.append("有值" if t.values[0] else "无值")
            en.append("is known" if t.values[0] else "is not known")
        elif t.op == "between":
            low, high = (_shown(v, money) for v in t.values)
            zh.append(f"介于 {low} 和 {high} 之间")
            en.append(f"between {low} and {high}")
        else:
            en.append(f"{COMPARISON_WORDS[t.op][1]} {_joined(t.values, money)}")
            named = [called[str(v)].zh if str(v) in called else _shown(v, money) for v in t.values]
            zh.append(_in_chinese(COMPARISON_WORDS[t.op][0], "或".join(named)))
    return Words(zh=_in_chinese(name.zh, " 且 ".join(zh)), en=f"{name.en} {' and '.join(en)}")


def _in_chinese(left: str, right: str) -> str:
    """Two parts of a Chinese sentence; a blank parts them only where one of them is Latin or a sign."""
    apart = any(sign.isascii() or sign in "≥≤" for sign in (left[-1:], right[:1]))
    return f"{left} {right}" if apart else f"{left}{right}"


def negated(words: Words) -> Words:
    return Words(zh=f"非：{words.zh}", en=f"not: {words.en}")


def with_all_below(node: Node) -> Words:
    """A condition with all that is below it, in one line."""
    below = [with_all_below(part) for part in parts(node)] if isinstance(node, (AllOf, AnyOf, Not)) else []
    if isinstance(node, Not):
        return negated(below[0])
    if not below:
        return node.text
    zh, en = ("且", "and") if isinstance(node, AllOf) else ("或", "or")
    return Words(zh=f"（{zh.join(w.zh for w in below)}）", en=f"({f' {en} '.join(w.en for w in below)})")


def _joined(value: Any, money: str | None = None) -> str:
    values = value if isinstance(value, (list, tuple)) else [value]
    return "/".join(_shown(v, money) for v in values)


def _shown(value: Any, money: str | None) -> str:
    """``money`` is the currency whose minor units a number is; absent, it is no money."""
    if money is not None and not isinstance(value, (str, bool)):
        return money_cell(value, money)
    return str(value).lower() if isinstance(value, bool) else str(value)
