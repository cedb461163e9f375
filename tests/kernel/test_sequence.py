"""One thing done after another, on rows that one can follow by hand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from features.facts import Fact
from features.kernel import Followed
from tests.kernel.shop import merged, row, table

AS_OF = date(2026, 3, 10)


def followed(rows: Sequence[dict[str, Any]], within: int, *, without: bool = False, **first: Any) -> bool | None:
    """Whether user 1 viewed and then paid (or did not); None where that is not known."""
    facts = [
        Fact.model_validate({"from": [behaviour], "measure": "rows", "agg": "count", **more})
        for behaviour, more in (("view", first), ("pay", {}))
    ]
    laid = merged([table(rows)], facts)
    values, known = Followed(*facts, within, without).of(laid, laid, AS_OF)
    others = [values[u] or not known[u] for u in range(len(values)) if u != 1]
    assert not any(others), "whoever did nothing did not do it in this order"
    return bool(values[1]) if known[1] else None


def view(at: str) -> dict[str, Any]:
    return row(1, "view", at)


def pay(at: str, **columns: Any) -> dict[str, Any]:
    return row(1, "pay", at, order_key=7, **columns)


def test_the_second_comes_later_and_on_one_of_the_days() -> None:
    assert followed([view("2026-03-01 10:00"), pay("2026-03-04 09:00")], 3) is True
    assert followed([view("2026-03-01 10:00"), pay("2026-03-05 09:00")], 3) is False
    assert followed([pay("2026-03-01 10:00"), view("2026-03-04 09:00")], 3) is False


def test_no_days_are_the_rest_of_its_own() -> None:
    assert followed([view("2026-03-01 10:00"), pay("2026-03-01 23:59")], 0) is True
    assert followed([view("2026-03-01 10:00"), pay("2026-03-02 00:01")], 0) is False


def test_of_one_instant_neither_is_the_later() -> None:
    assert followed([view("2026-03-01 10:00"), pay("2026-03-01 10:00")], 3) is False


def test_any_of_the_first_rows_will_do() -> None:
    rows = [view("2026-02-01 10:00"), view("2026-03-01 10:00"), pay("2026-03-02 10:00")]
    assert followed(rows, 2) is True
    assert followed(rows, 2, without=True) is True, "after the first view nothing came"
    assert followed(rows, 2, without=True, window=20) is False


def test_days_of_the_first_are_no_days_of_the_second() -> None:
    rows = [view("2026-03-01 10:00"), pay("2026-03-04 10:00")]
    assert followed(rows, 5, window=10, ago=9) is True
    assert followed(rows, 5, window=9) is False


def test_without_is_unknown_until_the_days_are_over() -> None:
    assert followed([view("2026-03-07 10:00")], 3, without=True) is True
    assert followed([view("2026-03-08 10:00")], 3, without=True) is None
    assert followed([view("2026-03-08 10:00"), pay("2026-03-09 10:00")], 3, without=True) is False
    assert followed([view("2026-03-01 10:00"), view("2026-03-08 10:00")], 3, without=True) is True


def test_a_void_order_follows_nothing() -> None:
    void = pay("2026-03-02 10:00", void_day=date(2026, 3, 9))
    assert followed([view("2026-03-01 10:00"), void], 3) is False
    assert followed([view("2026-03-01 10:00"), void], 3, without=True) is True


def test_what_another_did_is_no_answer() -> None:
    others = [row(0, "pay", "2026-03-02 10:00", order_key=8), row(2, "pay", "2026-03-02 10:00", order_key=9)]
    assert followed([view("2026-03-01 10:00"), *others], 3) is False
