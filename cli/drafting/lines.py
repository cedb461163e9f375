"""A file that holds several rows of an order: what belongs to the line, what to the order, and what a line's money is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import cached_property
from itertools import groupby
from typing import Any

from cli.drafting.forms import as_typed, is_amount, without_blanks
from cli.drafting.sample import Sample
from cli.drafting.words import likeness, of_list


@dataclass
class SampleOrders:
    """The sample's rows by the values of ``columns``; without any, every row is an order of its own.

    Where no column holds an order's number, what one person bought at one time stands for one.
    """

    sample: Sample
    columns: tuple[str, ...]

    @cached_property
    def groups(self) -> list[list[int]]:
        """Places of the rows of each order that has several."""
        if not self.columns:
            return []
        cells = list(zip(*(self.sample.cells(c) for c in self.columns), strict=True))
        ids = ["\x1f".join(row) if all(row) else "" for row in cells]
        order = sorted((k for k in range(len(ids)) if ids[k]), key=lambda k: (ids[k], k))
        found = [list(places) for _, places in groupby(order, key=lambda k: ids[k])]
        return [g for g in found if len(g) > 1]

    def differing(self, column: str) -> int:
        """Orders of several rows in which the column's values differ, blanks left out."""
        cells = self.sample.cells(column)
        return sum(len({cells[k] for k in g} - {""}) > 1 for g in self.groups)

    def says_something(self, column: str) -> bool:
        """Do all rows of these orders hold it, and is any of it other than 0?"""
        cells = [self.sample.cells(column)[k] for g in self.groups for k in g]
        return all(cells) and any(_numbers(cells))

    def is_said_once(self, column: str) -> bool:
        """Does the first row of every order hold it, and no other row?"""
        cells = self.sample.cells(column)
        later = {k for g in self.groups for k in g[1:]}
        return bool(later) and all(bool(cells[k]) is not (k in later) for k in range(len(cells)))

    def adds_up(self, column: str, totals: Sequence[str]) -> str | None:
        """The total that the column's values add up to in every order of several rows, if they do to one."""
        own = self.sample.cells(column)
        for total in totals:
            cells = self.sample.cells(total)
            filled = all(own[k] for g in self.groups for k in g)
            if (
                self.groups
                and filled
                and all(sum(_numbers([own[k] for k in g])) == sum(_numbers([cells[g[0]]])) for g in self.groups)
            ):
                return total
        return None

    def filled_first_rows(self) -> str | None:
        """A column that stands in the first row of each order and is blank in its other rows, if there is one.

        Where a shop writes the order's own fields once, it tells the rows that hold them.
        """
        return next((c for c in self.sample.columns if self.is_said_once(c)), None)


@dataclass(frozen=True)
class Money:
    """A rule for an amount of a line without its unit, how sure it is, and why."""

    rule: dict[str, Any]
    sure: bool
    why: str


def several(n: int) -> str:
    return f"all {n:,} orders of several rows" if n > 1 else "the one order of several rows"


def totals(orders: SampleOrders, columns: Sequence[str]) -> dict[str, str]:
    """Amounts that are an order's, with the evidence: equal in, or said once for, all rows of each order."""
    found = {}
    for column in columns:
        n = len(orders.groups)
        if orders.is_said_once(column):
            found[column] = f"an order's: only the first row holds it in {several(n)}"
        elif n and not orders.differing(column) and orders.says_something(column):
            found[column] = f"an order's: equal in all rows in {several(n)}"
    return found


def paid_for_a_line(
    orders: SampleOrders, quantity: str | None, discount: str | None, amounts: Sequence[str]
) -> Money | None:
    """What was paid for a line: a column that says so or that differs within orders, else a guess, else None.

    ``amounts`` are the columns that may be it by their names, best first. An order's total is never a line's money.
    """
    by_name = of_list("line_amounts", orders.sample.columns)
    # The value of a discount is no payment, whatever else its column is called.
    named_totals = of_list("order_totals", orders.sample.columns)
    free = [c for c in dict.fromkeys([*by_name, *amounts, *named_totals]) if c != discount]
    free = [c for c in free if is_amount_column(orders.sample, c)]
    of_order = totals(orders, free)
    unit = unit_price(orders.sample) if quantity else None
    for column in free:
        if column != unit and (total := orders.adds_up(column, [c for c in of_order if c != column])):
            n = len(orders.groups)
            return _money({"column": column}, True, f"adds up to {total} in {several(n)}", free)
    lines = [c for c in free if c not in of_order and c != unit]
    for column in lines:
        if n := orders.differing(column):
            either = column in of_list("prices_or_amounts", [column])
            sure = not either and (column in by_name or column not in named_totals)
            doubt = "of one unit, or of all? " if either else "named as a total, but "
            why = f"{'' if sure else doubt}differs between the rows of {n:,} order{'s' * (n > 1)}"
            return _money({"column": column}, sure, why, lines)
    for column in lines:
        if column in by_name:
            return _money({"column": column}, True, "named as a line's", lines)
    single = lines if not orders.groups else []
    if single:
        rows = len(orders.sample.rows)
        every = f"each of the {rows:,} rows is an order of its own" if orders.columns else "the rows name no order"
        return _money({"column": single[0]}, False, f"an order's amount, right only if {every}, freight apart", single)
    price = unit_price(orders.sample)
    if price and quantity:
        less = {"minus": [discount]} if discount and discount not in of_order else {}
        why = "no column holds what was paid for a line: unit price times quantity" + (
            ", less the discount" if less else ""
        )
        return Money({"column": price, "times": quantity, **less}, False, why)
    if price:
        return Money({"column": price}, False, "a price; right if each row is one unit and no discount came off")
    return None


def _money(rule: dict[str, Any], sure: bool, why: str, others: Sequence[str]) -> Money:
    rest = [c for c in dict.fromkeys(others) if c != rule["column"]]
    return Money(rule, sure, why + (f"; also possible: {', '.join(rest[:3])}" if rest and not sure else ""))


def amounts_of(sample: Sample) -> list[str]:
    """The columns of amounts by their names and values."""
    keys = ("line_amounts", "order_totals", "unit_prices")
    named = {n for key in keys for n in of_list(key, sample.columns)}
    money = ("list_amount_minor", "discount_amount_minor", "net_amount_minor", "freight_amount_minor")
    named |= {n for n in sample.columns if any(likeness(f, n) for f in money)}
    return [n for n in sample.columns if n in named and sample.columns.count(n) == 1 and is_amount_column(sample, n)]


def unit_price(sample: Sample) -> str | None:
    """The column of what one unit costs, by its name."""
    return next((c for c in of_list("unit_prices", sample.columns) if is_amount_column(sample, c)), None)


def is_amount_column(sample: Sample, column: str) -> bool:
    """Are most values of the column amounts?"""
    values = without_blanks(sample.values(column))
    return bool(values) and sum(is_amount(as_typed(v)) for v in values) >= 0.5 * len(values)


def _numbers(values: Sequence[str]) -> list[Decimal]:
    found = []
    for v in values:
        try:
            found.append(Decimal("".join(ch for ch in as_typed(v) if ch.isdigit() or ch in ".-")))
        except InvalidOperation:
            continue
    return found
