"""Columns as bits: whom they find is whom the evaluator of a build finds, and SQL."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiences.bit_slices import encoded, sliced
from audiences.bits import everybody, flags, how_many, packed, truth_of_numbers
from audiences.evaluate import evaluate
from audiences.plan import AllOf, Leaf, Member, Node, Plan, Test
from audiences.tally import Tally, sized, tallied
from tests.audiences.definitions import ARROW, BASE, KINDS, W, combined, leaf, leaves, numbered, plan_of, sql

DB = duckdb.connect()
A, B = leaf(1, "a", "is", True, kind="bool"), leaf(2, "b", "is", True, kind="bool")


def tally_of(plan: Plan, columns: dict[str, pa.ChunkedArray], kinds: dict[str, str]) -> Tally:
    users = len(next(iter(columns.values())))
    known = everybody(users)
    bits = {name: encoded(column, kinds[name]) for name, column in columns.items()}  # type: ignore[arg-type]

    def truth(node: Leaf) -> Any:
        found = bits[node.column].truth(node.tests, node.type, known)
        return ~found if node.negated else found

    return tallied(plan, users, known, truth)


def chunked(**columns: list[Any]) -> dict[str, pa.ChunkedArray]:
    return {name: pa.chunked_array([pa.array(values)]) for name, values in columns.items()}


@settings(max_examples=100, deadline=None)
@given(
    node=st.recursive(leaves(), combined, max_leaves=8),
    exclude=st.one_of(st.none(), st.recursive(leaves(), combined, max_leaves=3)),
    rows=st.lists(st.tuples(*BASE.values()), min_size=1, max_size=80),
)
def test_bits_find_whom_the_build_and_sql_find_and_the_same_truth_of_every_condition(
    node: Node, exclude: Node | None, rows: list
) -> None:
    root = numbered(Member(number=0, place="", text=W, audience="m", include=node, exclude=exclude), [0])
    assert isinstance(root, Member)
    plan = Plan(audience="m", definition_hash="", root=root, columns=(), facts={})
    table = pa.table({c: pa.array(v, ARROW[c]) for c, v in zip(BASE, zip(*rows, strict=True), strict=True)})
    columns = dict(zip(table.column_names, table.columns, strict=True))
    found, built = tally_of(plan, columns, KINDS), evaluate(plan, columns, len(rows))
    for number, truth in built.truth.items():
        mine = found.truth[number]
        assert np.array_equal(flags(mine.true, len(rows)), truth == 1), number
        assert np.array_equal(flags(mine.false, len(rows)), truth == -1), number
    DB.register("base", table)
    assert flags(found.members, len(rows)).tolist() == [
        r[0] for r in DB.execute(f"select {sql(root)} from base").fetchall()
    ]


@pytest.mark.parametrize("cores", [None, ThreadPoolExecutor(2)])
@settings(max_examples=30, deadline=None)
@given(
    node=st.recursive(leaves(), combined, max_leaves=6),
    exclude=st.one_of(st.none(), leaves()),
    rows=st.lists(st.tuples(*BASE.values()), min_size=0, max_size=300),
)
def test_blocks_of_users_add_up_to_the_whole(
    cores: ThreadPoolExecutor | None, node: Node, exclude: Node | None, rows: list
) -> None:
    root = numbered(Member(number=0, place="", text=W, audience="m", include=node, exclude=exclude), [0])
    assert isinstance(root, Member)
    plan = Plan(audience="m", definition_hash="", root=root, columns=(), facts={})
    table = pa.Table.from_pylist([dict(zip(BASE, row, strict=True)) for row in rows], pa.schema(list(ARROW.items())))
    columns = dict(zip(table.column_names, table.columns, strict=True))
    whole = tally_of(plan, columns, KINDS)
    bits = {name: encoded(column, KINDS[name]) for name, column in columns.items()}  # type: ignore[arg-type]
    known = everybody(len(rows))

    def truth(node: Leaf, words: slice) -> Any:
        found = bits[node.column].cut(words).truth(node.tests, node.type, known[words])
        return ~found if node.negated else found

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("audiences.tally.BLOCK_WORDS", 2)
        found = sized(plan, len(rows), known, truth, cores)
    assert np.array_equal(found.members, whole.members)
    assert (found.users, found.steps) == (whole.users, whole.steps())


INTEGERS = st.integers(-(2**63), 2**63 - 1)


@given(
    values=st.lists(st.one_of(st.none(), INTEGERS, st.integers(-3, 3)), min_size=1, max_size=70),
    bound=st.one_of(INTEGERS, st.integers(-4, 4), st.sampled_from([-0.5, 0.5, 2.5])),
    op=st.sampled_from(["is", "is_not", "at_least", "at_most", "above", "below"]),
)
def test_every_comparison_of_whole_numbers_is_exact_over_all_of_their_range(
    values: list[int | None], bound: float, op: str
) -> None:
    known = np.array([v is not None for v in values])
    numbers = np.array([0 if v is None else v for v in values], np.int64)
    truth = sliced(numbers, known).truth((Test(op=op, values=(bound,)),), "int64", everybody(len(values)))  # type: ignore[arg-type]
    holds = {
        "is": lambda v: v == bound, "is_not": lambda v: v != bound, "at_least": lambda v: v >= bound,
        "at_most": lambda v: v <= bound, "above": lambda v: v > bound, "below": lambda v: v < bound,
    }[op]  # fmt: skip
    assert flags(truth.true, len(values)).tolist() == [v is not None and holds(v) for v in values]
    assert flags(truth.false, len(values)).tolist() == [v is not None and not holds(v) for v in values]


@given(
    node=leaves().filter(lambda n: n.column in "nfd"), rows=st.lists(st.tuples(*BASE.values()), min_size=1, max_size=40)
)
def test_numbers_as_they_are_have_the_truth_of_their_bits(node: Leaf, rows: list) -> None:
    values = [dict(zip(BASE, row, strict=True))[node.column] for row in rows]
    column = pa.array(values, ARROW[node.column])
    known = np.array([v is not None for v in values])
    plain = column.cast(pa.int32()) if node.column == "d" else column
    numbers = np.array([0 if v is None else v for v in plain.to_pylist()])
    ready = encoded(pa.chunked_array([column]), node.type).truth(node.tests, node.type, everybody(len(rows)))
    found = truth_of_numbers(node.tests, node.type, numbers, known)
    assert np.array_equal(found.true, ready.true) and np.array_equal(found.false, ready.false)


def test_what_is_absent_to_a_comparison_is_absent_in_bits() -> None:
    texts = encoded(pa.chunked_array([pa.array(["a", None, "unknown", "b"])]), "string")
    floats = encoded(pa.chunked_array([pa.array([0.5, math.nan, None, -0.0])]), "float64")
    assert flags(texts.known, 4).tolist() == [True, False, False, True]
    assert flags(floats.known, 4).tolist() == [True, False, False, True]
    assert (texts.values, floats.values) == (["a", "b"], [-0.0, 0.5])


@pytest.mark.parametrize("kind", ["bool", "int32", "int64", "date", "float64", "string"])
@pytest.mark.parametrize("values", [[], [None, None]])
def test_a_column_without_a_value_is_unknown_to_all(kind: str, values: list[None]) -> None:
    from schemas.arrow import ARROW as TYPES

    column = encoded(pa.chunked_array([pa.array(values, TYPES[kind])]), kind)  # type: ignore[arg-type, index]
    operand = {"bool": True, "date": "2026-01-01", "string": "x"}.get(kind, 1)
    truth = column.truth((Test(op="is", values=(operand,)),), kind, everybody(len(values)))
    assert (how_many(truth.true), how_many(truth.false), how_many(column.known)) == (0, 0, 0)


def test_chunks_with_dictionaries_of_their_own_are_one_column() -> None:
    first, second = pa.array(["b", "a", None]).dictionary_encode(), pa.array(["c", "b"]).dictionary_encode()
    column = encoded(pa.chunked_array([first, second]), "string")
    truth = column.truth((Test(op="is", values=("b",)),), "string", everybody(5))
    assert flags(truth.true, 5).tolist() == [True, False, False, False, True]


def test_bits_beyond_the_last_user_are_never_set() -> None:
    for users in (1, 63, 64, 65, 130):
        column = sliced(np.arange(users), None)
        for op in ("at_least", "above", "is_not"):
            truth = column.truth((Test(op=op, values=(-1,)),), "int64", everybody(users))  # type: ignore[arg-type]
            assert how_many(truth.true) == users and how_many(truth.false) == 0
        known = column.truth((Test(op="known", values=(True,)),), "int64", everybody(users))
        assert how_many((~known).false) == users
    assert flags(packed(np.ones(65, np.bool_)), 65).all()


def test_the_funnel_narrows_from_condition_to_condition() -> None:
    include = AllOf(number=3, place="", text=W, parts=(A, B))
    columns = chunked(a=[True, True, True, False], b=[True, False, None, True], c=[1, 1, 1, 1])
    tally = tally_of(plan_of(include, leaf(9, "c", "is", 1)), columns, {"a": "bool", "b": "bool", "c": "int64"})
    found = {s.number: s for s in tally.steps()}
    assert [found[n].true for n in (1, 2, 3, 9, 1000)] == [3, 2, 1, 4, 0]
    assert [found[n].remaining for n in (1, 2, 3, 9)] == [3, 1, None, 0]
    assert (found[2].unknown, found[2].false) == (1, 1)
    assert [found[n].alone for n in (1, 2, 3, 9)] == [0, 0, None, 1]


def test_what_a_condition_alone_keeps_out_is_who_would_be_in_without_it() -> None:
    columns = chunked(a=[True, True, False, None, True], b=[True, None, True, True, False], c=[0, 0, 0, 0, 0])
    kinds = {"a": "bool", "b": "bool", "c": "int64"}
    excluded = leaf(9, "c", "is", 1)
    whole = tally_of(plan_of(AllOf(number=3, place="", text=W, parts=(A, B)), excluded), columns, kinds)
    without = {
        1: plan_of(B, excluded),
        2: plan_of(A, excluded),
        9: plan_of(AllOf(number=3, place="", text=W, parts=(A, B))),
    }
    for step in whole.steps():
        if step.number in without:
            more = how_many(tally_of(without[step.number], columns, kinds).members) - how_many(whole.members)
            assert step.alone == more
    single = tally_of(plan_of(A), columns, kinds).steps()
    assert [s.alone for s in single] == [None, 2], "without its only condition everybody is in"
