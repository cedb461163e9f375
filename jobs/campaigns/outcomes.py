"""What each person of a bucket brought in a window: facts of the kernel, so that money and orders are those of every tag."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np

from campaigns.language import Outcome
from features.facts import Fact, first_day, needs
from features.kernel import compute
from features.kernel.rows import USERS_PER_BUCKET
from jobs.activity.bucket_files import BucketFiles, Wanted
from schemas.behaviours import BEHAVIOURS

MEASURES: dict[str, dict[str, str]] = {
    "net_amount": {"measure": "net_amount", "agg": "sum"},
    "orders": {"measure": "orders", "agg": "count"},
    "rows": {"measure": "rows", "agg": "count"},
}


@dataclass(frozen=True)
class DaySpan:
    """Days whose rows are counted, both included; none where ``first`` is after ``last``.

    ``measure`` is one of MEASURES, over rows of the behaviours.
    """

    first: date
    last: date
    measure: str
    behaviours: tuple[str, ...] = ("pay",)


def counts_over(
    activity: Sequence[str], bucket: int, spans: Iterable[DaySpan], as_of: date
) -> Mapping[DaySpan, np.ndarray]:
    """Per span a number for every place of the bucket, by what is known on ``as_of``: orders void by then do not count.

    All of them are one reading and one pass; a span that has not begun by then counts nothing.
    """
    wanted = list(dict.fromkeys(spans))
    facts = {s: _fact(s, as_of) for s in wanted if s.first <= min(s.last, as_of)}
    found = {s: np.zeros(USERS_PER_BUCKET, np.int64) for s in wanted}
    if not facts:
        return found
    asked = Wanted(
        as_of,
        first=first_day(facts.values(), as_of),
        behaviours=tuple(sorted({BEHAVIOURS[b] for fact in facts.values() for b in fact.reads})),
    )
    rows = BucketFiles(activity, asked).rows(needs(facts.values()).columns, base=bucket * USERS_PER_BUCKET)
    table = compute(rows, list(facts.values()), as_of)
    return found | {s: np.asarray(table[f.column].to_numpy(), np.int64) for s, f in facts.items()}


def _fact(span: DaySpan, as_of: date) -> Fact:
    days: dict[str, Any] = {"window": (as_of - span.first).days + 1}
    if span.last < as_of:
        days["ago"] = (as_of - span.last).days
    return Fact.model_validate({"from": list(span.behaviours), **days, **MEASURES[span.measure]})


def after(assigned: date, days: int) -> tuple[date, date]:
    """The window of an outcome: so many days after the day of the assignment."""
    return assigned + timedelta(1), assigned + timedelta(days)


def before(assigned: date, days: int) -> tuple[date, date]:
    """As many days that end on the day of the assignment."""
    return assigned - timedelta(days - 1), assigned


def outcomes_in(
    found: Mapping[DaySpan, np.ndarray], window: tuple[date, date], places: np.ndarray
) -> dict[Outcome, np.ndarray]:
    """Every outcome of the persons at these places of the bucket."""
    net, orders = (found[DaySpan(*window, measure)][places] for measure in ("net_amount", "orders"))
    return {"net_amount": net, "orders": orders, "converted": (orders > 0).astype(np.int64)}


def outcome_spans(window: tuple[date, date]) -> tuple[DaySpan, DaySpan]:
    """The spans that ``outcomes_in`` needs."""
    return DaySpan(*window, "net_amount"), DaySpan(*window, "orders")
