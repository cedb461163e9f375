"""Map task of ingest, second half: candidate silver files of one feed and month against what silver holds already.

A row is known by its content (``row_hash`` covers the key): the same content twice is one delivery twice, with two
exceptions. Where the key is made from the content, equal rows of one file are numbered, and the number makes them
different rows. Where the source does not say when it made a version, a row that is again as it once was is a version of
its own: only what equals the version before it is a duplicate.
Most months hold no duplicate at all: then the candidates are taken as they are and nothing is written a second time.

The version before may stand in another month. Other months are sought only for keys of content that is there twice and
that the source does not date, and once for all months of a feed: such a month waits for ``jobs.ingest.elsewhere``.
"""

from __future__ import annotations

import uuid
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.ingest.outputs import open_writer, row_groups
from jobs.ingest.parsing import FIRST, connection
from lake.spans import span
from schemas.arrow import arrow_schema, file_schema
from schemas.contracts import contract
from schemas.quarantine import literal, quoted

NEWEST = "first(row_hash order by _ingested_at desc, _file desc, _row desc)"

SMALL_ROWS = 65_536
"""Files below this are written together: readers pay for every file, and writing a larger one again costs more than that."""


@dataclass
class _Verdict:
    """For one candidate file: which rows go on (by place in the file), and new ordinals of generated keys."""

    keep: np.ndarray
    ordinal: np.ndarray


def settle(item: dict[str, Any]) -> dict[str, Any]:
    """``feed``, ``folder`` (of the month), ``candidates`` (paths in order), ``existing`` (silver files of the month),
    ``own`` (batches whose rows do not count as existing: a killed run may have published them), ``remove``
    ([batch, file] pairs whose rows go), ``rewrite`` (write existing rows anew), ``resume_ordinals``; ``keys`` (where the
    keys go that are to be sought in other months; absent if there is no other) and ``versions`` (what was found of them).

    Gives ``taken`` and ``duplicates`` as [batch, file, rows], ``removed`` rows, and the candidates that were
    ``rewritten`` and are not wanted any more; or ``sought`` where nothing was done
    because ``versions`` are needed first.
    """
    candidates = list(item["candidates"])
    verdicts = _judge(item, candidates)
    if verdicts is None:
        return {"sought": item["keys"]}
    taken: Counter[tuple[str, str]] = Counter()
    duplicates: Counter[tuple[str, str]] = Counter()
    out = _Writer(item)
    removed = _write_kept(item, out) if item["rewrite"] else 0
    sizes = {c: pq.read_metadata(c).num_rows for c in candidates}
    small = {c for c, size in sizes.items() if size < SMALL_ROWS}
    joined = set(candidates) if item["rewrite"] else small if len(small) > 1 else set()
    rewritten = []
    for path in candidates:
        verdict = verdicts.get(path)
        _count(path, verdict, taken, duplicates)
        if verdict is None and path not in joined:
            continue
        _write_candidate(path, verdict, out, contract(f"silver.{item['feed']}").generated)
        rewritten.append(path)
    out.close()
    return {
        "taken": [[*k, n] for k, n in taken.items()],
        "duplicates": [[*k, n] for k, n in duplicates.items()],
        "removed": removed,
        "rewritten": rewritten,
    }


def existing_rows(item: dict[str, Any]) -> str | None:
    """SQL of the silver rows in ``existing`` that stay."""
    if not item["existing"]:
        return None
    files = ", ".join(literal(p) for p in item["existing"])
    conditions = [f"_batch_id <> {literal(b)}" for b in item["own"]]
    conditions += [f"not (_batch_id = {literal(b)} and _file = {literal(f)})" for b, f in item["remove"]]
    where = " and ".join(conditions) or "true"
    return f"(select * from read_parquet([{files}], hive_partitioning = false) where {where})"


