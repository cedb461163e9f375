"""A suite as one SQL statement over what is staged: what every publication waits for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from schemas.contracts import Contract
from schemas.quarantine import literal
from schemas.suite import BATCH, Breach, Expectation

SAMPLES = 3
VIEW = "staged_rows"
HIVE_TYPES: Mapping[pa.DataType, str] = {
    pa.date32(): "DATE",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.string(): "VARCHAR",
}


def breaches(
    c: Contract, suite: Sequence[Expectation], base: Path, files: Sequence[str], schema: pa.Schema, threads: int
) -> list[Breach]:
    """Expectations that do not hold of these files, with what was seen instead.

    The files are this machine's and lie below ``base``, in folders that name their partitions; none are no rows. Values are
    shown where no column of the expectation is personal.
    """
    with duckdb.connect(config={"threads": threads}) as con:
        con.execute("SET TimeZone = 'UTC'")
        con.execute("SET enable_progress_bar = false")
        if files:
            con.execute(f"CREATE TEMP VIEW {VIEW} AS SELECT * FROM {_scan(base, files, schema)}")
        else:
            con.register(VIEW, schema.empty_table())
        counted = {i: sql for i, e in enumerate(suite) if (sql := _count(e)) is not None}
        listed = "".join(f", {sql}" for sql in counted.values())
        [row] = con.execute(f"SELECT count(*){listed} FROM {VIEW}").fetchall()
        broken = dict(zip(counted, row[1:], strict=True))
        seen = ((e, _seen(con, c, e, row[0], broken.get(i) or 0)) for i, e in enumerate(suite))
        return [Breach(c.name, e.level, e.says, what) for e, what in seen if what is not None]


def _seen(con: duckdb.DuckDBPyConnection, c: Contract, e: Expectation, rows: int, broken: int) -> str | None:
    """What was seen instead; None where the expectation holds."""
    if e.type == "expect_table_columns_to_match_set":
        return _other_columns(e, {name for name, *_ in con.execute(f"DESCRIBE {VIEW}").fetchall()})
    if e.type == "expect_table_row_count_to_be_between":
        inside = e.kwargs.get("min_value", 0) <= rows <= e.kwargs.get("max_value", rows)
        return None if inside else f"{rows:,} seen"
    if not broken:
        return None
    if e.type == "unexpected_rows_expectation":
        return f"{broken:,} seen"
    text = f"{broken:,} of {rows:,} rows break it"
    if c.is_personal(e.columns) or e.type == "expect_column_values_to_not_be_null":
        return text
    names = ", ".join(_name(n) for n in e.columns)
    samples = con.execute(f"SELECT {names} FROM {VIEW} WHERE {_breaks(e)} LIMIT {SAMPLES}").fetchall()
    return f"{text} ({', '.join(str(s[0] if len(s) == 1 else s) for s in samples)})"


def _other_columns(e: Expectation, there: set[str]) -> str | None:
    wanted = set(e.kwargs["column_set"])
    parts = {"missing": sorted(wanted - there), "unexpected": sorted(there - wanted) if e.kwargs["exact_match"] else []}
    return "; ".join(f"{word} {', '.join(names)}" for word, names in parts.items() if names) or None


def _count(e: Expectation) -> str | None:
    """How many rows break an expectation, as SQL; None for what rows do not say."""
    if e.type == "unexpected_rows_expectation":
        query = str(e.kwargs["unexpected_rows_query"]).replace(BATCH, VIEW)
        return f"(SELECT count(*) FROM ({query}) AS unexpected)"
    condition = _breaks(e)
    return None if condition is None else f"sum(CASE WHEN {condition} THEN 1 ELSE 0 END)"


def _breaks(e: Expectation) -> str | None:
    """The condition that a row breaks an expectation by; an absent value breaks only that it is present."""
    given = e.kwargs
    match e.type:
        case "expect_column_values_to_not_be_null":
            return f"{_name(given['column'])} IS NULL"
        case "expect_column_values_to_be_between":
            bounds = [(sign, given[k]) for k, sign in (("min_value", "<"), ("max_value", ">")) if k in given]
            return " OR ".join(f"{_name(given['column'])} {sign} {_literal(v)}" for sign, v in bounds)
        case "expect_column_values_to_be_in_set":
            listed = ", ".join(_literal(v) for v in given["value_set"])
            return f"{_name(given['column'])} NOT IN ({listed})"
        case "expect_column_pair_values_a_to_be_greater_than_b":
            return f"{_name(given['column_A'])} < {_name(given['column_B'])}"
        case "expect_table_columns_to_match_set" | "expect_table_row_count_to_be_between":
            return None
    raise NotImplementedError(f"{e.type} has no SQL")


def _name(column: str) -> str:
    return f'"{column}"'


def _literal(value: Any) -> str:
    if isinstance(value, datetime):
        return f"TIMESTAMP '{value:%Y-%m-%d %H:%M:%S}'"
    if isinstance(value, date):
        return f"DATE '{value}'"
    return literal(value) if isinstance(value, str) else str(value)


def _scan(base: Path, files: Sequence[str], schema: pa.Schema) -> str:
    folders = {part.split("=")[0] for f in files for part in Path(f).relative_to(base).parts[:-1] if "=" in part}
    types = ", ".join(f"{literal(n)}: {HIVE_TYPES[schema.field(n).type]}" for n in sorted(folders))
    hive = f"hive_partitioning = true, hive_types = {{{types}}}" if folders else "hive_partitioning = false"
    return f"read_parquet([{', '.join(literal(f) for f in files)}], {hive}, union_by_name = true)"
