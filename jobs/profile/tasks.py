"""Map tasks of the profile: one bucket of users each. They read and write Parquet and return descriptors.

``values_of_bucket`` gives what frozen numbers and models are made from; ``profile_of_bucket`` writes the profile, the
changes of dynamic tags and the segments of a bucket, and counts how values are spread; ``changes_of_bucket`` compares
two snapshots that are there, ``flows_of_bucket`` their segmentations only.
Items are plain data; what all buckets of a run share lies in one JSON file that they name.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.breaks import counted
from features.changes import TwoSnapshots
from features.quality import aged_distribution, users_by_bin
from features.tagging import FIXED, Recipe, apply_recipe, numpy_columns, profile_columns, values_of
from features.tags import UNKNOWN
from jobs.activity.facts import read_facts
from lake.budget import in_memory
from lake.lake import partition_path
from lake.spans import span
from models.clusters import ClusterCard, assign
from schemas.arrow import ARROW

Item = dict[str, Any]
COMPRESSION = "zstd"


def values_of_bucket(item: Item) -> dict[str, Any]:
    """Distinct values with counts for each break, and a sample of users for each model, of one bucket.

    A model's sample is the users with the smallest hash of their uid, so that it does not depend on buckets or runs.
    """
    shared = _shared(item["shared"])
    if not item["users"]:
        return {"bucket": item["bucket"], "breaks": {}, "models": {}}
    out = Path(item["out"])
    out.mkdir(parents=True, exist_ok=True)
    with _connection() as con:
        base = base_of(item, shared)
        table = apply_recipe(con, base, Recipe.from_json(shared["recipe"]), _score)
        written: dict[str, str] = {}
        specs = shared["breaks"]
        if specs:
            # one statement for all: planning it costs more than running it
            listed = [
                s["of"] if s["where"] is None else f"CASE WHEN {s['where']} THEN {s['of']} END" for s in specs.values()
            ]
            numbers = numpy_columns(values_of(con, table, listed, None))
            for i, name in enumerate(specs):
                values, counts = counted(numbers[:, i])
                path = out / f"break-{name}.parquet"
                pq.write_table(pa.table({"value": values, "users": counts}), path)
                written[name] = str(path)
        samples: dict[str, str] = {}
        for name, spec in shared["models"].items():
            found = values_of(con, table, spec["inputs"], spec["where"])
            matrix = numpy_columns(found)
            uid = found["uid"].to_numpy()
            known = ~np.isnan(matrix).any(axis=1)
            uid, matrix = uid[known], matrix[known]
            first = np.lexsort((uid, mixed(uid)))[: spec["sample"]]
            columns = {f"v{i}": matrix[first, i] for i in range(matrix.shape[1])}
            path = out / f"model-{name}.parquet"
            pq.write_table(pa.table({"uid": uid[first], **columns}), path)
            samples[name] = str(path)
    return {"bucket": item["bucket"], "breaks": written, "models": samples}


def profile_of_bucket(item: Item) -> dict[str, Any]:
    """Write one bucket's profile, tag changes and segments; return counts, flows, quality figures and distributions."""
    shared = _shared(item["shared"])
    if not item["users"]:
        figures: dict[str, Any] = {"users": 0, "members": 0, "bins": {}, "agreement": []}
        return {"bucket": item["bucket"], **figures, **_compared(None, item, shared)}
    base = base_of(item, shared)
    recipe = Recipe.from_json(shared["recipe"])
    columns = profile_columns(recipe)
    with _connection() as con:
        table = apply_recipe(con, base, recipe, _score, [*columns, *(f"computed.{t}" for t in recipe.overridden)])
    is_member = np.asarray(table["is_member"].to_numpy(zero_copy_only=False), dtype=bool)
    agreement = [row for t in recipe.overridden for row in _agreement(t, base, table, is_member)]
    del base
    profile = table.select(columns)
    place = partition_path({"as_of": shared["as_of"], "bucket": item["bucket"]})
    _write(profile, Path(item["profile_out"]) / place / "part-0.parquet")
    if shared["schemes"]:
        _write(_segments(profile, shared["schemes"]), Path(item["segments_out"]) / place / "part-0.parquet")
    as_of = dt.date.fromisoformat(shared["as_of"])
    return {
        "bucket": item["bucket"],
        "users": len(profile),
        "members": int(np.count_nonzero(is_member)),
        "bins": {t: users_by_bin(profile[t].combine_chunks(), is_member, as_of) for t, _ in recipe.tags},
        "agreement": agreement,
        **_compared(profile, item, shared),
    }


