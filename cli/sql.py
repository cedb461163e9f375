"""``huaxiang sql``: a statement over a release, its rows on the terminal, as JSON, or in a file. No row is left out unsaid."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import typer

from audiences.delivery import write_csv
from cli.listened import nobody_listens
from cli.session import (
    HERE,
    JsonOption,
    ProjectOption,
    json_value,
    open_project,
    show_json,
    show_table,
    target_file,
    tell_which_release,
    verb,
)
from lake.releases import latest, release
from lake.sql import connect
from schemas.errors import HuaxiangError, UsageError

SHOWN_ROWS = 10_000
"""Rows that a terminal is shown; --json and --out give all."""
BATCH_ROWS = 10_000
FORMS = (".csv", ".jsonl", ".parquet")
Row = dict[str, Any]


@verb
def sql(
    statement: Annotated[str | None, typer.Argument(help="One statement; without it a prompt opens.")] = None,
    at: Annotated[str | None, typer.Option("--release", help="Release number or day; default: the latest.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write all rows to this file: .csv (safe for spreadsheets), .jsonl or .parquet.")
    ] = None,
    project: ProjectOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Run SQL (DuckDB) over the lake at a release: every table is a view layer.table.

    Before the first release the tables are shown as they are now. A terminal is shown the first 10,000 rows, and told so;
    --json prints all, --out writes all.
    """
    p = open_project(project)
    if out is not None and statement is None:
        raise UsageError("--out needs a statement")
    if out is not None and out.suffix not in FORMS:
        raise UsageError(f"--out {out}: the name must end in {', '.join(FORMS)}")
    out = target_file(out, "--out")
    nothing_yet = at is None and latest(p.lake) is None
    if not nothing_yet:
        tell_which_release(p, at)
    with connect(p.lake, None if nothing_yet else release(p.lake, at)) as con:
        if statement is None:
            _prompt(con)
        elif out is not None:
            rows = write(con, statement, out)
            show_json({"rows": rows, "out": out}) if as_json else print(f"{rows:,} rows written to {out}")
        else:
            _answer(con, statement, as_json)


def _prompt(con: duckdb.DuckDBPyConnection) -> None:
    print("Tables: select * from information_schema.tables. Leave with Ctrl-D.")
    while True:
        try:
            line = input("huaxiang> ").strip()
        except EOFError:
            return
        if line:
            try:
                _answer(con, line, as_json=False)
            except HuaxiangError as e:
                print(e, file=sys.stderr)


def _answer(con: duckdb.DuckDBPyConnection, statement: str, as_json: bool) -> None:
    names, rows = _rows(con, statement)
    if as_json:
        _print_json(rows)
        return
    shown = list(islice(rows, SHOWN_ROWS))
    more = next(rows, None) is not None
    if more:
        con.interrupt()
    show_table(f"{'first ' if more else ''}{len(shown):,} rows", shown, names, exact=True)
    if more:
        print(f"there are more than {SHOWN_ROWS:,} rows: --json prints all, --out FILE writes all", file=sys.stderr)


def _print_json(rows: Iterator[Row]) -> None:
    """One list of objects, a row at a time: an answer of any length fits."""
    first = next(rows, None)
    if first is None:
        print("[]")
        return
    mark = "["
    for row in chain([first], rows):
        print(f"{mark}\n{json.dumps(json_value(row), ensure_ascii=False)}", end="")
        mark = ","
        if nobody_listens():
            return
    print("\n]")


def write(con: duckdb.DuckDBPyConnection, statement: str, path: Path) -> int:
    """All rows into a file, which appears whole or not at all; how many they are."""
    names, reader = _batches(con, statement)
    part = path.with_name(f".{path.name}.part")
    written = 0

    def counted() -> Iterator[pa.RecordBatch]:
        nonlocal written
        while (batch := _next(reader)) is not None:
            written += batch.num_rows
            yield batch

    try:
        schema = pa.schema([f.with_name(n) for f, n in zip(reader.schema, names, strict=True)])
        if path.suffix == ".parquet":
            with pq.ParquetWriter(part, schema) as writer:
                for batch in counted():
                    writer.write_batch(batch.rename_columns(names))
        else:
            with part.open("w", encoding="utf-8", newline="") as f:
                if path.suffix == ".csv":
                    write_csv(f, schema, counted(), excel=False)
                else:
                    for batch in counted():
                        f.writelines(json.dumps(json_value(r), ensure_ascii=False) + "\n" for r in _named(batch, names))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return written


def _rows(con: duckdb.DuckDBPyConnection, statement: str) -> tuple[list[str], Iterator[Row]]:
    """Column names, and the rows one after the other."""
    try:
        cursor = con.execute(statement)
    except duckdb.Error as e:
        raise HuaxiangError(str(e)) from None
    names = unlike([d[0] for d in cursor.description or []])

    def rows() -> Iterator[Row]:
        try:
            while found := cursor.fetchmany(BATCH_ROWS) if names else []:
                yield from (dict(zip(names, row, strict=True)) for row in found)
        except duckdb.Error as e:
            raise HuaxiangError(str(e)) from None

    return names, rows()


def _batches(con: duckdb.DuckDBPyConnection, statement: str) -> tuple[list[str], pa.RecordBatchReader]:
    try:
        found = con.sql(statement)
        if found is None:
            raise UsageError("--out: the statement gives no rows")
        return unlike(found.columns), found.to_arrow_reader(BATCH_ROWS)
    except duckdb.Error as e:
        raise HuaxiangError(str(e)) from None


def _next(reader: pa.RecordBatchReader) -> pa.RecordBatch | None:
    try:
        return reader.read_next_batch()
    except StopIteration:
        return None
    except (duckdb.Error, pa.ArrowException, OSError) as e:
        # Arrow hands on what DuckDB says of a row as an error of input or output.
        raise HuaxiangError(str(e)) from None


def _named(batch: pa.RecordBatch, names: list[str]) -> list[Row]:
    found: list[Row] = batch.rename_columns(names).to_pylist()
    return found


def unlike(names: list[str]) -> list[str]:
    """Column names that differ: of two columns of one name the second would take the place of the first."""
    found: list[str] = []
    for name in names:
        n, given = 1, name
        while given in found:
            n += 1
            given = f"{name}_{n}"
        found.append(given)
    return found
