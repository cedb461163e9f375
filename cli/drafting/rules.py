"""The lines of a draft: for each field a rule, whether it holds or is commented out, and what speaks for it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from cli.drafting.forms import HASH, as_typed, has_decimal_comma, is_amount, is_money, is_time, without_blanks
from cli.drafting.lines import SampleOrders, amounts_of, is_amount_column, paid_for_a_line, totals, unit_price
from cli.drafting.masking import shown
from cli.drafting.matching import Match, Matches
from cli.drafting.sample import Sample
from cli.drafting.times import Written
from cli.drafting.words import DISCOUNT, bare, has_word, known_values, likeness, never, of_list, words
from features.cleaning_texts import is_id
from features.sources import HASHED
from features.text_forms import NO, YES
from schemas.contracts import Column, Contract

MOST_VALUES = 30
_MINOR_NAMES = re.compile(r"[（(]分[)）]|cents?\b|\bfen\b|minor", re.IGNORECASE)
_MARKED = re.compile(r"[.¥￥$€£元]")
_CLOCK = re.compile(r"\d{1,2}:\d{2}(:\d{2})?(\s*[ap]m)?", re.IGNORECASE)
_WHICH_UNIT = "whole numbers only: `unit: major` (yuan) or `unit: minor` (fen)?"


@dataclass(frozen=True)
class FieldLine:
    """A field's rule. ``sure``: nothing about it was guessed; ``guess``: read the comment; ``asked``: fill it in.

    A line that is not ``active`` is written as a comment, so the mapping does without it until somebody decides.
    """

    field: str
    rule: Any
    standing: Literal["sure", "guess", "asked"]
    active: bool
    comment: str = ""


@dataclass(frozen=True)
class Setting:
    """All that the lines of one mapping are made from."""

    sample: Sample
    contract: Contract
    matches: Matches
    orders: SampleOrders
    written: dict[str, Written]
    person: str | None = None
    """The column of the buyer's id, which the feed itself may not hold."""

    @cached_property
    def unit(self) -> tuple[str | None, str]:
        """The unit that the file's amounts are written in, and why; None where whole numbers leave it open."""
        for column in self.sample.columns:
            values = without_blanks(self.sample.values(column))
            amounts = values and all(is_amount(as_typed(v)) for v in values)
            named = any(likeness(n, column) for n in ("net_amount_minor", "list_amount_minor", "freight_amount_minor"))
            marked = next((v for v in values if _MARKED.search(v) or has_decimal_comma(v)), None)
            if amounts and marked and (named or re.search(r"\d[.,]\d\d\b|[¥￥$€£元]", marked)):
                return "major", ""
        return None, _WHICH_UNIT

    @cached_property
    def decimal_comma(self) -> bool:
        """Do its amounts have a comma as decimal mark, and none a point?"""
        columns = [n for n in dict.fromkeys(self.sample.columns) if n not in self.written]
        values = [v for n in columns for v in self.sample.values(n) if is_amount(as_typed(v))]
        comma = sum(map(has_decimal_comma, values))
        return comma > 0 and not any(re.search(r"\d\.\d{1,2}\D*$", v) and not has_decimal_comma(v) for v in values)


def lines_of(s: Setting) -> list[FieldLine]:
    """A line for every field that was found, and for every one that is needed and was not, in the contract's order."""
    special: dict[str, FieldLine | None] = _lines_of_lines(s) if s.contract.table == "order_lines" else {}
    if s.contract.table in ("orders", "order_lines"):
        special |= _times_of_orders(s)
    found = []
    for col in s.contract.feed_columns:
        if col.name in special:
            line = special[col.name]
        elif col.name in s.matches.of:
            line = _line(s, col, s.matches.of[col.name])
        else:
            line = _asked(s, col)
        if line is not None:
            found.append(line)
    return found


