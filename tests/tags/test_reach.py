"""Rules that can never match are found; rules that may match are never refused."""

from __future__ import annotations

import itertools

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.expressions import compiled, parse
from features.reach import never_first
from features.sql_parts import Known, Scope

SCOPE = Scope(
    {
        "n": Known("int64", "n", min=0),
        "x": Known("float64", "x"),
        "day": Known("date", "day"),
        "stage": Known("string", "stage", values=("a", "b", "c")),
        "city": Known("string", "city"),
        "yes": Known("bool", "yes"),
    }
)
CON = duckdb.connect(config={"threads": "1"})
ALONE = "no value satisfies it"
TAKEN = "the rules before it take every case that it describes"


def judged(*rules: str) -> dict[int, str]:
    return never_first([parse(r, SCOPE).tree for r in rules], SCOPE)


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (["n > 5 and n < 3"], {0: ALONE}),
        (["n > 4 and n < 5"], {0: ALONE}),
        (["x > 4 and x < 5"], {}),
        (["n < 0"], {0: ALONE}),
        (["n >= 2", "n = 1", "n >= 3"], {2: TAKEN}),
        (["n >= 5", "n < 5", "n = 3"], {2: TAKEN}),
        (["n >= 5", "n < 5", "n is null"], {}),
        (["n between 1 and 3", "n in (2, 3)"], {1: TAKEN}),
        (["n between 1 and 3", "n in (2, 4)"], {}),
        (["stage = 'a'", "stage in ('b', 'c')", "stage is not null"], {2: TAKEN}),
        (["stage = 'a' and stage = 'b'"], {0: ALONE}),
        (["city = 'x'", "city <> 'x'", "city in ('y')"], {2: TAKEN}),
        (["yes", "not yes", "yes is null", "yes is not false"], {3: TAKEN}),
        (["day < date '2026-01-01'", "day <= date '2025-12-31'"], {1: TAKEN}),
        (["n > 1 or yes", "yes and x > 1"], {1: TAKEN}),
        (["n > 1 and yes", "yes and x > 1"], {}),
        (["n > x", "n > x and yes"], {1: TAKEN}),
        (["n > x", "x < n"], {}),  # one and the same, but not judged
        (["not (n >= 3 and yes)", "n < 3 and yes"], {1: TAKEN}),
        (["true", "yes"], {1: TAKEN}),
        (["null"], {0: ALONE}),
    ],
)
def test_interval_and_list_conditions_are_judged(rules: list[str], expected: dict[int, str]) -> None:
    assert judged(*rules) == expected


def test_too_many_columns_are_judged_pair_by_pair() -> None:
    scope = Scope({f"c{i}": Known("int64", f"c{i}") for i in range(12)})
    rules = [f"c{i} > 3 and c{(i + 1) % 12} < 9" for i in range(12)] + ["c0 > 5 and c1 < 4"]
    assert never_first([parse(r, scope).tree for r in rules], scope) == {
        12: "rule 1 before it takes every case that it describes"
    }


atom = st.one_of(
    st.builds("n {} {}".format, st.sampled_from(["<", "<=", "=", "<>", ">", ">="]), st.integers(0, 4)),
    st.builds("n in ({}, {})".format, st.integers(0, 4), st.integers(0, 4)),
    st.builds("n between {} and {}".format, st.integers(0, 4), st.integers(0, 4)),
    st.builds("stage = '{}'".format, st.sampled_from("abc")),
    st.sampled_from(["yes", "yes is null", "n is null", "stage is not null", "yes is not true"]),
)
condition = st.recursive(
    atom,
    lambda inner: st.one_of(
        st.builds("({} and {})".format, inner, inner),
        st.builds("({} or {})".format, inner, inner),
        st.builds("(not {})".format, inner),
    ),
    max_leaves=4,
)


@settings(max_examples=40, deadline=None)
@given(st.lists(condition, min_size=1, max_size=4))
def test_the_verdict_is_that_of_trying_every_value(rules: list[str]) -> None:
    values = [
        ("NULL" if n is None else n, "NULL" if s is None else f"'{s}'", "NULL" if y is None else y)
        for n, s, y in itertools.product([*range(7), None], ["a", "b", "c", None], [True, False, None])
    ]
    sqls = [compiled(parse(r, SCOPE), SCOPE, {}) for r in rules]
    arms = " ".join(f"WHEN {s} THEN {i}" for i, s in enumerate(sqls))
    rows = ", ".join(f"({n}, {s}, {y})" for n, s, y in values)
    found = CON.execute(f"SELECT DISTINCT CASE {arms} END FROM (VALUES {rows}) t(n, stage, yes)").fetchall()
    first = {row[0] for row in found}
    assert set(judged(*rules)) == set(range(len(rules))) - first
