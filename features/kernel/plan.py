"""Facts of one bucket: plan, select once per filter, measure, and put the results beside the uids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date

import numpy as np
import pyarrow as pa

from features.facts import Fact
from features.instants import day_number
from features.kernel.arrays import to_arrow
from features.kernel.measures import Measures, Result
from features.kernel.products import Codes, Products
from features.kernel.rows import Rows
from features.kernel.selection import DayRows

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
    packed: bool = False,
) -> pa.Table:
    """One row per user of the bucket, users without behaviour included: ``uid`` and a column per fact.

    ``rows`` must hold the columns of ``needs(facts)``. ``known_at_day`` leaves out rows learned after it. ``codes``
    translates the names in conditions; ``zone`` cuts local hours. Text values come as codes (``Fact.kernel_type``);
    absent counts and sums are 0, everything else null. ``packed`` gives int64 in the fewest bytes that hold a column's
    numbers.
    """
    results = {fact.key: _Column(fact, rows.users) for fact in facts}
    plan = _plan([column.fact for column in results.values()])
    for part in _parts(rows):
        day_rows = DayRows(
            part,
            day_number(as_of),
            None if known_at_day is None else day_number(known_at_day),
            products or Products.none(),
            codes or {},
            zone,
        )
        _measure(day_rows, plan, results, part.base - rows.base)
    uids = to_arrow(np.arange(rows.base, rows.base + rows.users, dtype=np.int64), None, pa.int64())
    arrays = {key: column.arrow(packed) for key, column in results.items()}
    return pa.table([uids, *(arrays[f.key] for f in facts)], names=["uid", *(f.column for f in facts)])


def _parts(rows: Rows) -> Iterator[Rows]:
    """Users one after the other, as many at once as have ROWS_AT_ONCE rows: what is in work then stays small."""
    first = 0
    while first < rows.users:
        last = int(np.searchsorted(rows.begin, rows.begin[first] + ROWS_AT_ONCE, side="right")) - 1
        last = max(last, first + 1)
        yield rows.of_users(first, last)
        first = last


Selected = dict[tuple[tuple[str, ...], str, str], list[list[Fact]]]
"""Behaviours, view and flagged -> facts by their last day and further conditions: what is selected once lies together."""


def _plan(facts: Sequence[Fact]) -> Selected:
    found: dict[tuple[tuple[str, ...], str, str], dict[str, list[Fact]]] = {}
    for fact in facts:
        filters = found.setdefault((fact.reads, fact.view, fact.flagged), {})
        filters.setdefault(repr((fact.ago, fact.where.conditions())), []).append(fact)
    return {selected: list(filters.values()) for selected, filters in found.items()}


def _measure(day_rows: DayRows, plan: Selected, results: dict[str, _Column], first: int) -> None:
    """Fill the users from ``first`` on; one behaviour set after the other, so that only one set's rows are held."""
    for (behaviours, view, flagged), filters in plan.items():
        selection = day_rows.select(behaviours, view, flagged)
        for together in filters:
            measures = Measures(selection.until(together[0].ago).where(together[0].where), together)
            for fact in together:
                results[fact.key].put(first, measures.of(fact))


class _Column:
    """A fact's values while they are made: whole numbers are held in as few bytes as each part of the users allows."""

    def __init__(self, fact: Fact, users: int):
        self.fact = fact
        self._users = users
        self._parts: list[np.ndarray] = []
        self._absent: np.ndarray | None = None

    def put(self, first: int, result: Result) -> None:
        """The next users, from ``first`` on."""
        values, found = result
        self._parts.append(_packed(values))
        if found is not None:
            if self._absent is None:
                self._absent = np.ones(self._users, np.bool_)
            np.logical_not(found, out=self._absent[first : first + len(values)])

    def arrow(self, packed: bool) -> pa.Array:
        kind = self.fact.kernel_type
        if packed and pa.types.is_int64(kind):
            kind = pa.from_numpy_dtype(np.result_type(np.int8, *self._parts))
        dtype = np.dtype(np.int32) if pa.types.is_date32(kind) else np.dtype(kind.to_pandas_dtype())
        return to_arrow(np.concatenate([np.empty(0, dtype), *self._parts], dtype=dtype), self._absent, kind)


def _packed(values: np.ndarray) -> np.ndarray:
    """A copy in the fewest bytes; what lies under an absent value is a number as well: 0."""
    if values.dtype.kind == "f":
        return values.astype(np.float64)
    least, greatest = (int(values.min()), int(values.max())) if len(values) else (0, 0)
    for kind in (np.int8, np.int16, np.int32):
        if np.iinfo(kind).min <= least and greatest <= np.iinfo(kind).max:
            return values.astype(kind)
    return values.astype(np.int64)