def _line(s: Setting, col: Column, m: Match) -> FieldLine:
    """The line of a column that was found by its name or values."""
    rule, doubt, asked = _rule(s, col, m.column)
    guessed = not m.sure or (bool(doubt) and not doubt.startswith("check: does"))
    also = f"also possible: {', '.join(m.also[:3])}" if m.also else ""
    comment = "; ".join(
        filter(None, [f"guess: {m.why}" if m.why else "", doubt, also if is_id(col) or guessed else ""])
    )
    closed = asked or ((not m.sure or (is_money(col) and bool(doubt))) and (is_id(col) or is_money(col)))
    proof = s.written[m.column].why if m.column in s.written and not doubt else ""
    proof = _joined(proof, _clock_beside(s, m.column) if col.field.type == "timestamp" else "")
    standing: Literal["sure", "guess", "asked"] = "guess" if guessed else "sure"
    return FieldLine(col.name, rule, standing, not closed, "; ".join(filter(None, [comment, proof])))


def _asked(s: Setting, col: Column) -> FieldLine | None:
    if not col.required or col.name == s.contract.generated:
        return None
    if col.name == "order_id" and (line := _composed_order(s)):
        return line
    if col.values:
        return _one_value(s, col)
    rows = len(s.sample.rows)
    each = [n for n in s.sample.columns if rows > 1 and len(set(s.sample.values(n))) == rows and _may_tell(s, n)]
    hint = f"; differ in every row: {', '.join(each[:4])}" if each and is_id(col) else ""
    return FieldLine(col.name, None, "asked", False, f"needed: {col.field.zh}, {col.field.en}{hint}")


def _clock_beside(s: Setting, column: str) -> str:
    """A day whose time of day stands in a column of its own, which no rule can put together."""
    days = s.sample.values(column)
    if not days or any(":" in v for v in days):
        return ""
    clocks = [n for n in s.sample.columns if (vs := s.sample.values(n)) and all(_CLOCK.fullmatch(v) for v in vs)]
    return f"a day only; the time of day in {clocks[0]} is not read" if clocks else ""


def _composed_order(s: Setting) -> FieldLine | None:
    """A file without order numbers: what one person bought at one time may be an order."""
    placed = s.matches.column("ordered_at") or s.matches.column("paid_at")
    names = [col.name for col in s.contract.feed_columns if col.field.personal == "identifier"]
    person = next((m for n in [*names, "member_id"] if (m := s.matches.column(n))), None) or s.person
    if placed is None or person is None:
        return None
    why = "asked: no column of order numbers; right if what one person buys at one time is one order"
    return FieldLine(
        "order_id", {"join": [person, placed]}, "asked", False, f"{why}; `{{row: file}}` if each row is one"
    )


def _one_value(s: Setting, col: Column) -> FieldLine:
    """A file of one kind of event names it nowhere; its column of time may (领取时间)."""
    said = " ".join(bare(m.column) for n, m in s.matches.of.items() if n in s.contract.event_time)
    meant = next((v for word, v in known_values(col.name).items() if word in said and v in col.values), None)
    why = f"asked: no column says which of {', '.join(col.values)}; one for all rows?"
    return FieldLine(col.name, {"constant": meant} if meant else None, "asked", False, why)


def _may_tell(s: Setting, column: str) -> bool:
    return not any(is_time(v) or (is_amount(v) and _MARKED.search(v)) for v in s.sample.values(column))


def _rule(s: Setting, col: Column, column: str) -> tuple[Any, str, bool]:
    """(rule, what is doubtful about it, is it left to the reader to switch on?)."""
    values = s.sample.values(column)
    if column in s.written and col.field.type in ("timestamp", "date"):
        w = s.written[column]
        rule = {"column": column, "time": w.forms[0] if len(w.forms) == 1 else list(w.forms)} if w.forms else column
        return rule, f"asked: {w.why}" if w.asked else "", w.asked
    if is_money(col):
        rule, doubt, asked = _money(s, col, {"column": column})
        if s.contract.table == "orders" and (n := s.orders.differing(column)):
            own = f"guess: differs between the rows of {n:,} order{'s' * (n > 1)}, so it is a line's; of an order one row counts"
            return rule, _joined(own, doubt), True
        return rule, doubt, asked
    if col.values or col.field.type == "bool":
        rule, doubt = _value_rule(col, column, values)
        return rule, doubt, False
    if col.name in HASHED:
        ready = bool(values) and all(HASH.fullmatch(v) for v in values)
        return {"column": column, "hash": not ready}, "its values look hashed already" if ready else "", False
    found = _known_words(col, column, values)
    return found or column, "" if found else _nothing(col, column, values), False


