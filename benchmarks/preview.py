"""A preview against DuckDB on the same Parquet: ``python -m benchmarks.preview [--users N] [--event-users N] [--record]``.

Two made-up shops in lakes of their own: one of many users, judged by five tag conditions, and one of users with what they
did, judged by two event conditions. For each: seconds in which the columns are made out of the files, in which they are
mapped and judged by a process that comes new to them (their pages put out of memory before), the median of judging once
they are there, DuckDB's median, and the memory that a process takes for them. Both must find the same people.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from audiences.bits import flags
from audiences.compiler import compile_audience
from audiences.language import read
from audiences.operands import Attribute
from audiences.plan import Plan
from benchmarks import records
from benchmarks.workload import AS_OF, DAYS, ZONE, bucket_rows, products
from features.kernel.rows import USERS_PER_BUCKET
from lake import journal
from lake.lake import Lake, partition_path
from lake.local_cache import FOLDER, LocalCache
from lake.publish import publish
from lake.releases import release, write_release
from queries.preview import ReleaseColumns
from schemas.behaviours import BEHAVIOURS, BROWSE
from schemas.configuration import Words
from schemas.contracts import Type, contract

CITIES, STAGES = 300, ("prospect", "new", "mature", "loyal", "dormant", "churned", "recovered")
TAGS: dict[str, Type] = {
    "register_city": "string",
    "lifecycle": "string",
    "net_amount_365d": "int64",
    "days_since_last_purchase": "int32",
    "share_of_orders_on_promotion": "float64",
}
HEAD = "name: {zh: 试, en: Trial}\ndescription: {zh: 试, en: Trial}\nowner: crm\n"
BRAND = "brand-0007"


@dataclass(frozen=True)
class Question:
    """A definition, and the same in DuckDB's SQL over the views ``profile``, ``activity`` and ``products``."""

    definition: str
    sql: str


QUESTIONS = {
    "five tags": Question(
        """include:
  all:
    - {tag: register_city, is: [city 3, city 11]}
    - {tag: lifecycle, is_not: [prospect, churned]}
    - {tag: net_amount_365d, between: [20000, 500000]}
    - {tag: days_since_last_purchase, at_most: 90}
    - {tag: share_of_orders_on_promotion, above: 0.25}
""",
        """select uid from profile where register_city in ('city 3', 'city 11')
        and lifecycle not in ('prospect', 'churned', 'unknown') and net_amount_365d between 20000 and 500000
        and days_since_last_purchase <= 90 and share_of_orders_on_promotion > 0.25""",
    ),
    "two events": Question(
        f"""include:
  all:
    - {{event: browse, within_days: 90, at_least: 3}}
    - {{event: pay, did: false, within_days: 180, where: {{brand: {BRAND}}}}}
""",
        f"""select p.uid from profile p left join (
            select uid, count(*) filter (behaviour_code in ({", ".join(str(BEHAVIOURS[b]) for b in BROWSE)})
                    and day > date '{AS_OF}' - 90) as seen,
                count(*) filter (behaviour_code = {BEHAVIOURS["pay"]} and brand = '{BRAND}'
                    and coalesce(void_day, date '9999-01-01') > date '{AS_OF}'
                    and day > date '{AS_OF}' - 180) as bought
            from activity left join products using (sku_code)
            where day <= date '{AS_OF}' and valid_from_day <= date '{AS_OF}' group by uid
        ) using (uid) where seen >= 3 and coalesce(bought, 0) = 0""",
    ),
}


def main() -> int:
    options = _options()
    found = records.heading(options.users, DAYS) | {"event_users": options.event_users, "repeats": options.repeats}
    console = Console()
    for name, users in (("five tags", options.users), ("two events", options.event_users)):
        with tempfile.TemporaryDirectory(prefix="huaxiang-preview-", dir=options.folder) as below:
            folder = Path(below)
            _alone("make", name, folder, users, options)
            # Twice in processes of their own: who makes the columns, and who finds them.
            made = _alone("measure", name, folder, users, options)
            put_out_of_memory(folder / "lake" / FOLDER)
            first = {f"made_{k.removeprefix('load_')}": v for k, v in made.items() if k.startswith("load_")}
            found[name] = {**_alone("measure", name, folder, users, options), **first}
        _show(console, name, found[name])
    found |= _seconds(found)
    judged = [k for k in found if k.startswith("preview_")]
    worse = records.settled(console, "preview", found, judged, record=options.record)
    return worse if all(found[name]["equal"] for name in QUESTIONS) else 1


