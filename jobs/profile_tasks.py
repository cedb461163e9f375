"""Map tasks of the profile: one bucket of users each. They read and write Parquet and return descriptors.

``values_of_bucket`` gives what frozen numbers and models are made from; ``profile_of_bucket`` writes the profile, the
changes of dynamic tags and the segments of a bucket; ``changes_of_bucket`` compares two snapshots that are there.
Items are plain data; what all buckets of a run share lies in one JSON file that they name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.breaks import counted
from features.expressions import DUCKDB, quoted, text_literal
from features.tagging import Plan, evaluate, logged_text, numpy_columns, profile_columns, values_of
from lake.lake import partition_path
from models.clusters import ClusterCard, assign
from schemas.arrow import ARROW

Item = dict[str, Any]
NEW, LOST = "NEW", "LOST"
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
        base = base_of(con, item, shared)
        table = evaluate(con, base, Plan.from_json(shared["plan"]), _score)
        written: dict[str, str] = {}
        for name, spec in shared["breaks"].items():
            values, counts = counted(numpy_columns(values_of(con, table, [spec["of"]], spec["where"]))[:, 0])
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
            first = np.lexsort((uid, hashed(uid)))[: spec["sample"]]
            columns = {f"v{i}": matrix[first, i] for i in range(matrix.shape[1])}
            path = out / f"model-{name}.parquet"
            pq.write_table(pa.table({"uid": uid[first], **columns}), path)
            samples[name] = str(path)
    return {"bucket": item["bucket"], "breaks": written, "models": samples}


def profile_of_bucket(item: Item) -> dict[str, Any]:
    """Write one bucket's profile, tag changes and segments; return counts, flows and quality figures."""
    shared = _shared(item["shared"])
    if not item["users"]:
        return {"first_day": None, "users": 0, "members": 0, **changes_of_bucket({**item, "current": []})}
    with _connection() as con:
        base = base_of(con, item, shared)
        first_day = _first_day(base)
        plan = Plan.from_json(shared["plan"])
        profile = evaluate(con, base, plan, _score, profile_columns(plan))
        del base
        place = partition_path({"as_of": shared["as_of"], "bucket": item["bucket"]})
        _write(profile, Path(item["profile_out"]) / place / "part-0.parquet")
        con.register("current", profile)
        segments = _segments(con, shared["schemes"])
        _write(segments, Path(item["segments_out"]) / place / "part-0.parquet")
        return {
            "bucket": item["bucket"],
            "first_day": first_day,
            "users": len(profile),
            "members": int(np.count_nonzero(profile["is_member"].to_numpy(zero_copy_only=False))),
            **_compared(con, item, shared),
        }


def changes_of_bucket(item: Item) -> dict[str, Any]:
    """Compare a snapshot that is there already with the one before it, as ``profile_of_bucket`` does for its own."""
    shared = _shared(item["shared"])
    with _connection() as con:
        _view(con, "current", item["current"], shared["tags"])
        return {"bucket": item["bucket"], **_compared(con, item, shared)}


def hashed(uid: np.ndarray) -> np.ndarray:
    """A well-mixed 64-bit number per uid (the finaliser of splitmix64)."""
    x = uid.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)), dtype=np.uint64)


# --- what tags are made from ---


def base_of(con: duckdb.DuckDBPyConnection, item: Item, shared: Mapping[str, Any]) -> pa.Table:
    """The bucket's users with attributes, facts and kept values, in order of uid (see features/tagging.py)."""
    users = pa.concat_tables([_read(p) for p in item["users"]])
    con.register("users", users)
    columns = ["u.uid", "u.user_id", "u.is_member", f"DATE '{shared['as_of']}' AS as_of"]
    for name, kind in shared["attributes"]:
        sql = f"CAST(u.{quoted(name)} AS {DUCKDB[kind]})"
        columns.append(f"{sql} AS {quoted(f'attribute.{name}')}")
    joins = ""
    if item["facts"] is not None:
        con.register("facts", _read(item["facts"]))
        joins += " LEFT JOIN facts f ON f.uid = u.uid"
    for name, kind, absent in shared["facts"]:
        value = "NULL" if item["facts"] is None else f"f.{quoted(name)}"
        value = value if absent is None else f"COALESCE({value}, {absent})"
        columns.append(f"CAST({value} AS {DUCKDB[kind]}) AS {quoted(f'fact.{name}')}")
    if shared["kept"]:
        _view(con, "kept", item["previous"], shared["kept"])
        joins += " LEFT JOIN kept k ON k.uid = u.uid"
        columns += [f"k.{quoted(name)} AS {quoted(f'previous.{name}')}" for name, _ in shared["kept"]]
    return con.sql(f"SELECT {', '.join(columns)} FROM users u{joins} ORDER BY u.uid").to_arrow_table()