def _nothing(col: Column, column: str, values: Sequence[str]) -> str:
    """A question about texts that may stand for nothing; guests' ids are the project's to name."""
    said = [w for w in words()["for_nothing"] if w in values and set(values) != {w}]
    if not said or col.field.personal == "identifier":
        return ""
    return f"check: does {', '.join(said)} mean nothing? Then {{column: {column}, absent: {said}}}"


def _money(s: Setting, col: Column, rule: dict[str, Any]) -> tuple[dict[str, Any], str, bool]:
    """``rule`` with its unit; an amount that is taken off and written as negative turns its sign."""
    column = rule["column"]
    values = [as_typed(v) for v in without_blanks(s.sample.values(column))]
    signs = {v.replace("$", "").replace("¥", "").strip()[:1] == "-" for v in values if set(v) & set("123456789")}
    doubt = ""
    if col.name == "discount_amount_minor" and signs == {True}:
        rule, doubt = {**rule, "negate": True}, "guess: written as negative, so its sign is turned"
    if _MINOR_NAMES.search(column) and not any(_MARKED.search(v) for v in values):
        return {**rule, "unit": "minor"}, doubt, False
    unit, why = s.unit
    return (
        {**rule, "unit": unit or "major"},
        "; ".join(filter(None, [doubt, f"asked: {why}" if why else ""])),
        unit is None,
    )


def columns_read(rule: Any) -> list[str]:
    """The columns that a rule reads."""
    if not isinstance(rule, dict):
        return [rule] if rule else []
    several = [n for k in ("sum", "join", "minus") for n in rule.get(k, [])]
    several += [rule["when"]["column"]] if "when" in rule else []
    return [rule[k] for k in ("column", "times") if k in rule] + several


# --- orders and their lines ---


def _times_of_orders(s: Setting) -> dict[str, FieldLine | None]:
    """An order's time where only that of its payment is there; a payment's where none is, which is asked for."""
    found: dict[str, FieldLine | None] = {}
    placed, paid = s.matches.column("ordered_at"), s.matches.column("paid_at")
    if s.contract.table == "order_lines":
        paid = paid or next((c for c in s.written if c != placed and likeness("paid_at", c)), None)
    if placed is None and paid is not None:
        everywhere = len(s.sample.values(paid)) == len(s.sample.rows)
        why = "guess: no column of the order's time; the payment's"
        rule, doubt, asked = _rule(s, s.contract.column("ordered_at"), paid)
        found["ordered_at"] = FieldLine("ordered_at", rule, "guess", everywhere and not asked, _joined(why, doubt))
    if s.contract.table == "orders" and paid is None and placed is not None:
        found["paid_at"] = _payment(s, placed)
    return found


def _payment(s: Setting, placed: str) -> FieldLine:
    """Where no column says when an order was paid: its order time, in the states that are paid where a column tells them."""
    rule, _, _ = _rule(s, s.contract.column("paid_at"), placed)
    why = "asked: no column of payment, and without one nobody counts as a buyer; "
    states = [n for n in of_list("states", s.sample.columns) if 0 < len(set(s.sample.values(n))) <= MOST_VALUES]
    if not states:
        return FieldLine("paid_at", rule, "asked", False, why + "right if every row here is paid")
    seen = dict.fromkeys(s.sample.values(states[0]))
    paid = [v for v in seen if not any(bare(str(w)) in bare(v) for w in words()["unpaid"])]
    other = ", ".join(v for v in seen if v not in paid)
    rule = (rule if isinstance(rule, dict) else {"column": rule}) | {
        "when": {"column": states[0], "in": paid or list(seen)}
    }
    why += "right if these states are paid" + (f", and not: {other}" if other else "")
    return FieldLine("paid_at", rule, "asked", False, why)


