"""Facts of one bucket: plan, select once per filter, measure, and put the results beside the uids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date

import numpy as np
import pyarrow as pa

from features.facts import Fact
from features.kernel.arrays import to_arrow
from features.kernel.measures import Measures, Result
from features.kernel.products import Codes, Products
from features.kernel.rows import Rows
from features.kernel.selection import Scope

_EPOCH = date(1970, 1, 1)
ROWS_AT_ONCE = 1 << 19


def compute(
    rows: Rows,
    facts: Sequence[Fact],
    as_of: date,
    *,
    known_at_day: date | None = None,
    products: Products | None = None,
    codes: Codes | None = None,
    zone: str = "UTC",
) -> pa.Table:
    """One row per user of the bucket, users without behaviour included: ``uid`` and a column per fact.

    ``rows`` must hold the columns of ``needs(facts)``. ``known_at_day`` leaves out rows learned after it. ``codes``
    translates the names in conditions; ``zone`` cuts local hours. Text values come as codes (``Fact.kernel_type``);
    absent counts and sums are 0, everything else null.
    """
    results = {fact.key: _Column(fact, rows.users) for fact in facts}
    plan = _plan([column.fact for column in results.values()])
    for part in _parts(rows):
        scope = Scope(
            part,
            (as_of - _EPOCH).days,
            None if known_at_day is None else (known_at_day - _EPOCH).days,
            products or Products.none(),
            codes or {},
            zone,
        )
        _measure(scope, plan, results, part.base - rows.base)
    uids = to_arrow(np.arange(rows.base, rows.base + rows.users, dtype=np.int64), None, pa.int64())
    arrays = {key: column.arrow() for key, column in results.items()}
    return pa.table([uids, *(arrays[f.key] for f in facts)], names=["uid", *(f.column for f in facts)])


def _parts(rows: Rows) -> Iterator[Rows]:
    """Users one after the other, as many at once as have ROWS_AT_ONCE rows: what is in work then stays small."""
    first = 0
    while first < rows.users:
        last = int(np.searchsorted(rows.begin, rows.begin[first] + ROWS_AT_ONCE, side="right")) - 1
        last = max(last, first + 1)
        yield rows.of_users(first, last)
        first = last


Plan = dict[tuple[tuple[str, ...], str, str], list[list[Fact]]]
"""Behaviours, view and flagged -> facts by their further conditions: what is selected once lies together."""


def _plan(facts: Sequence[Fact]) -> Plan:
    found: dict[tuple[tuple[str, ...], str, str], dict[str, list[Fact]]] = {}
    for fact in facts:
        filters = found.setdefault((fact.reads, fact.view, fact.flagged), {})
        filters.setdefault(repr(fact.where.conditions()), []).append(fact)
    return {selected: list(filters.values()) for selected, filters in found.items()}


def _measure(scope: Scope, plan: Plan, results: dict[str, _Column], first: int) -> None:
    """Fill the users from ``first`` on; one behaviour set after the other, so that only one set's rows are held."""
    for (behaviours, view, flagged), filters in plan.items():
        selection = scope.select(behaviours, view, flagged)
        for together in filters:
            measures = Measures(selection.where(together[0].where), together)
            for fact in together:
                results[fact.key].put(first, measures.of(fact))


class _Column:
    """A fact's values for all users of the bucket while they are made."""

    def __init__(self, fact: Fact, users: int):
        self.fact = fact
        self._values = np.zeros(
            users, np.int32 if fact.measure == "day" else str(fact.kernel_type).replace("double", "float64")
        )
        self._absent: np.ndarray | None = None

    def put(self, first: int, result: Result) -> None:
        values, found = result
        users = slice(first, first + len(values))
        self._values[users] = values
        if found is not None:
            if self._absent is None:
                self._absent = np.ones(len(self._values), np.bool_)
            np.logical_not(found, out=self._absent[users])

    def arrow(self) -> pa.Array:
        return to_arrow(self._values, self._absent, self.fact.kernel_type)
