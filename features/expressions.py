"""Tag expressions: SQL of a small allow-list, checked, and rendered anew for DuckDB.

An expression is one SQL scalar over columns (facts, attributes, tags, ``as_of``). sqlglot parses it; every node must be
in ``features/allow_list.py``, every column known, every type and unit fit. What DuckDB is given is written here from the checked
tree: no text of the author reaches the engine save quoted literals.

Logic is three-valued as in SQL. A condition is used as ``case when``, so unknown counts as false at the top. Division by
zero, ``ln`` of what is not positive and every other number that is not finite give unknown. ``least`` and ``greatest`` pass over unknown arguments.

Beyond SQL there are
    breaks_below(x, 'name')   how many of the frozen breaks ``name`` lie strictly below x
    statistic('name')         one frozen number
    number_at('name', i)      the i-th frozen number, from 1; past the last the last one, unknown below the first
    percentile_rank(x, 'name')   where x lies among the frozen quantile points, 0 to 1 (half of the points equal to it)
    days_between(from, to), years_between(from, to), add_days(day, n), year(day), month(day)
    rfm_eleven(r, f, m)       the named segment of three scores (definitions.md section 2)
    rfm_eight(r, f, m)        the segment of three booleans: recency, frequency, money are high
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from features import own_functions as own_functions  # puts its functions into the allow-list
from features.allow_list import fragment_of
from features.sql_parts import DUCKDB, ExpressionError, Rendering, Scope
from schemas.contracts import Type

MAX_CHARACTERS = 4000


@dataclass(frozen=True)
class Expression:
    """A checked expression: what it gives and what it needs."""

    text: str
    tree: exp.Expr
    type: str
    unit: str | None
    columns: frozenset[str]
    frozen: frozenset[str]


def parse(text: str, scope: Scope) -> Expression:
    """The checked expression; ExpressionError says what is wrong and, for a name, which known one is nearest."""
    tree = _tree(text)
    use = Rendering(scope, None)
    part = fragment_of(tree, use, 0)
    return Expression(text, tree, part.type, part.unit, frozenset(use.columns), frozenset(use.frozen))


def compiled(expression: Expression, scope: Scope, numbers: Mapping[str, Sequence[float]]) -> str:
    """DuckDB SQL of a checked expression with frozen numbers put in.

    A name absent from ``numbers`` or without values (nobody in its population) makes what uses it unknown.
    """
    return fragment_of(expression.tree, Rendering(scope, numbers), 0).sql


def stored(sql: str, declared: Type | str, scale: int | None = None) -> str:
    """``sql`` cast to the declared type; floats are rounded to ``scale`` and made null where they are not finite."""
    if declared != "float64":
        return f"CAST({sql} AS {DUCKDB[declared]})"
    value = f"CAST({sql} AS DOUBLE)"
    return f"CASE WHEN isfinite({value}) THEN round({value}, {6 if scale is None else scale}) END"


def _tree(text: str) -> exp.Expr:
    if len(text) > MAX_CHARACTERS:
        raise ExpressionError(f"{len(text):,} characters; at most {MAX_CHARACTERS:,} are allowed")
    try:
        trees = sqlglot.parse(text, read="duckdb")
    except (SqlglotError, RecursionError) as e:
        reason = "nested too deeply" if isinstance(e, RecursionError) else _first_error(e)
        raise ExpressionError(f"not a valid SQL expression: {reason}") from None
    found = [t for t in trees if t is not None]
    if len(found) != 1 or len(trees) != 1:
        raise ExpressionError(f"one expression is expected, {len(trees) if found else 0} given")
    return found[0]


def _first_error(e: Exception) -> str:
    details = getattr(e, "errors", None)
    if details:
        first = details[0]
        said = str(first.get("description"))
        # sqlglot names its own classes where something is missing; the author knows none of them.
        what = "something is missing" if "<class" in said else said
        read = " ".join(str(first.get("start_context") or "").split())[-40:]
        after = f", after {read!r}" if read else ""
        return f"{what} at character {first.get('col')}, near {first.get('highlight')!r}{after}"
    if "tokenizing" in str(e):
        return "it cannot be read to its end; is a quote or a comment opened and never closed?"
    return str(e).splitlines()[0]