def changes_of_bucket(item: Item) -> dict[str, Any]:
    """Compare a snapshot that is there already with the one before it, as ``profile_of_bucket`` does for its own."""
    shared = _shared(item["shared"])
    return {"bucket": item["bucket"], **_compared(_profile(item["current"], shared["tags"]), item, shared)}


def flows_of_bucket(item: Item) -> dict[str, Any]:
    """Flows of all segmentations between two snapshots that are there already."""
    shared = _shared(item["shared"])
    schemes = [[s, "string"] for s in shared["schemes"]]
    current = _profile(item["current"], schemes)
    return {"flows": _flows(current, {shared["from_as_of"]: item["previous"]}, shared["schemes"])}


def mixed(uid: np.ndarray) -> np.ndarray:
    """A well-mixed 64-bit number per uid (the finaliser of splitmix64)."""
    x = uid.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)), dtype=np.uint64)


# --- what tags are made from ---


def base_of(item: Item, shared: Mapping[str, Any]) -> pa.Table:
    """The bucket's users with attributes, facts and kept values, in order of uid (see features/tagging.py)."""
    users = pa.concat_tables([_read(p) for p in item["users"]]).sort_by("uid").combine_chunks()
    uid = users["uid"].combine_chunks()
    columns = {name: users[name] for name in FIXED}
    columns["as_of"] = pa.array([dt.date.fromisoformat(shared["as_of"])] * len(users), ARROW["date"])
    for name, kind in shared["attributes"]:
        columns[f"attribute.{name}"] = users[name].cast(ARROW[kind])
    facts = None if item["facts"] is None else read_facts(item["facts"])
    at = None if facts is None else _rows_of(uid, facts)
    for name, kind, absent in shared["facts"]:
        column = pa.nulls(len(uid), ARROW[kind]) if facts is None else facts[name].combine_chunks().take(at)
        columns[f"fact.{name}"] = column if absent is None else pc.fill_null(column, absent)
    for table, names in shared["described"].items():
        columns |= _described(uid, item["described"].get(table, []), names)
    said = None if item["overrides"] is None else _read(item["overrides"])
    for name, kind in shared["overridden"]:
        columns[f"override.{name}"] = _override(uid, said, name, ARROW[kind])
    last = _profile(item["previous"], shared["kept"])
    at = None if last is None else _rows_of(uid, last)
    for name, kind in shared["kept"]:
        column = pa.nulls(len(uid), ARROW[kind])
        if last is not None and name in last.column_names:
            column = last[name].combine_chunks().take(at)
        columns[f"previous.{name}"] = column
    return pa.table(columns)


def _described(uid: pa.Array, files: Sequence[str], names: Sequence[Sequence[Any]]) -> dict[str, pa.Array]:
    """Attributes that one table has of users: null for who has no row, and where the table lacks the column."""
    parts = [_read_of(f, ["uid", *(n for n, _ in names)]) for f in files]
    rows = pa.concat_tables(parts, promote_options="default").combine_chunks() if parts else None
    at = None if rows is None else _rows_of(uid, rows)
    found = {}
    for name, kind in names:
        column = pa.nulls(len(uid), ARROW[kind])
        if rows is not None and name in rows.column_names:
            column = rows[name].combine_chunks().cast(ARROW[kind]).take(at)
        found[f"attribute.{name}"] = column
    return found


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


