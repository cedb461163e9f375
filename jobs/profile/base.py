"""What the tags of one bucket, or a slice of its users, are made from: attributes, facts, kept and overridden values."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.kernel.arrays import from_arrow, to_arrow
from features.tagging import FIXED
from jobs.activity.facts import read_facts
from lake.spans import span
from schemas.arrow import ARROW

Item = dict[str, Any]


def base_of(item: Item, shared: Mapping[str, Any]) -> pa.Table:
    """The users of ``item["uids"]`` (first and last uid) with what ``shared`` says that tags need, in order of uid.

    Attributes, facts and kept values are named as features/tagging.py has them.
    """
    own = [name for name, _ in shared["attributes"]]
    users = table_of(item["users"], [*FIXED, *own], item["uids"])
    assert users is not None
    uid = users["uid"].combine_chunks()
    columns = {name: users[name] for name in FIXED}
    columns["as_of"] = pa.array([dt.date.fromisoformat(shared["as_of"])] * len(users), ARROW["date"])
    for name, kind in shared["attributes"]:
        columns[f"attribute.{name}"] = users[name].cast(ARROW[kind])
    facts = None if item["facts"] is None else read_facts(item["facts"], item["uids"], [f[0] for f in shared["facts"]])
    at = None if facts is None else _rows_of(uid, facts)
    for name, kind, absent in shared["facts"]:
        column = pa.nulls(len(uid), ARROW[kind]) if facts is None else _taken(facts[name], at)
        columns[f"fact.{name}"] = column if absent is None else pc.fill_null(column, absent)
    for table, names in shared["described"].items():
        columns |= _described(uid, item["described"].get(table, []), names, item["uids"])
    said = None if item["overrides"] is None else read_columns(item["overrides"])
    for name, kind in shared["overridden"]:
        columns[f"override.{name}"] = _override(uid, said, name, ARROW[kind])
    if shared["kept"]:
        last = table_of(item["previous"], ["uid", *(n for n, _ in shared["kept"])], item["uids"])
        at = None if last is None else _rows_of(uid, last)
        for name, kind in shared["kept"]:
            columns[f"previous.{name}"] = _column(last, name, at, len(uid), ARROW[kind])
    return pa.table(columns)


def _described(
    uid: pa.Array, files: Sequence[str], names: Sequence[Sequence[Any]], uids: Sequence[int]
) -> dict[str, pa.Array]:
    """Attributes that one table has of users: null for who has no row, and where the table lacks the column."""
    rows = table_of(files, ["uid", *(n for n, _ in names)], uids) if names else None
    at = None if rows is None else _rows_of(uid, rows)
    return {f"attribute.{name}": _column(rows, name, at, len(uid), ARROW[kind]) for name, kind in names}


def _override(uid: pa.Array, said: pa.Table | None, tag: str, kind: pa.DataType) -> pa.Array:
    """What was set by hand, else declared, of every user; null of who said nothing."""
    column = pa.nulls(len(uid), kind)
    if said is None:
        return column
    for origin in ("declared", "manual"):
        rows = said.filter(pc.and_(pc.equal(said["tag"], tag), pc.equal(said["origin"], origin)))
        if len(rows):
            at = pc.index_in(uid, rows["uid"].combine_chunks())
            column = pc.coalesce(rows["value"].combine_chunks().cast(kind).take(at), column)
    return column


# --- rows of users ---


def _rows_of(uid: pa.Array, table: pa.Table) -> pa.Array | None:
    """Where each user stands in a table, null for who is not in it; None where the table has the same users."""
    theirs = table["uid"].combine_chunks()
    return None if uid.equals(theirs) else pc.index_in(uid, theirs)


def _column(table: pa.Table | None, name: str, at: pa.Array | None, users: int, kind: pa.DataType) -> pa.Array:
    """A column of users by their rows; nulls where there is no table, or it lacks the column."""
    if table is None or name not in table.column_names:
        return pa.nulls(users, kind)
    return _taken(table[name].cast(kind), at)


def _taken(column: pa.ChunkedArray, at: pa.Array | None) -> pa.Array:
    whole = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    return whole if at is None else whole.take(at)


def table_of(
    files: Sequence[str], columns: Sequence[str], uids: Sequence[int], encoded: Sequence[str] = ()
) -> pa.Table | None:
    """Those of the columns that the files have, of users from the first to the last uid, in order; None without files.

    ``encoded`` texts come with a dictionary, as the file has them. Files without such a user are not read.
    """
    if not files:
        return None
    parts = [_part(path, columns, uids, encoded) for path in files]
    filled = [p for p in parts if len(p)] or parts[:1]
    whole = filled[0] if len(filled) == 1 else pa.concat_tables(filled, promote_options="default")
    if any(whole.column(i).num_chunks > 1 for i in range(whole.num_columns)):
        whole = whole.unify_dictionaries().combine_chunks()
    return _of_users(whole, uids)


@span("read", "parquet")
def _part(path: str, columns: Sequence[str], uids: Sequence[int], encoded: Sequence[str]) -> pa.Table:
    about = pq.read_metadata(path)
    have = set(about.schema.names)
    with pq.ParquetFile(path, metadata=about, read_dictionary=[c for c in encoded if c in have]) as file:
        groups = [g for g in range(file.num_row_groups) if _may_hold(file.metadata.row_group(g), uids)]
        rows = file.read_row_groups(groups, columns=[c for c in columns if c in have], use_threads=False)
    return _of_users(rows, uids)


def _may_hold(group: pq.RowGroupMetaData, uids: Sequence[int]) -> bool:
    for i in range(group.num_columns):
        column = group.column(i)
        if column.path_in_schema == "uid":
            known = column.statistics
            return known is None or not known.has_min_max or (known.min <= uids[1] and known.max >= uids[0])
    return True


def _of_users(table: pa.Table, uids: Sequence[int]) -> pa.Table:
    """The rows of these users, in order of uid."""
    uid = from_arrow(table["uid"], np.dtype(np.int64), None, "uid")
    if len(uid) and (uid[1:] < uid[:-1]).any():
        order = np.argsort(uid, kind="stable")
        table, uid = table.take(to_arrow(order.astype(np.int64), None, pa.int64())), uid[order]
    first, last = np.searchsorted(uid, uids[0], side="left"), np.searchsorted(uid, uids[1], side="right")
    return table.slice(int(first), int(last - first))


@span("read", "parquet")
def read_columns(
    path: str, columns: list[str] | None = None, filters: list[tuple[str, str, int]] | None = None
) -> pa.Table:
    # the partition is in the path, and pyarrow would add it as a column
    return pq.read_table(path, columns=columns, partitioning=None, use_threads=False, filters=filters)