def _judge(item: dict[str, Any], candidates: list[str]) -> dict[str, _Verdict] | None:
    """Verdicts of the candidate files that hold anything but new, single rows; None if other months decide."""
    if not candidates:
        return {}
    con = connection()
    c = contract(f"silver.{item['feed']}")
    files = ", ".join(literal(path) for path in candidates)
    new = f"read_parquet([{files}], hive_partitioning = false, filename = true, file_row_number = true)"
    existing = existing_rows(item)
    if not _suspects(con, new, existing, quoted(c.generated) if c.generated else "row_hash"):
        return {}
    keys = ", ".join(quoted(k) for k in c.key)
    made = f"{quoted(c.generated)} = row_hash || {literal(FIRST)}" if c.generated else "false"
    undated = f"source_time is null and not ({made})"
    suspected = f"select distinct {keys} from {new} where {undated} and row_hash in (select row_hash from suspects)"
    if item["versions"] is None and item["keys"] is not None and con.execute(f"{suspected} limit 1").fetchall():
        con.execute(f"copy ({suspected}) to {literal(item['keys'])} (format parquet)")
        return None
    _earlier(con, existing, item, keys, suspected)
    resumed = (
        "(select count(*) from known k where k.row_hash = s.row_hash and k._file = s._file)"
        if item["resume_ordinals"]
        else "0"
    )
    known = "case when starts_with(key, row_hash || '-') then key else row_hash end" if c.generated else "row_hash"
    judged = con.sql(
        f"""
        with s as (
            select filename, file_row_number as n, _batch_id, _file, _row, _ingested_at, row_hash, {keys},
                   {made} as made, {undated} as undated, list_position([{files}], filename) as place
            from {new}
            where row_hash in (select row_hash from suspects)
               or ({undated} and ({keys}) in (select ({keys}) from newest))
        ), numbered as (
            select s.*, row_number() over (partition by row_hash, _batch_id, _file order by place, n) as nth,
                   case when made then {resumed} + nth else 1 end as ordinal
            from s
        ), named as (
            select *, case when made then row_hash || '-' || ordinal else row_hash end as name from numbered
        ), line as (
            select filename, n, {keys}, row_hash, _ingested_at, _file, _row from named where undated
            union all by name select * from beside
        ), followed as (
            select filename, n, row_hash = lag(row_hash, 1, newest_hash) over (
                partition by {keys} order by _ingested_at, _file, _row) as unchanged
            from line left join newest using ({keys})
        )
        select filename, n, ordinal, case when undated then coalesce(unchanged, false)
               else row_number() over (partition by name order by place, n) > 1
                    or name in (select {known} from known) end as again
        from named left join followed using (filename, n)
        """
    ).to_arrow_table()
    return _verdicts(judged)


def _suspects(con: duckdb.DuckDBPyConnection, new: str, existing: str | None, key: str) -> bool:
    """Tables ``known`` (silver rows of the same content) and ``suspects`` (content that is there more than once)."""
    for table in ("news", "known", "suspects"):
        con.execute(f"drop table if exists {table}")
    con.execute(f"create temp table news as select row_hash from {new}")
    known = f"select row_hash, {key} as key, _file from {existing}" if existing else "select '', '', '' where false"
    con.execute(
        "create temp table known(row_hash, key, _file) as "
        f"select * from ({known}) k(row_hash, key, _file) where row_hash in (select row_hash from news)"
    )
    con.execute(
        "create temp table suspects as select row_hash from news group by row_hash having count(*) > 1 "
        "union select distinct row_hash from known"
    )
    con.execute("drop table news")
    return con.execute("select count(*) from suspects").fetchall() != [(0,)]


def _earlier(
    con: duckdb.DuckDBPyConnection, existing: str | None, item: dict[str, Any], keys: str, suspected: str
) -> None:
    """Of ``suspected`` keys the tables ``newest``, the content that silver has last, and ``beside``, the versions that
    this run puts into other months."""
    month = Path(item["folder"]).name
    if item["versions"] is not None:
        found = f"read_parquet({literal(item['versions'])}, hive_partitioning = false)"
        held = f"(select * from {found} where slice is null)"
        beside = f"select * exclude (slice) from {found} semi join ({suspected}) using ({keys}) where slice <> {literal(month)}"
    else:
        columns = f"{keys}, row_hash, _ingested_at, _file, _row"
        nothing = f"(select {columns} from read_parquet({literal(item['candidates'][0])}) where false)"
        held = f"(select * from {existing} where source_time is null)" if existing else nothing
        beside = nothing
    con.execute(
        f"create or replace temp table newest as select {keys}, {NEWEST} as newest_hash "
        f"from ({suspected}) left join {held} using ({keys}) group by {keys}"
    )
    con.execute(f"create or replace temp table beside as {beside}")