def _rows_of(uid: pa.Array, table: pa.Table) -> pa.Array:
    """Where each user stands in a table; null for who is not in it."""
    theirs = table["uid"].combine_chunks()
    return pa.array(np.arange(len(uid))) if uid.equals(theirs) else pc.index_in(uid, theirs)


@span("read", "parquet")
def _read(path: str, columns: list[str] | None = None, filters: list[tuple[str, str, int]] | None = None) -> pa.Table:
    # the partition is in the path, and pyarrow would add it as a column
    return pq.read_table(path, columns=columns, partitioning=None, use_threads=False, filters=filters)


def _read_of(path: str, columns: Sequence[str]) -> pa.Table:
    """Those of the columns that the file has."""
    have = set(pq.read_schema(path).names)
    return _read(path, [c for c in columns if c in have])


def _profile(files: Sequence[str], tags: Sequence[Sequence[Any]]) -> pa.Table | None:
    """A snapshot's files with these tags as far as they have them, in order of uid; None without files."""
    if not files:
        return None
    wanted = ["uid", "is_member", *(t[0] for t in tags)]
    parts = [_read_of(f, wanted) for f in files]
    whole = pa.concat_tables(parts, promote_options="default")
    return (whole if len(files) == 1 else whole.sort_by("uid")).combine_chunks()


def _score(card: Mapping[str, Any], values: np.ndarray) -> np.ndarray:
    return assign(ClusterCard.from_json({k: v for k, v in card.items() if k != "spec"}), values)


# --- what became of them ---


def _agreement(tag: str, base: pa.Table, table: pa.Table, is_member: np.ndarray) -> list[dict[str, Any]]:
    """Users whose value somebody said, how many of them have a computed one too, and how many of those the same."""
    said, computed = base[f"override.{tag}"].combine_chunks(), table[f"computed.{tag}"].combine_chunks()
    if pa.types.is_string(computed.type):
        computed = pc.if_else(pc.equal(computed, UNKNOWN), pa.scalar(None, pa.string()), computed)
    declared = np.asarray(pc.is_valid(said).to_numpy(zero_copy_only=False), dtype=bool)
    compared = declared & np.asarray(pc.is_valid(computed).to_numpy(zero_copy_only=False), dtype=bool)
    same = np.asarray(pc.fill_null(pc.equal(said, computed), False).to_numpy(zero_copy_only=False), dtype=bool)
    figures = {"declared_users": declared, "compared_users": compared, "agreeing_users": same}
    return [
        {"tag": tag, "is_member": member}
        | {k: int(np.count_nonzero(v & (is_member == member))) for k, v in figures.items()}
        for member in (False, True)
    ]


def _segments(profile: pa.Table, schemes: Sequence[str]) -> pa.Table:
    parts = [
        pa.table(
            {
                "scheme": pa.array([scheme] * len(profile), pa.string()),
                "uid": profile["uid"],
                "is_member": profile["is_member"],
                "segment": profile[scheme],
            }
        )
        for scheme in sorted(schemes)
    ]
    return pa.concat_tables(parts) if parts else pa.table({})


def _compared(profile: pa.Table | None, item: Item, shared: Mapping[str, Any]) -> dict[str, Any]:
    """Write the changes of dynamic tags; count flows, quality, and ages as time alone would have them. ``log`` names changes of days without a snapshot."""
    tags = [(name, bands, ARROW[kind]) for name, kind, bands in shared["tags"]]
    previous = _profile(item["previous"], shared["tags"])
    if profile is None:
        profile = _nobody()
    found = TwoSnapshots(profile, previous, _log(item["log"], item["uids"]) if item["log"] else None)
    dynamic = set(shared["dynamic"])
    schemes = shared["schemes"]
    before = shared["previous_as_of"]
    flows = [{"from_as_of": before, **r} for s in schemes for r in found.flows(s)] if before else []
    return {
        "changes": _write_changes(found, [t for t in tags if t[0] in dynamic], item, shared["as_of"]),
        "flows": [*flows, *_flows(profile, item.get("spans", {}), schemes)],
        "quality": [row for t in tags for row in found.quality(*t)],
        "aged": {} if previous is None or before is None else _aged(previous, before, shared),
    }