def _seconds(found: dict[str, Any]) -> dict[str, float]:
    """Processor seconds of an answer to each question, ours and DuckDB's: what is judged and drawn."""
    return {
        f"{who}_{name.replace(' ', '_')}_cpu_seconds": round(found[name][f"{who}_cpu_ms"] / 1000, 4)
        for name in QUESTIONS
        for who in ("preview", "duckdb")
    }


def _options() -> argparse.Namespace:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--users", type=int, default=10_000_000, help="of the shop judged by tags")
    asked.add_argument(
        "--event-users", type=int, default=1_000_000, help="of the shop judged by events, some 13 rows each"
    )
    asked.add_argument("--repeats", type=int, default=15)
    asked.add_argument("--folder", type=Path, help="where the shops are made (default: the system's folder for such)")
    asked.add_argument("--record", action="store_true")
    for hidden in ("--do", "--name", "--below"):
        asked.add_argument(hidden, help=argparse.SUPPRESS)
    options = asked.parse_args()
    if options.do == "make":
        make(options.name, Path(options.below), options.users)
        sys.exit(0)
    if options.do == "measure":
        print(json.dumps(measure(options.name, Path(options.below), options.repeats)))
        sys.exit(0)
    return options


def _alone(do: str, name: str, below: Path, users: int, options: argparse.Namespace) -> dict[str, Any]:
    """A part of the work in a process of its own; what it printed, as JSON."""
    command = [sys.executable, "-m", "benchmarks.preview", "--do", do, "--name", name, "--below", str(below)]
    sizes = ["--users", str(users), "--repeats", str(options.repeats)]
    done = subprocess.run([*command, *sizes], check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout)) if done.stdout else {}


