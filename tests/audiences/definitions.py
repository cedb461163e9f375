"""Plans by hand and at random, and the same conditions as SQL, written without a look at any evaluator."""

from __future__ import annotations

from datetime import date
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from audiences.plan import AllOf, AnyOf, Leaf, Member, Node, Not, Plan, Test, parts
from schemas.configuration import Words

W = Words(zh="x", en="x")


def leaf(number: int, column: str, op: str, *values: Any, kind: str = "int64", negated: bool = False) -> Leaf:
    test = Test(op=op, values=values)  # type: ignore[arg-type]
    return Leaf(number=number, place=f"p{number}", text=W, column=column, type=kind, tests=(test,), negated=negated)  # type: ignore[arg-type]


def plan_of(include: Node, exclude: Node | None = None) -> Plan:
    root = Member(number=1000, place="trial", text=W, audience="trial", include=include, exclude=exclude)
    return Plan(audience="trial", definition_hash="h", root=root, columns=(), facts={})


TEXTS = ["北京", "上海", "unknown", "o'brien"]
BASE = {
    "t": st.one_of(st.none(), st.sampled_from(TEXTS)),
    "n": st.one_of(st.none(), st.integers(-3, 3)),
    "f": st.one_of(st.none(), st.sampled_from([-1.5, 0.0, 0.5, 2.0])),
    "b": st.one_of(st.none(), st.booleans()),
    "d": st.one_of(st.none(), st.dates(date(2026, 1, 1), date(2026, 1, 5))),
}
KINDS = {"t": "string", "n": "int64", "f": "float64", "b": "bool", "d": "date"}
ARROW = {"t": pa.string(), "n": pa.int64(), "f": pa.float64(), "b": pa.bool_(), "d": pa.date32()}


def operand(column: str) -> st.SearchStrategy[Any]:
    return {
        "t": st.sampled_from(TEXTS),
        "n": st.integers(-4, 4),
        "f": st.sampled_from([-1.5, 0.0, 1.0, 2.0]),
        "b": st.booleans(),
        "d": st.dates(date(2025, 12, 31), date(2026, 1, 6)).map(date.isoformat),
    }[column]


@st.composite
def leaves(draw: st.DrawFn) -> Leaf:
    column = draw(st.sampled_from(list(BASE)))
    ops = (
        ["is", "is_not", "known"]
        if column in "tb"
        else ["is", "is_not", "at_least", "at_most", "above", "below", "between", "known"]
    )
    tests = []
    for op in draw(st.lists(st.sampled_from(ops), min_size=1, max_size=2, unique=True)):
        if op == "known":
            values: tuple[Any, ...] = (draw(st.booleans()),)
        elif op in ("is", "is_not"):
            values = tuple(draw(st.lists(operand(column), min_size=1, max_size=3)))
        elif op == "between":
            values = tuple(sorted([draw(operand(column)), draw(operand(column))]))
        else:
            values = (draw(operand(column)),)
        tests.append(Test(op=op, values=values))  # type: ignore[arg-type]
    return Leaf(number=0, place="", text=W, column=column, type=KINDS[column], tests=tuple(tests),  # type: ignore[arg-type]
                negated=draw(st.booleans()))  # fmt: skip


def combined(below: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    several = st.lists(below, min_size=1, max_size=3).map(tuple)
    return st.one_of(
        several.map(lambda p: AllOf(number=0, place="", text=W, parts=p)),
        several.map(lambda p: AnyOf(number=0, place="", text=W, parts=p)),
        below.map(lambda p: Not(number=0, place="", text=W, part=p)),
        st.tuples(below, st.one_of(st.none(), below)).map(
            lambda p: Member(number=0, place="", text=W, audience="m", include=p[0], exclude=p[1])
        ),
    )


def numbered(node: Node, count: list[int]) -> Node:
    count[0] += 1
    mine = count[0]
    if isinstance(node, Leaf):
        return node.model_copy(update={"number": mine})
    if isinstance(node, Not):
        return node.model_copy(update={"number": mine, "part": numbered(node.part, count)})
    if isinstance(node, Member):
        exclude = None if node.exclude is None else numbered(node.exclude, count)
        return node.model_copy(update={"number": mine, "include": numbered(node.include, count), "exclude": exclude})
    return node.model_copy(update={"number": mine, "parts": tuple(numbered(p, count) for p in node.parts)})


def literal(value: Any, kind: str) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        quoted = "'" + value.replace("'", "''") + "'"
        return f"date {quoted}" if kind == "date" else quoted
    return repr(value)


def sql(node: Node) -> str:
    """The same condition as SQL, written without a look at the evaluator."""
    below = [sql(p) for p in parts(node)]
    if isinstance(node, AllOf):
        return "(" + " and ".join(below) + ")"
    if isinstance(node, AnyOf):
        return "(" + " or ".join(below) + ")"
    if isinstance(node, Not):
        return f"(not {below[0]})"
    if isinstance(node, Member):
        without = f" and not coalesce({below[1]}, false)" if len(below) == 2 else ""
        return f"(coalesce({below[0]}, false){without})"
    assert isinstance(node, Leaf)
    tests = []
    for t in node.tests:
        names_unknown = node.type == "string" and "unknown" in t.values
        x = f"coalesce({node.column}, 'unknown')" if names_unknown else node.column
        if node.type == "string" and not names_unknown:
            x = f"nullif({node.column}, 'unknown')"
        v = [literal(o, node.type) for o in t.values]
        tests.append(
            {
                "is": f"{x} in ({', '.join(v)})",
                "is_not": f"{x} not in ({', '.join(v)})",
                "known": f"({x} is not null) = {v[0]}",
                "at_least": f"{x} >= {v[0]}",
                "at_most": f"{x} <= {v[0]}",
                "above": f"{x} > {v[0]}",
                "below": f"{x} < {v[0]}",
                "between": f"{x} between {v[0]} and {v[-1]}",
            }[t.op]
        )
    return f"({'not ' if node.negated else ''}({' and '.join(tests)}))"
