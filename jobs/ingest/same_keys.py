"""Rows of one key in one file: which only blank what an earlier one says, and which differ with nothing to tell them apart.

An export that writes the order's own fields on the first of its lines only gives, for every further line, a version of
the order that has lost its payment and its person. Such a row is set aside unless the mapping says ``blanks: keep``.
Where the key is made from the content there is nothing to compare: rows of one key are equal then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from features.sources import Mapping
from jobs.ingest.findings import Finding
from schemas.contracts import Contract
from schemas.quarantine import literal, quoted

BLANKED = "only blanks fields of an earlier row of this file"
"""How the reason of such a row is known again."""


@dataclass
class SameKeys:
    """``blanked``: _file, _row, event_us and reason of rows to set aside; ``differing``: a finding by file, of keys."""

    blanked: pa.Table
    differing: dict[str, Finding]


def find_same_keys(paths: Sequence[Path], mapping: Mapping, con: duckdb.DuckDBPyConnection) -> SameKeys | None:
    """Of candidate silver files; None where no file has a key in rows that differ, as nearly always."""
    c = mapping.contract
    if not paths or (c.generated is not None and c.generated not in mapping.fields):
        return None
    files = f"read_parquet([{', '.join(literal(str(p)) for p in paths)}], hive_partitioning = false)"
    keys = ", ".join(quoted(k) for k in c.key)
    con.execute(
        f"create or replace temp table several as select _file, {keys} from {files} "
        "group by all having min(row_hash) <> max(row_hash)"
    )
    if con.execute("select count(*) from several").fetchall() == [(0,)]:
        return None
    fields = [col.name for col in c.feed_columns if col.name in mapping.fields and col.name not in c.key]
    _rows_of_several(con, files, c, fields, blanks=mapping.blanks == "keep")
    found = SameKeys(_blanked(con, mapping, fields), _differing(con, c, fields))
    con.execute("drop table several; drop table versions")
    return found


def _rows_of_several(
    con: duckdb.DuckDBPyConnection, files: str, c: Contract, fields: Sequence[str], *, blanks: bool
) -> None:
    """Table ``versions``: rows of keys that differ, with ``blanked`` where a row says nothing that was not said before.

    Where the source dates versions, a row that repeats an earlier one is what that one is (a duplicate, which
    ``jobs.ingest.settling`` judges). Where it does not, the row that comes last counts: it may blank what came between.
    """
    keys = ", ".join(quoted(k) for k in c.key)
    names = ", ".join(f"v.{quoted(n)}" for n in fields)
    said = ", ".join(f"last_value({quoted(n)} ignore nulls) over before as {quoted('said ' + n)}" for n in fields)
    told = [(quoted(n), quoted(f"said {n}")) for n in fields]
    nothing_new = " and ".join(f"({n} is null or {n} = {before})" for n, before in told) or "false"
    something_lost = " or ".join(f"({n} is null and {before} is not null)" for n, before in told) or "false"
    blanked = "false" if blanks else f"({nothing_new}) and ({something_lost})"
    times = ", ".join(f"v.{quoted(n)}" for n in c.event_time)
    time = "source_time" if "source_time" in fields else "null::timestamp"
    con.execute(
        f"""
        create or replace temp table versions as
        with mine as (
            select v._file, v._row, v.row_hash, {", ".join(f"v.{quoted(k)}" for k in c.key)}, {names},
                   epoch_us(coalesce({times})) as event_us
            from {files} v semi join several using (_file, {keys})
        ), told as (
            select *, {said} from mine
            window before as (partition by _file, {keys} order by _row rows between unbounded preceding and 1 preceding)
        ), judged as (select *, coalesce({blanked}, false) as blanks from told)
        select * exclude (blanks), {time} as version_time,
               case when {time} is null then blanks
                    else first_value(blanks) over (partition by _file, {keys}, row_hash order by _row) end as blanked
        from judged
        """
    )


def _blanked(con: duckdb.DuckDBPyConnection, mapping: Mapping, fields: Sequence[str]) -> pa.Table:
    """Rows to set aside with their reason, which names what they blank and the ways out."""
    lost = [
        f"case when {quoted(n)} is null and {quoted('said ' + n)} is not null then {literal(n)} end" for n in fields
    ]
    remedy = (
        f" of the same {' and '.join(mapping.contract.key)}: leave such rows out with "
        f"`where: [{{column: COLUMN, is_empty: false}}]` (a column that is filled where the row counts), "
        f"or say `blanks: keep` in {mapping.name}.yaml where a blank is meant"
    )
    named = f"concat_ws(', ', {', '.join(lost)})" if lost else "''"
    return con.sql(
        f"select _file, _row, event_us, {named} || {literal(f': {BLANKED}{remedy}')} as reason from versions "
        "where blanked order by _file, _row"
    ).to_arrow_table()


def _differing(con: duckdb.DuckDBPyConnection, c: Contract, fields: Sequence[str]) -> dict[str, Finding]:
    """By file: keys of which rows differ that are kept and that no time of the source puts in order."""
    keys = ", ".join(quoted(k) for k in c.key)
    undecided = (
        f"from versions where not blanked group by _file, {keys}, version_time having min(row_hash) <> max(row_hash)"
    )
    if not con.execute(f"select 1 {undecided} limit 1").fetchall():
        return {}
    differs = [
        f"count(distinct {quoted(n)}) + max(({quoted(n)} is null)::int) > 1 as {quoted('d ' + n)}" for n in fields
    ]
    by_file = [f"bool_or({quoted('d ' + n)}) as {quoted('d ' + n)}" for n in fields]
    found = con.sql(
        f"""
        with undecided as (
            select _file, {keys}, min(_row) as row, {", ".join(differs)}
            {undecided}
        )
        select _file, count(distinct ({keys})) as keys, min(row) as row, arg_min(concat_ws(' / ', {keys}), row) as example,
               {", ".join(by_file)}
        from undecided group by _file order by _file
        """
    ).to_arrow_table()
    return {row["_file"]: _finding(c, fields, row) for row in found.to_pylist()}


def _finding(c: Contract, fields: Sequence[str], row: dict[str, Any]) -> Finding:
    names = " and ".join(c.key)
    differing = ", ".join(n for n in fields if row[f"d {n}"])
    what = f"{names} in rows that differ ({differing}), of which the last counts"
    personal = any(c.column(k).field.is_personal for k in c.key)
    return Finding(what, row["keys"], row["row"], f"{row['example'][:1]}***" if personal else row["example"])