def put_out_of_memory(folder: Path) -> None:
    """Ask the system to forget the pages of the files below a folder."""
    for path in folder.rglob("*"):
        if path.is_file():
            opened = os.open(path, os.O_RDONLY)
            os.fsync(opened)
            os.posix_fadvise(opened, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(opened)


# --- the shops ---


def make(
    name: str,
    below: Path,
    users: int,
    profile: Callable[[int, int], pa.Table] | None = None,
    columns: pa.Schema | None = None,
) -> None:
    """A lake with a release: a profile, and for events what everybody did. ``profile`` and ``columns``: another profile."""
    lake = Lake(below / "lake", ZONE)
    schema = pa.schema(
        [
            (n, {"string": pa.string(), "int64": pa.int64(), "int32": pa.int32()}.get(t, pa.float64()))
            for n, t in TAGS.items()
        ]
    )
    _publish(lake, "profile.profile", users, profile or profile_of_bucket, columns or schema)
    if name == "two events":
        _publish(lake, "activity.activity", users, lambda bucket, here: bucket_rows(bucket, here, users), None)
        known = products()
        codes = pa.table(
            {"code_kind": pa.repeat("sku", len(known)), "code": known["sku_code"].cast(pa.int64()),
             "code_value": known["sku_code"].cast(pa.string())}
        )  # fmt: skip
        _publish(lake, "activity.codes", 1, lambda bucket, here: codes, None)
        made = pa.scalar(datetime(2026, 1, 1, tzinfo=UTC), pa.timestamp("us", "UTC"))
        count = len(known)
        rows = {
            "sku_id": known["sku_code"].cast(pa.string()), "brand": known["brand"], "category": known["category"],
            "source_time": pa.repeat(made, count), "_ingested_at": pa.repeat(made, count),
            "event_month": pa.repeat(pa.scalar(202601), count), "row_hash": known["sku_code"].cast(pa.string()),
            "_batch_id": pa.repeat("b", count), "_file": pa.repeat("f", count), "_row": known["sku_code"].cast(pa.int64()),
        }  # fmt: skip
        _publish(lake, "silver.products", 1, lambda bucket, here: pa.table(rows), None)
    write_release(lake, AS_OF, f"run-{name}", lake.versions())


def _publish(lake: Lake, table: str, users: int, rows: Callable[[int, int], pa.Table], extra: pa.Schema | None) -> None:
    """A file a bucket of ``rows(bucket, users in it)``."""
    lake.ensure(table, extra)
    schema, run = lake.schema(table), f"made-{table}"
    folder = lake.stage(table, run)
    for bucket in range(-(-users // USERS_PER_BUCKET)):
        made = rows(bucket, min(USERS_PER_BUCKET, users - bucket * USERS_PER_BUCKET))
        found = [
            made[f.name].cast(f.type) if f.name in made.column_names else pa.nulls(len(made), f.type) for f in schema
        ]
        whole = pa.table(found, schema=pa.schema([(f.name, f.type) for f in schema]))
        partitions = _partitions(table, bucket)
        place = folder / partition_path(partitions)
        place.mkdir(parents=True, exist_ok=True)
        pq.write_table(whole.drop_columns(list(partitions)), place / "rows.parquet", compression="zstd")
    publish(lake, table, folder, replace="all", read_version=None, run_id=run, key=run)
    journal.finish(lake, run)


def _partitions(table: str, bucket: int) -> dict[str, Any]:
    values = {"as_of": AS_OF, "bucket": bucket, "period": 202601, "event_month": 202601}
    return {name: values[name] for name in contract(table).partitions}


def profile_of_bucket(bucket: int, here: int) -> pa.Table:
    """The tags that are asked for, of the users of a bucket."""
    r = np.random.default_rng([20260630, bucket])
    uid = np.arange(here, dtype=np.int64) + bucket * USERS_PER_BUCKET
    bought = r.random(here) < 0.6
    cities, stages = pa.array([*(f"city {i}" for i in range(CITIES)), None]), pa.array([*STAGES, "unknown", None])
    share = np.round(r.random(here), 3)
    return pa.table(
        {
            "uid": uid,
            "user_id": pc.binary_join_element_wise("m", pc.utf8_lpad(pa.array(uid).cast(pa.string()), 32, "0"), ""),
            "is_member": r.random(here) < 0.7,
            "register_city": cities.take(
                pa.array(np.minimum(CITIES * r.random(here) ** 2 * 1.2, CITIES).astype(np.int32))
            ),
            "lifecycle": stages.take(pa.array(r.integers(0, len(STAGES) + 2, here))),
            "net_amount_365d": pa.array(np.where(bought, r.lognormal(11, 1.2, here), 0).astype(np.int64)),
            "days_since_last_purchase": pa.array(r.integers(0, 730, here).astype(np.int32), mask=~bought),
            "share_of_orders_on_promotion": pa.array(share, mask=~bought),
        }
    )


# --- one process that asks ---


def measure(name: str, below: Path, repeats: int) -> dict[str, Any]:
    """Load the columns (make them, if they are not there), judge, and let DuckDB do the same."""
    lake = Lake(below / "lake", ZONE)
    at, plan = release(lake), _plan(name, below)
    before = _memory()
    started, used = time.perf_counter(), time.process_time()
    columns = ReleaseColumns(lake, at, LocalCache(lake.store, 8 << 30))
    tally, _ = columns.judged(plan)
    load, load_cpu = time.perf_counter() - started, time.process_time() - used
    memory = _memory() - before
    kept = sum(p.stat().st_size for p in (below / "lake" / FOLDER).rglob("*") if p.is_file())
    with duckdb.connect() as con:
        _views(con, lake)
        mine, theirs = _interleaved(lambda: columns.judged(plan), lambda: _sized(con, QUESTIONS[name].sql), repeats)
        expected = np.sort(con.execute(QUESTIONS[name].sql).fetchnumpy()["uid"])
    people = columns.profile.uid[flags(columns.judged(plan)[0].members, tally.users)]
    return {
        "people": len(people),
        "equal": bool(np.array_equal(people, expected)),
        "load_seconds": round(load, 3),
        "load_cpu_seconds": round(load_cpu, 3),
        "memory_mb": round(memory / 2**20),
        "files_mb": round(kept / 2**20),
        "preview_ms": _median(wall for wall, _ in mine),
        "preview_cpu_ms": _median(cpu for _, cpu in mine),
        "preview_best_ms": round(min(wall for wall, _ in mine), 2),
        "duckdb_ms": _median(wall for wall, _ in theirs),
        "duckdb_cpu_ms": _median(cpu for _, cpu in theirs),
        "duckdb_best_ms": round(min(wall for wall, _ in theirs), 2),
        "ratio": round(_median(wall for wall, _ in theirs) / _median(wall for wall, _ in mine), 1),
        "cpu_ratio": round(_median(cpu for _, cpu in theirs) / _median(cpu for _, cpu in mine), 1),
    }


def _plan(name: str, below: Path) -> Plan:
    path = below / "trial.yaml"
    path.write_text(HEAD + QUESTIONS[name].definition, encoding="utf-8")
    words = Words(zh="标签", en="tag")
    catalogue = {n: Attribute(n, kind, words, words) for n, kind in TAGS.items()}
    return compile_audience(read(path), {}, catalogue, currency="CNY")


def _views(con: duckdb.DuckDBPyConnection, lake: Lake) -> None:
    for name, table in (
        ("profile", "profile.profile"),
        ("activity", "activity.activity"),
        ("products", "silver.products"),
    ):
        if files := [f.path for f in lake.files(table)]:
            columns = "*" if name != "products" else "cast(sku_id as int) as sku_code, brand"
            con.execute(f"create view {name} as select {columns} from read_parquet({files}, hive_partitioning = false)")


def _sized(con: duckdb.DuckDBPyConnection, sql: str) -> Any:
    return con.execute(f"select count(*) from ({sql})").fetchone()


def _interleaved(
    first: Callable[[], Any], second: Callable[[], Any], repeats: int
) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Milliseconds of both, of the clock and of this process's processors, turn about: a busy machine is so for both."""
    found: tuple[list[tuple[float, float]], list[tuple[float, float]]] = ([], [])
    for _ in range(repeats):
        for one, times in zip((first, second), found, strict=True):
            started, used = time.perf_counter(), time.process_time()
            one()
            times.append((1000 * (time.perf_counter() - started), 1000 * (time.process_time() - used)))
    return found


def _median(values: Iterable[float]) -> float:
    return round(statistics.median(values), 2)


def _memory() -> int:
    return int(psutil.Process().memory_info().rss)


def _show(console: Console, name: str, found: dict[str, Any]) -> None:
    table = Table(title=f"{name}: {found['people']:,} people, {'equal' if found['equal'] else 'NOT EQUAL'}")
    for title in ("what", "found"):
        table.add_column(title, justify="left" if title == "what" else "right")
    rows = {
        "columns made out of Parquet (s)": found["made_seconds"],
        "made, processor time (s)": found["made_cpu_seconds"],
        "mapped and judged by a new process (s)": found["load_seconds"],
        "mapped and judged, processor time (s)": found["load_cpu_seconds"],
        "memory of a process for it (MiB)": found["memory_mb"],
        "files kept (MiB)": found["files_mb"],
        "preview, median (ms)": found["preview_ms"],
        "preview, best (ms)": found["preview_best_ms"],
        "preview, median of processor time (ms)": found["preview_cpu_ms"],
        "DuckDB, median (ms)": found["duckdb_ms"],
        "DuckDB, best (ms)": found["duckdb_best_ms"],
        "DuckDB, median of processor time (ms)": found["duckdb_cpu_ms"],
        "ratio of medians": found["ratio"],
        "ratio of processor time": found["cpu_ratio"],
    }
    for what, value in rows.items():
        table.add_row(what, f"{value:,}")
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
