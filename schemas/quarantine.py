"""The quarantine filter: which rows a contract refuses, as SQL conditions over typed columns, with the reason to give.

Only checks of level ``fail`` send a row aside; those of level ``warn`` are judged on the whole table by the audit.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime

from schemas.contracts import SILVER_LINEAGE, Check, Column, Contract

UNIT_SEPARATOR = "\x1f"
"""Parts values where text is put together; cleaning takes it out of text."""
PERSON_MISSING = "no id of the person"


@dataclass(frozen=True)
class Refusal:
    """``condition`` is true for a row that is refused; ``expected`` ends the sentence that begins with the value.

    ``field`` is the column judged, of which the reason shows the value (masked where ``personal``).
    """

    field: str
    condition: str
    expected: str
    personal: bool = False


def quoted(name: str) -> str:
    """An identifier for SQL, whatever characters it has."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A string literal for SQL, whatever characters it has."""
    return "'" + text.replace("'", "''") + "'"


def one_of(text: str, words: Iterable[str]) -> str:
    """Is ``text`` one of ``words``? Null where it is null; text has no unit separators.

    One search in one constant: DuckDB makes a hash join of IN, which no ``case`` can skip, and list_contains is forty
    times slower than this.
    """
    listed = UNIT_SEPARATOR + "".join(w + UNIT_SEPARATOR for w in dict.fromkeys(words))
    mark = literal(UNIT_SEPARATOR)
    return f"contains({literal(listed)}, {mark} || {text} || {mark})"


def refusals(c: Contract) -> tuple[Refusal, ...]:
    """Every check of the contract that a single row can break. Columns made by ingest itself are not judged.

    Timestamps are compared as whole microseconds since 1970 (UTC), so that no session zone can move a bound.
    """
    found: list[Refusal] = []
    for col in c.feed_columns:
        if col.level == "fail" and col.name not in SILVER_LINEAGE and col.name != c.generated:
            found += _column_refusals(col)
    found += [_row_refusal(c, check) for check in c.checks if check.level == "fail"]
    return tuple(found)


def _column_refusals(col: Column) -> list[Refusal]:
    name, personal = quoted(col.name), col.field.is_personal
    found = []
    if col.required:
        found.append(Refusal(col.name, f"{name} is null", "but a value is required", personal))
    if col.min is not None:
        found.append(
            Refusal(col.name, f"{name} < {_bound(col, col.min)}", f"must be at least {_plain(col.min)}", personal)
        )
    if col.max is not None:
        found.append(
            Refusal(col.name, f"{name} > {_bound(col, col.max)}", f"must be at most {_plain(col.max)}", personal)
        )
    if col.values:
        found.append(
            Refusal(col.name, f"not {one_of(name, col.values)}", f"must be one of {', '.join(col.values)}", personal)
        )
    return found


def _row_refusal(c: Contract, check: Check) -> Refusal:
    personal = any(c.column(n).field.is_personal for n in (check.left, check.at_least, *check.equals) if n)
    if check.at_least is not None:
        condition = f"{quoted(check.left)} < {quoted(check.at_least)}"
        return Refusal(check.left, condition, f"must be at least {check.at_least}", personal)
    total = " + ".join(quoted(n) for n in check.equals)
    return Refusal(check.left, f"{quoted(check.left)} <> {total}", f"must equal {' + '.join(check.equals)}", personal)


def _bound(col: Column, value: float | str) -> str:
    if col.field.type == "date":
        return f"date {literal(date.fromisoformat(str(value)).isoformat())}"
    if col.field.type == "timestamp":
        at = datetime.fromisoformat(str(value))
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        return str(int(at.timestamp()) * 1_000_000)
    if isinstance(value, str):
        return literal(value)
    return _plain(value)


def _plain(value: float | str) -> str:
    """A bound as people write it: 1, not 1.0."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
