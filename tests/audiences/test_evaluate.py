"""Three-valued logic: truth tables by hand, and random definitions against SQL."""

from __future__ import annotations

import itertools
from datetime import date
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiences.evaluate import evaluate, explain, reason
from audiences.plan import AllOf, AnyOf, Member, Node, Not, Plan
from tests.audiences.definitions import ARROW, BASE, W, combined, leaf, leaves, numbered, plan_of, sql


def judged(include: Node, columns: dict[str, list[Any]], number: int) -> list[bool | None]:
    arrays = {k: pa.array(v) for k, v in columns.items()}
    outcome = evaluate(plan_of(include), arrays, len(next(iter(columns.values()))))
    return [{1: True, 0: None, -1: False}[int(t)] for t in outcome.truth[number]]


PAIRS = list(itertools.product([True, False, None], repeat=2))
BOTH = {"a": [a for a, _ in PAIRS], "b": [b for _, b in PAIRS]}
A = leaf(1, "a", "is", True, kind="bool")
B = leaf(2, "b", "is", True, kind="bool")


def test_and_follows_kleene() -> None:
    assert judged(AllOf(number=3, place="", text=W, parts=(A, B)), BOTH, 3) == [
        True, False, None,
        False, False, False,
        None, False, None,
    ]  # fmt: skip


def test_or_follows_kleene() -> None:
    assert judged(AnyOf(number=3, place="", text=W, parts=(A, B)), BOTH, 3) == [
        True, True, True,
        True, False, None,
        True, None, None,
    ]  # fmt: skip


def test_not_follows_kleene() -> None:
    assert judged(Not(number=3, place="", text=W, part=A), {"a": [True, False, None]}, 3) == [False, True, None]


def test_unknown_at_the_top_of_include_is_no_member() -> None:
    columns = {"a": pa.array([True, False, None])}
    for include, expected in (
        (A, [True, False, False]),
        (Not(number=3, place="", text=W, part=A), [False, True, False]),
    ):
        assert evaluate(plan_of(include), columns, 3).members.tolist() == expected


def test_unknown_at_the_top_of_exclude_excludes_nobody() -> None:
    everyone = leaf(9, "c", "at_least", 0)
    columns = {"a": pa.array([True, False, None]), "c": pa.array([1, 1, 1])}
    assert evaluate(plan_of(everyone, A), columns, 3).members.tolist() == [False, True, True]


def test_who_is_not_known_to_be_in_an_audience_is_outside_it() -> None:
    inner = Member(number=5, place="", text=W, audience="other", include=A)
    columns = {"a": [True, False, None]}
    assert judged(Not(number=6, place="", text=W, part=inner), columns, 6) == [False, True, True]


@pytest.mark.parametrize(
    ("op", "values", "expected"),
    [
        ("is", ("male",), [True, False, None, None]),
        ("is_not", ("male",), [False, True, None, None]),
        ("is", ("male", "unknown"), [True, False, True, True]),
        ("is_not", ("unknown",), [True, True, False, False]),
        ("known", (True,), [True, True, False, False]),
        ("known", (False,), [False, False, True, True]),
    ],
)
def test_the_text_unknown_is_unknown_unless_it_is_asked_for(op: str, values: tuple, expected: list) -> None:
    node = leaf(1, "g", op, *values, kind="string")
    assert judged(node, {"g": ["male", "female", "unknown", None]}, 1) == expected


@pytest.mark.parametrize("encode", [False, True])
def test_text_columns_may_be_dictionary_encoded(encode: bool) -> None:
    column = pa.chunked_array([pa.array(["北京", None]), pa.array(["上海", "北京"])])
    column = column.dictionary_encode() if encode else column
    node = leaf(1, "g", "is", "北京", kind="string")
    assert evaluate(plan_of(node), {"g": column}, 4).members.tolist() == [True, False, False, True]


def test_a_column_without_any_value_is_unknown_everywhere() -> None:
    node = leaf(1, "g", "is_not", "北京", kind="string")
    assert evaluate(plan_of(node), {"g": pa.nulls(3)}, 3).truth[1].tolist() == [0, 0, 0]


def test_nan_counts_as_absent() -> None:
    assert judged(leaf(1, "x", "above", 0.0, kind="float64"), {"x": [1.0, float("nan"), None]}, 1) == [True, None, None]


def test_days_are_compared_as_days() -> None:
    column = {"d": [date(2026, 3, 1), date(1969, 12, 31), None]}
    assert judged(leaf(1, "d", "at_least", "2026-03-01", kind="date"), column, 1) == [True, False, None]
    assert judged(leaf(1, "d", "between", "1969-12-31", "2026-02-28", kind="date"), column, 1) == [False, True, None]
    assert judged(leaf(1, "d", "is", "2026-03-01", kind="date"), column, 1) == [True, False, None]