def _verdicts(judged: pa.Table) -> dict[str, _Verdict]:
    """Of files in which a row is refused or numbered."""
    found = {}
    for path in pc.unique(judged["filename"]).to_pylist():
        mine = judged.filter(pc.equal(judged["filename"], path))
        size = pq.read_metadata(path).num_rows
        verdict = _Verdict(np.ones(size, dtype=bool), np.ones(size, dtype=np.int64))
        places = mine["n"].to_numpy()
        verdict.keep[places] = ~mine["again"].to_numpy(zero_copy_only=False)
        verdict.ordinal[places] = mine["ordinal"].to_numpy()
        if not verdict.keep.all() or (verdict.ordinal > 1).any():
            found[path] = verdict
    return found


def _count(
    path: str, verdict: _Verdict | None, taken: Counter[tuple[str, str]], duplicates: Counter[tuple[str, str]]
) -> None:
    names = pq.read_table(path, columns=["_batch_id", "_file"], use_threads=False, partitioning=None)
    keep = np.ones(len(names), dtype=bool) if verdict is None else verdict.keep
    for counter, mask in ((taken, keep), (duplicates, ~keep)):
        chosen = names.filter(pa.array(mask)).group_by(["_batch_id", "_file"]).aggregate([([], "count_all")])
        for row in chosen.to_pylist():
            counter[row["_batch_id"], row["_file"]] += row["count_all"]


def _write_candidate(path: str, verdict: _Verdict | None, out: _Writer, generated: str | None) -> None:
    at = 0
    for table in row_groups(Path(path)):
        if verdict is not None:
            keep, ordinal = (a[at : at + len(table)] for a in (verdict.keep, verdict.ordinal))
            if generated is not None and (ordinal > 1).any():
                named = pc.binary_join_element_wise(table["row_hash"], pa.array(ordinal).cast(pa.string()), "-")
                place = table.schema.get_field_index(generated)
                field = table.schema.field(generated)
                table = table.set_column(place, field, pc.if_else(pa.array(ordinal > 1), named, table[generated]))
            at += len(table)
            table = table.filter(pa.array(keep))
        out.write(table)


def _write_kept(item: dict[str, Any], out: _Writer) -> int:
    """Write anew what stays of the month; gives how many rows went."""
    existing = existing_rows({**item, "own": []})
    if existing is None:
        return 0
    con = connection()
    files = ", ".join(literal(p) for p in item["existing"])
    before = con.execute(f"select count(*) from read_parquet([{files}], hive_partitioning = false)").fetchall()
    kept = 0
    reader = con.sql(f"select * from {existing}").to_arrow_reader(1 << 17)
    for batch in reader:
        kept += len(batch)
        out.write(pa.Table.from_batches([batch]))
    return int(before[0][0]) - kept


class _Writer:
    """One new file of the month, made when the first row comes; columns take the contract's types."""

    def __init__(self, item: dict[str, Any]):
        self.path = Path(item["folder"]) / f"m-{uuid.uuid4().hex[:12]}.parquet"
        self.writer: pq.ParquetWriter | None = None
        self.schema: pa.Schema | None = None
        self.waiting: list[pa.Table] = []
        self.feed: str = item["feed"]

    def write(self, table: pa.Table) -> None:
        c = contract(f"silver.{self.feed}")
        self.schema = self.schema or file_schema(arrow_schema(c), c.partitions)
        if not len(table):
            return
        arrays = [
            table[f.name].cast(f.type) if f.name in table.column_names else pa.nulls(len(table), f.type)
            for f in self.schema
        ]
        self.waiting.append(pa.table(arrays, schema=self.schema))
        if sum(len(t) for t in self.waiting) >= 1 << 19:
            self._flush()

    def _flush(self) -> None:
        if not self.waiting:
            return
        if self.writer is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            assert self.schema is not None
            self.writer = open_writer(self.path, self.schema)
        with span("write", "silver"):
            self.writer.write_table(pa.concat_tables(self.waiting))
        self.waiting = []

    def close(self) -> None:
        self._flush()
        if self.writer is not None:
            self.writer.close()
