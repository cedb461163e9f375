"""A suite as one SQL statement over what is staged: what every publication waits for, and Great Expectations judges.

DuckDB reads the files where they are this machine's; elsewhere the engine runs the same statement.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from lake.budget import in_memory
from schemas.contracts import Contract
from schemas.quarantine import literal
from schemas.suite import BATCH, Counted, Expectation

if TYPE_CHECKING:
    import duckdb
    from pyspark.sql import DataFrame

SAMPLES = 3
VIEW, NOTHING = "staged_rows", "no_rows"
HIVE_TYPES: Mapping[pa.DataType, str] = {
    pa.date32(): "DATE",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.string(): "VARCHAR",
}
Query = Callable[[str], list[tuple[Any, ...]]]
"""Runs SQL over the view ``staged_rows``."""


def for_statements(threads: int) -> duckdb.DuckDBPyConnection:
    """What ``figures_of_files`` runs in; one for many, as beginning one takes longer than most statements."""
    con = in_memory(threads=threads)
    con.execute("SET TimeZone = 'UTC'")
    con.execute("SET enable_progress_bar = false")
    return con


def figures_of_files(
    con: duckdb.DuckDBPyConnection,
    c: Contract,
    suite: Sequence[Expectation],
    base: Path,
    files: Sequence[str],
    schema: pa.Schema,
) -> list[Counted]:
    """What the files say of each expectation. They are this machine's and lie below ``base``, in folders that name their
    partitions; none are no rows."""
    con.register(NOTHING, schema.empty_table())
    con.execute(
        f"CREATE OR REPLACE TEMP VIEW {VIEW} AS SELECT * FROM {_scan(base, files, schema) if files else NOTHING}"
    )
    columns = [name for name, *_ in con.execute(f"DESCRIBE {VIEW}").fetchall()]
    return _figures(c, suite, columns, lambda sql: con.execute(sql).fetchall())


def figures_of_frame(c: Contract, suite: Sequence[Expectation], frame: DataFrame) -> list[Counted]:
    """The same of an engine's frame."""
    frame.createOrReplaceTempView(VIEW)
    spark = frame.sparkSession
    return _figures(c, suite, frame.columns, lambda sql: [tuple(r) for r in spark.sql(sql).collect()])


def _figures(c: Contract, suite: Sequence[Expectation], columns: Sequence[str], query: Query) -> list[Counted]:
    # Of a column that is not there only that it is missing can be said.
    judged = {i: e for i, e in enumerate(suite) if e.about_rows and set(e.columns) <= set(columns)}
    listed = "".join(f", {_count(e)}" for e in judged.values())
    [row] = query(f"SELECT count(*){listed} FROM {VIEW}")
    rows, broken = int(row[0]), {i: int(n or 0) for i, n in zip(judged, row[1:], strict=True)}
    return [
        _of_rows(c, e, rows, broken[i], query) if i in broken else _of_table(c, e, rows, columns)
        for i, e in enumerate(suite)
    ]


def _of_table(c: Contract, e: Expectation, rows: int, columns: Sequence[str]) -> Counted:
    breaking, seen = 0, None
    if e.type == "expect_table_columns_to_match_set":
        wanted, there = set(e.kwargs["column_set"]), set(columns)
        parts = {"missing": wanted - there, "unexpected": there - wanted if e.kwargs["exact_match"] else set()}
        breaking = sum(map(len, parts.values()))
        seen = "; ".join(f"{word} {', '.join(sorted(names))}" for word, names in parts.items() if names) or None
    elif e.type == "expect_table_row_count_to_be_between":
        breaking = int(not e.kwargs.get("min_value", 0) <= rows <= e.kwargs.get("max_value", rows))
        seen = f"{rows:,} seen" if breaking else None
    else:
        breaking, seen = rows, f"could not be judged: there is no {', '.join(sorted(set(e.columns) - set(columns)))}"
    return Counted(c.name, e.level, e.says, rows, breaking, seen)


def _of_rows(c: Contract, e: Expectation, rows: int, breaking: int, query: Query) -> Counted:
    """With values among what was seen, where no column of the expectation is personal."""
    seen = None
    if breaking and e.type == "unexpected_rows_expectation":
        seen = f"{breaking:,} seen"
    elif breaking:
        seen = f"{breaking:,} of {rows:,} rows break it"
        if not c.is_personal(e.columns) and e.type != "expect_column_values_to_not_be_null":
            found = query(f"SELECT {', '.join(e.columns)} FROM {VIEW} WHERE {_breaks(e)} LIMIT {SAMPLES}")
            seen += f" ({', '.join(str(s[0] if len(s) == 1 else s) for s in found)})"
    return Counted(c.name, e.level, e.says, rows, breaking, seen)


def _count(e: Expectation) -> str:
    """How many rows break an expectation, as SQL."""
    if e.type == "unexpected_rows_expectation":
        query = str(e.kwargs["unexpected_rows_query"]).replace(BATCH, VIEW)
        return f"(SELECT count(*) FROM ({query}) AS unexpected)"
    return f"sum(CASE WHEN {_breaks(e)} THEN 1 ELSE 0 END)"


def _breaks(e: Expectation) -> str:
    """The condition that a row breaks an expectation by; an absent value breaks only that it is present."""
    given = e.kwargs
    match e.type:
        case "expect_column_values_to_not_be_null":
            return f"{given['column']} IS NULL"
        case "expect_column_values_to_be_between":
            bounds = [(sign, given[k]) for k, sign in (("min_value", "<"), ("max_value", ">")) if k in given]
            return " OR ".join(f"{given['column']} {sign} {_literal(v)}" for sign, v in bounds)
        case "expect_column_values_to_be_in_set":
            return f"{given['column']} NOT IN ({', '.join(_literal(v) for v in given['value_set'])})"
        case "expect_column_pair_values_a_to_be_greater_than_b":
            return f"{given['column_A']} < {given['column_B']}"
    raise NotImplementedError(f"{e.type} has no SQL")


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
