"""Map tasks of the profile: one bucket of users each, or a slice of them. They read and write Parquet and return descriptors.

``values_of_bucket`` gives what frozen numbers and models are made from; ``profile_of_slice`` writes the profile, the
changes of dynamic tags and the segments of a slice of a bucket, and counts how values are spread; ``changes_of_bucket``
compares two snapshots that are there, ``flows_of_bucket`` their segmentations only.
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
from features.kernel.arrays import from_arrow, known_of
from features.quality import users_by_bin
from features.tagging import Recipe, apply_recipe, numpy_columns, profile_columns, values_of
from features.tags import UNKNOWN
from jobs.profile.base import Item, base_of
from jobs.profile.compared import COMPRESSION, compared_with_before, flows_from, snapshot
from lake.budget import in_memory
from lake.lake import partition_path
from lake.spans import span
from models.clusters import ClusterCard, assign


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
        table = apply_recipe(con, base, Recipe.from_json(shared["recipe"]), _score, shared["reads"])
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


def profile_of_slice(item: Item) -> dict[str, Any]:
    """Write a slice's profile, tag changes and segments; return counts, flows, quality figures and distributions."""
    shared = _shared(item["shared"])
    base = base_of(item, shared) if item["users"] else None
    if base is None or not len(base):
        figures: dict[str, Any] = {"users": 0, "members": 0, "bins": {}, "agreement": []}
        return {"bucket": item["bucket"], **figures, **compared_with_before(None, item, shared)}
    recipe = Recipe.from_json(shared["recipe"])
    columns = profile_columns(recipe)
    with _connection() as con:
        table = apply_recipe(con, base, recipe, _score, [*columns, *(f"computed.{t}" for t in recipe.overridden)])
    is_member = from_arrow(table["is_member"], np.dtype(np.bool_), None, "is_member")
    agreement = [row for t in recipe.overridden for row in _agreement(t, base, table, is_member)]
    del base
    profile = _encoded(table.select(columns), [n for n, kind in recipe.tags if kind == "string"])
    del table
    place = Path(partition_path({"as_of": shared["as_of"], "bucket": item["bucket"]})) / f"part-{item['slice']}.parquet"
    _write(profile, Path(item["profile_out"]) / place)
    if shared["schemes"]:
        _write_segments(profile, shared["schemes"], Path(item["segments_out"]) / place)
    as_of = dt.date.fromisoformat(shared["as_of"])
    return {
        "bucket": item["bucket"],
        "users": len(profile),
        "members": int(np.count_nonzero(is_member)),
        "bins": {t: users_by_bin(profile[t].chunk(0), is_member, as_of) for t, _ in recipe.tags},
        "agreement": agreement,
        **compared_with_before(profile, item, shared),
    }


def changes_of_bucket(item: Item) -> dict[str, Any]:
    """Compare a snapshot that is there already with the one before it, as ``profile_of_slice`` does for its own."""
    shared = _shared(item["shared"])
    return {"bucket": item["bucket"], **compared_with_before(snapshot(item["current"], shared["tags"]), item, shared)}


def flows_of_bucket(item: Item) -> dict[str, Any]:
    """Flows of all segmentations between two snapshots that are there already."""
    shared = _shared(item["shared"])
    current = snapshot(item["current"], [[s, "string"] for s in shared["schemes"]])
    return {"flows": flows_from(current, {shared["from_as_of"]: item["previous"]}, shared["schemes"])}


def mixed(uid: np.ndarray) -> np.ndarray:
    """A well-mixed 64-bit number per uid (the finaliser of splitmix64)."""
    x = uid.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)), dtype=np.uint64)


def _score(card: Mapping[str, Any], values: np.ndarray) -> np.ndarray:
    return assign(ClusterCard.from_json({k: v for k, v in card.items() if k != "spec"}), values)


def _agreement(tag: str, base: pa.Table, table: pa.Table, is_member: np.ndarray) -> list[dict[str, Any]]:
    """Users whose value somebody said, how many of them have a computed one too, and how many of those the same."""
    said, computed = base[f"override.{tag}"].combine_chunks(), table[f"computed.{tag}"].combine_chunks()
    if pa.types.is_string(computed.type):
        computed = pc.if_else(pc.equal(computed, UNKNOWN), pa.scalar(None, pa.string()), computed)
    declared = known_of(said)
    compared = declared & known_of(computed)
    same = np.asarray(pc.fill_null(pc.equal(said, computed), False).to_numpy(zero_copy_only=False), dtype=bool)
    figures = {"declared_users": declared, "compared_users": compared, "agreeing_users": same}
    return [
        {"tag": tag, "is_member": member}
        | {k: int(np.count_nonzero(v & (is_member == member))) for k, v in figures.items()}
        for member in (False, True)
    ]


def _encoded(table: pa.Table, texts: Sequence[str]) -> pa.Table:
    """The table in one piece with these texts as codes: what is made of them goes by the codes, Parquet too."""
    whole = table.combine_chunks()
    for name in texts:
        whole = whole.set_column(whole.schema.get_field_index(name), name, whole[name].dictionary_encode())
    return whole


@span("write", "parquet")
def _write(table: pa.Table, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # without Arrow's schema, so that a reader finds texts and not the codes that they were written from
    pq.write_table(table, path, compression=COMPRESSION, store_schema=False)


@span("write", "parquet")
def _write_segments(profile: pa.Table, schemes: Sequence[str], path: Path) -> None:
    """A row group a segmentation."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer: pq.ParquetWriter | None = None
    for scheme in sorted(schemes):
        name = pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(profile), np.int32)), pa.array([scheme]))
        part = pa.table(
            {"scheme": name, "uid": profile["uid"], "is_member": profile["is_member"], "segment": profile[scheme]}
        )
        if writer is None:
            writer = pq.ParquetWriter(path, part.schema, compression=COMPRESSION, store_schema=False)
        writer.write_table(part, row_group_size=len(part))
    if writer is not None:
        writer.close()


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
