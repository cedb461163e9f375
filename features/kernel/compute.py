"""Facts of one bucket: plan, select once per filter, measure, and put the results beside the uids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date

import numpy as np
import pyarrow as pa

from features.facts import Fact
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
    distinct = {fact.key: fact for fact in facts}
    done: dict[str, list[pa.Array]] = {key: [] for key in distinct}
    for part in _parts(rows):
        scope = Scope(
            part,
            (as_of - _EPOCH).days,
            None if known_at_day is None else (known_at_day - _EPOCH).days,
            products or Products.none(),
            codes or {},
            zone,
        )
        for key, array in _measured(scope, distinct).items():
            done[key].append(array)
    uids = pa.array(np.arange(rows.base, rows.base + rows.users, dtype=np.int64))
    columns = [pa.chunked_array(done[fact.key], fact.kernel_type).combine_chunks() for fact in facts]
    return pa.table([uids, *columns], names=["uid", *(fact.column for fact in facts)])


def _parts(rows: Rows) -> Iterator[Rows]:
    """Users one after the other, as many at once as have ROWS_AT_ONCE rows: what is in work then stays small."""
    first = 0
    while first < rows.users:
        last = int(np.searchsorted(rows.begin, rows.begin[first] + ROWS_AT_ONCE, side="right")) - 1
        last = max(last, first + 1)
        yield rows.of_users(first, last)
        first = last


def _measured(scope: Scope, facts: dict[str, Fact]) -> dict[str, pa.Array]:
    """Results by key, one behaviour set after the other so that only one set's rows are held at a time."""
    plan: dict[tuple[tuple[str, ...], str], dict[str, list[Fact]]] = {}
    for fact in facts.values():
        filters = plan.setdefault((fact.reads, fact.view), {})
        filters.setdefault(repr(fact.where.conditions()), []).append(fact)
    done: dict[str, pa.Array] = {}
    for (behaviours, view), filters in plan.items():
        selection = scope.select(behaviours, view)
        for together in filters.values():
            measures = Measures(selection.where(together[0].where), together)
            for fact in together:
                done[fact.key] = _arrow(measures.of(fact), fact)
    return done


def _arrow(result: Result, fact: Fact) -> pa.Array:
    values, found = result
    kind = fact.kernel_type
    dtype = np.dtype(np.int32) if pa.types.is_date32(kind) else kind.to_pandas_dtype()
    mask = None if found is None else ~found
    array = pa.array(values.astype(dtype, copy=False), mask=mask)
    return array.view(kind) if pa.types.is_date32(kind) else array
