"""Which of a list of ordered rules can never be the first to match.

Judged exactly on comparisons of columns with constants, ``between``, in-lists and ``is null``: the constants cut every
column's domain into finitely many cells, one representative each (and unknown), and the rules are evaluated in
three-valued logic on all combinations. Anything else, such as a comparison of two columns, is taken as free to be true,
false or unknown, so a rule found impossible is impossible, and a rule not found may still be.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlglot import exp

from features.sql_parts import Known, Scope

MAX_CELLS = 400_000
TRUE, UNKNOWN, FALSE = 2, 1, 0
_MIRROR: dict[type[exp.Expr], type[exp.Expr]] = {
    exp.GT: exp.LT,
    exp.GTE: exp.LTE,
    exp.LT: exp.GT,
    exp.LTE: exp.GTE,
    exp.EQ: exp.EQ,
    exp.NEQ: exp.NEQ,
}
_OTHER = "\0any other value"

Truth = NDArray[np.int8]


@dataclass
class _Atoms:
    """What the rules ask of each column: constants it is compared with; and conditions taken as free."""

    constants: dict[str, set[Any]] = field(default_factory=dict)
    free: set[str] = field(default_factory=set)


def never_first(conditions: Sequence[exp.Expr], scope: Scope) -> dict[int, str]:
    """Positions (from 0) of conditions that can never be the first to hold, with the reason."""
    found: dict[int, str] = {}
    for i, condition in enumerate(conditions):
        alone = _matches([condition], scope)
        if alone is not None and not alone[0].any():
            found[i] = "no value satisfies it"
    grid = _matches(conditions, scope)
    if grid is None:
        _pairwise(conditions, scope, found)
        return found
    taken = np.zeros(grid[0].shape, dtype=bool)
    for i, holds in enumerate(grid):
        if i not in found and not (holds & ~taken).any():
            found[i] = "the rules before it take every case that it describes"
        taken |= holds
    return found


def _pairwise(conditions: Sequence[exp.Expr], scope: Scope, found: dict[int, str]) -> None:
    for i in range(1, len(conditions)):
        for j in range(i):
            pair = None if i in found else _matches([conditions[j], conditions[i]], scope)
            if pair is not None and not (pair[1] & ~pair[0]).any():
                found[i] = f"rule {j + 1} before it takes every case that it describes"


def _matches(conditions: Sequence[exp.Expr], scope: Scope) -> list[NDArray[np.bool_]] | None:
    """Where each condition is true over all combinations of cells; None if there are too many to judge."""
    atoms = _Atoms()
    for c in conditions:
        _collect(c, scope, atoms)
    domains: dict[str, list[Any]] = {n: _domain(scope.columns[n], k) for n, k in atoms.constants.items()}
    domains |= {f"free {text}": [TRUE, UNKNOWN, FALSE] for text in atoms.free}
    sizes = [len(d) for d in domains.values()]
    if math.prod(sizes) > MAX_CELLS:
        return None
    axes = {name: i for i, name in enumerate(domains)}
    return [np.broadcast_to(_truth(c, domains, axes, scope), sizes or [1]) == TRUE for c in conditions]


def _atom(node: exp.Expr) -> tuple[str, list[Any], Callable[[Any], int]] | None:
    """Column, constants and truth of a condition on one column against constants; None for anything else."""
    if isinstance(node, exp.Column):
        return node.name, [], lambda v: TRUE if v else FALSE
    kind: type[exp.Expr] = type(node)
    if kind in _MIRROR:
        left, right = node.this, node.expression
        if not isinstance(left, exp.Column):
            left, right, kind = right, left, _MIRROR[kind]
        value = _constant(right)
        if isinstance(left, exp.Column) and value is not None:
            return left.name, [value], _comparer(kind, value)
    if isinstance(node, exp.Between) and isinstance(node.this, exp.Column):
        low, high = _constant(node.args["low"]), _constant(node.args["high"])
        if low is not None and high is not None:
            return node.this.name, [low, high], lambda v: TRUE if low <= v <= high else FALSE
    if isinstance(node, exp.In) and isinstance(node.this, exp.Column):
        values = [_constant(n) for n in node.expressions]
        if all(v is not None for v in values):
            return node.this.name, values, lambda v: TRUE if v in values else FALSE
    if isinstance(node, exp.Is) and isinstance(node.this, exp.Column):
        if isinstance(node.expression, exp.Null):
            return node.this.name, [], lambda v: FALSE
        wanted = bool(node.expression.this)
        return node.this.name, [], lambda v: TRUE if v is wanted else FALSE
    return None


def _comparer(kind: type[exp.Expr], value: Any) -> Callable[[Any], int]:
    tests: dict[type[exp.Expr], Callable[[Any], bool]] = {
        exp.EQ: lambda v: v == value,
        exp.NEQ: lambda v: v != value,
        exp.GT: lambda v: v > value,
        exp.GTE: lambda v: v >= value,
        exp.LT: lambda v: v < value,
        exp.LTE: lambda v: v <= value,
    }
    return lambda v: TRUE if tests[kind](v) else FALSE


def _constant(node: exp.Expr) -> Any:
    if isinstance(node, exp.Paren):
        return _constant(node.this)
    if isinstance(node, exp.Neg):
        inner = _constant(node.this)
        return None if inner is None else -inner
    if isinstance(node, exp.Boolean):
        return bool(node.this)
    if isinstance(node, exp.Literal):
        return str(node.this) if node.is_string else _number(str(node.this))
    if isinstance(node, exp.Cast) and isinstance(node.this, exp.Literal):
        return dt.date.fromisoformat(str(node.this.this)).toordinal()
    return None


def _number(text: str) -> int | float:
    return int(text) if text.isdigit() else float(text)


def _collect(node: exp.Expr, scope: Scope, atoms: _Atoms) -> None:
    if isinstance(node, exp.Paren | exp.Not):
        _collect(node.this, scope, atoms)
    elif isinstance(node, exp.And | exp.Or):
        for member in node.flatten(unnest=False):
            _collect(member, scope, atoms)
    elif not isinstance(node, exp.Boolean | exp.Null):
        atom = _judged(node, scope)
        if atom is None:
            atoms.free.add(node.sql())
        else:
            atoms.constants.setdefault(atom[0], set()).update(atom[1])


def _judged(node: exp.Expr, scope: Scope) -> tuple[str, list[Any], Callable[[Any], int]] | None:
    atom = _atom(node)
    if atom is not None and scope.columns[atom[0]].type == "string":
        ordered = isinstance(node, exp.GT | exp.GTE | exp.LT | exp.LTE | exp.Between)
        return None if ordered else atom
    return atom


def _domain(known: Known, constants: set[Any]) -> list[Any]:
    """Representatives of every cell, unknown (None) last."""
    if known.type == "bool":
        return [True, False, None]
    if known.type == "string":
        return [*(known.values or [*sorted(constants), _OTHER]), None]
    ordered = sorted(constants)
    if known.type == "float64":
        between = [(a + b) / 2 for a, b in pairwise(ordered)]
    else:
        between = [x for c in ordered for x in (math.floor(c) - 1, math.floor(c), math.ceil(c), math.ceil(c) + 1)]
        ordered = [c for c in ordered if c == int(c)]
    ends = [min(constants) - 1, max(constants) + 1] if constants else [0]
    low = -math.inf if known.min is None else known.min
    high = math.inf if known.max is None else known.max
    edges = [b for b in (known.min, known.max) if b is not None]
    return [*sorted({v for v in [*ordered, *between, *ends, *edges] if low <= v <= high}), None]


def _truth(node: exp.Expr, domains: dict[str, list[Any]], axes: dict[str, int], scope: Scope) -> Truth:
    """Kleene truth (2, 1, 0) over the grid, as an array that broadcasts to its shape."""
    if isinstance(node, exp.Paren):
        return _truth(node.this, domains, axes, scope)
    if isinstance(node, exp.Not):
        return np.asarray(TRUE - _truth(node.this, domains, axes, scope), dtype=np.int8)
    if isinstance(node, exp.And | exp.Or):
        members = [_truth(n, domains, axes, scope) for n in node.flatten(unnest=False)]
        combined = members[0]
        for m in members[1:]:
            combined = np.minimum(combined, m) if isinstance(node, exp.And) else np.maximum(combined, m)
        return combined
    if isinstance(node, exp.Boolean):
        return np.asarray(TRUE if node.this else FALSE, dtype=np.int8)
    if isinstance(node, exp.Null):
        return np.asarray(UNKNOWN, dtype=np.int8)
    atom = _judged(node, scope)
    if atom is None:
        name = f"free {node.sql()}"
        values = [int(v) for v in domains[name]]
    else:
        name, _, test = atom
        known_when_null = isinstance(node, exp.Is)
        null = TRUE if known_when_null and isinstance(node.expression, exp.Null) else FALSE
        values = [(null if known_when_null else UNKNOWN) if v is None else test(v) for v in domains[name]]
    shape = [1] * len(axes)
    shape[axes[name]] = len(values)
    return np.asarray(values, dtype=np.int8).reshape(shape)