def test_large_whole_numbers_are_compared_exactly() -> None:
    big = 2**53 + 1
    assert judged(leaf(1, "n", "is", big), {"n": [big, big - 1]}, 1) == [True, False]


def test_an_empty_base_has_no_members() -> None:
    outcome = evaluate(plan_of(A), {"a": pa.array([], pa.bool_())}, 0)
    assert outcome.members.tolist() == []


def decided(include: Node, row: dict[str, Any], exclude: Node | None = None) -> int:
    columns = {k: pa.array([v], pa.bool_()) for k, v in row.items()}
    return int(evaluate(plan_of(include, exclude), columns, 1).deciding()[0])


@pytest.mark.parametrize(
    ("row", "by_all", "by_any"),
    [
        ({"a": True, "b": True}, 3, 1),
        ({"a": True, "b": False}, 2, 1),
        ({"a": False, "b": True}, 1, 2),
        ({"a": False, "b": False}, 1, 4),
        ({"a": None, "b": True}, 1, 2),
        ({"a": None, "b": False}, 2, 1),
        ({"a": True, "b": None}, 2, 1),
        ({"a": None, "b": None}, 1, 1),
    ],
)
def test_the_deciding_condition_is_the_one_that_settled_it(row: dict, by_all: int, by_any: int) -> None:
    assert decided(AllOf(number=3, place="", text=W, parts=(A, B)), row) == by_all
    assert decided(AnyOf(number=4, place="", text=W, parts=(A, B)), row) == by_any


def test_an_exclusion_decides_only_for_those_who_were_included() -> None:
    assert decided(A, {"a": True, "b": True}, exclude=B) == 2
    assert decided(A, {"a": False, "b": True}, exclude=B) == 1
    assert decided(A, {"a": True, "b": False}, exclude=B) == 1


def test_why_shows_value_truth_and_what_decided() -> None:
    plan = plan_of(AllOf(number=3, place="include", text=W, parts=(A, B)))
    columns = {"a": pa.array([True]), "b": pa.array([None], pa.bool_())}
    found = explain(evaluate(plan, columns, 1), columns, 0)
    assert [(f.number, f.value, f.truth, f.decided) for f in found] == [
        (1000, None, "false", False),
        (3, None, "unknown", False),
        (1, True, "true", False),
        (2, None, "unknown", True),
    ]
    assert reason(plan, 2) == "p2: x"


DB = duckdb.connect()
KLEENE = {"true": True, "false": False, "unknown": None}


@settings(max_examples=60, deadline=None)
@given(
    node=st.recursive(leaves(), combined, max_leaves=8),
    exclude=st.one_of(st.none(), st.recursive(leaves(), combined, max_leaves=3)),
    rows=st.lists(st.tuples(*BASE.values()), min_size=1, max_size=25),
    order=st.randoms(use_true_random=False),
)
def test_the_evaluator_equals_sql_in_any_order_of_rows(
    node: Node, exclude: Node | None, rows: list, order: Any
) -> None:
    root = numbered(Member(number=0, place="", text=W, audience="m", include=node, exclude=exclude), [0])
    assert isinstance(root, Member)
    plan = Plan(audience="m", definition_hash="", root=root, columns=(), facts={})
    table = pa.table({c: pa.array(v, ARROW[c]) for c, v in zip(BASE, zip(*rows, strict=True), strict=True)})
    outcome = evaluate(plan, dict(zip(table.column_names, table.columns, strict=True)), len(rows))
    DB.register("base", table)
    expected = [r[0] for r in DB.execute(f"select {sql(root)} from base").fetchall()]
    assert outcome.members.tolist() == expected

    shuffled = list(range(len(rows)))
    order.shuffle(shuffled)
    again = table.take(shuffled)
    other = evaluate(plan, dict(zip(again.column_names, again.columns, strict=True)), len(rows))
    assert other.members.tolist() == [expected[i] for i in shuffled]
    assert np.array_equal(other.deciding(), outcome.deciding()[shuffled])


@settings(max_examples=50, deadline=None)
@given(node=st.recursive(leaves(), combined, max_leaves=8), row=st.tuples(*BASE.values()))
def test_what_decided_has_the_truth_that_it_explains(node: Node, row: tuple) -> None:
    root = numbered(Member(number=0, place="", text=W, audience="m", include=node), [0])
    assert isinstance(root, Member)
    plan = Plan(audience="m", definition_hash="", root=root, columns=(), facts={})
    columns = {c: pa.array([v], ARROW[c]) for c, v in zip(BASE, row, strict=True)}
    found = explain(evaluate(plan, columns, 1), columns, 0)
    assert [f.decided for f in found].count(True) == 1
