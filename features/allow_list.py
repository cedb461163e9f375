"""The allow-list of tag expressions: every node that may occur, how it is checked, and what DuckDB is given for it.

Checking and rendering are one visitor, so that what is checked is what is run. A node that is not in ``NODES`` is
refused, and so is an argument of a node that its entry does not name.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any

from sqlglot import exp

from features.sql_parts import DUCKDB, LADDER, ExpressionError, Fragment, Rendering, number_literal
from schemas.configuration import nearest
from schemas.quarantine import literal

MAX_DEPTH = 60
MAX_INT32 = 2**31 - 1
MAX_INT64 = 2**63 - 1


def fragment_of(node: exp.Expr, use: Rendering, depth: int) -> Fragment:
    if depth > MAX_DEPTH:
        raise ExpressionError(f"nested more than {MAX_DEPTH} deep")
    visit = NODES.get(type(node))
    if visit is None:
        raise ExpressionError(_refusal(node))
    function, arguments = visit
    for key, value in node.args.items():
        if key not in arguments and key not in _HARMLESS and value:
            if isinstance(node, exp.Case):
                raise ExpressionError("'case X when' is not allowed in tag expressions; write case when X = ... then")
            raise ExpressionError(f"{_name_of(node)} with {key!r} is not allowed in tag expressions")
    return function(node, use, depth + 1)


def _name_of(node: exp.Expr) -> str:
    if isinstance(node, exp.Anonymous):
        return str(node.name).lower()
    if isinstance(node, exp.Func):
        return node.sql_name().lower()
    return _WORDS.get(type(node), type(node).__name__.lower())


_WORDS: dict[type[exp.Expr], str] = {
    exp.NullSafeEQ: "is not distinct from",
    exp.NullSafeNEQ: "is distinct from",
}


Call = Callable[[str, list[exp.Expr], Rendering, int], Fragment]
OWN_CALLS: dict[str, Call] = {}
"""Functions beyond SQL by name. They render what they are given, so they are put here by features/own_functions.py."""


def _refusal(node: exp.Expr) -> str:
    name = _name_of(node)
    if isinstance(node, exp.Func):
        return f"function {name!r} is not allowed; {nearest(name, sorted({*FUNCTIONS, *OWN_CALLS}))}"
    if isinstance(node, exp.Query | exp.Subquery):
        return "a query is not allowed in a tag expression"
    return f"{name!r} is not allowed in a tag expression"


def rendered(nodes: Sequence[exp.Expr], use: Rendering, depth: int) -> list[Fragment]:
    return [fragment_of(n, use, depth) for n in nodes]


def _is_number(p: Fragment) -> bool:
    return p.type in (*LADDER, "null")


def common_unit(parts: Sequence[Fragment], what: str) -> str | None:
    units = {p.unit for p in parts if p.unit}
    if len(units) > 1:
        raise ExpressionError(f"{what} mixes units: {', '.join(sorted(units))}")
    return units.pop() if units else None


def _joined_type(parts: Sequence[Fragment], what: str) -> str:
    kinds = {p.type for p in parts} - {"null"}
    if not kinds:
        return "null"
    if kinds <= set(LADDER):
        return max(kinds, key=LADDER.index)
    if len(kinds) > 1:
        hint = "; write a day as date '2026-03-01'" if kinds == {"date", "string"} else ""
        raise ExpressionError(f"{what} mixes types: {', '.join(sorted(kinds))}{hint}")
    return kinds.pop()


def _column(node: exp.Column, use: Rendering, depth: int) -> Fragment:
    name = node.name
    known = use.scope.columns.get(name)
    if known is None:
        raise ExpressionError(f"unknown column {name!r}; {nearest(name, sorted(use.scope.columns))}")
    use.columns.add(name)
    return Fragment(known.sql, known.type, known.unit)


def _literal(node: exp.Literal, use: Rendering, depth: int) -> Fragment:
    if node.is_string:
        return Fragment(literal(str(node.this)), "string", constant=True)
    text = str(node.this)
    if text.isdigit():
        number = int(text)
        if number > MAX_INT64:
            raise ExpressionError(f"{text} is too large for int64")
        return Fragment(str(number), "int32" if number <= MAX_INT32 else "int64", constant=True)
    try:
        value = float(text)
    except ValueError:
        raise ExpressionError(f"{text} is not a number") from None
    if value in (float("inf"), float("-inf")):
        raise ExpressionError(f"{text} is too large")
    return Fragment(number_literal(value), "float64", constant=True)


def _boolean(node: exp.Boolean, use: Rendering, depth: int) -> Fragment:
    return Fragment("TRUE" if node.this else "FALSE", "bool", constant=True)


def _null(node: exp.Null, use: Rendering, depth: int) -> Fragment:
    return Fragment("NULL", "null", constant=True)


def _paren(node: exp.Paren, use: Rendering, depth: int) -> Fragment:
    inner = fragment_of(node.this, use, depth)
    return Fragment(f"({inner.sql})", inner.type, inner.unit, inner.constant)


def _negative(node: exp.Neg, use: Rendering, depth: int) -> Fragment:
    inner = fragment_of(node.this, use, depth)
    if not _is_number(inner):
        raise ExpressionError(f"minus before {inner.type} {node.this.sql()!r}; a number is expected")
    return Fragment(f"(-{inner.sql})", inner.type, inner.unit, inner.constant)


def truth_of(part: Fragment, node: exp.Expr) -> str:
    if part.type not in ("bool", "null"):
        raise ExpressionError(f"{node.sql()!r} is {part.type}; a condition is expected")
    return part.sql


def _not(node: exp.Not, use: Rendering, depth: int) -> Fragment:
    return Fragment(f"(NOT {truth_of(fragment_of(node.this, use, depth), node.this)})", "bool")


def _connector(word: str) -> Callable[[Any, Rendering, int], Fragment]:
    def visit(node: exp.Connector, use: Rendering, depth: int) -> Fragment:
        # a long chain of `and` is a deep left-leaning tree, so it is flattened here
        members = [truth_of(fragment_of(n, use, depth), n) for n in node.flatten(unnest=False)]
        return Fragment("(" + f" {word} ".join(members) + ")", "bool")

    return visit


def _check_value(node: exp.Expr, other: exp.Expr, use: Rendering) -> None:
    """A text compared with a column of finite values must be one of them: a misspelt value would match nobody."""
    if not (isinstance(node, exp.Column) and isinstance(other, exp.Literal) and other.is_string):
        return
    values = use.scope.columns[node.name].values
    if values is not None and other.this not in values:
        raise ExpressionError(f"{other.this!r} is not a value of {node.name!r}; {nearest(other.this, list(values))}")


def _comparison(sign: str) -> Callable[[Any, Rendering, int], Fragment]:
    def visit(node: exp.Binary, use: Rendering, depth: int) -> Fragment:
        parts = rendered([node.this, node.expression], use, depth)
        what = repr(node.sql())
        if _joined_type(parts, what) == "bool" and sign not in ("=", "<>"):
            raise ExpressionError(f"{what} orders booleans")
        if any(isinstance(n, exp.Null) for n in (node.this, node.expression)):
            raise ExpressionError(f"{what} is always unknown; write 'is null' or 'is not null'")
        common_unit(parts, what)
        if sign in ("=", "<>"):
            _check_value(node.this, node.expression, use)
            _check_value(node.expression, node.this, use)
        return Fragment(f"({parts[0].sql} {sign} {parts[1].sql})", "bool")

    return visit


def _in(node: exp.In, use: Rendering, depth: int) -> Fragment:
    if not node.expressions:
        raise ExpressionError(f"{node.sql()!r}: a list of values is expected after 'in'")
    parts = rendered([node.this, *node.expressions], use, depth)
    for n, p in zip(node.expressions, parts[1:], strict=True):
        if not p.constant or p.type == "null":
            raise ExpressionError(f"{n.sql()!r} in a list after 'in'; a constant is expected")
        _check_value(node.this, n, use)
    _joined_type(parts, repr(node.sql()))
    common_unit(parts, repr(node.sql()))
    return Fragment(f"({parts[0].sql} IN ({', '.join(p.sql for p in parts[1:])}))", "bool")


def _between(node: exp.Between, use: Rendering, depth: int) -> Fragment:
    parts = rendered([node.this, node.args["low"], node.args["high"]], use, depth)
    _joined_type(parts, repr(node.sql()))
    common_unit(parts, repr(node.sql()))
    return Fragment(f"({parts[0].sql} BETWEEN {parts[1].sql} AND {parts[2].sql})", "bool")


def _is(node: exp.Is, use: Rendering, depth: int) -> Fragment:
    part = fragment_of(node.this, use, depth)
    if isinstance(node.expression, exp.Null):
        return Fragment(f"({part.sql} IS NULL)", "bool")
    if isinstance(node.expression, exp.Boolean):
        return Fragment(f"({truth_of(part, node.this)} IS {'TRUE' if node.expression.this else 'FALSE'})", "bool")
    raise ExpressionError(f"{node.sql()!r}: only 'is null', 'is true' and 'is false' are allowed")


def _case(node: exp.Case, use: Rendering, depth: int) -> Fragment:
    conditions, values = [], []
    for branch in node.args["ifs"]:
        conditions.append(truth_of(fragment_of(branch.this, use, depth), branch.this))
        values.append(fragment_of(branch.args["true"], use, depth))
    default = node.args.get("default")
    values.append(fragment_of(default, use, depth) if default is not None else Fragment("NULL", "null", constant=True))
    kind, unit = _joined_type(values, "case"), common_unit(values, "case")
    arms = " ".join(f"WHEN {c} THEN {v.sql}" for c, v in zip(conditions, values, strict=False))
    return Fragment(f"(CASE {arms} ELSE {values[-1].sql} END)", kind, unit)


def _additive(sign: str) -> Callable[[Any, Rendering, int], Fragment]:
    def visit(node: exp.Binary, use: Rendering, depth: int) -> Fragment:
        left, right = rendered([node.this, node.expression], use, depth)
        what = repr(node.sql())
        if left.type == "date" and right.type == "date" and sign == "-":
            return Fragment(f"({left.sql} - {right.sql})", "int64", "days")
        if left.type == "date" and right.type in ("int32", "int64"):
            return Fragment(f"({left.sql} {sign} CAST({right.sql} AS INTEGER))", "date")
        if not (_is_number(left) and _is_number(right)):
            raise ExpressionError(f"{what}: {left.type} {sign} {right.type} has no meaning")
        return _arithmetic(sign, left, right, common_unit([left, right], what))

    return visit


def _arithmetic(sign: str, left: Fragment, right: Fragment, unit: str | None) -> Fragment:
    kind = "float64" if "float64" in (left.type, right.type) else "int64"
    a, b = (f"CAST({p.sql} AS {DUCKDB[kind]})" for p in (left, right))
    return Fragment(f"({a} {sign} {b})", kind, unit, left.constant and right.constant)


def _multiply(node: exp.Mul, use: Rendering, depth: int) -> Fragment:
    left, right = numbers_in([node.this, node.expression], use, depth, repr(node.sql()))
    # a constant factor may well change the unit (minor to major), so the product has none
    return _arithmetic("*", left, right, None)


def _divide(node: exp.Div, use: Rendering, depth: int) -> Fragment:
    left, right = numbers_in([node.this, node.expression], use, depth, repr(node.sql()))
    return Fragment(f"(CAST({left.sql} AS DOUBLE) / NULLIF(CAST({right.sql} AS DOUBLE), 0))", "float64")


def numbers_in(nodes: Sequence[exp.Expr], use: Rendering, depth: int, what: str) -> list[Fragment]:
    parts = rendered(nodes, use, depth)
    for p in parts:
        if not _is_number(p):
            raise ExpressionError(f"{what} takes numbers, {p.type} given")
    return parts


def _of_alike(word: str) -> Callable[[Any, Rendering, int], Fragment]:
    def visit(node: exp.Func, use: Rendering, depth: int) -> Fragment:
        parts = rendered([node.this, *node.expressions], use, depth)
        if len(parts) < 2:
            raise ExpressionError(f"{word.lower()} takes two or more arguments")
        kind, unit = _joined_type(parts, word.lower()), common_unit(parts, word.lower())
        return Fragment(f"{word}({', '.join(p.sql for p in parts)})", kind, unit)

    return visit


def _nullif(node: exp.Nullif, use: Rendering, depth: int) -> Fragment:
    parts = rendered([node.this, node.expression], use, depth)
    _joined_type(parts, "nullif")
    common_unit(parts, "nullif")
    return Fragment(f"NULLIF({parts[0].sql}, {parts[1].sql})", parts[0].type, parts[0].unit)


def _abs(node: exp.Abs, use: Rendering, depth: int) -> Fragment:
    (p,) = numbers_in([node.this], use, depth, "abs")
    return Fragment(f"abs({p.sql})", p.type, p.unit)


def _whole(word: str) -> Callable[[Any, Rendering, int], Fragment]:
    def visit(node: exp.Func, use: Rendering, depth: int) -> Fragment:
        (p,) = numbers_in([node.this], use, depth, word)
        return Fragment(f"CAST({word}({p.sql}) AS BIGINT)", "int64", p.unit)

    return visit


def _round(node: exp.Round, use: Rendering, depth: int) -> Fragment:
    (p,) = numbers_in([node.this], use, depth, "round")
    digits = node.args.get("decimals")
    if digits is None:
        return Fragment(f"CAST(round({p.sql}) AS BIGINT)", "int64", p.unit)
    if not (isinstance(digits, exp.Literal) and str(digits.this).isdigit() and int(digits.this) <= 12):
        raise ExpressionError("round takes a number of digits between 0 and 12")
    return Fragment(f"round(CAST({p.sql} AS DOUBLE), {int(digits.this)})", "float64", p.unit)


def _ln(node: exp.Ln, use: Rendering, depth: int) -> Fragment:
    (p,) = numbers_in([node.this], use, depth, "ln")
    return Fragment(f"(CASE WHEN {p.sql} > 0 THEN ln(CAST({p.sql} AS DOUBLE)) END)", "float64")


def _concat(node: exp.Concat, use: Rendering, depth: int) -> Fragment:
    parts = rendered(node.expressions, use, depth)
    for n, p in zip(node.expressions, parts, strict=True):
        if p.type not in ("string", "int32", "int64", "null"):
            raise ExpressionError(f"concat takes texts and whole numbers, {n.sql()!r} is {p.type}")
    # `||` gives unknown for an unknown part, concat() would leave it out in silence
    return Fragment("(" + " || ".join(f"CAST({p.sql} AS VARCHAR)" for p in parts) + ")", "string")


def _date(node: exp.Cast, use: Rendering, depth: int) -> Fragment:
    text = node.this
    if not (node.to.is_type("date") and isinstance(text, exp.Literal) and text.is_string):
        raise ExpressionError("the only cast allowed is a day, written date '2026-03-01'")
    try:
        day = dt.date.fromisoformat(str(text.this))
    except ValueError:
        raise ExpressionError(f"{text.this!r} is not a day; write date '2026-03-01'") from None
    return Fragment(f"DATE '{day.isoformat()}'", "date", constant=True)


def _part_of_day(word: str) -> Callable[[Any, Rendering, int], Fragment]:
    def visit(node: exp.Func, use: Rendering, depth: int) -> Fragment:
        part = fragment_of(node.this, use, depth)
        if part.type not in ("date", "null"):
            raise ExpressionError(f"{word} takes a day, {node.this.sql()!r} is {part.type}")
        return Fragment(f"{word}({part.sql})", "int64")

    return visit


def _call(node: exp.Anonymous, use: Rendering, depth: int) -> Fragment:
    name = str(node.name).lower()
    if name not in OWN_CALLS:
        raise ExpressionError(_refusal(node))
    return OWN_CALLS[name](name, list(node.expressions), use, depth)


_BINARY = ("this", "expression")
_HARMLESS = ("ignore_nulls", "safe", "coalesce", "typed", "quoted", "_type")
NODES: dict[type[exp.Expr], tuple[Callable[[Any, Rendering, int], Fragment], tuple[str, ...]]] = {
    exp.Column: (_column, ("this",)),
    exp.Literal: (_literal, ("this", "is_string")),
    exp.Boolean: (_boolean, ("this",)),
    exp.Null: (_null, ()),
    exp.Paren: (_paren, ("this",)),
    exp.Neg: (_negative, ("this",)),
    exp.Not: (_not, ("this",)),
    exp.And: (_connector("AND"), _BINARY),
    exp.Or: (_connector("OR"), _BINARY),
    exp.EQ: (_comparison("="), _BINARY),
    exp.NEQ: (_comparison("<>"), _BINARY),
    exp.GT: (_comparison(">"), _BINARY),
    exp.GTE: (_comparison(">="), _BINARY),
    exp.LT: (_comparison("<"), _BINARY),
    exp.LTE: (_comparison("<="), _BINARY),
    exp.In: (_in, ("this", "expressions")),
    exp.Between: (_between, ("this", "low", "high")),
    exp.Is: (_is, _BINARY),
    exp.Case: (_case, ("ifs", "default")),
    exp.Add: (_additive("+"), _BINARY),
    exp.Sub: (_additive("-"), _BINARY),
    exp.Mul: (_multiply, _BINARY),
    exp.Div: (_divide, _BINARY),
    exp.Coalesce: (_of_alike("COALESCE"), ("this", "expressions")),
    exp.Least: (_of_alike("LEAST"), ("this", "expressions")),
    exp.Greatest: (_of_alike("GREATEST"), ("this", "expressions")),
    exp.Nullif: (_nullif, _BINARY),
    exp.Abs: (_abs, ("this",)),
    exp.Floor: (_whole("floor"), ("this",)),
    exp.Ceil: (_whole("ceil"), ("this",)),
    exp.Round: (_round, ("this", "decimals")),
    exp.Ln: (_ln, ("this",)),
    exp.Concat: (_concat, ("expressions",)),
    exp.Cast: (_date, ("this", "to")),
    exp.Year: (_part_of_day("year"), ("this",)),
    exp.Month: (_part_of_day("month"), ("this",)),
    exp.Anonymous: (_call, ("this", "expressions")),
}
FUNCTIONS: tuple[str, ...] = (
    *("coalesce", "least", "greatest", "nullif", "abs", "floor", "ceil", "round", "ln", "concat", "year", "month"),
)
"""Those of DuckDB; ``features/own_functions.py`` adds ours."""