def _aged(previous: pa.Table, before: str, shared: Mapping[str, Any]) -> dict[str, dict[str, list[int]]]:
    """How the ages of the snapshot before would be spread now, had nothing but time passed."""
    is_member = np.asarray(previous["is_member"].to_numpy(zero_copy_only=False), dtype=bool)
    measured, now = dt.date.fromisoformat(before), dt.date.fromisoformat(shared["as_of"])
    there = [n for n in shared["aging"] if n in previous.column_names]
    return {n: aged_distribution(previous[n].combine_chunks(), is_member, measured, now) for n in there}


def _flows(
    profile: pa.Table | None, earlier: Mapping[str, Sequence[str]], schemes: Sequence[str]
) -> list[dict[str, Any]]:
    """Flows of the segmentations from each of these days (with the files of its snapshot) to ``profile``."""
    rows = []
    for day, files in earlier.items():
        found = TwoSnapshots(
            _nobody() if profile is None else profile, _profile(files, [[s, "string"] for s in schemes])
        )
        rows += [{"from_as_of": day, **row} for s in schemes for row in found.flows(s)]
    return rows


def _nobody() -> pa.Table:
    empty = {"uid": ARROW["int64"], "is_member": ARROW["bool"]}
    return pa.table({name: pa.array([], kind) for name, kind in empty.items()})


def _log(files: Sequence[Sequence[str]], uids: Sequence[int]) -> pa.Table:
    """The last change of every user and tag in these files (day and path, oldest first)."""
    parts = []
    for _, path in files:
        inside = [("uid", ">=", uids[0]), ("uid", "<=", uids[1])]
        parts.append(_read(path, ["uid", "tag", "value"], inside))
    whole = pa.concat_tables(parts).append_column("row", pa.array(np.arange(sum(map(len, parts)))))
    last = whole.group_by(["uid", "tag"], use_threads=False).aggregate([("row", "max")])
    return whole.take(last["row_max"]).drop_columns(["row"])


def _write_changes(found: TwoSnapshots, tags: Sequence[tuple[str, Any, pa.DataType]], item: Item, as_of: str) -> int:
    """One row group a tag, so that a first snapshot, where every user has a row a tag, is never held whole."""
    path = Path(item["changes_out"]) / partition_path({"from_day": as_of}) / f"bucket-{item['bucket']}.parquet"
    rows = 0
    writer: pq.ParquetWriter | None = None
    for tag in sorted(tags, key=lambda t: t[0]):
        changes = found.changes(*tag)
        if len(changes):
            if writer is None:
                path.parent.mkdir(parents=True, exist_ok=True)
                writer = pq.ParquetWriter(path, changes.schema, compression=COMPRESSION)
            with span("write", "changes"):
                writer.write_table(changes, row_group_size=len(changes))
            rows += len(changes)
    if writer is not None:
        writer.close()
    return rows


@span("write", "parquet")
def _write(table: pa.Table, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, compression=COMPRESSION)


def _connection() -> duckdb.DuckDBPyConnection:
    # one thread: buckets already run side by side, and the order of rows stays that of the input
    con = in_memory(threads=1)
    con.execute("set enable_progress_bar = false")
    con.execute("SET TimeZone = 'UTC'")
    # a table's name must never be taken for a Python variable
    con.execute("SET python_enable_replacements = false")
    return con


@lru_cache(maxsize=4)
def _shared(path: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    return found
