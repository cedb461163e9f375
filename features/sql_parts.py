"""The words of checked expressions: what is known of a column, what a node is rendered to, and literals for DuckDB."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite

from schemas.contracts import Type

DUCKDB: dict[str, str] = {
    "string": "VARCHAR",
    "int32": "INTEGER",
    "int64": "BIGINT",
    "float64": "DOUBLE",
    "bool": "BOOLEAN",
    "date": "DATE",
}
LADDER = ("int32", "int64", "float64")


class ExpressionError(ValueError):
    """What is wrong with an expression, in one sentence; the catalogue adds file, line and tag."""


@dataclass(frozen=True)
class Known:
    """What the checker knows of a column: its type, unit, values, and how it is written in the query."""

    type: str
    sql: str
    unit: str | None = None
    values: tuple[str, ...] | None = None
    min: float | None = None
    max: float | None = None


@dataclass(frozen=True)
class Scope:
    """Columns by name, and the frozen numbers: names of ``breaks`` (ascending lists) and ``statistics`` (one number).

    ``units`` are those of frozen numbers, as far as they are known.
    """

    columns: Mapping[str, Known]
    breaks: frozenset[str] = frozenset()
    statistics: frozenset[str] = frozenset()
    units: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Fragment:
    """What a node is rendered to, and what is known of it."""

    sql: str
    type: str
    unit: str | None = None
    constant: bool = False


@dataclass
class Rendering:
    """Frozen numbers to put in (None while only checking), and what the expression turns out to need."""

    scope: Scope
    numbers: Mapping[str, Sequence[float]] | None
    columns: set[str] = field(default_factory=set)
    frozen: set[str] = field(default_factory=set)


def number_literal(value: float) -> str:
    """A float64 literal for DuckDB that keeps every bit (``0.1`` alone would be a decimal).

    With an exponent it is one word where a cast is six: a statement of a whole catalogue has thousands of them.
    """
    text = repr(float(value))
    if not isfinite(value):
        return f"CAST('{text}' AS DOUBLE)"
    literal = text if "e" in text else f"{text}e0"
    return f"({literal})" if literal.startswith("-") else literal


def fits(given: str, declared: Type | str) -> bool:
    """Whether a value of type ``given`` can be stored as ``declared`` without loss of kind."""
    if given in (declared, "null"):
        return True
    return given in LADDER and declared in LADDER and LADDER.index(given) <= LADDER.index(declared)