def _read(path: str) -> pa.Table:
    # the partition is in the path, and pyarrow would add it as a column
    return pq.read_table(path, partitioning=None)


def _view(
    con: duckdb.DuckDBPyConnection, name: str, files: Sequence[str], tags: Sequence[Sequence[str]]
) -> None:
    """A view of profile files with these tags, null where the files are older than a tag; empty without files."""
    listed = []
    have = set(pq.read_schema(files[0]).names) if files else set()
    for tag, kind in [("uid", "int64"), ("is_member", "bool"), *(t[:2] for t in tags)]:
        listed.append(f"{quoted(tag) if tag in have else f'CAST(NULL AS {DUCKDB[kind]})'} AS {quoted(tag)}")
    source = "(SELECT 1) WHERE FALSE"
    if files:
        paths = ", ".join(text_literal(f) for f in files)
        source = f"read_parquet([{paths}], hive_partitioning = false, union_by_name = true)"
    con.execute(f"CREATE OR REPLACE TEMP VIEW {quoted(name)} AS SELECT {', '.join(listed)} FROM {source}")


def _score(card: Mapping[str, Any], values: np.ndarray) -> np.ndarray:
    return assign(ClusterCard.from_json({k: v for k, v in card.items() if k != "spec"}), values)


def _first_day(base: pa.Table) -> str | None:
    import pyarrow.compute as pc

    name = "attribute.first_seen_day"
    day = pc.min(base[name]).as_py() if name in base.column_names else None
    return None if day is None else day.isoformat()


# --- what became of them ---


def _segments(con: duckdb.DuckDBPyConnection, schemes: Sequence[str]) -> pa.Table:
    parts = [
        f"SELECT {text_literal(s)} AS scheme, uid, is_member, {quoted(s)} AS segment FROM current" for s in schemes
    ]
    if not parts:
        return _schema("scheme", "uid", "is_member", "segment").empty_table()
    return con.sql(" UNION ALL ".join(parts) + " ORDER BY scheme, uid").to_arrow_table()