def _lines_of_lines(s: Setting) -> dict[str, FieldLine | None]:
    """Quantity and money of a line; None for an amount that is the order's, which is no line's."""
    found: dict[str, FieldLine | None] = {}
    quantity, discount = s.matches.column("quantity"), s.matches.column("discount_amount_minor")
    if quantity is None:
        why = "guess: no column counts units; one a row"
        found["quantity"] = FieldLine("quantity", {"constant": "1"}, "guess", True, why)
    cols = {n: s.contract.column(n) for n in ("list_amount_minor", "discount_amount_minor", "net_amount_minor")}
    of_order = totals(s.orders, [m.column for m in s.matches.of.values()])
    names = [n for n in s.sample.columns if likeness("net_amount_minor", n)]
    names.sort(key=lambda n: like.rank if (like := likeness("net_amount_minor", n)) else 0)
    paid = paid_for_a_line(s.orders, quantity, discount, [n for n in names if n != discount])
    if paid is not None:
        rule, doubt, asked = _money(s, cols["net_amount_minor"], paid.rule)
        comment = _joined(paid.why if paid.sure else f"guess: {paid.why}", doubt)
        found["net_amount_minor"] = FieldLine(
            "net_amount_minor", rule, "sure" if paid.sure and not asked else "guess", paid.sure and not asked, comment
        )
    price = unit_price(s.sample)
    listed = s.matches.column("list_amount_minor")
    if listed is None and price and quantity and price != (paid.rule["column"] if paid and paid.sure else None):
        rule, doubt, _ = _money(s, cols["list_amount_minor"], {"column": price, "times": quantity})
        why = "guess: unit price times quantity; right if the price is that before discounts"
        found["list_amount_minor"] = FieldLine("list_amount_minor", rule, "guess", False, _joined(why, doubt))
    if added := _added_discounts(s):
        found["discount_amount_minor"] = added
    for name in ("list_amount_minor", "discount_amount_minor"):
        m = s.matches.of.get(name)
        if m is None or name in found:
            continue
        if m.column in of_order or (paid and m.column == paid.rule["column"]):
            found[name] = None
    return found


def _added_discounts(s: Setting) -> FieldLine | None:
    """Several columns of discounts: nobody but the shop knows whether each is a part of its own."""
    m = s.matches.of.get("discount_amount_minor")
    if m is None or has_word("sums", m.column):
        return None
    of_order = totals(s.orders, amounts_of(s.sample))
    free = [n for n in s.sample.columns if DISCOUNT in never(n) and n not in of_order and n != m.column]
    more = [
        n for n in free if is_amount_column(s.sample, n) and any(set(v) & set("123456789") for v in s.sample.values(n))
    ]
    if not more:
        return None
    unit = s.unit[0] or "major"
    why = "guess: several columns of discounts, added; is each a part of its own?"
    return FieldLine("discount_amount_minor", {"sum": [m.column, *more], "unit": unit}, "guess", False, why)


def _joined(*said: str) -> str:
    return "; ".join(filter(None, said))


# --- words for values ---


def _known_words(col: Column, column: str, values: Sequence[str]) -> dict[str, Any] | None:
    """``values:`` for free text whose every value is a word that we know by another name (channels), else None."""
    known = known_values(col.name)
    seen = [v for v, _ in Counter(values).most_common(MOST_VALUES)]
    found = {v: known[bare(v)] for v in seen if bare(v) in known}
    if len(found) < len(seen) or all(k == v for k, v in found.items()):
        return None
    return {"column": column, "values": found}


def _value_rule(col: Column, column: str, values: Sequence[str]) -> tuple[Any, str]:
    seen = [v for v, _ in Counter(values).most_common(MOST_VALUES)]
    if col.field.type == "bool":
        odd = [shown(v, "status") for v in seen if v.lower() not in (*YES, *NO)]
        return column, f"check: what do {', '.join(odd[:5])} mean?" if odd else ""
    known = known_values(col.name)
    # What says it as the contract does means itself; a new feed's values have no other names.
    meant = {v: v if v in col.values else known.get(bare(v)) for v in seen}
    found = {v: m for v, m in meant.items() if m in col.values}
    odd = [shown(v, "status") for v in seen if v not in found]
    comment = f"check: not mapped yet, so quarantined: {', '.join(odd)}" if odd else ""
    if all(k == v for k, v in found.items()) and not odd:
        return column, ""
    return {"column": column, "values": found} if found else column, comment