def _compared(con: duckdb.DuckDBPyConnection, item: Item, shared: Mapping[str, Any]) -> dict[str, Any]:
    """Changes written, flows and quality counted, of the view ``current`` against the bucket's earlier snapshot.

    Values are compared as the process keeps them (numbers with bands by band). ``log`` files hold changes of days whose
    snapshots are gone: what they say is newer than the earlier snapshot.
    """
    tags = [(name, kind, bands) for name, kind, bands in shared["tags"]]
    _view(con, "earlier", item["previous"], shared["tags"])
    now = [f"{logged_text('c.' + quoted(n), k, b)} AS {quoted('now.' + n)}" for n, k, b in tags]
    was = [f"{logged_text('p.' + quoted(n), k, b)} AS {quoted('was.' + n)}" for n, k, b in tags]
    con.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE compared AS
        SELECT COALESCE(c.uid, p.uid) AS uid, c.uid IS NOT NULL AS here, p.uid IS NOT NULL AS there,
               COALESCE(c.is_member, p.is_member) AS is_member, {', '.join([*now, *was])}
        FROM current c FULL JOIN earlier p ON p.uid = c.uid
        """
    )
    changes = _changes(con, item, shared)
    return {
        "changes": changes,
        "flows": _flows(con, shared) if shared["previous_as_of"] else [],
        "quality": _quality(con, [t[0] for t in tags]),
    }


def _changes(con: duckdb.DuckDBPyConnection, item: Item, shared: Mapping[str, Any]) -> int:
    """Write the rows of dynamic tags whose value differs, tag by tag; how many. No file without any."""
    if item["log"]:
        days = " UNION ALL ".join(
            f"SELECT uid, tag, value, DATE '{day}' AS from_day FROM read_parquet({text_literal(path)})"
            for day, path in item["log"]
        )
        con.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE logged AS
            SELECT uid, tag, value FROM ({days}) WHERE uid BETWEEN {item['uids'][0]} AND {item['uids'][1]}
            QUALIFY row_number() OVER (PARTITION BY uid, tag ORDER BY from_day DESC) = 1
            """
        )
    parts = []
    for name in shared["dynamic"]:
        now, was, source = quoted("now." + name), quoted("was." + name), "compared c"
        if item["log"]:
            # only here are values compared as text: the log holds nothing else
            source += f" LEFT JOIN logged l ON l.uid = c.uid AND l.tag = {text_literal(name)}"
            was = f"CASE WHEN l.uid IS NULL THEN CAST({was} AS VARCHAR) ELSE l.value END"
            now = f"CAST({now} AS VARCHAR)"
        parts.append(
            f"SELECT c.uid AS uid, {text_literal(name)} AS tag, CAST({now} AS VARCHAR) AS value FROM {source} "
            f"WHERE {now} IS DISTINCT FROM {was}"
        )
    if not parts:
        return 0
    place = partition_path({"from_day": shared["as_of"]})
    path = Path(item["changes_out"]) / place / f"bucket-{item['bucket']}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    # written from the stream: a first snapshot has a row for every user and tag
    to = f"{text_literal(str(path))} (FORMAT parquet, COMPRESSION {COMPRESSION})"
    rows = int(con.execute(f"COPY ({' UNION ALL '.join(parts)}) TO {to}").fetchall()[0][0])
    if not rows:
        path.unlink()
    return rows


def _flows(con: duckdb.DuckDBPyConnection, shared: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Users by scheme, membership, where they were and where they are. A member is who was one last."""
    found: list[dict[str, Any]] = []
    for scheme in shared["schemes"]:
        now, was = quoted("now." + scheme), quoted("was." + scheme)
        rows = con.execute(
            f"""
            SELECT is_member, CASE WHEN there THEN COALESCE({was}, 'unknown') ELSE '{NEW}' END,
                   CASE WHEN here THEN COALESCE({now}, 'unknown') ELSE '{LOST}' END, count(*)
            FROM compared GROUP BY ALL ORDER BY ALL
            """
        ).fetchall()
        keys = ("is_member", "from_segment", "to_segment", "users")
        found += [{"scheme": scheme, **dict(zip(keys, row, strict=True))} for row in rows]
    return found


def _quality(con: duckdb.DuckDBPyConnection, tags: Sequence[str]) -> list[dict[str, Any]]:
    figures = []
    for name in tags:
        now, was = quoted("now." + name), quoted("was." + name)
        figures.append(f"count({now}) FILTER (here)")
        figures.append(f"count(*) FILTER (here AND there AND {now} IS DISTINCT FROM {was})")
    rows = con.execute(
        f"SELECT is_member, count(*), {', '.join(figures) or 'NULL'} FROM compared WHERE here GROUP BY is_member"
    ).fetchall()
    return [
        {"tag": name, "is_member": row[0], "base_users": row[1], "known_users": known, "changed_users": changed}
        for row in rows
        for name, known, changed in zip(tags, row[2::2], row[3::2], strict=False)
    ]


def _schema(*names: str) -> pa.Schema:
    from schemas.contracts import fields

    return pa.schema([pa.field(n, ARROW[fields()[n].type]) for n in names])


def _write(table: pa.Table, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, compression=COMPRESSION)


def _connection() -> duckdb.DuckDBPyConnection:
    # one thread: buckets already run side by side, and the order of rows stays that of the input
    con = duckdb.connect(config={"threads": "1"})
    con.execute("SET TimeZone = 'UTC'")
    # a table's name must never be taken for a Python variable
    con.execute("SET python_enable_replacements = false")
    return con


@lru_cache(maxsize=4)
def _shared(path: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    return found
